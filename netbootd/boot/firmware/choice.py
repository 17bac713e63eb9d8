"""Which loader a machine gets: what its processor can run, what its owner chose, what there is.

`Machine` says what one sort of firmware can be given; `choose` picks. A loader that the image brings is taken
before the head node's for the signed chain only: shim trusts its own distribution's GRUB and kernel.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from netbootd.boot.firmware.family import Booting
from netbootd.boot.loaders import LOADERS
from netbootd.network import DhcpMode

ASKS_THE_DHCP_SERVER = "GRUB goes on at the server that the other DHCP server names"
"""How a reason says that this loader needs that server's help behind a proxy: `why` looks for these words.

GRUB takes its server from the ACK that gave the address and doesn't look at a proxy's offer: seen with Debian
12's signed GRUB (2.06) under OVMF beside dnsmasq, and for core.0 in ltsp's pull request 108.
"""
_BY_GRUB = ("shim", "grub")

X86 = ("x86_64", "i686", "i586", "i486", "i386")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A sort of firmware. `loaders`: kind -> the files that it takes, the boot file first.

    `runs`: the images that it can boot, in uname's words; those in `runs_by_grub` only by way of GRUB.
    `usual`: the kinds that are tried where nobody chose, best first.
    """

    name: str
    runs: tuple[str, ...]
    loaders: Mapping[str, tuple[str, ...]]
    usual: tuple[str, ...]
    runs_by_grub: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Choice:
    """`path` is the boot file's, below the top of both doors. `kind` is one of boot.loaders.CHOICES."""

    kind: str
    path: str


BIOS = Machine(
    name="a PC's BIOS",
    runs=X86,
    loaders={"ipxe": ("undionly.kpxe",), "pxelinux": ("lpxelinux.0", "ldlinux.c32")},
    usual=("ipxe", "pxelinux"),
)
_UEFI_USUAL = ("shim", "ipxe", "grub")
X64 = Machine(
    name="64-bit x86 UEFI",
    runs=("x86_64",),
    loaders={
        "shim": ("shimx64.efi", "grubx64.efi"),
        "ipxe": ("snponly.efi",),
        "grub": ("grubx64.efi",),
    },
    usual=_UEFI_USUAL,
)
IA32 = Machine(
    name="32-bit x86 UEFI",
    runs=X86[1:],
    loaders={"ipxe": ("ipxe-ia32.efi",), "grub": ("grubia32.efi",)},
    usual=("grub", "ipxe"),
    runs_by_grub=("x86_64",),  # the kernel's mixed mode (CONFIG_EFI_MIXED), by its 32-bit entry
)
ARM64 = Machine(
    name="64-bit ARM UEFI",
    runs=("aarch64",),
    loaders={
        "shim": ("shimaa64.efi", "grubaa64.efi"),
        "ipxe": ("ipxe-arm64.efi",),
        "grub": ("grubaa64.efi",),
    },
    usual=_UEFI_USUAL,
)
ARM32 = Machine(
    name="32-bit ARM UEFI",
    runs=("armv7l", "armv6l"),
    loaders={"grub": ("grubarm.efi",)},
    usual=_UEFI_USUAL,
)
RISCV64 = Machine(
    name="64-bit RISC-V UEFI",
    runs=("riscv64",),
    loaders={"ipxe": ("ipxe-riscv64.efi",), "grub": ("grubriscv64.efi",)},
    usual=_UEFI_USUAL,
)


def choose(booting: Booting, machine: Machine, kinds: tuple[str, ...] = ()) -> Choice | str:
    """The loader for `machine`, or in words why there is none. `kinds` instead of what is chosen or usual."""
    chosen = booting.node.loader
    wanted = kinds or ((chosen,) if chosen else _usual(booting, machine))
    able = [kind for kind in wanted if kind in machine.loaders]
    if not able:
        can = " or ".join(kind for kind in machine.loaders)
        hint = f"`netbootctl node set {booting.node.name} --loader {next(iter(machine.loaders))}`"
        return f"{machine.name} can't be given {' or '.join(wanted)}, but {can}; {hint}"
    refusals = {kind: unfit(booting, machine, kind) for kind in able}
    if all(refusals.values()):
        return refusals[able[0]]
    missing = ""
    for kind in able:
        if refusals[kind]:
            continue
        if path := _where(booting, machine.loaders[kind], kind):
            return Choice(kind, path)
        if not missing and (kind != "shim" or chosen == "shim"):
            names = machine.loaders[kind]
            # None is missing any more where it is being installed at this moment.
            missing = next((name for name in names if not booting.has_loader(name)), names[0])
    loader = LOADERS[missing]
    return f"the loader {loader.name} for {machine.name} isn't installed; {loader.advice}"


def needs_the_dhcp_server(booting: Booting, kind: str) -> bool:
    """Whether this kind of loader needs help of the DHCP server beside which netbootd is a proxy."""
    return booting.network.dhcp is DhcpMode.PROXY and kind in _BY_GRUB


def _usual(booting: Booting, machine: Machine) -> tuple[str, ...]:
    """What is tried where nobody chose: behind a proxy first what can do with one."""
    return tuple(sorted(machine.usual, key=lambda kind: needs_the_dhcp_server(booting, kind)))


def unfit(booting: Booting, machine: Machine, kind: str) -> str:
    """Why this machine can't run the node's image by this kind of loader, in words; empty where it can."""
    generation = booting.generation
    if generation.architecture in machine.runs:
        return ""
    what = f"{generation.label} is for {generation.architecture}, and this is {machine.name}"
    if generation.architecture in machine.runs_by_grub:
        hint = f"`netbootctl node set {booting.node.name} --loader grub`"
        return "" if kind == "grub" else f"{what}, where only GRUB starts it; {hint}"
    hint = f"`netbootctl node set {booting.node.name} --image NAME`"
    return f"{what}; give it an image for {machine.runs[0]}: {hint}"


def _where(booting: Booting, files: tuple[str, ...], kind: str) -> str | None:
    """The boot file's path where all of `files` are, in the image or on the head node.

    The head node's shim trusts the head node's distribution, which needn't be the image's: on request only.
    """
    generation = booting.generation
    here = all(map(booting.has_loader, files)) and (kind != "shim" or booting.node.loader == "shim")
    brought = all(name in generation.loaders for name in files)
    if brought and (kind == "shim" or not here):
        return f"images/{generation.image}/{generation.number}/loaders/{files[0]}"
    return f"loaders/{files[0]}" if here else None
