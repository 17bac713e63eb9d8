"""Beside another DHCP server: what netbootd offers, to whom, and that it never gives an address."""

from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netbootd.boot.answer import Decision, Ignore, LocalBoot, NetBoot, Wait
from netbootd.boot.client import from_dhcp
from netbootd.boot.firmware import FAMILIES, recognise
from netbootd.ctl.specimens import SPECIMENS
from netbootd.dhcp import destination, options, wire
from netbootd.dhcp.options import MessageType
from netbootd.dhcp.proxy import answer, answer_boot_server
from netbootd.dhcp.reservation import Answer, Reply, Settled
from netbootd.dhcp.wire import Message
from netbootd.network import DhcpMode
from netbootd.node import Mac, Node
from netbootd.stage import Level
from tests.dhcp.packets import CAPTURES, N01, NETWORK, SERVER, decide, dhcp_payloads, request

NOBODY = IPv4Address(0)
OTHER = IPv4Address("10.77.0.254")
PROXY = replace(NETWORK, dhcp=DhcpMode.PROXY, pool=None)
USE_THE_BOOTFILE = bytes((6, 1, 8, 255))


def asks(message: Message, node: Node | None = N01, decision: Decision | None = None) -> Answer:
    """The answer at port 67."""
    client = from_dhcp(message.chaddr, message.options)
    return answer(message, client, decision or decide(client, node, PROXY), node, PROXY)


def asks_4011(message: Message, node: Node | None = N01) -> Answer:
    """The answer at port 4011."""
    client = from_dhcp(message.chaddr, message.options)
    return answer_boot_server(message, client, decide(client, node, PROXY), node, PROXY)


def sent(found: Answer) -> Message:
    """The message of an answer that is one, as it is on the wire."""
    assert isinstance(found, Reply), found
    return wire.decode_any(wire.encode(wire.fit(found.message, wire.FRAME_LIMIT)[0]))


def discover(capture: str, vendor_class: bytes, *, user_class: bytes | None = None) -> Message:
    """The first DISCOVER of a real machine in a capture, as if n01 had sent it."""
    for octets in dhcp_payloads(CAPTURES / capture):
        message = wire.decode_any(octets)
        if (
            message.type is MessageType.DISCOVER
            and message.options.get(60, b"").startswith(vendor_class)
            and message.options.get(77) == user_class
        ):
            return replace(message, chaddr=N01.mac)
    raise LookupError(capture)


BIOS = SPECIMENS["bios"].discover(N01.mac)
UEFI = discover("uefi-x64-pxe-to-grub.pcap", b"PXEClient:Arch:00007")
IPXE = discover("bios-ipxe-rom-to-lpxelinux.pcap", b"PXEClient", user_class=b"iPXE")


def test_a_bios_rom_is_offered_the_boot_file_and_told_to_ask_nobody_else() -> None:
    message = sent(asks(BIOS))
    assert (message.type, message.yiaddr, message.siaddr) == (MessageType.OFFER, NOBODY, SERVER)
    assert message.options[54] == SERVER.packed
    assert message.options[60] == b"PXEClient"
    assert message.options[43] == USE_THE_BOOTFILE
    assert message.file == message.options[67] == b"loaders/undionly.kpxe"
    assert message.options[97] == BIOS.options[97]
    for code in (1, 3, 6, 12, 15, 51, 58, 59):
        assert code not in message.options, "that is the other server's to say"


def test_uefi_is_offered_the_proxy_alone_and_asks_it_at_4011() -> None:
    offer = sent(asks(UEFI))
    assert (offer.yiaddr, offer.options[60], 43 in offer.options) == (NOBODY, b"PXEClient", False)
    assert offer.options[97] == UEFI.options[97]
    assert offer.broadcast
    binl = replace(
        UEFI,
        flags=0,
        ciaddr=N01.address,
        options={**UEFI.options, 53: bytes([MessageType.REQUEST]), 54: offer.options[54]},
    )
    ack = sent(asks_4011(binl))
    assert (ack.type, ack.yiaddr, ack.ciaddr, ack.siaddr) == (MessageType.ACK, NOBODY, N01.address, SERVER)
    assert (ack.options[43], ack.options[60]) == (USE_THE_BOOTFILE, b"PXEClient")
    assert ack.file == ack.options[67] == b"loaders/snponly.efi"


def test_ipxe_takes_the_offer_of_its_script_for_a_proxys() -> None:
    message = sent(asks(IPXE))
    assert (message.yiaddr, message.options[60]) == (NOBODY, b"PXEClient")
    assert message.options[67] == b"http://10.77.0.1/boot/52-54-00-00-00-01/boot.ipxe"


