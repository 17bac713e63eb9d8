"""What is summed up, what is a node's own, whose accounts are whose: pure functions."""

import pytest

from netbootd.images.layered import Change, Kind
from netbootd.roots import accounts
from netbootd.roots.identity import RULES, reason
from netbootd.roots.summary import lines


def change(path: str, kind: Kind = "changed", type_: str = "file", size: int = 1) -> Change:
    return Change(path, kind, type_, ("content",) if kind == "changed" else (), size)


def shown(*changes: Change) -> list[str]:
    return [f"{line.change} {line.path} {line.what} {line.size}" for line in lines(changes)]


def test_a_new_directory_is_one_line_with_all_that_is_in_it() -> None:
    new = [change("opt", "added", "directory", 0), change("opt/a", "added"), change("opt/b", "added", size=2)]
    assert shown(*new, change("etc/motd")) == ["added /opt/ 3 entries 3", "changed /etc/motd content 1"]


def test_many_changes_deep_in_a_directory_are_one_line_and_few_are_themselves() -> None:
    many = [change(f"usr/share/doc/{i}") for i in range(13)]
    assert shown(*many, change("usr/share/gone", "removed", size=0)) == [
        "changed /usr/share/doc/ 13 changed 13",
        "removed /usr/share/gone file 0",
    ]
    assert len(shown(*(change(f"usr/share/doc/{i}") for i in range(12)))) == 12


def test_mixed_changes_are_counted_by_kind() -> None:
    mixed = [change(f"srv/data/{i}", "added" if i % 2 else "removed") for i in range(14)]
    assert shown(*mixed) == ["mixed /srv/data/ 7 added, 7 removed 14"]


def test_a_directory_at_the_top_is_never_summed_up() -> None:
    assert len(shown(*(change(f"etc/{i}") for i in range(40)))) == 40


def test_the_root_itself_is_told_as_such() -> None:
    assert shown(Change(".", "changed", "directory", ("mode",))) == ["changed / mode 0"]


@pytest.mark.parametrize(
    ("path", "directory", "own"),
    [
        ("etc/machine-id", False, True),
        ("etc/ssh/ssh_host_rsa_key.pub", False, True),
        ("etc/ssh/sshd_config", False, False),
        ("root/.ssh", True, False),
        ("root/.ssh/id_ecdsa", False, True),
        ("root/.ssh/known_hosts", False, False),
        ("home/pi/.ssh/id_rsa", False, True),
        ("var/lib/postgresql/.ssh/id_ed25519.pub", False, True),
        ("var/lib/postgresql/.ssh/authorized_keys", False, False),
        ("opt/id_card", False, False),
        ("etc/dropbear/dropbear_rsa_host_key", False, True),
        ("etc/munge/munge.key", False, False),
        ("etc/shadow-", False, True),
        ("etc/shadow", False, False),
        ("var/lib/dpkg/status-old", False, True),
        ("var/lib/dpkg/status", False, False),
        ("var/backups/dpkg.status.0", False, True),
        ("var/lib/systemd/linger/pi", False, False),
        ("var/log/nginx", True, False),
        ("var/log/nginx/access.log", False, True),
        ("var/log/journal", True, False),
        ("var/log/journal/0123", True, True),
        ("var/log/journal/0123/system.journal", False, True),
        ("tmp", True, False),
        ("tmp/deep/down", False, True),
        ("var/tmp/.hidden", False, True),
        ("run/lock", True, True),
        ("home/pi/.bash_history", False, True),
        ("home/pi/notes", False, False),
        ("srv/.nfs0000000000a1b2c300000001", False, True),
        ("srv/.nfsrc", False, False),
        ("etc", True, False),
        ("etc/machine-id.d", True, False),
    ],
    ids=str,
)
def test_who_a_node_is_and_what_happened_there_is_told_from_what_was_set_up(
    path: str, directory: bool, own: bool
) -> None:
    assert bool(reason(path, directory=directory)) is own


def test_every_rule_matches_something_below_no_other() -> None:
    """Else it would never count: an earlier one has it already."""
    for i, rule in enumerate(RULES):
        sample = rule.pattern.replace("*", "x")
        found = reason(f"{sample}/file" if rule.keep_directories else sample, directory=False)
        assert found == rule.why, rule.pattern
        assert rule.pattern not in [other.pattern for other in RULES[:i]]


def test_the_clusters_accounts_are_taken_out_and_the_images_own_of_the_same_name_put_back() -> None:
    users, groups = accounts.laid("group ada 1000\nuser ada 1000 1000 /home/ada /bin/sh\n")
    assert users == groups == frozenset({"ada"})
    now = "root:x:0:0::/:\nada:x:1000:1000:cluster user:/home/ada:/bin/sh\nnew:x:5:5::/:\n"
    assert accounts.without(now, "root:x:0:0::/:\n", users) == "root:x:0:0::/:\nnew:x:5:5::/:\n"
    before = "root:x:0:0::/:\nada:x:7:7::/:\n"
    assert accounts.without(now, before, users) == "root:x:0:0::/:\nada:x:7:7::/:\nnew:x:5:5::/:\n"
