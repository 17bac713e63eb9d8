"""FAT12, FAT16 and FAT32 with long names, as boot partitions have them. Pure.

Microsoft, FAT: General Overview of On-Disk Format, 1.03 (fatgen103). It reads by an elevator, and tells what
it finds to a Receiver: directories before what is in them, data as they pass.
"""

import struct
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Protocol

from netbootd.images.disks.elevator import DiskError, Elevator

_LARGEST_FAT = 128 << 20
_LARGEST_DIRECTORY = 4 << 20
_MOST_FILES = 100_000
_DEEPEST = 30
_END = {12: 0xFF8, 16: 0xFFF8, 32: 0x0FFF_FFF8}
_VOLUME, _DIRECTORY, _LONG = 0x08, 0x10, 0x0F


class Receiver(Protocol):
    """Who gets the tree. Paths are relative, with slashes; times are seconds since 1970."""

    def directory(self, path: str, time: float) -> None:
        """There is a directory `path`."""

    def file(self, path: str, size: int, time: float) -> None:
        """There is a file `path`; its data come by `data`."""

    def data(self, path: str, offset: int, octets: memoryview) -> None:
        """A piece of the file `path`."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a directory."""

    name: str
    attributes: int
    cluster: int
    size: int
    time: float

    @property
    def is_directory(self) -> bool:
        """Whether it is one; what it holds lies in its clusters."""
        return bool(self.attributes & _DIRECTORY)


