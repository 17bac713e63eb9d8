"""Router advertisements: who solicits gets one at once, and it offers nothing."""

import socket
import struct
import sys
import time

import pytest

from netbootd.advertise import NOTHING_TO_OFFER, is_solicitation
from tests.lab.namespace import BRIDGE, Lab

_SOLICIT = """
import socket, struct, sys, time
index = socket.if_nametoindex("eth0")
sock = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, int(sys.argv[1]))
sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
sock.settimeout(0.5)
for attempt in range(int(sys.argv[2])):
    try:
        sock.sendto(struct.pack("!BBHI", 133, 0, 0, 0), ("ff02::2", 0, 0, index))
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            packet, ancillary, _, peer = sock.recvmsg(1280, 64)
            if packet[0] == 134:
                print(packet.hex(), int.from_bytes(ancillary[0][2], sys.byteorder))
                raise SystemExit
    except OSError:
        time.sleep(0.2)
print("nothing")
"""
_SERVE = """
import asyncio, sys
from netbootd.advertise import Advertiser
async def main():
    await Advertiser(sys.argv[1]).start()
    print("ready", flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


def test_what_it_says_configures_nothing() -> None:
    kind, code, _, hops, flags, lifetime, reachable, retransmit = struct.unpack("!BBHBBHII", NOTHING_TO_OFFER)
    assert (kind, code, hops, flags, lifetime, reachable, retransmit) == (134, 0, 0, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("packet", "hop_limit", "valid"),
    [
        (struct.pack("!BBHI", 133, 0, 0, 0), 255, True),
        (struct.pack("!BBHI", 133, 0, 0, 0), 64, False),
        (struct.pack("!BBHI", 133, 1, 0, 0), 255, False),
        (struct.pack("!BBHI", 134, 0, 0, 0), 255, False),
        (b"\x85\0\0", 255, False),
        (b"", 255, False),
    ],
)
def test_only_a_solicitation_from_this_wire_counts(packet: bytes, hop_limit: int, valid: bool) -> None:
    assert is_solicitation(packet, hop_limit) is valid


@pytest.mark.net
def test_a_solicitation_is_answered(lab: Lab) -> None:
    if not socket.has_ipv6:
        pytest.skip("this kernel has no IPv6")
    client = lab.client("c1")
    server = lab.start("advertise", [sys.executable, "-c", _SERVE, BRIDGE])
    server.wait_for("ready")
    answer = client.run([sys.executable, "-c", _SOLICIT, "255", "20"], timeout=40).stdout.split()
    got = bytes.fromhex(answer[0])
    assert got[:2] + got[4:] == NOTHING_TO_OFFER[:2] + NOTHING_TO_OFFER[4:]  # but for the kernel's checksum
    assert answer[1] == "255"
    assert client.run([sys.executable, "-c", _SOLICIT, "64", "2"], timeout=40).stdout.strip() == "nothing"
    time.sleep(0.1)
    assert server.running
