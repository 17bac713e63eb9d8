"""Linux asking before it has a root file system: the kernel's `ip=dhcp` (net/ipv4/ipconfig.c)."""

from netbootd.boot.answer import LocalBoot
from netbootd.boot.client import Client
from netbootd.boot.firmware.family import Booting, Family

ASKS = (1, 3, 6, 12, 15, 17, 26, 40)
"""What option 55 begins with; newer kernels add 42."""


def _recognises(client: Client) -> bool:
    return client.parameter_request_list[: len(ASKS)] == ASKS


def _announce(_booting: Booting) -> LocalBoot:
    return LocalBoot(firmware="linux", reason="a Linux kernel asks for its address")


FAMILY = Family("linux", _recognises, _announce, behind_proxy=False, begins_boot=False)
