"""ext3's and ext4's journal: what a disk would hold, had it been unmounted. Pure.

A card that lost its power has its last changes in the journal only. They are laid over what is read, as
e2fsck or the next mount would write them, without writing anything. Linux, Documentation/filesystems/ext4,
journal.rst; fs/jbd2/recovery.c for the order: a transaction counts once its commit block is there, and
what a later one revokes isn't replayed.
"""

import struct
from dataclasses import dataclass, field

from netbootd.images.disks.elevator import DiskError

_MAGIC = b"\xc0\x3b\x39\x98"
_DESCRIPTOR, _COMMIT, _SUPERBLOCKS, _REVOKE = 1, 2, (3, 4), 5
_64BIT, _CHECKSUM_2, _CHECKSUM_3 = 0x2, 0x8, 0x10
_KNOWN = 0x1 | _64BIT | 0x4 | _CHECKSUM_2 | _CHECKSUM_3
_ESCAPED, _SAME_UUID, _LAST = 1, 2, 8


def replayed(journal: bytes, block: int) -> dict[int, bytes]:
    """The content of each block that the journal changes, by its number, from the whole of the journal.

    `block` is the size of one. Raises DiskError.
    """
    if len(journal) < block or journal[:4] != _MAGIC:
        raise _damaged()
    kind, size, most, first, sequence, start, incompat = struct.unpack_from(">I4xIIIII8xI", journal, 4)
    if kind not in _SUPERBLOCKS or size != block or not 0 < first < most <= len(journal) // block:
        raise _damaged()
    if kind == _SUPERBLOCKS[0]:
        incompat = 0
    if incompat & ~_KNOWN:
        raise DiskError(
            "its root file system wasn't unmounted, and its journal has a form that isn't known here",
            "run e2fsck -p on a copy of it, or boot it once and shut it down",
        )
    log = _Log(journal, block, first, most, incompat)
    if start:
        if not first <= start < most:
            raise _damaged()
        log.walk(start, sequence)
    return log.result()


@dataclass(slots=True)
class _Log:
    journal: bytes
    block: int
    first: int
    most: int
    incompat: int
    _committed: list[tuple[int, int, bytes]] = field(default_factory=list)
    """Transaction, number of the block, what it becomes."""
    _revoked: dict[int, int] = field(default_factory=dict)

    def walk(self, at: int, sequence: int) -> None:
        """Go through the transactions from block `at` on, as long as they follow each other."""
        pending: list[tuple[int, int, bytes]] = []
        revoked: dict[int, int] = {}
        for _ in range(self.most):
            content = self._content(at)
            kind, number = struct.unpack_from(">II", content, 4)
            if content[:4] != _MAGIC or number != sequence:
                return
            at = self._after(at)
            if kind == _DESCRIPTOR:
                for target, is_escaped in self._tags(content):
                    data = self._content(at)
                    pending.append((sequence, target, _MAGIC + data[4:] if is_escaped else data))
                    at = self._after(at)
            elif kind == _REVOKE:
                revoked.update(dict.fromkeys(self._revokes(content), sequence))
            elif kind == _COMMIT:
                self._committed += pending
                self._revoked.update(revoked)
                pending, revoked = [], {}
                sequence = (sequence + 1) & 0xFFFF_FFFF
            else:
                return

    def result(self) -> dict[int, bytes]:
        """The last content of each block that nobody revoked after."""
        return {
            target: content
            for transaction, target, content in self._committed
            if self._revoked.get(target, -1) < transaction
        }

    def _content(self, at: int) -> bytes:
        return self.journal[at * self.block : (at + 1) * self.block]

    def _after(self, at: int) -> int:
        return at + 1 if at + 1 < self.most else self.first

    def _tags(self, content: bytes) -> list[tuple[int, bool]]:
        """Which blocks follow a descriptor, and whether their first octets had to be hidden."""
        wide = bool(self.incompat & _64BIT)
        size = 16 if self.incompat & _CHECKSUM_3 else 8 + 4 * wide + (2 if self.incompat & _CHECKSUM_2 else 0)
        tags, at = [], 12
        while at + size <= len(content):
            if self.incompat & _CHECKSUM_3:
                low, flags, high = struct.unpack_from(">III", content, at)
            else:
                low, flags = struct.unpack_from(">I2xH", content, at)
                high = struct.unpack_from(">I", content, at + 8)[0] if wide else 0
            tags.append((low | (high << 32 if wide else 0), bool(flags & _ESCAPED)))
            if flags & _LAST:
                return tags
            at += size + (0 if flags & _SAME_UUID else 16)
        return tags

    def _revokes(self, content: bytes) -> list[int]:
        size = 8 if self.incompat & _64BIT else 4
        end = min(struct.unpack_from(">I", content, 12)[0], len(content))
        return [int.from_bytes(content[at : at + size], "big") for at in range(16, end - size + 1, size)]


def _damaged() -> DiskError:
    return DiskError(
        "its root file system wasn't unmounted, and its journal is damaged", "e2fsck can mend it"
    )
