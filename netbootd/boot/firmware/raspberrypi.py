"""A Raspberry Pi's own boot loader.

It says that it is a PC's BIOS (option 60 `PXEClient:Arch:00000`, 93 = 0; rpi-eeprom issue 182) and would be
handed a PC's loader: what it is, option 97 tells.
"""

from netbootd.boot.answer import Wait
from netbootd.boot.client import Client
from netbootd.boot.firmware.family import Booting, Family

ROM_UUID = bytes(1) + b"D" * 16
"""Option 97 of the Pi 3's boot ROM, the same on each board."""
FOURCCS = (b"RPi4", b"4iPR", b"RPi5", b"5iPR")
"""What option 97 begins with, after its type, on a Pi 4 and 5; both byte orders are in the field."""


def _recognises(client: Client) -> bool:
    uuid = client.uuid
    four_times_serial = uuid[1:5] * 4 == uuid[1:] and any(uuid[1:])
    return client.architecture == 0 and (
        uuid == ROM_UUID or uuid[1:5] in FOURCCS or (bool(uuid) and four_times_serial)
    )


def _announce(_booting: Booting) -> Wait:
    return Wait(firmware="raspberrypi", reason="a Raspberry Pi isn't booted by this version of netbootd yet")


FAMILY = Family("raspberrypi", _recognises, _announce)
