"""A PC's BIOS and the PXE ROM of its network card: it gets iPXE on top of the ROM's own driver (UNDI).

Real ROMs now and then leave 93 out; RFC 4578 has BIOS as number 0. The ROM needs 54 and 60 `PXEClient` in the
offer (PXE 2.1, 2.2.3). Where only PXELINUX is installed, or chosen for the node, it is that (pxelinux.py).
"""

from netbootd.boot.answer import NetBoot, Wait
from netbootd.boot.client import OPTION_VENDOR_CLASS, Client
from netbootd.boot.firmware import pxelinux
from netbootd.boot.firmware.choice import BIOS, choose
from netbootd.boot.firmware.family import PXE_CLIENT, USE_THE_BOOTFILE, Booting, Family, is_pxe


def _recognises(client: Client) -> bool:
    return is_pxe(client) and client.architecture in (None, 0)


def _announce(booting: Booting) -> NetBoot | Wait:
    chosen = choose(booting, BIOS)
    if isinstance(chosen, str):
        return Wait(firmware="bios", reason=chosen)
    is_pxelinux = chosen.kind == "pxelinux"
    return NetBoot(
        firmware="bios",
        server=booting.network.server,
        bootfile=chosen.path,
        reason=f"a BIOS PXE ROM gets {'PXELINUX' if is_pxelinux else 'iPXE'}",
        options={
            OPTION_VENDOR_CLASS: PXE_CLIENT.encode(),
            43: USE_THE_BOOTFILE,
            **(pxelinux.options(booting.client.mac) if is_pxelinux else {}),
        },
    )


FAMILY = Family("bios", _recognises, _announce, pxelinux.locate)
