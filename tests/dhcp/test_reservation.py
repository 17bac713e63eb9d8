"""RFC 2131 section 4.3 as tables: who asks what, and what is the answer."""

from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Interface

import pytest

from netbootd.boot.answer import Ignore, LocalBoot, NetBoot, Wait
from netbootd.dhcp.leasebook import DECLINED_RESTS, LeaseBook
from netbootd.dhcp.options import MessageType
from netbootd.dhcp.reservation import Reply, Settled, other_server
from netbootd.dhcp.wire import Message
from netbootd.lease import Lease, LeaseState
from netbootd.network import Network
from netbootd.node import Mac, Node
from netbootd.stage import Level, Stage
from tests.dhcp.packets import N01, NETWORK, NOW, SERVER, STRANGER, address, ask, request

DISCOVER, OFFER, REQUEST, DECLINE, ACK, NAK, RELEASE, INFORM = MessageType
NOBODY = IPv4Address(0)
STRANGERS = IPv4Address("10.77.0.100")
FOREVER = b"\xff" * 4
OURS = {54: SERVER.packed}
THEIRS = {54: address("10.77.0.3")}
RELAY = IPv4Address("10.77.0.2")
NO_POOL = replace(NETWORK, pool=None)
PXE = {60: b"PXEClient:Arch:00007:UNDI:003000", 93: b"\x00\x07"}
BOOT = NetBoot(
    firmware="uefi",
    server=SERVER,
    bootfile="loaders/snponly.efi",
    reason="UEFI gets iPXE",
    options={60: b"PXEClient", 43: b"\x06\x01\x08\xff"},
)


def wants(text: str) -> dict[int, bytes]:
    """Option 50."""
    return {50: address(text)}


