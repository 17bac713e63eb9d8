"""The kernel as U-Boot's `booti` takes it: an Image, as Linux is linked, not packed (cmd/booti.c).

On 64-bit ARM and RISC-V distributions ship it so (Debian), packed by gzip (Ubuntu), or as an EFI program that
unpacks what it carries (Fedora). U-Boot unpacks gzip only where its environment says where to; an EFI program
only its `bootefi` starts. 32-bit ARM needs nothing: its zImage is what `bootz` takes.
"""

import os
import zlib
from pathlib import Path

FILE_NAME = "Image"
ARCHITECTURES = ("aarch64", "riscv64")
_LARGEST = 256 << 20
_MAGIC = {"aarch64": b"ARM\x64", "riscv64": b"RSC\x05"}
"""At octet 56 of an Image (Documentation/arch/arm64/booting.rst, arch/riscv/boot-image-header.rst)."""


def put(kernel: Path, architecture: str) -> tuple[str, ...]:
    """Make `Image` beside `kernel`, a file that is served; returns remarks. Raises OSError."""
    if architecture not in ARCHITECTURES or kernel.stat().st_size > _LARGEST:
        return ()
    target = kernel.with_name(FILE_NAME)
    content = kernel.read_bytes()
    if _is_image(content, architecture):
        os.link(kernel, target)
        return ()
    plain = _unpacked(content)
    if not _is_image(plain, architecture):
        return ("U-Boot's `pxe get` can't start this kernel: it is neither an Image nor one packed by gzip",)
    target.write_bytes(plain)
    return ()


def _is_image(content: bytes, architecture: str) -> bool:
    return content[56:60] == _MAGIC[architecture]


def _unpacked(content: bytes) -> bytes:
    """What gzip, or an EFI program (drivers/firmware/efi/libstub/zboot-header.S), holds; else nothing."""
    if content[4:8] == b"zimg":
        start, length = (int.from_bytes(content[at : at + 4], "little") for at in (8, 12))
        content = content[start : start + length]
    try:
        return zlib.decompressobj(wbits=31).decompress(content, _LARGEST)
    except zlib.error:
        return b""
