"""UEFI's own PXE stack (EDK2): it gets a loader for its architecture over TFTP.

The architecture is option 93 (IANA "Processor Architecture Types"), not the text in 60. Old x64 firmware
sends 9 (EFI BC), as RFC 4578's table had it. Of iPXE it is snponly.efi that is served: it uses the card
through the firmware's own driver, which has just loaded it and so is known to work.

Secure Boot starts only what is signed: shim, by Microsoft, and what shim trusts. An image that brings its
distribution's shim and signed GRUB is booted through them, Secure Boot on or off: DHCP doesn't tell which.
"""

from netbootd.boot.answer import NetBoot, Wait
from netbootd.boot.client import OPTION_VENDOR_CLASS, Client
from netbootd.boot.firmware.choice import (
    ARM32,
    ARM64,
    ASKS_THE_DHCP_SERVER,
    IA32,
    RISCV64,
    X64,
    Machine,
    choose,
    needs_the_dhcp_server,
)
from netbootd.boot.firmware.family import PXE_CLIENT, USE_THE_BOOTFILE, Booting, Family, is_pxe

BIOS_NUMBER = 0
MACHINES: dict[int, Machine] = {6: IA32, 7: X64, 9: X64, 10: ARM32, 11: ARM64, 27: RISCV64}
"""Option 93 -> what that firmware can be given."""
_MEANING = {
    "shim": "shim, which starts signed GRUB",
    "ipxe": "iPXE",
    "grub": "GRUB",
}


def _recognises(client: Client) -> bool:
    return is_pxe(client) and client.architecture not in (None, BIOS_NUMBER)


def _announce(booting: Booting) -> NetBoot | Wait:
    number = booting.client.architecture
    machine = MACHINES.get(number or 0)
    if machine is None:
        return Wait(firmware="uefi", reason=f"option 93 is {number}: no loader is known for it")
    chosen = choose(booting, machine)
    if isinstance(chosen, str):
        return Wait(firmware="uefi", reason=chosen)
    return NetBoot(
        firmware="uefi",
        server=booting.network.server,
        bootfile=chosen.path,
        reason=f"{machine.name} (option 93 is {number}) gets {_MEANING[chosen.kind]}"
        + (f"; {ASKS_THE_DHCP_SERVER}" if needs_the_dhcp_server(booting, chosen.kind) else ""),
        options={OPTION_VENDOR_CLASS: PXE_CLIENT.encode(), 43: USE_THE_BOOTFILE},
    )


FAMILY = Family("uefi", _recognises, _announce, asks_at_4011=True)
