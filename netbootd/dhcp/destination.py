"""Where a reply goes: RFC 2131 section 4.1, with RFC 8357; and the frame's payload for the case in which only
we can build it. Pure.
"""

import struct
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address

from netbootd.dhcp.options import RELAY_SOURCE_PORT, MessageType, Option, sub_options
from netbootd.dhcp.wire import Message
from netbootd.node import Mac

SERVER_PORT = 67
CLIENT_PORT = 68
BROADCAST = IPv4Address("255.255.255.255")
_TTL = 64
_DONT_FRAGMENT = 0x4000
_UDP = 17


class Way(Enum):
    """How the reply travels."""

    RELAY = "to the relay"
    UNICAST = "to the address that the client has"
    BROADCAST = "to everybody on the wire"
    LINK = "to the client's network card, which has no address yet"


@dataclass(frozen=True, slots=True)
class Destination:
    """An address and port; `mac` is who gets it where `way` is LINK."""

    way: Way
    address: IPv4Address
    port: int
    mac: Mac


def of(request: Message, reply: Message, source_port: int) -> Destination:
    """Where `reply` goes. `source_port` is the one that the request came from, which matters for relays."""
    if int(request.giaddr):
        return Destination(Way.RELAY, request.giaddr, _relay_port(request, source_port), reply.chaddr)
    if reply.type is not MessageType.NAK:
        if int(request.ciaddr):
            return Destination(Way.UNICAST, request.ciaddr, CLIENT_PORT, reply.chaddr)
        if not request.broadcast and int(reply.yiaddr):
            return Destination(Way.LINK, reply.yiaddr, CLIENT_PORT, reply.chaddr)
    return Destination(Way.BROADCAST, BROADCAST, CLIENT_PORT, reply.chaddr)


def of_boot_server(reply: Message, source: IPv4Address, source_port: int) -> Destination:
    """Where a reply of port 4011 goes: back to where the request came from (PXE 2.1, section 2.2.1)."""
    if not int(source):
        return Destination(Way.BROADCAST, BROADCAST, CLIENT_PORT, reply.chaddr)
    return Destination(Way.UNICAST, source, source_port, reply.chaddr)


def datagram(source: IPv4Address, to: Destination, payload: bytes, source_port: int = SERVER_PORT) -> bytes:
    """An IPv4 and UDP datagram, by default from the server's port, with both checksums (RFC 791, RFC 768)."""
    length = 8 + len(payload)
    addresses = source.packed + to.address.packed
    udp = struct.pack("!HHHH", source_port, to.port, length, 0)
    checksum = _checksum(addresses + struct.pack("!BBH", 0, _UDP, length) + udp + payload)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 0, _DONT_FRAGMENT, _TTL, _UDP, 0) + addresses
    head = head[:10] + struct.pack("!H", _checksum(head)) + head[12:]
    return head + udp[:6] + struct.pack("!H", checksum) + payload


def _relay_port(request: Message, source_port: int) -> int:
    """RFC 8357 section 4: a relay that says so listens where it sent from, not at 67."""
    asks = RELAY_SOURCE_PORT in sub_options(request.options.get(Option.RELAY_AGENT, b""))
    return source_port if asks else SERVER_PORT


def _checksum(octets: bytes) -> int:
    """The Internet checksum (RFC 1071), never 0: that is written as its twin, 0xffff, as UDP demands."""
    if len(octets) % 2:
        octets += b"\0"
    # 2**16 is 1 modulo 0xffff, so the number itself has the remainder that the sum of its words has.
    return 0xFFFF - int.from_bytes(octets, "big") % 0xFFFF
