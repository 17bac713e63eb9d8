"""The loaders that firmware is given: the name they are served under, and the package that brings each."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Loader:
    """`paths`: where distributions put the file, the first that exists is served."""

    name: str
    package: str
    paths: tuple[Path, ...]


CHOICES = ("ipxe", "grub", "shim", "pxelinux")
"""What an admin may choose for a node (`loader`), where its firmware can be given it."""

LOADERS: dict[str, Loader] = {
    loader.name: loader
    for loader in (
        Loader(
            "undionly.kpxe",
            "ipxe",
            (Path("/usr/lib/ipxe/undionly.kpxe"), Path("/usr/share/ipxe/undionly.kpxe")),
        ),
        Loader(
            "snponly.efi",
            "ipxe",
            (
                Path("/usr/lib/ipxe/snponly.efi"),
                Path("/usr/share/ipxe/ipxe-snponly-x86_64.efi"),
                Path("/usr/lib/ipxe/ipxe.efi"),
            ),
        ),
    )
}
