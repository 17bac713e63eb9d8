"""`image import`: a system that somebody has becomes an image.

    archive -> checksum -> xz, zstd … -> unpack.py, which can reach nothing but the new image's root
    directory -> tar -> unpack.py
    live ISO -> checksum, its own list of them -> its squashfs, mounted -> tar -> unpack.py
    container image -> checksum, its layers' digests -> unpack.py, layer over layer
    disk image -> checksum -> xz, zstd … -> disks/extract.py, shut in likewise -> laid together by its fstab

Nothing is published before the last octet was read, the checksum compared and the whole unpacked.
"""

import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

from netbootd.errors import HostError, UserError
from netbootd.image import Generation, image_name
from netbootd.images import assemble, containers, iso, trees
from netbootd.images.disks import disk
from netbootd.images.progress import Progress, silent
from netbootd.images.recognise import Kind, Source, recognise
from netbootd.images.source import Reading, directory_stream, pour
from netbootd.images.store import ImageStore, Staging
from netbootd.images.unpacker import unpacked

Filled = tuple[str, tuple[str, ...]]
"""The source's checksum (empty if it has none), and what is to be remarked."""


def import_image(
    store: ImageStore,
    name: str,
    source: Path | str,
    sha256: str | None = None,
    progress: Progress = silent,
) -> Generation:
    """Make `source`, a disk image, a tar archive or a directory, the next generation of `name`.

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
        fill: Callable[[Staging, Progress], Filled] = partial(_from_directory, path, store.directory)
    else:
        found = _recognised(path, str(source))
        origin = path.name
        fill = partial(_from_file, found, expected)
    if os.geteuid() != 0:
        raise HostError("only root can import an image: its files belong to many users", "run it with sudo")
    with store.staging(name) as staging:
        with trees.explained(store.directory):
            digest, remarks = fill(staging, progress)
        return assemble.publish(
            store, staging, origin=origin, progress=progress, remarks=remarks, sha256=digest
        )


def _recognised(path: Path, source: str) -> Source:
    if "://" in source:
        raise UserError(
            f"{source[:200]} isn't on this machine", "download it first, then give the file's path"
        )
    if path.exists() and not (path.is_file() or path.is_block_device()):
        raise UserError(
            f"{path} is neither a file nor a directory",
            "give the path of an image, an archive or a directory",
        )
    return recognise(path)


def _checksum(text: str) -> str:
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise UserError(
            f"{text[:80]!r} isn't a SHA-256 checksum", "it has 64 digits, as sha256sum prints them"
        )
    return text.lower()


def _from_directory(directory: Path, images: Path, staging: Staging, progress: Progress) -> Filled:
    progress("counting", 0, None)
    total = trees.size(directory)
    with directory_stream(directory.resolve(), images.resolve()) as tar:
        assert tar.stdout is not None  # noqa: S101 - asked for
        with unpacked(str(directory), staging.root, staging) as unpacking:
            pour(directory, None, Reading(tar.stdout, total, progress), unpacking.sink)
            return "", unpacking.finish()


def _from_file(source: Source, expected: str | None, staging: Staging, progress: Progress) -> Filled:
    """Unpack it. A damaged file is often just a damaged download: then the checksum is what to tell."""
    with source.path.open("rb") as file:
        reading = Reading(file, source.size, progress)
        if source.member is not None or source.kind is Kind.CONTAINER:  # they aren't read in their order
            reading = Reading(file, source.size, progress, "checking")
            _compare(source.path, reading, expected)
        try:
            remarks = _FILLERS[source.kind](source, reading, staging, progress)
        except UserError:
            _compare(source.path, reading, expected)
            raise
        return _compare(source.path, reading, expected), remarks


def _compare(path: Path, reading: Reading, expected: str | None) -> str:
    digest = reading.sha256()
    if expected is not None and digest != expected:
        raise UserError(
            f"{path} isn't the file that the checksum is of: its SHA-256 is {digest}",
            "download it again, or look whether the checksum belongs to this file",
        )
    return digest


def _from_archive(source: Source, reading: Reading, staging: Staging, progress: Progress) -> tuple[str, ...]:
    if source.member is not None:
        raise UserError(f"{source.path} holds no disk image", "unpack it, and import what was in it")
    with unpacked(str(source.path), staging.root, staging) as unpacking:
        pour(source.path, source.packed, reading, unpacking.sink)
        return unpacking.finish()


_FILLERS: dict[Kind, Callable[[Source, Reading, Staging, Progress], tuple[str, ...]]] = {
    Kind.TAR: _from_archive,
    Kind.DISK: disk.fill,
    Kind.CONTAINER: containers.fill,
    Kind.ISO: iso.fill,
}
