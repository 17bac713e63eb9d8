"""`node diff`, `promote`, `reset` on real overlays, with all that an upper directory may hold."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from netbootd.node import RootMode
from tests.images.roots import small_root
from tests.lab.namespace import Lab
from tests.roots.head import NETBOOTCTL, RootsHead, small_image

pytestmark = [
    pytest.mark.net,
    pytest.mark.as_root("overlayfs keeps trusted.* attributes"),
    pytest.mark.needs("busybox", "setfattr", "getfattr"),
]


def bootable(root: Path) -> None:
    """What becomes an image, with files of every kind."""
    small_image(root)
    small_root(root)
    (root / "etc/ssh").mkdir()
    (root / "etc/hostname").write_text("golden\n")
    (root / "etc/shadow").write_text("root:*:1::::::\n")
    (root / "var/log/boot.log").write_text("of the build\n")
    (root / "usr/games").mkdir()
    (root / "var/lib/systemd").mkdir(parents=True, exist_ok=True)
    (root / "usr/games/one").write_text("1\n")


WORK = """
cd {root}
cp -a {state}/common/. {state}/nodes/n1/. .           # what node-init lays there
echo 'n1 here' > etc/hostname
echo changed > srv/data/one
chmod 600 srv/data/deep/two; setfattr -n user.kind -v mine srv/data/deep/two
rm usr/bin/link
rm -r usr/games; mkdir usr/games; echo new > usr/games/two       # opaque
mkdir -p opt/app/bin; echo tool > opt/app/bin/tool; ln opt/app/bin/tool opt/app/bin/same
ln -s /etc/passwd opt/app/link; mkfifo opt/app/pipe
echo more >> usr/bin/tool                                        # and so usr/bin/tool-too
printf 'daemon:x:1:1::/:/bin/false\\n' >> etc/passwd
touch bin/busybox                                                # its time alone
# its own, not an image's:
echo log > var/log/syslog; mkdir -p var/log/journal/abc var/log/app; echo j > var/log/journal/abc/j
mkdir -p var/lib/systemd/linger var/log/chrony; cp etc/passwd etc/passwd-
echo x > tmp/x; echo ls > root/.bash_history; echo key > root/.ssh/id_rsa; echo h > etc/ssh/ssh_host_rsa_key
"""


@pytest.fixture(scope="module")
def worked(shared_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RootsHead]:
    """In the root of its node n1, over debian@1, all kinds of things were done; it is for reading."""
    head = RootsHead(shared_lab, tmp_path_factory.mktemp("worked"))
    worked_on(head)
    yield head
    head.unmount_all()


def worked_on(head: RootsHead) -> Path:
    """A node's root, in which all kinds of things were done."""
    head.publish(bootable)
    root = head.root_of(head.add(1))
    head.shell(WORK.format(root=root, state=head.state))
    return root


def told(head: RootsHead, *words: str) -> dict[str, tuple[str, list[str]]]:
    changes = head.json("node", "diff", "n1", *words)["changes"]
    return {change["path"]: (change["change"], change["what"]) for change in changes}


def test_diff_tells_what_the_node_did_and_nothing_that_is_netbootds_or_of_this_node_alone(
    worked: RootsHead,
) -> None:
    head = worked
    assert told(head) == {
        "/etc/passwd": ("changed", ["content"]),
        "/opt": ("added", []),
        "/opt/app": ("added", []),
        "/opt/app/bin": ("added", []),
        "/opt/app/bin/same": ("added", []),
        "/opt/app/bin/tool": ("added", []),
        "/opt/app/link": ("added", []),
        "/opt/app/pipe": ("added", []),
        "/srv/data/deep/two": ("changed", ["mode", "attributes"]),
        "/srv/data/one": ("changed", ["content"]),
        "/usr/bin/link": ("removed", []),
        "/usr/bin/tool": ("changed", ["content"]),
        "/usr/bin/tool-too": ("changed", ["content of another name"]),
        "/usr/games/one": ("removed", []),
        "/usr/games/two": ("added", []),
        "/var/log/app": ("added", []),
        "/var/log/journal": ("added", []),
    }
    shown = head.ctl("node", "diff", "n1")
    assert "added    /opt/" in shown and "7 entries" in shown and "/opt/app" not in shown
    assert "17 changes over debian@1" in shown
    every = told(head, "--all")
    assert {
        "/etc/passwd-",
        "/var/log/chrony",
        "/etc/hostname",
        "/root/.bash_history",
        "/var/log/syslog",
        "/bin/busybox",
    } <= every.keys()
    reasons = head.ctl("node", "diff", "n1", "--all")
    assert "a private key made on this node" in reasons and "netbootd lays it there" in reasons


