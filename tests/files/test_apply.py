"""apply, whole: what it makes, that it does nothing twice, and what it leaves alone."""

import multiprocessing
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from netbootd.errors import HostError, UserError
from netbootd.files.apply import carry_out, undo
from netbootd.files.change import ChangeTree, MakeKey, Reload
from netbootd.files.cluster import User
from netbootd.files.serving import served_generations
from netbootd.files.tree import Action
from netbootd.files.wanted import wanted
from netbootd.nfs import ganesha
from netbootd.node import RootMode
from tests.files.head import ADMIN_KEY, HEAD_KEY, Head
from tests.lab.namespace import Lab

pytestmark = pytest.mark.needs("ssh-keygen")


def public_key(head: Head, name: str) -> str:
    return " ".join(head.text(f"nodes/{name}/etc/ssh/ssh_host_ed25519_key.pub").split()[:2])


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_a_node_gets_all_that_makes_it_itself(head: Head) -> None:
    head.publish()
    head.add(1)
    head.apply()
    node = head.registry.node("n1")
    assert head.text("nodes/n1/etc/hostname") == "n1\n"
    assert head.text("nodes/n1/etc/machine-id") == f"{node.machine_id}\n"
    assert "search cluster\nnameserver 10.77.0.1\n" in head.text("nodes/n1/etc/resolv.conf")
    assert "n1.cluster" in head.text("nodes/n1/etc/motd")
    hosts = head.text("common/etc/hosts")
    assert "\n10.77.0.1 head.cluster head\n" in hosts
    assert hosts.endswith("\n10.77.1.1 n1.cluster n1\n")
    known = head.text("common/etc/ssh/ssh_known_hosts").splitlines()
    assert f"head.cluster,head,10.77.0.1 {HEAD_KEY}" in known
    assert f"n1.cluster,n1,10.77.1.1 {public_key(head, 'n1')}" in known
    authorized = head.text("common/root/.ssh/authorized_keys").splitlines()
    assert authorized[0] == ADMIN_KEY
    assert authorized[1:] == [head.text("keys/cluster/id_ed25519.pub").strip()]
    assert (
        str(
            (
                head.state / "common/etc/systemd/system/multi-user.target.wants/netbootd-ready.service"
            ).readlink()
        )
        == "../netbootd-ready.service"
    )
    assert os.access(head.state / "common/usr/lib/netbootd/report-ready", os.X_OK)


def test_private_keys_are_their_public_keys_and_nobody_elses_to_read(head: Head) -> None:
    head.add(1)
    head.apply()
    secrets = {
        "nodes/n1/etc/ssh/ssh_host_ed25519_key": public_key(head, "n1"),
        "nodes/n1/root/.ssh/id_ed25519": " ".join(head.text("keys/cluster/id_ed25519.pub").split()[:2]),
    }
    for path, public in secrets.items():
        derived = subprocess.run(
            ["ssh-keygen", "-y", "-f", head.state / path], capture_output=True, text=True, check=True
        )
        assert derived.stdout.split()[:2] == public.split()
    for file in head.state.rglob("*"):
        if file.is_file() and b"PRIVATE" in file.read_bytes():
            assert file.stat().st_mode & 0o777 == 0o600
    for path in ("keys", "keys/hosts", "keys/cluster", "nodes/n1/root", "nodes/n1/root/.ssh"):
        assert (head.state / path).stat().st_mode & 0o777 == 0o700
    for path in ("nodes/n1", "nodes/n1/etc", "common", "common/etc", "common/usr/lib"):
        assert (head.state / path).stat().st_mode & 0o777 == 0o755


def test_the_second_time_there_is_nothing_to_do(head: Head) -> None:
    head.publish()
    head.add(1, 2)
    assert head.apply().changes
    before = head.snapshot()
    assert head.plan().changes == ()
    assert head.apply().changes == ()
    assert head.snapshot() == before


