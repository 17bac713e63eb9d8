"""Which network a request belongs to: its relay, its wish, its address or its wire."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netbootd.boot.answer import Ignore
from netbootd.dhcp import destination, wire
from netbootd.dhcp.leasebook import LeaseBook
from netbootd.dhcp.options import MessageType
from netbootd.dhcp.reservation import Reply
from netbootd.dhcp.selection import select, server_id
from netbootd.network import AddressRange, Network
from netbootd.node import Node
from tests.dhcp.packets import N01, NETWORK, ask, request


def behind(subnet: str) -> Network:
    """A network behind a relay, whose packets come in where NETWORK is."""
    net = IPv4Network(subnet)
    return Network(
        interface="eth1",
        address=NETWORK.address,
        behind_relay=net,
        pool=AddressRange(net[100], net[110]),
        router=net[1],
    )


FAR, FARTHER = behind("10.78.0.0/24"), behind("10.79.0.0/16")
NETWORKS = (NETWORK, FAR, FARTHER)


def link(address: str, code: int = 5) -> bytes:
    """A sub-option of 82 that holds an address."""
    return bytes((code, 4)) + IPv4Address(address).packed


def of(found: Network | Ignore) -> str:
    """What was found, in short."""
    return found.reason if isinstance(found, Ignore) else str(found.subnet)


@pytest.mark.parametrize(
    ("giaddr", "options", "expected"),
    [
        ("10.78.0.1", {}, "10.78.0.0/24"),
        ("10.79.200.1", {}, "10.79.0.0/16"),
        ("10.77.0.254", {}, "10.77.0.0/24"),
        ("10.99.0.1", {}, "the relay 10.99.0.1, which is on no network configured"),
        ("10.78.0.255", {}, "which no relay of 10.78.0.0/24 has"),
        ("10.77.0.1", {}, "which no relay of 10.77.0.0/24 has"),
        # RFC 3527: the relay is reached at one address and speaks for another link.
        ("10.77.0.2", {82: link("10.78.0.0")}, "10.78.0.0/24"),
        ("10.79.0.9", {82: b"\x01\x02ab" + link("10.78.0.1")}, "10.78.0.0/24"),
        ("10.78.0.1", {82: link("10.99.0.0")}, "the relay 10.78.0.1, for the link 10.99.0.0, which"),
        ("10.78.0.1", {82: link("0.0.0.0")}, "10.78.0.0/24"),
        ("10.78.0.1", {82: b"\x05\x02ab"}, "10.78.0.0/24"),
        # RFC 3011 counts only where no relay speaks.
        ("10.78.0.1", {118: IPv4Address("10.79.0.0").packed}, "10.78.0.0/24"),
    ],
)
def test_a_relay_chooses_the_network(giaddr: str, options: dict[int, bytes], expected: str) -> None:
    asked = request(MessageType.DISCOVER, options=options, giaddr=IPv4Address(giaddr))
    assert expected in of(select(asked, NETWORKS))


def test_no_answer_goes_to_a_relay_that_somebody_else_names() -> None:
    """RFC 3527 lets giaddr lie anywhere: whoever names a link would aim our replies at any machine."""
    for victim in ("192.0.2.1", "255.255.255.255", "10.78.0.255", "10.77.0.1", "127.0.0.1", "224.0.0.1"):
        giaddr = IPv4Address(victim)
        asked = request(MessageType.DISCOVER, options={82: link("10.78.0.0")}, giaddr=giaddr)
        assert "which is on no network configured" in of(
            select(asked, NETWORKS, source=IPv4Address("10.77.0.66"))
        )
    # A relay that speaks for itself is answered wherever it is: its loopback address, routed to us.
    asked = request(MessageType.DISCOVER, options={82: link("10.78.0.0")}, giaddr=IPv4Address("192.0.2.1"))
    assert select(asked, NETWORKS, source=IPv4Address("192.0.2.1")) is FAR


@pytest.mark.parametrize(
    ("header", "options", "expected"),
    [
        ({}, {}, "10.77.0.0/24"),
        ({}, {118: IPv4Address("10.78.0.0").packed}, "10.78.0.0/24"),
        ({}, {118: IPv4Address("10.99.0.0").packed}, "subnet 10.99.0.0, which isn't configured"),
        ({}, {118: bytes(4)}, "10.77.0.0/24"),
        ({}, {118: b"\xff"}, "10.77.0.0/24"),
        ({}, {82: link("10.78.0.0")}, "10.77.0.0/24"),
        ({"ciaddr": IPv4Address("10.78.0.7")}, {}, "10.77.0.0/24"),
        ({"ciaddr": IPv4Address("198.51.100.7")}, {}, "10.77.0.0/24"),
    ],
)
def test_what_was_sent_to_everybody_is_of_this_wire_unless_it_names_a_subnet(
    header: dict[str, Any], options: dict[int, bytes], expected: str
) -> None:
    asked = replace(request(MessageType.REQUEST, options=options), **header)
    assert expected in of(select(asked, NETWORKS))


def test_a_renewal_comes_without_its_relay_and_is_known_by_its_address() -> None:
    asked = request(MessageType.REQUEST, ciaddr=IPv4Address("10.78.0.100"))
    assert select(asked, NETWORKS, broadcast=False) is FAR
    strange = request(MessageType.REQUEST, ciaddr=IPv4Address("198.51.100.7"))
    assert select(strange, NETWORKS, broadcast=False) is NETWORK


def test_where_every_network_is_behind_a_relay_what_comes_without_one_is_refused() -> None:
    assert "every network of eth1 is behind one" in of(select(request(MessageType.DISCOVER), (FAR, FARTHER)))


def test_server_id_override_names_the_server_in_every_reply_and_a_request_to_it_is_ours() -> None:
    """RFC 5107: option 54 is the relay's address, and the request that names it is answered."""
    node = replace(N01, address=IPv4Address("10.78.0.10"))
    relayed = {"giaddr": IPv4Address("10.78.0.1")}
    agent = {82: b"\x01\x02ab" + link("10.78.0.1", 11)}
    offer = reply(request(MessageType.DISCOVER, N01.mac, agent, **relayed), FAR, node)
    assert offer.message.options[54] == IPv4Address("10.78.0.1").packed
    assert offer.message.options[3] == IPv4Address("10.78.0.1").packed
    chosen = agent | {54: offer.message.options[54], 50: node.address.packed}
    ack = reply(request(MessageType.REQUEST, N01.mac, chosen, **relayed), FAR, node)
    assert (ack.message.type, ack.message.yiaddr) == (MessageType.ACK, node.address)
    assert list(ack.message.options.items())[-1] == (82, agent[82])
    refused = reply(
        request(MessageType.REQUEST, N01.mac, chosen | {50: bytes((10, 78, 0, 99))}, **relayed), FAR, node
    )
    assert refused.message.type is MessageType.NAK
    assert refused.message.options[54] == IPv4Address("10.78.0.1").packed
    assert refused.message.broadcast, "or the client wouldn't take it: RFC 2131 section 4.3.2"


