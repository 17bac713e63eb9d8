"""The octets of each firmware's DISCOVER and REQUEST: the one place that has them. Pure.

Fields in the order in which the firmware writes them. What isn't known of one is said beside it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address

from netbootd.node import Mac
from netbootd.simulate.dhcp import payload
from netbootd.simulate.play import ANY

Options = list[tuple[int, bytes]]
DISCOVER, REQUEST = b"\x01", b"\x03"

PI3_XID = 0x26F30339
"""The same on every board and at every try (raspberrypi/firmware #801 and others)."""
PI3_UUID = b"\0" + b"D" * 16
NO_SERIAL = 0x44444444
"""What the ROM of a Pi 3B says: the number of no board."""
PI_CLASS = b"PXEClient:Arch:00000:UNDI:002001"

_PI_ROM_ASKS = bytes((43, 60, 67, 128, 129, 130, 131, 132, 133, 134, 135, 66))
_PI4_ASKS = bytes((1, 3, 43, 60, 66, 67, 128, 129, 130, 131, 132, 133, 134, 135))
_UBOOT_ASKS = bytes((1, 3, 6, 12, 17, 209))
_EDK2_ASKS = bytes((1, 2, 3, 4, 5, 6, 12, 13, 15, 17, 18, 22, 23, 28, 40, 41, 42, 43, 50, 51, 54, 58, 59,
                    60, 66, 67, 97, 128, 129, 130, 131, 132, 133, 134, 135))  # fmt: skip
_HTTP_ASKS = bytes((1, 2, 3, 4, 5, 6, 12, 13, 15, 17, 18, 22, 23, 28, 40, 41, 42, 43, 50, 51, 54, 58, 59, 60,
                    235, 67, 97))  # fmt: skip
"""As OVMF of Debian 12 sends it: what stands in the place of 66 isn't set (0 in newer versions)."""
_IPXE_ASKS = bytes((1, 3, 6, 7, 12, 15, 17, 26, 43, 60, 66, 67, 119, 128, 129, 130, 131, 132, 133, 134, 135,
                    175, 203))  # fmt: skip
_IPXE_FEATURES = bytes.fromhex("b105011af41000eb03010000") + bytes.fromhex(
    "170101220101130101110101270101190101290101100102210101150101180101120101"
)
_ROM_ASKS = bytes((1, 2, 3, 5, 6, 11, 12, 13, 15, 16, 17, 18, 43, 54, 60, 67, 128, 129, 130, 131, 132, 133,
                   134, 135))  # fmt: skip
_LINUX_ASKS = bytes((1, 3, 6, 12, 15, 17, 26, 40))
_SYSTEM_ASKS = bytes((1, 3, 6, 12, 15, 26, 28, 42, 51, 54, 58, 59))


def raspberry_rom(mac: Mac, uuid: bytes = PI3_UUID) -> bytes:
    """The Pi 3's boot ROM (raspberrypi/documentation, boot-net.adoc; its captures): 320 octets."""
    options = [(53, DISCOVER), (55, _PI_ROM_ASKS), *_raspberry(uuid)]
    return payload(mac, PI3_XID, options)


def raspberry_bootcode(mac: Mac, serial: int) -> bytes:
    """bootcode.bin's, the second DHCP of a Pi 3: 322 octets; 97 is the serial four times."""
    uuid = b"\0" + (serial & 0xFFFFFFFF).to_bytes(4, "little") * 4
    options = [(53, DISCOVER), (55, _PI_ROM_ASKS + b"\1\3"), *_raspberry(uuid)]
    return payload(mac, PI3_XID, options)


def pi4_uuid(mac: Mac, serial: int, fourcc: bytes, revision: int) -> bytes:
    """Option 97 of the Pi 4 and 5: type, fourcc, board revision, four octets of the MAC, the serial."""
    return (
        b"\0"
        + fourcc
        + revision.to_bytes(4, "little")
        + mac.octets[2:]
        + (serial & 0xFFFFFFFF).to_bytes(4, "little")
    )


def raspberry_eeprom(mac: Mac, xid: int, uuid: bytes, offer: Options | None = None) -> bytes:
    """The Pi 4's and 5's boot loader: 322 octets. Their order isn't recorded; the Pi 3's is taken.

    `offer` are the options that a REQUEST has besides: 53, 54, 50.
    """
    return payload(mac, xid, [*(offer or [(53, DISCOVER)]), (55, _PI4_ASKS), *_raspberry(uuid)])


def uboot(
    mac: Mac, xid: int, vendor_class: str, arch: int, offer: Options | None = None, file: str = ""
) -> bytes:
    """Classic U-Boot (net/bootp.c, dhcp_extended). `file`: what the environment's bootfile names."""
    head = offer or [(53, DISCOVER)]
    options = [head[0], (57, b"\2\x40"), *head[1:], (93, arch.to_bytes(2, "big")), (94, b"\1\0\0")]
    options += [(60, vendor_class.encode()), (55, _UBOOT_ASKS)]
    return payload(mac, xid, options, file=file.encode(), least=300)


def uboot_2015(mac: Mac, xid: int, offer: Options | None = None) -> bytes:
    """The Parallella's U-Boot of 2015.04: neither 60 nor 93 nor 97; 55 as zynq-common.h has it."""
    head = offer or [(53, DISCOVER)]
    options = [head[0], (57, b"\2\x40"), *head[1:], (55, b"\3\x0c\x11")]
    return payload(mac, xid, options, least=300)


def uboot_lwip(mac: Mac, xid: int, offer: Options | None = None) -> bytes:
    """U-Boot on lwIP (net/lwip, lwIP's dhcp.c): no 60, 93, 97; 57 is the MTU."""
    head = offer or [(53, DISCOVER)]
    asked = [(50, value) for code, value in head if code == 50] + [(54, v) for c, v in head if c == 54]
    return payload(mac, xid, [head[0], (57, b"\x05\xdc"), *asked, (55, b"\1\3\x1c")], least=308)


def edk2(mac: Mac, xid: int, arch: int, uuid: bytes, offer: Options | None = None) -> bytes:
    """UEFI PXE (PxeBcDhcp4.c). In a REQUEST 57 is 0xff00: its builder writes the octets of another field."""
    size = b"\xff\0" if offer else b"\x05\xc0"
    return _edk2(mac, xid, f"PXEClient:Arch:{arch:05}:UNDI:003000", arch, uuid, _EDK2_ASKS, size, offer)


def edk2_http(mac: Mac, xid: int, arch: int, uuid: bytes, offer: Options | None = None) -> bytes:
    """UEFI HTTP Boot (HttpBootDhcp4.c)."""
    vendor_class = f"HTTPClient:Arch:{arch:05}:UNDI:003000"
    return _edk2(mac, xid, vendor_class, arch, uuid, _HTTP_ASKS, b"\x05\xc0", offer)


def ipxe(
    mac: Mac, xid: int, arch: int, undi: str, uuid: bytes, offer: Options | None = None, secs: int = 4
) -> bytes:
    """iPXE (net/udp/dhcp.c), as the ROM that QEMU's e1000 has; 53 first, 54 and 50 last."""
    head = offer or [(53, DISCOVER)]
    options: Options = [head[0], (57, b"\x05\xc0"), (93, arch.to_bytes(2, "big")), (94, b"\1\2\1")]
    options += [(60, f"PXEClient:Arch:{arch:05}:UNDI:{undi}".encode()), (77, b"iPXE")]
    options += [(55, _IPXE_ASKS), (175, _IPXE_FEATURES), (61, b"\1" + mac.octets), (97, b"\0" + uuid)]
    return payload(mac, xid, [*options, *head[1:]], secs=secs)


def pxe_rom(
    mac: Mac, xid: int, uuid: bytes, offer: Options | None = None, ciaddr: IPv4Address = ANY
) -> bytes:
    """A PC's PXE ROM (RFC 4578, PXE 2.1). No capture of one is at hand: the order is PXE 2.1's table's."""
    head = offer or [(53, DISCOVER)]
    options: Options = [*head, (57, b"\x05\xc0"), (55, _ROM_ASKS), (97, b"\0" + uuid), (93, b"\0\0")]
    options += [(94, b"\1\2\1"), (60, PI_CLASS)]
    return payload(mac, xid, options, flags=0x8000, least=300, ciaddr=ciaddr)


def grub(mac: Mac, xid: int, offer: Options | None = None) -> bytes:
    """GRUB's net_bootp (net/bootp.c): a DISCOVER with 53 alone."""
    asks: Options = [(55, bytes((1, 3, 6, 15, 12, 17, 18)))] if offer else []
    return payload(mac, xid, [*(offer or [(53, DISCOVER)]), *asks], least=300)


def linux(mac: Mac, xid: int, offer: Options | None = None) -> bytes:
    """The kernel's ip=dhcp (net/ipv4/ipconfig.c): options in an area of 312 octets."""
    head = offer or [(53, DISCOVER)]
    return payload(mac, xid, [*head, (55, _LINUX_ASKS)], least=548)


def system(mac: Mac, xid: int) -> bytes:
    """An operating system's DHCP client, in what most of them have in common."""
    return payload(mac, xid, [(53, DISCOVER), (55, _SYSTEM_ASKS)], least=300)


@dataclass(frozen=True, slots=True)
class Discover:
    """A kind of client, by its DISCOVER: `octets` writes the one of the card `mac`."""

    what: str
    octets: Callable[[Mac], bytes]


_XID = 0x6E657462
_NO_UUID = bytes(16)


def _pi4(fourcc: bytes, revision: int) -> Callable[[Mac], bytes]:
    return lambda mac: raspberry_eeprom(mac, _XID, pi4_uuid(mac, NO_SERIAL, fourcc, revision))


DISCOVERS: dict[str, Discover] = {
    "bios": Discover("a PC's BIOS with a PXE ROM", lambda m: pxe_rom(m, _XID, _NO_UUID)),
    "uefi": Discover("UEFI on a PC (x86-64)", lambda m: edk2(m, _XID, 7, _NO_UUID)),
    "uefi-ia32": Discover("UEFI on a 32-bit PC", lambda m: edk2(m, _XID, 6, _NO_UUID)),
    "uefi-arm64": Discover("UEFI on 64-bit ARM", lambda m: edk2(m, _XID, 11, _NO_UUID)),
    "uefi-riscv64": Discover("UEFI on 64-bit RISC-V", lambda m: edk2(m, _XID, 27, _NO_UUID)),
    "http": Discover("UEFI HTTP Boot on a PC", lambda m: edk2_http(m, _XID, 16, _NO_UUID)),
    "http-arm64": Discover("UEFI HTTP Boot on 64-bit ARM", lambda m: edk2_http(m, _XID, 19, _NO_UUID)),
    "ipxe": Discover(
        "iPXE, in a card's ROM or loaded before (BIOS)", lambda m: ipxe(m, _XID, 0, "002001", _NO_UUID)
    ),
    "ipxe-uefi": Discover("iPXE, loaded by UEFI on a PC", lambda m: ipxe(m, _XID, 7, "003010", _NO_UUID)),
    "ipxe-arm64": Discover(
        "iPXE, loaded by UEFI on 64-bit ARM", lambda m: ipxe(m, _XID, 11, "003010", _NO_UUID)
    ),
    "pi3": Discover("a Raspberry Pi 3's boot ROM", raspberry_rom),
    "pi3-bootcode": Discover(
        "a Raspberry Pi 3's bootcode.bin",
        lambda m: raspberry_bootcode(m, 0x55000000 | int.from_bytes(m.octets[3:], "big")),
    ),
    "pi4": Discover("a Raspberry Pi 4's boot loader", _pi4(b"4iPR", 0xD03114)),
    "pi4-swapped": Discover("a Raspberry Pi 4's, the fourcc the other way", _pi4(b"RPi4", 0xD03114)),
    "pi5": Discover("a Raspberry Pi 5's boot loader", _pi4(b"RPi5", 0xD04170)),
    "pi5-swapped": Discover("a Raspberry Pi 5's, the fourcc the other way", _pi4(b"5iPR", 0xD04170)),
    "uboot": Discover("U-Boot on 64-bit ARM", lambda m: uboot(m, _XID, "U-Boot.armv8", 22)),
    "uboot-arm32": Discover("U-Boot on 32-bit ARM", lambda m: uboot(m, _XID, "U-Boot.armv7", 21)),
    "uboot-lwip": Discover("U-Boot on lwIP", lambda m: uboot_lwip(m, _XID)),
    "parallella": Discover("a Parallella's U-Boot of 2015", lambda m: uboot_2015(m, _XID)),
    "grub": Discover("GRUB's own net_bootp", lambda m: grub(m, _XID)),
    "linux": Discover("the Linux kernel's ip=dhcp", lambda m: linux(m, _XID)),
    "os": Discover("an operating system", lambda m: system(m, _XID)),
}
"""By the names that `explain` takes for a firmware; serials and ids are made up."""

# Details


def _raspberry(uuid: bytes) -> Options:
    return [(93, b"\0\0"), (94, b"\1\2\1"), (97, uuid), (60, PI_CLASS)]


def _edk2(  # noqa: PLR0913, PLR0917 (what PXE and HTTP Boot write differently)
    mac: Mac,
    xid: int,
    vendor_class: str,
    arch: int,
    uuid: bytes,
    asks: bytes,
    size: bytes,
    offer: Options | None,
) -> bytes:
    options: Options = [*(offer or [(53, DISCOVER)]), (57, size), (55, asks), (97, b"\0" + uuid)]
    options += [(94, b"\1\3\0"), (93, arch.to_bytes(2, "big")), (60, vendor_class.encode())]
    return payload(mac, xid, options, flags=0x8000)
