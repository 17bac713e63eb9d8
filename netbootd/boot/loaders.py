"""The loaders that firmware is given: the name they are served under, and the package that brings each.

Distributions put them in different places; the first of `paths` that exists is served. LOCAL comes first, for
a loader that no package here brings: one of another architecture, or one's own build. An image may bring
loaders too (images/signed.py); then none is needed here.
"""

from dataclasses import dataclass
from pathlib import Path

from netbootd.errors import UserError

LOCAL = Path("/usr/local/lib/netbootd/loaders")
"""Where an admin puts a loader by hand, under the name that it is served by."""
CHOICES = ("ipxe", "grub", "shim", "pxelinux")
"""What an admin may choose for a node (`loader`), where its firmware can be given it."""


def loader_name(text: str | None) -> str | None:
    """A loader that there is, or None; raises UserError."""
    if text is not None and text not in CHOICES:
        raise UserError(f"there is no loader {text[:40]!r}", f"one of {', '.join(CHOICES)}")
    return text


@dataclass(frozen=True, slots=True)
class Loader:
    """`kind` is one of CHOICES; `package` is Debian's, if it has one, `since` the first release that does.

    `native`: the architecture in Debian's words whose machines have that package; empty where all have it.
    """

    name: str
    kind: str
    package: str
    paths: tuple[Path, ...]
    native: str = ""
    since: str = ""

    @property
    def advice(self) -> str:
        """How to get it, in words, whatever this machine is."""
        by_hand = f"or put it into {LOCAL}"
        if not self.package:
            return f"no package of Debian brings it: put it into {LOCAL}"
        if self.since:
            return f"`apt install {self.package}` of {self.since} or later brings it, {by_hand}"
        if self.native in ("", "amd64"):
            return f"`apt install {self.package}` brings it"
        if self.kind == "shim":  # it needs mokutil of the machine that it is installed on
            return f"an image with {self.package} brings it, {by_hand}"
        add = f"dpkg --add-architecture {self.native} && apt update"
        return (
            f"`{add} && apt install {self.package}:{self.native}` brings it, an image with it does, {by_hand}"
        )


def _table(*loaders: Loader) -> dict[str, Loader]:
    return {loader.name: loader for loader in loaders}


def _loader(name: str, kind: str, package: str, *paths: str, native: str = "", since: str = "") -> Loader:
    return Loader(name, kind, package, (LOCAL / name, *map(Path, paths)), native, since)


def _grub(name: str, target: str, debian: str, native: str = "") -> Loader:
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
        native=native,
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
    _loader(
        *("ipxe-arm64.efi", "ipxe", "ipxe"),
        "/usr/lib/ipxe/ipxe-arm64.efi",
        "/usr/share/ipxe/arm64-efi/snponly.efi",  # Fedora
        "/usr/share/ipxe/arm64/ipxe.efi",
        since="Debian 13",
    ),
    _loader(*("ipxe-riscv64.efi", "ipxe", "ipxe"), "/usr/lib/ipxe/ipxe-riscv64.efi", since="Debian 13"),
    _loader(
        *("ipxe-ia32.efi", "ipxe", ""),
        "/usr/lib/ipxe/ipxe-i386.efi",
        "/usr/share/ipxe/ipxe-i386.efi",  # Fedora
        "/usr/share/ipxe/i386/ipxe.efi",
    ),
    _grub("grubx64.efi", "x86_64-efi", "amd64"),
    _grub("grubaa64.efi", "arm64-efi", "arm64", "arm64"),
    _grub("grubia32.efi", "i386-efi", "ia32"),
    _grub("grubarm.efi", "arm-efi", "arm", "armhf"),
    _grub("grubriscv64.efi", "riscv64-efi", "riscv64", "riscv64"),
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
