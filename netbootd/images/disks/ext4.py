"""ext2, ext3 and ext4: the structures on the disk, decoded and checked one at a time. Pure.

Linux, Documentation/filesystems/ext4: superblock, group descriptors, inodes, extents, directories, extended
attributes. reader.py asks for them in the order in which they are needed.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from netbootd.images.disks.elevator import DiskError

SUPERBLOCK = 1024
"""Where it lies, and how large it is."""
ROOT_INODE = 2
_FILETYPE, _RECOVER, _META_BG, _EXTENTS, _64BIT = 0x2, 0x4, 0x10, 0x40, 0x80
_MMP, _FLEX_BG, _EA_INODE, _CSUM_SEED, _LARGEDIR, _INLINE, _CASEFOLD = (
    *(0x100, 0x200, 0x400, 0x2000, 0x4000, 0x8000, 0x20000),
)
_KNOWN = (
    _FILETYPE | _RECOVER | _EXTENTS | _64BIT | _MMP | _FLEX_BG | _EA_INODE | _CSUM_SEED | _LARGEDIR
    | _INLINE | _CASEFOLD
)  # fmt: skip
_CHECKSUMMED_GROUPS = 0x10 | 0x400
_INODE_EXTENTS, _INODE_INLINE, _INODE_VALUE = 0x80000, 0x1000_0000, 0x20_0000
_INODE_ENCRYPTED, _INODE_COMPRESSED = 0x800, 0x4
_LARGEST_DISK = 1 << 60
_XATTR_MAGIC = 0xEA02_0000
_XATTR_PREFIXES = {
    1: "user.",
    2: "system.posix_acl_access",
    3: "system.posix_acl_default",
    4: "trusted.",
    6: "security.",
    7: "system.",
}
_ACL_NAMED = (0x02, 0x08)
"""ACL_USER and ACL_GROUP; the other entries carry no id on the disk."""


@dataclass(frozen=True, slots=True)
class Superblock:
    """What of the superblock is needed to find everything else; sizes in octets."""

    block: int
    blocks: int
    free_blocks: int
    first_block: int
    blocks_per_group: int
    inodes: int
    inodes_per_group: int
    inode_size: int
    descriptor: int
    has_group_checksums: bool
    needs_recovery: bool
    journal_inode: int
    unknown_features: int

    @classmethod
    def parse(cls, raw: bytes, size: int) -> "Superblock":
        """From its 1024 octets; `size` is the partition's, 0 if unknown. Raises DiskError."""
        inodes, blocks_low, free_low = struct.unpack_from("<II4xI", raw, 0)
        first, log, per_group, inodes_per_group = struct.unpack_from("<II4xI4xI", raw, 20)
        revision, inode_size, incompat, ro_compat = struct.unpack_from("<I8xH6xI I", raw, 76)
        wide = incompat & _64BIT
        blocks = blocks_low | (struct.unpack_from("<I", raw, 0x150)[0] << 32 if wide else 0)
        free = free_low | (struct.unpack_from("<I", raw, 0x158)[0] << 32 if wide else 0)
        descriptor = struct.unpack_from("<H", raw, 0xFE)[0] if wide else 32
        made = cls(
            block=1024 << min(log, 20),
            blocks=blocks,
            free_blocks=free,
            first_block=first,
            blocks_per_group=per_group,
            inodes=inodes,
            inodes_per_group=inodes_per_group,
            inode_size=inode_size if revision else 128,
            descriptor=descriptor,
            has_group_checksums=bool(ro_compat & _CHECKSUMMED_GROUPS),
            needs_recovery=bool(incompat & _RECOVER),
            journal_inode=struct.unpack_from("<I", raw, 0xE0)[0],
            unknown_features=incompat & ~_KNOWN,
        )
        made._check(raw, size)
        return made

    @property
    def groups(self) -> int:
        """How many block groups there are."""
        return -(-(self.blocks - self.first_block) // self.blocks_per_group)

    @property
    def used(self) -> int:
        """Octets that are in use, the file system's own tables among them."""
        return (self.blocks - self.free_blocks) * self.block

    @property
    def descriptors_at(self) -> int:
        """Where the group descriptors begin, in octets of the partition."""
        return (self.first_block + 1) * self.block

    def _check(self, raw: bytes, size: int) -> None:
        sound = (
            raw[56:58] == b"\x53\xef"
            and self.block <= 1 << 16
            and 0 <= self.first_block < self.blocks
            and self.free_blocks <= self.blocks
            and 0 < self.blocks_per_group <= 8 * self.block
            and 0 < self.inodes_per_group <= 8 * self.block
            and self.inode_size >= 128
            and self.inode_size & (self.inode_size - 1) == 0
            and self.inode_size <= self.block
            and 32 <= self.descriptor <= self.block
            and self.blocks * self.block <= _LARGEST_DISK
            and self.inodes <= self.groups * self.inodes_per_group
        )
        if not sound:
            raise DiskError("its root file system's superblock is damaged", "e2fsck can mend it")
        if size and self.blocks * self.block > size:
            raise DiskError(
                f"its file system of {self.blocks * self.block} octets is larger than its partition of {size}"
            )


@dataclass(frozen=True, slots=True)
class Group:
    """One block group: where its inodes lie, in octets of the partition, and how many were ever used."""

    table_at: int
    inodes: int


def groups(raw: bytes, superblock: Superblock) -> Iterator[Group]:
    """The block groups from their descriptors. Raises DiskError."""
    for number in range(superblock.groups):
        at = number * superblock.descriptor
        table = _table(raw, at, superblock)
        flags, unused = struct.unpack_from("<H8xH", raw, at + 18)
        if superblock.descriptor >= 64:
            unused |= struct.unpack_from("<H", raw, at + 0x32)[0] << 16
        if unused > superblock.inodes_per_group:
            raise DiskError("its root file system's group descriptors are damaged", "e2fsck can mend it")
        used = superblock.inodes_per_group
        if superblock.has_group_checksums:
            used = 0 if flags & 1 else used - unused
        yield Group(table, used)


def first_table(raw: bytes, superblock: Superblock) -> int:
    """Where the inodes of the first group lie, in octets, from its descriptor. Raises DiskError."""
    return _table(raw, 0, superblock)


def _table(raw: bytes, at: int, superblock: Superblock) -> int:
    block: int = struct.unpack_from("<I", raw, at + 8)[0]
    if superblock.descriptor >= 64:
        block |= struct.unpack_from("<I", raw, at + 0x28)[0] << 32
    if not 0 < block < superblock.blocks:
        raise DiskError("its root file system's group descriptors are damaged", "e2fsck can mend it")
    return block * superblock.block


@dataclass(frozen=True, slots=True)
class Inode:
    """A file without its name. `raw` is all of it, as it lies on the disk."""

    mode: int
    uid: int
    gid: int
    size: int
    mtime: float
    links: int
    flags: int
    attribute_block: int
    raw: bytes

    @classmethod
    def parse(cls, raw: bytes) -> "Inode":
        """From its octets on the disk."""
        mode, uid, size, mtime, gid, links = struct.unpack_from("<HHI8xi4xHH", raw, 0)
        flags = struct.unpack_from("<I", raw, 32)[0]
        attributes, size_high = struct.unpack_from("<II", raw, 104)
        attributes_high, uid_high, gid_high = struct.unpack_from("<HHH", raw, 118)
        time = float(mtime)
        if len(raw) > 128 and struct.unpack_from("<H", raw, 128)[0] >= 12:
            extra = struct.unpack_from("<I", raw, 136)[0]
            time = (mtime + ((extra & 3) << 32)) + (extra >> 2) / 1e9
        regular_or_directory = mode & 0xF000 in (0x8000, 0x4000)
        return cls(
            mode=mode,
            uid=uid | uid_high << 16,
            gid=gid | gid_high << 16,
            size=size | (size_high << 32 if regular_or_directory else 0),
            mtime=time,
            links=links,
            flags=flags,
            attribute_block=attributes | attributes_high << 32,
            raw=raw,
        )

    @property
    def kind(self) -> int:
        """The file's type as in st_mode: S_IFREG …"""
        return self.mode & 0xF000

    @property
    def is_used(self) -> bool:
        """Whether there is a file: a deleted one has no links left, or a time of its deletion."""
        return bool(self.mode and self.links and not struct.unpack_from("<I", self.raw, 20)[0])

    @property
    def is_unreadable(self) -> bool:
        """Whether only who has its key, or a kernel of long ago, could read it."""
        return bool(self.flags & (_INODE_ENCRYPTED | _INODE_COMPRESSED))

    @property
    def is_attribute_value(self) -> bool:
        """Whether it is no file, but the large value of an attribute."""
        return bool(self.flags & _INODE_VALUE)

    @property
    def map(self) -> bytes:
        """i_block: the root of its extents, its first block numbers, or a short link's target."""
        return self.raw[40:100]

    @property
    def has_extents(self) -> bool:
        """Whether `map` is a tree of extents, not ext2's and ext3's block numbers."""
        return bool(self.flags & _INODE_EXTENTS)

    @property
    def is_inline(self) -> bool:
        """Whether its data lie in the inode itself."""
        return bool(self.flags & _INODE_INLINE)

    @property
    def short_target(self) -> bytes | None:
        """The target of a symbolic link that lies in `map`; None where it has a block."""
        is_link = self.kind == 0xA000 and not self.has_extents and not self.is_inline
        return self.map[: self.size] if is_link and self.size < 60 else None

    @property
    def device(self) -> tuple[int, int]:
        """Major and minor number of a device node."""
        old, new = struct.unpack_from("<II", self.map)
        if old:
            return old >> 8 & 0xFF, old & 0xFF
        return (new & 0xFFF00) >> 8, (new & 0xFF) | (new >> 12 & 0xFFF00)


@dataclass(frozen=True, slots=True)
class Extent:
    """`count` blocks of a file from `logical` on; an index leads to more of them at `physical`."""

    logical: int
    count: int
    physical: int
    is_index: bool = False


def extents(raw: bytes, depth: int | None = None) -> tuple[int, list[Extent]]:
    """The depth of a node of an extent tree and its entries; what is reserved but unwritten is left out.

    `depth` is what it has to be. Raises DiskError.
    """
    magic, count, most, found = struct.unpack_from("<HHHH", raw)
    if magic != 0xF30A or count > most or 12 + 12 * count > len(raw) or found > 5:
        raise DiskError("a file's extents are damaged", "e2fsck can mend it")
    if depth is not None and found != depth:
        raise DiskError("a file's extents are damaged: their tree has no even depth", "e2fsck can mend it")
    entries = []
    for at in range(12, 12 + 12 * count, 12):
        if found:
            logical, low, high = struct.unpack_from("<IIH", raw, at)
            entries.append(Extent(logical, 0, low | high << 32, is_index=True))
        else:
            logical, length, high, low = struct.unpack_from("<IHHI", raw, at)
            if length <= 0x8000:
                entries.append(Extent(logical, length, low | high << 32))
    return found, entries


def names(block: bytes) -> Iterator[tuple[int, bytes]]:
    """Inode number and name of each entry in a block of a directory. Raises DiskError."""
    at = 0
    while at + 8 <= len(block):
        inode, length, size = struct.unpack_from("<IHB", block, at)
        if length in (0, 0xFFFF) and len(block) == 1 << 16:
            length = len(block) - at
        if length < 8 or at + length > len(block) or size + 8 > length:
            raise DiskError("one of its directories is damaged", "e2fsck can mend it")
        name = block[at + 8 : at + 8 + size]
        if inode and name not in (b".", b".."):
            if not name or b"/" in name or b"\0" in name:
                raise DiskError(f"a file in it is named {ascii(name)[2:-1]}", "e2fsck can mend it")
            yield inode, name
        at += length


@dataclass(frozen=True, slots=True)
class Attribute:
    """An extended attribute; a large `value` lies in an inode of its own, `value_inode`."""

    name: str
    value: bytes
    value_inode: int = 0
    value_size: int = 0


def inode_attributes(raw: bytes) -> Iterator[Attribute]:
    """The extended attributes that lie in the inode itself. Raises DiskError."""
    if len(raw) <= 132:
        return
    at = 128 + struct.unpack_from("<H", raw, 128)[0]
    if at + 4 <= len(raw) and struct.unpack_from("<I", raw, at)[0] == _XATTR_MAGIC:
        yield from _attributes(raw, at + 4, at + 4)


def block_attributes(raw: bytes) -> Iterator[Attribute]:
    """The extended attributes in a block of their own. Raises DiskError."""
    if struct.unpack_from("<I", raw)[0] != _XATTR_MAGIC:
        raise _damaged_attributes()
    yield from _attributes(raw, 32, 0)


def _attributes(raw: bytes, at: int, values_at: int) -> Iterator[Attribute]:
    while at + 4 <= len(raw) and raw[at : at + 4] != bytes(4):
        if at + 16 > len(raw):
            raise _damaged_attributes()
        length, index, offset, inode, size = struct.unpack_from("<BBHII", raw, at)
        suffix = raw[at + 16 : at + 16 + length].decode("utf-8", "surrogateescape")
        at += (16 + length + 3) & ~3
        begin = values_at + offset
        if not inode and begin + size > len(raw):
            raise _damaged_attributes()
        prefix = _XATTR_PREFIXES.get(index)
        if prefix is None or "\0" in suffix:
            continue
        value = b"" if inode else raw[begin : begin + size]
        if index in (2, 3):
            value = _acl(value)
        yield Attribute(prefix + suffix, value, inode, size)


def _acl(stored: bytes) -> bytes:
    """An access list as getxattr(2) gives it: version 2, with an id in every entry."""
    if stored[:4] != b"\1\0\0\0":
        raise _damaged_attributes()
    entries, at = [(2).to_bytes(4, "little")], 4
    while at + 4 <= len(stored):
        tag, rights = struct.unpack_from("<HH", stored, at)
        named = tag in _ACL_NAMED
        if named and at + 8 > len(stored):
            raise _damaged_attributes()
        who = struct.unpack_from("<I", stored, at + 4)[0] if named else 0xFFFF_FFFF
        entries.append(struct.pack("<HHI", tag, rights, who))
        at += 8 if named else 4
    return b"".join(entries)


def _damaged_attributes() -> DiskError:
    return DiskError("a file's extended attributes are damaged", "e2fsck can mend it")
