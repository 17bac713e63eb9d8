"""iPXE, from a card's ROM or loaded by us: it gets this node's script over HTTP.

Evidence: iPXE sends option 175 and the bare word `iPXE` in 77, and repeats the ROM's 60 and 93; so these two
are looked at before anything else. An offer with 60 `PXEClient` counts as a proxy's with it: none is sent.
Sub-option 176 of 175 (no-pxedhcp) spares the two seconds that it waits for a proxy (net/udp/dhcp.c).

What iPXE can do it says in 175 (include/ipxe/features.h). One without HTTP, as some cards have in their ROM,
can't take our script and is given our own iPXE over TFTP; that one has HTTP, and so there is no loop. So is
gPXE, what iPXE was before 2010: it says `gPXE` in 77, and reads no script that begins with #!ipxe. A node
whose `loader` is another gets that: iPXE starts whatever a ROM would.

iPXE for UEFI since 2024 asks for autoexec.ipxe beside itself, by the firmware's TFTP or HTTP and before it
has an address of its own; the script gets it one (interface/efi/efi_autoexec.c).
"""

from dataclasses import replace

from netbootd.boot.answer import Located, NetBoot, Rendered, Wait
from netbootd.boot.client import OPTION_IPXE, Client
from netbootd.boot.firmware import pxelinux, uefi
from netbootd.boot.firmware.choice import BIOS, choose, unfit
from netbootd.boot.firmware.family import Booting, Family
from netbootd.boot.visit import Visit, mac_in, rendered
from netbootd.stage import Stage

NO_PXEDHCP = bytes((176, 1, 1))
HTTP = 19
"""The feature, as 175 has it."""


def _recognises(client: Client) -> bool:
    return client.ipxe_options or b"iPXE" in client.user_classes


def _is_gpxe(client: Client) -> bool:
    return b"gPXE" in client.user_classes


def _announce(booting: Booting) -> NetBoot | Wait:
    client, wanted = booting.client, booting.node.loader
    number = client.architecture
    machine = BIOS if number in (None, 0) else uefi.MACHINES.get(number or 0)
    own_script = wanted in (None, "ipxe")
    reads_it = not client.ipxe_features or HTTP in client.ipxe_features
    if own_script and reads_it and not _is_gpxe(client):
        if machine and (refused := unfit(booting, machine, "ipxe")):
            return Wait(firmware="ipxe", reason=refused)
        return _netboot(
            booting,
            f"{booting.network.http}/boot/{client.mac.dashed}/boot.ipxe",
            "iPXE gets its node's script",
        )
    if machine is None:
        return Wait(firmware="ipxe", reason=f"option 93 is {number}: no loader is known for it")
    chosen = choose(booting, machine, ("ipxe",) if own_script else ())
    if isinstance(chosen, str):
        return Wait(firmware="ipxe", reason=chosen)
    old = "gPXE" if _is_gpxe(client) else "iPXE without HTTP"
    reason = f"{old} gets an iPXE that takes our script" if own_script else f"iPXE is to start {chosen.kind}"
    return _netboot(booting, chosen.path, reason, with_pxelinux=chosen.kind == "pxelinux")


def _netboot(booting: Booting, bootfile: str, reason: str, *, with_pxelinux: bool = False) -> NetBoot:
    more = pxelinux.options(booting.client.mac) if with_pxelinux else {}
    return NetBoot(
        firmware="ipxe",
        server=booting.network.server,
        bootfile=bootfile,
        reason=reason,
        options={OPTION_IPXE: NO_PXEDHCP, **more},
    )


def _locate(visit: Visit) -> Located | None:
    match visit.parts:
        case ("boot", mac, "boot.ipxe"):
            card = mac_in(mac)
            return rendered(visit, visit.view.node_by_mac(card) if card else None, "boot/ipxe/boot.ipxe.j2")
        case (*_, "autoexec.ipxe") if visit.node is not None:
            found = rendered(visit, visit.node, "boot/ipxe/autoexec.ipxe.j2")
            # Not yet its configuration: a DISCOVER that came after one would be another boot's.
            return replace(found, stage=Stage.LOADER) if isinstance(found, Rendered) else found
    return None


FAMILY = Family("ipxe", _recognises, _announce, _locate)
