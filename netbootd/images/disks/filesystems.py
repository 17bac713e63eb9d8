"""Which file system a partition holds, by its first octets. Pure."""

import struct
from dataclasses import dataclass
from uuid import UUID

HEAD = 68 << 10
"""Octets of a partition that are enough to tell."""
_BTRFS = 64 << 10
_LARGEST_SHIFT = 16
"""erofs' blocks have 64 KiB at most (EROFS_MAX_BLOCK_SIZE is a page)."""
_BY_MAGIC = (
    (0, b"hsqs", "squashfs"),
    (0, b"XFSB", "xfs"),
    (0, b"LUKS\xba\xbe", "LUKS"),
    (512, b"LABELONE", "LVM"),
    (1024, b"\x10\x20\xf5\xf2", "f2fs"),
    (1024, b"\xe2\xe1\xf5\xe0", "erofs"),
    (1080, b"\x53\xef", "ext4"),
    (4086, b"SWAPSPACE2", "swap"),
    (_BTRFS + 64, b"_BHRfS_M", "btrfs"),
    (0, b"\xeb\x52\x90NTFS", "NTFS"),
    (0, b"\xeb\x76\x90EXFAT", "exFAT"),
)


@dataclass(frozen=True, slots=True)
class FileSystem:
    """`kind` is the kernel's name of it (fat for vfat); `uuid` and `label` as UUID= and LABEL= name it.

    `size` in octets is told where nobody but the file system itself would know it, else 0.
    """

    kind: str
    uuid: str = ""
    label: str = ""
    size: int = 0


def recognise(head: bytes) -> FileSystem | None:
    """The file system that begins with `head` (HEAD octets, or as many as there are); None for none known."""
    for offset, magic, kind in _BY_MAGIC:
        if head[offset : offset + len(magic)] == magic:
            return _named(kind, head.ljust(HEAD, b"\0"))
    return _fat(head) if len(head) >= 512 else None


def _named(kind: str, head: bytes) -> FileSystem:
    places = {
        "ext4": (1128, 1144, 16),
        "xfs": (32, 108, 12),
        "btrfs": (_BTRFS + 32, _BTRFS + 299, 256),
        "erofs": (1024 + 48, 1024 + 64, 16),
    }
    if kind == "f2fs":
        label = head[1148 : 1148 + 1024].decode("utf-16-le", "replace").split("\0")[0]
        return FileSystem(kind, str(UUID(bytes=head[1132:1148])), label, _size(kind, head))
    if kind not in places:
        return FileSystem(kind, size=_size(kind, head))
    uuid, label_at, size = places[kind]
    label = head[label_at : label_at + size].split(b"\0")[0].decode("utf-8", "replace")
    return FileSystem(kind, str(UUID(bytes=head[uuid : uuid + 16])), label, _size(kind, head))


def _size(kind: str, head: bytes) -> int:
    """What the superblock says of those that are mounted whole."""
    if kind == "xfs":
        block, blocks = struct.unpack_from(">IQ", head, 4)
        return int(block * blocks)
    if kind == "f2fs":
        return int(struct.unpack_from("<Q", head, 1024 + 36)[0] << 12)
    if kind == "erofs":
        shift = head[1024 + 12]
        return int(struct.unpack_from("<I", head, 1024 + 36)[0] << shift) if shift <= _LARGEST_SHIFT else 0
    at = {"squashfs": 40, "btrfs": _BTRFS + 112}.get(kind)
    return int(struct.unpack_from("<Q", head, at)[0]) if at is not None else 0


def _fat(head: bytes) -> FileSystem | None:
    """A FAT has no magic number; what has to be so in its first sector is so (fatgen103, section 3.1)."""
    sector, cluster, reserved, fats = struct.unpack_from("<HBHB", head, 11)
    if sector not in (512, 1024, 2048, 4096) or cluster not in (1, 2, 4, 8, 16, 32, 64, 128):
        return None
    if not reserved or fats not in (1, 2) or not (head[21] == 0xF0 or head[21] >= 0xF8):
        return None
    at = 39 if struct.unpack_from("<H", head, 22)[0] else 67
    serial = int.from_bytes(head[at : at + 4], "little")
    label = head[at + 4 : at + 15].decode("cp437").rstrip()
    return FileSystem("fat", f"{serial >> 16:04X}-{serial & 0xFFFF:04X}", "" if label == "NO NAME" else label)
