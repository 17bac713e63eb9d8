"""What a new generation has in common with the one before it is kept once.

A file that is the same in path, mode, owner, time, attributes and content becomes a hard link to the older
generation's; where only its octets are the same, and the file system can share those (btrfs, xfs), they are
shared. So the tenth generation costs what changed, and nodes of both find its files in one cache.

The older generation is only read. Nothing here is a reason to fail: what can't be shared stays as it is.
"""

import fcntl
import os
import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from netbootd.images import entries, trees

_BESIDE = ".netbootd-shared"
_FIDEDUPERANGE = 0xC0189436
"""ioctl_fideduperange(2): the kernel compares two files' octets and, where they are the same, keeps one."""
_REQUEST = struct.Struct("=QQHHIqQQiI")
_LARGEST_REQUEST = 16 << 20
"""As much as file systems take at once."""

_SAME = ("st_mode", "st_uid", "st_gid", "st_size")

Told = Callable[[int], None]
"""Called with the octets of the new tree's files that were come to so far, read or not."""


def unheard(octets: int) -> None:
    """Tell nobody."""


@dataclass(slots=True)
class Shared:
    """What is kept once: `files` as hard links, and `cloned` octets of files that are else their own."""

    files: int = 0
    cloned: int = 0


def share(new: Path, older: Path, *, times: bool = True, told: Told = unheard) -> Shared:
    """Let what `new`, a tree that nobody uses yet, has in common with `older` be kept once.

    With `times` false, files may differ in when they were changed. Files of `new` that are one file with
    several names stay so, and none become so. Raises OSError where `new` can't be read.
    """
    if not older.is_dir() or older.stat().st_dev != new.stat().st_dev:
        return Shared()
    sharing = _Sharing(new, older, times, told, frozenset(trees.linked(new)))
    with suppress(OSError):  # the older generation may be removed meanwhile
        sharing.walk()
    return sharing.shared


@dataclass(frozen=True, slots=True)
class _Pair:
    """A name that is a file in both trees, or a link in both. `directory` is relative to their roots."""

    directory: str
    name: str
    new: os.stat_result
    old: os.stat_result