def has(text: str, mac: Mac = STRANGER, **changes: object) -> Lease:
    """A lease of a machine without a client identifier."""
    made = Lease(
        address=IPv4Address(text), mac=mac, client_id=b"\x01" + mac.octets, expires=NOW + 600, host_name=""
    )
    return replace(made, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class Case:
    """What a client says, knowing what is recorded; what it hears. `says` None: no answer."""

    asked: Message
    node: Node | None = None
    leases: tuple[Lease, ...] = ()
    network: Network = NETWORK
    says: MessageType | None = None
    address: str | None = None
    lease_time: bytes | None = None
    reason: str = ""
    kept: tuple[tuple[str, LeaseState], ...] = ()
    """The leases to be committed."""
    header: dict[str, object] = field(default_factory=dict)


OTHER = Mac("52:54:00:ff:00:02")
BOUND, RELEASED, DECLINED = LeaseState
CASES = {
    # A registered node
    "a node is offered its address for ever": Case(
        asked=request(DISCOVER, N01.mac), node=N01, says=OFFER, address="10.77.0.10", lease_time=FOREVER
    ),
    "a node is offered its own address, whichever it wants": Case(
        asked=request(DISCOVER, N01.mac, wants("10.77.0.55")), node=N01, says=OFFER, address="10.77.0.10"
    ),
    "a node needs no pool": Case(
        asked=request(DISCOVER, N01.mac), node=N01, network=NO_POOL, says=OFFER, address="10.77.0.10"
    ),
    "a node that chose us gets its address": Case(
        asked=request(REQUEST, N01.mac, OURS | wants("10.77.0.10")),
        node=N01,
        says=ACK,
        address="10.77.0.10",
        lease_time=FOREVER,
    ),
    "a node that chose us but wants another address is refused": Case(
        asked=request(REQUEST, N01.mac, OURS | wants("10.77.0.11")),
        node=N01,
        says=NAK,
        reason="n01 has 10.77.0.10, not 10.77.0.11",
    ),
    "a node that chose another server gets no answer": Case(
        asked=request(REQUEST, N01.mac, THEIRS | wants("10.77.0.10")),
        node=N01,
        reason="another DHCP server, 10.77.0.3",
    ),
    "a node in INIT-REBOOT with its address gets it": Case(
        asked=request(REQUEST, N01.mac, wants("10.77.0.10")), node=N01, says=ACK, address="10.77.0.10"
    ),
    "a node in INIT-REBOOT with another address is refused": Case(
        asked=request(REQUEST, N01.mac, wants("192.168.1.7")), node=N01, says=NAK, reason="not 192.168.1.7"
    ),
    "a node that renews gets its address and hears at it": Case(
        asked=request(REQUEST, N01.mac, ciaddr=N01.address),
        node=N01,
        says=ACK,
        address="10.77.0.10",
        header={"ciaddr": N01.address},
    ),
    "a node that renews what it had of the pool is refused and gives it back": Case(
        asked=request(REQUEST, N01.mac, ciaddr=IPv4Address("10.77.0.100")),
        node=N01,
        leases=(has("10.77.0.100", N01.mac),),
        says=NAK,
        reason="n01 has 10.77.0.10",
        kept=(("10.77.0.100", RELEASED),),
    ),
    "a node that gets its address gives back what it had of the pool, under any name": Case(
        asked=request(REQUEST, N01.mac, OURS | wants("10.77.0.10")),
        node=N01,
        leases=(has("10.77.0.100", N01.mac), has("10.77.0.101", N01.mac, client_id=b"\xff-a-duid")),
        says=ACK,
        address="10.77.0.10",
        kept=(("10.77.0.100", RELEASED), ("10.77.0.101", RELEASED)),
    ),
    "a node's DECLINE moves nothing": Case(
        asked=request(DECLINE, N01.mac, OURS | wants("10.77.0.10")),
        node=N01,
        reason="declined 10.77.0.10: another machine answers there; n01 keeps 10.77.0.10",
    ),
    "a node's RELEASE changes nothing": Case(
        asked=request(RELEASE, N01.mac, OURS, ciaddr=N01.address), node=N01, reason="it stays n01's"
    ),
    "a node on another wire than its address gets no answer": Case(
        asked=request(DISCOVER, N01.mac),
        node=replace(N01, address=IPv4Address("10.78.0.10")),
        reason="10.78.0.10 lies outside 10.77.0.0/24",
    ),
    # A machine that isn't registered
    "a stranger without a pool gets no answer": Case(
        asked=request(DISCOVER), network=NO_POOL, reason="isn't registered, and eth1 has no pool"
    ),
    "a stranger is offered an address of the pool": Case(
        asked=request(DISCOVER), says=OFFER, address="10.77.0.100", lease_time=b"\x00\x00\x0e\x10"
    ),
    "a stranger is offered the address it wants where that is free": Case(
        asked=request(DISCOVER, options=wants("10.77.0.105")), says=OFFER, address="10.77.0.105"
    ),
    "a stranger isn't offered a node's range": Case(
        asked=request(DISCOVER, options=wants("10.77.0.11")), says=OFFER, address="10.77.0.100"
    ),
    "a stranger that chose us gets the lease": Case(
        asked=request(REQUEST, options=OURS | wants("10.77.0.100")),
        says=ACK,
        address="10.77.0.100",
        lease_time=b"\x00\x00\x0e\x10",
        kept=(("10.77.0.100", BOUND),),
    ),
    "a shorter lease is granted, a longer one isn't": Case(
        asked=request(REQUEST, options=OURS | wants("10.77.0.100") | {51: b"\x00\x00\x01\x00"}),
        says=ACK,
        address="10.77.0.100",
        lease_time=b"\x00\x00\x01\x00",
        kept=(("10.77.0.100", BOUND),),
    ),
    "a lease for ever isn't granted to a stranger": Case(
        asked=request(DISCOVER, options={51: FOREVER}),
        says=OFFER,
        address="10.77.0.100",
        lease_time=b"\x00\x00\x0e\x10",
    ),
    "a lease of no time isn't granted": Case(
        asked=request(DISCOVER, options={51: bytes(4)}),
        says=OFFER,
        address="10.77.0.100",
        lease_time=b"\x00\x00\x00\x3c",
    ),
    "a stranger that chose us but wants another's address is refused": Case(
        asked=request(REQUEST, options=OURS | wants("10.77.0.100")),
        leases=(has("10.77.0.100", OTHER),),
        says=NAK,
        reason="10.77.0.100 isn't free",
    ),
    "a stranger that chose us but wants a node's address is refused": Case(
        asked=request(REQUEST, options=OURS | wants("10.77.0.10")), says=NAK, reason="isn't free"
    ),
    "a stranger that moves within the pool gives back the address it had": Case(
        asked=request(REQUEST, options=OURS | wants("10.77.0.101")),
        leases=(has("10.77.0.100"),),
        says=ACK,
        address="10.77.0.101",
        kept=(("10.77.0.100", RELEASED), ("10.77.0.101", BOUND)),
    ),
    "a stranger in INIT-REBOOT gets the address that is recorded": Case(
        asked=request(REQUEST, options=wants("10.77.0.104")),
        leases=(has("10.77.0.104", expires=NOW - 60),),
        says=ACK,
        address="10.77.0.104",
        kept=(("10.77.0.104", BOUND),),
    ),
    "a stranger in INIT-REBOOT with another address than recorded is refused": Case(
        asked=request(REQUEST, options=wants("10.77.0.105")),
        leases=(has("10.77.0.104"),),
        says=NAK,
        reason="it has 10.77.0.104, not 10.77.0.105",
    ),
    "a stranger in INIT-REBOOT from another network is refused": Case(
        asked=request(REQUEST, options=wants("192.168.1.7")), says=NAK, reason="outside 10.77.0.0/24"
    ),
    "a stranger in INIT-REBOOT of whom nothing is recorded gets no answer": Case(
        asked=request(REQUEST, options=wants("10.77.0.104")), reason="nothing is recorded"
    ),
    "a stranger that renews keeps its lease": Case(
        asked=request(REQUEST, ciaddr=IPv4Address("10.77.0.104")),
        leases=(has("10.77.0.104"),),
        says=ACK,
        address="10.77.0.104",
        kept=(("10.77.0.104", BOUND),),
    ),
    "a stranger that renews what was lost gets it again where it is free": Case(
        asked=request(REQUEST, ciaddr=IPv4Address("10.77.0.104")),
        says=ACK,
        address="10.77.0.104",
        kept=(("10.77.0.104", BOUND),),
    ),
    "a stranger that renews what is another's is refused": Case(
        asked=request(REQUEST, ciaddr=IPv4Address("10.77.0.104")),
        leases=(has("10.77.0.104", OTHER),),
        says=NAK,
        reason="isn't free",
    ),
    "a stranger that renews an address that the pool no longer has is refused": Case(
        asked=request(REQUEST, ciaddr=IPv4Address("10.77.0.200")),
        leases=(has("10.77.0.200"),),
        says=NAK,
        reason="isn't free",
    ),
    "another server's client that rebinds is left to it": Case(
        asked=request(REQUEST, ciaddr=IPv4Address("10.77.0.200")), reason="nothing is recorded"
    ),
    "a REQUEST that names no address gets no answer": Case(asked=request(REQUEST), reason="names no address"),
    "a REQUEST can't send its ACK to somebody else": Case(
        asked=request(REQUEST, N01.mac, wants("10.77.0.10"), ciaddr=IPv4Address("198.51.100.1")),
        node=N01,
        reason="but from 198.51.100.1",
    ),
    "a DECLINE from the address's client takes it out of use": Case(
        asked=request(DECLINE, options=OURS | wants("10.77.0.104")),
        leases=(has("10.77.0.104"),),
        reason="declined 10.77.0.104",
        kept=(("10.77.0.104", DECLINED),),
    ),
    "a DECLINE of another's address is not believed": Case(
        asked=request(DECLINE, options=OURS | wants("10.77.0.104")),
        leases=(has("10.77.0.104", OTHER),),
        reason="isn't its own",
    ),
    "a DECLINE under another's identifier is not believed": Case(
        asked=request(DECLINE, options=OURS | wants("10.77.0.104") | {61: b"\x01" + OTHER.octets}),
        leases=(has("10.77.0.104", OTHER),),
        reason="isn't its own",
    ),
    "a DECLINE of an address never given is not believed": Case(
        asked=request(DECLINE, options=OURS | wants("10.77.0.104")), reason="isn't its own"
    ),
    "a DECLINE of an address whose lease is over is not believed": Case(
        asked=request(DECLINE, options=OURS | wants("10.77.0.104")),
        leases=(has("10.77.0.104", expires=NOW - 1),),
        reason="isn't its own",
    ),
    "a RELEASE from the address's client frees it": Case(
        asked=request(RELEASE, options=OURS, ciaddr=IPv4Address("10.77.0.104")),
        leases=(has("10.77.0.104"),),
        reason="released 10.77.0.104",
        kept=(("10.77.0.104", RELEASED),),
    ),
    "a RELEASE of another's address is not believed": Case(
        asked=request(RELEASE, options=OURS, ciaddr=IPv4Address("10.77.0.104")),
        leases=(has("10.77.0.104", OTHER),),
        reason="isn't its own",
    ),
    "a RELEASE meant for another server is left to it": Case(
        asked=request(RELEASE, options=THEIRS, ciaddr=IPv4Address("10.77.0.104")),
        leases=(has("10.77.0.104"),),
        reason="another DHCP server",
    ),
    # Both
    "an INFORM gets parameters, no address and no times": Case(
        asked=request(INFORM, ciaddr=IPv4Address("10.77.0.7")),
        says=ACK,
        header={"ciaddr": IPv4Address("10.77.0.7"), "yiaddr": NOBODY},
    ),
    "an INFORM without an address gets no answer": Case(asked=request(INFORM), reason="INFORM from 0.0.0.0"),
    "an INFORM from outside gets no answer": Case(
        asked=request(INFORM, ciaddr=IPv4Address("198.51.100.1")), reason="INFORM from 198.51.100.1"
    ),
    "a DISCOVER with an address of its own sends no OFFER there": Case(
        asked=request(DISCOVER, ciaddr=IPv4Address("198.51.100.1")), reason="198.51.100.1"
    ),
    "a stranger that speaks BOOTP gets no answer": Case(asked=request(None), reason="never end"),
    "a node that says another address by BOOTP gets no answer": Case(
        asked=request(None, N01.mac, ciaddr=STRANGERS), node=N01, reason="it says by BOOTP 10.77.0.100"
    ),
    "an OFFER sent to a server gets no answer": Case(asked=request(OFFER), reason="only servers send"),
    "a relay of this network hears the answer": Case(
        asked=request(DISCOVER, giaddr=RELAY, flags=0x8000),
        says=OFFER,
        address="10.77.0.100",
        header={"giaddr": RELAY, "flags": 0x8000},
    ),
    "a NAK through a relay must be broadcast": Case(
        asked=request(REQUEST, options=wants("192.168.1.7"), giaddr=RELAY),
        says=NAK,
        header={"giaddr": RELAY, "flags": 0x8000},
    ),
    "a client that names its relay as server without the relay's word for it chose another": Case(
        asked=request(REQUEST, N01.mac, {54: RELAY.packed, 50: N01.address.packed}, giaddr=RELAY),
        node=N01,
        reason="another DHCP server",
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_section_4_3(case: Case) -> None:
    book = LeaseBook(case.network, case.leases)
    found = ask(case.asked, book, case.node)
    told = found.message.type if isinstance(found, Reply) else None
    assert told is case.says, found
    text = found.note if isinstance(found, Reply | Settled) else found.reason
    assert case.reason in text
    kept = () if isinstance(found, Ignore) else found.leases
    assert tuple((str(lease.address), lease.state) for lease in kept) == case.kept
    if isinstance(found, Reply):
        message = found.message
        assert (message.op, message.xid, message.chaddr) == (2, case.asked.xid, case.asked.chaddr)
        assert message.options[54] == SERVER.packed
        assert message.yiaddr == (IPv4Address(case.address) if case.address else NOBODY)
        assert case.lease_time is None or message.options[51] == case.lease_time
        for name, value in case.header.items():
            assert getattr(message, name) == value
        if case.says is NAK:
            assert case.reason.encode() in message.options[56]
            assert not message.options.keys() & {1, 3, 51, 66, 67}
            assert (message.ciaddr, message.siaddr, message.file) == (NOBODY, NOBODY, b"")
        if not case.address:
            assert not message.options.keys() & {51, 58, 59}


def told(message: Message, node: Node | None = N01, decision: NetBoot | LocalBoot | Wait = BOOT) -> Reply:
    """The reply that must come."""
    found = ask(message, LeaseBook(NETWORK), node, decision=decision)
    assert isinstance(found, Reply)
    return found


def test_the_boot_file_and_its_server_are_wherever_some_firmware_looks() -> None:
    """shim reads only the header, U-Boot only `file`, EDK2 prefers 67; Linux does not read 52."""
    message = told(request(DISCOVER, N01.mac, PXE)).message
    assert message.siaddr == SERVER
    assert message.file == b"loaders/snponly.efi"
    assert message.options[66] == b"10.77.0.1"
    assert message.options[67] == b"loaders/snponly.efi"
    assert message.options[60] == b"PXEClient"
    assert message.options[43] == b"\x06\x01\x08\xff"
    assert not message.options.keys() & {13, 52}


def test_boot_options_are_sent_unasked() -> None:
    """A ROM asks for no 66 and 67, and boots by them."""
    message = told(request(DISCOVER, N01.mac, PXE | {55: b"\x01\x03"})).message
    assert list(message.options) == [53, 54, 51, 1, 3, 66, 67, 60, 43]


def test_what_the_client_asks_for_comes_in_its_order() -> None:
    """RFC 2131 section 4.3.1."""
    message = told(request(DISCOVER, N01.mac, PXE | {55: b"\x0f\x06\x43\x0c\x77\x03\x01\x1c\xfc"})).message
    # But the mask stands before the router: RFC 2132 section 3.3.
    assert list(message.options) == [53, 54, 51, 15, 6, 67, 12, 119, 1, 3, 28, 66, 60, 43]


def test_what_it_does_not_ask_for_is_spared_except_what_it_needs() -> None:
    message = told(request(DISCOVER, N01.mac, {55: b"\x06"}), decision=LocalBoot(reason="an OS")).message
    assert list(message.options) == [53, 54, 51, 6, 1, 3]


def test_who_gives_no_list_gets_all() -> None:
    options = told(request(DISCOVER, N01.mac), decision=LocalBoot(reason="an OS")).message.options
    assert options == {
        53: bytes([OFFER]),
        54: SERVER.packed,
        51: FOREVER,
        1: address("255.255.255.0"),
        28: address("10.77.0.255"),
        3: address("10.77.0.254"),
        6: address("10.77.0.1") + address("10.77.0.2"),
        12: b"n01",
        15: b"cluster",
        119: b"\x07cluster\x00",
    }


def test_a_stranger_is_given_no_name() -> None:
    assert 12 not in told(request(DISCOVER), node=None, decision=LocalBoot(reason="x")).message.options


def test_times_to_renew_go_with_a_lease_that_ends() -> None:
    options = told(request(DISCOVER), node=None, decision=LocalBoot(reason="x")).message.options
    assert (options[51], options[58], options[59]) == (b"\0\0\x0e\x10", b"\0\0\x07\x08", b"\0\0\x0c\x4e")
    assert not told(request(DISCOVER, N01.mac)).message.options.keys() & {58, 59}


def test_what_the_client_and_the_relay_sent_of_themselves_is_returned() -> None:
    """RFC 6842, RFC 4578, RFC 3046."""
    sent = {61: b"\xff\x01\x02", 97: b"\x00" + bytes(16), 82: b"\x01\x04abcd"}
    offer = told(request(DISCOVER, N01.mac, sent)).message.options
    assert {code: offer[code] for code in sent} == sent
    refusal = told(request(REQUEST, N01.mac, sent | wants("192.168.1.7"))).message.options
    assert {code: refusal[code] for code in sent} == sent


def test_the_decision_wins_over_the_network_and_can_leave_an_option_out() -> None:
    decision = replace(BOOT, options={6: address("10.9.9.9"), 66: b""})
    options = told(request(DISCOVER, N01.mac), decision=decision).message.options
    assert options[6] == address("10.9.9.9")
    assert 66 not in options


def test_a_name_too_long_for_the_header_stands_in_option_67() -> None:
    longest, too_long = "x" * 127, "x" * 128
    assert told(request(DISCOVER), decision=replace(BOOT, bootfile=longest)).message.file == longest.encode()
    message = told(request(DISCOVER), decision=replace(BOOT, bootfile=too_long)).message
    assert (message.file, message.options[67]) == (b"", too_long.encode())


def test_who_has_nothing_to_boot_is_told_of_no_server() -> None:
    for decision in (LocalBoot(reason="x"), Wait(reason="x")):
        message = told(request(DISCOVER, N01.mac, PXE), decision=decision).message
        assert (message.siaddr, message.file) == (NOBODY, b"")
        assert not message.options.keys() & {66, 67}


def test_each_reply_says_in_words_what_was_told_and_why() -> None:
    offer = told(request(DISCOVER, N01.mac, PXE))
    assert offer.note == "offered 10.77.0.10, boot file loaders/snponly.efi (UEFI gets iPXE)"
    assert (offer.stage, offer.level) == (Stage.OFFER, Level.INFO)
    ack = told(request(REQUEST, N01.mac, wants("10.77.0.10")), decision=LocalBoot(reason="an OS asks"))
    assert (ack.note, ack.stage) == ("given 10.77.0.10, nothing to boot: an OS asks", Stage.ACK)
    wait = told(request(DISCOVER, N01.mac), decision=Wait(reason="no image"))
    assert (wait.note, wait.level) == ("offered 10.77.0.10, nothing to boot: no image", Level.WARNING)
    informed = told(request(INFORM, N01.mac, ciaddr=N01.address))
    assert informed.note.startswith("told the parameters for 10.77.0.10, boot file")
    assert informed.stage is None
    refusal = told(request(REQUEST, N01.mac, wants("192.168.1.7")))
    assert (refusal.note, refusal.stage) == ("refused: n01 has 10.77.0.10, not 192.168.1.7", None)
    assert refusal.level is Level.WARNING


@pytest.mark.parametrize("kind", [DISCOVER, REQUEST, INFORM])
def test_a_decision_not_to_answer_holds_for_every_question(kind: MessageType) -> None:
    asked = request(kind, N01.mac, wants("10.77.0.10"))
    assert ask(asked, LeaseBook(NETWORK), N01, decision=Ignore(reason="off")) == Ignore(reason="off")


def test_a_server_that_the_client_chose_instead_of_us_is_named() -> None:
    assert other_server(request(REQUEST, options=THEIRS), NETWORK) == IPv4Address("10.77.0.3")
    assert other_server(request(REQUEST, options=OURS), NETWORK) is None
    assert other_server(request(DISCOVER), NETWORK) is None


def test_the_same_client_gets_the_same_address_again() -> None:
    book = LeaseBook(NETWORK)
    for _ in range(3):
        offer = ask(request(DISCOVER), book)
        assert isinstance(offer, Reply)
        assert offer.message.yiaddr == IPv4Address("10.77.0.100")
        ask(request(REQUEST, options=OURS | {50: offer.message.yiaddr.packed}), book)
        other = ask(request(DISCOVER, OTHER), book)
        assert isinstance(other, Reply)
        assert other.message.yiaddr == IPv4Address("10.77.0.101")


def test_a_client_that_declined_is_offered_another_address_and_the_first_rests() -> None:
    book = LeaseBook(NETWORK)
    ask(request(DISCOVER), book)
    ask(request(REQUEST, options=OURS | wants("10.77.0.100")), book)
    ask(request(DECLINE, options=OURS | wants("10.77.0.100")), book)
    again = ask(request(DISCOVER, options=wants("10.77.0.100")), book)
    assert isinstance(again, Reply)
    assert again.message.yiaddr == IPv4Address("10.77.0.101")
    later = ask(request(DISCOVER, OTHER, wants("10.77.0.100")), book, now=NOW + DECLINED_RESTS)
    assert isinstance(later, Reply)
    assert later.message.yiaddr == IPv4Address("10.77.0.100")


def test_an_exhausted_pool_answers_nobody_and_says_so() -> None:
    small = replace(NETWORK, address=IPv4Interface("10.77.0.1/24"))
    leases = [has(f"10.77.0.{n}", Mac.from_octets(b"\x52\x54\0\0\1" + bytes([n]))) for n in range(100, 110)]
    found = ask(request(DISCOVER), LeaseBook(small, leases))
    assert found == Ignore(reason="every address of the pool 10.77.0.100-10.77.0.109 is taken")


def test_a_host_name_from_the_wire_is_kept_printable_and_bounded() -> None:
    book = LeaseBook(NETWORK)
    found = ask(request(REQUEST, options=OURS | wants("10.77.0.100") | {12: b"\x1b[31m" + b"x" * 200}), book)
    assert isinstance(found, Reply)
    assert found.leases[0].host_name == "?[31m" + "x" * 58
