"""Comparing and copying single entries of trees that may change meanwhile, by open directories.

A name is one part of a path, a directory is an open descriptor: no link in a tree leads anywhere, whoever
renames what while it is read.
"""

import errno
import fcntl
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

OVERLAY = "trusted.overlay."
"""What overlayfs notes on the files of its upper directory; it means nothing anywhere else."""
_FICLONE = 0x40049409
"""ioctl_ficlone(2): share another file's octets, where the file system can (btrfs, xfs)."""
CANT_CLONE = frozenset({errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL, errno.EXDEV, errno.ENOSYS})
"""What file systems answer that can't share octets."""
_PIECE = 1 << 20
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: what was a file when it was looked at may be a FIFO by now.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOATIME | os.O_CLOEXEC


@contextmanager
def directory(name: str | os.PathLike[str], within: int | None = None) -> Iterator[int]:
    """A descriptor of the directory `name`, which is no link. Raises OSError."""
    descriptor = os.open(name, _DIRECTORY, dir_fd=within)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def regular(name: str, within: int) -> Iterator[int]:
    """A descriptor for reading the regular file `name`. Raises OSError."""
    descriptor = os.open(name, _FILE, dir_fd=within)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.ESTALE, "it isn't a file any more", name)
        yield descriptor
    finally:
        os.close(descriptor)


def names(within: int) -> list[str]:
    """What the directory has, sorted. Raises OSError."""
    return sorted(os.listdir(within))


def status(name: str, within: int) -> os.stat_result | None:
    """Of the entry itself, not of what a link leads to; None where there is none. Raises OSError."""
    try:
        return os.stat(name, dir_fd=within, follow_symlinks=False)
    except FileNotFoundError:
        return None


def attributes(name: str, within: int) -> dict[str, bytes]:
    """The extended attributes of an entry, overlayfs' own among them. Raises OSError."""
    path = _path(name, within)
    try:
        found = os.listxattr(path, follow_symlinks=False)
        return {key: os.getxattr(path, key, follow_symlinks=False) for key in found}
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.ENODATA):
            return {}
        raise


def lasting(found: Mapping[str, bytes]) -> dict[str, bytes]:
    """The attributes that an entry has wherever it lies."""
    return {key: value for key, value in found.items() if not key.startswith(OVERLAY)}


def forget_overlay(name: str, within: int) -> None:
    """Take overlayfs' own attributes off an entry that leaves its upper directory. Raises OSError."""
    for key in attributes(name, within):
        if key.startswith(OVERLAY):
            os.removexattr(_path(name, within), key, follow_symlinks=False)


def same_content(one: int, other: int) -> bool:
    """Whether two open files hold the same octets; reads both until they differ. Raises OSError."""
    if os.fstat(one).st_size != os.fstat(other).st_size:
        return False
    offset = 0
    while True:
        piece = os.pread(one, _PIECE, offset)
        if piece != os.pread(other, _PIECE, offset):
            return False
        if not piece:
            return True
        offset += len(piece)


def clone(source: int, target: int) -> bool:
    """Make the open file `target` share the octets of `source`; False where the file system can't.

    Raises OSError.
    """
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError as error:
        if error.errno in CANT_CLONE:
            return False
        raise
    return True


def copy(name: str, source: int, found: os.stat_result, target: int) -> None:
    """Make `name` in the directory `target` what it is in `source`, whose status `found` is; no directory.

    Owner, mode, attributes, times and holes come with it. Raises OSError.
    """
    if stat.S_ISREG(found.st_mode):
        _copy_file(name, source, target)
    elif stat.S_ISLNK(found.st_mode):
        os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
    else:
        os.mknod(name, stat.S_IFMT(found.st_mode) | 0o600, found.st_rdev, dir_fd=target)
    dress(name, target, found, lasting(attributes(name, source)))


def dress(name: str, within: int, like: os.stat_result, wanted: Mapping[str, bytes]) -> None:
    """Give an entry owner, mode, attributes and times, in the order in which none undoes another.

    Raises OSError.
    """
    path = _path(name, within)
    os.chown(name, like.st_uid, like.st_gid, dir_fd=within, follow_symlinks=False)
    if not stat.S_ISLNK(like.st_mode):
        os.chmod(path, stat.S_IMODE(like.st_mode))  # noqa: PTH101 - a path through a descriptor
    for key in attributes(name, within).keys() - wanted.keys():
        with suppress(OSError):  # a default access list that the directory above gave it
            os.removexattr(path, key, follow_symlinks=False)
    for key, value in wanted.items():
        os.setxattr(path, key, value, follow_symlinks=False)
    os.utime(name, ns=(like.st_atime_ns, like.st_mtime_ns), dir_fd=within, follow_symlinks=False)


def _copy_file(name: str, source: int, target: int) -> None:
    with regular(name, source) as reading:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        writing = os.open(name, flags, 0o600, dir_fd=target)
        try:
            if not clone(reading, writing):
                _copy_data(reading, writing)
        finally:
            os.close(writing)


def _copy_data(reading: int, writing: int) -> None:
    """Octet by octet, but for the holes."""
    size = os.fstat(reading).st_size
    end = 0
    while end < size:
        try:
            start = os.lseek(reading, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole is left
                break
            raise
        end = os.lseek(reading, start, os.SEEK_HOLE)
        os.lseek(reading, start, os.SEEK_SET)
        os.lseek(writing, start, os.SEEK_SET)
        while start < end and (piece := os.read(reading, min(_PIECE, end - start))):
            start += len(piece)
            while piece:
                piece = piece[os.write(writing, piece) :]
        if start < end:  # cut short meanwhile
            break
    os.ftruncate(writing, size)


def _path(name: str, within: int) -> str:
    """For the calls that know no directory descriptors: only its last part can be a link."""
    return f"/proc/self/fd/{within}/{name}"
