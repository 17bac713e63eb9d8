"""Real firmware and real clients, as they were captured booting against another server: each is answered."""

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from netbootd.dhcp import destination, wire
from netbootd.dhcp.destination import Destination, Way
from netbootd.dhcp.leasebook import LeaseBook
from netbootd.dhcp.options import MessageType, Option
from netbootd.dhcp.reservation import Reply
from netbootd.dhcp.wire import Message
from tests.dhcp.packets import CAPTURES, N01, NETWORK, SERVER, ask, dhcp_payloads, write_capture

OURS = {MessageType.DISCOVER: MessageType.OFFER, MessageType.REQUEST: MessageType.ACK}
captures = pytest.mark.parametrize("capture", sorted(CAPTURES.glob("*.pcap")), ids=lambda path: path.stem)


def conversation(capture: Path) -> Iterator[tuple[Message, Message]]:
    """Each request with the reply that the other server gave."""
    asked: dict[tuple[int, MessageType | None], Message] = {}
    for payload in dhcp_payloads(capture):
        message = wire.decode_any(payload)
        if message.op == wire.BOOTREQUEST:
            asked[message.xid, OURS[message.type] if message.type else None] = message
        else:
            yield asked[message.xid, message.type], message


def answered(request: Message, theirs: Message) -> Message:
    """What we say to it, where its machine is a node with the address that the other server gave it."""
    node = replace(N01, macs=(request.chaddr,), address=theirs.yiaddr)
    reply = ask(request, LeaseBook(NETWORK), node)
    assert isinstance(reply, Reply), reply
    fitting, left_out = wire.fit(reply.message, request.limit)
    assert left_out == ()
    return fitting


@captures
def test_every_request_is_answered_as_the_other_server_did(capture: Path) -> None:
    exchanges = list(conversation(capture))
    assert len(exchanges) >= 2
    for request, theirs in exchanges:
        octets = wire.encode(answered(request, theirs))
        assert wire.MINIMUM <= len(octets) <= request.limit
        ours = wire.decode_any(octets)
        same = ("op", "xid", "chaddr", "flags", "ciaddr", "yiaddr", "giaddr", "type", "broadcast")
        assert {name: getattr(ours, name) for name in same} == {name: getattr(theirs, name) for name in same}
        # dnsmasq says nothing more to BOOTP without vendor information; the mask helps, and is taken.
        assert ours.options[Option.SUBNET_MASK] == theirs.options.get(Option.SUBNET_MASK, b"\xff\xff\xff\0")
        for echoed in (Option.CLIENT_ID, Option.CLIENT_UUID):
            assert ours.options.get(echoed) == request.options.get(echoed)


@captures
def test_every_message_survives_reading_and_writing(capture: Path) -> None:
    for pair in conversation(capture):
        for message in pair:
            assert wire.decode_any(wire.encode(message)) == message


@pytest.mark.parametrize(
    ("stem", "bootfile"),
    [
        ("bios-ipxe-rom-to-lpxelinux", b"http://10.77.0.1/boot/52-54-00-77-00-01/boot.ipxe"),
        ("uefi-x64-pxe-to-grub", b"loaders/snponly.efi"),
        ("dhclient", None),
        ("udhcpc", None),
        ("systemd-networkd", None),
        ("klibc-bootp", None),
    ],
)
def test_a_firmware_is_told_what_to_boot_and_a_system_is_not(stem: str, bootfile: bytes | None) -> None:
    for request, theirs in conversation(CAPTURES / f"{stem}.pcap"):
        assert answered(request, theirs).options.get(Option.BOOT_FILE_NAME) == bootfile


def dissected(capture: Path) -> list[str]:
    """One line for each DHCP message that tshark reads: its type, and what it complains of, if anything."""
    command = ["tshark", "-r", str(capture), "-o", "udp.check_checksum:TRUE", "-T", "fields"]
    for name in ("dhcp.option.dhcp", "dhcp.ip.your", "_ws.malformed", "_ws.expert.message"):
        command += ["-e", name]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.mark.needs("tshark")
@captures
def test_what_we_write_reads_without_a_fault_in_tshark(capture: Path, tmp_path: Path) -> None:
    expected, datagrams = [], []
    for request, theirs in conversation(capture):
        ours = answered(request, theirs)
        to = destination.of(request, ours, 68)
        datagrams.append(destination.datagram(SERVER, to, wire.encode(ours)))
        expected.append(f"{int(ours.type) if ours.type else ''}\t{ours.yiaddr}\t\t")
    write_capture(tmp_path / "ours.pcap", datagrams)
    assert dissected(tmp_path / "ours.pcap") == expected


@pytest.mark.needs("tshark")
def test_tshark_does_complain_of_what_is_malformed(tmp_path: Path) -> None:
    """Else the test before this one would prove nothing."""
    message = Message(op=2, xid=1, chaddr=N01.mac, options={53: b"\x02", 54: SERVER.packed})
    broken = wire.encode(message).replace(b"\x36\x04" + SERVER.packed, b"\x36\x03" + SERVER.packed)
    to = Destination(Way.LINK, N01.address, 68, N01.mac)
    write_capture(tmp_path / "broken.pcap", [destination.datagram(SERVER, to, broken)])
    assert dissected(tmp_path / "broken.pcap") != ["2\t0.0.0.0\t\t"]
