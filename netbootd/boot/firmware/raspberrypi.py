"""A Raspberry Pi's own boot loader: the ROM of a Pi 3, bootcode.bin, the EEPROM of a Pi 4 or 5.

It says that it is a PC's BIOS (60 `PXEClient:Arch:00000`, 93 = 0; rpi-eeprom issue 182): what it is, option
97 tells, in one of three forms after the type octet 0.

    44 44 … (16 times)                          the ROM of a Pi 3B, the same on each board
    serial, four times                          bootcode.bin, a Pi 4 before March 2020, DHCP_OPTION97=0
    fourcc, board revision, MAC[2..5], serial   EEPROM: "RPi4", "RPi5" or backwards (both are in the field)

Numbers are little-endian. DHCP_OPTION97 can hold any fourcc: then the octets of the MAC tell, where option 57
is missing, which PXE 2.1 demands. The first two forms could be a PC's careless UUID: they count only where,
besides, 55 asks for nothing but what a Pi asks for. A Pi with UEFI from its card says 93 = 11 and is UEFI's.

It takes an offer by the text in option 43, and fetches files of its own choice: `SERIAL/config.txt`,
`MAC/config.txt` or whatever prefix its EEPROM has (TFTP_PREFIX), and without one where it found no start file
under it. See raspberrypi_files.py for these.

Boot by HTTP (BOOT_ORDER 7) isn't served: it takes one FAT image, boot.img, with a boot.sig by a key that its
owner has put into each board's EEPROM beside HTTP_HOST (eeprom-bootloader.adoc); TFTP takes nothing of that.
"""

import re
from enum import Enum

from netbootd.boot.answer import NetBoot, Wait
from netbootd.boot.client import OPTION_VENDOR_CLASS, Client
from netbootd.boot.firmware import raspberrypi_files
from netbootd.boot.firmware.family import PXE_CLIENT, Booting, Family

BIOS = 0
OWN_ARCHITECTURE = 41
"""IANA's number for a Raspberry Pi's boot loader; sent over IPv6 only, so far."""
ARCHITECTURES = ("aarch64", "armv7l", "armv6l")
FOURCC = re.compile(rb"RPi[0-9A-Za-z]|[0-9A-Za-z]iPR")
ASKS = frozenset({1, 3, 6, 43, 60, 66, 67, *range(128, 136)})
"""What 55 may have; 6 wasn't seen, but who boots by HTTP too needs a name server. A PC's has 54 as well."""
OPTION_MAXIMUM_SIZE = 57
OPTION_TFTP_SERVER_NAME = 66
_ROM = b"D" * 16
_BCM2712 = 4
"""The processor of a Pi 5, in bits 12 to 15 of a board revision: it has start.elf built in."""

MENU = bytes.fromhex("060103 0a0400505845 0917000014") + b"Raspberry Pi Boot   \xff"
"""Option 43: discovery control 3, prompt `PXE`, a menu of the one line by which a Pi takes the offer.

The three spaces are for the ROM of the Pi 3B, which compares more than the text (boot-net.adoc, known
problems); later ones tolerate them. The Pi 4's loader prints three octets more than the text: the end
octet and the padding of the message keep that harmless.
"""


class _Form(Enum):
    ROM = "constant"
    SERIAL = "serial four times"
    FIELDS = "fields"


def _form(client: Client) -> _Form | None:
    """Which form option 97 has; None where it isn't a Pi's."""
    kind, value = client.uuid[:1], client.uuid[1:]
    if kind != b"\0":
        return None
    if FOURCC.fullmatch(value[:4]):
        return _Form.FIELDS
    if OPTION_MAXIMUM_SIZE in client.sent:
        return None
    if value[8:12] == client.mac.octets[2:]:
        return _Form.FIELDS
    # Octets all alike are what a mainboard's maker left there (00, ff, 11), but for the ROM's own.
    alike = len(set(value)) == 1 and value != _ROM
    if value != value[:4] * 4 or alike or not ASKS.issuperset(client.parameter_request_list):
        return None
    return _Form.ROM if value == _ROM else _Form.SERIAL


def _recognises(client: Client) -> bool:
    if client.architecture == OWN_ARCHITECTURE:
        return True
    # The loader of January 2020 leaves 60 out of its REQUEST (rpi-eeprom issues 82, 87).
    says_bios = not client.vendor_class or client.vendor_class.startswith(f"{PXE_CLIENT}:Arch:00000")
    return client.architecture in (None, BIOS) and says_bios and _form(client) is not None


def _serial(client: Client) -> str | None:
    """The low 32 bits, all that a board tells, as they stand in its paths: 91cdf03d."""
    match _form(client):
        case _Form.FIELDS:
            octets = client.uuid[13:17]
        case _Form.SERIAL:
            octets = client.uuid[1:5]
        case _:
            return None
    return raspberrypi_files.serial_in_use(f"{int.from_bytes(octets, 'little'):08x}")


def _starts_by_itself(client: Client) -> bool:
    """A Pi 5, or later: by the board revision, else by the fourcc."""
    if _form(client) is not _Form.FIELDS:
        return False
    revision = int.from_bytes(client.uuid[5:9], "little")
    if revision >> 23 & 1:
        return revision >> 12 & 0xF >= _BCM2712
    return bool(set(b"56789") & set(client.uuid[1:5]))


def _announce(booting: Booting) -> NetBoot | Wait:
    image = booting.generation
    if image.architecture not in ARCHITECTURES:
        return Wait(
            firmware="raspberrypi",
            reason=f"image {image.image} is for {image.architecture}, and a Raspberry Pi asks;"
            f" `netbootctl node set {booting.node.name} --image IMAGE` gives it another",
        )
    start = image.firmware or booting.has_loader("start4.elf")
    if not start and not _starts_by_itself(booting.client):
        return Wait(firmware="raspberrypi", reason=raspberrypi_files.no_start_file(image))
    return NetBoot(
        firmware="raspberrypi",
        server=booting.network.server,
        bootfile="",
        reason="a Raspberry Pi knows its files by name",
        # 66 beside 43 was seen to fail, 67 isn't looked at (rpi-eeprom issue 69).
        options={OPTION_VENDOR_CLASS: PXE_CLIENT.encode(), 43: MENU, OPTION_TFTP_SERVER_NAME: b""},
    )


FAMILY = Family(
    "raspberrypi",
    _recognises,
    _announce,
    raspberrypi_files.locate,
    serial=_serial,
    serial_in=raspberrypi_files.serial_in,
)
