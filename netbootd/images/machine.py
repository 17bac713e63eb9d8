"""Which kind of machine an image is for, read from its shell."""

from pathlib import Path

from netbootd.errors import UserError
from netbootd.images.elf import ElfError, read_elf
from netbootd.images.rooted import find_file

_PROBES = ["/bin/sh", "/usr/bin/sh", "/bin/busybox", "/bin/bash", "/sbin/init", "/usr/lib/systemd/systemd"]
_MACHINES = {
    (62, 64, True): "x86_64",
    (3, 32, True): "i686",
    (183, 64, True): "aarch64",
    (40, 32, True): "armv7l",
    (243, 64, True): "riscv64",
    (21, 64, True): "ppc64le",
    (21, 64, False): "ppc64",
    (22, 64, False): "s390x",
}
"""ELF's e_machine, width, little-endian -> what uname -m says."""
_LARGEST = 64 << 20


def architecture(root: Path) -> str:
    """The image's architecture in uname's words. Raises UserError where no program tells."""
    for name in _PROBES:
        path = find_file(root, [name])
        if path is None or path.stat().st_size > _LARGEST:
            continue
        try:
            elf = read_elf(path.read_bytes())
        except ElfError:
            continue
        found = _MACHINES.get((elf.machine, elf.bits, elf.little_endian))
        if found is None:
            raise UserError(
                f"{name} in the image is for an unknown machine (ELF {elf.machine}, {elf.bits} bits)"
            )
        return found
    raise UserError(
        "this holds no root file system: there is no /bin/sh in it",
        "give what has bin, etc, usr … at its top",
    )
