"""Hostile octets: only WireError ever comes of them, and what decodes is answered, fits and reads back.

NETBOOTD_FUZZ=100000 asks for more mutations than the suite has time for.
"""

import os
import random
from dataclasses import replace
from ipaddress import IPv4Address

from hypothesis import given, settings
from hypothesis import strategies as st

from netbootd.boot.answer import Ignore
from netbootd.boot.client import from_dhcp
from netbootd.dhcp import destination, options, proxy, wire
from netbootd.dhcp.leasebook import LeaseBook
from netbootd.dhcp.reservation import Answer, Reply
from netbootd.dhcp.selection import select
from netbootd.dhcp.wire import Message, WireError
from netbootd.network import DhcpMode
from netbootd.node import Mac
from tests.dhcp.packets import CAPTURES, N01, NETWORK, NOW, ask, decide, dhcp_payloads

MUTATIONS = int(os.environ.get("NETBOOTD_FUZZ", "4000"))
OPTIONS = range(240, 340)
PROXY = replace(NETWORK, dhcp=DhcpMode.PROXY, pool=None)
RICH = replace(
    N01,
    dhcp_options={66: b"192.0.2.1", 67: b"x" * 200, 121: b"\x08\x0a\x0a\x4d\x00\x02", 43: b"y" * 700, 6: b""},
)
"""A node for which an admin set as much as a reply holds, and more."""
ADDRESSES = range(12, 28)


def go_through(octets: bytes, book: LeaseBook, now: float) -> bool:
    """The whole hallway for one datagram, for all kinds of nodes; whether it was a request."""
    try:
        request = wire.decode(octets)
    except WireError as error:
        assert str(error).isprintable()
        return False
    for node in (None, replace(N01, macs=(request.chaddr,)), replace(RICH, macs=(request.chaddr,))):
        if isinstance(select(request, [NETWORK]), Ignore):
            break
        client = from_dhcp(request.chaddr, request.options)
        decision = decide(client, node, NETWORK)
        beside = decide(client, node, PROXY)
        for found in (
            ask(request, book, node, now, decision),
            proxy.answer(request, client, beside, node, PROXY),
        ):
            sent = check(request, found)
            to = destination.of(request, sent, 68).address if sent else destination.BROADCAST
            assert to in (destination.BROADCAST, *NETWORK.subnet)
        check(request, proxy.answer_boot_server(request, client, decision, node, NETWORK))
    return True


def check(request: Message, found: Answer) -> Message | None:
    """Whatever is answered can be sent, is read back the same, and is told in print; what is sent."""
    if not isinstance(found, Ignore):
        assert found.note.isprintable()
    if not isinstance(found, Reply):
        return None
    message, _ = wire.fit(found.message, request.limit)
    encoded = wire.encode(message)
    assert len(encoded) <= max(wire.MINIMUM, request.limit)
    assert wire.decode_any(encoded) == message
    assert all(options.describe(*option).isprintable() for option in message.options.items())
    return message


def mutated(octets: bytes, chance: random.Random) -> bytes:
    """Octets changed, cut off, doubled or put in, mostly among the options and addresses."""
    changed = bytearray(octets)
    for _ in range(chance.randint(1, 6)):
        where = chance.choices((OPTIONS, ADDRESSES, range(len(changed) or 1)), weights=(6, 2, 2))[0]
        at = chance.choice(where)
        at = min(at, max(0, len(changed) - 1))
        match chance.randrange(6):
            case 0 | 1 | 2:
                changed[at : at + 1] = chance.randbytes(1)
            case 3:
                del changed[at : at + chance.randint(1, 12)]
            case 4:
                changed[at:at] = chance.randbytes(chance.randint(1, 12))
            case _:
                changed[at:at] = bytes(
                    (chance.choice((50, 52, 53, 54, 57, 61, 82, 255)), chance.randrange(8))
                )
    return bytes(changed)


