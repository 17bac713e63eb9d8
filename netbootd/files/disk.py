"""Trees on the disk: read into values, and changed step by step, each step whole or not at all.

Everything happens below one trusted directory, through descriptors of the directories on the way and
without following any symbolic link there: a link that somebody planted in a node's tree leads nowhere.
A file is written under another name and renamed into its place, so that who reads it finds the old or the
new one; a name that could not be cleaned up begins with TEMPORARY and goes with the next apply.
"""

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from netbootd.errors import HostError
from netbootd.files.tree import Action, Directory, Entry, File, Link, Other, Step

TEMPORARY = ".netbootd-"
LARGEST_FILE = 64 << 20
"""Octets that are read to compare; what is larger was not written by us."""
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def scan(base: Path, name: str) -> dict[str, Entry]:
    """The tree at `base`/`name`, empty where there is none. Raises HostError."""
    found: dict[str, Entry] = {}
    with explained(base / name):
        try:
            with _opened(base) as start, _walked(start, PurePosixPath(name).parts) as directory:
                found["."] = _directory(os.fstat(directory))
                _scan(directory, "", found)
        except FileNotFoundError:
            return {}
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
            return {".": Other("no directory")}
    return found


def carry_out(base: Path, name: str, step: Step, *, durable: bool = False) -> None:
    """Do `step` to the tree at `base`/`name`. `durable`: on the disk when this returns. Raises HostError.

    MAKE makes the directories that `name` itself lacks, too.
    """
    parts = (*PurePosixPath(name).parts, *PurePosixPath(step.path).parts)
    with explained(base / name / step.path), _opened(base) as start:
        if step.action is Action.MAKE:
            _make_parents(start, parts)
        with _walked(start, parts[:-1]) as parent:
            _do(parent, parts[-1], step, durable)
            if durable:
                os.fsync(parent)


def read(base: Path, name: str) -> bytes | None:
    """The regular file `base`/`name`, reached without a link; None where there is none. Raises HostError."""
    parts = PurePosixPath(name).parts
    with explained(base / name):
        try:
            with _opened(base) as start, _walked(start, parts[:-1]) as parent:
                entry = _entry(parent, parts[-1], os.stat(parts[-1], dir_fd=parent, follow_symlinks=False))
        except (FileNotFoundError, NotADirectoryError):
            return None
    return entry.content if isinstance(entry, File) else None


def listed(base: Path, name: str) -> list[str]:
    """The names in the directory `base`/`name`, sorted; none where there is no such directory."""
    with explained(base / name):
        try:
            with _opened(base) as start, _walked(start, PurePosixPath(name).parts) as directory:
                return sorted(_names(directory))
        except (FileNotFoundError, NotADirectoryError):
            return []


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what the file system refuses into a HostError that says what to do."""
    try:
        yield
    except OSError as error:
        hints = {
            errno.EACCES: "run it as root",
            errno.EPERM: "run it as root",
            errno.ENOSPC: "make room on its file system; nothing is half written, apply again",
            errno.EDQUOT: "raise the quota of its file system; nothing is half written, apply again",
            errno.EROFS: "mount its file system read-write",
            errno.ELOOP: "a symbolic link lies on the way; remove it, netbootd follows none there",
            errno.ENOTDIR: "what is on the way isn't a directory; remove it",
        }
        hint = hints.get(error.errno or 0, "")
        raise HostError(f"{path}: {error.strerror or error}", hint) from error


# Details


@contextmanager
def _opened(base: Path) -> Iterator[int]:
    descriptor = os.open(base, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _walked(start: int, parts: tuple[str, ...]) -> Iterator[int]:
    """A descriptor of the directory that `parts` lead to from `start`."""
    descriptor = os.dup(start)
    try:
        for part in parts:
            below = os.open(part, _DIRECTORY, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        yield descriptor
    finally:
        os.close(descriptor)


def _make_parents(start: int, parts: tuple[str, ...]) -> None:
    for length in range(1, len(parts)):
        with _walked(start, parts[: length - 1]) as parent, suppress(FileExistsError):
            os.mkdir(parts[length - 1], 0o700, dir_fd=parent)
            with _walked(parent, parts[length - 1 : length]) as made:
                os.fchmod(made, 0o755)


def _names(directory: int) -> list[str]:
    with os.scandir(directory) as entries:
        return [entry.name for entry in entries]


def _scan(directory: int, prefix: str, found: dict[str, Entry]) -> None:
    for name in _names(directory):
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        found[prefix + name] = _entry(directory, name, status)
        if stat.S_ISDIR(status.st_mode):
            below = os.open(name, _DIRECTORY, dir_fd=directory)
            try:
                _scan(below, f"{prefix}{name}/", found)
            finally:
                os.close(below)


def _entry(parent: int, name: str, status: os.stat_result) -> Entry:
    mode = stat.S_IMODE(status.st_mode)
    if stat.S_ISDIR(status.st_mode):
        return _directory(status)
    if status.st_uid != os.geteuid():
        return Other(f"owned by {status.st_uid}")
    if stat.S_ISLNK(status.st_mode):
        return Link(os.readlink(name, dir_fd=parent))
    if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST_FILE:
        return Other("not a file of ours")
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    with os.fdopen(descriptor, "rb") as file:
        return File(file.read(), mode)


def _directory(status: os.stat_result) -> Directory:
    # Of somebody else, it compares unequal to any that is wanted, and is given to us with its mode.
    ours = status.st_uid == os.geteuid()
    return Directory(stat.S_IMODE(status.st_mode) if ours else -1)


def _do(parent: int, name: str, step: Step, durable: bool) -> None:
    match step.action, step.entry:
        case Action.REMOVE, _:
            _remove(parent, name)
        case Action.WRITE, File(content, mode):
            _write(parent, name, content, mode, durable)
        case Action.LINK, Link(target):
            temporary = TEMPORARY + secrets.token_hex(6)
            os.symlink(target, temporary, dir_fd=parent)
            _rename(parent, temporary, name)
        case ((Action.MAKE | Action.MODE), Directory(mode)):
            with suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=parent)
            descriptor = os.open(name, _DIRECTORY, dir_fd=parent)
            try:
                os.fchown(descriptor, os.geteuid(), os.getegid())
                os.fchmod(descriptor, mode)
            finally:
                os.close(descriptor)
        case _:
            raise ValueError(f"{step.action} doesn't go with {step.entry!r}")


def _write(parent: int, name: str, content: bytes, mode: int, durable: bool) -> None:
    temporary = TEMPORARY + secrets.token_hex(6)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(temporary, flags, 0o600, dir_fd=parent), "wb") as file:
        try:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        except OSError:
            os.unlink(temporary, dir_fd=parent)
            raise
    _rename(parent, temporary, name)


def _rename(parent: int, temporary: str, name: str) -> None:
    try:
        os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
    except OSError:
        os.unlink(temporary, dir_fd=parent)
        raise


def _remove(parent: int, name: str) -> None:
    """Remove `name` with all below it. What is mounted there isn't emptied: rmdir then says EBUSY."""
    status = os.stat(name, dir_fd=parent, follow_symlinks=False)
    if not stat.S_ISDIR(status.st_mode):
        os.unlink(name, dir_fd=parent)
        return
    directory = os.open(name, _DIRECTORY, dir_fd=parent)
    try:
        if os.fstat(directory).st_dev == os.fstat(parent).st_dev:
            for below in _names(directory):
                _remove(directory, below)
    finally:
        os.close(directory)
    os.rmdir(name, dir_fd=parent)
