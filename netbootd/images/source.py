"""What an image is imported from: a file that may be packed, or a directory, as one stream of octets.

Everything is read once, from the first octet to the last: hashed, counted and handed on as it comes, never
unpacked to a copy first. xz, zstd and the like are programs of the head node, so that unpacking and writing
run side by side.
"""

import hashlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from netbootd.errors import HostError, UserError
from netbootd.images.progress import Progress

_CHUNK = 1 << 20
_MAGIC = 33_000


@dataclass(frozen=True, slots=True)
class Packing:
    """A way in which a file may be compressed: how it begins, what unpacks it, whose package that is."""

    magic: bytes
    command: tuple[str, ...]
    package: str


PACKINGS = (
    Packing(b"\x1f\x8b", ("gzip", "-dc"), "gzip"),
    Packing(b"\xfd7zXZ\0", ("xz", "-dc", "--threads=0"), "xz-utils"),
    Packing(b"\x28\xb5\x2f\xfd", ("zstd", "-dcq", "--long=31"), "zstd"),
    Packing(b"BZh", ("bzip2", "-dc"), "bzip2"),
)
_NOT_TAR = (
    (0, b"PK\x03\x04", "a zip archive"),
    (0, b"hsqs", "a squashfs"),
    (0, b"QFI\xfb", "a disk image (qcow2)"),
    (32_769, b"CD001", "an ISO image"),
    (510, b"\x55\xaa", "a disk image"),
)


class Reading:
    """The source's octets on their way: how many they were, and their checksum once they all passed."""

    def __init__(self, stream: IO[bytes], total: int | None, progress: Progress) -> None:
        self._stream = stream
        self._total = total
        self._progress = progress
        self._hash = hashlib.sha256()
        self.octets = 0

    def chunks(self) -> Iterator[bytes]:
        """The octets that didn't pass yet, in pieces."""
        while chunk := self._stream.read(_CHUNK):
            self._hash.update(chunk)
            self.octets += len(chunk)
            done = self.octets if self._total is None else min(self.octets, self._total)
            self._progress("reading", done, self._total)
            yield chunk

    def sha256(self) -> str:
        """Of the whole source; reads what is left of it."""
        for _ in self.chunks():
            pass
        return self._hash.hexdigest()


def packing(path: Path) -> Packing | None:
    """How the file `path` is packed, by its first octets; None for a bare tar archive.

    Raises UserError for what is known to be something else, HostError where it can't be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_MAGIC)
    except FileNotFoundError as error:
        raise UserError(f"there is no file {path}", "give the path of an archive or a directory") from error
    except OSError as error:
        raise HostError(f"can't read {path}: {error.strerror}") from error
    for known in PACKINGS:
        if head.startswith(known.magic):
            return known
    if head[257:262] != b"ustar":
        for offset, magic, what in _NOT_TAR:
            if head[offset : offset + len(magic)] == magic:
                raise UserError(
                    f"{path} is {what}, not a tar archive",
                    "mount its root file system and import the directory that it is mounted on",
                )
    return None


@contextmanager
def directory_stream(directory: Path, without: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The tree `directory` as a tar stream; mounts of other file systems, and `without`, stay out.

    Raises HostError where tar can't read it to its end.
    """
    command = ["tar", "--create", "--format=posix", "--one-file-system", "--sparse", "--numeric-owner"]
    command += ["--xattrs", "--xattrs-include=*", "--file=-", f"--directory={directory}"]
    if without.is_relative_to(directory):
        command += ["--anchored", "--no-wildcards", f"--exclude=./{without.relative_to(directory)}"]
    with program([*command, "."], "tar", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as (tar, said):
        yield tar
        if tar.wait() not in (0, 1):  # 1: a file changed while it was read
            raise HostError(f"can't read all of {directory}: {said()}")


@contextmanager
def program(
    command: list[str],
    package: str,
    *,
    stdin: int | IO[bytes],
    stdout: int | IO[bytes],
    lock: int | None = None,
    environment: dict[str, str] | None = None,
) -> "Iterator[tuple[subprocess.Popen[bytes], Said]]":
    """Run `command` beside us; it doesn't outlive this, whatever happens. Yields it and what it complains of.

    Raises HostError where it isn't installed.
    """
    with tempfile.TemporaryFile() as complaints:
        try:
            process = subprocess.Popen(
                command,
                stdin=stdin,
                stdout=stdout,
                stderr=complaints,
                pass_fds=() if lock is None else (lock,),
                start_new_session=True,
                env=environment,
            )
        except FileNotFoundError as error:
            raise HostError(f"{command[0]} is missing", f"apt install {package}") from error
        try:
            yield process, Said(complaints)
        finally:
            process.kill()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    with suppress(BrokenPipeError):
                        stream.close()
            process.wait()


@dataclass(frozen=True, slots=True)
class Said:
    """What a program wrote to its standard error."""

    _file: IO[bytes]

    def __call__(self) -> str:
        """Its last words, printable, on one line."""
        size = os.fstat(self._file.fileno()).st_size
        text = os.pread(self._file.fileno(), 600, max(size - 600, 0)).decode("utf-8", "replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return "; ".join("".join(c if c.isprintable() else "?" for c in line) for line in lines[-2:])[:400]


def ended_by_itself(process: subprocess.Popen[bytes], said: Said) -> bool:
    """Whether a failure of `process` is its own, not the closed pipe of whoever read from it."""
    return process.wait() not in (0, -signal.SIGPIPE) and "roken pipe" not in said()