def test_a_promoted_root_is_the_next_generation_without_who_the_node_is(worked: RootsHead) -> None:
    head = worked
    root = head.root_of(head.node("n1"))
    lower = head.state / "images/debian/1/root"
    before = snapshot(lower)
    said = head.ctl("node", "promote", "n1", "--note", "with the app")
    assert "debian@2 is current: debian@1 with what n1 changed" in said and "node reset n1" in said
    made = head.images.generation("debian", 2)
    assert made is not None and made.note == "with the app" and made.origin == "n1 over debian@1"
    new = made.root
    assert (new / "srv/data/one").read_text() == "changed\n"
    assert (new / "srv/data/deep/two").stat().st_mode & 0o777 == 0o600
    assert os.getxattr(new / "srv/data/deep/two", "user.kind") == b"mine"
    assert not os.path.lexists(new / "usr/bin/link")
    assert sorted(path.name for path in (new / "usr/games").iterdir()) == ["two"]
    assert (new / "opt/app/bin/tool").samefile(new / "opt/app/bin/same")
    assert (new / "usr/bin/tool").read_text().endswith("more\n")
    assert (new / "usr/bin/tool").samefile(new / "usr/bin/tool-too")
    assert (new / "usr/bin/tool").stat().st_mode & 0o7777 == (lower / "usr/bin/tool").stat().st_mode & 0o7777
    assert (new / "etc/passwd").read_text().endswith("daemon:x:1:1::/:/bin/false\n")
    assert (new / "var/log/app").is_dir()
    assert not (new / "etc/hostname").exists(), "an image has none, and not this node's either"
    assert (new / "var/log/boot.log").read_text() == "of the build\n"
    for own in (
        *("etc/machine-id", "etc/hostid", "etc/ssh/ssh_host_ed25519_key", "etc/ssh/ssh_host_rsa_key"),
        *("root/.ssh/id_ed25519", "root/.ssh/id_rsa", "root/.ssh/authorized_keys", "root/.bash_history"),
        *("var/log/syslog", "var/log/journal/abc", "tmp/x", "etc/passwd-"),
    ):
        assert not (new / own).exists() or (lower / own).exists(), own
    unchanged = "srv/data/deep"
    assert (new / "bin/busybox").stat().st_size and (new / unchanged).is_dir()
    assert (new / f"boot/vmlinuz-{made.kernel_release}").samefile(
        lower / f"boot/vmlinuz-{made.kernel_release}"
    )
    assert not any(key.startswith("trusted.") for path in new.rglob("*") for key in attributes(path))
    assert snapshot(lower) == before, "a generation never changes"
    assert head.shell(f"cat {root}/etc/hostname") == "n1 here\n", "the node's root stays"


def attributes(path: Path) -> list[str]:
    return os.listxattr(path, follow_symlinks=False)


def snapshot(root: Path) -> dict[str, tuple[int, int, int, int, int, bytes]]:
    """All but link counts and times of change, which another generation's names bring."""
    found = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        found[str(path.relative_to(root))] = (
            *(status.st_mode, status.st_uid, status.st_gid, status.st_size, status.st_mtime_ns),
            content[:4096],
        )
    return found


def test_a_promoted_root_may_be_an_image_of_its_own(head: RootsHead) -> None:
    worked_on(head)
    assert "app@1 is current" in head.ctl("node", "promote", "n1", "app")
    assert head.images.current_number("debian") == 2
    head.ctl("node", "set", "n1", "--image", "app")
    assert head.roots.generation(head.node("n1").machine_id) == ("debian", 2), "until it is reset"
    head.ctl("node", "reset", "n1")
    assert head.roots.generation(head.node("n1").machine_id) == ("app", 1)
    assert told(head) == {}
    assert head.shell(f"cat {head.root_of(head.node('n1'))}/opt/app/bin/tool") == "tool\n"


