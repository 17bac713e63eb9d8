"""Persistent roots really mounted, by apply: when, how, and when not."""

import re
import time
from pathlib import Path

import pytest

from netbootd.node import RootMode
from netbootd.roots.layout import Roots
from tests.roots.head import NETBOOTCTL, RootsHead, small_image

pytestmark = [pytest.mark.net, pytest.mark.as_root("overlayfs keeps trusted.* attributes")]


def test_a_root_is_made_mounted_and_exported_to_its_node_alone_and_once(head: RootsHead) -> None:
    node = head.add(1)
    root = head.root_of(node)
    assert head.mounted() == [node.machine_id]
    assert head.shell(f"cat {root}/etc/motd") == "from the image\n"
    export = head.exports().partition(f'Path = "{root}"')[2].partition("EXPORT")[0]
    assert re.search(r"Clients = 10\.77\.0\.10;\s+Access_Type = RW;\s+Squash = No_Root_Squash;", export)
    assert "debian/1/root" not in head.exports(), "the bare image is nothing for it"
    assert "nothing to apply" in head.ctl("apply")


def test_what_a_node_writes_is_its_own_and_the_generation_stays(head: RootsHead) -> None:
    one, two = head.add(1), head.add(2)
    head.shell(f"echo mine > {head.root_of(one)}/etc/motd; rm {head.root_of(one)}/srv/data/one")
    assert head.shell(f"cat {head.root_of(two)}/etc/motd; ls {head.root_of(two)}/srv/data") == (
        "from the image\ndeep\none\n"
    )
    generation = head.state / "images/debian/1/root"
    assert (generation / "etc/motd").read_text() == "from the image\n"
    assert (head.roots.upper(one.machine_id) / "etc/motd").read_text() == "mine\n"


def test_nobody_but_root_and_the_daemon_gets_into_what_nodes_let_their_users_do(head: RootsHead) -> None:
    node = head.add(1)
    assert head.roots.directory.stat().st_mode & 0o777 == 0o750
    registry = head.state / "registry"
    assert head.roots.directory.stat().st_gid == registry.stat().st_gid
    changes = head.roots.home(node.machine_id) / "changes"
    assert changes.stat().st_mode & 0o777 == 0o700
    options = head.shell(f"findmnt -n -o OPTIONS {head.root_of(node)}").split(",")
    assert {"nosuid", "nodev", "noexec"} <= set(options)


def test_a_root_stays_while_its_node_runs_on_it_and_changes_outlive_another_mode(head: RootsHead) -> None:
    node = head.add(1)
    head.shell(f"echo mine > {head.root_of(node)}/etc/motd")
    head.boots("n1", "debian@1", RootMode.PERSISTENT)
    head.ctl("node", "set", "n1", "--root", "overlay")
    assert head.mounted() == [node.machine_id]
    assert str(head.root_of(node)) in head.exports()
    head.boots("n1", "debian@1", RootMode.OVERLAY)
    head.ctl("apply")
    assert head.mounted() == []
    assert str(head.root_of(node)) not in head.exports()
    head.ctl("node", "set", "n1", "--root", "persistent")
    assert head.shell(f"cat {head.root_of(node)}/etc/motd") == "mine\n"


def test_a_renamed_node_keeps_its_root(head: RootsHead) -> None:
    node = head.add(1)
    head.shell(f"echo mine > {head.root_of(node)}/etc/motd")
    head.ctl("node", "rename", "n1", "orion")
    assert head.mounted() == [node.machine_id]
    assert head.shell(f"cat {head.root_of(head.node('orion'))}/etc/motd") == "mine\n"


def newer_image(root: Path) -> None:
    small_image(root)
    (root / "etc/new").touch()


def test_a_root_stays_over_its_generation_and_people_are_told(head: RootsHead) -> None:
    node = head.add(1)
    head.shell(f"echo mine > {head.root_of(node)}/etc/motd")
    head.publish(newer_image)
    head.ctl("apply")
    assert Roots(head.roots.directory).generation(node.machine_id) == ("debian", 1)
    assert head.shell(f"ls {head.root_of(node)}/etc") == "motd\npasswd\n"
    shown = head.json("node", "show", "n1")["persistent_root"]
    assert (shown["generation"], shown["newer"], shown["size"]) == ("debian@1", "debian@2", 5)
    assert "own root; debian@2 is current" in head.ctl("status")
    for told in (head.attempt("node", "set", "n1", "--image", "debian").stderr, head.ctl("why", "n1")):
        assert "n1 goes on with its own root, over debian@1: debian@2 isn't in it" in told
        assert "netbootctl node reset n1" in told
    (one, _) = head.json("image", "show", "debian")
    assert any("n1" in user for user in one["used_by"])
    refused = head.attempt("image", "remove", "debian@1")
    assert refused.returncode != 0 and "debian@1 is used by" in refused.stderr


