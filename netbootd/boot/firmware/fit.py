"""Which images a machine can run, as far as its firmware told: for whoever gives it one.

The boot decision itself refuses an image for another processor (choice.unfit, uboot, raspberrypi); this tells
the same beforehand, of what was seen of a machine when it booted last.
"""

from collections.abc import Sequence

from netbootd.boot.firmware import http, raspberrypi, uboot, uefi
from netbootd.boot.firmware.choice import BIOS

_PI = "a Raspberry Pi"
_BIOS_NUMBER = 0


def machine(family: str, architectures: Sequence[int]) -> tuple[str, tuple[str, ...]] | None:
    """What sort of machine it is, and the images that it runs, in uname's words; None where nothing tells.

    `family` is the name of its firmware's, `architectures` what it sent in option 93.
    """
    if family == raspberrypi.FAMILY.name:
        return _PI, raspberrypi.ARCHITECTURES
    if not architectures or family not in _TELLING:
        return None
    number = architectures[0]
    if family == uboot.FAMILY.name:
        runs = uboot.RUNS.get(number)
        return (f"a U-Boot for {runs[0]}", runs) if runs else None
    sort = BIOS if number == _BIOS_NUMBER else {**uefi.MACHINES, **http.MACHINES}.get(number)
    return (sort.name, (*sort.runs, *sort.runs_by_grub)) if sort else None


_TELLING = ("ipxe", "http", "uboot", "uefi", "bios")
"""Families whose option 93 is the firmware's; that of an operating system tells nothing."""
