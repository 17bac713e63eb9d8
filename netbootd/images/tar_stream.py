"""Tar archives as a stream from somebody we don't know: read once, forward, with bounds.

The headers are parsed by Python's tarfile; this holds it to what a stream of a root file system may be. An
archive that is cut short or damaged in the middle is an error (tarfile would take it for the end), a header
can't ask for a gigabyte of memory, and nothing is ever read twice.
"""

import tarfile
from collections.abc import Iterator
from typing import BinaryIO

from netbootd.errors import UserError

_LONGEST_HEADER = 1 << 20
_CHUNK = 1 << 20
_DEEPEST = 100
_MOST_PADDING = 64 << 20
_KINDS = (
    tarfile.REGTYPE,
    tarfile.AREGTYPE,
    tarfile.CONTTYPE,
    tarfile.GNUTYPE_SPARSE,
    tarfile.LNKTYPE,
    tarfile.SYMTYPE,
    tarfile.CHRTYPE,
    tarfile.BLKTYPE,
    tarfile.DIRTYPE,
    tarfile.FIFOTYPE,
)
_LARGEST_ID = 0xFFFF_FFFE


class ArchiveError(UserError):
    """What the archive is or holds can't be accepted; says why, in words."""


class TarStream:
    """The members of a tar archive, in order, and the data of the one at hand."""

    def __init__(self, source: BinaryIO) -> None:
        self._reader = _Reader(source)

    def members(self) -> Iterator[tarfile.TarInfo]:
        """Every member. Raises ArchiveError for what is no tar archive, or not a whole one."""
        try:
            tar = tarfile.TarFile(fileobj=self._reader, mode="r", errors="surrogateescape")  # type: ignore[arg-type]
            # The constructor has read the first header already.
            while (member := tar.next()) is not None:
                tar.members = []  # type: ignore[attr-defined]  # it would keep them all
                yield member
        except tarfile.TarError as error:
            raise ArchiveError(f"it isn't a tar archive, or a damaged one: {error}") from error
        except (ValueError, OverflowError, IndexError, RecursionError) as error:
            raise ArchiveError(f"one of its headers is damaged: {error}") from error
        self._reader.expect_end()

    def go_to(self, offset: int) -> None:
        """Skip to where a member's data begin."""
        self._reader.seek(offset)

    def data(self, size: int) -> Iterator[bytes]:
        """The next `size` octets, in pieces. Raises ArchiveError where the archive ends before."""
        while size > 0:
            chunk = self._reader.exactly(min(size, _CHUNK))
            size -= len(chunk)
            yield chunk


class _Reader:
    """What tarfile reads from: a stream that only goes forward, in steps that fit into memory."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._position = 0
        self._last = b""

    def tell(self) -> int:
        """Octets read so far."""
        return self._position

    def seek(self, offset: int) -> int:
        """Skip forward to `offset`."""
        if offset < self._position:
            raise ArchiveError("its sizes don't add up: a header lies within another member's data")
        while offset > self._position:
            self.exactly(min(offset - self._position, _LONGEST_HEADER))
        return self._position

    def read(self, size: int) -> bytes:
        """A header, or the rest of the stream where that is shorter."""
        if not 0 <= size <= _LONGEST_HEADER:
            raise ArchiveError(f"it has a header of {size} octets")
        self._last = self._source.read(size)
        self._position += len(self._last)
        return self._last

    def exactly(self, size: int) -> bytes:
        """The next `size` octets."""
        chunk = self._source.read(size)
        self._position += len(chunk)
        if len(chunk) != size:
            raise ArchiveError(f"it is cut short after {self._position} octets")
        return chunk

    def expect_end(self) -> None:
        """Check what tarfile took for the end: a block of zeros, with nothing but more of them behind it."""
        if len(self._last) != tarfile.BLOCKSIZE:
            raise ArchiveError(f"it is cut short after {self._position} octets")
        if any(self._last):
            raise ArchiveError(f"it is damaged: octet {self._position - tarfile.BLOCKSIZE} begins no header")
        padding = 0
        while chunk := self._source.read(_LONGEST_HEADER):
            padding += len(chunk)
            if padding > _MOST_PADDING or any(chunk):
                raise ArchiveError("it goes on after its end mark: several archives in one file?")


def refusal(member: tarfile.TarInfo) -> str | None:
    """Why `member` may not be part of a root file system; None where it may. Pure."""
    rules: tuple[tuple[bool, str], ...] = (
        (member.type not in _KINDS, f"is of the unknown kind {member.type!r}"),
        (not (0 <= member.uid <= _LARGEST_ID and 0 <= member.gid <= _LARGEST_ID), "has an impossible owner"),
        (member.size < 0, "has a size below zero"),
        (
            member.issym() and _climbs(member.name, member.linkname),
            f"is a link that leaves the root: {member.linkname[:100]!a}",
        ),
        (
            member.isdev() and not member.isfifo() and "dev" not in member.name.split("/")[:-1],
            "is a device node outside of /dev",
        ),
    )
    if why := _outside(member.name):
        return why
    if member.islnk() and (why := _outside(member.linkname)):
        return f"is a hard link, and its target {why}"
    return next((why for broken, why in rules if broken), None)


def data_pieces(member: tarfile.TarInfo) -> list[tuple[int, int]]:
    """Where the octets that the archive holds belong in the file: offset and size, holes left out.

    Raises ArchiveError where they don't fit the file's size. Pure.
    """
    sparse: list[tuple[int, int]] | None = member.sparse  # type: ignore[assignment]  # typeshed has int
    pieces = [(0, member.size)] if sparse is None else sparse
    if any(offset < 0 or size < 0 or offset + size > member.size for offset, size in pieces):
        raise ArchiveError("its holes don't fit its size")
    return pieces


def _outside(name: str) -> str | None:
    if name.startswith("/"):
        return "has an absolute path"
    parts = name.split("/")
    if ".." in parts:
        return "has a path that climbs with .."
    return "lies too deep" if len(parts) > _DEEPEST else None


def _climbs(name: str, target: str) -> bool:
    """Whether a relative link at `name` climbs out; an absolute one begins at the image's own root."""
    if target.startswith("/"):
        return False
    depth = len([part for part in name.split("/") if part not in ("", ".")]) - 1
    for part in target.split("/"):
        if part == "..":
            depth -= 1
            if depth < 0:
                return True
        elif part not in ("", "."):
            depth += 1
    return False
