"""A disk image becomes a root file system: read in passes, its partitions laid together."""

import json
import os
import socket
import subprocess
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from netbootd.errors import UserError
from netbootd.images import trees
from netbootd.images.disks.lay import lay
from netbootd.images.disks.mounted import Extent, mounted_stream
from netbootd.images.disks.parts import MOUNTABLE, Part
from netbootd.images.progress import Progress
from netbootd.images.recognise import ZIP_FAULTS, Source
from netbootd.images.source import Reading, pour
from netbootd.images.store import Staging
from netbootd.images.unpacker import last_words, remarks_on, shut_in, unpacked

_LONGEST_WORDS = 200_000


def fill(source: Source, reading: Reading, staging: Staging, progress: Progress) -> tuple[str, ...]:
    """Make staging.root of the disk image `source`, which `reading` reads; returns what is to be remarked.

    Raises UserError for an image that is damaged or holds no root, HostError where this machine can't.
    """
    told = _extract(source, reading, staging, progress)
    parts = [Part(**part) for part in told["parts"]]
    remarks = list(remarks_on(told))
    if told.get("replayed"):
        remarks.append("it had not been unmounted; the changes in its journal are in the image")
    home = staging.directory / "parts"
    for part in parts:
        if part.kind in MOUNTABLE:
            remarks += _mounted(source, part, home / str(part.number), staging, progress)
    files = {part.number: home / str(part.number) / "tree" for part in parts}
    files = {number: tree for number, tree in files.items() if tree.is_dir()}
    try:
        remarks += lay(files, parts, staging.root)
    except UserError as error:
        raise UserError(f"{source.path} can't be imported: {error.message}", error.hint) from error
    trees.remove_tree(home)
    return tuple(remarks)


def _extract(source: Source, reading: Reading, staging: Staging, progress: Progress) -> dict[str, Any]:
    """Have extract.py read the image, as often as it has to; returns what it said at its end."""
    ours, theirs = socket.socketpair()
    where, packed = ("in-place", "0") if source.in_place else ("copy", str(source.size))
    with (
        ours,
        theirs,
        shut_in(
            "netbootd.images.disks.extract",
            [str(staging.directory), str(theirs.fileno()), where, packed],
            staging,
            stdin=subprocess.DEVNULL,
            inherited=(theirs.fileno(),),
        ) as (process, said),
    ):
        assert process.stdout is not None  # noqa: S101 - asked for
        theirs.close()
        offset: int | None = None
        while True:
            _send(source, reading, offset, ours, progress)
            words = process.stdout.readline(_LONGEST_WORDS)
            again = _again(words)
            if again is None:
                return last_words(str(source.path), words, process.wait(), said())
            offset = again


def _again(words: bytes) -> int | None:
    """Where the next pass has to begin; None where none is asked for."""
    with suppress(ValueError):
        told = json.loads(words)
        return told.get("again") if isinstance(told, dict) else None
    return None


def _send(
    source: Source, reading: Reading, offset: int | None, passes: socket.socket, progress: Progress
) -> None:
    """One pass: the first one by `reading`, which takes the checksum; a later one from `offset` on."""
    read_end, write_end = os.pipe()
    try:
        with suppress(BrokenPipeError, ConnectionResetError):  # it ended, and says why
            socket.send_fds(passes, [b"."], [read_end])
    finally:
        os.close(read_end)
    with os.fdopen(write_end, "wb", buffering=0) as sink:
        if source.member is not None:
            step = "reading" if offset is None else "reading again"
            _pour_member(source, sink, step, progress)
        elif offset is None:
            pour(source.path, source.packed, reading, sink)
        else:
            with source.path.open("rb") as file:
                begin = file.seek(offset if source.in_place else 0)
                again = Reading(file, source.size - begin, progress, "reading again")
                pour(source.path, source.packed, again, sink)


def _pour_member(source: Source, sink: IO[bytes], step: str, progress: Progress) -> None:
    """Unpack the disk image in a zip archive. Raises UserError where it is damaged."""
    try:
        with zipfile.ZipFile(source.path) as archive:
            info = archive.getinfo(source.member or "")
            with archive.open(info) as member:
                pour(source.path, None, Reading(member, info.file_size, progress, step), sink)
    except ZIP_FAULTS as error:
        raise UserError(f"{source.path} is damaged or cut short: {error}", "download it again") from error


def _mounted(source: Source, part: Part, home: Path, staging: Staging, progress: Progress) -> tuple[str, ...]:
    """What only the kernel can read: from where it lies, or from its copy, which then goes."""
    copied = home / "image"
    extent = Extent(copied) if copied.exists() else Extent(source.path, part.start, part.size)
    tree, mount_point = home / "tree", home / "mount"
    tree.mkdir()
    tree.chmod(0o755)
    mount_point.mkdir()
    with mounted_stream(part.kind, [extent], mount_point) as tar:
        assert tar.stdout is not None  # noqa: S101 - asked for
        with unpacked(f"{source.path}, {part.words},", tree, staging) as unpacking:
            pour(source.path, None, Reading(tar.stdout, None, progress, "reading again"), unpacking.sink)
            remarks = unpacking.finish()
    copied.unlink(missing_ok=True)
    return remarks