def test_a_root_without_an_image_is_told_with_what_makes_the_image_and_not_with_apply(
    head: RootsHead,
) -> None:
    head.add(1, "--image", "alma")
    (head.state / "images/debian/current").unlink()
    head.add(2, "--image", "debian")
    lines = head.attempt("doctor").stdout.splitlines()
    for name, why, remedy in (
        ("n1", "image alma has no generation", "netbootctl image build alma"),
        ("n2", "image debian has no current generation", "netbootctl image use debian@NUMBER"),
    ):
        assert any(f"no persistent root yet for {name}: {why}" in line for line in lines), lines
        said = head.attempt("node", "diff", name).stderr
        assert f"{name} has no persistent root yet: {why}" in said
        assert remedy in said and "netbootctl apply" not in said
    assert not any("not mounted" in line for line in lines)


def test_what_a_node_runs_is_told_from_what_it_boots_next(head: RootsHead) -> None:
    def image_of_status() -> str:
        (node,) = head.json("status")["nodes"]
        assert str(node["boots"]) in head.ctl("status")
        return str(node["boots"])

    head.add(1)
    assert "next boot" not in head.ctl("node", "set", "n1", "--root", "overlay"), "it has booted nothing yet"
    head.boots("n1", "debian@1", RootMode.OVERLAY)
    assert image_of_status() == "debian@1"
    said = head.ctl("node", "set", "n1", "--root", "persistent")
    assert "n1 takes it at its next boot" in said and "is kept" not in said
    assert image_of_status() == "debian@1; next debian@1, own root"
    head.boots("n1", "debian@1", RootMode.PERSISTENT)
    assert image_of_status() == "debian@1, own root"
    said = head.ctl("node", "set", "n1", "--root", "overlay")
    assert "n1 takes it at its next boot" in said
    assert "what n1 changed in its own root is kept: `netbootctl node diff n1`" in said
    assert image_of_status() == "debian@1, own root; next debian@1, overlay"
    assert "debian@1, own root" in head.ctl("node", "show", "n1")
    assert head.json("node", "show", "n1")["booted_root"] == "persistent"
    head.ctl("node", "set", "n1", "--root", "ram")
    head.boots("n1", "debian@1", RootMode.RAM)
    assert image_of_status() == "debian@1, in memory"
    assert "next boot" not in head.ctl("node", "set", "n1", "--dhcp-option", "ntp-servers=none")


def test_what_else_is_mounted_in_its_place_makes_way(head: RootsHead) -> None:
    node = head.add(1)
    root = head.root_of(node)
    head.shell(f"umount {root}; mount -t tmpfs tmpfs {root}")
    planned = head.ctl("apply", "--dry-run").splitlines()
    assert f"unmount {root}" in planned
    head.ctl("apply")
    assert head.shell(f"cat {root}/etc/motd") == "from the image\n"
    assert str(root) in head.exports()


def test_a_root_in_use_by_another_namespace_is_told_of_and_keeps_no_other_from_booting(
    head: RootsHead,
) -> None:
    one, two = head.add(1), head.add(2)
    holder = head.lab.start("holder", ["unshare", "--mount", "--propagation", "private", "sleep", "60"])
    try:
        holding = f"grep -q {one.machine_id} /proc/{holder.popen.pid}/mountinfo"
        deadline = time.monotonic() + 20
        while head.lab.run(
            ["sh", "-c", f"{holding} && ! cmp -s /proc/self/ns/mnt /dev/null"], check=False
        ).returncode:
            assert time.monotonic() < deadline
        time.sleep(0.5)  # for unshare to have its own copy
        for node in (one, two):
            head.shell(f"umount {head.root_of(node)}")
        failed = head.attempt("apply")
        assert failed.returncode != 0
        assert "in use by another mount of them (and 1 more)" in failed.stderr
        assert "ip netns exec" in failed.stderr
        assert str(head.root_of(one)) not in head.exports(), "the empty directory is nobody's root"
    finally:
        holder.stop()
    head.ctl("apply")
    assert head.mounted() == sorted([one.machine_id, two.machine_id])


def test_a_file_system_that_cant_hold_changes_is_named_before_anything_is_tried(head: RootsHead) -> None:
    roots, aside = head.roots.directory, head.directory / "aside"
    roots.mkdir()
    head.shell(
        f"mkdir -p {aside}; mount -t tmpfs tmpfs {aside}; mkdir {aside}/u {aside}/w;"
        f" mount -t overlay -o lowerdir={roots},upperdir={aside}/u,workdir={aside}/w overlay {roots}"
    )
    said = head.attempt("node", "add", "n1", "--mac", "52:54:00:00:00:01", "--root", "persistent").stderr
    assert f"{roots} lies on an overlay itself" in said
    assert "mount ext4, xfs or btrfs" in said
    assert head.mounted() == []
    assert "lies on an overlay itself" in head.attempt("doctor").stdout


