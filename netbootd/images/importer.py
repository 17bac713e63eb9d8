"""`image import`: a root file system that somebody has, as a tar archive or a directory, becomes an image.

    file -> checksum -> xz, zstd … -> unpack.py, which can reach nothing but the new image's root
    directory -> tar -> unpack.py

Nothing is published before the last octet was read, the checksum compared and the whole unpacked.
"""

import json
import os
import re
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO

import netbootd
from netbootd.errors import HostError, UserError
from netbootd.image import Generation, image_name
from netbootd.images import assemble, trees
from netbootd.images.progress import Progress, silent
from netbootd.images.source import (
    Reading,
    directory_stream,
    ended_by_itself,
    packing,
    program,
)
from netbootd.images.store import ImageStore, Staging


def import_image(
    store: ImageStore,
    name: str,
    source: Path | str,
    sha256: str | None = None,
    progress: Progress = silent,
) -> Generation:
    """Make `source`, a tar archive (.tar, .gz, .xz, .zst, .bz2) or directory, the next generation of `name`.

    `sha256` is what the file's checksum must be, 64 hexadecimal digits. Raises UserError for a source that
    can't become an image (nothing is published then), HostError where this machine can't do it. Root only.
    """
    image_name(name)
    path = Path(source)
    expected = _checksum(sha256) if sha256 is not None else None
    if path.is_dir():
        if expected is not None:
            raise UserError(f"{path} is a directory and has no checksum", "leave --sha256 out")
        origin = f"directory {path.resolve()}"
    else:
        _check_file(path, str(source))
        origin = path.name
    if os.geteuid() != 0:
        raise HostError("only root can import an image: its files belong to many users", "run it with sudo")
    with store.staging(name) as staging:
        with trees.explained(store.directory):
            if path.is_dir():
                digest = ""
                remarks = _from_directory(path, staging, store.directory, progress)
            else:
                digest, remarks = _from_archive(path, staging, expected, progress)
        return assemble.publish(
            store, staging, origin=origin, progress=progress, remarks=remarks, sha256=digest
        )


def _check_file(path: Path, source: str) -> None:
    if "://" in source:
        raise UserError(
            f"{source[:200]} isn't on this machine", "download it first, then give the file's path"
        )
    if path.exists() and not path.is_file():
        raise UserError(
            f"{path} is neither a file nor a directory", "give the path of an archive or a directory"
        )
    packing(path)


def _checksum(text: str) -> str:
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise UserError(
            f"{text[:80]!r} isn't a SHA-256 checksum", "it has 64 digits, as sha256sum prints them"
        )
    return text.lower()


def _from_archive(
    path: Path, staging: Staging, expected: str | None, progress: Progress
) -> tuple[str, tuple[str, ...]]:
    """Unpack the archive; returns its checksum and what is to be remarked."""
    with path.open("rb") as file:
        reading = Reading(file, path.stat().st_size, progress)
        try:
            remarks = _unpack(path, reading, staging)
        except UserError:
            # A damaged archive is often just a damaged download: then that is what to say.
            _compare(path, reading, expected)
            raise
        return _compare(path, reading, expected), remarks


def _compare(path: Path, reading: Reading, expected: str | None) -> str:
    digest = reading.sha256()
    if expected is not None and digest != expected:
        raise UserError(
            f"{path} isn't the file that the checksum is of: its SHA-256 is {digest}",
            "download it again, or look whether the checksum belongs to this file",
        )
    return digest


def _from_directory(directory: Path, staging: Staging, images: Path, progress: Progress) -> tuple[str, ...]:
    progress("counting", 0, None)
    total = trees.size(directory)
    with directory_stream(directory.resolve(), images.resolve()) as tar:
        assert tar.stdout is not None  # noqa: S101 - asked for
        return _unpack(directory, Reading(tar.stdout, total, progress), staging)


def _unpack(path: Path, reading: Reading, staging: Staging) -> tuple[str, ...]:
    """Send what is read through the unpacker into the staging root; returns remarks."""
    packed = packing(path) if path.is_file() else None
    package_home = str(Path(netbootd.__file__).parent.parent)
    environment = {**os.environ, "PYTHONPATH": package_home, "LC_ALL": "C.UTF-8"}
    command = [sys.executable, "-P", "-m", "netbootd.images.unpack", str(staging.root)]
    with ExitStack() as stack:
        unpacker, unpacker_said = stack.enter_context(
            program(
                command,
                "python3",
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                lock=staging.lock,
                environment=environment,
            )
        )
        assert unpacker.stdin is not None and unpacker.stdout is not None  # noqa: S101 - asked for
        if packed is None:
            _feed(reading, unpacker.stdin)
        else:
            unpacking, said = stack.enter_context(
                program([*packed.command], packed.package, stdin=subprocess.PIPE, stdout=unpacker.stdin)
            )
            unpacker.stdin.close()
            assert unpacking.stdin is not None  # noqa: S101 - asked for
            _feed(reading, unpacking.stdin)
            if ended_by_itself(unpacking, said):
                raise UserError(f"{path} is damaged or cut short: {said()}", "download it again")
        words = unpacker.stdout.read(100_000)
        return _understood(path, unpacker.wait(), words, unpacker_said())


def _feed(reading: Reading, sink: IO[bytes]) -> None:
    """Hand everything on; whoever stops reading says why by itself."""
    with suppress(BrokenPipeError):
        for chunk in reading.chunks():
            sink.write(chunk)
    with suppress(BrokenPipeError):
        sink.close()


def _understood(path: Path, status: int, words: bytes, complaint: str) -> tuple[str, ...]:
    """The unpacker's last words as remarks, or as the error that they are."""
    try:
        told = json.loads(words)
    except ValueError as error:
        raise HostError(f"unpacking {path} ended with status {status}: {complaint}") from error
    if "refused" in told:
        raise UserError(f"{path} can't be imported: {told['refused']}", "nothing of it was kept")
    if "failed" in told:
        raise HostError(f"unpacking {path} failed: {told['failed']}", "nothing of it was kept")
    lost = {
        "acls": "access control lists in words only, which were not kept",
        "attributes": "extended attributes that the file system of the images has no room for",
    }
    return tuple(f"{told[key]} files had {what}" for key, what in lost.items() if told[key])
