"""What a kernel's file says of itself, whatever it is called and however it is packed.

    bzImage       x86: its release in the header (Documentation/arch/x86/boot.rst), the rest packed behind
    Image         arm64, RISC-V: as Linux is linked, often packed as a whole
    zImage        32-bit ARM: a program that unpacks the kernel behind it
    EFI zboot     arm64, RISC-V: the same as an EFI program (drivers/firmware/efi/libstub/zboot-header.S)

In the kernel proper stand `Linux version RELEASE` and, with CONFIG_IKCONFIG=y, its whole configuration.
"""

import lzma
import re
import subprocess
import tempfile
import zlib
from collections.abc import Iterator

LARGEST = 256 << 20
"""Octets that a kernel may have, unpacked."""
_IMAGES = {b"ARM\x64": "aarch64", b"RSC\x05": "riscv64"}
"""At octet 56 of an Image (Documentation/arch/arm64/booting.rst, arch/riscv/boot-image-header.rst)."""
_ZIMAGE = b"\x18\x28\x6f\x01"
_GZIP, _XZ, _LZMA = b"\x1f\x8b\x08", b"\xfd7zXZ\0", b"\x5d\0\0"
_PROGRAMS = {b"\x28\xb5\x2f\xfd": "zstd", b"\x02\x21\x4c\x18": "lz4"}
_MOST_TRIES = 64
"""Places in a zImage that look like the beginning of what is packed; a few are there by chance."""
_VERSION = re.compile(rb"Linux version ([0-9][!-~]{2,80}) ")
_RELEASE = re.compile(r"[0-9][\w.+~-]{2,80}")
_CONFIG_BEGINS = b"IKCFG_ST\x1f\x8b"


def release_of(content: bytes) -> str | None:
    """What `uname -r` says under the kernel whose file holds `content`; None where it doesn't tell."""
    if content[0x202:0x206] == b"HdrS":
        # The x86 boot protocol: kernel_version, an offset less 0x200.
        start = int.from_bytes(content[0x20E:0x210], "little") + 0x200
        text = content[start : start + 200].split(b"\0")[0].split(b" ")[0].decode("ascii", "replace")
        return text if _RELEASE.fullmatch(text) else None
    if match := _VERSION.search(content):
        return match[1].decode()
    if match := _VERSION.search(proper(content)):
        return match[1].decode()
    return None


def is_kernel(content: bytes) -> bool:
    """Whether it is a kernel, though it may not tell which."""
    return (
        content[0x202:0x206] == b"HdrS"
        or content[56:60] in _IMAGES
        or content[0x24:0x28] == _ZIMAGE
        or content[4:8] == b"zimg"
    )


def is_image(content: bytes, architecture: str = "") -> bool:
    """Whether it is an Image, of `architecture` (uname's word) where one is given."""
    found = _IMAGES.get(content[56:60])
    return found is not None and architecture in ("", found)


def unwrapped(content: bytes) -> bytes:
    """What gzip or an EFI program holds; nothing where it is neither, or damaged."""
    if content[4:8] == b"zimg":
        start, size = (int.from_bytes(content[at : at + 4], "little") for at in (8, 12))
        return _unpacked(content[start : start + size])
    return _unpacked(content) if content.startswith(_GZIP[:2]) else b""


def proper(content: bytes) -> bytes:
    """The kernel proper in any of these forms; nothing where it can't be had."""
    if content[0x202:0x206] == b"HdrS":
        # payload_offset, from where protected mode begins, and payload_length.
        offset, size = (int.from_bytes(content[at : at + 4], "little") for at in (0x248, 0x24C))
        start = (content[0x1F1] + 1) * 512 + offset
        return _unpacked(content[start : start + size])
    if content[0x24:0x28] == _ZIMAGE:
        return next((found for found in _unpacked_from(content) if _VERSION.search(found)), b"")
    return content if is_image(content) else unwrapped(content)


def options_of(content: bytes) -> frozenset[str] | None:
    """The options that are `=y`, without CONFIG_, as the kernel carries them; None where it doesn't."""
    kernel = proper(content)
    start = kernel.find(_CONFIG_BEGINS)
    if start < 0:
        return None
    text = _gunzipped(kernel[start + 8 :]).decode("ascii", "replace")
    found = frozenset(re.findall(r"(?m)^CONFIG_(\w+)=y$", text))
    return found or None


def _unpacked_from(content: bytes) -> Iterator[bytes]:
    """What is packed in it from any place where something may begin that is."""
    tries = 0
    for magic in (_GZIP, _XZ, _LZMA):
        at = content.find(magic, 0x40)
        while at > 0 and (tries := tries + 1) <= _MOST_TRIES:
            yield _unpacked(content[at:])
            at = content.find(magic, at + 1)


def _unpacked(content: bytes) -> bytes:
    """What it holds, by how it begins; what follows its end doesn't matter. Nothing where it is damaged."""
    if content.startswith(_GZIP[:2]):
        return _gunzipped(content)
    if content.startswith((_XZ, _LZMA)):
        try:
            return lzma.LZMADecompressor().decompress(content, LARGEST)
        except (lzma.LZMAError, EOFError):
            return b""
    program = _PROGRAMS.get(content[:4])
    return _by_program(program, content) if program else b""


def _gunzipped(content: bytes) -> bytes:
    try:
        return zlib.decompressobj(wbits=31).decompress(content, LARGEST)
    except zlib.error:
        return b""


def _by_program(program: str, content: bytes) -> bytes:
    """As much as `program` unpacks: it complains of what follows, which is the kernel's length."""
    with tempfile.TemporaryFile() as packed:
        packed.write(content)
        packed.seek(0)
        try:
            process = subprocess.Popen(
                [program, "-dcq"], stdin=packed, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        except FileNotFoundError:
            return b""
        with process:
            plain = process.stdout.read(LARGEST) if process.stdout else b""
            process.kill()
    return plain
