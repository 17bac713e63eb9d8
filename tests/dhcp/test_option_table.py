"""DHCP options as an admin writes them: in the octets of their RFCs, in words again, or refused with why."""

import re
from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netbootd.dhcp import option_table, option_types, options
from netbootd.errors import UserError

RFC_2132 = set(range(1, 62)) | set(range(64, 77))

EXAMPLES = [
    ("ntp-servers", "10.77.0.1, 10.77.0.2", 42, "0a4d00010a4d0002"),
    ("ntp-servers", ["10.77.0.1", "10.77.0.2"], 42, "0a4d00010a4d0002"),
    ("NTP_Server", "10.77.0.1", 42, "0a4d0001"),
    ("option:ntp-server", "10.77.0.1", 42, "0a4d0001"),
    ("42", "10.77.0.1", 42, "0a4d0001"),
    ("option-42", "10.77.0.1", 42, "0a4d0001"),
    ("time-offset", -3600, 2, "fffff1f0"),
    ("time-offset", "3600", 2, "00000e10"),
    ("interface-mtu", 9000, 26, "2328"),
    ("default-ip-ttl", "64", 23, "40"),
    ("ip-forwarding", True, 19, "01"),
    ("ip-forwarding", "off", 19, "00"),
    ("arp-cache-timeout", "30m", 35, "00000708"),
    ("path-mtu-plateau-table", [68, 1500], 25, "004405dc"),
    ("policy-filter", "10.0.0.0 255.0.0.0", 21, "0a000000ff000000"),
    ("static-routes", ["192.0.2.7 10.77.0.2"], 33, "c00002070a4d0002"),
    ("root-path", "10.77.0.1:/srv, with a comma", 17, b"10.77.0.1:/srv, with a comma".hex()),
    ("vendor-encapsulated-options", "01:04:0a:4d:00:01", 43, "01040a4d0001"),
    ("domain-search", "eng.apple.com, cluster", 119, "03656e67056170706c6503636f6d0007636c757374657200"),
    ("classless-static-routes", "10.8.0.0/16 via 10.77.0.2", 121, "100a080a4d0002"),
    # The examples of RFC 3442: all widths that a prefix has
    ("classless-static-routes", "10.0.0.0/8 1.2.3.4", 121, "080a01020304"),
    ("classless-static-routes", "10.17.0.0/16 1.2.3.4", 121, "100a1101020304"),
    ("classless-static-routes", "10.27.129.0/24 1.2.3.4", 121, "180a1b8101020304"),
    ("classless-static-routes", "10.229.0.128/25 1.2.3.4", 121, "190ae5008001020304"),
    ("classless-static-routes", "10.198.122.47/32 1.2.3.4", 121, "200ac67a2f01020304"),
    ("classless-static-routes", "default via 1.2.3.4", 121, "0001020304"),
    ("v6-only-preferred", "30m", 108, "00000708"),
    ("captive-portal", "https://portal.example/", 114, b"https://portal.example/".hex()),
    ("auto-config", 0, 116, "00"),
    ("sip-servers", "10.77.0.5", 120, "010a4d0005"),
    ("sip-servers", "sip.example", 120, "00037369700765" "78616d706c6500"),
    ("tftp-server-addresses", "10.77.0.1", 150, "0a4d0001"),
    ("option-224", "hex:0a0b", 224, "0a0b"),
    ("option-224", "0a 0b", 224, "0a0b"),
    ("ntp-servers", "hex:0a", 42, "0a"),
    ("ntp-servers", "none", 42, ""),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "code", "octets"), EXAMPLES)
def test_what_an_admin_writes_is_sent_in_the_octets_of_its_rfc(
    name: str, value: object, code: int, octets: str
) -> None:
    assert option_table.read(name, value) == (code, bytes.fromhex(octets))


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("ntp-serverz", "10.77.0.1", "no DHCP option 'ntp-serverz'; did you mean ntp-servers?"),
        ("nonsense", "1", "write its number, as in option-224"),
        ("256", "00", "no DHCP option"),
        ("ntp-servers", "10.77.0", "'10.77.0' isn't an IPv4 address; write it as 10.77.0.1, 10.77.0.2"),
        ("ntp-servers", "", "has no value"),
        ("ntp-servers", [], "has no value"),
        ("ntp-servers", "10.77.0.1,", "'' isn't an IPv4 address"),
        ("swap-server", ["10.77.0.1", "10.77.0.2"], "2 values are given, and it has one"),
        ("interface-mtu", 67, "out of range, from 68 to 65535"),
        ("interface-mtu", "9k", "isn't a whole number"),
        ("time-offset", 1 << 31, "out of range"),
        ("ip-forwarding", "perhaps", "neither true nor false"),
        ("static-routes", "0.0.0.0 10.77.0.1", "set routers"),
        ("policy-filter", "10.0.0.0", "isn't two addresses"),
        (
            "classless-static-routes",
            "10.8.0.1/16 via 10.77.0.2",
            "its network is 10.8.0.0/16",
        ),
        ("classless-static-routes", "10.8.0.0/16", "isn't a route"),
        ("domain-search", "a..b", "isn't a domain"),
        ("domain-search", "x" * 64, "isn't a domain"),
        ("nis-domain", "zwölf", "isn't a line of printable ASCII"),
        ("nis-domain", "a\nb", "isn't a line of printable ASCII"),
        ("option-224", "0a0", "isn't hexadecimal, two digits for an octet"),
        ("option-224", 10, "10 is a number, and these octets are written in hexadecimal"),
        ("nis-domain", "x" * 1025, "has 1025 octets; at most 1024"),
        ("arp-cache-timeout", "200w 3d", "isn't a time"),
        ("arp-cache-timeout", "9999999999d", "longer than 32 bits"),
        ("ntp-servers", {"a": 1}, "has to be a text, a number, true or false"),
    ],
)
def test_what_cannot_be_sent_is_refused_and_says_what_would_be_right(
    name: str, value: object, reason: str
) -> None:
    with pytest.raises(UserError) as caught:
        option_table.read(name, value)
    assert reason in str(caught.value)


