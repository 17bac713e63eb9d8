"""The loaders that an image brings: its distribution's shim and signed GRUB, or GRUB and iPXE as they are.

Secure Boot holds only along one distribution's chain, so it is the image's own that is served. And an amd64
head node has no package with a loader for arm64: the image for such machines can have one.
"""

import shutil
from pathlib import Path

from netbootd.images import edit
from netbootd.images.rooted import find_file

_LARGEST = 16 << 20
_LETTERS = {"x86_64": "x64", "aarch64": "aa64", "i686": "ia32", "riscv64": "riscv64", "armv7l": "arm"}
"""What uname calls a machine -> what UEFI calls it in file names."""
_TARGETS = {"x64": "x86_64", "aa64": "arm64", "ia32": "i386", "riscv64": "riscv64", "arm": "arm"}
"""What UEFI calls a machine -> what GRUB does."""
_IPXE = {
    "x64": ("snponly.efi", ("snponly.efi", "ipxe-amd64.efi", "ipxe.efi")),
    "aa64": ("ipxe-arm64.efi", ("ipxe-arm64.efi",)),
    "riscv64": ("ipxe-riscv64.efi", ("ipxe-riscv64.efi",)),
}
"""The name under which boot.loaders has it, and its names in Debian's /usr/lib/ipxe."""


def collect(root: Path, architecture: str, boot: Path) -> tuple[str, ...]:
    """Copy them to boot/loaders/ under the names that they ask each other for; returns these, sorted.

    shim comes only with a signed GRUB: it starts no other. GRUB is the one made for the network, which the
    packages have besides the disk's; Fedora's is one for both, in its EFI system partition's directory.
    """
    letters = _LETTERS.get(architecture)
    if letters is None:
        return ()
    shim, grub, manager = f"shim{letters}.efi", f"grub{letters}.efi", f"mm{letters}.efi"
    vendors = edit.matching(root, "/boot/efi/EFI", "*")
    signed = find_file(
        root,
        [
            f"/usr/lib/grub/{_TARGETS[letters]}-efi-signed/grubnet{letters}.efi.signed",
            *(f"{vendor}/{grub}" for vendor in vendors),
        ],
    )
    found: dict[str, Path | None] = {grub: signed}
    if signed is not None:
        for name in (shim, manager):
            places = [f"/usr/lib/shim/{name}.signed.latest", f"/usr/lib/shim/{name}.signed"]
            places += [f"{vendor}/{name}" for vendor in vendors]
            # mm: Ubuntu has it there under this name, signed; Debian's shim of this name isn't signed.
            found[name] = find_file(root, [*places, *([f"/usr/lib/shim/{name}"] if name == manager else [])])
    else:
        target = _TARGETS[letters]
        found[grub] = find_file(root, [f"/usr/lib/grub/{target}-efi/monolithic/grubnet{letters}.efi"])
    if letters in _IPXE:
        name, names = _IPXE[letters]
        found[name] = find_file(root, [f"/usr/lib/ipxe/{place}" for place in names])
    brought = {name: path for name, path in found.items() if path and path.stat().st_size <= _LARGEST}
    for name, path in brought.items():
        (boot / "loaders").mkdir(exist_ok=True)
        shutil.copyfile(path, boot / "loaders" / name)
    return tuple(sorted(brought))
