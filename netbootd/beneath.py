"""Opening a file by a name from the wire, so that nothing outside one directory can be reached.

Linux does this in one step: openat2(2) with RESOLVE_BENEATH follows symbolic links only while they stay
under the directory, whatever else changes the tree meanwhile. Kernels before 5.6, and seccomp filters that
don't know the call, get a walk of ours instead that follows no link at all.
"""

import ctypes
import errno
import os
import stat
from pathlib import Path

_SYS_OPENAT2 = 437
"""The same number on x86-64, arm64 and armv7: calls since Linux 5.2 share one table."""
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_BENEATH = 0x08
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
# O_NONBLOCK: opening a FIFO must not wait for its writer; it means nothing to a regular file.
_FILE = os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
_ATTEMPTS = 8
"""openat2 says EAGAIN when a rename elsewhere made its check uncertain; asked again, it is sure."""

_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ENXIO, errno.EINVAL})
_DENIED = frozenset({errno.EXDEV, errno.ELOOP, errno.EACCES, errno.EPERM})
_NO_SUCH_CALL = frozenset({errno.ENOSYS, errno.EPERM})
"""systemd's SystemCallFilter= answers an unknown call with EPERM, which openat2 itself doesn't use here."""

_syscall = ctypes.CDLL(None, use_errno=True).syscall
_syscall.restype = ctypes.c_long


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def open_beneath(root: Path, name: str) -> int:
    """A read-only descriptor of the regular file `name` under the directory `root`; the caller closes it.

    `name` is relative, `/` between its parts. `root` is trusted and may itself be a symbolic link.
    Raises FileNotFoundError where there is no such regular file, PermissionError where the name leads out
    of `root` or may not be read, and OSError for faults of the host (EMFILE, EIO).
    """
    if not name.isprintable() or not name:  # NUL, control characters, lone surrogates
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
    directory = os.open(root, _DIRECTORY)
    try:
        try:
            descriptor = _openat2(directory, name)
        except OSError as error:
            if error.errno not in _NO_SUCH_CALL:
                raise
            descriptor = walk_beneath(directory, name)
    except OSError as error:
        raise _plain(error, name) from None
    finally:
        os.close(directory)
    return _only_regular(descriptor, name)


def walk_beneath(directory: int, name: str) -> int:
    """What open_beneath does where openat2 is missing: part by part, following no symbolic link.

    `directory` is an open descriptor and stays open. Raises OSError (ELOOP for a symbolic link, EXDEV for
    an absolute name or `..`).
    """
    if name.startswith("/"):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), name)
    *parents, last = [part for part in name.split("/") if part not in ("", ".")] or [""]
    if not last or name.endswith(("/", "/.")):
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), name)
    if ".." in (*parents, last):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), name)
    here = os.dup(directory)
    try:
        for part in parents:
            below = _step(part, here)
            os.close(here)
            here = below
        return os.open(last, _FILE | os.O_NOFOLLOW, dir_fd=here)
    finally:
        os.close(here)


def _step(part: str, here: int) -> int:
    try:
        return os.open(part, _DIRECTORY | os.O_NOFOLLOW, dir_fd=here)
    except NotADirectoryError:
        if stat.S_ISLNK(os.stat(part, dir_fd=here, follow_symlinks=False).st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), part) from None
        raise


def _openat2(directory: int, name: str) -> int:
    how = _OpenHow(flags=_FILE, mode=0, resolve=_RESOLVE_BENEATH | _RESOLVE_NO_MAGICLINKS)
    path = os.fsencode(name)
    for _ in range(_ATTEMPTS):
        descriptor: int = _syscall(
            ctypes.c_long(_SYS_OPENAT2),
            ctypes.c_int(directory),
            ctypes.c_char_p(path),
            ctypes.byref(how),
            ctypes.c_size_t(ctypes.sizeof(how)),
        )
        if descriptor >= 0:
            return descriptor
        if ctypes.get_errno() not in (errno.EAGAIN, errno.EINTR):
            break
    code = ctypes.get_errno()
    raise OSError(code, os.strerror(code), name)


def _only_regular(descriptor: int, name: str) -> int:
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise FileNotFoundError(errno.ENOENT, "not a regular file", name)


def _plain(error: OSError, name: str) -> OSError:
    if error.errno in _ABSENT:
        return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
    if error.errno in _DENIED:
        return PermissionError(errno.EACCES, os.strerror(error.errno), name)
    return error