@pytest.mark.parametrize("code", sorted(option_table.REFUSED))
def test_what_is_not_an_admin_s_to_set_is_refused_with_the_reason(code: int) -> None:
    with pytest.raises(UserError, match=f"option {code} .* can't be set: "):
        option_table.read(str(code), "hex:00")


def test_the_options_of_the_protocol_itself_are_all_refused() -> None:
    assert option_table.REFUSED.keys() >= {0, 12, 50, 51, 52, 53, 54, 55, 57, 61, 82, 97, 255}


def test_every_option_of_rfc_2132_has_a_name_and_every_name_is_one_option_s() -> None:
    assert option_table.KNOWN.keys() >= RFC_2132
    names = [known.name for known in option_table.KNOWN.values()]
    assert len(set(names)) == len(names)
    assert not set(option_table._ALSO) & set(names), "another name that is a name already"
    for also, code in option_table._ALSO.items():
        assert code in option_table.KNOWN, also
    for known in option_table.KNOWN.values():
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", known.name)
        assert option_table.number(known.name) == known.number


@pytest.mark.parametrize("known", option_table.KNOWN.values(), ids=lambda known: known.name)
def test_each_type_s_example_is_taken_and_shown_as_it_would_be_written(known: option_table.Known) -> None:
    octets = option_table._octets(known.type, known.type.example)
    assert octets
    again = option_table.show(known.number, octets)
    assert option_table._octets(known.type, again) == octets


def test_an_option_that_is_not_sent_is_shown_as_none() -> None:
    assert option_table.show(42, b"") == "none"
    assert option_table.show(15, b"none") == "hex:6e6f6e65", "a domain of that name is another thing"


addresses = st.lists(st.integers(0, 2**32 - 1).map(lambda n: str(IPv4Address(n))), min_size=1, max_size=20)
labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
domains = st.lists(st.lists(labels, min_size=1, max_size=4).map(".".join), min_size=1, max_size=5)
networks = st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 32)).map(
    lambda pair: str(IPv4Network(pair, strict=False))
)
address = st.integers(0, 2**32 - 1).map(lambda n: str(IPv4Address(n)))
printable = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=200)
VALUES: dict[str, st.SearchStrategy[object]] = {
    "swap-server": address,
    "ntp-servers": addresses,
    "policy-filter": st.lists(st.tuples(address, address).map(" ".join), min_size=1, max_size=9),
    "static-routes": st.lists(
        st.tuples(address.filter(lambda a: a != "0.0.0.0"), address).map(" ".join), min_size=1, max_size=9
    ),
    "classless-static-routes": st.lists(
        st.tuples(networks, address).map(" via ".join), min_size=1, max_size=9
    ),
    "ip-forwarding": st.booleans(),
    "default-ip-ttl": st.integers(1, 255),
    "interface-mtu": st.integers(68, 65535),
    "arp-cache-timeout": st.integers(0, 2**32 - 1),
    "time-offset": st.integers(-(2**31), 2**31 - 1),
    "path-mtu-plateau-table": st.lists(st.integers(68, 65535), min_size=1, max_size=30),
    "nis-domain": printable.filter(lambda text: not text.startswith("hex:") and text != "none"),
    "vendor-encapsulated-options": st.binary(min_size=1, max_size=300).map(bytes.hex),
    "access-domain": domains.map(lambda found: found[0]),
    "domain-search": domains,
    "sip-servers": st.one_of(addresses, domains),
}


def test_no_type_is_left_out_of_the_round_trip() -> None:
    types = {id(known.type) for known in option_table.KNOWN.values() if known.type.example != "1"}
    tried = {id(option_table.KNOWN[option_table.number(name)].type) for name in VALUES}
    numbers = {id(k.type) for k in option_table.KNOWN.values() if k.type.example.isdigit()}
    assert types <= tried | numbers


@pytest.mark.parametrize("name", VALUES)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_what_is_shown_is_what_was_written(name: str, data: st.DataObject) -> None:
    code, octets = option_table.read(name, data.draw(VALUES[name]))
    assert option_table.read(name, option_table.show(code, octets)) == (code, octets)


@given(code=st.integers(1, 254), octets=st.binary(max_size=400))
@settings(max_examples=600, deadline=None)
def test_any_octets_of_any_option_are_shown_in_words_that_give_them_again(code: int, octets: bytes) -> None:
    shown = option_table.show(code, octets)
    assert shown.isprintable() and options.describe(code, octets).isprintable()
    if code not in option_table.REFUSED:
        assert option_table.read(str(code), shown) == (code, octets)


@given(raw=st.binary(max_size=80))
@settings(max_examples=400, deadline=None)
def test_routes_that_can_be_read_are_whole(raw: bytes) -> None:
    found = option_types.routes(raw)
    if found is not None:
        again = b"".join(option_types.route(network, router.packed) for network, router in found)
        assert len(again) == len(raw) and option_types.routes(again) == found
