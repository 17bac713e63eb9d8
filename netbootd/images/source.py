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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from netbootd.errors import HostError, UserError
from netbootd.images.checksums import hasher
from netbootd.images.progress import Progress

_CHUNK = 1 << 20


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
    Packing(b"\x04\x22\x4d\x18", ("lz4", "-dcq"), "lz4"),
)


class Reading:
    """A source's octets on their way: how many they were, and their checksum once they all passed."""

    def __init__(
        self,
        stream: IO[bytes],
        total: int | None,
        progress: Progress,
        step: str = "reading",
        other: str | None = None,
    ) -> None:
        self._stream = stream
        self._total = total
        self._progress = progress
        self._step = step
        self._hash = hashlib.sha256()
        self._other = hasher(other) if other else None
        self.octets = 0

    def chunks(self) -> Iterator[bytes]:
        """The octets that didn't pass yet, in pieces."""
        while chunk := self._stream.read(_CHUNK):
            self._hash.update(chunk)
            if self._other is not None:
                self._other.update(chunk)
            self.octets += len(chunk)
            done = self.octets if self._total is None else min(self.octets, self._total)
            self._progress(self._step, done, self._total)
            yield chunk

    def sha256(self) -> str:
        """Of the whole source; reads what is left of it."""
        for _ in self.chunks():
            pass
        return self._hash.hexdigest()

    def other(self) -> str:
        """The checksum by the other algorithm that was asked for, of the whole source."""
        self.sha256()
        assert self._other is not None  # noqa: S101 - asked for
        return self._other.hexdigest()


def packing(head: bytes) -> Packing | None:
    """How a file that begins with `head` is packed; None for one that isn't. Pure."""
    return next((known for known in PACKINGS if head.startswith(known.magic)), None)


def pour(path: Path, packed: Packing | None, reading: Reading, sink: IO[bytes]) -> None:
    """Send all that `reading` has, unpacked, into `sink`, and close that.

    Whoever reads from `sink` may stop early: then they say why. Raises UserError for what is damaged, which
    is told of the file `path`.
    """
    if packed is None:
        _feed(reading, sink)
        return
    with program([*packed.command], packed.package, stdin=subprocess.PIPE, stdout=sink) as (process, said):
        sink.close()
        assert process.stdin is not None  # noqa: S101 - asked for
        _feed(reading, process.stdin)
        if ended_by_itself(process, said):
            raise UserError(f"{path} is damaged or cut short: {said()}", "download it again")


def _feed(reading: Reading, sink: IO[bytes]) -> None:
    with suppress(BrokenPipeError):
        for chunk in reading.chunks():
            sink.write(chunk)
    with suppress(BrokenPipeError):
        sink.close()


def tar_command(directory: Path, *options: str) -> list[str]:
    """The command that writes the tree `directory` as a tar stream; other file systems in it stay out."""
    command = ["tar", "--create", "--format=posix", "--one-file-system", "--sparse", "--numeric-owner"]
    command += ["--xattrs", "--xattrs-include=*", "--file=-", f"--directory={directory}"]
    return [*command, *options, "."]


@contextmanager
def directory_stream(directory: Path, without: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The tree `directory` as a tar stream; mounts of other file systems, and `without`, stay out.

    Raises HostError where tar can't read it to its end.
    """
    options = []
    if without.is_relative_to(directory):
        options = ["--anchored", "--no-wildcards", f"--exclude=./{without.relative_to(directory)}"]
    command = tar_command(directory, *options)
    with program(command, "tar", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as (tar, said):
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
    inherited: Sequence[int] = (),
    environment: dict[str, str] | None = None,
) -> "Iterator[tuple[subprocess.Popen[bytes], Said]]":
    """Run `command` beside us; it doesn't outlive this, whatever happens. Yields it and what it complains of.

    `inherited` are descriptors that it gets, too. Raises HostError where it isn't installed.
    """
    with tempfile.TemporaryFile() as complaints:
        try:
            process = subprocess.Popen(
                command,
                stdin=stdin,
                stdout=stdout,
                stderr=complaints,
                pass_fds=inherited,
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


def ended(process: subprocess.Popen[bytes]) -> int:
    """The exit status of what we read from, once we want no more of it: 0 where it only missed its reader."""
    assert process.stdout is not None  # noqa: S101 - read from
    process.stdout.close()
    status = process.wait()
    return 0 if status == -signal.SIGPIPE else status


def ended_by_itself(process: subprocess.Popen[bytes], said: Said) -> bool:
    """Whether a failure of `process` is its own, not the closed pipe of whoever read from it."""
    return process.wait() not in (0, -signal.SIGPIPE) and "roken pipe" not in said()
