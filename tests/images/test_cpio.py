"""The cpio writer against GNU cpio, which unpacks what it writes, and the kernel's rule: parents first."""

import gzip
import os
import subprocess
from pathlib import Path

import pytest

from netbootd.errors import HostError
from netbootd.images import cpio
from netbootd.images.cpio import Archive


def sample() -> Archive:
    archive = Archive()
    archive.file("usr/bin/tool", b"\x00binary\xff" * 100, 0o755)
    archive.file("etc/empty", b"")
    archive.symlink("bin", "usr/bin")
    archive.directory("tmp", 0o1777)
    archive.character_device("dev/console", 5, 1)
    return archive


@pytest.mark.needs("cpio")
def test_cpio_unpacks_what_was_put_in(tmp_path: Path) -> None:
    archive = sample().to_bytes()
    listing = subprocess.run(["cpio", "-itv"], input=archive, capture_output=True, check=True).stdout.decode()
    assert "crw-------" in listing
    assert "5,   1" in listing
    command = ["cpio", "-idm", "--quiet", "--nonmatching", "dev/console"]
    subprocess.run(command, input=archive, cwd=tmp_path, check=True)
    assert (tmp_path / "usr/bin/tool").read_bytes() == b"\x00binary\xff" * 100
    assert (tmp_path / "usr/bin/tool").stat().st_mode & 0o7777 == 0o755
    assert (tmp_path / "etc/empty").read_bytes() == b""
    assert (tmp_path / "bin").readlink() == Path("usr/bin")
    assert (tmp_path / "tmp").stat().st_mode & 0o7777 == 0o1777
    assert (tmp_path / "usr/bin/tool").stat().st_mtime == 0


@pytest.mark.needs("cpio")
def test_parents_come_before_their_children() -> None:
    names = subprocess.run(
        ["cpio", "-it", "--quiet"], input=sample().to_bytes(), capture_output=True, check=True
    )
    listed = names.stdout.decode().split()
    for position, name in enumerate(listed):
        parent = os.path.dirname(name)  # noqa: PTH120  a name in an archive
        assert not parent or parent in listed[:position]


def test_the_order_of_adding_does_not_matter() -> None:
    one, other = Archive(), Archive()
    one.file("a/b", b"1")
    one.file("a.c", b"2")
    other.file("a.c", b"2")
    other.file("a/b", b"1")
    assert one.to_bytes() == other.to_bytes()


def test_a_later_file_takes_the_place_of_an_earlier_one() -> None:
    archive = Archive()
    archive.file("init", b"old")
    archive.file("init", b"new")
    data = archive.to_bytes()
    assert b"new" in data
    assert b"old" not in data
    assert "init" in archive


def test_gzip_gives_the_same_octets_every_time() -> None:
    data = sample().to_bytes()
    assert cpio.compress(data, "gzip") == cpio.compress(data, "gzip")
    assert gzip.decompress(cpio.compress(data, "gzip")) == data


@pytest.mark.needs("zstd")
def test_zstd_can_be_undone_by_zstd() -> None:
    data = sample().to_bytes()
    packed = cpio.compress(data, "zstd")
    assert packed == cpio.compress(data, "zstd")
    assert subprocess.run(["zstd", "-dc"], input=packed, capture_output=True, check=True).stdout == data


def test_a_missing_zstd_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(HostError, match="apt install zstd"):
        cpio.compress(b"", "zstd")