def test_the_clusters_user_is_in_no_image_and_its_ids_are_no_change(head: RootsHead) -> None:
    head.publish(bootable)
    node = head.add(1)
    root = head.root_of(node)
    laid = "group ada 1000\nuser ada 1000 1000 /home/ada /bin/sh\n"
    accounts = head.state / "common/usr/lib/netbootd/accounts"
    accounts.parent.mkdir(parents=True, exist_ok=True)
    accounts.write_text(laid)  # as `[cluster] user = "ada"` has it written
    head.shell(
        f"cd {root}; cp -a {head.state}/common/. .;"
        "echo 'ada:x:1000:1000:cluster user:/home/ada:/bin/sh' >> etc/passwd;"
        "echo 'ada:*:19000:0:99999:7:::' >> etc/shadow"
    )
    assert told(head) == {}
    head.shell(f"echo 'games:x:5:60::/:/bin/false' >> {root}/etc/passwd")
    assert told(head) == {"/etc/passwd": ("changed", ["content"])}
    head.ctl("node", "promote", "n1")
    made = head.state / "images/debian/3/root/etc"
    assert (made / "passwd").read_text() == ("root:x:0:0:root:/root:/bin/sh\ngames:x:5:60::/:/bin/false\n")
    assert (made / "shadow").read_text() == "root:*:1::::::\n"


def test_what_netbootd_laid_once_and_renders_no_more_is_not_the_nodes_doing(head: RootsHead) -> None:
    head.publish(bootable)
    for tree in ("common", "each", "profiles/gpu", "profiles/other"):
        where = head.directory / "templates/node" / tree / "etc"
        where.mkdir(parents=True)
        (where / f"{tree.rpartition('/')[2]}.conf.j2").write_text("{% if false %}x{% endif %}")
    head.ctl("profile", "set", "base", "--root", "persistent")
    head.ctl("profile", "set", "gpu", "--parent", "base")
    head.ctl("profile", "set", "other", "--parent", "base")
    root = head.root_of(head.add(1, "--profile", "gpu", "--dhcp-option", "ntp-servers=none"))
    laid = "etc/systemd/timesyncd.conf.d/netbootd.conf etc/common.conf etc/each.conf etc/gpu.conf"
    for path in laid.split():
        assert not any((head.state / tree / path).exists() for tree in ("common", "nodes/n1")), path
        head.shell(f"mkdir -p $(dirname {root}/{path}); echo old > {root}/{path}")
    assert told(head) == {}
    head.shell(f"echo mine > {root}/etc/other.conf")
    assert "/etc/other.conf" in told(head), "another profile's, which this node never had"
    head.ctl("node", "promote", "n1")
    made = head.state / "images/debian/3/root"
    assert [path for path in laid.split() if (made / path).exists()] == []
    assert (made / "etc/other.conf").read_text() == "mine\n"


def test_what_is_laid_behind_a_link_of_the_image_is_not_the_nodes_doing(head: RootsHead) -> None:
    def linked(root: Path) -> None:
        bootable(root)
        (root / "root").rename(root / "var/roothome")
        (root / "root").symlink_to("var/roothome")
        (root / "etc/ssh").rename(root / "usr/ssh")
        (root / "etc/ssh").symlink_to("/usr/ssh")

    head.publish(linked)
    root, trees = head.root_of(head.add(1)), f"{head.state}/common {head.state}/nodes/n1"
    head.shell(
        f"for tree in {trees}; do cp -a $tree/. {head.directory}/laid; done; cd {head.directory}/laid;"
        f"cp -a root/. {root}/var/roothome; cp -a etc/ssh/. {root}/usr/ssh; rm -r root etc/ssh;"
        f"cp -a . {root}"
    )
    assert "PRIVATE KEY" in head.shell(f"cat {root}/root/.ssh/id_ed25519 {root}/usr/ssh/ssh_host_ed25519_key")
    assert told(head) == {}


def test_what_cant_be_network_booted_is_not_published(head: RootsHead) -> None:
    root = worked_on(head)
    head.shell(f"rm {root}/boot/vmlinuz-*")
    failed = head.attempt("node", "promote", "n1")
    assert failed.returncode != 0 and "kernel" in failed.stderr
    assert head.images.numbers("debian") == [1, 2]
    assert not list(head.images.directory.glob(".incoming*"))


def test_links_that_a_node_made_lead_nowhere(head: RootsHead) -> None:
    """Directories of the image replaced by links to the head node's own."""
    root = worked_on(head)
    secret = head.directory / "secret"
    secret.mkdir(mode=0o700)
    (secret / "two").write_text("the head node's")
    (secret / "passwd").write_text("root:secret:0:0::/:\n")
    for name in ("usr/games", "srv/data/deep", "usr/bin"):
        head.shell(f"cd {root}; rm -r {name}; ln -s {secret} {name}")
    head.shell(f"cd {root}; mv etc etc.old; ln -s {secret} etc")
    assert told(head)["/usr/games"] == ("changed", ["type"])
    done = head.attempt("node", "promote", "n1", "trap")
    assert sorted(path.name for path in secret.iterdir()) == ["passwd", "two"]
    assert (secret / "passwd").read_text() == "root:secret:0:0::/:\n"
    if done.returncode == 0:
        assert (head.state / "images/trap/1/root/usr/games").is_symlink()


