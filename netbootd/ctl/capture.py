"""What clients ask in a capture file: DHCP (ports 67 and 4011), TFTP (69) and HTTP, packet by packet.

Files are pcap or pcapng, as tcpdump, tshark and Wireshark write them; of Ethernet or of `tcpdump -i any`
(Linux cooked). A packet that was cut off, or that is none, is passed over; it never ends the reading.
"""

import re
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from netbootd.dhcp.wire import BOOTREQUEST, Message, WireError, decode_any
from netbootd.errors import UserError
from netbootd.node import Mac
from netbootd.tftp import wire as tftp
from netbootd.tftp.wire import ReadRequest

LARGEST = 256 << 20
DHCP_PORT, PXE_PORT, TFTP_PORT = 67, 4011, 69
_BYTE_ORDERS = {
    b"\xd4\xc3\xb2\xa1": ("<", 1e-6),
    b"\xa1\xb2\xc3\xd4": (">", 1e-6),
    b"\x4d\x3c\xb2\xa1": ("<", 1e-9),
    b"\xa1\xb2\x3c\x4d": (">", 1e-9),
}
_SECTION, _INTERFACE, _PACKET, _SIMPLE_PACKET = 0x0A0D0D0A, 1, 6, 3
_NG_ORDERS = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
_OPTION_RESOLUTION = 9
_ETHERNET, _COOKED, _COOKED_2 = 1, 113, 276
"""Link types: DLT_EN10MB, DLT_LINUX_SLL, DLT_LINUX_SLL2."""
_IPV4, _VLANS = 0x0800, (0x8100, 0x88A8)
_TCP, _UDP = 6, 17
_HTTP_REQUEST = re.compile(rb"(GET|HEAD) (\S{1,2000}) HTTP/1\.[01]\r\n")


@dataclass(frozen=True, slots=True)
class Fetch:
    """A request for a file. `mac` and `peer` are the client's; `door` is TFTP or HTTP."""

    mac: Mac | None
    peer: IPv4Address
    door: str
    path: str


Asked = Message | WireError | Fetch
"""What one packet asks: DHCP, nothing that can be read as DHCP, or a file."""


def requests(path: Path) -> Iterator[tuple[float, int, Asked]]:
    """Seconds since the first packet, the port asked, and the request. Raises UserError for the file."""
    try:
        if path.stat().st_size > LARGEST:
            raise UserError(f"{path} is larger than {LARGEST >> 20} MiB", "cut it down with `editcap`")
        octets = path.read_bytes()
    except OSError as error:
        raise UserError(f"can't read {path}: {error.strerror}") from None
    began: float | None = None
    for time, link, frame in _packets(path, octets):
        began = time if began is None else began
        packet = _ipv4(link, frame)
        if packet is not None and (asked := _asked(*packet)) is not None:
            yield time - began, *asked


# What a packet asks


def _asked(mac: Mac | None, packet: bytes) -> tuple[int, Asked] | None:
    header = (packet[0] & 0x0F) * 4
    if int.from_bytes(packet[6:8], "big") & 0x3FFF:  # a fragment: nothing a boot needs is that long
        return None
    # A card that cuts up TCP by itself leaves the length zero in what is captured before it.
    peer, segment = IPv4Address(packet[12:16]), packet[header : int.from_bytes(packet[2:4], "big") or None]
    if packet[9] == _TCP and len(segment) >= 20:
        port = int.from_bytes(segment[2:4], "big")
        match = _HTTP_REQUEST.match(segment[(segment[12] >> 4) * 4 :])
        return (port, Fetch(mac, peer, "HTTP", match[2].decode("latin-1"))) if match else None
    if packet[9] == _UDP and len(segment) >= 8:
        port, length = struct.unpack("!HH", segment[2:6])
        asked = _datagram(mac, peer, port, segment[8:length])
        return (port, asked) if asked is not None else None
    return None


def _datagram(mac: Mac | None, peer: IPv4Address, port: int, payload: bytes) -> Asked | None:
    if port in (DHCP_PORT, PXE_PORT):
        try:
            message = decode_any(payload)
        except WireError as error:
            return error
        return message if message.op == BOOTREQUEST else None
    if port == TFTP_PORT:
        with suppress(tftp.WireError):
            request = tftp.decode_request(payload)
            return Fetch(mac, peer, "TFTP", request.path) if isinstance(request, ReadRequest) else None
    return None


