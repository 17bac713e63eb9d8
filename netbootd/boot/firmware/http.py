"""UEFI HTTP Boot (EDK2, NetworkPkg/HttpBootDxe)."""

from netbootd.boot.answer import Wait
from netbootd.boot.client import Client
from netbootd.boot.firmware.family import Booting, Family

HTTP_CLIENT = "HTTPClient"


def _recognises(client: Client) -> bool:
    return client.vendor_class.startswith(HTTP_CLIENT)


def _announce(_booting: Booting) -> Wait:
    return Wait(firmware="http", reason="UEFI HTTP Boot isn't booted by this version of netbootd yet")


FAMILY = Family("http", _recognises, _announce)
