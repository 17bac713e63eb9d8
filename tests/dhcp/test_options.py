"""Values in the octets that the RFCs give them, and readable to a person."""

from ipaddress import IPv4Address

import pytest

from netbootd.dhcp import options


def test_a_domain_search_list_is_written_as_dns_does() -> None:
    assert options.domain_search(["cluster", "eng.apple.com."]) == b"\x07cluster\0\x03eng\x05apple\x03com\0"


def test_sub_options_end_at_the_end_mark_or_where_one_is_cut_short() -> None:
    assert options.sub_options(b"\x06\x01\x08\x00\x0a\x02ab\xff\x09\x01x") == {6: b"\x08", 10: b"ab"}
    assert options.sub_options(b"\x01\x02ab\x02\x05abc") == {1: b"ab"}
    assert options.sub_options(b"\x01") == {}


def test_texts_from_the_wire_are_printable_and_bounded() -> None:
    assert options.printable(b"n01\x1b[2J\n\xff\0\0") == "n01?[2J??"
    assert len(options.printable(b"x" * 1000, longest=63)) == 63


@pytest.mark.parametrize(
    ("code", "value", "shown"),
    [
        (1, b"\xff\xff\xff\x00", "255.255.255.0"),
        (6, b"\x0a\x4d\x00\x01\x0a\x4d\x00\x02", "10.77.0.1, 10.77.0.2"),
        (6, b"\x0a\x4d", "0a 4d"),
        (12, b"n01", "n01"),
        (43, b"\x06\x01\x08\xff", "6: 08"),
        (51, b"\xff\xff\xff\xff", "for ever"),
        (51, b"\x00\x00\x0e\x10", "3600 s"),
        (51, b"\x01", "01"),
        (53, b"\x02", "OFFER"),
        (53, b"\x63", "63"),
        (55, b"\x01\x03\x42", "1 3 66"),
        (57, b"\x02\x40", "576"),
        (67, b"loaders/undionly.kpxe\0", "loaders/undionly.kpxe"),
        (93, b"\x00\x07\x00\x09", "7, 9"),
        (93, b"\x07", "07"),
        (97, b"\x00\xab", "00 ab"),
        (119, b"\x07cluster\x00\x01a\x01b\x00", "cluster, a.b"),
        (119, b"\x07clus", "07 63 6c 75 73"),
        (119, b"\xc0\x00", "c0 00"),
        (175, b"\xb0\x01\x01", "176: 01"),
    ],
)
def test_an_option_reads_as_what_it_means_or_else_in_hexadecimal(code: int, value: bytes, shown: str) -> None:
    assert options.describe(code, value) == shown


def test_an_option_has_its_name_or_its_number() -> None:
    assert options.name(67) == "bootfile-name"
    assert options.name(250) == "option-250"


def test_addresses_and_times_are_in_network_order() -> None:
    assert options.addresses([IPv4Address("10.0.0.1"), IPv4Address("10.0.0.2")]) == b"\x0a\0\0\1\x0a\0\0\2"
    assert options.seconds(3600) == b"\x00\x00\x0e\x10"
    assert options.text("häuser") == b"h?user"
