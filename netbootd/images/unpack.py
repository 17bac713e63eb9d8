"""Unpacking an archive into an image's root: a program of its own, which can't reach anything else.

    tar stream | python -m netbootd.images.unpack ROOT [layer]      as root

It makes ROOT its own / (chroot) before it reads the first octet, so that no name, link or mistake in an
archive leads out of it; and it refuses an archive that tries, as a whole: whoever called it throws away what
was unpacked so far. Owners, modes, times, hard links, sparse files, device nodes and extended attributes
(capabilities among them) come out as they went in.

A `layer` is unpacked over what is in ROOT already. It may take away what lies below it: `.wh.NAME` does that
for NAME, `.wh..wh..opq` for all that the directory had (OCI Image Format Specification 1.1, layer.md).

Its last words are one line of JSON on standard output: {"files": N, "acls": N, "attributes": N} (how many
were unpacked, and how many of them lost such things), {"refused": WHY} where the archive is at fault (exit
status 2), or {"failed": WHY} where this machine is (4).
"""

import errno
import json
import math
import os
import resource
import shutil
import stat
import sys
import tarfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from netbootd.images.tar_stream import ArchiveError, TarStream, data_pieces, refusal

_MEMORY = 1 << 30
"""Octets of address space: an archive's headers may not claim more."""
RESERVE = 64 << 20
"""Octets that stay free on the file system: the registry lives there, too."""
_LATEST = 1 << 33
_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"
XATTR = "SCHILY.xattr."
_KEPT_XATTRS = ("user.", "security.capability", "system.posix_acl_")
"""trusted.* would be taken for overlayfs' own notes when the head node mounts an overlay over the image."""


ARCHIVE_FAULTS = (
    *(errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENOTEMPTY),
    *(errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL, errno.EFBIG, errno.EMLINK, errno.E2BIG, errno.ERANGE),
)
"""Errors that tell of the archive, not of this machine."""


@dataclass(slots=True)
class _Unpacked:
    files: int = 0
    acls: int = 0
    """Files whose access lists were lost."""
    attributes: int = 0
    """Files of whose extended attributes some were lost."""
    directories: dict[Path, float] = field(default_factory=dict)
    """Their times, to be set when nothing is put into them any more."""


