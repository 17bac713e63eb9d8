"""UEFI HTTP Boot (EDK2, NetworkPkg/HttpBootDxe): it gets iPXE by a URL, with a HEAD and a GET.

An offer counts only with 60 `HTTPClient` and the URL in 67. The URL has our address: a name would need
option 6 and an answer from there. It is iPXE that it is given, unless its owner chose another: GRUB 2.06
takes its network only from the firmware's PXE protocol (efinet.c), has none after HTTP Boot, and stops at its
prompt before it has asked for a configuration. GRUB 2.12 asks by HTTP for what it asks for by TFTP.
"""

from netbootd.boot.answer import NetBoot, Wait
from netbootd.boot.client import OPTION_VENDOR_CLASS, Client
from netbootd.boot.firmware.choice import ARM64, IA32, RISCV64, X64, Machine, choose
from netbootd.boot.firmware.family import Booting, Family

HTTP_CLIENT = "HTTPClient"
MACHINES: dict[int, Machine] = {15: IA32, 16: X64, 19: ARM64, 28: RISCV64}
"""Option 93 -> what that firmware can be given. 18, 32-bit ARM, can't: nobody packages iPXE for it."""

_MEANING = {
    "ipxe": "iPXE",
    "grub": "GRUB, which before 2.12 stops at its prompt then",
    "shim": "shim, whose GRUB before 2.12 stops at its prompt then",
}


def _recognises(client: Client) -> bool:
    return client.vendor_class.startswith(HTTP_CLIENT)


def _announce(booting: Booting) -> NetBoot | Wait:
    number, wanted = booting.client.architecture, booting.node.loader
    machine = MACHINES.get(number or 0)
    if machine is None:
        return Wait(firmware="http", reason=f"HTTP Boot with option 93 {number}: no loader is known for it")
    chosen = choose(booting, machine, () if wanted else ("ipxe",))
    if isinstance(chosen, str):
        return Wait(firmware="http", reason=chosen)
    return NetBoot(
        firmware="http",
        server=booting.network.server,
        bootfile=f"{booting.network.http}/{chosen.path}",
        reason=f"HTTP Boot of {machine.name} (option 93 is {number}) gets {_MEANING[chosen.kind]}",
        options={OPTION_VENDOR_CLASS: HTTP_CLIENT.encode()},
    )


FAMILY = Family("http", _recognises, _announce)
