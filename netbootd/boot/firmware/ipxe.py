"""iPXE, from a card's ROM or loaded by us: it gets this node's script over HTTP.

Evidence: iPXE sends option 175 and the bare word `iPXE` in 77, and repeats the ROM's 60 and 93; so these two
are looked at before anything else. An offer with 60 `PXEClient` counts as a proxy's with it: none is sent.
Sub-option 176 of 175 (no-pxedhcp) spares the two seconds that it waits for a proxy (net/udp/dhcp.c).
"""

from netbootd.boot.answer import Located, NetBoot
from netbootd.boot.client import OPTION_IPXE, Client
from netbootd.boot.firmware.family import Booting, Family
from netbootd.boot.visit import Visit, mac_in, rendered

NO_PXEDHCP = bytes((176, 1, 1))


def _recognises(client: Client) -> bool:
    return client.ipxe_options or b"iPXE" in client.user_classes


def _announce(booting: Booting) -> NetBoot:
    return NetBoot(
        firmware="ipxe",
        server=booting.network.server,
        bootfile=f"{booting.network.http}/boot/{booting.client.mac.dashed}/boot.ipxe",
        reason="iPXE gets its node's script",
        options={OPTION_IPXE: NO_PXEDHCP},
    )


def _locate(visit: Visit) -> Located | None:
    match visit.parts:
        case ("boot", mac, "boot.ipxe"):
            card = mac_in(mac)
            return rendered(visit, visit.view.node_by_mac(card) if card else None, "boot/ipxe/boot.ipxe.j2")
    return None


FAMILY = Family("ipxe", _recognises, _announce, _locate)