def test_a_dry_run_changes_nothing_and_names_all_that_apply_then_does(head: Head) -> None:
    head.publish()
    head.add(1)
    before = head.snapshot()
    planned = head.plan()
    assert head.snapshot() == before
    assert [str(change) for change in planned.changes] == [str(change) for change in head.apply().changes]


def test_a_dry_run_shows_what_a_key_that_has_yet_to_be_made_will_change(head: Head) -> None:
    head.add(1)
    head.apply()
    head.add(2)
    planned = head.plan()
    paths = {str(change.path.relative_to(head.directory)) for change in planned.changes}
    assert {"state/common/etc/ssh/ssh_known_hosts", "etc/ssh_known_hosts", "state/common/etc/hosts"} <= paths
    assert [str(change) for change in planned.changes] == [str(change) for change in head.apply().changes]
    assert "made by apply" not in head.text("common/etc/ssh/ssh_known_hosts")


def test_one_more_among_a_thousand_writes_as_much_as_one_more_among_two(tmp_path: Path) -> None:
    written = {}
    for count in (2, 1000):
        with Head(tmp_path / str(count)) as head:
            head.publish()
            # Only the count of changes is asked for: keys made beforehand spare a thousand ssh-keygen.
            head.add(*range(1, count + 1))
            _lend_keys(head)
            head.apply()
            head.add(5000)
            written[count] = [type(change).__name__ for change in head.apply().changes]
    assert written[1000] == written[2]
    assert written[2].count("MakeKey") == 1
    assert len(written[2]) < 30


def _lend_keys(head: Head) -> None:
    """One key for all nodes, where they keep theirs."""
    hosts = head.config.keys_dir / "hosts"
    hosts.mkdir(parents=True, mode=0o700)
    made = head.directory / "ssh_host_ed25519_key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", made], check=True)
    for node in head.registry.nodes():
        (hosts / node.machine_id).mkdir()
        for name in (made.name, f"{made.name}.pub"):
            shutil.copy(head.directory / name, hosts / node.machine_id / name)


def test_a_renamed_node_keeps_its_keys_and_leaves_nothing_behind(head: Head) -> None:
    head.add(1)
    head.apply()
    before = public_key(head, "n1")
    head.registry.rename_node("n1", "orion", {})
    head.apply()
    assert public_key(head, "orion") == before
    assert not (head.state / "nodes/n1").exists()
    assert f"orion.cluster,orion,10.77.1.1 {before}" in (head.etc / "ssh_known_hosts").read_text()
    assert "n1" not in (head.etc / "hosts").read_text()


def test_two_nodes_that_swap_names_swap_their_files(head: Head) -> None:
    head.add(1, 2)
    head.apply()
    first, second = public_key(head, "n1"), public_key(head, "n2")
    for old, new in (("n1", "x"), ("n2", "n1"), ("x", "n2")):
        head.registry.rename_node(old, new, {})
    head.apply()
    assert (public_key(head, "n1"), public_key(head, "n2")) == (second, first)


def test_a_removed_node_leaves_no_file_no_key_and_no_line(head: Head) -> None:
    head.add(1, 2)
    head.apply()
    machine_id = head.registry.node("n1").machine_id
    key = public_key(head, "n1")
    head.registry.remove_nodes(["n1"])
    head.apply()
    assert not (head.state / "nodes/n1").exists()
    assert not (head.state / "keys/hosts" / machine_id).exists()
    for path, (_, _, content) in head.snapshot().items():
        assert key.encode() not in content, path
        assert b"10.77.1.1\n" not in content, path
        assert not re.search(rb"\bn1\b", content), path
    assert public_key(head, "n2")


def test_what_was_changed_by_hand_is_put_right(head: Head) -> None:
    head.add(1)
    head.apply()
    before = {path: what[1:] for path, what in head.snapshot().items()}
    node = head.state / "nodes/n1"
    (node / "etc/hostname").write_text("other\n")
    (node / "etc/machine-id").unlink()
    (node / "etc/extra").mkdir()
    (node / "etc/extra/file").touch()
    (node / "root/.ssh/id_ed25519").chmod(0o644)
    (node / "root").chmod(0o777)
    head.apply()
    assert {path: what[1:] for path, what in head.snapshot().items()} == before


