"""pxelinux.cfg/: the names under which PXELINUX and U-Boot's `pxe get` look for their configuration. Pure.

Both ask in this order, below the directory of their boot file, and take the first that is there:
the machine's UUID; 01- and its MAC; its address in hexadecimal, then with fewer and fewer digits; `default`
(PXELINUX: doc/pxelinux.txt; U-Boot: cmd/pxe.c, which has default-ARCH-SOC-BOARD before `default`).
"""

import re
from ipaddress import IPv4Address

from netbootd.boot.visit import Visit, mac_in
from netbootd.node import Node

DIRECTORY = "pxelinux.cfg"
ETHERNET = "01-"
"""Before the MAC stands the hardware type, as ARP has it."""


def name_in(parts: tuple[str, ...]) -> str | None:
    """The name asked for in pxelinux.cfg/, whatever directory that is in; None for any other path."""
    return parts[-1] if len(parts) >= 2 and parts[-2].lower() == DIRECTORY else None


def node_named(name: str, visit: Visit) -> Node | None:
    """The node that `name` belongs to; for `default` and the like, the one that asks.

    Nobody's is a UUID, which no registry of ours has, and a part of an address: the next question, a
    millisecond later, has the MAC.
    """
    name = name.lower()
    if name.startswith(ETHERNET):
        card = mac_in(name.removeprefix(ETHERNET))
        return visit.view.node_by_mac(card) if card else None
    if re.fullmatch(r"[0-9a-f]{8}", name):
        return visit.view.node_by_address(IPv4Address(int(name, 16)))
    if name == "default" or name.startswith("default-"):
        return visit.node
    return None
