"""Paths as they look from inside an image: links are followed within its root and never out of it."""

import stat
from pathlib import Path

_MOST_LINKS = 40
"""As many as Linux follows before ELOOP."""


def resolve(root: Path, name: str) -> Path | None:
    """The file on the head node that `name` (absolute, or relative to the image's /) means in the image.

    None where nothing is there, or links go round in circles. `..` at the top stays there, as in a chroot.
    """
    pending = _steps(name)
    here: list[str] = []
    links = 0
    while pending:
        part = pending.pop()
        if part == "..":
            del here[-1:]
            continue
        path = root.joinpath(*here, part)
        try:
            mode = path.lstat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            return None
        if not stat.S_ISLNK(mode):
            here.append(part)
            continue
        links += 1
        if links > _MOST_LINKS:
            return None
        target = str(path.readlink())
        if target.startswith("/"):
            here = []
        pending.extend(_steps(target))
    return root.joinpath(*here)


def find_file(root: Path, names: list[str]) -> Path | None:
    """The first of `names` that is a regular file in the image."""
    for name in names:
        path = resolve(root, name)
        if path is not None and path.is_file():
            return path
    return None


def _steps(name: str) -> list[str]:
    """The parts of a path, last first. Not by pathlib: to it a double slash in front is a root of its own."""
    return [part for part in reversed(name.split("/")) if part not in ("", ".")]
