"""The whole root file system of a generation as one file, for nodes that keep it in their memory.

    images/debian/3/boot/root.squashfs        all but /boot, compressed
    images/debian/3/boot/root.squashfs.sum    its octets and SHA-256, for node-init to compare

Made when a node of root mode `ram` first needs it: it costs a minute of the head node's time, and a fourth of
the image's space. Once made it belongs to the generation and goes with it; a node that is set to another mode
and back finds it again. It has no name before it is whole (O_TMPFILE), so that whatever ends the making
leaves nothing behind.
"""

import hashlib
import os
import shutil
import subprocess
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from netbootd.errors import HostError
from netbootd.image import Generation
from netbootd.images.progress import Progress, silent
from netbootd.images.source import program
from netbootd.images.trees import explained

NAME = "root.squashfs"
SUM = f"{NAME}.sum"
PACKAGE = "squashfs-tools"
LOOK_EVERY = 0.5
_MEMORY = "128M"
"""Of a head node that may be a board; and with more, all is read long before it is packed."""
_LEVELS = {"zstd": ("-Xcompression-level", "9")}
_WITHOUT = ("boot/*", "boot/.[!.]*")
"""What a node in memory has no use for: the kernels and loaders that it was booted by."""
_CHUNK = 1 << 20


def is_made(generation: Generation) -> bool:
    """Whether nodes can fetch it."""
    return (generation.boot / NAME).is_file()


def make(generation: Generation, progress: Progress = silent, group: int = -1) -> None:
    """Make it, unless it is there. Raises HostError; then nothing has changed.

    `group`, the daemon's, may read it, and no other user of this machine: the image's /etc/shadow is in it.
    """
    if is_made(generation):
        return
    if shutil.which("mksquashfs") is None:
        raise HostError("mksquashfs is missing, which root mode ram needs", f"apt install {PACKAGE}")
    with explained(generation.boot):
        directory = os.open(generation.boot, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            unnamed = os.open(".", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600, dir_fd=directory)
            try:
                _squash(generation, unnamed, progress)
                os.fchown(unnamed, -1, group)
                os.fchmod(unnamed, 0o640)
                os.fsync(unnamed)
                # First the sum: who finds the file finds that of it.
                _write(directory, SUM, f"{os.fstat(unnamed).st_size} {_digest(unnamed)}\n")
                with suppress(FileExistsError):
                    os.link(f"/proc/self/fd/{unnamed}", NAME, src_dir_fd=directory, dst_dir_fd=directory)
            finally:
                os.close(unnamed)
            os.fsync(directory)
        finally:
            os.close(directory)


def _squash(generation: Generation, target: int, progress: Progress) -> None:
    made = int(datetime.fromisoformat(generation.created).timestamp())
    command = ["nice", "-n", "10", "mksquashfs", str(generation.root), f"/proc/self/fd/{target}"]
    command += ["-noappend", "-no-progress", "-quiet", "-exit-on-error", "-xattrs", "-mkfs-time", str(made)]
    command += [
        "-mem",
        _MEMORY,
        "-comp",
        generation.squashfs or "gzip",
        *_LEVELS.get(generation.squashfs, ()),
    ]
    command += ["-wildcards", "-e", *_WITHOUT]
    with program(
        command, PACKAGE, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, inherited=(target,)
    ) as (process, said):
        while True:
            try:
                status = process.wait(LOOK_EVERY)
                break
            except subprocess.TimeoutExpired:
                progress("packing for memory", min(_read_by(process.pid), generation.size), generation.size)
        if status:
            raise HostError(
                f"{generation.label} can't be packed: {said() or f'mksquashfs ended with {status}'}"
            )


def _read_by(pid: int) -> int:
    """Octets that the process has read; 0 where the kernel doesn't tell."""
    try:
        text = Path(f"/proc/{pid}/io").read_text(encoding="ascii")
    except OSError:
        return 0
    return int(text.split()[1])  # rchar


def _digest(file: int) -> str:
    digest = hashlib.sha256()
    at = 0
    while chunk := os.pread(file, _CHUNK, at):
        digest.update(chunk)
        at += len(chunk)
    return digest.hexdigest()


def _write(directory: int, name: str, text: str) -> None:
    beside = f".{name}.new"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(beside, flags, 0o644, dir_fd=directory), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.rename(beside, name, src_dir_fd=directory, dst_dir_fd=directory)
