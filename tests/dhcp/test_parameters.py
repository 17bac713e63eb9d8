"""Whose options win, where they end up in the reply, and what a client with little room is told first."""

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from netbootd.boot.answer import Decision, LocalBoot, NetBoot, Wait
from netbootd.dhcp import wire
from netbootd.dhcp.leasebook import LeaseBook
from netbootd.dhcp.option_table import read
from netbootd.dhcp.options import MessageType
from netbootd.dhcp.parameters import echoed, parameters
from netbootd.dhcp.reservation import Reply
from netbootd.dhcp.wire import Message
from netbootd.network import Network
from netbootd.node import Mac, Node
from netbootd.stage import Level, Stage
from tests.dhcp.packets import N01, NETWORK, SERVER, STRANGER, address, ask, request

DISCOVER, _, REQUEST, _, ACK, _, _, _ = MessageType
NOBODY = IPv4Address(0)
BOOT = NetBoot(
    firmware="uefi",
    server=SERVER,
    bootfile="loaders/snponly.efi",
    reason="UEFI gets iPXE",
    options={60: b"PXEClient", 43: b"\x06\x01\x08\xff"},
)
AN_OS = LocalBoot(reason="an OS")
NO_IMAGE = Wait(reason="no image")


def options(*written: tuple[str, str]) -> dict[int, bytes]:
    """As an admin writes them."""
    return dict(read(name, value) for name, value in written)


def node(*written: tuple[str, str]) -> Node:
    return replace(N01, dhcp_options=options(*written))


def network(*written: tuple[str, str]) -> Network:
    return replace(NETWORK, options=options(*written))


def told(
    asked: Message, node: Node | None = N01, network: Network = NETWORK, decision: Decision = BOOT
) -> Reply:
    """The reply that must come."""
    found = ask(asked, LeaseBook(network), node, decision=decision)
    assert isinstance(found, Reply), found
    return found


def discover(mac: Mac = N01.mac, **more: bytes) -> Message:
    return request(DISCOVER, mac, {int(code[1:]): value for code, value in more.items()})


# Precedence


def test_a_network_s_options_win_over_its_defaults() -> None:
    values = parameters(
        AN_OS, N01, network(("broadcast-address", "10.77.0.0"), ("domain-search", "none"))
    ).options
    assert values[28] == address("10.77.0.0")
    assert values[119] == b""


def test_the_boot_decision_wins_over_the_network_s_options() -> None:
    found = parameters(BOOT, N01, network(("bootfile-name", "theirs"), ("vendor-class", "x"), ("43", "0a")))
    assert (found.bootfile, found.file) == ("loaders/snponly.efi", b"loaders/snponly.efi")
    assert (found.options[60], found.options[43]) == (b"PXEClient", b"\x06\x01\x08\xff")
    assert found.reason == "UEFI gets iPXE"


def test_a_node_s_options_win_over_the_boot_decision_and_the_reason_says_so() -> None:
    found = parameters(BOOT, node(("vendor-class", "AAPLBSDPC"), ("43", "0a0b")), NETWORK)
    assert (found.options[60], found.options[43]) == (b"AAPLBSDPC", b"\x0a\x0b")
    assert found.bootfile == "loaders/snponly.efi"
    assert found.reason == ("UEFI gets iPXE; but vendor-encapsulated-options, vendor-class are set for n01")


def test_what_the_protocol_needs_wins_over_all() -> None:
    strange = replace(N01, dhcp_options={53: b"\x09", 54: b"\1\2\3\4", 51: bytes(4), 82: b"x", 61: b"y"})
    sent = told(request(DISCOVER, N01.mac, {61: b"abc", 82: b"\x01\x01r"}), strange).message.options
    assert (sent[53], sent[54], sent[51]) == (b"\x02", SERVER.packed, b"\xff" * 4)
    assert (sent[61], sent[82]) == (b"abc", b"\x01\x01r")


def test_an_option_set_to_none_is_not_sent_whoever_else_set_it() -> None:
    sent = told(discover(), node(("43", "none"), ("routers", "none"), ("tftp-server-name", "none"))).message
    assert not sent.options.keys() & {43, 3, 66}
    assert sent.siaddr == SERVER, "shim and U-Boot have no other place to look"


# The boot file and its server


