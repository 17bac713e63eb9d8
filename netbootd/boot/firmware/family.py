"""What a family of firmware is to the boot decisions."""

from collections.abc import Callable
from dataclasses import dataclass

from netbootd.boot.answer import LocalBoot, Located, NetBoot, Wait
from netbootd.boot.client import Client
from netbootd.boot.visit import Visit
from netbootd.image import Generation
from netbootd.network import Network
from netbootd.node import Node

PXE_CLIENT = "PXEClient"
USE_THE_BOOTFILE = bytes((6, 1, 8, 255))
"""PXE vendor options (43): discovery control with bit 3, take the boot file that is offered and ask nobody.

Goes with option 60 `PXEClient`: with 60 alone, EDK2 asks on port 4011 (PxeBcDhcp4.c, BINL offers).
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Booting:
    """A node that should boot `generation`, and asks from `network`. `has_loader`: is it on this machine?"""

    client: Client
    node: Node
    network: Network
    generation: Generation
    has_loader: Callable[[str], bool]


def _nothing(_visit: Visit) -> None:
    return None


def _unknown(_client: Client) -> None:
    return None


def _untold(_parts: tuple[str, ...]) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Family:
    """One family of firmware, or of what runs in its place.

    `announce` says what one of this family, known to be a node that should boot, is told. `locate` answers
    for the paths that it makes up by itself, None where a path isn't its own. `serial` reads a board's serial
    number off its DHCP request, `serial_in` off the parts of a path that it asks for. `behind_proxy`: whether
    it takes what a proxyDHCP server offers beside another server's address. `begins_boot` is false for an
    operating system: its DISCOVER is no power-on.
    """

    name: str
    recognises: Callable[[Client], bool]
    announce: Callable[[Booting], NetBoot | LocalBoot | Wait]
    locate: Callable[[Visit], Located | None] = _nothing
    serial: Callable[[Client], str | None] = _unknown
    serial_in: Callable[[tuple[str, ...]], str | None] = _untold
    behind_proxy: bool = True
    asks_at_4011: bool = False
    """Behind a proxy it is offered the proxy's name alone, and asks at port 4011 for more (dhcp.proxy)."""
    begins_boot: bool = True


def is_pxe(client: Client) -> bool:
    """Whether it says that it wants to boot from the network (RFC 4578, PXE 2.1)."""
    return client.vendor_class.startswith(PXE_CLIENT)
