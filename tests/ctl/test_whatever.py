"""Whatever is typed: a line on standard error, a status, no traceback, and the registry as it was."""

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.ctl.conftest import MACS, Head

WORDS = [
    *(
        "node",
        "image",
        "profile",
        "status",
        "why",
        "explain",
        "apply",
        "add",
        "list",
        "show",
        "set",
        "rename",
    ),
    *(
        "remove",
        "use",
        "rollback",
        "import",
        "--json",
        "--all",
        "--mac",
        "--ip",
        "--image",
        "--profile",
        "--root",
    ),
    *(
        "--serial",
        "--kernel-args",
        "--unset",
        "--firmware",
        "--pcap",
        "--dry-run",
        "--help",
        "--config",
        "--",
    ),
    *(
        "n01",
        "n[01-03]",
        "n[",
        "n[9-1]",
        "debian",
        "debian@1",
        "debian@0",
        "@",
        "gpu",
        "overlay",
        "bios",
        "/",
        "",
    ),
    *(MACS[0], MACS[5], "10.77.0.20", "10.77.0.300", "-1", "\x1b[2J", "\u202e", "é", "\udcff", "x" * 300),
]
CHANGING = {"add", "set", "rename", "remove", "use", "rollback", "import"}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    noun=st.sampled_from(WORDS[:6]),
    rest=st.lists(st.sampled_from(WORDS) | st.text(max_size=20), max_size=7),
)
def test_no_command_line_ends_in_a_traceback(
    head: Head, monkeypatch: pytest.MonkeyPatch, noun: str, rest: list[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    words = [word.replace("\0", "") for word in (noun, *rest)]
    before = head.dump()
    done = head(*words)
    if done.status:
        assert done.err.startswith("error: ") and done.err.count("\n") == 1, (words, done)
        assert head.dump() == before or not before
    elif not CHANGING & set(words):
        assert head.dump() == before or not before
    assert "\x1b" not in done.out + done.err
