"""U-Boot on ARM boards, with its own network stack or lwIP's."""

from netbootd.boot.answer import Wait
from netbootd.boot.client import Client
from netbootd.boot.firmware.family import Booting, Family


def _recognises(client: Client) -> bool:
    return client.vendor_class.startswith("U-Boot")


def _announce(_booting: Booting) -> Wait:
    return Wait(firmware="uboot", reason="U-Boot isn't booted by this version of netbootd yet")


FAMILY = Family("uboot", _recognises, _announce, behind_proxy=False)
