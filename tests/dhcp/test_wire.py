"""What the wire module promises: every bound held, every piece joined, nothing lost on the way back."""

import struct
from ipaddress import IPv4Address

import pytest

from netbootd.dhcp import wire
from netbootd.dhcp.options import MessageType, Option
from netbootd.dhcp.wire import Message, WireError, decode, decode_any, encode, fit
from netbootd.node import Mac

MAC = Mac("52:54:00:00:00:01")


def packet(
    options: bytes = b"\x35\x01\x01\xff", *, file: bytes = b"", sname: bytes = b"", **fields: int
) -> bytes:
    """A request laid out by hand after RFC 2131 figure 1, so that both directions are checked against it."""
    head = {"op": 1, "htype": 1, "hlen": 6, "hops": 0, "xid": 7, "secs": 0, "flags": 0, **fields}
    return (
        struct.pack("!BBBBIHH", *head.values())
        + bytes(16)
        + MAC.octets.ljust(16, b"\0")
        + sname.ljust(64, b"\0")
        + file.ljust(128, b"\0")
        + b"\x63\x82\x53\x63"
        + options
    )


def test_every_field_of_the_header_is_read_where_rfc_2131_has_it() -> None:
    octets = bytearray(packet(hops=3, xid=0xDEADBEEF, secs=258, flags=0x8000, sname=b"srv", file=b"f.efi"))
    octets[12:28] = bytes((10, 0, 0, 1, 10, 0, 0, 2, 10, 0, 0, 3, 10, 0, 0, 4))
    assert decode(bytes(octets)) == Message(
        op=1,
        hops=3,
        xid=0xDEADBEEF,
        secs=258,
        flags=0x8000,
        ciaddr=IPv4Address("10.0.0.1"),
        yiaddr=IPv4Address("10.0.0.2"),
        siaddr=IPv4Address("10.0.0.3"),
        giaddr=IPv4Address("10.0.0.4"),
        chaddr=MAC,
        sname=b"srv",
        file=b"f.efi",
        options={53: b"\x01"},
    )


def test_what_is_encoded_lies_where_rfc_2131_has_it() -> None:
    message = decode(packet(b"\x35\x01\x03\x32\x04\x0a\x4d\x00\x0a\xff", hops=1, flags=0x8000, file=b"x"))
    expected = packet(b"\x35\x01\x03\x32\x04\x0a\x4d\x00\x0a\xff", hops=1, flags=0x8000, file=b"x")
    assert encode(message) == expected.ljust(300, b"\0")


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (b"", "too few"),
        (packet()[:239], "too few"),
        (packet()[:235], "too few"),
        (packet(bytes(5000)), "longer than"),
        (packet().replace(b"\x63\x82\x53\x63", b"abcd"), "cookie"),
        (packet(op=2), "not a request"),
        (packet(op=9), "neither"),
        (packet(htype=6), "isn't Ethernet"),
        (packet(hlen=16), "isn't Ethernet"),
        (packet().replace(MAC.octets, bytes(6)), "chaddr"),
        (packet().replace(MAC.octets, b"\xff" * 6), "chaddr"),
        (packet(b"\x35"), "beyond the end"),
        (packet(b"\x35\x01"), "beyond the end"),
        (packet(b"\x35\x01\x01\x3c\xff"), "beyond the end"),
        (packet(b"\x35\x02\x01\x01\xff"), "option 53"),
        (packet(b"\x35\x01\x01\x35\x01\x01\xff"), "option 53"),
        (packet(b"\x35\x01\x01\x32\x03abc\xff"), "option 50"),
        (packet(b"\x35\x01\x01\x36\x00\xff"), "option 54"),
        (packet(b"\x35\x01\x01\x39\x01\x02\xff"), "option 57"),
        (packet(b"\x34\x01\x04\x35\x01\x01\xff"), "option 52"),
        (packet(b"\x34\x00\x35\x01\x01\xff"), "option 52"),
        (packet(b"\x34\x01\x01\x35\x01\x01\xff", file=b"\x3c\xfeabc"), "beyond the end"),
        (packet(b"\x35\x01\x01" + (b"\x3d\xc8" + bytes(200)) * 2 + b"\xff"), "client identifier"),
    ],
)
def test_what_isnt_a_request_is_refused_with_the_reason(octets: bytes, reason: str) -> None:
    with pytest.raises(WireError, match=reason):
        decode(octets)


def test_a_reply_is_read_from_a_capture() -> None:
    assert decode_any(packet(op=2)).op == 2


def test_pad_octets_and_a_missing_end_mark_do_no_harm() -> None:
    assert decode(packet(b"\0\0\x35\0".replace(b"\x35\0", b"\x35\x01\x01"))).options == {53: b"\x01"}


def test_nothing_after_the_end_mark_is_read() -> None:
    assert decode(packet(b"\x35\x01\x01\xff\x3c\xff\xff")).options == {53: b"\x01"}


def test_the_pieces_of_a_long_option_are_joined() -> None:
    """RFC 3396 section 7."""
    options = b"\x35\x01\x01\x3c\x02PX\x0c\x01a\x3c\x03ECl\xff"
    assert decode(packet(options)).options == {53: b"\x01", 60: b"PXECl", 12: b"a"}


