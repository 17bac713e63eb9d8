"""Firmware that is recognised and not booted yet: it gets its address, and its owner the reason.

Before the families that would take it for one of theirs: a Raspberry Pi says that it is a PC's BIOS (option
60 `PXEClient:Arch:00000`, 93 = 0; rpi-eeprom issue 182) and would be handed a PC's loader.
"""

from collections.abc import Callable

from netbootd.boot.answer import Wait
from netbootd.boot.client import Client
from netbootd.boot.firmware.family import Family
from netbootd.network import Network

PI_ROM_UUID = bytes(1) + b"D" * 16
"""Option 97 of the Pi 3's boot ROM, the same on each board."""
PI_FOURCCS = (b"RPi4", b"4iPR", b"RPi5", b"5iPR")
"""What option 97 begins with, after its type, on a Pi 4 and 5; both byte orders are in the field."""


def _is_raspberry_pi(client: Client) -> bool:
    uuid = client.uuid
    four_times_serial = uuid[1:5] * 4 == uuid[1:] and any(uuid[1:])
    return client.architecture == 0 and (
        uuid == PI_ROM_UUID or uuid[1:5] in PI_FOURCCS or (bool(uuid) and four_times_serial)
    )


def _is_uboot(client: Client) -> bool:
    return client.vendor_class.startswith("U-Boot")


def _is_http_boot(client: Client) -> bool:
    return client.vendor_class.startswith("HTTPClient")


def _not_yet(name: str, what: str, recognises: Callable[[Client], bool]) -> Family:
    def announce(_client: Client, _network: Network) -> Wait:
        return Wait(firmware=name, reason=f"{what} isn't booted by this version of netbootd yet")

    return Family(name, recognises, announce)


RASPBERRY_PI = _not_yet("raspberrypi", "a Raspberry Pi", _is_raspberry_pi)
UBOOT = _not_yet("uboot", "U-Boot", _is_uboot)
HTTP = _not_yet("http", "UEFI HTTP Boot", _is_http_boot)
