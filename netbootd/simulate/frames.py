"""Ethernet frames with ARP, UDP and TCP over IPv4, both ways. Pure.

Checksums of what is heard aren't verified: on a virtual wire they are filled in only by a real card, and a
real card has verified them. Fragments are dropped, as most boot firmware drops them.
"""

import struct
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address

from netbootd.errors import UserError
from netbootd.node import Mac
from netbootd.simulate.play import Datagram, Segment

BROADCAST = b"\xff" * 6
ARP_REQUEST, ARP_REPLY = 1, 2
SHORTEST = 60
"""Octets of a frame without its check sequence; a real card pads to it (IEEE 802.3, 64 with the sequence)."""

_ETHERTYPE_IPV4, _ETHERTYPE_ARP = 0x0800, 0x0806
_UDP, _TCP = 17, 6
_MORE_OR_OFFSET = 0x3FFF
_OPTION_MSS = 2


@dataclass(frozen=True, slots=True)
class Arp:
    """An ARP packet (RFC 826) for IPv4 on Ethernet."""

    kind: int
    sender_mac: Mac
    sender: IPv4Address
    target: IPv4Address


def of_arp(arp: Arp, to: bytes, target_mac: bytes = bytes(6)) -> bytes:
    """The frame of an ARP packet."""
    body = struct.pack("!HHBBH", 1, _ETHERTYPE_IPV4, 6, 4, arp.kind)
    body += arp.sender_mac.octets + arp.sender.packed + target_mac + arp.target.packed
    return _frame(to, arp.sender_mac, _ETHERTYPE_ARP, body)


def of_packet(packet: Datagram | Segment, sender: Mac, to: bytes, ident: int) -> bytes:
    """The frame of a UDP datagram or a TCP segment."""
    ttl = 64
    if isinstance(packet, Datagram):
        protocol, body, ttl = _UDP, _of_datagram(packet), packet.ttl
        ident = 0 if packet.bare else ident
    else:
        protocol, body = _TCP, _of_segment(packet)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), ident & 0xFFFF, 0, ttl, protocol, 0)
    head += packet.source.packed + packet.to.packed
    head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
    return _frame(to, sender, _ETHERTYPE_IPV4, head + body)


def read(frame: bytes) -> Arp | Datagram | Segment | None:
    """What a frame holds; None for all that no board listens to, and for what is malformed."""
    kind = int.from_bytes(frame[12:14], "big")
    body = frame[14:]
    if kind == _ETHERTYPE_ARP and len(body) >= 28 and body[:6] == b"\0\1\x08\0\6\4":
        sender = _mac(body[8:14])
        operation = int.from_bytes(body[6:8], "big")
        if sender is None:
            return None
        return Arp(operation, sender, IPv4Address(body[14:18]), IPv4Address(body[24:28]))
    if kind != _ETHERTYPE_IPV4 or len(body) < 20 or body[0] >> 4 != 4:
        return None
    head = (body[0] & 15) * 4
    total, _, fragment, _, protocol = struct.unpack_from("!HHHBB", body, 2)
    if fragment & _MORE_OR_OFFSET or head < 20 or total < head or len(body) < total:
        return None
    source, to = IPv4Address(body[12:16]), IPv4Address(body[16:20])
    inner = body[head:total]
    if protocol == _UDP and len(inner) >= 8:
        source_port, port, length = struct.unpack_from("!HHH", inner)
        # A stack's segmentation offload leaves the length of one segment in here; the IP header has all.
        return Datagram(
            source=source,
            source_port=source_port,
            to=to,
            port=port,
            payload=inner[8 : length if length >= 8 and total < 1501 else None],
            from_mac=_mac(frame[6:12]),
        )
    return _segment(inner, source, to) if protocol == _TCP and len(inner) >= 20 else None


def checksum(octets: bytes) -> int:
    """RFC 1071."""
    octets += b"\0" * (len(octets) % 2)
    total: int = sum(struct.unpack(f"!{len(octets) // 2}H", octets))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


# Details


def _frame(to: bytes, sender: Mac, kind: int, body: bytes) -> bytes:
    return (to + sender.octets + kind.to_bytes(2, "big") + body).ljust(SHORTEST, b"\0")


def _of_datagram(packet: Datagram) -> bytes:
    length = 8 + len(packet.payload)
    head = struct.pack("!HHH", packet.source_port, packet.port, length)
    pseudo = packet.source.packed + packet.to.packed + struct.pack("!BBH", 0, _UDP, length)
    total = 0 if packet.bare else checksum(pseudo + head + b"\0\0" + packet.payload) or 0xFFFF
    return head + struct.pack("!H", total) + packet.payload


def _of_segment(segment: Segment) -> bytes:
    options = struct.pack("!BBH", _OPTION_MSS, 4, segment.mss) if segment.mss else b""
    head = struct.pack(
        "!HHIIHHHH",
        segment.source_port,
        segment.port,
        segment.sequence,
        segment.acknowledged,
        (20 + len(options)) // 4 << 12 | segment.flags,
        segment.window,
        0,
        0,
    )
    body = head + options + segment.payload
    pseudo = segment.source.packed + segment.to.packed + struct.pack("!BBH", 0, _TCP, len(body))
    return body[:16] + struct.pack("!H", checksum(pseudo + body)) + body[18:]


def _segment(inner: bytes, source: IPv4Address, to: IPv4Address) -> Segment | None:
    source_port, port, sequence, acknowledged, bits, window = struct.unpack_from("!HHIIHH", inner)
    head = (bits >> 12) * 4
    if not 20 <= head <= len(inner):
        return None
    return Segment(
        source=source,
        source_port=source_port,
        to=to,
        port=port,
        sequence=sequence,
        acknowledged=acknowledged,
        flags=bits & 0x3F,
        window=window,
        payload=inner[head:],
    )


@lru_cache(maxsize=4096)
def _mac(octets: bytes) -> Mac | None:
    try:
        return Mac.from_octets(octets)
    except UserError:
        return None