def test_what_ipxe_asks_at_4011_is_answered_there() -> None:
    asked = replace(IPXE, ciaddr=N01.address, options={**IPXE.options, 53: b"\x03", 54: SERVER.packed})
    found = asks_4011(asked)
    message = sent(found)
    assert isinstance(found, Reply)
    assert message.options[67] == b"http://10.77.0.1/boot/52-54-00-00-00-01/boot.ipxe"
    to = destination.of_boot_server(found.message, N01.address, 4011)
    assert (to.address, to.port, to.way) == (N01.address, 4011, destination.Way.UNICAST)
    to = destination.of_boot_server(found.message, NOBODY, 68)
    assert (to.address, to.port) == (destination.BROADCAST, 68)


def test_a_menu_entry_that_was_chosen_is_repeated() -> None:
    """PXE 2.1: sub-option 71, type and layer."""
    asked = replace(BIOS, options={**BIOS.options, 53: b"\x03", 43: bytes((71, 4, 0, 0, 0, 0, 255))})
    message = sent(asks_4011(asked))
    assert options.sub_options(message.options[43]) == {71: bytes(4), 6: b"\x08"}


@pytest.mark.parametrize("chosen", [b"\x47\x03abc", (b"\x47\xc8" + bytes(200)) * 2, b"\x47\x00", b"\x47"])
def test_a_menu_entry_that_is_none_is_not_repeated(chosen: bytes) -> None:
    """Two pieces add up to more octets than a length can tell of: no packet may stop the server."""
    asked = replace(BIOS, options={**BIOS.options, 53: b"\x03", 43: chosen})
    assert options.sub_options(sent(asks_4011(asked)).options[43]) == {6: b"\x08"}


def test_http_boot_is_answered_in_its_own_name() -> None:
    asked = SPECIMENS["http"].discover(N01.mac)
    boot = NetBoot(firmware="http", server=SERVER, bootfile="http://10.77.0.1/x.efi", reason="")
    message = sent(asks(asked, decision=boot))
    assert message.options[60].startswith(b"HTTPClient")
    assert (message.yiaddr, message.options[67]) == (NOBODY, b"http://10.77.0.1/x.efi")


def test_a_pi_is_offered_the_menu_that_it_looks_for() -> None:
    asked = SPECIMENS["pi4"].discover(N01.mac)
    client = from_dhcp(asked.chaddr, asked.options)
    family = recognise(client)
    assert family is not None and family.name == "raspberrypi" and family.behind_proxy
    menu = bytes.fromhex("0601030a0400505845091400001152617370626572727920506920426f6f74ff")
    boot = NetBoot(firmware="raspberrypi", server=SERVER, bootfile="", reason="", options={43: menu, 66: b""})
    message = sent(asks(asked, decision=boot))
    assert (message.yiaddr, message.options[43], message.options[60]) == (NOBODY, menu, b"PXEClient")
    assert 66 not in message.options and 67 not in message.options


@pytest.mark.parametrize("firmware", ["uboot", "uboot-arm32"])
def test_u_boot_gets_no_useless_offer_and_its_owner_the_reason(firmware: str) -> None:
    boot = NetBoot(firmware="uboot", server=SERVER, bootfile="boot.scr.uimg", reason="")
    found = asks(SPECIMENS[firmware].discover(N01.mac), decision=boot)
    assert isinstance(found, Ignore)
    assert "U-Boot takes nothing from a proxyDHCP server" in found.reason
    assert "`netbootctl why n01` prints the lines" in found.reason


@pytest.mark.parametrize(
    ("decision", "reason"),
    [
        (Wait(reason="n01 has no image"), "n01 has no image"),
        (Ignore(reason="nobody"), "nobody"),
    ],
)
def test_who_has_nothing_to_boot_gets_nothing(decision: Decision, reason: str) -> None:
    found = asks(BIOS, decision=decision)
    assert isinstance(found, Ignore) and reason in found.reason


def test_a_system_that_asks_for_its_address_is_left_to_the_other_server() -> None:
    found = asks(BIOS, decision=LocalBoot(reason="an operating system"))
    assert isinstance(found, Settled) and "an operating system" in found.note


def test_a_machine_that_isnt_registered_gets_nothing() -> None:
    found = asks(replace(BIOS, chaddr=Mac("52:54:00:ff:00:01")), node=None)
    assert isinstance(found, Ignore) and "isn't registered" in found.reason


