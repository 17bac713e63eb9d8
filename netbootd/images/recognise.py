"""What somebody gave us to import: told by what it holds, never by what it is called."""

import lzma
import re
import subprocess
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from enum import Enum, auto
from io import BytesIO
from pathlib import Path

from netbootd.errors import HostError, UserError
from netbootd.images.disks import filesystems, partitions
from netbootd.images.source import Packing, packing, program

_HEAD = filesystems.HEAD
_CONVERT = "qemu-img convert -O raw FILE disk.img makes it one that can be imported"
_OTHERS = (
    (b"QFI\xfb", "a qcow2 disk image", _CONVERT),
    (b"KDMV", "a VMware disk image", _CONVERT),
    (b"vhdxfile", "a Hyper-V disk image", _CONVERT),
    (b"conectix", "a Virtual PC disk image", _CONVERT),
    (b"<<< Oracle VM VirtualBox Disk Image", "a VirtualBox disk image", _CONVERT),
    (
        b"\x3a\xff\x26\xed",
        "an Android sparse image",
        "simg2img FILE disk.img makes it one that can be imported",
    ),
    (b"UBI#", "an image for flash chips (UBI)", "mount it, and import the directory that it is mounted on"),
    (b"<!DOCTYPE", "a web page", "what was downloaded isn't the file itself: look at the link"),
    (b"<html", "a web page", "what was downloaded isn't the file itself: look at the link"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "unpack it, and import what was in it"),
    (b"Rar!", "a RAR archive", "unpack it, and import what was in it"),
    (b"07070", "a cpio archive", "unpack it, and import the directory"),
    (b"!<arch>", "a Debian package", "give a root file system: a disk image, an archive or a directory"),
)
_CONTAINER_FILE = re.compile(
    r"(\./)?(blobs(/|$)|oci-layout$|index\.json$|manifest\.json$|repositories$|sha256:[0-9a-f]{64}"
    r"|[0-9a-f]{64}(/|\.json$|\.tar$|$))"
)
_DISK_SUFFIXES = (".img", ".raw", ".bin", ".wic", ".sdcard", ".dd")


ZIP_FAULTS = (zipfile.BadZipFile, RuntimeError, EOFError, zlib.error, lzma.LZMAError, OSError)
"""What zipfile raises for archives that are damaged, encrypted (RuntimeError) or of an unknown method."""


class Kind(Enum):
    """What is in the file, once it is unpacked."""

    TAR = auto()
    CONTAINER = auto()
    DISK = auto()
    ISO = auto()


@dataclass(frozen=True, slots=True)
class Source:
    """A file or block device to import. `packed` is how it is packed; `member` the file in a zip archive."""

    path: Path
    kind: Kind
    size: int
    packed: Packing | None = None
    member: str | None = None

    @property
    def in_place(self) -> bool:
        """Whether what is in it can be read at any place, without unpacking it."""
        return self.packed is None and self.member is None


def recognise(path: Path) -> Source:
    """What is in the file or block device `path`.

    Raises UserError for what can't be imported, HostError where it can't be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
            size = file.seek(0, 2)
    except FileNotFoundError as error:
        raise UserError(
            f"there is no file {path}", "give the path of an image, an archive or a directory"
        ) from error
    except OSError as error:
        raise HostError(f"can't read {path}: {error.strerror}") from error
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return _in_zip(path, size)
    packed = packing(head)
    if packed is not None:
        head = _unpacked_head(path, packed)
    return Source(path, _checked_kind(path, head), size, packed)


def kind_of(head: bytes) -> Kind | None:
    """What begins with `head`; None for what nobody knows, which may still be an old tar archive. Pure."""
    if head[32_769:32_774] == b"CD001":
        return Kind.ISO
    if head[257:262] == b"ustar":
        return Kind.CONTAINER if _is_container(head) else Kind.TAR
    if partitions.is_partitioned(head) or filesystems.recognise(head) is not None:
        return Kind.DISK
    return None


def _checked_kind(path: Path, head: bytes) -> Kind:
    kind = kind_of(head)
    if kind is None:
        for magic, what, hint in _OTHERS:
            if head.startswith(magic):
                raise UserError(f"{path} is {what}", hint)
    return kind or Kind.TAR


def _is_container(head: bytes) -> bool:
    """Whether the first names of a tar archive are those of container images."""
    names: list[str] = []
    try:
        with tarfile.open(fileobj=BytesIO(head), mode="r:", errors="surrogateescape") as archive:
            while len(names) < 3 and (member := archive.next()) is not None:
                names.append(member.name)
    except (tarfile.TarError, EOFError, ValueError):
        pass
    return any(_CONTAINER_FILE.match(name) for name in names if name != ".")


def _unpacked_head(path: Path, packed: Packing) -> bytes:
    """The first octets of what is packed in it; fewer where it is damaged: reading it tells why."""
    with (
        path.open("rb") as file,
        program([*packed.command], packed.package, stdin=file, stdout=subprocess.PIPE) as (process, _),
    ):
        assert process.stdout is not None  # noqa: S101 - asked for
        return process.stdout.read(_HEAD)


def _in_zip(path: Path, size: int) -> Source:
    """The disk image in a zip archive: the one of its files that looks like one, or its only file."""
    try:
        with zipfile.ZipFile(path) as archive:
            files = [info for info in archive.infolist() if not info.is_dir()]
            images = [info for info in files if info.filename.lower().endswith(_DISK_SUFFIXES)] or files
            if len(images) != 1:
                some = ", ".join(ascii(info.filename)[1:-1] for info in images[:5]) or "nothing"
                raise UserError(
                    f"{path} has not one disk image in it, but {some}", "unpack it, and import one"
                )
            with archive.open(images[0]) as member:
                head = member.read(_HEAD)
    except ZIP_FAULTS as error:
        raise UserError(
            f"{path} can't be unpacked: {error}", "download it again, or unpack it yourself"
        ) from error
    if packing(head) is not None:
        raise UserError(f"{path} holds a packed file", "unpack it, and import what was in it")
    return Source(path, _checked_kind(path, head), size, member=images[0].filename)
