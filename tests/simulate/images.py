"""Images as small as can be: files with the right first octets, taken by boards for what they seem."""

from collections.abc import Mapping
from pathlib import Path

from netbootd.image import Generation
from netbootd.images import record

INITRD = b"070701" + bytes(3000)
DEVICE_TREE = b"\xd0\x0d\xfe\xed" + bytes(2000)
ELF = b"\x7fELF" + bytes(5000)


def arm64_kernel(size: int = 200_000) -> bytes:
    """What booti and a Raspberry Pi's start4.elf take for a kernel."""
    return (bytes(56) + b"ARM\x64").ljust(size, b"\1")


def arm_kernel(size: int = 100_000) -> bytes:
    """A zImage."""
    return (bytes(36) + b"\x18\x28\x6f\x01").ljust(size, b"\1")


def x86_kernel(size: int = 200_000) -> bytes:
    """A bzImage with an EFI stub."""
    head = bytearray(b"MZ".ljust(0x400, b"\0"))
    head[0x3C:0x40] = (0x80).to_bytes(4, "little")
    head[0x80:0x86] = b"PE\0\0\x64\x86"
    head[0x202:0x206] = b"HdrS"
    return bytes(head).ljust(size, b"\1")


KERNELS = {"x86_64": x86_kernel, "aarch64": arm64_kernel, "armv7l": arm_kernel}
FIRMWARE = {
    **dict.fromkeys(("bootcode.bin",), b"bootcode" * 1000),
    **dict.fromkeys(("start.elf", "start4.elf"), ELF),
    **dict.fromkeys(("fixup.dat", "fixup4.dat"), b"fixup" * 100),
    **dict.fromkeys(
        (
            "bcm2710-rpi-3-b.dtb",
            "bcm2710-rpi-3-b-plus.dtb",
            "bcm2711-rpi-4-b.dtb",
            "bcm2712-rpi-5-b.dtb",
        ),
        DEVICE_TREE,
    ),
}


def efi_program(machine: int, sbat: str) -> bytes:
    """A PE file for `machine` that calls itself `sbat` in its table of revocations."""
    head = bytearray(b"MZ".ljust(0x200, b"\0"))
    head[0x3C:0x40] = (0x80).to_bytes(4, "little")
    head[0x80:0x86] = b"PE\0\0" + machine.to_bytes(2, "little")
    return bytes(head) + b"\nsbat,1,SBAT Version\n" + f"{sbat},4,a test\n".encode() + bytes(30_000)


def make(state: Path, name: str, architecture: str, loaders: Mapping[str, bytes] | None = None) -> Generation:
    """An image's first generation in `state`, current. `loaders`: those that it brings."""
    directory = state / "images" / name / "1"
    (directory / "root").mkdir(parents=True)
    boot = directory / "boot"
    (boot / "firmware" / "overlays").mkdir(parents=True)
    (boot / "vmlinuz").write_bytes(KERNELS[architecture]())
    if architecture == "aarch64":
        (boot / "Image").write_bytes(arm64_kernel())  # as U-Boot's booti takes it, not packed
    (boot / "initrd").write_bytes(INITRD)
    (boot / "firmware" / "vmlinuz").write_bytes(KERNELS[architecture]())
    for file, content in FIRMWARE.items():
        (boot / "firmware" / file).write_bytes(content)
    for tree in ("amlogic/meson-g12b-a311d-khadas-vim3.dtb", "zynq-parallella.dtb"):
        (boot / "dtbs" / tree).parent.mkdir(parents=True, exist_ok=True)
        (boot / "dtbs" / tree).write_bytes(DEVICE_TREE)
    for file, content in (loaders or {}).items():
        (boot / "loaders").mkdir(exist_ok=True)
        (boot / "loaders" / file).write_bytes(content)
    made = Generation(
        image=name,
        number=1,
        directory=directory,
        created="2026-01-02T03:04:05+00:00",
        origin="a test",
        architecture=architecture,
        kernel_release="6.1.0",
        size=1,
        firmware=True,
        loaders=tuple(loaders or ()),
    )
    record.write(directory / record.FILE_NAME, made)
    (directory.parent / "current").symlink_to("1")
    return made
