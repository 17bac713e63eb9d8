"""`image import`: a system that somebody has becomes an image.

    archive -> checksum -> xz, zstd … -> unpack.py, which can reach nothing but the new image's root
    directory -> tar -> unpack.py
    live ISO -> checksum, its own list of them -> its squashfs, mounted -> tar -> unpack.py
    container image -> checksum, its layers' digests -> unpack.py, layer over layer
    running machine -> tar over there -> ssh -> unpack.py
    disk image -> checksum -> xz, zstd … -> disks/extract.py, shut in likewise -> laid together by its fstab

Nothing is published before the last octet was read, the checksum compared and the whole unpacked.
"""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from netbootd.errors import HostError, UserError
from netbootd.image import Generation, image_name
from netbootd.images import assemble, borrowed_kernel, checksums, containers, iso, modloop, remote, trees
from netbootd.images.checksums import Checksum
from netbootd.images.disks import disk
from netbootd.images.progress import Progress, silent
from netbootd.images.recognise import Kind, Source, recognise
from netbootd.images.source import Reading, directory_stream, pour
from netbootd.images.store import ImageStore, Staging
from netbootd.images.unpacker import unpacked

Filled = tuple[str, tuple[str, ...]]
"""The source's checksum (empty if it has none), and what is to be remarked."""


def import_image(  # noqa: PLR0913 (how it is to be made, each by its keyword)
    store: ImageStore,
    name: str,
    source: Path | str,
    sha256: str | None = None,
    progress: Progress = silent,
    *,
    checksum: Checksum | None = None,
    remarks: tuple[str, ...] = (),
    kernel: Generation | None = None,
) -> Generation:
    """Make `source` the next generation of `name`: a file, a directory, or a machine (ssh://USER@HOST).

    `sha256` is what the file's checksum must be, 64 hexadecimal digits; `checksum` one of any kind. `remarks`
    are what else is to be remembered of it; `kernel` is the image whose kernel it gets. Raises UserError for
    a source that can't become an image (nothing is published then), HostError where this machine can't do it.
    Root only.
    """
    image_name(name)
    path = Path(source)
    expected = _sha256(sha256) if sha256 is not None else checksum
    fill: Callable[[Staging, Progress], Filled]
    if str(source).startswith(remote.SCHEME):
        machine = remote.Machine.parse(str(source))
        if expected is not None:
            raise UserError(f"{machine.url} is a machine and has no checksum", "leave it out")
        origin = machine.url
        fill = partial(_from_machine, machine)
    elif path.is_dir():
        if expected is not None:
            raise UserError(f"{path} is a directory and has no checksum", "leave it out")
        origin = f"directory {path.resolve()}"
        fill = partial(_from_directory, path, store.directory)
    else:
        found = _recognised(path, str(source))
        origin = path.name
        fill = partial(_from_file, found, expected)
    if os.geteuid() != 0:
        raise HostError("only root can import an image: its files belong to many users", "run it with sudo")
    with store.staging(name) as staging:
        with trees.explained(store.directory):
            digest, more = fill(staging, progress)
            more += modloop.unpack(staging, progress)
            if kernel is not None:
                progress(f"copying the kernel of {kernel.label}", 0, None)
                more += borrowed_kernel.lay(kernel, staging.root)
        return assemble.publish(
            store, staging, origin=origin, progress=progress, remarks=(*remarks, *more), sha256=digest
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
    if path.is_block_device():
        for device in trees.mounted_devices():
            if device.startswith(str(path.resolve())):
                raise UserError(f"{device} is mounted", f"umount {device}; what changes can't be read whole")
    return recognise(path)


def _sha256(text: str) -> Checksum:
    checksum = checksums.of(text)
    if checksum is None or checksum.algorithm != "sha256":
        raise UserError(
            f"{text[:80]!r} isn't a SHA-256 checksum", "it has 64 digits, as sha256sum prints them"
        )
    return checksum


def _from_directory(directory: Path, images: Path, staging: Staging, progress: Progress) -> Filled:
    progress("counting", 0, None)
    total = trees.size(directory)
    with directory_stream(directory.resolve(), images.resolve()) as tar:
        assert tar.stdout is not None  # noqa: S101 - asked for
        with unpacked(str(directory), staging.root, staging) as unpacking:
            pour(directory, None, Reading(tar.stdout, total, progress), unpacking.sink)
            return "", unpacking.finish()


def _from_machine(machine: remote.Machine, staging: Staging, progress: Progress) -> Filled:
    progress(f"asking {machine.host}", 0, None)
    total = remote.size(machine)
    with (
        remote.machine_stream(machine) as tar,
        unpacked(machine.url, staging.root, staging) as unpacking,
    ):
        assert tar.stdout is not None  # noqa: S101 - asked for
        pour(Path(machine.url), None, Reading(tar.stdout, total, progress), unpacking.sink)
        return "", unpacking.finish()


def _from_file(source: Source, expected: Checksum | None, staging: Staging, progress: Progress) -> Filled:
    """Unpack it. A damaged file is often just a damaged download: then the checksum is what to tell."""
    with source.path.open("rb") as file:
        other = expected.algorithm if expected is not None and expected.algorithm != "sha256" else None
        reading = Reading(file, source.size, progress, other=other)
        if source.member is not None or source.kind is Kind.CONTAINER:  # they aren't read in their order
            reading = Reading(file, source.size, progress, "checking", other)
            _compare(source.path, reading, expected)
        try:
            remarks = _FILLERS[source.kind](source, reading, staging, progress)
        except UserError:
            _compare(source.path, reading, expected)
            raise
        return _compare(source.path, reading, expected), remarks


def _compare(path: Path, reading: Reading, expected: Checksum | None) -> str:
    digest = reading.sha256()
    if expected is None:
        return digest
    found = digest if expected.algorithm == "sha256" else reading.other()
    if found != expected.digits:
        raise UserError(
            f"{path} isn't the file that the checksum is of: its {expected.words} is {found}",
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
