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

from netbootd.errors import HostError, UserError
from netbootd.images import cards, driver_tables, node_init, programs
from netbootd.images.cpio import Archive, Compression, compress
from netbootd.images.kernel_modules import ModuleTree, builtin_options
from netbootd.images.rooted import resolve

FIRMWARE_LIMIT = 8 * 1024 * 1024
"""Octets of firmware at most; the small files go first, so that one card doesn't displace thirty."""
_PCS = (3, 62)
"""e_machine of i386 and x86-64: their cards are on PCI or USB."""
_TABLES = "usr/lib/netbootd"
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


def build(
    root: Path,
    release: str,
    out: Path,
    *,
    extra_modules: Iterable[str] = (),
    fast_cards: bool = True,
    firmware_limit: int = FIRMWARE_LIMIT,
) -> InitrdReport:
    """Write the small initrd for the kernel `release` of the image whose / is `root` to `out`, by rename.

    `extra_modules` are loaded for whatever hardware asks for them, as the others. Without `fast_cards` the
    drivers of 10 Gbit/s cards stay out, half of the size.

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
    options = builtin_options(root, release)
    orders = _orders(tree, options, release, [*extra_modules], fast_cards=fast_cards, remarks=remarks)
    names = sorted({name for order in orders.values() for name in order})
    firmware = _firmware(root, release, tree, names, firmware_limit, remarks)

    archive = _skeleton(tools)
    for name in names:
        archive.file(f"usr/lib/modules/{name}.ko", tree.get(name).content)
    if names:
        archive.file(f"{_TABLES}/order", driver_tables.order_table(orders).encode())
        hosts = frozenset(cards.USB_HOSTS)
        aliases = {name: tree.get(name).aliases for name in names}
        for bus, table in driver_tables.alias_tables(aliases, hosts).items():
            archive.file(f"{_TABLES}/alias.{bus}", table.encode())
        archive.file(f"{_TABLES}/drivers.sh", _script("drivers.sh"))
        archive.file("usr/bin/modprobe", _script("modprobe.sh"), 0o755)
    for path, content in firmware.items():
        archive.file(f"usr/lib/firmware/{path}", content)

    plain = archive.to_bytes()
    data, compression = _compressed(plain, options)
    _write(out, data)
    return InitrdReport(
        path=out,
        size=len(data),
        unpacked=len(plain),
        compression=compression,
        shell=tools.shell,
        modules=tuple(names),
        firmware=tuple(firmware),
        remarks=tuple(remarks),
    )


def _skeleton(tools: programs.Programs) -> Archive:
    archive = Archive()
    for directory in (
        "dev",
        "proc",
        "sys",
        "run",
        "tmp",
        "etc",
        "usr/bin",
        *(f"usr/{name}" for name in _MERGED[2:]),
    ):
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


def _orders(
    tree: ModuleTree,
    options: frozenset[str],
    release: str,
    extra: list[str],
    *,
    fast_cards: bool,
    remarks: list[str],
) -> dict[str, list[str]]:
    """Every module that may be asked for by name -> what to load for it."""
    unknown = [name for name in extra if name not in tree and name.replace("-", "_") not in tree.builtin]
    if unknown:
        raise UserError(f"the kernel {release} of the image has no module {', '.join(unknown)}")
    wanted = [
        *cards.BUSES,
        *cards.PCI_CARDS,
        *cards.USB_HOSTS,
        *cards.USB_CARDS,
        *cards.PHYS,
        *cards.OTHERS,
        *extra,
    ]
    if tree.machine not in _PCS:
        wanted += cards.BOARD_CARDS
    if fast_cards:
        wanted += cards.FAST_CARDS
    orders: dict[str, list[str]] = {}
    for name in tree.named(name for name in wanted if name in tree):
        try:
            orders[name] = tree.order(name)
        except UserError as error:
            remarks.append(f"left out: {error.message}")
    for name, option in (("nfs", "NFS_FS"), ("overlay", "OVERLAY_FS")):
        if name not in tree and name not in tree.builtin and option not in options:
            raise UserError(
                f"the kernel {release} of the image has no {name}: neither a module nor built in",
                f"install a kernel with CONFIG_{option}, or the package with its modules",
            )
    for name in cards.FILE_SYSTEMS:
        if name in tree:
            orders[name] = tree.order(name)
    for name in {name for order in orders.values() for name in order}:
        orders.setdefault(name, tree.order(name))
    return orders


def _firmware(
    root: Path, release: str, tree: ModuleTree, names: list[str], limit: int, remarks: list[str]
) -> dict[str, bytes]:
    """What those modules ask for and the image has, by path under /lib/firmware."""
    asked = {path: name for name in names for path in tree.get(name).firmware}
    present: list[tuple[int, str, Path]] = []
    without: set[str] = set()
    for path, name in sorted(asked.items()):
        for place in ("updates/" + release, "updates", release, ""):
            found = [
                (suffix, resolve(root, f"/lib/firmware/{place}/{path}{suffix}"))
                for suffix in ("", ".xz", ".zst")
            ]
            files_there = [(suffix, file) for suffix, file in found if file is not None and file.is_file()]
            if files_there:
                suffix, file = files_there[0]
                present.append((file.stat().st_size, path + suffix, file))
                break
        else:
            without.add(name)
    chosen: dict[str, bytes] = {}
    left_out: list[str] = []
    total = 0
    for size, path, file in sorted(present):
        if total + size > limit:
            left_out.append(path)
            continue
        total += size
        chosen[path] = file.read_bytes()
    if left_out:
        remarks.append(f"firmware left out, over {limit // 1024} KiB in all: {', '.join(left_out)}")
    with_none = sorted(without - {asked[path.removesuffix(".xz").removesuffix(".zst")] for path in chosen})
    if with_none:
        remarks.append(
            f"the image has no firmware for {', '.join(with_none)}; some of these cards need theirs"
        )
    return dict(sorted(chosen.items()))


def _compressed(plain: bytes, options: frozenset[str]) -> tuple[bytes, Compression]:
    """zstd where the kernel can and the head node has it: a fourth smaller; gzip is understood everywhere."""
    if "RD_ZSTD" in options:
        try:
            return compress(plain, "zstd"), "zstd"
        except HostError:
            pass
    return compress(plain, "gzip"), "gzip"


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