def real_requests() -> list[bytes]:
    """The requests of all captures, and of each what it would be as BOOTP."""
    found = [payload for path in sorted(CAPTURES.glob("*.pcap")) for payload in dhcp_payloads(path)]
    found = [payload for payload in found if payload[0] == wire.BOOTREQUEST]
    return found + [payload[:240] + b"\xff".ljust(60, b"\0") for payload in found[::8]]


def test_mutations_of_real_requests_raise_nothing_and_are_answered_within_bounds() -> None:
    chance = random.Random(2131)
    seeds = real_requests()
    book = LeaseBook(NETWORK)
    understood = sum(
        go_through(mutated(chance.choice(seeds), chance), book, NOW + number) for number in range(MUTATIONS)
    )
    assert 0.1 < understood / MUTATIONS < 0.9, "the mutations are too harmless, or too crude"


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=700))
def test_any_octets_after_a_sound_header_raise_nothing(options: bytes) -> None:
    head = wire.encode(Message(op=1, xid=1, chaddr=N01.mac))[:240]
    go_through(head + options, LeaseBook(NETWORK), NOW)


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=5000))
def test_any_octets_at_all_raise_nothing(octets: bytes) -> None:
    go_through(octets, LeaseBook(NETWORK), NOW)


def decoded(octets: bytes) -> list[Message]:
    """The request, where it is one."""
    try:
        return [wire.decode(octets)]
    except WireError:
        return []


sub_option = st.tuples(st.sampled_from((71, 5, 11, 16, 19, 176)), st.sampled_from((200, 0, 1, 4, 255)))
nested = st.lists(sub_option, max_size=6).map(
    lambda pieces: b"".join(bytes((code, size)) + bytes(size) for code, size in pieces)
)


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from([found for octets in real_requests() for found in decoded(octets)]),
    st.sampled_from((3, 1, 8)),
    st.dictionaries(st.sampled_from((43, 77, 82, 97, 118, 175)), nested, min_size=1, max_size=4),
)
def test_any_sub_options_raise_nothing(request: Message, kind: int, odd: dict[int, bytes]) -> None:
    """Well framed, in any number and size: pieces add up to more than a length can tell of."""
    sound = {code: value for code, value in request.options.items() if code != 54}
    asked = replace(request, options={**sound, **odd, 53: bytes([kind])})
    go_through(wire.encode(asked), LeaseBook(NETWORK), NOW)


addresses = st.integers(0, 2**32 - 1).map(IPv4Address)
free_options = st.dictionaries(
    st.integers(1, 254).filter(lambda code: code not in (50, 51, 52, 53, 54, 57, 61)),
    st.binary(max_size=600),
    max_size=8,
)


@settings(max_examples=300, deadline=None)
@given(
    mac=st.binary(min_size=5, max_size=5).map(lambda octets: Mac.from_octets(b"\x52" + octets)),
    numbers=st.tuples(
        st.integers(0, 255), st.integers(0, 2**32 - 1), st.integers(0, 65535), st.integers(0, 65535)
    ),
    where=st.tuples(addresses, addresses, addresses, addresses),
    names=st.tuples(st.binary(max_size=64), st.binary(max_size=128)),
    options=free_options,
)
def test_whatever_is_written_reads_back_the_same(
    mac: Mac,
    numbers: tuple[int, int, int, int],
    where: tuple[IPv4Address, IPv4Address, IPv4Address, IPv4Address],
    names: tuple[bytes, bytes],
    options: dict[int, bytes],
) -> None:
    message = Message(
        op=2,
        chaddr=mac,
        hops=numbers[0],
        xid=numbers[1],
        secs=numbers[2],
        flags=numbers[3],
        ciaddr=where[0],
        yiaddr=where[1],
        siaddr=where[2],
        giaddr=where[3],
        sname=names[0].partition(b"\0")[0],
        file=names[1].partition(b"\0")[0],
        options={53: b"\x02", **options},
    )
    assert wire.decode_any(wire.encode(message)) == message
