"""The small initrd of an image: node-init and what it needs to reach the image over the network, no more.

Made from the image's own files and without running any of them, so an image of any architecture and
distribution serves: its busybox (or its shell and tools with their libraries), its kernel's modules for
network cards, NFS and overlayfs with all that they need, the firmware that those cards ask for.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from netbootd.errors import HostError
from netbootd.images import driver_tables, node_init, programs
from netbootd.images.cpio import Archive, Compression, compress, decompress
from netbootd.images.firmware import find_firmware, within_limit
from netbootd.images.kernel_modules import ModuleTree, builtin_options
from netbootd.images.selection import select

FIRMWARE_LIMIT = 8 * 1024 * 1024
"""Octets of firmware at most; the small files go first, so that one card doesn't displace thirty."""
_TABLES = "usr/lib/netbootd"
_DIRECTORIES = ("dev", "proc", "sys", "run", "tmp", "etc", "usr/bin")
_MERGED = ("bin", "sbin", "lib", "lib64", "lib32", "libx32")


@dataclass(frozen=True, slots=True, kw_only=True)
class InitrdReport:
    """What was made, for generation.json and for the person who asked."""

    path: Path
    size: int
    """Octets, compressed."""
    unpacked: int
    """Octets that it takes in the node's memory until the root is there."""
    compression: Compression
    shell: str
    """Whose shell runs node-init: busybox, dash, bash …"""
    modules: tuple[str, ...]
    firmware: tuple[str, ...]
    remarks: tuple[str, ...]
    """What is worth knowing: one line each."""
    squashfs: str
    """The best compression that the kernel reads in a squashfs (root mode ram); empty where it has none."""


def build(  # noqa: PLR0913 (what may be in it, each by its keyword)
    root: Path,
    release: str,
    out: Path,
    *,
    extra_modules: Iterable[str] = (),
    fast_cards: bool = True,
    firmware_limit: int = FIRMWARE_LIMIT,
    built_in: frozenset[str] = frozenset(),
    older: Path | None = None,
) -> InitrdReport:
    """Write the small initrd for the kernel `release` of the image whose / is `root` to `out`, by rename.

    `built_in`: what the kernel says of itself that it has (kernel_file.options_of), where it does. `older`
    may be an initrd that holds the same: then it needn't be compressed anew, which takes longest.

    `extra_modules` are loaded for whatever hardware asks for them, as the others. Without `fast_cards` the
    drivers of 10 Gbit/s cards stay out: 4.0 MB instead of 5.9 for Debian 12.

    Raises UserError when the image can't become a diskless node's root (no shell or tool, no NFS client or no
    overlayfs in its kernel), HostError when the head node lacks zstd and the image's modules need it.
    """
    remarks: list[str] = []
    tools = programs.collect(root)
    if not tools.reports:
        remarks.append(
            "no busybox in the image: a node that fails before its root is there says so on its console only"
        )
    tree = ModuleTree.of(root, release)
    options = built_in or builtin_options(root, release)
    selection = select(root, release, tree, extra_modules, fast_cards=fast_cards, options=options)
    names = selection.names
    asked = [blob for name in names for blob in tree.get(name).firmware]
    firmware, left_out = within_limit(find_firmware(root, release, asked), firmware_limit)
    remarks += selection.remarks
    if left_out:
        remarks.append(f"firmware left out, over {firmware_limit // 1024} KiB in all: {', '.join(left_out)}")

    archive = _skeleton(tools)
    for name in names:
        archive.file(f"usr/lib/modules/{name}.ko", tree.get(name).content)
    if names:
        archive.file(f"{_TABLES}/order", driver_tables.order_table(selection.orders).encode())
        aliases = {name: tree.get(name).aliases for name in names}
        for bus, table in driver_tables.alias_tables(aliases, selection.later).items():
            archive.file(f"{_TABLES}/alias.{bus}", table.encode())
        archive.file(f"{_TABLES}/drivers.sh", _script("drivers.sh"))
        archive.file("usr/bin/modprobe", _script("modprobe.sh"), 0o755)
    for path, content in firmware.items():
        archive.file(f"usr/lib/firmware/{path}", content)

    plain = archive.to_bytes()
    data, compression = _compressed(plain, options, older)
    _write(out, data)
    return InitrdReport(
        path=out,
        size=len(data),
        unpacked=len(plain),
        compression=compression,
        shell=tools.shell,
        modules=tuple(names),
        firmware=tuple(sorted(firmware)),
        remarks=tuple(remarks),
        squashfs=selection.squashfs,
    )


def _skeleton(tools: programs.Programs) -> Archive:
    archive = Archive()
    for directory in (*_DIRECTORIES, *(f"usr/{name}" for name in _MERGED[2:])):
        archive.directory(directory)
    for name in _MERGED:
        archive.symlink(name, "usr/bin" if name in ("bin", "sbin") else f"usr/{name}")
    archive.symlink("usr/sbin", "bin")
    archive.character_device("dev/console", 5, 1)
    archive.character_device("dev/null", 1, 3, 0o666)
    for path, content in sorted(tools.files.items()):
        archive.file(path, content, 0o755)
    for path, target in sorted(tools.links.items()):
        archive.symlink(path, target)
    archive.file("init", node_init(), 0o755)
    return archive


def _compressed(plain: bytes, options: frozenset[str], older: Path | None) -> tuple[bytes, Compression]:
    """zstd where the kernel can and the head node has it: a fourth smaller; gzip is understood everywhere."""
    if "RD_ZSTD" in options:
        try:
            return _as_before(plain, "zstd", older) or compress(plain, "zstd"), "zstd"
        except HostError:
            pass
    return _as_before(plain, "gzip", older) or compress(plain, "gzip"), "gzip"


def _as_before(plain: bytes, how: Compression, older: Path | None) -> bytes | None:
    """The older initrd, if it holds `plain`."""
    if older is None:
        return None
    try:
        data = older.read_bytes()
    except OSError:
        return None
    return data if decompress(data, how) == plain else None


def _write(out: Path, data: bytes) -> None:
    temporary = out.with_name(f".{out.name}.new")
    try:
        with temporary.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(out)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise HostError(f"{out} can't be written: {error.strerror}") from error


def _script(name: str) -> bytes:
    return (files("netbootd.images") / name).read_bytes()
