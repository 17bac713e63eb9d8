"""A whole ext2, ext3 or ext4 file system, read by an elevator: inodes first, then what they lead to. Pure.

Data go to a Receiver under their inode's number as they pass; names, links' targets and attributes are kept
here, and are complete after `finish`, which is called when the elevator has nothing more to do.
"""

import struct
from collections.abc import Callable, Iterator
from functools import partial
from typing import Protocol

from netbootd.images.disks import ext4, journal
from netbootd.images.disks.elevator import DiskError, Elevator

_LARGEST_DIRECTORY = 256 << 20
_LARGEST_JOURNAL = 1 << 30
_LARGEST_TARGET = 4096
_LARGEST_VALUE = 1 << 16
_MOST_GROUPS = 1 << 20
_REGULAR, _DIRECTORY, _LINK = 0x8000, 0x4000, 0xA000
_KINDS = frozenset({_REGULAR, _DIRECTORY, _LINK, 0x2000, 0x6000, 0x1000, 0xC000})
_INDIRECT = 12
"""Block numbers in an inode before the indirect ones."""
_FIRST_ORDINARY = 11
_INLINE_REST = "system.data"
_FSCK = "e2fsck can mend it"


class Receiver(Protocol):
    """Who writes files."""

    def expect(self, octets: int) -> None:
        """About so much is going to come. Raises where there is no room for it."""

    def data(self, inode: int, offset: int, octets: memoryview) -> None:
        """A piece of the file with that inode. What never comes is a hole."""