@pytest.mark.parametrize(
    ("written", "siaddr", "file", "sent"),
    [
        ([("bootfile-name", "mine.efi")], SERVER, b"mine.efi", b"10.77.0.1"),
        ([("tftp-server-name", "10.77.0.9")], IPv4Address("10.77.0.9"), b"loaders/snponly.efi", b"10.77.0.9"),
        ([("tftp-server-name", "wds.example")], NOBODY, b"loaders/snponly.efi", b"wds.example"),
        ([("bootfile-name", "x" * 128)], SERVER, b"", b"10.77.0.1"),
        ([("bootfile-name", "none")], SERVER, b"", b"10.77.0.1"),
    ],
)
def test_a_node_s_own_boot_file_and_server_stand_in_the_header_too(
    written: list[tuple[str, str]], siaddr: IPv4Address, file: bytes, sent: bytes
) -> None:
    reply = told(discover(), node(*written))
    assert (reply.message.siaddr, reply.message.file) == (siaddr, file)
    assert reply.message.options[66] == sent
    assert reply.message.options.get(67, b"") == (dict(options(*written)).get(67, b"loaders/snponly.efi"))
    assert "set for n01" in reply.reason and reply.reason in reply.note


@pytest.mark.parametrize("decision", [NO_IMAGE, AN_OS], ids=["no image", "an OS"])
def test_a_node_that_netbootd_has_nothing_for_boots_what_its_admin_set(decision: Decision) -> None:
    reply = told(
        discover(), node(("bootfile-name", "wds.com"), ("tftp-server-name", "10.77.0.9")), decision=decision
    )
    assert (reply.message.siaddr, reply.message.file) == (IPv4Address("10.77.0.9"), b"wds.com")
    assert reply.note == (
        f"offered 10.77.0.10, boot file wds.com ({decision.reason}; but bootfile-name is set for n01)"
    )
    assert reply.level is Level.INFO, "it isn't waiting for anything"


def test_machines_that_netbootd_has_nothing_for_boot_what_the_network_says() -> None:
    stranger = told(discover(STRANGER), None, network(("bootfile-name", "wds.com")), AN_OS)
    assert (stranger.message.siaddr, stranger.message.file) == (SERVER, b"wds.com")
    assert stranger.message.options[66] == b"10.77.0.1"
    assert stranger.reason == "an OS; bootfile-name is set for the network eth1"


# What is asked for, and what isn't


@pytest.mark.parametrize("asked", [b"\x03\x0c\x11", b"\x03\x01", b"\x79\x03\x06", b"\x06"])
def test_the_subnet_mask_stands_before_the_router(asked: bytes) -> None:
    """RFC 2132 section 3.3; a Parallella's U-Boot asks for the router and not for the mask."""
    sent = list(told(discover(_55=asked)).message.options)
    assert sent.index(1) < sent.index(3)


def test_a_boot_file_that_is_not_to_be_sent_is_no_reason() -> None:
    assert parameters(NO_IMAGE, node(("bootfile-name", "none")), NETWORK).reason == "no image"


def test_a_node_s_options_are_sent_unasked_and_a_network_s_only_to_who_asks() -> None:
    asked = discover(_55=b"\x01\x03\x06")
    sent = told(
        asked, node(("ntp-servers", "10.77.0.1")), network(("log-servers", "10.77.0.1")), AN_OS
    ).message
    assert list(sent.options) == [53, 54, 51, 1, 3, 6, 42]
    asked = discover(_55=b"\x07\x01\x2a")
    sent = told(
        asked, node(("ntp-servers", "10.77.0.1")), network(("log-servers", "10.77.0.1")), AN_OS
    ).message
    assert list(sent.options) == [53, 54, 51, 7, 1, 42, 3]


def test_pxelinux_s_configuration_is_sent_unasked_where_the_decision_sets_it() -> None:
    """A ROM's list has no 209 and 210, and PXELINUX asks nobody again (core/fs/pxe/pxe.c)."""
    decision = replace(BOOT, options={209: b"pxelinux.cfg/n01", 210: b"http://10.77.0.1/"})
    sent = told(discover(_55=b"\x01\x03\x43"), decision=decision).message.options
    assert (sent[209], sent[210]) == (b"pxelinux.cfg/n01", b"http://10.77.0.1/")


# RFC 3442


DEFAULT = b"\x00" + address("10.77.0.254")


@pytest.mark.parametrize("name", ["classless-static-routes", "ms-classless-static-routes"])
def test_the_router_is_among_the_classless_routes_because_who_takes_them_ignores_it(name: str) -> None:
    ((code, octets),) = options((name, "10.8.0.0/16 via 10.77.0.2")).items()
    assert (
        parameters(AN_OS, N01, network((name, "10.8.0.0/16 via 10.77.0.2"))).options[code] == octets + DEFAULT
    )


def test_a_default_route_that_is_there_stays_alone_and_none_is_made_up() -> None:
    own = network(("121", "10.8.0.0/16 via 10.77.0.2, default via 10.77.0.3"))
    assert parameters(AN_OS, N01, own).options[121] == own.options[121]
    none = replace(network(("121", "10.8.0.0/16 via 10.77.0.2")), router=None)
    assert parameters(AN_OS, N01, none).options[121] == none.options[121]
    odd = network(("121", "hex:ff00"))
    assert parameters(AN_OS, N01, odd).options[121] == b"\xff\x00"


