"""Files that come in pieces, many of them at a time, in the order in which a disk has them."""

import errno
import os
from collections import OrderedDict
from pathlib import Path

from netbootd.images.unpack import RESERVE, set_time

_OPEN_FILES = 200
_CHECK_EVERY = 32 << 20
_BLOCK = 4096
_ZEROS = bytes(_BLOCK)


class Room:
    """How much may be written: what is free, but for what the registry needs."""

    def __init__(self) -> None:
        self._until_check = 0

    def expect(self, octets: int) -> None:
        """Raises OSError where so much doesn't fit."""
        room = os.statvfs("/")
        free = max(room.f_bavail * room.f_frsize - RESERVE, 0)
        if octets > free and room.f_blocks:  # a file system without blocks doesn't know its size
            raise OSError(errno.ENOSPC, f"{octets} octets don't fit on the disk, {free} are left")

    def took(self, octets: int) -> None:
        """So much is about to be written. Raises OSError where not much more fits."""
        self._until_check -= octets
        if self._until_check <= 0:
            self.expect(octets)
            self._until_check = _CHECK_EVERY


class _Pieces:
    """Puts pieces at their places; keeps a few files open, because the next piece is often of one of them."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._open: OrderedDict[Path, int] = OrderedDict()

    def expect(self, octets: int) -> None:
        """Raises OSError where so much doesn't fit."""
        self._room.expect(octets)

    def write(self, path: Path, offset: int, octets: memoryview) -> None:
        """Put a piece at its place in the file `path`, which is made where it isn't there."""
        self._room.took(len(octets))
        descriptor = self._open.pop(path, -1)
        if descriptor < 0:
            if len(self._open) >= _OPEN_FILES:
                os.close(self._open.popitem(last=False)[1])
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        self._open[path] = descriptor
        while octets:
            done = os.pwrite(descriptor, octets, offset)
            offset += done
            octets = octets[done:]

    def close(self) -> None:
        """Close what is open."""
        while self._open:
            os.close(self._open.popitem()[1])


class Inodes(_Pieces):
    """The data of files that have no names yet: each in a file named by its inode's number."""

    def __init__(self, home: Path, room: Room) -> None:
        super().__init__(room)
        self._home = home
        home.mkdir()

    def data(self, inode: int, offset: int, octets: memoryview) -> None:
        """A piece of a file."""
        self.write(self._home / str(inode), offset, octets)


class Tree(_Pieces):
    """A file system without owners: its files belong to root, and everybody may read them."""

    def __init__(self, home: Path, room: Room) -> None:
        super().__init__(room)
        self._home = home
        self._times: dict[Path, float] = {}
        home.mkdir()

    def directory(self, path: str, time: float) -> None:
        """There is a directory."""
        (self._home / path).mkdir()
        self._times[self._home / path] = time

    def file(self, path: str, size: int, time: float) -> None:
        """There is a file."""
        self._room.took(size)
        os.close(os.open(self._home / path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        self._times[self._home / path] = time

    def data(self, path: str, offset: int, octets: memoryview) -> None:
        """A piece of a file."""
        self.write(self._home / path, offset, octets)

    def finish(self) -> None:
        """Everything is there: modes and times."""
        self.close()
        self._home.chmod(0o755)
        for path, time in reversed(self._times.items()):
            path.chmod(0o755)
            set_time(path, time)


class Copy(_Pieces):
    """A partition as it is, but for blocks of zeros: they become holes."""

    def __init__(self, path: Path, size: int, room: Room) -> None:
        super().__init__(room)
        self._path = path
        with path.open("xb") as file:
            file.truncate(-(-size // _BLOCK) * _BLOCK)  # a loop device has whole blocks only

    def data(self, offset: int, octets: memoryview) -> None:
        """A piece of it."""
        for at in range(0, len(octets), _BLOCK):
            block = octets[at : at + _BLOCK]
            if block.tobytes() != _ZEROS[: len(block)]:
                self.write(self._path, offset + at, block)