def test_links_planted_in_a_nodes_tree_lead_nowhere(head: Head) -> None:
    head.add(1)
    head.apply()
    target = head.directory / "target"
    target.mkdir()
    (target / "hostname").write_text("untouched")
    node = head.state / "nodes/n1"
    shutil.rmtree(node / "etc")
    (node / "etc").symlink_to(target)
    (node / "root/.ssh/id_ed25519").unlink()
    (node / "root/.ssh/id_ed25519").symlink_to(target / "hostname")
    head.apply()
    assert [p.name for p in target.iterdir()] == ["hostname"]
    assert (target / "hostname").read_text() == "untouched"
    assert not (node / "etc").is_symlink()
    assert head.text("nodes/n1/etc/hostname") == "n1\n"
    assert head.plan().changes == ()


def test_the_host_files_change_between_the_markers_only_and_undo_gives_them_back(head: Head) -> None:
    originals = {
        head.etc / "hosts": b"127.0.0.1 localhost\n\xff\xfe odd\n\n# end without newline",
        head.etc / "ssh_known_hosts": b"elsewhere ssh-ed25519 AAAA\n",
    }
    for path, content in originals.items():
        path.write_bytes(content)
        path.chmod(0o640)
    head.add(1)
    head.apply()
    for path, content in originals.items():
        text = path.read_bytes()
        assert content in text
        assert b"n1.cluster" in text
        assert path.stat().st_mode & 0o777 == 0o640
    planned = undo(head.config)
    assert all(path.read_bytes() != content for path, content in originals.items())
    carry_out(planned)
    for path, content in originals.items():
        assert path.read_bytes() == content
    assert names(head.etc) == ["ganesha.conf", "hosts", "ssh", "ssh_config.d", "ssh_known_hosts"]
    assert (head.etc / "ganesha.conf").read_bytes() == ganesha.NOTHING
    assert names(head.etc / "ssh_config.d") == []
    assert undo(head.config).changes == ()
    assert (head.state / "nodes/n1/etc/hostname").exists()


def test_undo_takes_away_what_apply_made(head: Head) -> None:
    head.add(1)
    before = {path: what for path, what in head.snapshot().items() if path.startswith("etc")}
    head.apply()
    carry_out(undo(head.config))
    (head.etc / "ganesha.conf").unlink()  # it exports nothing; see ganesha.NOTHING
    after = {path: what[1:] for path, what in head.snapshot().items() if path.startswith("etc")}
    assert after == {path: what[1:] for path, what in before.items()}
    assert head.apply().changes, "and apply puts it there again"


def test_a_hosts_file_that_says_otherwise_is_told_of(head: Head) -> None:
    head.add(1)
    (head.etc / "hosts").write_text("127.0.0.1 localhost\n10.9.9.9  N1 # old\n10.77.1.1 n1\n")
    (warning,) = (w for w in head.plan().warnings if "hosts" in w)
    assert "line 2" in warning
    assert "10.9.9.9" in warning
    head.apply()
    assert sum("hosts, line" in w for w in head.plan().warnings) == 1


def test_exports_follow_the_generation_that_a_node_runs(head: Head) -> None:
    first = head.publish()
    head.add(1, 2)
    head.registry.set_booted("n1", "debian", first.number, RootMode.OVERLAY, 0.0)
    second = head.publish()
    head.apply()
    text = (head.etc / "ganesha.conf").read_text()
    assert _clients(text, first.root) == "10.77.1.1"
    assert _clients(text, second.root) == "10.77.1.1, 10.77.1.2"
    head.registry.set_booted("n1", "debian", second.number, RootMode.OVERLAY, 0.0)
    head.apply()
    assert f'"{first.root}"' not in (head.etc / "ganesha.conf").read_text()


def _clients(text: str, path: Path) -> str:
    match = re.search(rf'Path = "{re.escape(str(path))}";.*?Clients = ([^;]*);', text, re.DOTALL)
    assert match
    return re.sub(r"\s+", " ", match[1])


