"""netbootctl profile: made, changed, inherited, and not removed while somebody needs it."""

import pytest

from tests.ctl.conftest import MACS, Head


def test_a_profile_is_made_changed_and_listed_with_who_uses_it(head: Head) -> None:
    head.well("profile", "set", "base", "--image", "debian", "--root", "ram")
    head.well("profile", "set", "gpu", "--parent", "base", "--kernel-args", "nomodeset")
    head.well("profile", "set", "gpu", "--image", "cuda")
    head.well("node", "add", "n01", "--mac", MACS[0], "--profile", "gpu")
    nothing: dict[str, object] = dict.fromkeys(
        ("parent", "image", "root", "kernel_args", "loader", "eeprom_update")
    )
    nothing |= {"dhcp_options": {}, "nodes": []}
    assert head.well("profile", "list", "--json").json == [
        nothing | {"name": "base", "image": "debian", "root": "ram"},
        nothing | {"name": "gpu", "parent": "base", "image": "cuda", "kernel_args": "nomodeset",
                   "nodes": ["n01"]},
    ]  # fmt: skip
    head.well("profile", "set", "gpu", "--unset", "image", "--unset", "kernel-args")
    assert head.well("node", "show", "n01", "--json").json["image"] == "debian"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["set", "base", "--parent", "leaf"], "would inherit from itself"),
        (["set", "new", "--parent", "none"], "there is no profile 'none'"),
        (["set", "Bad Name"], "can't name a profile"),
        (["set", "base", "--unset", "colour"], "can't be unset"),
        (["remove", "base"], "is used by leaf"),
        (["remove", "leaf"], "is used by n01"),
        (["remove", "none"], "there is no profile 'none'"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(head: Head, words: list[str], reason: str) -> None:
    head.well("profile", "set", "base", "--image", "debian")
    head.well("profile", "set", "leaf", "--parent", "base")
    head.well("node", "add", "n01", "--mac", MACS[0], "--profile", "leaf")
    before = head.dump()
    done = head("profile", *words)
    assert done.status == 2 and reason in done.err and done.err.count("\n") == 1
    assert head.dump() == before


def test_a_profile_that_nobody_uses_can_be_removed(head: Head) -> None:
    head.well("profile", "set", "base", "--root", "ram")
    head.well("profile", "remove", "base")
    assert head.well("profile", "list", "--json").json == []


def test_a_profile_keeps_each_dhcp_option_until_it_is_dropped(head: Head) -> None:
    head.well("profile", "set", "p", "--loader", "grub", "--no-eeprom-update", "--dhcp-option",
              "ntp-servers=10.77.0.1,10.77.0.2", "--dhcp-option", "option-224=hex:0a0b")  # fmt: skip
    head.well("profile", "set", "p", "--dhcp-option", "time-offset=-3600", "--dhcp-option", "224=")
    (kept,) = head.well("profile", "list", "--json").json
    assert kept["dhcp_options"] == {"time-offset": "-3600", "ntp-servers": "10.77.0.1, 10.77.0.2"}
    assert (kept["loader"], kept["eeprom_update"]) == ("grub", False)
    listed = head.well("profile", "list").out
    assert "ntp-servers=10.77.0.1, 10.77.0.2" in listed and "grub" in listed
    head.well(
        "profile", "set", "p", "--unset", "dhcp-options", "--unset", "loader", "--unset", "eeprom-update"
    )
    (kept,) = head.well("profile", "list", "--json").json
    assert (kept["dhcp_options"], kept["loader"], kept["eeprom_update"]) == ({}, None, None)
