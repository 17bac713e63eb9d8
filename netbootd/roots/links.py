"""Names that changed with a file of the image that has several names.

With index=on all names of a file stay one file when one of them is written: overlayfs keeps the copy in its
index, and lays it into the upper directory under the written name alone. So the other names' changes are
seen where the root is mounted, and nowhere else. It is a node's work: no link in it is followed.
"""

import os
import stat
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from netbootd.images import entries


@dataclass(frozen=True, slots=True)
class Linked:
    """`path` changed with another name of its file. `like`: one that is in the upper directory, if any."""

    path: str
    like: str | None
    size: int


def changed(lower: Path, upper: Path, view: Path) -> list[Linked]:
    """The names that changed and aren't in `upper`; none where nothing is mounted at `view`. OSError."""
    index = upper.parent / "work" / "index"
    if not view.is_mount() or not index.is_dir() or not any(index.iterdir()):
        return []
    found = []
    with (
        entries.directory(lower) as below,
        entries.directory(upper) as above,
        entries.directory(view) as both,
    ):
        for names in _groups(below):
            seen = {path: status for path in names if (status := _status(both, path))}
            copied = {status.st_ino: path for path, status in seen.items() if _status(above, path)}
            for path, status in seen.items():
                if _status(above, path) is None and _differs(below, both, path):
                    found.append(Linked(path, copied.get(status.st_ino), status.st_size))
    return found


def lay(linked: list[Linked], view: Path, target: Path) -> None:
    """Let those names be in `target`, made of lower and upper directory, what they are in `view`. OSError."""
    with entries.directory(view) as both, entries.directory(target) as made:
        for each in linked:
            with _walked(both, each.path) as (source, name), _walked(made, each.path) as (home, _):
                status = entries.status(name, source)
                if status is None:
                    continue
                os.unlink(name, dir_fd=home)
                if each.like is None:
                    entries.copy(name, source, status, home)
                else:
                    with _walked(made, each.like) as (other, like):
                        os.link(like, name, src_dir_fd=other, dst_dir_fd=home, follow_symlinks=False)


def _groups(root: int) -> Iterator[list[str]]:
    """The names of each file that has several in the tree; st_nlink counts other generations' names, too."""
    found: dict[int, list[str]] = defaultdict(list)
    for path, status in _files(root, ""):
        if status.st_nlink > 1:
            found[status.st_ino].append(path)
    return (names for names in found.values() if len(names) > 1)


def _files(directory: int, prefix: str) -> Iterator[tuple[str, os.stat_result]]:
    for name in entries.names(directory):
        status = entries.status(name, directory)
        if status is None:
            continue
        if stat.S_ISDIR(status.st_mode):
            with entries.directory(name, directory) as below:
                yield from _files(below, f"{prefix}{name}/")
        else:
            yield prefix + name, status


def _differs(below: int, both: int, path: str) -> bool:
    with _walked(below, path) as (old_home, name), _walked(both, path) as (new_home, _):
        old, new = entries.status(name, old_home), entries.status(name, new_home)
        if old is None or new is None:
            return False
        return _facts(name, old_home, old) != _facts(name, new_home, new)


def _facts(name: str, home: int, status: os.stat_result) -> tuple[object, ...]:
    """What changes with a file; its octets don't without its time."""
    attributes = entries.lasting(entries.attributes(name, home))
    return status.st_mode, status.st_uid, status.st_gid, status.st_size, status.st_mtime_ns, attributes


def _status(root: int, path: str) -> os.stat_result | None:
    try:
        with _walked(root, path) as (home, name):
            return entries.status(name, home)
    except OSError:  # a directory on the way is a link by now, or gone
        return None


@contextmanager
def _walked(root: int, path: str) -> Iterator[tuple[int, str]]:
    """A descriptor of the directory that `path` lies in, and its name there. No link is followed."""
    *parents, name = path.split("/")
    with ExitStack() as stack:
        here = root
        for part in parents:
            here = stack.enter_context(entries.directory(part, here))
        yield here, name