def test_exports_come_after_the_directories_and_go_before_them(head: Head) -> None:
    head.add(1)
    head.apply()
    head.registry.remove_nodes(["n1"])
    head.add(2)
    kinds = [
        (type(change), change.step.action if isinstance(change, ChangeTree) else None)
        for change in head.apply().changes
    ]
    reload = kinds.index((Reload, None))
    assert kinds.index((MakeKey, None)) < kinds.index((ChangeTree, Action.WRITE)) < reload
    assert kinds.index((ChangeTree, Action.REMOVE)) > reload


def test_a_reload_that_failed_is_done_by_the_next_apply(head: Head, monkeypatch: pytest.MonkeyPatch) -> None:
    head.add(1)

    def refuse(*_: object) -> tuple[str, ...]:
        raise HostError("no")

    with monkeypatch.context() as patch:
        patch.setattr("netbootd.nfs.ganesha.reload", refuse)
        with pytest.raises(HostError):
            head.apply()
    assert [type(change) for change in head.apply().changes] == [Reload]
    assert head.apply().changes == ()


@pytest.mark.net
@pytest.mark.needs("exportfs")
def test_switching_the_nfs_server_takes_the_other_ones_exports_away(lab: Lab, tmp_path: Path) -> None:
    """In a lab, because the kernel's server is told."""

    def switch(server: str) -> str:
        program = (
            "import sys; from pathlib import Path; from tests.files.head import Head\n"
            f"with Head(Path(sys.argv[1]), nfs={nfs | {'server': server}}) as head:\n"
            "    print(*head.apply().changes, sep='\\n')"
        )
        return lab.run([sys.executable, "-c", program, tmp_path]).stdout

    with Head(tmp_path) as head:
        head.add(1)
        nfs = {
            "exports_file": "/etc/exports.d/netbootd.exports",
            "ganesha_config": str(head.etc / "ganesha.conf"),
            "ganesha_pid": str(head.directory / "pid"),
        }
    common = str(head.state / "common")
    switch("kernel")
    assert common in lab.run(["cat", "/var/lib/nfs/etab"]).stdout
    assert switch("kernel") == "\n"
    assert "reload" in switch("ganesha")
    assert lab.run(["cat", "/var/lib/nfs/etab"]).stdout == ""
    assert f'"{common}"' in (head.etc / "ganesha.conf").read_text()
    assert switch("ganesha") == "\n"
    switch("kernel")
    assert (head.etc / "ganesha.conf").read_bytes() == ganesha.NOTHING
    assert common in lab.run(["cat", "/var/lib/nfs/etab"]).stdout
    assert switch("kernel") == "\n"


def test_roots_ssh_on_the_head_node_uses_the_clusters_key_and_no_other_users_does(head: Head) -> None:
    head.add(*range(1, 40))
    _lend_keys(head)
    head.apply()
    config = head.etc / "ssh_config.d/netbootd.conf"

    def identities(host: str) -> list[str]:
        words = ["ssh", "-G", "-F", str(config), host]
        said = subprocess.run(
            words, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL
        ).stdout
        return [line.split(" ", 1)[1] for line in said.splitlines() if line.startswith("identityfile ")]

    ours = str(head.state / "keys/cluster/id_ed25519")
    if os.geteuid() == 0:
        assert all(identities(host)[0] == ours for host in ("n1", "n39", "n20.cluster", "10.77.1.7"))
        assert "~/.ssh/id_ed25519" in identities("n1"), "root's own keys are still tried"
        assert ours not in identities("elsewhere")
        config.write_text(config.read_text().replace("localuser root", "localuser nobody"))
    assert ours not in identities("n1")


def test_many_at_once_end_as_one(head: Head) -> None:
    """Real processes, each with a registry of its own."""
    head.publish()
    head.add(1, 2, 3)
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_apply_in, args=(str(head.directory),)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert head.plan().changes == ()
    assert len(names(head.state / "keys/hosts")) == 3
    assert not [p for p in head.directory.rglob("*") if p.name.startswith((".new-", ".netbootd-", ".broken"))]


