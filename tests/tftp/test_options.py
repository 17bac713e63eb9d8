"""Which options are granted, and with which values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netbootd.tftp.options import MOST_IN_FLIGHT, Terms, negotiate

SIZE = 5000


@pytest.mark.parametrize(
    ("asked", "granted"),
    [
        ({}, {}),
        (
            {"tsize": "0", "blksize": "1468", "windowsize": "4"},
            {"tsize": "5000", "blksize": "1468", "windowsize": "4"},
        ),
        (
            {"timeout": "5", "tsize": "0", "blksize": "1468"},
            {"timeout": "5", "tsize": "5000", "blksize": "1468"},
        ),
        ({"BLKSIZE": "512", "TSize": "0"}, {"BLKSIZE": "512", "TSize": "5000"}),
        ({"blksize": "8"}, {"blksize": "8"}),
        ({"blksize": "65464"}, {"blksize": "65464"}),
        ({"blksize": "0008"}, {"blksize": "8"}),
        ({"tsize": "4711"}, {"tsize": "5000"}),
        ({"timeout": "1"}, {"timeout": "1"}),
        ({"timeout": "255"}, {"timeout": "255"}),
        ({"windowsize": "65535"}, {"windowsize": "64"}),
        ({"windowsize": "1"}, {"windowsize": "1"}),
        ({"blksize": "65464", "windowsize": "64"}, {"blksize": "65464", "windowsize": "1"}),
        ({"blksize": "8192", "windowsize": "64"}, {"blksize": "8192", "windowsize": "12"}),
    ],
)
def test_valid_options_are_granted_and_never_more_than_asked(
    asked: dict[str, str], granted: dict[str, str]
) -> None:
    assert negotiate(tuple(asked.items()), SIZE).oack == tuple(granted.items())


@pytest.mark.parametrize(
    "option",
    [
        ("blksize", "-1"),
        ("blksize", "7"),
        ("blksize", "0"),
        ("blksize", "65465"),
        ("blksize", "65536"),
        ("blksize", "abc"),
        ("blksize", "1e3"),
        ("blksize", "0x200"),
        ("blksize", "+512"),
        ("blksize", " 512"),
        ("blksize", "5_12"),
        ("blksize", "512.0"),
        ("blksize", "9" * 400),
        ("blksize", ""),
        ("tsize", "-1"),
        ("tsize", "x"),
        ("timeout", "0"),
        ("timeout", "256"),
        ("timeout", "-5"),
        ("windowsize", "0"),
        ("windowsize", "65536"),
        ("windowsize", "-1"),
        ("multicast", ""),
        ("rollover", "0"),
        ("utimeout", "500000"),
    ],
)
def test_an_invalid_or_unknown_option_is_left_out_and_spoils_nothing(option: tuple[str, str]) -> None:
    assert negotiate((option,), SIZE) == Terms()
    other = "timeout" if option[0] == "tsize" else "tsize"
    terms = negotiate((option, (other, "1")), SIZE)
    assert [name for name, _ in terms.oack] == [other]
    assert (terms.blksize, terms.windowsize) == (512, 1)


def test_a_file_that_is_empty_has_the_size_zero() -> None:
    assert negotiate((("tsize", "0"),), 0).oack == (("tsize", "0"),)


@given(
    st.dictionaries(
        st.sampled_from(["blksize", "tsize", "timeout", "windowsize", "x"]),
        st.one_of(st.integers(-10, 70_000).map(str), st.text(max_size=5)),
    )
)
def test_what_the_oack_says_is_what_is_done_within_bounds(asked: dict[str, str]) -> None:
    terms = negotiate(tuple(asked.items()), SIZE)
    said = dict(terms.oack)
    assert said.keys() <= asked.keys()
    assert terms.blksize == int(said.get("blksize", 512))
    assert terms.windowsize == int(said.get("windowsize", 1))
    assert terms.timeout == (int(said["timeout"]) if "timeout" in said else None)
    assert all(int(said[name]) <= int(asked[name]) for name in said.keys() - {"tsize"})
    assert terms.windowsize == 1 or terms.windowsize * terms.blksize <= MOST_IN_FLIGHT
