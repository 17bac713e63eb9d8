"""Taking the files out of a disk image: a program of its own, which can't reach anything else.

    python -m netbootd.images.disks.extract DIRECTORY SOCKET copy|in-place PACKED     as root

It makes DIRECTORY its / (chroot) before it reads the first octet. The image comes over SOCKET, as a file
descriptor to read from to its end, one for each pass; where another pass is needed it says {"again": OFFSET}
and waits for the next. What partition N holds comes to lie in parts/N/tree, with owners, modes, times, hard
links, holes, device nodes and extended attributes. A file system that only the kernel can read is copied to
parts/N/image, unless it is in place: then whoever called mounts it where it lies. PACKED is how many octets
the image has as it is packed, 0 where it isn't.

Its last words are those of unpack.py, with "parts", a list of what each partition is, and "replayed", how
many of them had not been unmounted: what their journals say was laid over them.
"""

import codecs
import json
import os
import resource
import socket
import sys
from dataclasses import asdict
from pathlib import Path

from netbootd.images.disks import filesystems, partitions
from netbootd.images.disks.elevator import DiskError, Elevator
from netbootd.images.disks.ext4_reader import Ext4
from netbootd.images.disks.fat import Fat
from netbootd.images.disks.naming import make_tree
from netbootd.images.disks.partitions import Partition
from netbootd.images.disks.parts import MOUNTABLE, Part
from netbootd.images.disks.writing import Copy, Inodes, Room, Tree
from netbootd.images.unpack import ARCHIVE_FAULTS, say, shown

_MEMORY = 3 << 30
"""Octets of address space: a disk of a million files takes one."""
_CHUNK = 1 << 20
_MOST_PARTS = 128
_HARMLESS = 16 << 30
"""Octets that any image may unpack to. What is packed by a thousand and is larger holds no system."""
_MOST_TIMES = 1000


def main() -> int:
    """Read the image, and leave what its partitions hold in parts/; returns the exit status."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    os.umask(0o077)
    directory, number, where, packed = sys.argv[1:]
    for name in ("cp437", "utf-16-le"):  # not to be found after chroot
        codecs.lookup(name)
    try:
        with socket.socket(fileno=int(number)) as passes:
            os.chroot(directory)
            os.chdir("/")
            disk = _Disk(in_place=where == "in-place")
            _read(disk.elevator, passes, int(packed), seekable=where == "in-place")
            lost = disk.finish()
    except DiskError as error:
        return say(2, refused=error.message, hint=error.hint)
    except MemoryError:
        return say(2, refused="its tables claim more memory than any disk needs")
    except OSError as error:
        what = shown(str(error.filename or "extracting"))
        if error.errno in ARCHIVE_FAULTS:
            return say(2, refused=f"{what} can't be made: {error.strerror}")
        return say(4, failed=f"{what}: {error.strerror}")
    parts = [asdict(part) for part in disk.parts]
    return say(0, parts=parts, attributes=lost, acls=0, replayed=disk.replayed)


def _read(elevator: Elevator, passes: socket.socket, packed: int, *, seekable: bool) -> None:
    """Feed what comes, as many times as it takes."""
    while True:
        _, descriptors, _, _ = socket.recv_fds(passes, 1, 1)
        if not descriptors:
            raise DiskError("it could not be read to its end")
        unpacked = 0
        with os.fdopen(descriptors[0], "rb", buffering=0) as stream:
            while chunk := stream.read(_CHUNK):
                unpacked += len(chunk)
                if is_bomb(unpacked, packed):
                    raise DiskError(
                        f"it unpacks to more than {_MOST_TIMES} times its size: a decompression bomb?",
                        "if it is a disk that is nearly empty, unpack it, and import that",
                    )
                elevator.feed(chunk)
        again = elevator.rewind(seekable=seekable)
        if again is None:
            return
        print(json.dumps({"again": again}), flush=True)  # noqa: T201 - to whoever called it


def is_bomb(unpacked: int, packed: int) -> bool:
    """Whether no disk that somebody uses is packed so small: it would be read for days, to no end. Pure."""
    return packed > 0 and unpacked > _HARMLESS and unpacked > packed * _MOST_TIMES


class _Disk:
    """The partitions as they are found, and what is read of each."""

    def __init__(self, *, in_place: bool) -> None:
        self.elevator = Elevator()
        self.parts: list[Part] = []
        self.replayed = 0
        self._in_place = in_place
        self._named: list[tuple[Ext4, Inodes, Path]] = []
        self._trees: list[Tree] = []
        self._room = Room()
        Path("/parts").mkdir()
        self.elevator.read(0, partitions.SECTOR, self._begin)

    def finish(self) -> int:
        """Give everything its name; returns how many files lost attributes."""
        for tree in self._trees:
            tree.finish()
        lost = 0
        for system, inodes, home in self._named:
            inodes.close()
            system.finish()
            self.replayed += not system.was_unmounted
            lost += make_tree(system, home / "inodes", home / "tree")
        return lost

    def _begin(self, head: bytes) -> None:
        if partitions.is_partitioned(head):
            partitions.find(self.elevator.read, self._found)
        else:
            self._found(Partition(0, 0, 0))

    def _found(self, partition: Partition) -> None:
        if len(self.parts) >= _MOST_PARTS:
            raise DiskError(f"it has more than {_MOST_PARTS} partitions")
        size = min(partition.size or filesystems.HEAD, filesystems.HEAD)
        self.elevator.read(partition.start, size, lambda head: self._identified(partition, head))

    def _identified(self, partition: Partition, head: bytes) -> None:
        system = filesystems.recognise(head) or filesystems.FileSystem("")
        self.parts.append(Part.of(partition, system))
        start, size = partition.start, partition.size
        home = Path(f"/parts/{partition.number}")
        home.mkdir()
        if system.kind == "ext4":
            inodes = Inodes(home / "inodes", self._room)
            reader = Ext4(self.elevator, start, size, inodes)
            self._named.append((reader, inodes, home))
            reader.begin()
        elif system.kind == "fat":
            tree = Tree(home / "tree", self._room)
            self._trees.append(tree)
            Fat(self.elevator, start, size, tree).begin()
        elif system.kind in MOUNTABLE and not self._in_place:
            size = size or system.size
            self.elevator.copy(start, size, Copy(home / "image", size, self._room).data)


if __name__ == "__main__":
    sys.exit(main())
