"""The boards, by name: what each is, what is known of it from where, and how it plays. Pure."""

from collections.abc import Callable
from dataclasses import dataclass

from netbootd.errors import UserError
from netbootd.node import Mac
from netbootd.simulate import bios, edk2, grub, ipxe, linux, parallella, pxelinux, raspberrypi, shim, uboot
from netbootd.simulate.contents import Kind, kind_of
from netbootd.simulate.discovers import NO_SERIAL
from netbootd.simulate.play import Booted, Loaded, Machine, Play, WontBoot

MOST_LOADERS = 6
"""Loaders that load one another; a seventh is a loop."""

CAPTURE = "a real firmware's packets"
SOURCE = "its source"
RECORDS = "its makers' documents and other people's logs"
STANDARD = "the standard alone"


@dataclass(frozen=True, slots=True)
class Board:
    """`evidence`: where what it sends is known from. `vendor`: the first octets of a MAC made up for it."""

    what: str
    evidence: str
    plays: Callable[[Machine], Play[Booted]]
    vendor: bytes = b"\x02\x00\x00"

    @property
    def tells_serial(self) -> bool:
        """Whether it says its serial number, which a head node then notes for good."""
        return self.vendor in (_PI3, _PI4, _PI5)


_PI3, _PI4, _PI5 = b"\xb8\x27\xeb", b"\xdc\xa6\x32", b"\x2c\xcf\x67"

BOARDS: dict[str, Board] = {
    "pi3": Board("Raspberry Pi 3B: boot ROM, bootcode.bin, start.elf", RECORDS, raspberrypi.pi3, _PI3),
    "pi3b+": Board(
        "Raspberry Pi 3B+: as the 3B, without its faults",
        RECORDS,
        lambda machine: raspberrypi.pi3(machine, plus=True),
        _PI3,
    ),
    "pi3b+-serial": Board(
        "Raspberry Pi 3B+, if its ROM sends the serial in 97 (not known)",
        RECORDS,
        lambda machine: raspberrypi.pi3(
            machine, plus=True, uuid=b"\0" + (machine.serial & 0xFFFFFFFF).to_bytes(4, "little") * 4
        ),
        _PI3,
    ),
    "pi4": Board("Raspberry Pi 4, 400, CM4", RECORDS, raspberrypi.pi4, _PI4),
    "pi4-swapped": Board(
        "Raspberry Pi 4 whose fourcc in 97 is RPi4, not 4iPR",
        RECORDS,
        lambda machine: raspberrypi.pi4(machine, fourcc=b"RPi4"),
        _PI4,
    ),
    "pi5": Board("Raspberry Pi 5, CM5", RECORDS, raspberrypi.pi5, _PI5),
    "pi5-swapped": Board(
        "Raspberry Pi 5 whose fourcc in 97 is 5iPR, not RPi5",
        RECORDS,
        lambda machine: raspberrypi.pi5(machine, fourcc=b"5iPR"),
        _PI5,
    ),
    "khadas": Board("Khadas VIM3 with the vendor's U-Boot: no network boot", SOURCE, uboot.khadas),
    "khadas-mainline": Board(
        "Khadas VIM3 with mainline U-Boot", f"{SOURCE}; {CAPTURE}", lambda m: uboot.pxe(m, uboot.VIM3)
    ),
    "uboot-arm64": Board("U-Boot on 64-bit ARM", f"{SOURCE}; {CAPTURE}", lambda m: uboot.pxe(m, uboot.ARM64)),
    "uboot-arm32": Board("U-Boot on 32-bit ARM", SOURCE, lambda m: uboot.pxe(m, uboot.ARM32)),
    "uboot-lwip": Board("U-Boot on lwIP, 64-bit ARM", SOURCE, lambda m: uboot.pxe(m, uboot.LWIP)),
    "parallella": Board("Parallella without a card: uEnv.txt from 10.11.12.1", SOURCE, parallella.boot),
    "bios": Board("a PC's BIOS with a PXE ROM that isn't iPXE", STANDARD, bios.pxe),
    "uefi-x64": Board("UEFI on a PC by PXE", f"{SOURCE}; {CAPTURE}", lambda m: edk2.pxe(m, edk2.X64)),
    "uefi-ia32": Board("32-bit UEFI by PXE", SOURCE, lambda m: edk2.pxe(m, edk2.IA32)),
    "uefi-arm64": Board(
        "UEFI on 64-bit ARM by PXE", f"{SOURCE}; {CAPTURE}", lambda m: edk2.pxe(m, edk2.ARM64)
    ),
    "uefi-riscv64": Board("UEFI on 64-bit RISC-V by PXE", SOURCE, lambda m: edk2.pxe(m, edk2.RISCV64)),
    "uefi-http": Board(
        "UEFI HTTP Boot on a PC", f"{SOURCE}; {CAPTURE}", lambda m: edk2.http_boot(m, edk2.X64)
    ),
    "uefi-http-arm64": Board("UEFI HTTP Boot on 64-bit ARM", SOURCE, lambda m: edk2.http_boot(m, edk2.ARM64)),
    "ipxe": Board("iPXE in a network card's ROM (BIOS)", f"{SOURCE}; {CAPTURE}", ipxe.firmware),
    "ipxe-uefi": Board("iPXE as UEFI's driver", SOURCE, lambda m: ipxe.firmware(m, arch=7)),
    "ipxe-arm64": Board("iPXE on 64-bit ARM", SOURCE, lambda m: ipxe.firmware(m, arch=11)),
    "grub": Board("GRUB asking by itself (net_bootp)", f"{SOURCE}; TFTP: {CAPTURE}", grub.alone),
    "linux": Board("the Linux kernel's ip=dhcp", SOURCE, linux.autoconfigure),
}
_ALSO = {
    "raspberrypi": "pi4", "uefi": "uefi-x64", "http": "uefi-http", "http-arm64": "uefi-http-arm64",
    "os": "linux",
    "uboot": "uboot-arm64", "pi3+": "pi3b+", "pi3bplus": "pi3b+", "vim3": "khadas-mainline",
}  # fmt: skip

