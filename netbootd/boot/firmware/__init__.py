"""The families of firmware, in the order in which they are recognised.

The first family that recognises a client answers for it. iPXE comes first because it is loaded by the
others and repeats their options 60 and 93: whoever hands it undionly.kpxe again loops for ever. A Raspberry
Pi and U-Boot come before the families whose words they borrow (60 `PXEClient`, 93 = 0 or 11).
"""

from functools import lru_cache

from netbootd.boot.client import Client
from netbootd.boot.firmware import bios, grub, http, ipxe, linux, raspberrypi, uboot, uefi
from netbootd.boot.firmware.family import Family

FAMILIES: tuple[Family, ...] = (
    ipxe.FAMILY,
    http.FAMILY,
    raspberrypi.FAMILY,
    uboot.FAMILY,
    uefi.FAMILY,
    bios.FAMILY,
    grub.FAMILY,
    linux.FAMILY,
)


@lru_cache(maxsize=64)
def recognise(client: Client) -> Family | None:
    """The family that `client` belongs to; None for a machine that only wants its address.

    Kept for a moment: each message is asked about in several places.
    """
    return next((family for family in FAMILIES if family.recognises(client)), None)


def begins_boot(client: Client) -> bool:
    """Whether a DISCOVER of `client` tells of a machine that was powered on."""
    family = recognise(client)
    return family is not None and family.begins_boot


def serial_of(client: Client) -> str | None:
    """The serial number that a board tells in its DHCP request."""
    family = recognise(client)
    return family.serial(client) if family else None
