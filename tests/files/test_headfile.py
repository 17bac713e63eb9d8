"""Files of the head node's own: all but the content stays."""

import os
import sys
from pathlib import Path

import pytest

from netbootd.errors import HostError
from netbootd.files.headfile import read_file, remove_file, replace_file
from tests.lab.namespace import Lab


def test_owner_mode_and_attributes_stay(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text("old")
    path.chmod(0o640)
    try:
        os.setxattr(path, "user.note", b"mine")
    except OSError:
        pytest.skip("this file system has no extended attributes")
    if os.geteuid() == 0:
        os.chown(path, 12, 34)
    before = path.stat()
    replace_file(path, b"new")
    after = path.stat()
    assert path.read_bytes() == b"new"
    assert (after.st_uid, after.st_gid, after.st_mode) == (before.st_uid, before.st_gid, before.st_mode)
    assert os.getxattr(path, "user.note") == b"mine"
    assert after.st_ino != before.st_ino, "replaced as a whole"
    assert [p.name for p in tmp_path.iterdir()] == ["hosts"]


def test_a_link_stays_and_its_target_changes(tmp_path: Path) -> None:
    target = tmp_path / "real" / "hosts"
    target.parent.mkdir()
    target.write_text("old")
    (tmp_path / "hosts").symlink_to("real/hosts")
    replace_file(tmp_path / "hosts", b"new")
    assert (tmp_path / "hosts").is_symlink()
    assert target.read_bytes() == b"new"


def test_a_new_file_is_readable_to_all_and_its_directory_is_made(tmp_path: Path) -> None:
    path = tmp_path / "exports.d" / "x"
    replace_file(path, b"new")
    assert path.stat().st_mode & 0o777 == 0o644
    remove_file(path)
    remove_file(path)
    assert read_file(path) is None


def test_what_is_refused_says_which_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HostError, match="file/hosts"):
        replace_file(tmp_path / "file" / "hosts", b"new")


@pytest.mark.net
@pytest.mark.parametrize("content", [b"short", b"long" * 1000])
@pytest.mark.parametrize("read_only", [False, True], ids=["container", "ProtectSystem=strict"])
def test_a_file_that_is_mounted_is_written_into(
    lab: Lab, tmp_path: Path, content: bytes, read_only: bool
) -> None:
    """As /etc/hosts is in a container, where rename onto it is refused; or all beside it is read-only."""
    inside, etc, new = tmp_path / "inside", tmp_path / "etc", tmp_path / "new"
    hosts = etc / "hosts"
    etc.mkdir()
    inside.write_text("old content")
    hosts.touch()
    new.write_bytes(content)
    if read_only:
        lab.run(["mount", "--bind", etc, etc])
    lab.run(["mount", "--bind", inside, hosts])
    if read_only:
        lab.run(["mount", "-o", "remount,bind,ro", etc])

    def run(call: str) -> str:
        program = f"import sys; from pathlib import Path; from netbootd.files.headfile import *\n{call}"
        return lab.run([sys.executable, "-c", program, hosts, new], check=False).stderr

    assert run("replace_file(Path(sys.argv[1]), Path(sys.argv[2]).read_bytes())") == ""
    assert inside.read_bytes() == content
    assert [p.name for p in etc.iterdir()] == ["hosts"]
    assert run("remove_file(Path(sys.argv[1]))") == ""
    assert inside.read_bytes() == b""
    if read_only:
        assert "read-write" in run("replace_file(Path(sys.argv[1]).with_name('other'), b'')")
