"""Live ISOs (Ubuntu's casper, Debian live, Arch's archiso): the squashfs in them becomes the root.

    ISO -> every file's checksum by the ISO's own list -> squashfs, mounted where it lies -> tar -> unpack.py

The squashfs is mounted by a loop device over just its part of the ISO. The kernel beside it comes along
where the squashfs has that kernel's modules, but not the kernel itself.
"""

import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import BinaryIO

from netbootd.errors import UserError
from netbootd.images import checksums, kernel_file
from netbootd.images.checksums import Checksum
from netbootd.images.disks import mounted
from netbootd.images.disks.elevator import DiskError, Elevator
from netbootd.images.iso9660 import Extent, IsoError, files
from netbootd.images.progress import Progress
from netbootd.images.recognise import Source
from netbootd.images.rooted import resolve
from netbootd.images.source import Reading, pour
from netbootd.images.store import Staging
from netbootd.images.unpacker import unpacked

_LARGEST_TEXT = 16 << 20
_LARGEST_KERNEL = 256 << 20
_LISTS = ("md5sum.txt", "MD5SUMS", "sha256sum.txt", "SHA256SUMS")
_ROOTS = (
    r"(casper|live|LiveOS)/filesystem\.squashfs",
    r"live/[^/]+\.squashfs",
    r"arch/[^/]+/airootfs\.(sfs|erofs)",
)
_KERNELS = re.compile(r"(casper|live|arch/boot/[^/]+)/(hwe-)?vmlinuz[^/]*")
_SOURCES = "casper/install-sources.yaml"


def fill(source: Source, reading: Reading, staging: Staging, progress: Progress) -> tuple[str, ...]:
    """Make staging.root of the live system on the ISO `source`; returns what is to be remarked.

    Raises UserError for an ISO that is damaged or has none, HostError where this machine can't.
    """
    if not source.in_place:
        raise UserError(f"{source.path} holds an ISO image", "unpack it, and import the ISO itself")
    with source.path.open("rb") as file:
        try:
            there = files(lambda offset, size: _read(file, Extent(offset, size)))
            layers = root_layers(there, _text(file, there.get(_SOURCES)))
            remarks = [*_verify(file, there, layers, reading)]
        except (IsoError, DiskError) as error:
            raise UserError(f"{source.path} can't be imported: {error.message}", error.hint) from error
        mount_point = staging.directory / "mount"
        mount_point.mkdir()
        extents = [mounted.Extent(source.path, there[name].start, there[name].size) for name in layers]
        kind = "erofs" if layers[0].endswith(".erofs") else "squashfs"
        with (
            mounted.mounted_stream(kind, extents, mount_point) as tar,
            unpacked(f"{source.path}, {layers[-1]},", staging.root, staging) as unpacking,
        ):
            assert tar.stdout is not None  # noqa: S101 - asked for
            again = Reading(tar.stdout, None, progress, "reading again")
            pour(source.path, None, again, unpacking.sink)
            remarks += unpacking.finish()
        mount_point.rmdir()
        remarks += _bring_kernel(file, there, staging.root)
    return tuple(remarks)


def root_layers(there: Mapping[str, Extent], sources: str) -> list[str]:
    """The paths of the squashfs images that are the live system, the lowest first. Pure.

    Newer Ubuntus have several, whose names tell what they lie over (minimal.standard.squashfs over
    minimal.squashfs), and say in `sources`, install-sources.yaml, which one is installed by default.
    Raises IsoError where there is none.
    """
    if (default := _default_source(sources)) is not None:
        words = default.removesuffix(".squashfs").split(".")
        names = [f"casper/{'.'.join(words[: n + 1])}.squashfs" for n in range(len(words))]
        if names[-1] in there:
            return [name for name in names if name in there]
    for pattern in _ROOTS:
        if found := sorted(name for name in there if re.fullmatch(pattern, name)):
            if len(found) > 1:
                raise IsoError(
                    f"it has several live systems: {', '.join(found[:5])}", "import one of them by itself"
                )
            return found
    if any(name.startswith("boot/modloop-") for name in there):
        raise IsoError(
            "it is Alpine's installer: packages, not a system",
            "install Alpine on a disk, or alpine-minirootfs with linux-lts in a directory, and import that",
        )
    raise IsoError(
        "there is no live system on it: no casper/filesystem.squashfs, live/filesystem.squashfs or the like",
        "an installer's ISO holds packages, not a system; take the live ISO, or image build",
    )


def _default_source(text: str) -> str | None:
    """The default's path in install-sources.yaml: as much of YAML as that file has."""
    for block in re.split(r"^- ", text, flags=re.MULTILINE):
        path = re.search(r"^\s*path: ['\"]?([\w.+-]+)['\"]?\s*$", block, re.MULTILINE)
        if path and re.search(r"^\s*default: true\s*$", block, re.MULTILINE):
            return path[1]
    return None


def _verify(
    file: BinaryIO, there: Mapping[str, Extent], layers: list[str], reading: Reading
) -> Iterator[str]:
    """Read the whole ISO once, for its checksum and for those of the files in it. Raises IsoError."""
    wanted: dict[str, Checksum] = {}
    for name in _LISTS:
        wanted |= dict(checksums.listed(_text(file, there.get(name))))
    elevator = Elevator()
    hashes = {
        path: checksums.hasher(checksum.algorithm) for path, checksum in wanted.items() if path in there
    }
    for path, extent in there.items():
        elevator.expect_end(extent.start + extent.size)
        if path in hashes:
            elevator.copy(extent.start, extent.size, partial(_update, hashes[path]))
    for chunk in reading.chunks():
        elevator.feed(chunk)
    elevator.rewind(seekable=False)
    wrong = [path for path, found in hashes.items() if found.hexdigest() != wanted[path].digits]
    if wrong:
        raise IsoError(
            f"it is damaged: {len(wrong)} of its files, {wrong[0][:100]!a} for one, "
            "aren't what its own checksums say",
            "download it again",
        )
    if unlisted := [name for name in layers if name not in hashes]:
        yield f"the ISO has no checksum of {unlisted[0]}"
    else:
        yield f"{len(hashes)} files of the ISO have the checksums that it lists"


def _update(hasher: checksums.Hasher, _begin: int, octets: memoryview) -> None:
    hasher.update(octets)


def _bring_kernel(file: BinaryIO, there: Mapping[str, Extent], root: Path) -> Iterator[str]:
    """Put the kernels that lie beside the squashfs into the root's /boot, where it has their modules."""
    boot = resolve(root, "/boot")
    for name in sorted(there):
        if boot is None or not boot.is_dir() or not _KERNELS.fullmatch(name):
            continue
        if there[name].size > _LARGEST_KERNEL:
            continue
        content = _read(file, there[name])
        release = kernel_file.release_of(content)
        if release is None or resolve(root, f"/lib/modules/{release}") is None:
            continue
        target = boot / f"vmlinuz-{release}"
        if not target.exists() and not target.is_symlink():
            target.write_bytes(content)
            target.chmod(0o644)
            yield f"the kernel {release} lay beside the live system"


def _text(file: BinaryIO, extent: Extent | None) -> str:
    if extent is None or extent.size > _LARGEST_TEXT:
        return ""
    return _read(file, extent).decode("utf-8", "replace")


def _read(file: BinaryIO, extent: Extent) -> bytes:
    file.seek(extent.start)
    return file.read(extent.size)
