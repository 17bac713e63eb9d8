"""The files on an ISO image: where each lies. Pure; reads by what it is given, believes no size or offset.

ECMA-119 (ISO 9660), with Rock Ridge's names (IEEE P1282, SUSP 1.12) where it has them, else Joliet's.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from netbootd.errors import UserError

SECTOR = 2048
_FIRST_DESCRIPTOR = 16
_MOST_DESCRIPTORS = 32
_LARGEST_DIRECTORY = 16 << 20
_MOST_FILES = 300_000
_DEEPEST = 32
_DIRECTORY, _MORE = 0x02, 0x80
_JOLIET = (b"%/@", b"%/C", b"%/E")

Read = Callable[[int, int], bytes]
"""Offset and size to octets; fewer where the image ends before."""


class IsoError(UserError):
    """The ISO image is damaged; says how."""


@dataclass(frozen=True, slots=True)
class Extent:
    """Where a file lies in the image, in octets."""

    start: int
    size: int


def files(read: Read) -> dict[str, Extent]:
    """Every file of the image by its path, without a slash in front. Raises IsoError."""
    volumes = dict(_volumes(read))
    if "primary" not in volumes:
        raise IsoError("it has no volume descriptor")
    found = _Walk(read, joliet=False)
    found.walk(volumes["primary"])
    if not found.has_rock_ridge and "joliet" in volumes:
        found = _Walk(read, joliet=True)
        found.walk(volumes["joliet"])
    return found.files


def _volumes(read: Read) -> Iterator[tuple[str, bytes]]:
    """The root directory's record in each volume descriptor."""
    for number in range(_FIRST_DESCRIPTOR, _FIRST_DESCRIPTOR + _MOST_DESCRIPTORS):
        descriptor = read(number * SECTOR, SECTOR)
        if len(descriptor) < SECTOR or descriptor[1:6] != b"CD001":
            raise IsoError("it is damaged, or cut short: its volume descriptors don't end")
        if descriptor[0] == 1:
            yield "primary", descriptor[156:190]
        elif descriptor[0] == 2 and descriptor[88:91] in _JOLIET:
            yield "joliet", descriptor[156:190]
        elif descriptor[0] == 255:
            return


@dataclass(frozen=True, slots=True)
class _Record:
    extent: Extent
    flags: int
    name: bytes
    system_use: bytes

    @classmethod
    def parse(cls, raw: bytes) -> "_Record":
        length = raw[32]
        skipped = raw[1]
        start = (int.from_bytes(raw[2:6], "little") + skipped) * SECTOR
        size = int.from_bytes(raw[10:14], "little")
        use = 33 + length + (length + 1) % 2
        return cls(Extent(start, size), raw[25], raw[33 : 33 + length], raw[use:])


class _Walk:
    def __init__(self, read: Read, *, joliet: bool) -> None:
        self.files: dict[str, Extent] = {}
        self.has_rock_ridge = False
        self._read = read
        self._joliet = joliet
        self._seen: set[int] = set()

    def walk(self, root: bytes) -> None:
        """Find everything below the directory of the record `root`."""
        pending = [("", _Record.parse(root).extent)]
        while pending:
            prefix, extent = pending.pop()
            if extent.start in self._seen or extent.size > _LARGEST_DIRECTORY or prefix.count("/") > _DEEPEST:
                raise IsoError(f"its directory {prefix!a} is damaged")
            self._seen.add(extent.start)
            octets = self._read(extent.start, extent.size)
            if len(octets) < extent.size:
                raise IsoError("it is cut short: a directory is missing")
            begun: Extent | None = None
            for record in _records(octets):
                name = prefix + self._name(record)
                if record.flags & _DIRECTORY:
                    pending.append((f"{name}/", record.extent))
                    continue
                whole = _joined(begun, record.extent, name)
                begun = whole if record.flags & _MORE else None
                if begun is None:
                    self.files[name] = whole
            if len(self.files) > _MOST_FILES:
                raise IsoError(f"it has more than {_MOST_FILES} files")

    def _name(self, record: _Record) -> str:
        if self._joliet:
            return _plain(record.name.decode("utf-16-be", "replace"))
        if rock_ridge := b"".join(self._name_pieces(record.system_use, 0)):
            self.has_rock_ridge = True
            return rock_ridge.decode("utf-8", "replace").replace("/", "_")
        return _plain(record.name.decode("ascii", "replace")).lower()

    def _name_pieces(self, use: bytes, depth: int) -> Iterator[bytes]:
        """The name in Rock Ridge's NM entries, which may go on elsewhere (CE)."""
        at = 0
        while at + 4 <= len(use):
            kind, length = use[at : at + 2], use[at + 2]
            entry = use[at : at + length]
            if length < 4 or len(entry) < length:
                return
            if kind == b"NM" and length > 5:
                yield entry[5:]
            elif kind == b"CE" and length >= 28 and depth < 8:
                block, offset, size = (int.from_bytes(entry[i : i + 4], "little") for i in (4, 12, 20))
                if size <= SECTOR:
                    yield from self._name_pieces(self._read(block * SECTOR + offset, size), depth + 1)
            at += length


def _records(octets: bytes) -> Iterator[_Record]:
    """The records of a directory, but for itself and its parent. None crosses a sector's end."""
    for sector in range(0, len(octets), SECTOR):
        at = sector
        while at < min(sector + SECTOR, len(octets)) and (length := octets[at]):
            raw = octets[at : at + length]
            if length < 34 or len(raw) < length or 33 + raw[32] > length:
                raise IsoError("one of its directories is damaged")
            if raw[32:34] not in (b"\1\0", b"\1\1"):
                yield _Record.parse(raw)
            at += length


def _joined(begun: Extent | None, extent: Extent, name: str) -> Extent:
    """A file of more than 4 GiB has several records, one behind the other."""
    if begun is None:
        return extent
    if begun.start + begun.size != extent.start:
        raise IsoError(f"its file {name[:100]!a} lies in pieces")
    return Extent(begun.start, begun.size + extent.size)


def _plain(name: str) -> str:
    """A name without its version."""
    return name.partition(";")[0].rstrip(".").replace("/", "_")
