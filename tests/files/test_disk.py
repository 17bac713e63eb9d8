"""Trees on a real disk: links lead nowhere, writes are whole, what is refused is explained."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from netbootd.errors import HostError
from netbootd.files import disk
from netbootd.files.disk import carry_out, listed, read, scan
from netbootd.files.tree import Action, Directory, File, Link, Other, Step
from tests.lab.namespace import Lab

WRITE = Step(Action.WRITE, "etc/hostname", File(b"n1\n", 0o640))
MAKE_ETC = Step(Action.MAKE, "etc", Directory())


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A directory that nothing may reach from the tree."""
    made = tmp_path / "outside"
    made.mkdir()
    (made / "hostname").write_text("untouched")
    return made


@pytest.fixture
def base(tmp_path: Path) -> Path:
    made = tmp_path / "state"
    made.mkdir()
    return made


def test_a_file_has_its_mode_whatever_the_umask(base: Path) -> None:
    old = os.umask(0o077)
    try:
        carry_out(base, "n1", MAKE_ETC)
        carry_out(base, "n1", WRITE)
    finally:
        os.umask(old)
    assert scan(base, "n1") == {".": Directory(), "etc": Directory(), "etc/hostname": WRITE.entry}


def test_a_link_in_place_of_a_directory_is_not_followed(base: Path, outside: Path) -> None:
    (base / "n1").mkdir()
    (base / "n1" / "etc").symlink_to(outside)
    with pytest.raises(HostError, match="on the way"):
        carry_out(base, "n1", WRITE)
    assert (outside / "hostname").read_text() == "untouched"


def test_a_link_in_place_of_the_tree_is_not_followed(base: Path, outside: Path) -> None:
    (base / "n1").symlink_to(outside)
    assert scan(base, "n1") == {".": Other("no directory")}
    assert read(base, "n1/hostname") is None
    assert listed(base, "n1") == []
    carry_out(base, "n1", Step(Action.REMOVE, ".", Directory()))
    assert not (base / "n1").is_symlink()
    assert list(outside.iterdir()) == [outside / "hostname"]


def test_a_link_in_place_of_a_file_is_replaced(base: Path, outside: Path) -> None:
    (base / "n1" / "etc").mkdir(parents=True)
    (base / "n1" / "etc" / "hostname").symlink_to(outside / "hostname")
    carry_out(base, "n1", WRITE)
    assert (outside / "hostname").read_text() == "untouched"
    assert read(base, "n1/etc/hostname") == b"n1\n"


def test_removing_a_tree_removes_links_and_not_what_they_lead_to(base: Path, outside: Path) -> None:
    (base / "n1" / "deep" / "er").mkdir(parents=True)
    (base / "n1" / "deep" / "er" / "link").symlink_to(outside)
    carry_out(base, "n1", Step(Action.REMOVE, ".", Directory()))
    assert list(base.iterdir()) == []
    assert (outside / "hostname").exists()


@pytest.mark.net
@pytest.mark.as_root("mounts in the directory of another user")
def test_what_is_mounted_in_a_tree_is_not_emptied(lab: Lab, base: Path, outside: Path) -> None:
    (base / "n1" / "mounted").mkdir(parents=True)
    program = (
        "import sys, pathlib\n"
        "from netbootd.files import disk, tree\n"
        "step = tree.Step(tree.Action.REMOVE, '.', tree.Directory())\n"
        "disk.carry_out(pathlib.Path(sys.argv[1]), 'n1', step)"
    )
    lab.run(["mount", "-t", "tmpfs", "tmpfs", base / "n1" / "mounted"])
    lab.run(["touch", base / "n1" / "mounted" / "precious"])
    done = lab.run([sys.executable, "-c", program, base], check=False)
    assert "busy" in done.stderr
    lab.run(["test", "-e", base / "n1" / "mounted" / "precious"])


def test_devices_and_pipes_are_seen_and_never_opened(base: Path) -> None:
    (base / "n1").mkdir()
    os.mkfifo(base / "n1" / "pipe")
    assert isinstance(scan(base, "n1")["pipe"], Other)  # opening it would wait for ever
    assert read(base, "n1/pipe") is None


@pytest.mark.as_root("gives a file away")
def test_a_file_of_somebody_else_is_not_taken_for_ours(base: Path) -> None:
    carry_out(base, "n1", MAKE_ETC)
    carry_out(base, "n1", WRITE)
    os.chown(base / "n1" / "etc" / "hostname", 65534, 65534)
    os.chown(base / "n1" / "etc", 65534, 65534)
    found = scan(base, "n1")
    assert found["etc/hostname"] != WRITE.entry
    assert found["etc"] != Directory()
    for step in (Step(Action.MODE, "etc", Directory()), WRITE):
        carry_out(base, "n1", step)
    assert scan(base, "n1")["etc/hostname"] == WRITE.entry
    assert (base / "n1" / "etc").stat().st_uid == 0


def test_a_reader_never_sees_half_a_file(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    carry_out(base, "n1", MAKE_ETC)
    carry_out(base, "n1", WRITE)

    def full(_: int, __: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fchmod", full)
    with pytest.raises(HostError, match="make room"):
        carry_out(base, "n1", Step(Action.WRITE, "etc/hostname", File(b"x" * 100_000)))
    assert read(base, "n1/etc/hostname") == b"n1\n"
    assert listed(base, "n1/etc") == ["hostname"]


def test_a_full_disk_is_explained(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="make room"), disk.explained(tmp_path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_what_isnt_there_is_empty(base: Path) -> None:
    assert scan(base, "n1") == {}
    assert listed(base, "n1") == []
    assert read(base, "n1/x") is None
    assert scan(base / "nothing", "n1") == {}


def test_links_are_values(base: Path) -> None:
    carry_out(base, "n1", Step(Action.MAKE, ".", Directory()))
    for target in ("one", "two"):
        carry_out(base, "n1", Step(Action.LINK, "link", Link(target)))
        assert scan(base, "n1")["link"] == Link(target)


def test_setgid_of_the_parent_doesnt_leak_into_a_tree(base: Path) -> None:
    subprocess.run(["chmod", "g+s", str(base)], check=True)
    carry_out(base, "n1", Step(Action.MAKE, ".", Directory(0o700)))
    assert scan(base, "n1") == {".": Directory(0o700)}