def test_reset_gives_the_current_generation_at_once_and_keeps_other_nodes_changes(head: RootsHead) -> None:
    one, two = head.add(1), head.add(2)
    for node in (one, two):
        head.shell(f"echo mine > {head.root_of(node)}/etc/motd")
    head.publish(small_image)
    said = head.ctl("node", "reset", "n1")
    assert "n1: changes discarded; its next boot gets debian@2" in said
    assert head.mounted() == sorted([one.machine_id, two.machine_id])
    assert (
        head.shell(f"cat {head.root_of(one)}/etc/motd {head.root_of(two)}/etc/motd")
        == "from the image\nmine\n"
    )
    assert head.roots.generation(one.machine_id) == ("debian", 2)
    assert head.roots.generation(two.machine_id) == ("debian", 1)
    assert "nothing to apply" in head.ctl("apply")
    assert sorted(path.name for path in head.roots.directory.iterdir()) == head.roots.machine_ids()


def test_a_node_that_is_up_is_not_reset_unasked(head: RootsHead) -> None:
    node = head.add(1)
    head.shell(f"echo mine > {head.root_of(node)}/etc/motd")
    head.boots("n1", "debian@1", RootMode.PERSISTENT)
    head.lab.ip(f"address add {node.address}/32 dev lo")  # something answers there
    try:
        refused = head.attempt("node", "reset", "n1")
        assert refused.returncode != 0
        assert "n1 seems to be up" in refused.stderr and "--yes" in refused.stderr
        assert "`ssh n1 poweroff`" in refused.stderr and "off and on by hand" in refused.stderr
        assert head.shell(f"cat {head.root_of(node)}/etc/motd") == "mine\n"
        done = head.attempt("node", "reset", "n1", "--yes")
        assert done.returncode == 0
        assert "n1 runs on what is gone now: switch it off and on by hand" in done.stderr
    finally:
        head.lab.ip(f"address del {node.address}/32 dev lo")
    assert head.shell(f"cat {head.root_of(node)}/etc/motd") == "from the image\n"


def test_a_node_without_a_persistent_root_is_told_what_to_do(head: RootsHead) -> None:
    head.ctl("node", "add", "n1", "--mac", "52:54:00:00:00:01", "--image", "debian")
    for command in ("diff", "promote", "reset"):
        failed = head.attempt("node", command, "n1")
        assert failed.returncode != 0 and "n1 has no persistent root" in failed.stderr
        assert "Traceback" not in failed.stderr
    assert "--root persistent" in head.attempt("node", "diff", "n1").stderr


@pytest.mark.slow
def test_sigkill_at_any_moment_of_a_reset_leaves_the_old_root_or_the_new_one(head: RootsHead) -> None:
    node = head.add(1)
    root = head.root_of(node)
    head.shell(f"for i in $(seq 300); do echo $i > {root}/srv/data/f$i; done")
    command = [str(NETBOOTCTL), "--config", str(head.config), "node", "reset", "n1"]
    began = time.monotonic()
    head.attempt("node", "show", "n1")
    start = time.monotonic() - began
    seen = set()
    for step in range(7):
        process = subprocess.Popen(
            [*head.lab.inside(), *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(start * (0.5 + 0.2 * step))
        process.send_signal(signal.SIGKILL)
        process.wait()
        ordered = head.roots.resetting(node.machine_id).exists()
        files = len(list((head.roots.upper(node.machine_id) / "srv/data").glob("f*")))
        if ordered or files == 0 or not head.roots.home(node.machine_id).exists():
            seen.add("new")
            head.ctl("apply")
            assert head.shell(f"ls {root}/srv/data") == "deep\none\n"
            head.shell(f"for i in $(seq 300); do echo $i > {root}/srv/data/f$i; done")
        else:
            seen.add("old")
            head.ctl("apply")
            assert files == 300
            assert head.shell(f"ls {root}/srv/data | wc -l") == "302\n"
        assert head.mounted() == [node.machine_id]
        assert str(root) in head.exports()
        assert "nothing to apply" in head.ctl("apply")
        assert [path.name for path in head.roots.directory.iterdir()] == [node.machine_id]
    assert "old" in seen
