"""The loaders that firmware is given: the name they are served under, and the package that brings each.

Distributions put them in different places; the first of `paths` that exists is served. LOCAL comes first, for
a loader that no package here brings: one of another architecture, or one's own build. An image may bring
loaders too (images/signed.py); then none is needed here.
"""

from dataclasses import dataclass
from pathlib import Path

LOCAL = Path("/usr/local/lib/netbootd/loaders")
"""Where an admin puts a loader by hand, under the name that it is served by."""
CHOICES = ("ipxe", "grub", "shim", "pxelinux")
"""What an admin may choose for a node (`loader`), where its firmware can be given it."""


@dataclass(frozen=True, slots=True)
class Loader:
    """`kind` is one of CHOICES. `package` is Debian's; `native` is the only architecture that has it.

    `native` is Debian's word (arm64), empty where the package is the same for all: Debian's ipxe, syslinux.
    """

    name: str
    kind: str
    package: str
    paths: tuple[Path, ...]
    native: str = ""

    @property
    def advice(self) -> str:
        """How to get it, in words, whatever this machine is."""
        foreign = f"apt install {self.package}"
        if self.native in ("", "amd64"):
            return f"`{foreign}` brings it"
        return (
            f"`dpkg --add-architecture {self.native} && apt update && {foreign}:{self.native}` brings it,"
            f" or put it into {LOCAL}, or into the image"
        )


def _table(*loaders: Loader) -> dict[str, Loader]:
    return {loader.name: loader for loader in loaders}


def _loader(name: str, kind: str, package: str, *paths: str, native: str = "") -> Loader:
    return Loader(name, kind, package, (LOCAL / name, *map(Path, paths)), native)


def _grub(name: str, target: str, debian: str) -> Loader:
    """GRUB made for the network: with its modules inside, and configured by what the firmware was told.

    Signed where there is such a package: the same program, and unsigned it is no use to Secure Boot.
    """
    net = name.replace("grub", "grubnet")
    signed = debian in ("amd64", "arm64")
    return _loader(
        *(name, "grub", f"grub-efi-{debian}-{'signed' if signed else 'bin'}"),
        f"/usr/lib/grub/{target}-signed/{net}.signed",
        f"/usr/lib/grub/{target}/monolithic/{net}",
        f"/boot/efi/EFI/fedora/{name}",
        native=debian if debian not in ("amd64", "ia32") else "",
    )


def _shim(letters: str, debian: str, fedora: str) -> tuple[Loader, Loader]:
    """shim itself, and the key manager that it starts when it doesn't trust what it loaded."""
    places = {
        name: (
            f"/usr/lib/shim/{name}.signed",
            f"/usr/lib/shim/{name}.signed.latest",  # Ubuntu since 22.04
            f"/usr/lib/shim/{name}",
            f"/boot/efi/EFI/fedora/{name}",
            f"/usr/share/shim/{fedora}/{name}",
        )
        for name in (f"shim{letters}.efi", f"mm{letters}.efi")
    }
    shim, manager = places
    return (
        _loader(shim, "shim", "shim-signed", *places[shim][:2], *places[shim][3:], native=debian),
        _loader(manager, "shim", f"shim-helpers-{debian}-signed", *places[manager], native=debian),
    )


LOADERS: dict[str, Loader] = _table(
    _loader(
        *("undionly.kpxe", "ipxe", "ipxe"),
        "/usr/lib/ipxe/undionly.kpxe",
        "/usr/share/ipxe/undionly.kpxe",
    ),
    _loader(
        *("snponly.efi", "ipxe", "ipxe"),
        "/usr/lib/ipxe/snponly.efi",
        "/usr/share/ipxe/ipxe-snponly-x86_64.efi",  # Fedora
        "/usr/share/ipxe/x86_64/snponly.efi",
        "/usr/share/ipxe/x86_64/ipxe.efi",  # Arch
        "/usr/lib/ipxe/ipxe-amd64.efi",
        "/usr/lib/ipxe/ipxe.efi",
    ),
    # Debian 13 has these three in the ipxe package of every architecture; Debian 12 doesn't.
    _loader(
        *("ipxe-arm64.efi", "ipxe", "ipxe"),
        "/usr/lib/ipxe/ipxe-arm64.efi",
        "/usr/share/ipxe/arm64-efi/snponly.efi",  # Fedora
        "/usr/share/ipxe/arm64/ipxe.efi",
    ),
    _loader("ipxe-riscv64.efi", "ipxe", "ipxe", "/usr/lib/ipxe/ipxe-riscv64.efi"),
    _loader(
        *("ipxe-ia32.efi", "ipxe", "ipxe"),
        "/usr/lib/ipxe/ipxe-i386.efi",
        "/usr/share/ipxe/ipxe-i386.efi",  # Fedora
        "/usr/share/ipxe/i386/ipxe.efi",
    ),
    _grub("grubx64.efi", "x86_64-efi", "amd64"),
    _grub("grubaa64.efi", "arm64-efi", "arm64"),
    _grub("grubia32.efi", "i386-efi", "ia32"),
    _grub("grubarm.efi", "arm-efi", "arm"),
    _grub("grubriscv64.efi", "riscv64-efi", "riscv64"),
    *_shim("x64", "amd64", "x64"),
    *_shim("aa64", "arm64", "aa64"),
    _loader(
        *("lpxelinux.0", "pxelinux", "pxelinux"),
        "/usr/lib/PXELINUX/lpxelinux.0",
        "/usr/share/syslinux/lpxelinux.0",  # Fedora
        "/usr/lib/syslinux/bios/lpxelinux.0",  # Arch
    ),
    _loader(
        *("ldlinux.c32", "pxelinux", "syslinux-common"),
        "/usr/lib/syslinux/modules/bios/ldlinux.c32",
        "/usr/share/syslinux/ldlinux.c32",
        "/usr/lib/syslinux/bios/ldlinux.c32",
    ),
)

_RASPBERRY_PI = ("/usr/lib/raspi-firmware", "/usr/local/lib/raspi-firmware")
BOARD_FIRMWARE = _table(
    *(
        Loader(name, "", "raspi-firmware", tuple(Path(directory) / name for directory in _RASPBERRY_PI))
        for name in ("bootcode.bin", "start.elf", "start4.elf")
    )
)
"""What a board's own loader asks for, by the names that it has for it; used where the image has none."""