# What is returned


@pytest.mark.parametrize(("echo", "returned"), [(True, {61: b"abc", 97: b"\0u"}), (False, {97: b"\0u"})])
def test_the_client_s_identifier_is_returned_unless_the_network_says_no(
    echo: bool, returned: Mapping[int, bytes]
) -> None:
    own = replace(NETWORK, echo_client_id=echo)
    sent = {61: b"abc", 97: b"\0u"}
    assert echoed(request(DISCOVER, N01.mac, sent), own) == returned
    for asked in (request(DISCOVER, N01.mac, sent), request(REQUEST, N01.mac, sent | {50: b"\1\2\3\4"})):
        options = told(asked, network=own).message.options
        assert {code: value for code, value in options.items() if code in (61, 97)} == returned


def test_the_relay_s_option_is_returned_whole_and_last_or_not_at_all() -> None:
    relay = bytes((1, 250)) + b"r" * 250
    asked = request(DISCOVER, N01.mac, {82: relay, 57: b"\x05\xdc"})
    octets = wire.encode(wire.fit(told(asked).message, asked.limit)[0])
    assert bytes((82, 252)) + relay + b"\xff" in octets
    little = request(DISCOVER, N01.mac, {82: relay})
    message, left_out = wire.fit(told(little, node(("root-path", "x" * 200))).message, little.limit)
    assert 82 in message.options and 17 in left_out, "what a client could do without goes first"
    no_room = request(DISCOVER, N01.mac, {82: relay + bytes((2, 60)) + b"s" * 60})
    message, left_out = wire.fit(told(no_room).message, no_room.limit)
    assert 82 not in message.options
    assert len(wire.encode(message)) <= 548


# Room


def test_linux_s_own_client_has_all_that_is_sent_within_the_octets_it_reads() -> None:
    """ipconfig.c has 312 octets for the cookie and the options, and asks for 1 3 6 12 15 17 26 40."""
    asked = discover(_55=bytes((1, 3, 6, 12, 15, 17, 26, 40)))
    much = node(
        ("root-path", "10.77.0.1:/" + "r" * 60), ("nis-domain", "n" * 150), ("log-servers", "10.7.0.1")
    )
    message, left_out = wire.fit(told(asked, much).message, asked.limit)
    octets = wire.encode(message)
    assert octets.index(b"\xff", octets.index(b"n" * 8) if 40 in message.options else 240) < 236 + 312
    assert len(octets) <= 236 + 312
    assert list(message.options)[:8] == [53, 54, 51, 1, 3, 6, 12, 15]
    assert left_out and not set(left_out) & {1, 3, 6, 12, 15, 17}


def test_a_value_in_pieces_comes_after_all_that_is_whole() -> None:
    message = told(discover(), node(("43", "00" * 300))).message
    octets = wire.encode(message)
    at, order = 240, list[int]()
    while octets[at] != 255:
        order.append(octets[at])
        at += 2 + octets[at + 1]
    assert order[-2:] == [43, 43] and order.count(43) == 2
    assert wire.decode_any(octets).options[43] == bytes(300)


# BOOTP


def bootp(**header: object) -> Message:
    return request(None, N01.mac, None, **header)


def test_a_node_that_speaks_bootp_gets_its_address_and_boot_file_as_bootp_has_them() -> None:
    reply = told(bootp(), node(("bootfile-name", "kernel.img")), decision=AN_OS)
    message, left_out = wire.fit(reply.message, bootp().limit)
    assert (message.yiaddr, message.siaddr, message.file) == (N01.address, SERVER, b"kernel.img")
    assert not message.options.keys() & {51, 53, 54, 58, 59, 66, 67}
    assert message.options[1] == address("255.255.255.0") and message.options[12] == b"n01"
    assert not left_out
    assert len(wire.encode(message)) == 300
    assert reply.note.startswith("given 10.77.0.10 by BOOTP, boot file kernel.img")
    assert reply.stage is Stage.ACK


def test_bootp_s_64_octets_hold_what_matters_most() -> None:
    much = node(("root-path", "r" * 40), ("nis-domain", "n" * 40))
    message, left_out = wire.fit(told(bootp(), much).message, bootp().limit)
    assert len(wire.encode(message)) == 300
    assert {1, 3} <= message.options.keys() and 40 in left_out


def test_a_node_that_knows_its_address_hears_at_it() -> None:
    assert told(bootp(ciaddr=N01.address)).message.ciaddr == N01.address
