"""Partition tables: MBR with its chain of logical partitions, and GPT. Pure; nothing in them is believed.

UEFI Specification 2.10, section 5; the MBR as Linux reads it (block/partitions/msdos.c).
"""

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from uuid import UUID

from netbootd.images.disks.elevator import DiskError

SECTOR = 512
_SIGNATURE = b"\x55\xaa"
_EXTENDED = frozenset({0x05, 0x0F, 0x85})
_PROTECTIVE = 0xEE
_MOST_LOGICAL = 60
_MOST_ENTRIES = 1024
_LARGEST_DISK = 1 << 60
_LARGEST_ENTRY = 4096

Read = Callable[[int, int, Callable[[bytes], None]], None]
"""Elevator.read: offset, size, and who gets the octets."""


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition: `number` as in /dev/sda2, `start` and `size` in octets of the disk.

    `uuid` is what PARTUUID= names in an fstab. A file system without a partition table is number 0.
    """

    number: int
    start: int
    size: int
    uuid: str = ""
    label: str = ""


def is_partitioned(head: bytes) -> bool:
    """Whether a disk that begins with `head` has a partition table: a FAT's first sector looks alike."""
    if head[510:512] != _SIGNATURE:
        return False
    entries = _mbr_entries(head)
    used = [entry for entry in entries if entry[1]]
    return bool(used) and all(flag in (0, 0x80) and first and count for flag, _, first, count in used)


def find(read: Read, found: Callable[[Partition], None]) -> None:
    """Read the table by `read`, and call `found` for each partition. Raises DiskError, `read` may, too."""
    _Search(read, found).begin()


class _Search:
    def __init__(self, read: Read, found: Callable[[Partition], None]) -> None:
        self._read = read
        self._found = found
        self._identifier = ""
        self._logical = 5
        self._seen: set[int] = set()

    def begin(self) -> None:
        self._read(0, SECTOR, self._mbr)

    def _mbr(self, sector: bytes) -> None:
        self._identifier = f"{int.from_bytes(sector[440:444], 'little'):08x}"
        entries = _mbr_entries(sector)
        if any(kind == _PROTECTIVE for _, kind, _, _ in entries):
            self._read(SECTOR, SECTOR, lambda header: self._gpt(header, SECTOR))
            return
        for number, (_, kind, first, count) in enumerate(entries, 1):
            if kind in _EXTENDED:
                self._follow(first, 0)
            elif kind and first and count:
                self._tell(number, first, count)

    def _follow(self, base: int, relative: int) -> None:
        """The next link of the chain of logical partitions; `base` and `relative` in sectors."""
        at = base + relative
        if at in self._seen or len(self._seen) >= _MOST_LOGICAL:
            raise DiskError("its partition table is damaged: its logical partitions go round in circles")
        self._seen.add(at)
        self._read(at * SECTOR, SECTOR, lambda sector: self._link(sector, base, at))

    def _link(self, sector: bytes, base: int, at: int) -> None:
        if sector[510:512] != _SIGNATURE:
            raise DiskError("its partition table is damaged: a logical partition has no signature")
        for _, kind, first, count in _mbr_entries(sector)[:2]:
            if kind in _EXTENDED:
                self._follow(base, first)
            elif kind and count:
                self._tell(self._logical, at + first, count)
                self._logical += 1

    def _tell(self, number: int, first: int, count: int) -> None:
        uuid = f"{self._identifier}-{number:02x}"
        self._found(Partition(number, first * SECTOR, count * SECTOR, uuid))

    def _gpt(self, header: bytes, sector: int) -> None:
        if header[:8] != b"EFI PART":
            if sector == SECTOR:  # a disk whose sectors have 4096 octets
                self._read(4096, SECTOR, lambda other: self._gpt(other, 4096))
                return
            raise DiskError("its partition table is damaged: the GPT header is missing", _MEND_GPT)
        size, checksum = struct.unpack_from("<II", header, 12)
        entries_at, count, entry_size, entries_checksum = struct.unpack_from("<QIII", header, 72)
        if not 92 <= size <= SECTOR or zlib.crc32(header[:16] + bytes(4) + header[20:size]) != checksum:
            raise DiskError("its partition table is damaged: the GPT header's checksum is wrong", _MEND_GPT)
        entry_fits = 128 <= entry_size <= _LARGEST_ENTRY and entry_size % 8 == 0
        if not entry_fits or not 0 < count <= _MOST_ENTRIES or entries_at * sector > _LARGEST_DISK:
            raise DiskError(f"its partition table is damaged: {count} entries of {entry_size} octets")

        def entries(table: bytes) -> None:
            if zlib.crc32(table) != entries_checksum:
                raise DiskError("its partition table is damaged: the checksum is wrong", _MEND_GPT)
            for partition in _gpt_entries(table, entry_size, sector):
                self._found(partition)

        self._read(entries_at * sector, count * entry_size, entries)


_MEND_GPT = "gdisk can mend it from the table's copy at the disk's end"


def _mbr_entries(sector: bytes) -> list[tuple[int, int, int, int]]:
    """Flag, type, first sector and number of sectors of the four entries."""
    return [struct.unpack_from("<B3xB3xII", sector, 446 + 16 * i) for i in range(4)]


def _gpt_entries(table: bytes, entry_size: int, sector: int) -> Iterator[Partition]:
    for number, at in enumerate(range(0, len(table), entry_size), 1):
        kind, uuid = table[at : at + 16], UUID(bytes_le=table[at + 16 : at + 32])
        first, last = struct.unpack_from("<QQ", table, at + 32)
        if not any(kind):
            continue
        if not 0 < first <= last or last * sector > _LARGEST_DISK:
            raise DiskError(f"its partition table is damaged: partition {number} ends before it begins")
        label = table[at + 56 : at + 128].decode("utf-16-le", "replace").split("\0")[0]
        yield Partition(number, first * sector, (last - first + 1) * sector, str(uuid), label)
