"""What is in an image only as long as somebody works in it: name servers, no services, package lists."""

import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path

from netbootd.errors import UserError
from netbootd.images import edit, entries
from netbootd.images.inside import NEEDED_DIRECTORIES
from netbootd.images.rooted import find_file

_RESOLVER = "etc/resolv.conf"
_NO_SERVICES = "usr/sbin/policy-rc.d"
"""Debian's way to tell its packages whether they may start services: 101 says no (invoke-rc.d(8))."""
_POLICY = "#!/bin/sh\n# While `netbootctl image shell` is in this image, no service is started.\nexit 101\n"
_CACHES = (
    ("/var/lib/apt/lists", "*"),
    ("/var/cache/apt", "*.bin"),
    ("/var/cache/apt/archives", "*.deb"),
    ("/var/cache/pacman/pkg", "*"),
    ("/var/lib/pacman/sync", "*.db*"),
    ("/var/cache/apk", "*"),
    ("/var/cache/distfiles", "*"),
)
"""What package managers leave behind and get again by themselves: each generation would have its own."""


class Guest:
    """Files that are in the image only as long as somebody works in it."""

    def __init__(self, root: Path, directory: Path) -> None:
        self.directory = directory
        self.files: list[str] = []
        directory.mkdir()
        for name, mode in NEEDED_DIRECTORIES.items():
            there = (root / name).lstat() if os.path.lexists(root / name) else None
            if there is None:
                (directory / name).mkdir()
                (directory / name).chmod(mode)
            elif not stat.S_ISDIR(there.st_mode):
                raise UserError(f"/{name} in the image isn't a directory", "such a system can't be worked in")
        with suppress(OSError):
            resolver = Path("/etc/resolv.conf").read_text(encoding="utf-8", errors="surrogateescape")
            self._put(root, _RESOLVER, resolver, 0o644)
        if edit.entry(root, _NO_SERVICES) is None:
            self._put(root, _NO_SERVICES, _POLICY, 0o755)
        dress_like(root, directory)

    def _put(self, root: Path, name: str, text: str, mode: int) -> None:
        """Put `name` into ours, below directories that are as the image's; not where it has links."""
        parents = list(Path(name).parents)[-2::-1]
        if any((root / parent).is_symlink() or not (root / parent).is_dir() for parent in parents):
            return
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", errors="surrogateescape")
        path.chmod(mode)
        for parent in reversed(parents):
            dress_like(root / parent, self.directory / parent)
        self.files.append(name)

    def withdraw_from(self, upper: Path) -> None:
        """Take out what came into the upper directory unchanged, as by a chmod."""
        for name in self.files:
            if self._is_ours(upper, name):
                (upper / name).unlink()

    def put_into(self, root: Path, aside: Path) -> None:
        """Put the files into a tree, and what is there in their places aside."""
        for name in NEEDED_DIRECTORIES:
            if (self.directory / name).is_dir():
                shutil.copytree(self.directory / name, root / name)
        for number, name in enumerate(self.files):
            if os.path.lexists(root / name):
                (root / name).rename(aside / f"aside{number}")
            shutil.copy(self.directory / name, root / name)

    def take_from(self, root: Path, aside: Path) -> None:
        """Undo that, but for what became of them meanwhile."""
        for number, name in enumerate(self.files):
            before = aside / f"aside{number}"
            if self._is_ours(root, name):
                (root / name).unlink()
                if os.path.lexists(before):
                    before.rename(root / name)
            elif os.path.lexists(before):
                before.unlink()

    def _is_ours(self, root: Path, name: str) -> bool:
        path = edit.entry(root, name)
        # Elsewhere in the image, it is behind a link, which for this machine leads out of the image.
        if path != root / name or path.is_symlink() or not path.is_file():
            return False
        ours = self.directory / name
        return path.stat().st_size == ours.stat().st_size and path.read_bytes() == ours.read_bytes()


def without_caches(upper: Path) -> int:
    """Remove new files of package managers' caches; the octets that they held."""
    octets = 0
    for directory, pattern in _CACHES:
        for name in edit.matching(upper, directory, pattern):
            path = edit.entry(upper, name)
            if path is not None and stat.S_ISREG(path.lstat().st_mode):
                octets += path.lstat().st_size
                path.unlink()
    return octets


def lacks_package_lists(root: Path) -> bool:
    """Whether apt is in the image and doesn't know any package: `apt-get update` has to come first."""
    if find_file(root, ["/usr/bin/apt-get", "/bin/apt-get"]) is None:
        return False
    return not edit.matching(root, "/var/lib/apt/lists", "*_Packages*")


def dress_like(like: Path, path: Path) -> None:
    """Owner, mode, times and attributes of a directory, which an overlay shows of its topmost layer."""
    with entries.directory(like) as source, entries.directory(path) as target:
        found = entries.lasting(entries.attributes(".", source))
        entries.dress(".", target, os.fstat(source), found)