def test_a_generation_that_is_gone_costs_its_nodes_no_changes(head: RootsHead) -> None:
    node = head.add(1)
    head.shell(f"echo mine > {head.root_of(node)}/etc/motd; umount {head.root_of(node)}")
    head.publish(small_image)
    (head.state / "images/debian/1").rename(head.directory / "elsewhere")
    said = head.attempt("apply")
    assert "the changes of n1 lie over debian@1, and that isn't there" in said.stderr
    assert head.mounted() == []
    (head.directory / "elsewhere").rename(head.state / "images/debian/1")
    head.ctl("apply")
    assert head.shell(f"cat {head.root_of(node)}/etc/motd") == "mine\n"


def test_changes_over_a_generation_that_was_copied_are_explained_and_can_be_kept(head: RootsHead) -> None:
    """As a restored backup is: other inodes, so that overlayfs refuses it (ESTALE)."""
    node = head.add(1)
    root, generation = head.root_of(node), head.state / "images/debian/1/root"
    head.shell(f"echo mine > {root}/etc/motd; umount {root}; cp -a {generation} {generation}.new")
    head.shell(f"rm -r {generation}; mv {generation}.new {generation}")
    failed = head.attempt("apply")
    assert failed.returncode != 0
    assert "its changes were made over another copy of" in failed.stderr and "promote" in failed.stderr
    assert str(root) not in head.exports()
    head.ctl("node", "reset", "n1")
    assert head.shell(f"cat {root}/etc/motd") == "from the image\n"


def test_a_node_that_goes_takes_no_changes_with_it_unasked(head: RootsHead) -> None:
    node = head.add(1)
    head.shell(f"echo mine > {head.root_of(node)}/etc/motd; mkdir {head.root_of(node)}/opt")
    refused = head.attempt("node", "remove", "n1")
    assert refused.returncode != 0 and "n1 changed files in a root of its own" in refused.stderr
    assert "node promote n1" in refused.stderr and "--discard" in refused.stderr
    assert head.node("n1") == node
    head.ctl("node", "remove", "n1", "--discard")
    assert head.mounted() == []
    assert head.roots.machine_ids() == []


def test_a_node_without_changes_of_its_own_goes_with_its_root(head: RootsHead) -> None:
    node = head.add(1)
    root = head.root_of(node)
    head.shell(f"cp -a {head.state}/common/. {head.state}/nodes/n1/. {root}; date > {root}/var/log/messages")
    head.ctl("node", "remove", "n1")
    assert head.roots.machine_ids() == []


def test_roots_of_nobody_are_kept_and_doctor_says_what_removes_them(head: RootsHead) -> None:
    node = head.add(1)
    head.shell(f"echo mine > {head.root_of(node)}/etc/motd")
    with head.registry() as registry:
        registry.remove_nodes(["n1"])
    head.ctl("apply")
    assert head.mounted() == []
    assert head.roots.machine_ids() == [node.machine_id]
    findings = head.attempt("doctor").stdout
    assert "a node changed which is no longer registered" in findings
    command = f"netbootctl node reset {node.machine_id}"
    assert command in findings
    head.ctl(*command.split()[1:])
    assert head.roots.machine_ids() == []


def test_apply_undone_leaves_nothing_mounted_and_all_changes(head: RootsHead) -> None:
    node = head.add(1)
    head.shell(f"echo mine > {head.root_of(node)}/etc/motd")
    head.ctl("apply", "--undo")
    assert head.mounted() == []
    assert "EXPORT" not in head.exports()
    head.ctl("apply")
    assert head.shell(f"cat {head.root_of(node)}/etc/motd") == "mine\n"


def test_one_mounts_and_another_exports_where_one_may_not_do_both(head: RootsHead) -> None:
    """As netbootd-roots.service and netbootd-apply.service share the work."""
    asked = head.directory / "asked"
    only_roots = ("apply", "--only-roots", "--then", str(asked))
    node = head.add(1)
    root = str(head.root_of(node))
    head.shell(f"umount {root}")
    head.ctl("apply", "--without-roots")
    assert head.mounted() == [] and root not in head.exports()
    head.ctl(*only_roots)
    assert head.mounted() == [node.machine_id] and root not in head.exports()
    assert asked.exists(), "somebody has to export it now"
    asked.unlink()
    # ReadOnlyPaths= has all of it read-only there, what is mounted in it too.
    view = f"mount --rbind {head.roots.directory} {head.roots.directory}"
    for place in (head.roots.directory, root):
        view += f" && mount -o bind,remount,ro {place}"
    unit = f"{view} && {NETBOOTCTL} --config {head.config} apply --without-roots"
    head.lab.run(["unshare", "--mount", "--propagation", "slave", "sh", "-euc", unit])
    assert root in head.exports()
    with head.registry() as registry:
        registry.set_node("n1", {"root": RootMode.OVERLAY}, ())
    head.ctl(*only_roots)
    assert head.mounted() == [node.machine_id], "what is exported stays mounted"
    head.ctl("apply", "--without-roots")
    assert root not in head.exports() and head.mounted() == [node.machine_id]
    head.ctl(*only_roots)
    assert head.mounted() == []
    assert not asked.exists()
