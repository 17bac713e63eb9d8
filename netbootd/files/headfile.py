"""Files of the head node's own, /etc/hosts first of all: new content, all else about them as it was."""

import errno
import os
import secrets
from contextlib import suppress
from pathlib import Path

from netbootd.files.disk import TEMPORARY, explained

_NOT_BESIDE = frozenset({errno.EBUSY, errno.EXDEV, errno.EROFS, errno.EACCES, errno.EPERM})


def read_file(path: Path) -> bytes | None:
    """What is in `path`, None where it doesn't exist. Raises HostError."""
    with explained(path):
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None


def replace_file(path: Path, content: bytes) -> None:
    """Put `content` into `path`, on the disk when this returns. Raises HostError.

    Owner, mode and extended attributes stay (SELinux' label is one); a new file is 0644. A symbolic link
    stays one: its target changes. Readers see the old file or the new one, except where only this file may
    be written and not its directory: /etc/hosts is a mount of its own in containers and in a unit with
    ProtectSystem=strict. Then there is no other way than to write into it.
    """
    with explained(path):
        target = path.resolve()
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            _rename_into(target, content)
        except OSError as error:
            if error.errno not in _NOT_BESIDE or not target.exists():
                raise
            _write_into(target, content)
        else:
            _sync(target.parent)


def remove_file(path: Path) -> None:
    """Remove `path` if it is there; where only the file itself may be written, empty it. Raises HostError."""
    with explained(path):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            if error.errno not in _NOT_BESIDE or not path.exists():
                raise
            _write_into(path, b"")


def _rename_into(target: Path, content: bytes) -> None:
    beside = target.with_name(TEMPORARY + secrets.token_hex(6))
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            _take_after(file.fileno(), target)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.rename(target)
    except OSError:
        beside.unlink(missing_ok=True)
        raise


def _take_after(descriptor: int, original: Path) -> None:
    try:
        status = original.stat()
    except FileNotFoundError:
        os.fchmod(descriptor, 0o644)
        return
    os.fchown(descriptor, status.st_uid, status.st_gid)
    os.fchmod(descriptor, status.st_mode & 0o7777)
    for name in os.listxattr(original):
        # Some are the file system's own business and can't be set.
        with suppress(OSError):
            os.setxattr(descriptor, name, os.getxattr(original, name))


def _write_into(path: Path, content: bytes) -> None:
    with path.open("r+b") as file:
        file.write(content)
        file.truncate()
        file.flush()
        os.fsync(file.fileno())


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