def test_nobody_overrides_the_server_without_a_relay() -> None:
    asked = request(MessageType.DISCOVER, options={82: link("10.78.0.1", 11)})
    assert server_id(asked, NETWORK) == NETWORK.server


def test_the_answer_goes_to_the_relay_where_it_wants_it() -> None:
    """RFC 8357, and giaddr though another link was selected (RFC 3527 section 3)."""
    agent = {82: link("10.78.0.0") + b"\x13\x00"}
    asked = request(MessageType.DISCOVER, N01.mac, agent, giaddr=IPv4Address("10.77.0.2"))
    found = reply(asked, FAR, replace(N01, address=IPv4Address("10.78.0.10")))
    to = destination.of(asked, found.message, 4242)
    assert (str(to.address), to.port, to.way) == ("10.77.0.2", 4242, destination.Way.RELAY)
    assert wire.decode_any(wire.encode(found.message)).giaddr == IPv4Address("10.77.0.2")


def test_the_subnet_that_was_asked_for_is_named_in_the_answer() -> None:
    asked = request(MessageType.DISCOVER, options={118: IPv4Address("10.78.0.0").packed})
    found = reply(asked, FAR, None)
    assert found.message.options[118] == asked.options[118]
    assert found.message.yiaddr in FAR.subnet


addresses = st.integers(0, 2**32 - 1).map(IPv4Address)


@given(giaddr=addresses, ciaddr=addresses, agent=st.binary(max_size=40), wish=st.binary(max_size=8))
def test_whatever_a_request_says_it_is_of_a_network_configured_or_of_none(
    giaddr: IPv4Address, ciaddr: IPv4Address, agent: bytes, wish: bytes
) -> None:
    asked = request(MessageType.REQUEST, options={82: agent, 118: wish}, giaddr=giaddr, ciaddr=ciaddr)
    for broadcast in (True, False):
        found = select(asked, NETWORKS, broadcast=broadcast)
        assert isinstance(found, Ignore) or found in NETWORKS
    assert int(server_id(asked, NETWORK))


def reply(asked: wire.Message, network: Network, node: Node | None) -> Reply:
    """The answer, which is one."""
    found = ask(asked, LeaseBook(network), node)
    assert isinstance(found, Reply), found
    return found