@dataclass(slots=True)
class _Sharing:
    """One tree being compared with another of the same file system."""

    new: Path
    older: Path
    times: bool
    told: Told
    linked: frozenset[int]
    """Inodes of the new tree that had several names before, in it or in an older generation."""
    shared: Shared = field(default_factory=Shared)
    seen: int = 0
    """Octets of the new tree's files that were come to."""
    can_clone: bool = True
    _counted: set[int] = field(default_factory=set)
    """Files with several names that are in `seen`."""
    _taken: set[int] = field(default_factory=set)
    """Older files with several names of which one stands for a file of the new tree by now."""

    def walk(self) -> None:
        """Share what can be. A file with several names waits until all of them are known."""
        several: dict[int, list[_Pair]] = {}
        pending = ["."]
        while pending:
            here = pending.pop()
            with self._opened(here) as (made, before):
                for pair in self._pairs(here, made, before):
                    if stat.S_ISDIR(pair.new.st_mode):
                        pending.append(f"{here}/{pair.name}")
                    elif pair.new.st_nlink > 1:
                        several.setdefault(pair.new.st_ino, []).append(pair)
                    else:
                        self._share([pair], made, before)
        for pairs in several.values():
            with self._opened(pairs[0].directory) as (made, before):
                self._share(pairs, made, before)

    @contextmanager
    def _opened(self, directory: str) -> Iterator[tuple[int, int]]:
        with (
            entries.directory(self.new / directory) as made,
            entries.directory(self.older / directory) as before,
        ):
            yield made, before

    def _pairs(self, here: str, made: int, before: int) -> Iterator[_Pair]:
        """The files, links and directories that two directories have both."""
        for name in entries.names(made):
            new, old = entries.status(name, made), entries.status(name, before)
            if new is not None and stat.S_ISREG(new.st_mode):
                self._count(new)
            if new is None or old is None or new.st_ino == old.st_ino or new.st_dev != old.st_dev:
                continue
            kind = stat.S_IFMT(new.st_mode)
            if kind == stat.S_IFMT(old.st_mode) and kind in (stat.S_IFDIR, stat.S_IFREG, stat.S_IFLNK):
                yield _Pair(here, name, new, old)

    def _count(self, new: os.stat_result) -> None:
        """Files are most often not read: what counted those alone would stand still at nothing."""
        if new.st_nlink > 1:
            if new.st_ino in self._counted:
                return
            self._counted.add(new.st_ino)
        self.seen += new.st_size
        self.told(self.seen)

    def _share(self, pairs: list[_Pair], made: int, before: int) -> None:
        """Share a file, all of whose names in both trees `pairs` are; `made` and `before` are the first's."""
        first = pairs[0]
        # What is refused here (EMLINK, EIO, ENOSPC, gone meanwhile) leaves the new file as it is.
        with suppress(OSError):
            if self._may_become(pairs) and self._is_alike(first, made, before):
                self._link(pairs)
                self.shared.files += 1
                if first.old.st_nlink > 1:
                    self._taken.add(first.old.st_ino)
                return
        if self.can_clone and stat.S_ISREG(first.new.st_mode) and first.new.st_size == first.old.st_size > 0:
            with suppress(OSError):
                self._clone(first.name, made, before)

    def _may_become(self, pairs: list[_Pair]) -> bool:
        """Whether names that mean one file go on to mean one, and others don't begin to."""
        old = pairs[0].old.st_ino
        return (
            len(pairs) == pairs[0].new.st_nlink
            and all(pair.old.st_ino == old for pair in pairs)
            and old not in self.linked
            and old not in self._taken
        )

    def _link(self, pairs: list[_Pair]) -> None:
        done: list[_Pair] = []
        for pair in pairs:
            try:
                with self._opened(pair.directory) as (made, before):
                    _link(pair.name, before, pair.name, made)
            except OSError:
                for other in done:  # the name that failed still means the file that all of them meant
                    with (
                        self._opened(pair.directory) as (kept, _),
                        self._opened(other.directory) as (made, _),
                    ):
                        _link(pair.name, kept, other.name, made)
                raise
            done.append(pair)

    def _is_alike(self, pair: _Pair, made: int, before: int) -> bool:
        """Whether it is the same but for where it lies; read only where it may be."""
        new, old = pair.new, pair.old
        if any(getattr(new, fact) != getattr(old, fact) for fact in _SAME):
            return False
        if self.times and new.st_mtime_ns != old.st_mtime_ns:
            return False
        if entries.attributes(pair.name, made) != entries.attributes(pair.name, before):
            return False
        if stat.S_ISLNK(new.st_mode):
            return os.readlink(pair.name, dir_fd=made) == os.readlink(pair.name, dir_fd=before)
        with entries.regular(pair.name, made) as one, entries.regular(pair.name, before) as other:
            return entries.same_content(one, other)

    def _clone(self, name: str, made: int, before: int) -> None:
        with entries.regular(name, before) as source:
            target = os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=made)
            try:
                self.shared.cloned += _deduplicated(source, target)
            except OSError as error:
                self.can_clone = error.errno not in entries.CANT_CLONE
            finally:
                os.close(target)


def _link(name: str, source: int, replaced: str, made: int) -> None:
    """Put the file `name` of the directory `source` in the place of `replaced` of `made`, in one step."""
    times = os.fstat(made)
    os.link(name, _BESIDE, src_dir_fd=source, dst_dir_fd=made, follow_symlinks=False)
    try:
        os.rename(_BESIDE, replaced, src_dir_fd=made, dst_dir_fd=made)
    except OSError:
        os.unlink(_BESIDE, dir_fd=made)
        raise
    finally:
        os.utime(made, ns=(times.st_atime_ns, times.st_mtime_ns))


def _deduplicated(source: int, target: int) -> int:
    """How many octets the file system keeps once from now on; times and all else stay. Raises OSError."""
    size, offset = os.fstat(source).st_size, 0
    while offset < size:
        length = min(_LARGEST_REQUEST, size - offset)
        request = bytearray(_REQUEST.pack(offset, length, 1, 0, 0, target, offset, 0, 0, 0))
        fcntl.ioctl(source, _FIDEDUPERANGE, request)
        *_, done, status, _ = _REQUEST.unpack(request)
        if status < 0:
            raise OSError(-status, os.strerror(-status))
        if status or not done:  # they differ
            break
        offset += done
    return offset
