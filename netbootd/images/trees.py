"""Whole trees of files: how much they hold, and taking them away without touching what is mounted in them."""

import errno
import os
import stat
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from netbootd.errors import HostError

_ATTEMPTS, _BETWEEN = 10, 0.1
"""A process that was killed a moment ago may still put something into a directory that is being emptied."""


@dataclass(frozen=True, slots=True)
class Size:
    """Octets that the regular files of a tree hold; a file with several names counts once."""

    whole: int
    own: int
    """Of files that have no name outside the tree."""


def size(root: Path) -> int:
    """Octets that the regular files under `root` hold; see `measure`."""
    return measure(root).whole


def measure(root: Path) -> Size:
    """How much the files under `root` hold.

    Other file systems mounted in it don't count, nor what vanishes meanwhile. Raises OSError.
    """
    whole = own = 0
    left: dict[int, int] = {}
    """Of files with several names: how many were not met yet."""
    for status in _files(root):
        if status.st_nlink == 1:
            own += status.st_size
        elif status.st_ino in left:
            left[status.st_ino] -= 1
            own += status.st_size if not left[status.st_ino] else 0
            continue
        else:
            left[status.st_ino] = status.st_nlink - 1
        whole += status.st_size
    return Size(whole, own)


def measure_all(roots: Sequence[Path]) -> list[Size]:
    """The same of several trees; `own` is what none of those before it has. Raises OSError."""
    sizes = []
    before: set[int] = set()
    for root in roots:
        whole = own = 0
        seen: set[int] = set()
        for status in _files(root):
            if status.st_ino in seen:
                continue
            if status.st_nlink > 1:
                seen.add(status.st_ino)
            whole += status.st_size
            own += status.st_size if status.st_ino not in before else 0
        before |= seen
        sizes.append(Size(whole, own))
    return sizes


def linked(root: Path) -> set[int]:
    """The inodes of files under `root` that have several names, in it or outside. Raises OSError."""
    return {status.st_ino for status in _files(root, regular=False) if status.st_nlink > 1}


def _files(root: Path, *, regular: bool = True) -> Iterator[os.stat_result]:
    """Of each name of a regular file (or of anything that is no directory) under `root`."""
    device = root.stat().st_dev
    pending = [str(root)]
    while pending:
        for path, status in _entries(pending.pop()):
            if status.st_dev != device:
                continue
            if stat.S_ISDIR(status.st_mode):
                pending.append(path)
            elif stat.S_ISREG(status.st_mode) or not regular:
                yield status


def remove_tree(directory: Path) -> None:
    """Remove `directory` and all in it, if it is there. What is mounted in it is unmounted, never emptied.

    Raises HostError.
    """
    if not directory.exists():
        return
    for mount in mounts_under(directory):
        _run(["umount", "--lazy", str(mount)], f"can't unmount {mount}")
    command = ["rm", "-rf", "--one-file-system", "--", str(directory)]
    for _ in range(_ATTEMPTS):
        if subprocess.run(command, capture_output=True, check=False).returncode == 0:
            return
        time.sleep(_BETWEEN)
    _run(command, f"can't remove {directory}")


def mounts_under(directory: Path) -> list[Path]:
    """The mount points at or under `directory`, innermost first."""
    home = directory.resolve()
    found = []
    for line in _lines("/proc/self/mountinfo"):
        mount = Path(_unescaped(line.split(" ")[4]))
        if mount.is_relative_to(home):
            found.append(mount)
    return found[::-1]


def mounted_devices() -> list[str]:
    """The devices that file systems are mounted from, as /dev/sda2 is."""
    lines = _lines("/proc/self/mounts")
    return [_unescaped(line.split(" ")[0]) for line in lines if line.startswith("/dev/")]


def _lines(path: str) -> list[str]:
    """Of a list of mounts. The kernel escapes "\\n" alone: a user's mount point may have other line ends."""
    return Path(path).read_bytes().decode("utf-8", "surrogateescape").split("\n")[:-1]


def _entries(directory: str) -> Iterator[tuple[str, os.stat_result]]:
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    yield entry.path, entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return


@contextmanager
def explained(directory: Path) -> Iterator[None]:
    """Turn what the file system refuses below `directory` into a HostError that says what to do."""
    try:
        yield
    except OSError as error:
        raise host_error(error, directory) from error


def host_error(error: OSError, directory: Path) -> HostError:
    """What `error`, met while working in `directory`, means to the person who can mend it."""
    where = error.filename if isinstance(error.filename, str) else str(directory)
    hints = {
        errno.ENOSPC: f"make room on the file system of {directory}; nothing was kept of this",
        errno.EDQUOT: f"raise the quota on the file system of {directory}; nothing was kept of this",
        errno.EACCES: "run it as root",
        errno.EPERM: "run it as root",
        errno.EROFS: f"{directory} is mounted read-only: mount it read-write",
    }
    return HostError(f"{where}: {error.strerror}", hints.get(error.errno or 0, ""))


def _run(command: list[str], failure: str) -> None:
    result = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if result.returncode:
        raise HostError(f"{failure}: {result.stderr.strip()[:300]}")


def _unescaped(text: str) -> str:
    """A path as /proc/self/mountinfo writes it: blanks and the like in octal."""
    for octal, plain in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(octal, plain)
    return text
