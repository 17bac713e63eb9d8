"""Whether a machine answers: an ICMP echo request (RFC 792), as ping sends it. Root only."""

import os
import secrets
import socket
import struct
import time
from ipaddress import IPv4Address

ATTEMPTS = 2
PATIENCE = 0.6
"""Seconds for each attempt; on a node's wire the answer takes less than a thousandth of one."""
_REQUEST, _REPLY = 8, 0


def answers(address: IPv4Address) -> bool:
    """True where it answered. False isn't certain: it may drop such requests. Raises PermissionError."""
    identifier = secrets.randbits(16)
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as door:
        for number in range(ATTEMPTS):
            try:
                door.sendto(request(identifier, number), (str(address), 0))
            except PermissionError:
                raise
            except OSError:  # no way there, so nobody to answer
                return False
            if _answered(door, address, identifier, time.monotonic() + PATIENCE):
                return True
    return False


def request(identifier: int, number: int) -> bytes:
    """An echo request with its checksum (RFC 1071)."""
    header = struct.pack("!BBHHH", _REQUEST, 0, 0, identifier, number)
    payload = os.urandom(8)
    return header[:2] + struct.pack("!H", _checksum(header + payload)) + header[4:] + payload


def _answered(door: socket.socket, address: IPv4Address, identifier: int, deadline: float) -> bool:
    """Whether a reply to us comes in time. Other machines' replies come in here, too."""
    while (left := deadline - time.monotonic()) > 0:
        door.settimeout(left)
        try:
            packet, (peer, _) = door.recvfrom(2048)
        except (TimeoutError, ConnectionError):
            return False
        except OSError:  # unreachable, as a router or our own kernel says
            return False
        icmp = packet[(packet[0] & 0x0F) * 4 :] if packet else b""
        if peer != str(address) or len(icmp) < 8:
            continue
        kind, _, _, told, _ = struct.unpack("!BBHHH", icmp[:8])
        if kind == _REPLY and told == identifier:
            return True
    return False


def _checksum(octets: bytes) -> int:
    """Of an even number of octets."""
    total = sum(struct.unpack(f"!{len(octets) // 2}H", octets))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF
