"""DHCP requests out of a capture file: pcap as `tcpdump -w` writes it, Ethernet, IPv4, UDP to port 67."""

import struct
from collections.abc import Iterator
from pathlib import Path

from netbootd.dhcp.wire import BOOTREQUEST, Message, WireError, decode_any
from netbootd.errors import UserError

LARGEST = 256 << 20
_MAGIC = {
    b"\xd4\xc3\xb2\xa1": ("<", 1e-6),
    b"\xa1\xb2\xc3\xd4": (">", 1e-6),
    b"\x4d\x3c\xb2\xa1": ("<", 1e-9),
    b"\xa1\xb2\x3c\x4d": (">", 1e-9),
}
_LINKTYPE_ETHERNET = 1
_ETHERTYPE_IPV4, _ETHERTYPE_VLAN = 0x0800, 0x8100
_UDP = 17
_SERVER_PORT = 67


def requests(path: Path) -> Iterator[tuple[float, Message | WireError]]:
    """Seconds since the first packet, and the request, or why it is none. Raises UserError for the file."""
    try:
        if path.stat().st_size > LARGEST:
            raise UserError(f"{path} is larger than {LARGEST >> 20} MiB", "cut it down with `editcap`")
        octets = path.read_bytes()
    except OSError as error:
        raise UserError(f"can't read {path}: {error.strerror}") from None
    began: float | None = None
    for time, frame in _packets(path, octets):
        began = time if began is None else began
        payload = _to_server(frame)
        if payload is None:
            continue
        try:
            message = decode_any(payload)
        except WireError as error:
            yield time - began, error
            continue
        if message.op == BOOTREQUEST:
            yield time - began, message


def _packets(path: Path, octets: bytes) -> Iterator[tuple[float, bytes]]:
    """The file's records: (seconds, frame). One that was cut off ends them."""
    order, unit = _MAGIC.get(octets[:4], ("", 0.0))
    if not order or len(octets) < 24:
        hint = f"`editcap -F pcap {path.name} NEW` converts a pcapng file"
        raise UserError(f"{path} isn't a pcap file", hint)
    link = struct.unpack_from(f"{order}I", octets, 20)[0] & 0xFFFF
    if link != _LINKTYPE_ETHERNET:
        raise UserError(f"{path} is of link type {link}, not Ethernet", "capture on the interface itself")
    at = 24
    while at + 16 <= len(octets):
        seconds, fraction, length = struct.unpack_from(f"{order}III", octets, at)
        yield seconds + fraction * unit, octets[at + 16 : at + 16 + length]
        at += 16 + length


def _to_server(frame: bytes) -> bytes | None:
    """The UDP payload of a frame to port 67; None for anything else, fragments too."""
    at = 12
    while frame[at : at + 2] == _ETHERTYPE_VLAN.to_bytes(2, "big"):
        at += 4
    packet = frame[at + 2 :]
    if frame[at : at + 2] != _ETHERTYPE_IPV4.to_bytes(2, "big") or len(packet) < 28:
        return None
    header = (packet[0] & 0x0F) * 4
    fragment = int.from_bytes(packet[6:8], "big") & 0x3FFF
    datagram = packet[header:]
    if packet[9] != _UDP or fragment or len(datagram) < 8:
        return None
    port, length = struct.unpack("!HH", datagram[2:6])
    return datagram[8:length] if port == _SERVER_PORT else None