def _apply_in(directory: str) -> None:
    with Head(Path(directory)) as head:
        head.apply()


def test_what_was_registered_or_applied_since_the_plan_counts(head: Head) -> None:
    head.add(1)
    planned = head.plan()
    head.add(2)
    carry_out(planned)
    assert head.text("nodes/n2/etc/hostname") == "n2\n"
    head.add(3)
    first, second = head.plan(), head.plan()
    assert carry_out(first).changes
    assert carry_out(second).changes == ()


@pytest.mark.parametrize("moment", range(0, 40, 3))
def test_killed_at_any_moment_the_next_apply_finishes(head: Head, moment: int) -> None:
    head.publish()
    head.add(1)
    child = os.fork()
    if child == 0:
        count = 0

        def die(_: object) -> None:
            nonlocal count
            count += 1
            if count > moment:
                os._exit(1)

        carry_out(head.plan(), die)
        os._exit(0)
    os.waitpid(child, 0)
    head.apply()
    assert head.plan().changes == ()
    assert "made by apply" not in head.text("common/etc/ssh/ssh_known_hosts")


def override(head: Head, name: str, text: str) -> Path:
    file = head.templates / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def test_what_a_broken_template_makes_stays_as_it_was_and_all_else_is_done(head: Head) -> None:
    head.add(1)
    head.apply()
    hosts, motd = head.text("common/etc/hosts"), head.text("nodes/n1/etc/motd")
    broken = [
        override(head, "node/common/etc/hosts.j2", "127.0.0.1 localhost\n{{ nodez }}\n"),
        override(head, "node/each/etc/motd.j2", "{{ node.nmae }}\n"),
    ]
    head.add(2)
    done = head.apply()
    assert [str(path) in fault for path, fault in zip(broken, done.faults, strict=True)] == [True, True]
    assert "line 2: 'nodez' is undefined" in done.faults[0]
    assert "line 1: a member has no 'nmae'; did you mean 'name'?" in done.faults[1]
    assert (head.text("common/etc/hosts"), head.text("nodes/n1/etc/motd")) == (hosts, motd)
    assert not (head.state / "nodes/n2/etc/motd").exists(), "there was no good one to keep"
    assert head.text("nodes/n2/etc/hostname") == "n2\n"
    assert "n2" in head.text("common/etc/ssh/ssh_known_hosts")
    again = head.apply()
    assert (again.changes, again.faults) == ((), done.faults)
    for path in broken:
        path.unlink()
    assert head.apply().faults == ()
    assert "n2" in head.text("common/etc/hosts") and head.text("nodes/n2/etc/motd")


def test_a_template_that_is_broken_for_some_nodes_names_them(head: Head) -> None:
    head.add(1, 2, 3)
    override(head, "node/each/etc/issue.j2", "{{ {'n2': 'yes'}[node.name] }}\n")
    (fault,) = head.apply().faults
    assert fault.startswith("n1, n3: template ") and "issue.j2, line 1: " in fault
    assert head.text("nodes/n2/etc/issue") == "yes\n"


def test_a_broken_template_of_the_exports_leaves_what_is_exported(head: Head) -> None:
    head.publish()
    head.add(1)
    head.apply()
    before = (head.etc / "ganesha.conf").read_text()
    path = override(head, "nfs/ganesha.conf.j2", "EXPORT {\n{{ exprots }}\n")
    head.add(2)
    (fault,) = head.apply().faults
    assert f"{path}, line 2: 'exprots' is undefined" in fault
    assert (head.etc / "ganesha.conf").read_text() == before
    assert head.text("nodes/n2/etc/hostname") == "n2\n"
    path.unlink()
    assert head.apply().faults == ()
    assert "10.77.1.2" in (head.etc / "ganesha.conf").read_text()


