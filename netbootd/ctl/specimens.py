"""What each firmware sends in its DISCOVER, as it was seen on the wire or stands in its source. Pure.

`explain` puts these to the production functions in place of a real machine. Only what a server can tell
firmwares apart by is here: options 55, 57, 60, 77, 93, 97, 175 and the broadcast flag.
"""

from dataclasses import dataclass, field
from ipaddress import IPv4Address
from types import MappingProxyType

from netbootd.dhcp.options import MessageType, Option
from netbootd.dhcp.wire import BOOTREQUEST, BROADCAST_FLAG, Message
from netbootd.errors import UserError
from netbootd.node import Mac

_PXE_ASKS = bytes((1, 3, 43, 54, 60, 66, 67, 128, 129, 130, 131, 132, 133, 134, 135))
_EDK2_ASKS = bytes((1, 2, 3, 4, 5, 6, 12, 13, 15, 17, 18, 22, 23, 28, 40, 41, 42, 43, 50, 51, 54, 58, 59,
                    60, 66, 67, 97, 128, 129, 130, 131, 132, 133, 134, 135))  # fmt: skip
_IPXE_ASKS = bytes((1, 3, 6, 7, 12, 15, 17, 26, 42, 43, 60, 66, 67, 119, 121, 128, 129, 130, 131, 132, 133,
                    134, 135, 175, 203))  # fmt: skip
_IPXE_FEATURES = bytes(
    (177, 5, 1, 0x1A, 0xF4, 0x10, 0, 235, 3, 1, 0, 0, 23, 1, 1, 21, 1, 1, 19, 1, 1, 17, 1, 1)
)
_LINUX_ASKS = bytes((1, 3, 6, 12, 15, 26, 28, 42, 51, 54, 58, 59))
_RASPBERRY_ASKS = bytes((1, 3, 43, 60, 66, 67, 128, 129, 130, 131, 132, 133, 134, 135))
_UBOOT_ASKS = bytes((1, 3, 6, 12, 17))


@dataclass(frozen=True, slots=True)
class Specimen:
    """One kind of client. `what` is for people; `uuid` makes option 97 of the MAC where it has one."""

    what: str
    options: dict[int, bytes] = field(default_factory=dict)
    broadcast: bool = False
    uuid: str = ""

    def discover(self, mac: Mac) -> Message:
        """Its DISCOVER, sent from the network card `mac`."""
        options = {Option.MESSAGE_TYPE: bytes([MessageType.DISCOVER]), **self.options}
        if self.uuid == "zero":
            options[Option.CLIENT_UUID] = bytes(17)
        elif self.uuid == "pi4":  # type, fourcc, board revision d03114, four octets of the MAC, the serial
            options[Option.CLIENT_UUID] = (
                b"\0" + b"4iPR" + bytes.fromhex("1431d000") + mac.octets[2:] + bytes(4)
            )
        elif self.uuid == "pi3":  # the boot ROM of the 3B: constant
            options[Option.CLIENT_UUID] = b"\0" + b"D" * 16
        return Message(
            op=BOOTREQUEST,
            xid=0x6E657462,
            chaddr=mac,
            flags=BROADCAST_FLAG if self.broadcast else 0,
            ciaddr=IPv4Address(0),
            options=MappingProxyType({int(code): value for code, value in options.items()}),
        )


def _pxe(architecture: int, undi: str = "003000", asks: bytes = _EDK2_ASKS) -> dict[int, bytes]:
    return _options(f"PXEClient:Arch:{architecture:05}:UNDI:{undi}", architecture, asks, 1472)


def _options(vendor_class: str, architecture: int, asks: bytes, size: int) -> dict[int, bytes]:
    return {
        Option.VENDOR_CLASS: vendor_class.encode(),
        Option.CLIENT_ARCHITECTURE: architecture.to_bytes(2, "big"),
        Option.MAXIMUM_SIZE: size.to_bytes(2, "big"),
        Option.PARAMETER_REQUEST_LIST: asks,
    }


def _http(architecture: int) -> dict[int, bytes]:
    return _options(f"HTTPClient:Arch:{architecture:05}:UNDI:003000", architecture, _EDK2_ASKS, 1472)


def _ipxe(architecture: int, undi: str) -> dict[int, bytes]:
    return _pxe(architecture, undi, _IPXE_ASKS) | {Option.USER_CLASS: b"iPXE", Option.IPXE: _IPXE_FEATURES}


def _raspberry() -> dict[int, bytes]:
    options = _pxe(0, "002001", _RASPBERRY_ASKS)
    del options[Option.MAXIMUM_SIZE]
    return options


SPECIMENS: dict[str, Specimen] = {
    "bios": Specimen("a PC's BIOS with a PXE ROM", _pxe(0, "002001", _PXE_ASKS), uuid="zero"),
    "uefi": Specimen("UEFI on a PC (x86-64)", _pxe(7), broadcast=True, uuid="zero"),
    "uefi-arm64": Specimen("UEFI on 64-bit ARM", _pxe(11), broadcast=True, uuid="zero"),
    "http": Specimen("UEFI HTTP Boot on a PC", _http(16), broadcast=True, uuid="zero"),
    "http-arm64": Specimen("UEFI HTTP Boot on 64-bit ARM", _http(19), broadcast=True, uuid="zero"),
    "ipxe": Specimen("iPXE, in a card's ROM or loaded before (BIOS)", _ipxe(0, "002001"), uuid="zero"),
    "ipxe-uefi": Specimen("iPXE, loaded by UEFI on a PC", _ipxe(7, "003010"), uuid="zero"),
    "pi3": Specimen("a Raspberry Pi 3's boot ROM", _raspberry(), uuid="pi3"),
    "pi4": Specimen("a Raspberry Pi 4 or 5's boot loader", _raspberry(), uuid="pi4"),
    "uboot": Specimen("U-Boot on 64-bit ARM", _options("U-Boot.armv8", 22, _UBOOT_ASKS, 576)),
    "uboot-arm32": Specimen("U-Boot on 32-bit ARM", _options("U-Boot.armv7", 21, _UBOOT_ASKS, 576)),
    "grub": Specimen("GRUB's own net_bootp"),
    "os": Specimen("an operating system", {Option.PARAMETER_REQUEST_LIST: _LINUX_ASKS}),
}
_ALSO = {"raspberrypi": "pi4", "pi5": "pi4", "pi": "pi4", "uboot-arm64": "uboot", "linux": "os"}

IPXE_AFTER = {"uefi": "ipxe-uefi"}
"""Which iPXE asks next when this firmware was given one; after all others it is `ipxe`."""


def specimen(firmware: str) -> tuple[str, Specimen]:
    """The kind of client called `firmware`, and its first name. Raises UserError."""
    name = _ALSO.get(firmware.lower(), firmware.lower())
    if name not in SPECIMENS:
        raise UserError(f"{firmware[:40]!r} is no firmware known here", f"one of {', '.join(SPECIMENS)}")
    return name, SPECIMENS[name]
