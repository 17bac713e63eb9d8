"""The families of firmware, in the order in which they are recognised.

The first family that recognises a client answers for it. iPXE comes first because it is loaded by the
others and repeats their options 60 and 93: whoever hands it undionly.kpxe again loops for ever.
"""

from netbootd.boot.client import Client
from netbootd.boot.firmware import bios, ipxe, later, uefi
from netbootd.boot.firmware.family import Family

FAMILIES: tuple[Family, ...] = (
    ipxe.FAMILY,
    later.HTTP,
    later.RASPBERRY_PI,
    later.UBOOT,
    uefi.FAMILY,
    bios.FAMILY,
)


def recognise(client: Client) -> Family | None:
    """The family that `client` belongs to; None for an operating system that only wants its address."""
    return next((family for family in FAMILIES if family.recognises(client)), None)