def test_missing_images_and_keys_are_told_with_the_command_that_mends_it(head: Head) -> None:
    (head.directory / "admin.pub").unlink()
    head.add(1, 2, 3, 4, 5, 6, 7)
    warnings = "\n".join(head.apply().warnings)
    assert "ssh-keygen -t ed25519" in warnings
    assert "n1, n2, n3, n4, n5 and 2 more; `netbootctl image build debian` makes one" in warnings


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Blbn\n", "is a private key"),
        ("# comment\nssh-ed25519 short\n", "line 2 isn't a public SSH key"),
        (f"{ADMIN_KEY}\n{ADMIN_KEY}\x1b[2J\n", "line 2 isn't a public SSH key"),
        ("<html>not found</html>\n", "line 1 isn't a public SSH key"),
    ],
)
def test_what_is_no_public_key_is_refused(head: Head, content: str, complaint: str) -> None:
    (head.directory / "admin.pub").write_text(content)
    head.add(1)
    with pytest.raises(UserError, match=complaint):
        head.plan()


@pytest.mark.parametrize(
    "line",
    [
        ADMIN_KEY,
        ADMIN_KEY.removesuffix(" admin@desk"),
        f'from="10.0.0.0/8",command="echo hi there" {ADMIN_KEY}',
        f"sk-ssh-ed25519@openssh.com {'A' * 80} token",
        f"ecdsa-sha2-nistp256 {'A' * 80}= x",
        f"ssh-rsa {'A' * 400}== x y z",
    ],
)
def test_every_kind_of_public_key_is_taken(head: Head, line: str) -> None:
    (head.directory / "admin.pub").write_text(f"\n# mine\n{line}\n{line}\n")
    head.add(1)
    head.apply()
    assert head.text("common/root/.ssh/authorized_keys").splitlines()[:-1] == [line]


def test_a_node_in_memory_gets_its_files_and_no_export(head: Head) -> None:
    head.publish()
    head.add(1)
    head.registry.set_node("n1", {"root": RootMode.RAM}, head.networks)
    head.apply()
    assert head.text("nodes/n1/etc/hostname") == "n1\n"
    assert "EXPORT {" not in (head.etc / "ganesha.conf").read_text()


def test_lost_and_found_is_left_alone(head: Head) -> None:
    (head.state / "nodes/lost+found").mkdir(parents=True)
    head.add(1)
    head.apply()
    assert (head.state / "nodes/lost+found").exists()
    assert head.plan().changes == ()


@pytest.mark.parametrize("server", ["kernel", "ganesha"])
def test_a_generation_for_many_goes_by_network_where_it_hides_nothing_and_the_server_sees_to_it(
    tmp_path: Path, server: str
) -> None:
    """NFS-Ganesha doesn't see that a file handle leads out of an export, to the keys say."""
    etc = {"exports_file": f"{tmp_path}/exports", "ganesha_config": f"{tmp_path}/ganesha.conf"}
    with Head(tmp_path, nfs={"server": server, "ganesha_pid": f"{tmp_path}/pid", **etc}) as head:
        image = head.publish().root
        head.add(*range(2, 140, 2))
        _lend_keys(head)

        def clients() -> list[str]:
            (export,) = [export for export in wanted(head.inputs).exports if export.path == image]
            return list(map(str, export.clients))

        (image / "file").chmod(0o600)
        assert len(clients()) == 69
        (image / "file").chmod(0o644)
        assert clients() == ["10.77.0.0/16"] if server == "kernel" else len(clients()) == 69


def test_a_user_whose_shell_an_image_lacks_is_told_of(head: Head) -> None:
    user = User(name="ada", uid=1815, group="ada", gid=1815, home="/home/ada", shell="/bin/zsh")
    root = head.publish().root
    head.add(1)

    def said() -> list[str]:
        return served_generations(head.config, {}, head.images, head.registry.nodes(), {}, user)[1]

    (line,) = said()
    assert line.startswith("the image debian has no /bin/zsh, the shell of ada, who can't log in; usermod")
    (root / "usr/bin").mkdir(parents=True)
    (root / "usr/bin/zsh").touch(0o755)
    (root / "bin").symlink_to("/usr/bin")
    assert said() == []
