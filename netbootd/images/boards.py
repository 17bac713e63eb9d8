"""What a Raspberry Pi's own boot loader needs of an image: boot/firmware/ of a generation, and config.txt.

    bootcode.bin start*.elf fixup*.dat   from the image's boot partition or Debian's package raspi-firmware
    bcm2*.dtb, overlays/                 of the kernel chosen, else from the boot partition
    vmlinuz                              the kernel in a form that the loader takes, and small
    pieeprom.* vl805.* recovery.bin      only if somebody put them on the boot partition

Nothing here is specific to one distribution: places are looked through, files are known by their names.
"""

import gzip
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from netbootd.images import edit, kernel_file
from netbootd.images.kernels import Kernel
from netbootd.images.rooted import resolve

ARCHITECTURES = ("aarch64", "armv7l", "armv6l")
_BOOT_PARTITION = ("/boot/firmware", "/boot")
_PACKAGE = "/usr/lib/raspi-firmware"
_START = ("bootcode.bin", "start*.elf", "fixup*.dat")
_BESIDE = ("dt-blob.bin", "armstub*.bin", "pieeprom.*", "vl805.*", "recovery.bin")
_LARGEST = 64 << 20

_UPSTREAM = {
    "bcm2709-rpi-2-b.dtb": "bcm2836-rpi-2-b.dtb",
    "bcm2710-rpi-3-b.dtb": "bcm2837-rpi-3-b.dtb",
    "bcm2710-rpi-3-b-plus.dtb": "bcm2837-rpi-3-b-plus.dtb",
    "bcm2710-rpi-cm3.dtb": "bcm2837-rpi-cm3-io3.dtb",
    "bcm2710-rpi-zero-2-w.dtb": "bcm2837-rpi-zero-2-w.dtb",
    "bcm2711-rpi-cm4.dtb": "bcm2711-rpi-cm4-io.dtb",
}
"""The name that the loader asks for first -> the name in Linux as it is published by kernel.org."""

LONGEST_LINE = 98
"""Characters of a line in config.txt that are read (what_is_config_txt.adoc)."""
MOST_LINES = 200
_OURS = frozenset({
    *("kernel", "initramfs", "ramfsfile", "ramfsaddr", "auto_initramfs", "cmdline", "include", "tryboot"),
    *("arm_64bit", "arm_control", "kernel_address", "kernel_old", "upstream_kernel", "boot_ramdisk"),
    *("os_prefix", "overlay_prefix", "device_tree", "device_tree_address", "start_file", "fixup_file"),
})  # fmt: skip
"""What netbootd says by itself in config.txt; an image's own lines of these are left out."""


_64_BITS = (
    "its newest kernel has 64 bits, which a Pi 1, Zero or 2 can't start; for one of these, take kernel8.img "
    "out (netbootctl image shell NAME)"
)


@dataclass(frozen=True, slots=True)
class Board:
    """What was found. `config_txt`, `firmware`: as in Generation; `remarks`: what is to be known of it."""

    firmware: bool = False
    config_txt: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def collect(root: Path, kernel: Kernel, architecture: str, boot: Path) -> Board:
    """Put what the image under `root` has for a Raspberry Pi into `boot`/firmware. Raises OSError.

    An image that has neither its device trees nor its start files gets no such directory.
    """
    if architecture not in ARCHITECTURES:
        return Board()
    files = {**dict(_start_files(root)), **dict(_device_trees(root, kernel))}
    if not files:
        return Board()
    files.update(_beside(root))
    target = boot / "firmware"
    for name, path in files.items():
        if path.is_file() and path.stat().st_size <= _LARGEST:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target / name)
    foreign = [name for ours, name in _UPSTREAM.items() if name in files and ours not in files]
    for ours, theirs in _UPSTREAM.items():
        if theirs in foreign:
            os.link(target / theirs, target / ours)
    bits, remarks = _put_kernel(kernel.path, boot / "vmlinuz", target / "vmlinuz")
    lines = [f"arm_64bit={int(bits == 64)}"]
    if bits == 64 and architecture != "aarch64":
        remarks = (*remarks, _64_BITS)
    if any(name.startswith("bcm283") for name in foreign):
        lines.append("upstream_kernel=1")
    own, dropped = _own_lines(root)
    start = any(name.startswith("start") for name in files)
    return Board(firmware=start, config_txt=(*lines, *own), remarks=(*remarks, *dropped))


