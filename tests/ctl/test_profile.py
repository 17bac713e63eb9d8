"""netbootctl profile: made, changed, inherited, and not removed while somebody needs it."""

import pytest

from tests.ctl.conftest import MACS, Head


def test_a_profile_is_made_changed_and_listed_with_who_uses_it(head: Head) -> None:
    head.well("profile", "set", "base", "--image", "debian", "--root", "ram")
    head.well("profile", "set", "gpu", "--parent", "base", "--kernel-args", "nomodeset")
    head.well("profile", "set", "gpu", "--image", "cuda")
    head.well("node", "add", "n01", "--mac", MACS[0], "--profile", "gpu")
    assert head.well("profile", "list", "--json").json == [
        {"name": "base", "parent": None, "image": "debian", "root": "ram", "kernel_args": None, "nodes": []},
        {"name": "gpu", "parent": "base", "image": "cuda", "root": None, "kernel_args": "nomodeset",
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