@dataclass(frozen=True, slots=True)
class Geometry:
    """Where things lie, in octets of the partition. `width`: 12, 16 or 32 bits for each cluster's number."""

    width: int
    cluster: int
    fat_at: int
    fat_size: int
    root_at: int
    """The root directory's place in FAT12 and FAT16; 0 in FAT32."""
    root_size: int
    root_cluster: int
    data_at: int
    clusters: int

    @classmethod
    def of(cls, sector: bytes, size: int) -> "Geometry":
        """From the first sector of a partition of `size` octets. Raises DiskError."""
        bytes_per, per_cluster, reserved, fats, entries, total16 = struct.unpack_from("<HBHBHH", sector, 11)
        fat16, total32, fat32, root_cluster = struct.unpack_from("<H8xII4xI", sector, 22)
        fat_sectors = fat16 or fat32
        if bytes_per not in (512, 1024, 2048, 4096) or not per_cluster or not fats or not fat_sectors:
            raise DiskError("its boot partition's first sector is damaged")
        root_sectors = -(-entries * 32 // bytes_per)
        data = reserved + fats * fat_sectors + root_sectors
        clusters = ((total16 or total32) - data) // per_cluster
        if clusters <= 0 or (size and (data + clusters * per_cluster) * bytes_per > size):
            raise DiskError("its boot partition is larger than its place in the partition table")
        width = 12 if clusters < 4085 else 16 if clusters < 65525 else 32
        needed = -(-(clusters + 2) * width // 8)
        if fat_sectors * bytes_per < needed or needed > _LARGEST_FAT:
            raise DiskError("its boot partition's table is too small for it, or too large for any")
        return cls(
            width=width,
            cluster=bytes_per * per_cluster,
            fat_at=reserved * bytes_per,
            fat_size=needed,
            root_at=0 if width == 32 else (reserved + fats * fat_sectors) * bytes_per,
            root_size=root_sectors * bytes_per,
            root_cluster=root_cluster if width == 32 else 0,
            data_at=data * bytes_per,
            clusters=clusters,
        )


@dataclass(slots=True)
class Fat:
    """A FAT file system at octet `start` of what `elevator` reads; `size` is the partition's (0: unknown)."""

    elevator: Elevator
    start: int
    size: int
    receiver: Receiver
    _geometry: Geometry = field(init=False)
    _next: "array[int]" = field(init=False)
    _files: int = 0
    _used: set[int] = field(default_factory=set)

    def begin(self) -> None:
        """Ask for the first sector, and from there on for everything."""
        self.elevator.read(self.start, 512, self._boot_sector)

    def _boot_sector(self, sector: bytes) -> None:
        geometry = self._geometry = Geometry.of(sector, self.size)
        self.elevator.expect_end(self.start + geometry.data_at + geometry.clusters * geometry.cluster)
        self.elevator.read(self.start + self._geometry.fat_at, self._geometry.fat_size, self._table)

    def _table(self, octets: bytes) -> None:
        geometry = self._geometry
        self._next = table(octets, geometry.width, geometry.clusters + 2)
        if geometry.width == 32:
            self._read_directory("", geometry.root_cluster)
        elif geometry.root_size:
            self.elevator.read(
                self.start + geometry.root_at, geometry.root_size, lambda d: self._entries("", d)
            )

    def _read_directory(self, path: str, cluster: int) -> None:
        runs = list(self._runs(cluster, path))
        size = sum(length for _, length in runs)
        if size > _LARGEST_DIRECTORY:
            raise DiskError(f"the directory {_shown(path)} on its boot partition is larger than any")
        whole, got = bytearray(size), 0

        def piece(at: int, octets: memoryview) -> None:
            nonlocal got
            whole[at : at + len(octets)] = octets
            got += len(octets)
            if got == size:
                self._entries(path, bytes(whole))

        offset = 0
        for place, length in runs:
            self.elevator.copy(place, length, _shifted(piece, offset))
            offset += length

    def _entries(self, path: str, octets: bytes) -> None:
        for entry in entries(octets):
            name = f"{path}{entry.name}"
            self._files += 1
            if self._files > _MOST_FILES or name.count("/") > _DEEPEST:
                raise DiskError("its boot partition has more files, or deeper directories, than any has")
            if entry.is_directory:
                self.receiver.directory(name, entry.time)
                self._read_directory(f"{name}/", entry.cluster)
            else:
                self.receiver.file(name, entry.size, entry.time)
                self._read_file(name, entry)

    def _read_file(self, path: str, entry: Entry) -> None:
        offset = 0
        for place, length in self._runs(entry.cluster, path) if entry.size else ():
            wanted = min(length, entry.size - offset)
            self.elevator.copy(place, wanted, _shifted(partial(self.receiver.data, path), offset))
            offset += wanted
            if offset == entry.size:
                return
        if entry.size:
            raise DiskError(f"{_shown(path)} on its boot partition is cut short")

    def _runs(self, cluster: int, path: str) -> Iterator[tuple[int, int]]:
        """A chain of clusters as places on the disk and lengths, in octets, neighbours joined."""
        geometry = self._geometry
        first, count = cluster, 0
        while True:
            if not 2 <= cluster < geometry.clusters + 2 or cluster in self._used:
                raise DiskError(f"{_shown(path)} on its boot partition is damaged: its clusters don't add up")
            self._used.add(cluster)
            count += 1
            after = self._next[cluster]
            if after != cluster + 1:
                yield self.start + geometry.data_at + (first - 2) * geometry.cluster, count * geometry.cluster
                if after >= _END[geometry.width]:
                    return
                first, count = after, 0
            cluster = after


def _shifted(piece: Callable[[int, memoryview], None], base: int) -> Callable[[int, memoryview], None]:
    return lambda begin, octets: piece(base + begin, octets)


def table(octets: bytes, width: int, count: int) -> "array[int]":
    """The table that has for each cluster which one follows."""
    if width == 12:
        pairs = ((i * 3 // 2, i % 2) for i in range(count))
        padded = octets + b"\0"
        return array(
            "I", ((int.from_bytes(padded[at : at + 2], "little") >> 4 * odd) & 0xFFF for at, odd in pairs)
        )
    if width == 16:
        return array("I", struct.unpack_from(f"<{count}H", octets))
    return array("I", (value & 0x0FFF_FFFF for value in struct.unpack_from(f"<{count}I", octets)))


def entries(octets: bytes) -> Iterator[Entry]:
    """What a directory holds, but for . and .., volume labels and what was deleted. Raises DiskError."""
    long: dict[int, str] = {}
    for at in range(0, len(octets) - 31, 32):
        raw = octets[at : at + 32]
        if raw[0] == 0:
            return
        attributes = raw[11]
        if raw[0] == 0xE5:
            long = {}
        elif attributes & 0x3F == _LONG:
            units = raw[1:11] + raw[14:26] + raw[28:32]
            long[raw[0] & 0x3F] = units.decode("utf-16-le", "replace")
        else:
            name = "".join(long[number] for number in sorted(long)).split("\0")[0] or _short(raw)
            long = {}
            if attributes & _VOLUME or name in (".", ".."):
                continue
            if not name or "/" in name or not name.isprintable():
                raise DiskError(f"a file on its boot partition is named {_shown(name)!r}")
            high, time, date, low, size = struct.unpack_from("<HHHHI", raw, 20)
            yield Entry(name, attributes, high << 16 | low, size, _time(date, time))


def _short(raw: bytes) -> str:
    """An 8.3 name; Windows NT's flags say which half is in small letters."""
    base = (b"\xe5" if raw[0] == 5 else raw[:1]) + raw[1:8]
    halves = [base.decode("cp437").rstrip(), raw[8:11].decode("cp437").rstrip()]
    halves = [half.lower() if raw[12] & flag else half for half, flag in zip(halves, (8, 16), strict=True)]
    return ".".join(half for half in halves if half)


def _time(date: int, time: int) -> float:
    try:
        when = datetime(
            1980 + (date >> 9),
            date >> 5 & 15,
            date & 31,
            time >> 11,
            time >> 5 & 63,
            (time & 31) * 2,
            tzinfo=UTC,
        )
    except ValueError:
        return 0.0
    return when.timestamp()


def _shown(path: str) -> str:
    return ascii(path)[1:-1][:200]
