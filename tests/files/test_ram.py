"""What apply makes for nodes in memory: archives of node files for them alone, their image in one file."""

import io
import os
import subprocess
import tarfile
from collections.abc import Callable
from dataclasses import replace

import pytest

from netbootd.files import ram
from netbootd.files.apply import carry_out, plan
from netbootd.files.change import PackFiles, PackRoot
from netbootd.files.tree import Directory, File, Link, with_directories
from netbootd.images.ram import NAME
from netbootd.node import RootMode
from tests.files.head import Head

pytestmark = pytest.mark.needs("ssh-keygen", "mksquashfs")


def in_memory(head: Head, *numbers: int) -> None:
    for number in numbers:
        head.registry.set_node(f"n{number}", {"root": RootMode.RAM}, head.networks)


def names(head: Head) -> list[str]:
    directory = head.state / "ram"
    return sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*.tar"))


def packed(head: Head, name: str) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(head.state / "ram" / name) as tar:
        return {member.name: member for member in tar}


def test_only_nodes_in_memory_have_archives_and_the_common_one_is_made_once(head: Head) -> None:
    head.publish()
    head.add(1, 2, 3)
    in_memory(head, 1, 3)
    head.apply()
    assert names(head) == ["common.tar", "nodes/n1.tar", "nodes/n3.tar"]
    own = packed(head, "nodes/n1.tar")
    assert own["etc/ssh/ssh_host_ed25519_key"].mode == 0o600
    assert own["root/.ssh"].mode == 0o700
    assert {member.uid for member in own.values()} == {0}
    assert "etc/hosts" in packed(head, "common.tar")


def test_root_and_the_daemon_may_read_them_and_nobody_else(head: Head) -> None:
    if os.geteuid() == 0:
        os.chown(head.config.registry_path.parent, -1, 12345)
    head.publish()
    head.add(1)
    in_memory(head, 1)
    head.apply()
    group = head.config.registry_path.parent.stat().st_gid
    paths = [head.state / "ram", *(head.state / "ram").rglob("*")]
    assert {(path.stat().st_mode & 0o777, path.is_dir(), path.stat().st_gid) for path in paths} == {
        (0o750, True, group),
        (0o640, False, group),
    }
    (head.state / "ram/common.tar").chmod(0o644)
    head.apply()
    assert (head.state / "ram/common.tar").stat().st_mode & 0o777 == 0o640


def test_applied_twice_nothing_is_written_and_a_new_node_changes_the_common_one_alone(head: Head) -> None:
    head.publish()
    head.add(1, 2)
    in_memory(head, 1, 2)
    head.apply()
    before = {name: (head.state / "ram" / name).stat().st_ino for name in names(head)}
    assert not [change for change in head.plan().changes if isinstance(change, PackFiles | PackRoot)]
    head.add(3)
    head.apply()
    after = {name: (head.state / "ram" / name).stat().st_ino for name in names(head)}
    assert {name for name in before if before[name] != after[name]} == {"common.tar"}


def removed(head: Head) -> None:
    head.registry.remove_nodes(["n1"])


def set_to_another_mode(head: Head) -> None:
    head.registry.set_node("n1", {"root": RootMode.OVERLAY}, head.networks)


@pytest.mark.parametrize("away", [removed, set_to_another_mode])
def test_they_go_with_the_last_node_in_memory(head: Head, away: Callable[[Head], object]) -> None:
    head.publish()
    head.add(1)
    in_memory(head, 1)
    head.apply()
    (head.state / "ram/nodes/.netbootd-left-by-a-kill").write_text("secret")
    away(head)
    head.apply()
    assert not [path for path in (head.state / "ram").rglob("*") if path.is_file()]


def test_a_plan_shows_no_private_key(head: Head) -> None:
    head.publish()
    head.add(1)
    in_memory(head, 1)
    text = repr(head.plan().changes)
    assert "PackFiles" in text
    assert "PRIVATE KEY" not in text


def test_an_archive_is_the_tree_and_the_same_whenever_it_is_made() -> None:
    tree = with_directories(
        {
            "etc/a" + "x" * 120: File(b"long"),
            "etc/key": File(b"\0binary", 0o600),
            "etc/link": Link("/nowhere"),
            "root/.ssh/keys": File(b"k"),
        }
    )
    made = ram.archive(tree)
    assert made == ram.archive(dict(reversed(list(tree.items()))))
    with tarfile.open(fileobj=io.BytesIO(made)) as tar:
        members = {member.name: member for member in tar}
        assert set(members) == set(tree) - {"."}
        assert members["etc/link"].linkname == "/nowhere"
        assert members["root/.ssh"].mode == 0o700
        key = tar.extractfile("etc/key")
        assert key is not None
        assert key.read() == b"\0binary"
    assert list(members).index("etc") < list(members).index("etc/key")
    assert ram.archive({".": Directory()}) == ram.archive({})


def test_an_image_that_a_node_in_memory_boots_is_packed_last_and_once(head: Head) -> None:
    generation = head.publish(squashfs="zstd")
    head.add(1)
    head.apply()
    assert not (generation.boot / NAME).exists()
    in_memory(head, 1)
    changes = head.plan().changes
    assert isinstance(changes[-1], PackRoot)
    assert str(changes[-1]) == f"pack    {generation.boot / NAME}"
    head.apply()
    assert (generation.boot / NAME).is_file()
    assert not head.plan().changes


def test_what_its_kernel_could_not_mount_is_not_packed(head: Head) -> None:
    head.publish()
    head.add(1)
    in_memory(head, 1)
    assert not [change for change in head.plan().changes if isinstance(change, PackRoot)]


@pytest.mark.as_root("it mounts")
def test_the_service_that_may_not_write_to_images_leaves_packing_to_others_and_does_the_rest(
    head: Head,
) -> None:
    generation = head.publish(squashfs="zstd")
    head.add(1)
    in_memory(head, 1)
    images = str(head.config.images_dir)
    subprocess.run(["mount", "--bind", images, images], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", images], check=True)
        wanted = plan(replace(head.inputs, unmountable=None))
        assert not [change for change in wanted.changes if isinstance(change, PackRoot)]
        carry_out(wanted)
        assert names(head) == ["common.tar", "nodes/n1.tar"]
    finally:
        subprocess.run(["umount", images], check=True)
    head.apply()
    assert (generation.boot / NAME).is_file()
