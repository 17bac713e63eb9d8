"""Writes initramfs archives: cpio "newc" (Linux: Documentation/driver-api/early-userspace/buffer-format.rst).

Deterministic: the same entries give the same octets, whatever the order they were added in, so that a rebuilt
initrd can be compared. Owners are 0:0, times are 0.
"""

import gzip
import stat
import subprocess
import zlib
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Literal

from netbootd.errors import HostError

Compression = Literal["gzip", "zstd"]
_ALIGNMENT = 4
_BLOCK = 512


@dataclass(frozen=True, slots=True)
class _Entry:
    mode: int
    content: bytes = b""
    device: tuple[int, int] = (0, 0)


@dataclass(slots=True)
class Archive:
    """Entries by path, without a leading slash; missing parent directories are made (0755)."""

    _entries: dict[str, _Entry] = field(default_factory=dict)

    def __contains__(self, path: str) -> bool:
        return path in self._entries

    def directory(self, path: str, mode: int = 0o755) -> None:
        """Make a directory."""
        self._put(path, _Entry(stat.S_IFDIR | mode))

    def file(self, path: str, content: bytes, mode: int = 0o644) -> None:
        """Put a regular file there, in place of what was."""
        self._put(path, _Entry(stat.S_IFREG | mode, content))

    def symlink(self, path: str, target: str) -> None:
        """Make `path` a symbolic link to `target`."""
        self._put(path, _Entry(stat.S_IFLNK | 0o777, target.encode()))

    def character_device(self, path: str, major: int, minor: int, mode: int = 0o600) -> None:
        """Make a device node."""
        self._put(path, _Entry(stat.S_IFCHR | mode, device=(major, minor)))

    def to_bytes(self) -> bytes:
        """The archive, uncompressed. Parents precede their children, as the kernel wants them."""
        ordered = sorted(self._entries.items(), key=lambda item: item[0].split("/"))
        records = [_record(number, path, entry) for number, (path, entry) in enumerate(ordered, start=1)]
        records.append(_record(0, "TRAILER!!!", _Entry(0)))
        data = b"".join(records)
        return data + bytes(-len(data) % _BLOCK)

    def _put(self, path: str, entry: _Entry) -> None:
        for parent in PurePosixPath(path).parents:
            if str(parent) != ".":
                self._entries.setdefault(str(parent), _Entry(stat.S_IFDIR | 0o755))
        self._entries[path] = entry


def compress(data: bytes, how: Compression) -> bytes:
    """`data` as one gzip or zstd stream, the same every time. Raises HostError: zstd is missing or fails."""
    if how == "gzip":
        return gzip.compress(data, compresslevel=9, mtime=0)
    try:
        return subprocess.run(["zstd", "-q", "-19", "-c"], input=data, capture_output=True, check=True).stdout
    except FileNotFoundError as error:
        raise HostError("zstd isn't installed", "apt install zstd") from error
    except subprocess.CalledProcessError as error:
        raise HostError(f"zstd failed: {error.stderr.decode(errors='replace').strip()[:200]}") from error


def decompress(data: bytes, how: Compression) -> bytes | None:
    """What `compress` made of; None for what is damaged, of another kind, or where zstd is missing."""
    try:
        if how == "gzip":
            return gzip.decompress(data)
        return subprocess.run(["zstd", "-q", "-d", "-c"], input=data, capture_output=True, check=True).stdout
    except (OSError, EOFError, zlib.error, subprocess.CalledProcessError):
        return None


def _record(inode: int, path: str, entry: _Entry) -> bytes:
    name = path.encode() + b"\0"
    links = 1 if not stat.S_ISDIR(entry.mode) else 2
    fields = (inode, entry.mode, 0, 0, links, 0, len(entry.content), 0, 0, *entry.device, len(name), 0)
    header = b"070701" + b"".join(b"%08X" % value for value in fields)
    return _padded(header + name) + _padded(entry.content)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % _ALIGNMENT)
