"""Which machines answer: ICMP echo requests (RFC 792), as ping sends them. Root only."""

import os
import secrets
import socket
import struct
import time
from collections.abc import Collection
from ipaddress import IPv4Address

ATTEMPTS = 2
PATIENCE = 0.6
"""Seconds for each attempt; on a node's wire the answer takes less than a thousandth of one."""
_REQUEST, _REPLY = 8, 0


def answering(addresses: Collection[IPv4Address]) -> set[IPv4Address]:
    """Those that answered; all are asked at once. Silence isn't certain: they may drop such requests.

    Raises PermissionError.
    """
    identifier = secrets.randbits(16)
    found: set[IPv4Address] = set()
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as door:
        for number in range(ATTEMPTS):
            for address in set(addresses) - found:
                _ask(door, address, request(identifier, number))
            deadline = time.monotonic() + PATIENCE
            while found < set(addresses) and (left := deadline - time.monotonic()) > 0:
                door.settimeout(left)
                if (peer := _answer(door, identifier)) is not None and peer in addresses:
                    found.add(peer)
    return found


def request(identifier: int, number: int) -> bytes:
    """An echo request with its checksum (RFC 1071)."""
    header = struct.pack("!BBHHH", _REQUEST, 0, 0, identifier, number)
    payload = os.urandom(8)
    return header[:2] + struct.pack("!H", _checksum(header + payload)) + header[4:] + payload


def _ask(door: socket.socket, address: IPv4Address, packet: bytes) -> None:
    try:
        door.sendto(packet, (str(address), 0))
    except PermissionError:
        raise
    except OSError:  # no way there, or a refusal of an earlier one: then nobody answers
        return


def _answer(door: socket.socket, identifier: int) -> IPv4Address | None:
    """Who answered us with the next packet; None where that was something else, as what others asked for."""
    try:
        packet, (peer, _) = door.recvfrom(2048)
    except OSError:  # nothing in time, or unreachable, as a router or our own kernel says
        return None
    icmp = packet[(packet[0] & 0x0F) * 4 :] if packet else b""
    if len(icmp) < 8:
        return None
    kind, _, _, told, _ = struct.unpack("!BBHHH", icmp[:8])
    return IPv4Address(peer) if (kind, told) == (_REPLY, identifier) else None


def _checksum(octets: bytes) -> int:
    """Of an even number of octets."""
    total: int = sum(struct.unpack(f"!{len(octets) // 2}H", octets))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF
