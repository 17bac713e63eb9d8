"""Requests as clients send them, the network they are sent on, and captures as files of frames."""

import struct
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

from netbootd.boot import policy
from netbootd.boot.answer import Decision
from netbootd.boot.client import Client, from_dhcp
from netbootd.dhcp.leasebook import LeaseBook
from netbootd.dhcp.options import MessageType
from netbootd.dhcp.reservation import Answer, Reply, answer
from netbootd.dhcp.wire import BOOTREQUEST, Message
from netbootd.image import Generation
from netbootd.network import AddressRange, Network
from netbootd.node import Mac, Node

CAPTURES = Path(__file__).parent.parent / "captures"
SERVER = IPv4Address("10.77.0.1")
NETWORK = Network(
    interface="eth1",
    address=IPv4Interface("10.77.0.1/24"),
    range=AddressRange.parse("10.77.0.10-10.77.0.99"),
    pool=AddressRange.parse("10.77.0.100-10.77.0.109"),
    router=IPv4Address("10.77.0.254"),
    dns=(IPv4Address("10.77.0.1"), IPv4Address("10.77.0.2")),
    domain="cluster",
    lease_time=3600,
)
N01 = Node(
    name="n01",
    macs=(Mac("52:54:00:00:00:01"),),
    address=IPv4Address("10.77.0.10"),
    machine_id="0" * 32,
    image="debian",
)
GENERATION = Generation(
    image="debian",
    number=1,
    directory=Path("/images/debian/1"),
    created="2025-01-01T00:00:00Z",
    origin="bookworm",
    architecture="x86_64",
    kernel_release="6.1",
    size=1,
)
STRANGER = Mac("52:54:00:ff:00:01")
NOW = 1_700_000_000.0


def address(text: str) -> bytes:
    """Four octets."""
    return IPv4Address(text).packed


def request(
    kind: MessageType | None,
    mac: Mac = STRANGER,
    options: Mapping[int, bytes] | None = None,
    **header: object,
) -> Message:
    """A request; `header` sets fields of Message."""
    head = {53: bytes([kind])} if kind else {}
    message = Message(op=BOOTREQUEST, xid=0x12345678, chaddr=mac, options={**head, **(options or {})})
    for field, value in header.items():
        object.__setattr__(message, field, value)
    return message


def decide(client: Client, node: Node | None, network: Network) -> Decision:
    """What netbootd's own policy says to a client; nodes have an image."""
    return policy.decide(client, node, network, GENERATION if node else None, lambda _: True)


def ask(
    message: Message,
    book: LeaseBook,
    node: Node | None = None,
    now: float = NOW,
    decision: Decision | None = None,
) -> Answer:
    """The answer, with what it changes put into the book, as the server does."""
    decision = decision or decide(from_dhcp(message.chaddr, message.options), node, book.network)
    found = answer(message, decision, node, book.network, book, now)
    for lease in getattr(found, "leases", ()):
        book.put(lease)
    if isinstance(found, Reply) and found.offer:
        book.hold(*found.offer, now)
    return found


def frames(capture: Path) -> Iterator[bytes]:
    """The frames of a pcap file (little-endian, as tcpdump writes them here)."""
    octets = capture.read_bytes()
    magic, *_, link = struct.unpack("<IHHiIII", octets[:24])
    assert magic == 0xA1B2C3D4 and link == 1, f"{capture.name}: not a little-endian Ethernet pcap"
    at = 24
    while at < len(octets):
        size = struct.unpack("<8xI4x", octets[at : at + 16])[0]
        yield octets[at + 16 : at + 16 + size]
        at += 16 + size


def dhcp_payloads(capture: Path) -> Iterator[bytes]:
    """The UDP payloads to and from port 67, in order."""
    for frame in frames(capture):
        if frame[12:14] == b"\x08\x00" and frame[23] == 17:
            udp = frame[14 + (frame[14] & 15) * 4 :]
            source, to, length = struct.unpack("!HHH", udp[:6])
            if 67 in (source, to):
                yield udp[8:length]


def write_capture(path: Path, datagrams: Iterable[bytes]) -> None:
    """A pcap file of IPv4 datagrams, each in an Ethernet frame."""
    octets = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    for datagram in datagrams:
        frame = b"\xff" * 6 + b"\x52\x54\x00\x00\x00\xfe" + b"\x08\x00" + datagram
        octets += struct.pack("<IIII", 0, 0, len(frame), len(frame)) + frame
    path.write_bytes(octets)
