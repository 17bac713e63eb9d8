"""Reading and changing single files of an image, never leaving it: links mean what they mean in the image.

An image is somebody's download: its /etc/fstab may be a link to the head node's own, a pipe, or a terabyte.
The image is not in use while it is edited.
"""

import os
import stat
from pathlib import Path, PurePosixPath

from netbootd.errors import UserError
from netbootd.images.rooted import resolve

_LARGEST = 1 << 20
MARK = "#netbootd: "
"""What a line begins with that was commented out here."""


def read(root: Path, name: str) -> str | None:
    """The text of the file that `name` means in the image; None where there is no such text file."""
    path = resolve(root, name)
    if path is None or not path.is_file() or path.stat().st_size > _LARGEST:
        return None
    return path.read_text(encoding="utf-8", errors="surrogateescape")


def write(root: Path, name: str, text: str, mode: int = 0o644) -> None:
    """Make `name` a file that holds `text`, with its directories. One that is there keeps owner and mode.

    A link at `name` itself is followed where it leads to a file, else replaced. Raises OSError, UserError.
    """
    there = resolve(root, name)
    path = there if there is not None and there.is_file() else place(root, name)
    beside = path.with_name(path.name + ".netbootd-new")
    beside.unlink(missing_ok=True)
    with beside.open("x", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)
        try:
            before = path.lstat()
        except FileNotFoundError:
            os.fchmod(file.fileno(), mode)
        else:
            regular = stat.S_ISREG(before.st_mode)
            os.fchown(file.fileno(), before.st_uid, before.st_gid)
            os.fchmod(file.fileno(), stat.S_IMODE(before.st_mode) if regular else mode)
    beside.rename(path)


def place(root: Path, name: str) -> Path:
    """Where on the head node the entry `name` of the image stands or would stand; its directory is made.

    The last part isn't followed. Raises UserError where a directory of the path is something else.
    """
    path = PurePosixPath("/" + name)
    directory = root
    for parent in reversed(path.parents[:-1]):
        found = resolve(root, str(parent))
        if found is None:
            if (directory / parent.name).is_symlink():
                raise UserError(f"{parent} in the image is a link that leads nowhere")
            found = directory / parent.name
            found.mkdir()
            found.chmod(0o755)
        if not found.is_dir():
            raise UserError(f"{parent} in the image isn't a directory")
        directory = found
    return directory / path.name


def entry(root: Path, name: str) -> Path | None:
    """Where the entry `name` itself stands, a link not followed; None where there is none."""
    path = PurePosixPath("/" + name)
    directory = resolve(root, str(path.parent))
    if directory is None or not os.path.lexists(directory / path.name):
        return None
    return directory / path.name


def remove(root: Path, name: str) -> bool:
    """Take the file or link `name` out of the image; whether there was one."""
    path = entry(root, name)
    if path is None or (path.is_dir() and not path.is_symlink()):
        return False
    path.unlink()
    return True


def matching(root: Path, directory: str, pattern: str) -> list[str]:
    """The names of the entries of `directory` in the image that match `pattern`, as paths in the image."""
    found = resolve(root, directory)
    if found is None or not found.is_dir():
        return []
    return sorted(f"{directory.rstrip('/')}/{path.name}" for path in found.glob(pattern))