@pytest.mark.parametrize(
    ("wanted", "level", "told"),
    [
        (N01.address, Level.INFO, "asks the DHCP server 10.77.0.254 for 10.77.0.10, its own address"),
        (
            IPv4Address("10.77.0.77"),
            Level.WARNING,
            "asks the DHCP server 10.77.0.254 for 10.77.0.77, but is registered with 10.77.0.10",
        ),
    ],
)
def test_what_a_node_asks_the_other_server_for_is_compared_with_its_address(
    wanted: IPv4Address, level: Level, told: str
) -> None:
    asked = request(MessageType.REQUEST, N01.mac, {54: OTHER.packed, 50: wanted.packed})
    found = asks(asked)
    assert isinstance(found, Settled)
    assert (found.level, told in found.note) == (level, True), found.note


def test_at_4011_an_address_that_isnt_its_own_is_told_of() -> None:
    asked = replace(BIOS, ciaddr=IPv4Address("10.77.0.77"), options={**BIOS.options, 53: b"\x03"})
    found = asks_4011(asked)
    assert isinstance(found, Reply) and found.level is Level.WARNING
    assert "it has 10.77.0.77, but is registered with 10.77.0.10" in found.note


def test_a_request_that_names_us_is_answered_if_it_wants_to_boot_and_with_no_address_in_any_case() -> None:
    named = {53: b"\x03", 54: SERVER.packed, 50: N01.address.packed}
    ack = sent(asks(replace(BIOS, options={**BIOS.options, **named})))
    assert (ack.type, ack.yiaddr, 51 in ack.options) == (MessageType.ACK, NOBODY, False)
    found = asks(request(MessageType.REQUEST, N01.mac, {54: SERVER.packed, 50: N01.address.packed}))
    assert isinstance(found, Ignore) and "gives none in proxy mode" in found.reason


def test_an_admins_boot_options_win_and_others_are_the_other_servers() -> None:
    node = replace(N01, dhcp_options={67: b"own.0", 6: OTHER.packed, 209: b"cfg"})
    message = sent(asks(BIOS, node))
    assert (message.options[67], message.options[209], 6 in message.options) == (b"own.0", b"cfg", False)


def test_an_answer_through_a_relay_is_one() -> None:
    agent = b"\x01\x02ab"
    asked = replace(BIOS, giaddr=OTHER, options={**BIOS.options, 82: agent})
    found = asks(asked)
    assert isinstance(found, Reply)
    assert list(found.message.options.items())[-1] == (82, agent)
    assert destination.of(asked, found.message, 67).address == OTHER


kinds = st.sampled_from([*MessageType, None])
specimens = st.sampled_from(sorted(SPECIMENS))
addresses = st.sampled_from([NOBODY, N01.address, SERVER, OTHER, IPv4Address("10.77.0.77")])


@given(
    kind=kinds,
    firmware=specimens,
    ciaddr=addresses,
    requested=addresses,
    server=st.sampled_from([None, SERVER, OTHER]),
    node=st.sampled_from([None, N01]),
    vendor=st.binary(max_size=12),
)
def test_no_message_of_any_client_gets_an_address(
    kind: MessageType | None,
    firmware: str,
    ciaddr: IPv4Address,
    requested: IPv4Address,
    server: IPv4Address | None,
    node: Node | None,
    vendor: bytes,
) -> None:
    base = SPECIMENS[firmware].discover(N01.mac)
    values = {code: value for code, value in base.options.items() if code != 53}
    values |= {53: bytes([kind])} if kind else {}
    values |= {50: requested.packed, 43: vendor} | ({54: server.packed} if server else {})
    asked = replace(base, ciaddr=ciaddr, options=values)
    for found in (asks(asked, node), asks_4011(asked, node)):
        if isinstance(found, Reply):
            message = sent(found)
            assert message.yiaddr == NOBODY
            assert not {1, 3, 50, 51, 58, 59} & message.options.keys()
        else:
            assert not getattr(found, "leases", ())


def test_only_who_can_use_it_is_called_able_to() -> None:
    able = {family.name for family in FAMILIES if family.behind_proxy}
    assert able == {"ipxe", "http", "raspberrypi", "uefi", "bios"}


@pytest.mark.parametrize("kind", [MessageType.DISCOVER, MessageType.REQUEST])
def test_no_offer_goes_to_an_address_outside_the_network(kind: MessageType) -> None:
    """It would be unicast to ciaddr, and a request says there what it likes."""
    outside = replace(
        BIOS,
        ciaddr=IPv4Address("198.51.100.7"),
        options={**BIOS.options, 53: bytes([kind]), 54: SERVER.packed},
    )
    found = asks(outside)
    assert isinstance(found, Ignore) and "198.51.100.7, which lies outside 10.77.0.0/24" in found.reason
