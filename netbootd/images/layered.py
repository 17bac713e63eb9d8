"""What an overlay's upper directory changes over the lower one, and both merged into one tree.

The kernel's Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories": a character device
0:0, or an empty file with trusted.overlay.whiteout, takes a name away; trusted.overlay.opaque "y" makes a
directory hide all that lies below it. Both trees are only read, and may be somebody else's work: links in
them lead nowhere. An overlay with redirect_dir=off and metacopy=off is expected; what those would leave to
be looked up elsewhere is refused.

    lower/etc/hosts   upper/etc/hosts             changed
    lower/etc/motd    upper/etc/motd (c 0 0)      removed
                      upper/srv/data              added
"""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from netbootd.errors import UserError
from netbootd.images import entries

Kind = Literal["added", "changed", "removed"]
_DEEPEST = 250
"""Directories within directories; each costs up to three open files while it is read."""
_KINDS = {
    stat.S_IFDIR: "directory",
    stat.S_IFREG: "file",
    stat.S_IFLNK: "link",
    stat.S_IFIFO: "pipe",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}
_CANT_LINK = frozenset({errno.EMLINK, errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP})
_UNSUPPORTED = {"redirect": "redirect_dir=off", "metacopy": "metacopy=off"}


@dataclass(frozen=True, slots=True)
class Change:
    """One entry that differs. `path` is relative to the root, as in etc/hosts; "." is the root itself."""

    path: str
    kind: Kind
    type: str
    """What it is now (what it was, if it is removed): file, directory, link, device, pipe, socket."""
    what: tuple[str, ...] = ()
    """Of what changed: type, content, mode, owner, attributes; or time alone."""
    size: int = 0
    """Octets of an added or changed file."""


def changes(lower: Path, upper: Path) -> Iterator[Change]:
    """What `upper` changes over `lower`, by path; a directory comes before what is in it.

    Of a removed directory only itself is told. What was copied up and is as it was isn't told, nor is a
    directory's time. Raises OSError, and UserError for an upper directory that can't be read as a whole.
    """
    with entries.directory(lower) as below, entries.directory(upper) as above:
        if what := _differences(".", below, above):
            yield Change(".", "changed", "directory", what)
        yield from _changes("", below, above, opaque=_is_opaque(".", above))


def compared(before: Path, after: Path) -> Iterator[Change]:
    """How the whole tree `after` differs from `before`, told as `changes` does; every file is read.

    Raises OSError, UserError.
    """
    with entries.directory(before) as below, entries.directory(after) as above:
        if what := _differences(".", below, above):
            yield Change(".", "changed", "directory", what)
        yield from _changes("", below, above, opaque=True, whole=True)


def merge(
    lower: Path,
    upper: Path,
    target: Path,
    without: Callable[[str, bool], object] = lambda _path, _directory: False,
    *,
    consume: bool = False,
) -> None:
    """Fill the empty directory `target` with `lower` as `upper` changes it.

    Unchanged files are hard links to those of `lower` (copies where that can't be: nothing may write to them
    in place). What comes from `upper` is copied, without overlayfs' own attributes; hard links among its
    files are kept. With `consume`, for an upper directory that is thrown away afterwards, its files become
    those of `target` instead, which takes no room. Where `without` is true of a path (and whether a directory
    is there now), what `upper` has there, and below, doesn't count. Raises OSError, and UserError as
    `changes` does.
    """
    with (
        entries.directory(lower) as below,
        entries.directory(upper) as above,
        entries.directory(target) as made,
    ):
        _Merge(made, without, consume).fill(below, above, made, ())
        found = os.fstat(above)
        entries.dress(".", made, found, entries.lasting(entries.attributes(".", above)))


def _changes(
    path: str, below: int | None, above: int, *, opaque: bool, whole: bool = False
) -> Iterator[Change]:
    """`opaque`: what isn't in `above` is gone. `whole`: so in all directories."""
    _check_depth(path)
    names = entries.names(above)
    hidden = set(entries.names(below)) - set(names) if below is not None and opaque else set()
    for name in sorted(hidden.union(names)):
        here = path + name
        old = entries.status(name, below) if below is not None else None
        new = None if name in hidden else entries.status(name, above)
        if new is None or _is_whiteout(name, above, new):
            if old is not None:
                yield Change(here, "removed", _type(old))
            continue
        _check_supported(here, name, above)
        size = new.st_size if stat.S_ISREG(new.st_mode) else 0
        if old is None or below is None:
            yield Change(here, "added", _type(new), size=size)
        elif _type(old) != _type(new):
            yield Change(here, "changed", _type(new), ("type",), size)
        elif what := _differences(name, below, above):
            yield Change(here, "changed", _type(new), what, size)
        if stat.S_ISDIR(new.st_mode):
            with _both(name, below, old, above) as (inner_below, inner_above):
                hides = whole or _is_opaque(name, above)
                yield from _changes(here + "/", inner_below, inner_above, opaque=hides, whole=whole)


def _differences(name: str, below: int, above: int) -> tuple[str, ...]:
    """In what an entry differs that is of one type in both."""
    old, new = entries.status(name, below), entries.status(name, above)
    if old is None or new is None:
        raise FileNotFoundError(errno.ENOENT, "it went away while it was read", name)
    found = []
    if not _same_content(name, below, old, above, new):
        found.append("content")
    if stat.S_IMODE(old.st_mode) != stat.S_IMODE(new.st_mode):
        found.append("mode")
    if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
        found.append("owner")
    if entries.lasting(entries.attributes(name, below)) != entries.lasting(entries.attributes(name, above)):
        found.append("attributes")
    if not found and not stat.S_ISDIR(new.st_mode) and old.st_mtime_ns != new.st_mtime_ns:
        found.append("time")
    return tuple(found)