def main() -> int:
    """Unpack standard input into the directory named as the only argument; returns the exit status."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    os.umask(0o077)
    try:
        os.chroot(sys.argv[1])
        os.chdir("/")
        unpacked = unpack(sys.stdin.buffer, is_layer=sys.argv[2:] == ["layer"])
    except ArchiveError as error:
        return say(2, refused=error.message)
    except MemoryError:
        return say(2, refused="its headers claim more memory than any archive needs")
    except OSError as error:
        return say(4, failed=f"{error.filename or 'unpacking'}: {error.strerror}")
    return say(0, files=unpacked.files, acls=unpacked.acls, attributes=unpacked.attributes)


def unpack(source: BinaryIO, *, is_layer: bool = False) -> _Unpacked:
    """Unpack the tar stream `source` into /. Raises ArchiveError, OSError."""
    stream = TarStream(source)
    unpacked = _Unpacked()
    below = _Below() if is_layer else None
    for member in stream.members():
        if why := refusal(member):
            raise ArchiveError(f"{shown(member.name)} {why}")
        path = Path("/" + member.name)
        try:
            if below is not None and below.takes_away(path, member):
                continue
            _make_parents(path)
            _clear(path, member)
            _create(stream, member, path)
            if not member.islnk():
                unpacked.attributes += not dress(path, member)
        except (ValueError, OverflowError) as error:
            raise ArchiveError(f"{shown(member.name)} can't be unpacked: {error}") from error
        except OSError as error:
            if error.errno not in ARCHIVE_FAULTS:
                raise
            raise ArchiveError(f"{shown(member.name)} can't be unpacked: {error.strerror}") from error
        unpacked.files += 1
        unpacked.acls += _loses_acl(member)
        if member.isdir():
            unpacked.directories[path] = member.mtime
    for path, time in reversed(unpacked.directories.items()):
        with suppress(OSError):
            set_time(path, time)
    return unpacked


class _Below:
    """What the layers below put there, as far as this one takes it away or replaces it."""

    def __init__(self) -> None:
        self._ours: set[Path] = set()

    def takes_away(self, path: Path, member: tarfile.TarInfo) -> bool:
        """Make room for `member`; True where it is nothing more than a note that something goes."""
        name = path.name
        if not name.startswith(_WHITEOUT):
            if path not in self._ours and not (member.isdir() and path.is_dir() and not path.is_symlink()):
                _remove(path)
            self._ours.update((path, *path.parents))
            return False
        if name == _OPAQUE:
            self._strip(path.parent)
        elif not name.startswith(_WHITEOUT * 2):  # others are AUFS's own notes
            gone = name.removeprefix(_WHITEOUT)
            if gone in ("", ".", ".."):
                raise ArchiveError(f"{shown(member.name)} takes away nothing that has a name")
            if path.with_name(gone) not in self._ours:
                _remove(path.with_name(gone))
        return True

    def _strip(self, directory: Path) -> None:
        """Leave in it what this layer put there."""
        for entry in directory.iterdir() if directory.is_dir() and not directory.is_symlink() else ():
            if entry in self._ours:
                self._strip(entry)
            else:
                _remove(entry)


def _remove(path: Path) -> None:
    """Remove a file, a link or a whole tree, if it is there; the root itself stays."""
    if path == Path("/"):
        return
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _create(stream: TarStream, member: tarfile.TarInfo, path: Path) -> None:
    if member.isdir():
        if not path.is_dir():
            path.mkdir()
    elif member.issym():
        path.symlink_to(member.linkname)
    elif member.islnk():
        try:
            path.hardlink_to("/" + member.linkname)
        except FileNotFoundError:
            raise ArchiveError(f"{shown(member.name)} is a hard link to what the archive lacks") from None
    elif member.isfifo():
        os.mkfifo(path)
    elif member.isdev():
        kind = stat.S_IFCHR if member.ischr() else stat.S_IFBLK
        os.mknod(path, kind | 0o600, os.makedev(member.devmajor, member.devminor))
    else:
        _write(stream, member, path)


def dress(path: Path, member: tarfile.TarInfo) -> bool:
    """Owner, mode, attributes, time: in the order in which none undoes another.

    False where the file system here has no such attributes.
    """
    links, kept = not member.issym(), True
    os.chown(path, member.uid, member.gid, follow_symlinks=links)
    if links:
        path.chmod(stat.S_IMODE(member.mode))
        for key, value in member.pax_headers.items():
            name = key.removeprefix(XATTR)
            if name != key and name.startswith(_KEPT_XATTRS):
                try:
                    os.setxattr(path, name, value.encode("utf-8", "surrogateescape"))
                except OSError as error:
                    if error.errno not in (errno.EOPNOTSUPP, errno.ENOSPC):  # a full disk is met again soon
                        raise
                    kept = False
    set_time(path, member.mtime)
    return kept


def _write(stream: TarStream, member: tarfile.TarInfo, path: Path) -> None:
    pieces = data_pieces(member)
    needed = sum(size for _, size in pieces)
    room = os.statvfs("/")
    free = max(room.f_bavail * room.f_frsize - RESERVE, 0)
    if needed > free and room.f_blocks:  # a file system without blocks doesn't know its size
        raise OSError(errno.ENOSPC, f"{needed} octets don't fit on the disk, {free} are left", str(path))
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        stream.go_to(member.offset_data)
        for offset, size in pieces:
            os.lseek(descriptor, offset, os.SEEK_SET)
            for chunk in stream.data(size):
                write_all(descriptor, chunk)
        if member.issparse():
            os.ftruncate(descriptor, member.size)
    finally:
        os.close(descriptor)


def write_all(descriptor: int, chunk: bytes | memoryview) -> None:
    """Write the whole of `chunk`. Raises OSError."""
    while chunk:
        chunk = chunk[os.write(descriptor, chunk) :]


def _loses_acl(member: tarfile.TarInfo) -> bool:
    """Whether its list of access rights is there as text only, which speaks of users by their names."""
    keys = member.pax_headers
    return "SCHILY.acl.access" in keys and f"{XATTR}system.posix_acl_access" not in keys


def _make_parents(path: Path) -> None:
    """The directories that an archive takes for granted."""
    if not path.parent.is_dir():
        _make_parents(path.parent)
        path.parent.mkdir()
        path.parent.chmod(0o755)


def _clear(path: Path, member: tarfile.TarInfo) -> None:
    """Later members replace earlier ones; a directory stays, and so does a link to one where one is named."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(mode):
        if not (member.isdir() and path.is_dir()):
            path.unlink()
    elif not member.isdir():
        raise FileExistsError(errno.EEXIST, "a directory of that name is in the archive, too")


def set_time(path: Path, time: float) -> None:
    """Set when `path` was changed, in seconds since 1970; what no clock shows becomes the nearest it can."""
    nanosecond = int(min(max(time, 0), _LATEST) * 1e9) if math.isfinite(time) else 0
    os.utime(path, ns=(nanosecond, nanosecond), follow_symlinks=False)


def shown(name: str) -> str:
    """A name of an archive as text that is safe to print."""
    return ascii(name)[1:-1][:200]


def say(status: int, **words: object) -> int:
    """Tell whoever called the program how it ended; returns the exit status."""
    print(json.dumps(words))  # noqa: T201 - what this program is for
    return status


if __name__ == "__main__":
    sys.exit(main())
