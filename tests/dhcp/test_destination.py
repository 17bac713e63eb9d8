"""Where replies go (RFC 2131 section 4.1, RFC 8357), and the datagram for a client without an address."""

import subprocess
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from netbootd.dhcp import destination, wire
from netbootd.dhcp.destination import BROADCAST, Destination, Way
from netbootd.dhcp.options import MessageType
from netbootd.dhcp.wire import Message
from tests.dhcp.packets import SERVER, STRANGER, request, write_capture

YIADDR = IPv4Address("10.77.0.100")
RELAY = IPv4Address("10.77.0.2")
CIADDR = IPv4Address("10.77.0.7")
RELAY_PORT = {82: b"\x01\x01a\x13\x00"}


@pytest.mark.parametrize(
    ("asked", "kind", "way", "address", "port"),
    [
        ({}, MessageType.OFFER, Way.LINK, YIADDR, 68),
        ({"flags": 0x8000}, MessageType.OFFER, Way.BROADCAST, BROADCAST, 68),
        ({"ciaddr": CIADDR}, MessageType.ACK, Way.UNICAST, CIADDR, 68),
        ({"ciaddr": CIADDR, "flags": 0x8000}, MessageType.ACK, Way.UNICAST, CIADDR, 68),
        ({"ciaddr": CIADDR}, MessageType.NAK, Way.BROADCAST, BROADCAST, 68),
        ({}, MessageType.NAK, Way.BROADCAST, BROADCAST, 68),
        ({"giaddr": RELAY}, MessageType.OFFER, Way.RELAY, RELAY, 67),
        ({"giaddr": RELAY, "ciaddr": CIADDR}, MessageType.ACK, Way.RELAY, RELAY, 67),
        ({"giaddr": RELAY, "flags": 0x8000}, MessageType.NAK, Way.RELAY, RELAY, 67),
        ({"giaddr": RELAY, "options": RELAY_PORT}, MessageType.OFFER, Way.RELAY, RELAY, 4242),
        ({"options": RELAY_PORT}, MessageType.OFFER, Way.LINK, YIADDR, 68),
    ],
)
def test_a_reply_goes_where_section_4_1_sends_it(
    asked: dict[str, object], kind: MessageType, way: Way, address: IPv4Address, port: int
) -> None:
    yiaddr = IPv4Address(0) if kind is MessageType.NAK else YIADDR
    reply = Message(op=2, xid=1, chaddr=STRANGER, yiaddr=yiaddr, options={53: bytes([kind])})
    asking = request(MessageType.REQUEST, **asked)  # type: ignore[arg-type]
    assert destination.of(asking, reply, 4242) == Destination(way, address, port, STRANGER)


@pytest.mark.needs("tshark")
def test_the_datagram_built_for_a_client_without_an_address_has_both_checksums_right(tmp_path: Path) -> None:
    to = Destination(Way.LINK, YIADDR, 68, STRANGER)
    reply = Message(op=2, xid=1, chaddr=STRANGER, yiaddr=YIADDR, options={53: b"\x02"})
    payload = wire.encode(reply)
    payloads = [payload, payload + b"\x01", payload + b"\xff\xff\xff"]
    write_capture(tmp_path / "built.pcap", [destination.datagram(SERVER, to, each) for each in payloads])
    command = ["tshark", "-r", str(tmp_path / "built.pcap"), "-T", "fields"]
    command += ["-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE"]
    for field in (
        "ip.src",
        "ip.dst",
        "udp.srcport",
        "udp.dstport",
        "ip.checksum.status",
        "udp.checksum.status",
    ):
        command += ["-e", field]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert said == ["10.77.0.1\t10.77.0.100\t67\t68\t1\t1"] * 3


def test_a_udp_checksum_of_nought_is_written_as_its_twin() -> None:
    """RFC 768: nought would say that there is none."""
    to = Destination(Way.LINK, YIADDR, 68, STRANGER)
    checksum = int.from_bytes(destination.datagram(SERVER, to, bytes(2))[26:28], "big")
    assert destination.datagram(SERVER, to, checksum.to_bytes(2, "big"))[26:28] == b"\xff\xff"