def _ipv4(link: int, frame: bytes) -> tuple[Mac | None, bytes] | None:
    """The sender's card and the IPv4 packet of a frame; None for anything else."""
    if link == _ETHERNET:
        at, sender = 12, frame[6:12]
        while int.from_bytes(frame[at : at + 2], "big") in _VLANS:
            at += 4
        kind, packet = int.from_bytes(frame[at : at + 2], "big"), frame[at + 2 :]
    elif link == _COOKED:
        kind, sender, packet = int.from_bytes(frame[14:16], "big"), frame[6:12], frame[16:]
    else:
        kind, sender, packet = int.from_bytes(frame[:2], "big"), frame[12:18], frame[20:]
    if kind != _IPV4 or len(packet) < 20 or packet[0] >> 4 != 4:
        return None
    try:
        return Mac.from_octets(sender), packet
    except UserError:
        return None, packet


# The files' records: (seconds, link type, frame). One that was cut off ends them


def _packets(path: Path, octets: bytes) -> Iterator[tuple[float, int, bytes]]:
    if octets[:4] == _SECTION.to_bytes(4, "big"):
        return _ng_packets(path, octets)
    order, unit = _BYTE_ORDERS.get(octets[:4], ("", 0.0))
    if not order or len(octets) < 24:
        raise UserError(f"{path} isn't a pcap file", f"`tcpdump -w {path.name}` writes one")
    link = _known(path, struct.unpack_from(f"{order}I", octets, 20)[0] & 0xFFFF)
    return _classic_packets(octets, order, unit, link)


def _classic_packets(octets: bytes, order: str, unit: float, link: int) -> Iterator[tuple[float, int, bytes]]:
    at = 24
    while at + 16 <= len(octets):
        seconds, fraction, length = struct.unpack_from(f"{order}III", octets, at)
        yield seconds + fraction * unit, link, octets[at + 16 : at + 16 + length]
        at += 16 + length


def _ng_packets(path: Path, octets: bytes) -> Iterator[tuple[float, int, bytes]]:
    """pcapng (draft-ietf-opsawg-pcapng): sections, interfaces with a link type and resolution, packets."""
    at, order = 0, "<"
    interfaces: list[tuple[int, float]] = []
    while at + 12 <= len(octets):
        if octets[at : at + 4] == _SECTION.to_bytes(4, "big"):
            order, interfaces = _NG_ORDERS.get(octets[at + 8 : at + 12], order), []
        kind, length = struct.unpack_from(f"{order}II", octets, at)
        block = octets[at + 8 : at + length - 4]
        if length < 12 or at + length > len(octets):
            return
        at += length
        if kind == _INTERFACE and len(block) >= 8:
            link = _known(path, int(struct.unpack_from(f"{order}H", block)[0]))
            interfaces.append((link, _resolution(block[8:], order)))
        elif kind == _PACKET and len(block) >= 20:
            number, high, low, captured = struct.unpack_from(f"{order}IIII", block)
            if number < len(interfaces):
                link, unit = interfaces[number]
                yield (high << 32 | low) * unit, link, block[20 : 20 + captured]
        elif kind == _SIMPLE_PACKET and interfaces:
            yield 0.0, interfaces[0][0], block[4:]


def _resolution(options: bytes, order: str) -> float:
    """What one unit of a time stamp is, in seconds: if_tsresol, microseconds where it isn't given."""
    at = 0
    while at + 4 <= len(options):
        code, length = struct.unpack_from(f"{order}HH", options, at)
        if code == _OPTION_RESOLUTION and length == 1 and at + 4 < len(options):
            power = options[at + 4]
            return float(2.0 ** -(power & 0x7F) if power & 0x80 else 10.0**-power)
        at += 4 + length + -length % 4
    return 1e-6


def _known(path: Path, link: int) -> int:
    if link in (_ETHERNET, _COOKED, _COOKED_2):
        return link
    raise UserError(f"{path} is of link type {link}, not Ethernet", "capture on the interface itself")
