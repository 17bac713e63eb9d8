"""What can be a node's name, its MAC address, a range of names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netbootd.errors import UserError
from netbootd.node import MOST_NAMES, Mac, expand_names, host_name, serial_number


@pytest.mark.parametrize(
    "text",
    ["52:54:00:AB:CD:EF", "52-54-00-ab-cd-ef", "525400abcdef", "5254.00ab.cdef", " 52:54:00:ab:cd:ef\n"],
)
def test_a_mac_has_one_spelling(text: str) -> None:
    assert Mac(text) == "52:54:00:ab:cd:ef"
    assert Mac(text).octets == bytes.fromhex("525400abcdef")
    assert Mac(text).dashed == "52-54-00-ab-cd-ef"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "52:54:00:ab:cd",
        "52:54:00:ab:cd:eg",
        "ff:ff:ff:ff:ff:ff",
        "01:00:5e:00:00:01",
        "00:00:00:00:00:00",
        "5:54:0:ab:cd:ef",
    ],
)
def test_what_no_card_has_is_refused(text: str) -> None:
    with pytest.raises(UserError):
        Mac(text)


@given(st.binary(min_size=6, max_size=6).filter(lambda o: not o[0] & 1 and any(o)))
def test_a_mac_survives_the_wire(octets: bytes) -> None:
    assert Mac.from_octets(octets).octets == octets


@pytest.mark.parametrize("text", ["n01", "N01", "a", "orion-nebula", "0a", "x" * 63])
def test_a_host_name_is_one_label(text: str) -> None:
    assert host_name(text) == text.lower()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-n",
        "n-",
        "n_1",
        "n.cluster",
        "x" * 64,
        "localhost",
        "LOCALHOST",
        "ip6-loopback",
        "42",
        "n 1",
        "n\n",
        "é"[:1] + "1",
    ],
)
def test_what_rfc_1123_does_not_allow_is_refused(text: str) -> None:
    if text == "n\n":
        assert host_name(text) == "n"
        return
    with pytest.raises(UserError):
        host_name(text)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("n01", ["n01"]),
        ("n[01-03]", ["n01", "n02", "n03"]),
        ("n[8-11]", ["n8", "n9", "n10", "n11"]),
        ("n[08-10,20]", ["n08", "n09", "n10", "n20"]),
        ("r[1-2]n[1-2]", ["r1n1", "r1n2", "r2n1", "r2n2"]),
        ("n[01-02]-ib", ["n01-ib", "n02-ib"]),
    ],
)
def test_a_range_counts_up(text: str, names: list[str]) -> None:
    assert expand_names(text) == names


@pytest.mark.parametrize(
    "text",
    [
        "n[]",
        "n[2-1]",
        "n[a-b]",
        "n[1-",
        "n[1-3,2]",
        f"n[1-{MOST_NAMES + 1}]",
        "n[1-200]r[1-200]",
        "n[1-9999999999]",
    ],
)
def test_a_range_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(UserError):
        expand_names(text)


def test_a_serial_is_letters_and_digits() -> None:
    assert serial_number("0xBD989AE1") == "bd989ae1"
    with pytest.raises(UserError):
        serial_number("../etc")
