"""iPXE, from a card's ROM or loaded by us: it gets this node's script over HTTP.

Evidence: iPXE sends option 175 and the bare word `iPXE` in 77, and repeats the ROM's 60 and 93; so these two
are looked at before anything else. An offer with 60 `PXEClient` counts as a proxy's with it: none is sent.
Sub-option 176 of 175 (no-pxedhcp) spares the two seconds that it waits for a proxy (net/udp/dhcp.c).
"""

from netbootd.boot.answer import NetBoot
from netbootd.boot.client import OPTION_IPXE, Client
from netbootd.boot.firmware.family import Family
from netbootd.network import Network

NO_PXEDHCP = bytes((176, 1, 1))


def _recognises(client: Client) -> bool:
    return client.ipxe_options or b"iPXE" in client.user_classes


def _announce(client: Client, network: Network) -> NetBoot:
    return NetBoot(
        firmware="ipxe",
        server=network.server,
        bootfile=f"{network.http}/boot/{client.mac.dashed}/boot.ipxe",
        reason="iPXE gets its node's script",
        options={OPTION_IPXE: NO_PXEDHCP},
    )


FAMILY = Family("ipxe", _recognises, _announce)
