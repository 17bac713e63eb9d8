"""Packages that were downloaded for one build and are lent to the next: state_dir/cache/apt.

    cache/apt/KEY/SHA256_NAME_VERSION_ARCH.deb

apt checks what it downloads against the archive's signed lists, and believes what already lies in its cache.
So a file is kept under its checksum and lent only while it still has it, and KEY stands for the archives and
the keys by which they were trusted: what one archive brought is never lent to a build from another.
"""

import hashlib
import os
import re
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from netbootd.images import trees

MOST_OCTETS = 4 << 30
_KEPT = re.compile(r"([0-9a-f]{64})_([A-Za-z0-9][A-Za-z0-9.+~%_-]*\.deb)")
_LONGEST_NAME = 180


class PackageCache:
    """The packages kept in `directory`, `most` octets of them at most; those unused for longest go first."""

    def __init__(self, directory: Path, most: int = MOST_OCTETS) -> None:
        self.directory = directory
        self._most = most

    def lend(self, key: str, archives: Path) -> int:
        """Put what is kept for `key` into `archives`, apt's empty cache; tells how many. Raises OSError."""
        lent = 0
        for path in _kept(self.directory / key):
            match = _KEPT.fullmatch(path.name)
            assert match, "_kept found it by this"  # noqa: S101
            with suppress(FileNotFoundError):  # another build keeps the bounds at this moment
                if _sha256(path) != match[1]:
                    path.unlink()
                    continue
                _link(path, archives / match[2])
                os.utime(path)
                lent += 1
        return lent

    def take(self, key: str, archives: Path) -> None:
        """Keep what is in apt's cache `archives` for the next build with this `key`. Raises OSError."""
        home = self.directory / key
        there = {match[2] for path in _kept(home) if (match := _KEPT.fullmatch(path.name))}
        for path in archives.glob("*.deb"):
            if (
                path.is_symlink()
                or not path.is_file()
                or len(path.name) > _LONGEST_NAME
                or path.name in there
            ):
                continue
            name = f"{_sha256(path)}_{path.name}"
            if _KEPT.fullmatch(name):
                home.mkdir(parents=True, exist_ok=True)
                beside = home / f".{os.getpid()}.new"
                beside.unlink(missing_ok=True)
                _link(path, beside)
                beside.rename(home / name)
        self._keep_bounds()

    def size(self) -> int:
        """Octets that are kept. Raises OSError."""
        return trees.size(self.directory) if self.directory.is_dir() else 0

    def clear(self) -> None:
        """Forget all of them. Raises HostError."""
        trees.remove_tree(self.directory)

    def _keep_bounds(self) -> None:
        found = []
        for path in self.directory.glob("*/*"):
            with suppress(FileNotFoundError):
                status = path.stat()
                found.append((status.st_mtime, status.st_size, path))
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if total <= self._most:
                break
            path.unlink(missing_ok=True)
            total -= size


def key(label: str, sources: Iterable[str], keys: Iterable[bytes]) -> str:
    """Stands for the archives `sources`, trusted by `keys`; begins with `label` (bookworm-amd64)."""
    digest = hashlib.sha256("\n".join(sources).encode())
    for content in keys:
        digest.update(hashlib.sha256(content).digest())
    return f"{label}-{digest.hexdigest()[:16]}"


def _kept(home: Path) -> list[Path]:
    try:
        return [path for path in home.iterdir() if _KEPT.fullmatch(path.name)]
    except FileNotFoundError:
        return []


def _link(path: Path, target: Path) -> None:
    try:
        target.hardlink_to(path)
    except OSError:  # another file system, or one without hard links
        shutil.copy2(path, target)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
