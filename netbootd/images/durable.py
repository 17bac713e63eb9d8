"""Locks on directories, and bringing to the disk what must not be lost or half there after a power cut."""

import fcntl
import os
import subprocess
from pathlib import Path

from netbootd.errors import HostError


def locked(directory: Path) -> int:
    """A descriptor that holds the directory's lock, once it can be had. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def try_lock(directory: Path) -> int | None:
    """The lock of a directory that nobody works in; None where somebody does, or it is gone."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def write(path: Path, text: str) -> None:
    """Make `path` hold `text`, in one step. Raises OSError."""
    beside = path.with_name(path.name + ".new")
    with beside.open("w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.rename(path)


def sync(directory: Path) -> None:
    """Bring the names in `directory` to the disk. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file_system(directory: Path) -> None:
    """Bring the whole tree to the disk: one syncfs(2) instead of an fsync for each of its files."""
    try:
        subprocess.run(["sync", "--file-system", str(directory)], check=True, capture_output=True)
    except (subprocess.CalledProcessError, FileNotFoundError) as error:
        raise HostError(f"can't bring {directory} to the disk: {error}") from error