def _start_files(root: Path) -> Iterator[tuple[str, Path]]:
    """All from one place: a start file and its fixup only fit together."""
    for directory in (*_BOOT_PARTITION, _PACKAGE):
        if edit.matching(root, directory, "start*.elf"):
            yield from _in(root, directory, _START)
            return


def _device_trees(root: Path, kernel: Kernel) -> Iterator[tuple[str, Path]]:
    """The boot partition's first: those of the kernel take their place."""
    for directory in reversed(_BOOT_PARTITION):
        yield from _in(root, directory, ("bcm2*.dtb",))
    trees = kernel.device_trees
    for path in sorted(trees.rglob("bcm2*.dtb")) if trees else ():
        if not path.is_symlink():
            yield path.name, path
    of_kernel = [f"/{(trees / name).relative_to(root)}" for name in ("", "broadcom")] if trees else []
    for directory in (*of_kernel, *_BOOT_PARTITION, _PACKAGE):
        overlays = [*_in(root, f"{directory.rstrip('/')}/overlays", ("*.dtbo", "*.dtb", "README"))]
        if overlays:
            yield from ((f"overlays/{name}", path) for name, path in overlays)
            return


def _beside(root: Path) -> Iterator[tuple[str, Path]]:
    for directory in reversed(_BOOT_PARTITION):
        yield from _in(root, directory, _BESIDE)


def _in(root: Path, directory: str, patterns: tuple[str, ...]) -> Iterator[tuple[str, Path]]:
    for pattern in patterns:
        # A name in full is looked up here: Path.glob would follow a link out of the image, and not find it.
        plain = [f"{directory}/{pattern}"] if "*" not in pattern else []
        for name in plain or edit.matching(root, directory, pattern):
            path = resolve(root, name)
            if path is not None and path.is_file():
                yield name.rpartition("/")[2], path


# The kernel


def _put_kernel(kernel: Path, copied: Path, target: Path) -> tuple[int, tuple[str, ...]]:
    """Write the kernel as a Pi takes it; returns its bits and remarks. `copied` is the file as it is served.

    A loader takes a 64-bit Image or that Image packed by gzip (config_txt/boot.adoc, arm_64bit). Packed, it
    is a third: a Pi 3 asks for blocks of 512 octets and counts them in 16 bits, so 32 MiB are its most.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    content = kernel.read_bytes() if kernel.stat().st_size <= kernel_file.LARGEST else b""
    inner = b"" if kernel_file.is_image(content) else kernel_file.unwrapped(content)
    if kernel_file.is_image(content) or (content[4:8] == b"zimg" and inner):
        with target.open("wb") as file, gzip.GzipFile("", "wb", 6, file, mtime=0) as packed:
            packed.write(inner or content)
        return 64, ()
    os.link(copied, target)
    if content[4:8] == b"zimg":
        packing = content[0x18:0x20].rstrip(b"\0").decode("ascii", "replace")
        return 64, (f"a Raspberry Pi can't boot this kernel: it is an EFI program packed by {packing!a}",)
    return (64 if kernel_file.is_image(inner) else 32), ()


# The image's own config.txt


def _own_lines(root: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The lines of the image's config.txt that go on to hold, and remarks on those that don't."""
    texts = (edit.read(root, f"{directory}/config.txt") for directory in _BOOT_PARTITION)
    text = next((text for text in texts if text is not None), "")
    kept: list[str] = []
    remarks: list[str] = []
    for raw in text.splitlines():
        line = raw.strip()
        if not line or line.startswith("#") or re.split(r"[=\s]", line)[0] in _OURS:
            continue
        if not (line.isascii() and line.isprintable()):
            remarks.append(f"config.txt: {ascii(line)[:80]} left out: the boot loader reads ASCII only")
        elif len(line) > LONGEST_LINE:
            remarks.append(f"config.txt: {line[:60]}… left out: only {LONGEST_LINE} characters would be read")
        else:
            if line.startswith("[") and kept and kept[-1].startswith("["):
                kept.pop()  # a section of which nothing is left
            kept.append(line)
    if kept and kept[-1].startswith("["):
        kept.pop()
    if len(kept) > MOST_LINES:
        remarks.append(f"config.txt: {len(kept) - MOST_LINES} lines left out: more than {MOST_LINES}")
    return tuple(kept[:MOST_LINES]), tuple(remarks)
