"""UEFI's own PXE stack (EDK2): it gets iPXE for its architecture over TFTP.

The architecture is option 93 (IANA "Processor Architecture Types"), not the text in 60. Old x64 firmware
sends 9 (EFI BC), as RFC 4578's table had it. snponly.efi uses the card through the firmware's own driver,
which has just loaded it and so is known to work.
"""

from netbootd.boot.answer import NetBoot, Wait
from netbootd.boot.client import OPTION_VENDOR_CLASS, Client
from netbootd.boot.firmware.family import PXE_CLIENT, USE_THE_BOOTFILE, Booting, Family, is_pxe

BIOS = 0
LOADERS = {7: "snponly.efi", 9: "snponly.efi"}


def _recognises(client: Client) -> bool:
    return is_pxe(client) and client.architecture not in (None, BIOS)


def _announce(booting: Booting) -> NetBoot | Wait:
    architecture = booting.client.architecture
    loader = LOADERS.get(architecture or 0)
    if loader is None:
        return Wait(firmware="uefi", reason=f"option 93 is {architecture}: no loader is known for it")
    return NetBoot(
        firmware="uefi",
        server=booting.network.server,
        bootfile=f"loaders/{loader}",
        reason=f"UEFI (option 93 is {architecture}) gets iPXE",
        options={OPTION_VENDOR_CLASS: PXE_CLIENT.encode(), 43: USE_THE_BOOTFILE},
    )


FAMILY = Family("uefi", _recognises, _announce)
