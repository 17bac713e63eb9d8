"""GRUB asking by itself (`net_bootp`): a DISCOVER that has nothing but its type (grub-core/net/bootp.c)."""

from netbootd.boot.answer import LocalBoot
from netbootd.boot.client import Client
from netbootd.boot.firmware.family import Booting, Family

ASKS = (1, 3, 6, 15, 12, 17, 18)
"""Option 55 of its REQUEST."""


def _recognises(client: Client) -> bool:
    return not client.vendor_class and client.parameter_request_list == ASKS


def _announce(_booting: Booting) -> LocalBoot:
    return LocalBoot(firmware="grub", reason="GRUB asks for its address")


FAMILY = Family("grub", _recognises, _announce, behind_proxy=False)