LOADERS: dict[Kind, tuple[str, Callable[[Machine, Loaded], Play[Booted]]]] = {
    Kind.IPXE: ("iPXE, loaded by a firmware", ipxe.loaded),
    Kind.SHIM: ("shim, loaded by UEFI", shim.loaded),
    Kind.GRUB: ("GRUB, loaded by UEFI or shim", grub.loaded),
    Kind.PXELINUX: ("PXELINUX, loaded by a BIOS", pxelinux.loaded),
}
"""Programs as which a board goes on when it is given one."""


def board(name: str) -> tuple[str, Board]:
    """The board called `name`, and its first name. Raises UserError."""
    known = _ALSO.get(name.lower(), name.lower())
    if known not in BOARDS:
        raise UserError(f"{name[:40]!r} is no board known here", f"one of {', '.join(BOARDS)}")
    return known, BOARDS[known]


def machine(mac: Mac, *, serial: int | None = None, uuid: bytes = bytes(16), seed: int = 0) -> Machine:
    """A board of this card, powered off. `seed` makes its transaction ids its own.

    Without a serial number it has NO_SERIAL, so that no head node notes one that was made up.
    """
    return Machine(
        mac=mac,
        serial=NO_SERIAL if serial is None else serial,
        uuid=uuid,
        xid=(0x6E657462 ^ seed) & 0xFFFFFFFF,
        begin=begin,
    )


def begin(machine: Machine, found: Loaded) -> Play[Booted]:
    """Go on as the program that was fetched."""
    machine.depth += 1
    if machine.depth > MOST_LOADERS:
        raise WontBoot(
            f"loaders load one another without end, the last {found.name}", "see `netbootctl explain`"
        )
    kind = kind_of(found.content, found.name)
    if kind not in LOADERS:
        raise WontBoot(
            f"{found.name} is {kind}: it would be started, and this simulation doesn't know what it does",
            f"it knows {', '.join(LOADERS)}",
        )
    return (yield from LOADERS[kind][1](machine, found))