def _same_content(name: str, below: int, old: os.stat_result, above: int, new: os.stat_result) -> bool:
    if stat.S_ISLNK(new.st_mode):
        return os.readlink(name, dir_fd=below) == os.readlink(name, dir_fd=above)
    if stat.S_ISREG(new.st_mode):
        if old.st_size != new.st_size:
            return False
        with entries.regular(name, below) as one, entries.regular(name, above) as other:
            return entries.same_content(one, other)
    return stat.S_IFMT(old.st_mode) == stat.S_IFMT(new.st_mode) and old.st_rdev == new.st_rdev


class _Merge:
    """A tree being made of two."""

    def __init__(self, root: int, without: Callable[[str, bool], object], consume: bool) -> None:
        self._root = root
        self._without = without
        self._consume = consume
        self._copied: dict[tuple[int, int], str] = {}
        """Files of the upper directory with several names: where the first of them was put."""

    def fill(self, below: int | None, above: int | None, made: int, path: tuple[str, ...]) -> None:
        """Put into the directory `made` what the directories `below` and `above` have together."""
        _check_depth("/".join(path))
        names = set(entries.names(above)) if above is not None else set()
        below_names = entries.names(below) if below is not None else []
        for name in sorted(names.union(below_names)):
            new = entries.status(name, above) if above is not None and name in names else None
            old = entries.status(name, below) if below is not None else None
            if new is not None and self._without("/".join((*path, name)), stat.S_ISDIR(new.st_mode)):
                new = None
            if new is None or above is None:
                if old is not None and below is not None:
                    self._keep(name, below, old, made, path)
            elif not _is_whiteout(name, above, new):
                _check_supported("/".join((*path, name)), name, above)
                self._take(name, below, old, above, new, made, path)

    def _keep(self, name: str, below: int, old: os.stat_result, made: int, path: tuple[str, ...]) -> None:
        """What the upper directory doesn't touch."""
        if stat.S_ISDIR(old.st_mode):
            with _made(name, made) as inner, entries.directory(name, below) as inner_below:
                self.fill(inner_below, None, inner, (*path, name))
            entries.dress(name, made, old, entries.lasting(entries.attributes(name, below)))
            return
        try:
            os.link(name, name, src_dir_fd=below, dst_dir_fd=made, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _CANT_LINK:
                raise
            self._copy(name, below, old, made, path)

    def _take(
        self,
        name: str,
        below: int | None,
        old: os.stat_result | None,
        above: int,
        new: os.stat_result,
        made: int,
        path: tuple[str, ...],
    ) -> None:
        """What the upper directory has."""
        if not stat.S_ISDIR(new.st_mode):
            if self._consume:
                entries.forget_overlay(name, above)
                return os.link(name, name, src_dir_fd=above, dst_dir_fd=made, follow_symlinks=False)
            return self._copy(name, above, new, made, path)
        if _is_opaque(name, above):
            old = None
        with _made(name, made) as inner, _both(name, below, old, above) as (inner_below, inner_above):
            self.fill(inner_below, inner_above, inner, (*path, name))
        return entries.dress(name, made, new, entries.lasting(entries.attributes(name, above)))

    def _copy(self, name: str, source: int, found: os.stat_result, made: int, path: tuple[str, ...]) -> None:
        key = (found.st_dev, found.st_ino)
        if found.st_nlink > 1 and (first := self._copied.get(key)):
            os.link(first, name, src_dir_fd=self._root, dst_dir_fd=made, follow_symlinks=False)
            return
        entries.copy(name, source, found, made)
        if found.st_nlink > 1:
            self._copied[key] = "/".join((*path, name))


def _made(name: str, within: int) -> AbstractContextManager[int]:
    os.mkdir(name, 0o700, dir_fd=within)
    return entries.directory(name, within)


@contextmanager
def _both(
    name: str, below: int | None, old: os.stat_result | None, above: int
) -> Iterator[tuple[int | None, int]]:
    """The directory `name` opened in both; None for the lower one where there is no such directory."""
    with ExitStack() as stack:
        lower = None
        if below is not None and old is not None and stat.S_ISDIR(old.st_mode):
            lower = stack.enter_context(entries.directory(name, below))
        yield lower, stack.enter_context(entries.directory(name, above))


def _is_whiteout(name: str, above: int, found: os.stat_result) -> bool:
    if stat.S_ISCHR(found.st_mode):
        return found.st_rdev == 0
    if stat.S_ISREG(found.st_mode) and found.st_size == 0:
        return f"{entries.OVERLAY}whiteout" in entries.attributes(name, above)
    return False


def _is_opaque(name: str, above: int) -> bool:
    """Not so "x", by which a directory says that it has whiteouts that are files."""
    return entries.attributes(name, above).get(f"{entries.OVERLAY}opaque") == b"y"


def _check_supported(path: str, name: str, above: int) -> None:
    found = entries.attributes(name, above)
    for note, option in _UNSUPPORTED.items():
        if entries.OVERLAY + note in found:
            raise UserError(
                f"{_shown(path)} was changed by an overlay that keeps a part of it elsewhere ({note})",
                f"mount such overlays with {option}",
            )


def _check_depth(path: str) -> None:
    if path.count("/") >= _DEEPEST:
        raise UserError(
            f"{_shown(path[:60])}… goes more than {_DEEPEST} directories deep", "remove it, and try again"
        )


def _type(found: os.stat_result) -> str:
    return _KINDS[stat.S_IFMT(found.st_mode)]


def _shown(path: str) -> str:
    return ascii(path)[1:-1][:200]
