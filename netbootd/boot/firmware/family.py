"""What a family of firmware is to the boot decision."""

from collections.abc import Callable
from dataclasses import dataclass

from netbootd.boot.answer import LocalBoot, NetBoot, Wait
from netbootd.boot.client import Client
from netbootd.network import Network

PXE_CLIENT = "PXEClient"
USE_THE_BOOTFILE = bytes((6, 1, 8, 255))
"""PXE vendor options (43): discovery control with bit 3, take the boot file that is offered and ask nobody.

Goes with option 60 `PXEClient`: with 60 alone, EDK2 asks on port 4011 (PxeBcDhcp4.c, BINL offers).
"""


@dataclass(frozen=True, slots=True)
class Family:
    """`announce` says what one of this family, known to be a node that should boot, is told."""

    name: str
    recognises: Callable[[Client], bool]
    announce: Callable[[Client, Network], NetBoot | LocalBoot | Wait]


def is_pxe(client: Client) -> bool:
    """Whether it says that it wants to boot from the network (RFC 4578, PXE 2.1)."""
    return client.vendor_class.startswith(PXE_CLIENT)
