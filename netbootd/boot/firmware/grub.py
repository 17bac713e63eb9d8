"""GRUB: the configuration that it looks for, and its own DHCP (`net_bootp`).

Loaded by firmware's PXE or by shim it asks DHCP nothing: it takes what the firmware was told (net/bootp.c),
and looks for its configuration in a directory that was compiled in: /grub with Debian's and Ubuntu's,
/debian-installer/amd64/grub in another, /EFI/fedora or beside itself with Fedora's. In there 2.06 asks for
x86_64-efi/grub.cfg and grub.cfg; newer and patched ones first for grub.cfg-UUID, grub.cfg-01-MAC and
grub.cfg-HEXADDRESS, with fewer and fewer digits (normal/main.c). All of these are the node's that asks, or
that is named. Modules and their lists (x86_64-efi/*.mod, *.lst) are not served: an image made for the network
has what our configuration needs inside, and with Secure Boot on it may load none.

Its DISCOVER has nothing but its type, its REQUEST a list that nobody else has.
"""

import re
from ipaddress import IPv4Address

from netbootd.boot.answer import Located, NetBoot
from netbootd.boot.client import Client
from netbootd.boot.firmware.family import Booting, Family
from netbootd.boot.visit import Visit, mac_in, rendered
from netbootd.node import Node

ASKS = (1, 3, 6, 15, 12, 17, 18)
"""Option 55 of its REQUEST."""
CONFIG = "grub.cfg"
_MESSAGE_TYPE, _OF_A_RELAY = 53, 82


def _recognises(client: Client) -> bool:
    return not client.vendor_class and (
        client.parameter_request_list == ASKS or set(client.sent) - {_OF_A_RELAY} == {_MESSAGE_TYPE}
    )


def _announce(booting: Booting) -> NetBoot:
    """It makes `net_pxe_boot_file` and its default server of these; nothing is loaded by itself."""
    return NetBoot(
        firmware="grub",
        server=booting.network.server,
        bootfile=f"grub/{CONFIG}",
        reason="GRUB asks for its address, and is told where its configuration is",
    )


def _locate(visit: Visit) -> Located | None:
    name = visit.parts[-1] if visit.parts else ""
    if name == CONFIG:
        return rendered(visit, visit.node, "boot/grub/grub.cfg.j2")
    if not name.startswith(f"{CONFIG}-"):
        return None
    node = _named(name.removeprefix(f"{CONFIG}-"), visit)
    return rendered(visit, node, "boot/grub/grub.cfg.j2") if node else None


def _named(name: str, visit: Visit) -> Node | None:
    """Whose configuration that is. A part of an address is nobody's; the whole one is asked for before it."""
    if name.lower().startswith("01-"):
        card = mac_in(name[3:])
        return visit.view.node_by_mac(card) if card else None
    if re.fullmatch(r"[0-9A-Fa-f]{8}", name):
        return visit.view.node_by_address(IPv4Address(int(name, 16)))
    return visit.node if re.fullmatch(r"[0-9A-Fa-f-]{32,36}", name) else None


FAMILY = Family("grub", _recognises, _announce, _locate, behind_proxy=False)
