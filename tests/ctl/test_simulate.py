"""`netbootctl simulate` without a wire: what it lists and refuses. On one: tests/simulate/test_wire.py."""

import json
import os

import pytest

from netbootd.errors import HostError
from netbootd.links import interfaces
from netbootd.simulate.boards import BOARDS
from netbootd.simulate.port import PacketPort
from tests.ctl.conftest import MACS, Head


def test_the_boards_are_listed_with_what_is_known_of_them(head: Head) -> None:
    listed = json.loads(head.well("simulate", "--list", "--json").out)
    assert [board["firmware"] for board in listed] == list(BOARDS)
    assert all(board["what"] and board["evidence"] for board in listed)
    assert "Raspberry Pi 4" in head.well("simulate", "--list").out


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], "which board? --firmware pi3|"),
        (["--firmware", "amiga"], "'amiga' is no board known here; one of pi3, "),
        (["--firmware", "pi4", "--mac", "nonsense"], "isn't a MAC address"),
        (["--firmware", "pi4", "--mac", MACS[0], "--mac", MACS[0]], "a MAC of its own"),
        (["--firmware", "pi4", "--mac", MACS[0], "--mac", MACS[1], "--count", "2"], "--count counts up"),
        (["--firmware", "pi4", "--count", "1000"], "--count"),
        (["--firmware", "pi4", "--interface", "none0"], "there is no interface none0"),
        (["--firmware", "pi4", "--interface", "lo", "--serial", "xyz"], "serial number"),
        (["--firmware", "pi4", "--count", "2", "--mac", "ff:ff:ff:ff:ff:fe"], "MAC address"),
    ],
)
def test_what_cannot_be_simulated_is_said_in_a_line(head: Head, words: list[str], reason: str) -> None:
    done = head("simulate", *words)
    assert done.status == 2 and done.err.count("\n") == 1
    assert reason in done.err or "group address" in done.err


def test_an_interface_s_own_address_is_no_board_s(head: Head) -> None:
    link = next((link for link in interfaces() if link.mac), None)
    if link is None:
        pytest.skip("this machine has no network card")
    done = head("simulate", "--firmware", "khadas", "--interface", link.name, "--mac", str(link.mac))
    assert done.status == 2 and "own address" in done.err


def test_a_board_that_sends_nothing_would_not_boot(head: Head) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: a raw socket")
    done = head("simulate", "--firmware", "khadas", "--interface", "lo")
    assert done.status == 1
    assert "would not boot: the vendor's U-Boot sends nothing" in done.out
    report = json.loads(head("simulate", "--firmware", "khadas", "--interface", "lo", "--json").out)[0]
    assert (report["boots"], report["firmware"]) == (False, "khadas") and report["mend"]


def test_without_the_right_to_send_frames_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("netbootd.simulate.port.socket.socket", refused)
    with pytest.raises(HostError, match=r"CAP_NET_RAW; run it as root"):
        PacketPort("lo")