class Ext4:
    """The file system that begins at octet `start` of what `elevator` reads, and has `size` (0: unknown)."""

    def __init__(self, elevator: Elevator, start: int, size: int, receiver: Receiver) -> None:
        self.inodes: dict[int, ext4.Inode] = {}
        self.directories: dict[int, list[tuple[int, bytes]]] = {}
        self.targets: dict[int, bytes] = {}
        self._blocks_of_attributes: dict[int, list[ext4.Attribute]] = {}
        self._large_values: dict[int, bytes] = {}
        self._elevator = elevator
        self._start = start
        self._size = size
        self._receiver = receiver
        self._superblock: ext4.Superblock
        self._mapped = 0
        self._overlay: dict[int, bytes] = {}
        self._gathered: list[tuple[bytearray, Callable[[bytes], None]]] = []

    def begin(self) -> None:
        """Ask for the superblock, and from there on for everything."""
        self._read(1024, ext4.SUPERBLOCK, self._on_superblock)

    @property
    def was_unmounted(self) -> bool:
        """Whether nothing had to be taken from the journal."""
        return not self._overlay

    def finish(self) -> None:
        """Everything passed: make sense of the directories and the like. Raises DiskError."""
        gathered, self._gathered = self._gathered, []
        for whole, deliver in gathered:
            deliver(bytes(whole))

    def attributes(self, number: int) -> dict[str, bytes]:
        """The extended attributes of the file with that inode, by their names. Raises DiskError."""
        inode = self.inodes[number]
        found = [
            *ext4.inode_attributes(inode.raw),
            *self._blocks_of_attributes.get(inode.attribute_block, ()),
        ]
        return {
            each.name: self._large_values.get(each.value_inode, b"") if each.value_inode else each.value
            for each in found
            if each.name != _INLINE_REST
        }

    def _read(self, offset: int, size: int, deliver: Callable[[bytes], None]) -> None:
        gathered = bytearray()

        def gather(_: int, piece: memoryview) -> None:
            gathered.extend(piece)
            if len(gathered) == size:
                deliver(bytes(gathered))

        self._copy(offset, size, gather)

    def _copy(self, offset: int, size: int, sink: Callable[[int, memoryview], None]) -> None:
        """Have the elevator bring octets, as they are once the journal is laid over them."""
        if self._overlay:
            self._elevator.copy(
                self._start + offset,
                size,
                lambda begin, octets: sink(begin, self._overlaid(offset + begin, octets)),
            )
        else:
            self._elevator.copy(self._start + offset, size, sink)

    def _overlaid(self, at: int, octets: memoryview) -> memoryview:
        """What lies at `at`, with what the journal says of it."""
        block = self._superblock.block
        changed: bytearray | None = None
        for number in range(at // block, (at + len(octets) - 1) // block + 1):
            content = self._overlay.get(number)
            if content is None:
                continue
            changed = bytearray(octets) if changed is None else changed
            begin, end = max(number * block, at), min((number + 1) * block, at + len(octets))
            changed[begin - at : end - at] = content[begin - number * block : end - number * block]
        return octets if changed is None else memoryview(changed)

    def _on_superblock(self, raw: bytes) -> None:
        superblock = self._superblock = ext4.Superblock.parse(raw, self._size)
        if superblock.unknown_features:
            raise DiskError(
                f"its root file system has unknown features ({superblock.unknown_features:#x})",
                "mount it, and import the directory that it is mounted on",
            )
        if superblock.groups > _MOST_GROUPS:
            raise DiskError("its root file system's superblock is damaged", "e2fsck can mend it")
        self._receiver.expect(superblock.used)
        self._elevator.expect_end(self._start + superblock.blocks * superblock.block)
        if superblock.needs_recovery:
            self._read(superblock.descriptors_at, superblock.descriptor, self._find_journal)
        else:
            self._read_descriptors()

    def _read_descriptors(self) -> None:
        superblock = self._superblock
        self._read(superblock.descriptors_at, superblock.groups * superblock.descriptor, self._on_descriptors)

    def _find_journal(self, descriptor: bytes) -> None:
        """The disk wasn't unmounted: its journal has to be read before anything else is."""
        superblock = self._superblock
        number = superblock.journal_inode
        if not 0 < number < _FIRST_ORDINARY:
            raise DiskError(
                "its root file system wasn't unmounted, and its journal is on another disk",
                "unmount it where both are, then read it again",
            )
        at = ext4.first_table(descriptor, superblock) + (number - 1) * superblock.inode_size
        self._read(at, superblock.inode_size, self._read_journal)

    def _read_journal(self, raw: bytes) -> None:
        inode = ext4.Inode.parse(raw)
        if not 0 < inode.size <= _LARGEST_JOURNAL or inode.is_inline:
            raise DiskError("its journal is damaged", _FSCK)
        whole, missing = bytearray(inode.size), inode.size

        def piece(offset: int, octets: memoryview) -> None:
            nonlocal missing
            whole[offset : offset + len(octets)] = octets
            missing -= len(octets)
            if not missing:
                self._overlay = journal.replayed(bytes(whole), self._superblock.block)
                self._read_descriptors()

        self._read_data(inode, piece)

    def _on_descriptors(self, raw: bytes) -> None:
        superblock = self._superblock
        for number, group in enumerate(ext4.groups(raw, superblock)):
            self._read_inodes(1 + number * superblock.inodes_per_group, group)

    def _read_inodes(self, first: int, group: ext4.Group) -> None:
        size = group.inodes * self._superblock.inode_size
        self._read(group.table_at, size, lambda raw: self._on_inodes(first, raw))

    def _on_inodes(self, first: int, raw: bytes) -> None:
        step = self._superblock.inode_size
        for at in range(0, len(raw), step):
            number = first + at // step
            if raw[at : at + 2] == b"\0\0" or (number < _FIRST_ORDINARY and number != ext4.ROOT_INODE):
                continue
            inode = ext4.Inode.parse(raw[at : at + step])
            if inode.is_used and inode.kind in _KINDS:
                self.inodes[number] = inode
                self._read_file(number, inode)

    def _read_file(self, number: int, inode: ext4.Inode) -> None:
        block = inode.attribute_block
        if block and block not in self._blocks_of_attributes:
            self._blocks_of_attributes[block] = []
            self._read_block(block, lambda raw: self._on_attributes(block, raw))
        if inode.is_unreadable:
            return
        if inode.is_attribute_value:
            self._gather(inode, _LARGEST_VALUE, partial(self._on_large_value, number))
        elif inode.kind == _REGULAR:
            self._read_data(inode, partial(self._receiver.data, number))
        elif inode.kind == _DIRECTORY:
            self.directories[number] = []
            self._gather(inode, _LARGEST_DIRECTORY, partial(self._on_directory, number))
        elif inode.kind == _LINK:
            self._gather(inode, _LARGEST_TARGET, partial(self._on_target, number))

    def _on_attributes(self, block: int, raw: bytes) -> None:
        self._blocks_of_attributes[block] = list(ext4.block_attributes(raw))

    def _on_large_value(self, number: int, value: bytes) -> None:
        self._large_values[number] = value

    def _on_target(self, number: int, target: bytes) -> None:
        self.targets[number] = target

    def _on_directory(self, number: int, octets: bytes) -> None:
        step = self._superblock.block
        found = self.directories[number]
        if self.inodes[number].is_inline:  # the parent's number, entries, and more of them in an attribute
            found.extend(ext4.names(octets[4:60]))
            found.extend(ext4.names(octets[60:]))
            return
        for at in range(0, len(octets), step):
            found.extend(ext4.names(octets[at : at + step]))

    # Where a file's data lie

    def _gather(self, inode: ext4.Inode, limit: int, deliver: Callable[[bytes], None]) -> None:
        """The whole of a small file's data, delivered by `finish`."""
        if inode.size > limit:
            raise DiskError(f"its inodes are damaged: one that can't be large has {inode.size} octets", _FSCK)
        whole = bytearray(inode.size)

        def piece(offset: int, octets: memoryview) -> None:
            whole[offset : offset + len(octets)] = octets

        self._gathered.append((whole, deliver))
        self._read_data(inode, piece)

    def _read_data(self, inode: ext4.Inode, piece: Callable[[int, memoryview], None]) -> None:
        if inode.short_target is not None:
            piece(0, memoryview(inode.short_target))
        elif inode.is_inline:
            rest = [a.value for a in ext4.inode_attributes(inode.raw) if a.name == _INLINE_REST]
            piece(0, memoryview(b"".join([inode.map, *rest])[: inode.size]))
        elif inode.has_extents:
            depth, found = ext4.extents(inode.map)
            self._read_extents(inode.size, depth, found, piece)
        else:
            self._read_mapped(inode, piece)

    def _read_extents(
        self, size: int, depth: int, found: list[ext4.Extent], piece: Callable[[int, memoryview], None]
    ) -> None:
        for extent in found:
            if extent.is_index:

                def deeper(raw: bytes) -> None:
                    _, entries = ext4.extents(raw, depth - 1)
                    self._read_extents(size, depth - 1, entries, piece)

                self._read_block(extent.physical, deeper)
            else:
                self._read_run(size, extent, piece)

    def _read_mapped(self, inode: ext4.Inode, piece: Callable[[int, memoryview], None]) -> None:
        """ext2's and ext3's way: twelve block numbers, then blocks of numbers, up to three deep."""
        numbers = struct.unpack("<15I", inode.map)
        self._read_numbers(inode.size, 0, numbers[:_INDIRECT], 0, piece)
        logical, per_block = _INDIRECT, self._superblock.block // 4
        for depth, number in enumerate(numbers[_INDIRECT:], 1):
            self._read_numbers(inode.size, logical, (number,), depth, piece)
            logical += per_block**depth

    def _read_numbers(
        self,
        size: int,
        logical: int,
        numbers: tuple[int, ...],
        depth: int,
        piece: Callable[[int, memoryview], None],
    ) -> None:
        per_block = self._superblock.block // 4
        if not depth:
            for extent in _joined(logical, numbers):
                self._read_run(size, extent, piece)
            return
        for index, number in enumerate(numbers):
            begin = logical + index * per_block**depth
            if number and begin * self._superblock.block < size:

                def deeper(raw: bytes, begin: int = begin) -> None:
                    inner = struct.unpack(f"<{per_block}I", raw)
                    self._read_numbers(size, begin, inner, depth - 1, piece)

                self._read_block(number, deeper)

    def _read_run(self, size: int, extent: ext4.Extent, piece: Callable[[int, memoryview], None]) -> None:
        """Blocks side by side, as far as the file's size goes."""
        self._claim(extent.physical, extent.count)
        block = self._superblock.block
        offset = extent.logical * block
        self._copy(
            extent.physical * block,
            max(min(extent.count * block, size - offset), 0),
            lambda begin, octets: piece(offset + begin, octets),
        )

    def _read_block(self, block: int, deliver: Callable[[bytes], None]) -> None:
        self._claim(block, 1)
        self._read(block * self._superblock.block, self._superblock.block, deliver)

    def _claim(self, block: int, count: int) -> None:
        """No block belongs to two files; so all of them together have no more than there are."""
        self._mapped += count
        if not 0 < block <= block + count <= self._superblock.blocks:
            raise DiskError("its inodes are damaged: a file lies outside of its file system", _FSCK)
        if self._mapped > self._superblock.blocks:
            raise DiskError("its inodes are damaged: the files have more blocks than there are", _FSCK)


def _joined(logical: int, numbers: tuple[int, ...]) -> Iterator[ext4.Extent]:
    """Block numbers as runs of neighbours; 0 is a hole."""
    run: ext4.Extent | None = None
    for index, number in enumerate(numbers):
        if run is not None and number == run.physical + run.count:
            run = ext4.Extent(run.logical, run.count + 1, run.physical)
            continue
        if run is not None:
            yield run
        run = ext4.Extent(logical + index, 1, number) if number else None
    if run is not None:
        yield run
