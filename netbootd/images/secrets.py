"""Whether all that is in an image is for everybody: asked before it is exported to whole networks.

What any user of a node could read there tells nobody on the network a secret. Of what only root could read,
known things hold none: locked accounts, files of comments, programs. Anything else may be a key.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

_ACCOUNTS = frozenset({"etc/shadow", "etc/shadow-", "etc/gshadow", "etc/gshadow-"})
_KNOWN = frozenset({"etc/sudoers", "var/cache/ldconfig/aux-cache", "etc/.pwd.lock"})
_SAMPLES = {"root/.bashrc": "dot.bashrc", "root/.profile": "dot.profile"}
"""Of root's own files, how Debian's base-files calls those that it makes them from."""
_LARGEST = 65_536
_ELF = b"\x7fELF"


def secret_in(root: Path) -> str | None:
    """A file of the image that may hold a secret, relative to its root; None where there is none.

    `root` isn't in use as anybody's root. Raises OSError.
    """
    return next((name for name in _hidden(root, "", hidden=False) if not _is_harmless(root, name)), None)


def _hidden(root: Path, name: str, *, hidden: bool) -> Iterator[str]:
    """The files that not everybody can read, for their own modes or a directory's. No link is followed."""
    with os.scandir(root / name) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        status = entry.stat(follow_symlinks=False)
        below = f"{name}{entry.name}"
        if stat.S_ISDIR(status.st_mode):
            yield from _hidden(root, f"{below}/", hidden=hidden or not status.st_mode & stat.S_IXOTH)
        elif (
            stat.S_ISREG(status.st_mode) and status.st_size and (hidden or not status.st_mode & stat.S_IROTH)
        ):
            yield below


def _is_harmless(root: Path, name: str) -> bool:
    if name in _KNOWN:
        return True
    path = root / name
    with path.open("rb") as file:
        content = file.read(_LARGEST + 1)
    if content.startswith(_ELF):
        return bool(path.lstat().st_mode & 0o111)
    if len(content) > _LARGEST:
        return False
    lines = [line.strip() for line in content.splitlines()]
    if name in _ACCOUNTS:
        return all(_is_locked(line) for line in lines)
    if name in _SAMPLES:
        sample = root / "usr/share/base-files" / _SAMPLES[name]
        return sample.is_file() and not sample.is_symlink() and sample.read_bytes() == content
    return all(not line or line.startswith((b"#", b";")) for line in lines)


def _is_locked(line: bytes) -> bool:
    """A line of shadow(5) or gshadow(5) without a password's hash: `*`, `!`, `!*` and the like."""
    fields = line.split(b":")
    return len(fields) < 2 or not fields[1].strip(b"!*x")