@pytest.mark.parametrize(
    ("overload", "options", "file", "sname"),
    [
        (1, {53: b"\x01", 12: b"ab"}, b"", b"server"),
        (2, {53: b"\x01", 12: b"c"}, b"\x0c\x02ab\xff", b""),
        (3, {53: b"\x01", 12: b"abc"}, b"", b""),
    ],
)
def test_overloaded_fields_hold_options_file_before_sname(
    overload: int, options: dict[int, bytes], file: bytes, sname: bytes
) -> None:
    """RFC 2132 section 9.3, RFC 3396 section 5."""
    sent_sname = b"\x0c\x01c\xff" if overload & 2 else b"server"
    octets = packet(bytes((52, 1, overload)) + b"\x35\x01\x01\xff", file=b"\x0c\x02ab\xff", sname=sent_sname)
    message = decode(octets)
    assert (dict(message.options), message.file, message.sname) == (options, file, sname)


def test_the_type_and_the_server_come_first_and_the_relays_option_last() -> None:
    """RFC 3046 section 2.2."""
    options = {82: b"\x01\x01a", 1: bytes(4), 54: bytes(4), 67: b"x", 53: b"\x02"}
    octets = encode(Message(op=2, xid=1, chaddr=MAC, options=options))
    assert list(decode_any(octets).options) == [53, 54, 1, 67, 82]


def test_a_value_over_255_octets_is_split_and_comes_back_whole() -> None:
    long = bytes(range(256)) * 3
    octets = encode(Message(op=2, xid=1, chaddr=MAC, options={53: b"\x02", 43: long, 80: b""}))
    assert octets[243:247] == b"\x50\x00\x2b\xff"  # who can't join pieces has read the rest before them
    assert decode_any(octets).options == {53: b"\x02", 43: long, 80: b""}


def test_a_reply_has_an_end_mark_and_300_octets_at_least() -> None:
    octets = encode(Message(op=2, xid=1, chaddr=MAC, options={53: b"\x05"}))
    assert len(octets) == 300
    assert octets[240:244] == b"\x35\x01\x05\xff"
    assert set(octets[244:]) == {0}


@pytest.mark.parametrize(
    ("sent", "limit"),
    [(None, 548), (576, 548), (100, 548), (1472, 1444), (1500, 1472), (0xFF00, 1472)],
)
def test_the_limit_is_what_the_client_says_within_reason(sent: int | None, limit: int) -> None:
    """UEFI sends 57 = 0xff00 in its REQUEST (captures/uefi-x64-pxe-to-grub.pcap)."""
    options = {} if sent is None else {int(Option.MAXIMUM_SIZE): sent.to_bytes(2, "big")}
    assert Message(op=1, xid=1, chaddr=MAC, options={53: b"\1", **options}).limit == limit


@pytest.mark.parametrize("octets", [packet()[:236], packet()[:236] + bytes(64)], ids=["none", "zeros"])
def test_bootp_without_vendor_information_is_a_request_without_options(octets: bytes) -> None:
    """klibc's ipconfig ends with `file`; RFC 951 has 64 octets that may be zeros."""
    request = decode(octets)
    assert (request.chaddr, request.type, dict(request.options)) == (MAC, None, {})


def test_a_bootp_client_gets_no_more_than_bootp_has_room_for() -> None:
    assert Message(op=1, xid=1, chaddr=MAC, options={1: b""}).limit == 300


def test_what_fits_is_left_as_it_is() -> None:
    options = {53: b"\x02", 67: bytes(300 - 240 - 1 - 3 - 2)}
    message = Message(op=2, xid=1, chaddr=MAC, options=options)
    assert len(encode(message)) == 300
    assert fit(message, 300) == (message, ())
    assert fit(message, 299)[1] == (67,)


def test_where_room_is_short_comforts_go_first_then_boot_options_then_the_relays() -> None:
    options = {
        53: b"\x02",
        54: bytes(4),
        67: bytes(90),
        119: bytes(90),
        66: bytes(90),
        15: bytes(90),
        82: bytes(90),
    }
    message = Message(op=2, xid=1, chaddr=MAC, options=options)
    left_out = [fit(message, 250 + 92 * count)[1] for count in range(6)]
    assert left_out == [(15, 119, 66, 67, 82), (15, 119, 66, 67), (15, 119, 66), (15, 119), (15,), ()]
    for count in range(6):
        fitting, _ = fit(message, 250 + 92 * count)
        assert len(encode(fitting)) <= max(wire.MINIMUM, 250 + 92 * count)


def test_a_size_counts_each_piece_of_a_split_option() -> None:
    message = Message(op=2, xid=1, chaddr=MAC, options={53: b"\x02", 43: bytes(600)})
    assert fit(message, len(encode(message)))[1] == ()
    assert fit(message, len(encode(message)) - 1)[1] == (43,)


def test_the_client_is_known_by_its_identifier_or_its_card() -> None:
    message = decode(packet(b"\x35\x01\x01\xff"))
    assert message.client_id == b"\x01" + MAC.octets
    assert decode(packet(b"\x35\x01\x01\x3d\x03abc\xff")).client_id == b"abc"
    assert decode(packet(b"\x35\x01\x01\x3d\x00\xff")).client_id == b"\x01" + MAC.octets


def test_bootp_and_unknown_types_have_no_type() -> None:
    assert decode(packet(b"\xff")).type is None
    assert decode(packet(b"\x35\x01\x2a\xff")).type is None
    assert decode(packet(b"\x35\x01\x08\xff")).type is MessageType.INFORM
