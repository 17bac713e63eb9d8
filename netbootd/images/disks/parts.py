"""What the partitions of a disk are to each other: which one an fstab's line means. Pure."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from netbootd.images.disks.filesystems import FileSystem
from netbootd.images.disks.partitions import Partition

MOUNTABLE = frozenset({"btrfs", "xfs", "f2fs", "squashfs", "erofs"})
"""File systems that the kernel has to mount; ext4 and fat are read here."""
_UNREADABLE = {"LUKS": "encrypted", "LVM": "a physical volume of LVM"}
_NO_MOUNTS = frozenset({"swap", "tmpfs", "proc", "sysfs", "nfs", "nfs4", "cifs", "none"})
_OCTAL = re.compile(r"\\([0-7]{3})")
_NUMBER = re.compile(r"/dev/(?:[shv]d[a-z]+|xvd[a-z]+|\w+?p)(\d+)")


@dataclass(frozen=True, slots=True)
class Part:
    """A partition, what it holds, and by which names an fstab may call it."""

    number: int
    start: int
    size: int
    kind: str
    uuid: str = ""
    label: str = ""
    partuuid: str = ""
    partlabel: str = ""

    @classmethod
    def of(cls, partition: Partition, system: FileSystem) -> "Part":
        """A partition with the file system in it."""
        return cls(
            partition.number,
            partition.start,
            partition.size,
            system.kind,
            system.uuid,
            system.label,
            partition.uuid,
            partition.label,
        )

    @property
    def words(self) -> str:
        """What it is, to be told: `partition 2 (ext4)`."""
        what = _UNREADABLE.get(self.kind) or self.kind or "unknown"
        return f"partition {self.number} ({what})" if self.number else what

    def is_meant_by(self, device: str) -> bool:
        """Whether an fstab's first field means this partition."""
        key, equals, value = device.partition("=")
        value = value.strip('"')
        if equals:
            names = {
                "UUID": self.uuid,
                "LABEL": self.label,
                "PARTUUID": self.partuuid,
                "PARTLABEL": self.partlabel,
            }
            own = names.get(key, "")
            return bool(own) and (own == value or (key.endswith("UUID") and own.lower() == value.lower()))
        by, _, value = device.removeprefix("/dev/disk/").partition("/")
        if device.startswith("/dev/disk/by-"):
            return self.is_meant_by(f"{by.removeprefix('by-').upper()}={value}")
        match = _NUMBER.fullmatch(device)
        return match is not None and int(match[1]) == self.number


def mounts(fstab: str) -> Iterator[tuple[str, str]]:
    """Device and directory of each line that mounts something of a disk below /, outer ones first."""
    found = []
    for line in fstab.splitlines():
        fields = line.split()
        if len(fields) < 3 or fields[0].startswith("#") or fields[2] in _NO_MOUNTS:
            continue
        directory = _OCTAL.sub(_plain, fields[1])
        if directory.startswith("/") and directory.strip("/"):
            found.append((fields[0], directory))
    yield from sorted(found, key=lambda mount: mount[1].count("/"))


def _plain(octal: re.Match[str]) -> str:
    return chr(int(octal[1], 8))


def told(parts: Sequence[Part]) -> str:
    """All of them in words."""
    return ", ".join(part.words for part in parts) or "no partitions"
