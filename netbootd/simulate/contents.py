"""What a file is, read off its octets: kernels, loaders, initrds, device trees. Pure.

Only what a firmware looks at itself before it starts a file, or what tells one loader from another.
"""

import re
import struct
from enum import StrEnum


class Kind(StrEnum):
    """What a file turns out to be."""

    LINUX_X86 = "a Linux kernel for x86 (bzImage)"
    LINUX_ARM64 = "a Linux kernel for 64-bit ARM (Image)"
    LINUX_ARM = "a Linux kernel for 32-bit ARM (zImage)"
    LINUX_RISCV = "a Linux kernel for RISC-V (Image)"
    UIMAGE = "a U-Boot image (uImage)"
    FIT = "a FIT image"
    DEVICE_TREE = "a device tree"
    GZIP = "gzip data"
    IPXE_SCRIPT = "an iPXE script"
    IPXE = "iPXE"
    GRUB = "GRUB"
    SHIM = "shim"
    PXELINUX = "PXELINUX"
    EFI = "an EFI program"
    ELF = "an ELF program"
    EMPTY = "an empty file"
    UNKNOWN = "something unknown"


EFI_MACHINES = {"x86_64": 0x8664, "i386": 0x14C, "aarch64": 0xAA64, "arm": 0x1C2, "riscv64": 0x5064}
"""PE/COFF machine numbers (UEFI specification 2.1.1), by architecture."""

_MAGIC = (
    (0x202, b"HdrS", Kind.LINUX_X86),  # Documentation/arch/x86/boot.rst
    (56, b"ARM\x64", Kind.LINUX_ARM64),  # Documentation/arch/arm64/booting.rst
    (36, b"\x18\x28\x6f\x01", Kind.LINUX_ARM),  # arch/arm/boot/compressed/head.S
    (56, b"RSC\x05", Kind.LINUX_RISCV),  # Documentation/arch/riscv/boot-image-header.rst
    (0, b"\x27\x05\x19\x56", Kind.UIMAGE),
    (0, b"\x1f\x8b", Kind.GZIP),
    (0, b"#!ipxe", Kind.IPXE_SCRIPT),
    (0, b"\x7fELF", Kind.ELF),
)
_NAMES = (
    ("undionly", Kind.IPXE),
    ("ipxe", Kind.IPXE),
    ("snponly", Kind.IPXE),
    ("pxelinux", Kind.PXELINUX),
    ("shim", Kind.SHIM),
    ("grub", Kind.GRUB),
)
"""undionly.kpxe is packed and tells nothing of itself; a ROM doesn't ask either."""


def kind_of(content: bytes, name: str = "") -> Kind:
    """What `content` is; its `name` decides where it doesn't say."""
    if not content:
        return Kind.EMPTY
    for at, magic, kind in _MAGIC:
        if content[at : at + len(magic)] == magic:
            return kind
    if content[:4] == b"\xd0\x0d\xfe\xed":
        return Kind.FIT if b"/images" in content[:64] or b"\0images\0" in content else Kind.DEVICE_TREE
    said = _says_itself(content)
    if said is not None:
        return said
    base = name.rpartition("/")[2].lower()
    for start, kind in _NAMES:
        if base.startswith(start):
            return kind
    return Kind.EFI if content[:2] == b"MZ" else Kind.UNKNOWN


def efi_machine(content: bytes) -> int | None:
    """The machine that a PE program is for, None for what is none."""
    if content[:2] != b"MZ" or len(content) < 64:
        return None
    at = struct.unpack_from("<I", content, 0x3C)[0]
    return struct.unpack_from("<H", content, at + 4)[0] if content[at : at + 4] == b"PE\0\0" else None


def grub_prefix(content: bytes) -> tuple[str, bool]:
    """The directory that was built into a GRUB, and whether a configuration of its own was too.

    The modules' header and objects of type 2 (config) and 3 (prefix), include/grub/kernel.h.
    """
    at = -1
    while (at := content.find(b"mimg", at + 1)) >= 0:
        if at + 24 > len(content):
            break
        offset, size = struct.unpack_from("<QQ", content, at + 8)
        if offset == 24 and at + size <= len(content):
            objects = _grub_objects(content[at + offset : at + size])
            prefix = objects.get(3, b"/grub").split(b"\0")[0].decode("ascii", "replace")
            return prefix, 2 in objects
    return "/grub", False


def is_initrd(content: bytes) -> bool:
    """Whether Linux unpacks it: cpio, plain or packed (Documentation/driver-api/early-userspace)."""
    packed = (b"070701", b"070702", b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ", b"BZh", b"\x5d\0\0")
    return content.startswith((*packed, b"\x89LZO", b"\x04\x22\x4d\x18", b"\x02\x21\x4c\x18", b"\0\0\0\0"))


def root_of(command_line: str) -> str:
    """Where a kernel booted so has its /, in words; empty where the command line doesn't say."""
    words = dict(word.partition("=")[::2] for word in command_line.split())
    if "netbootd.image" in words:
        mode, image = words.get("netbootd.root", "overlay"), words["netbootd.image"]
        if mode == "ram":
            return f"ram of http://{words.get('netbootd.http', '?')}{image}"
        return f"{mode} of {words.get('netbootd.server', '?')}:{image}"
    if "nfsroot" in words:
        return f"NFS {words['nfsroot']}"
    return words.get("root", "")


# Details


def _says_itself(content: bytes) -> Kind | None:
    if content[:2] == b"MZ":
        # Its own name in the table of revocations (.sbat), before what it mentions of others.
        sbat = re.search(rb"\n(shim|grub|ipxe),\d+,", content)
        if sbat:
            return {b"shim": Kind.SHIM, b"grub": Kind.GRUB, b"ipxe": Kind.IPXE}[sbat.group(1)]
        if b"GNU GRUB" in content or b"grub_" in content[: 1 << 20]:
            return Kind.GRUB
    if b"iPXE" in content and b"PXELINUX" not in content:
        return Kind.IPXE
    return Kind.PXELINUX if b"PXELINUX" in content else None


def _grub_objects(octets: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    at = 0
    while at + 8 <= len(octets):
        kind, size = struct.unpack_from("<II", octets, at)
        if size < 8:
            break
        found.setdefault(kind, octets[at + 8 : at + size])
        at += size
    return found
