"""ICMP echo requests as ping's, and who answers them; in a namespace of the test's own."""

import sys

import pytest

from netbootd.ctl.echo import request
from tests.lab.namespace import Lab


def test_a_request_is_as_rfc_792_has_it() -> None:
    packet = request(0x1234, 7)
    assert packet[:2] == b"\x08\0" and packet[4:8] == b"\x12\x34\0\x07" and len(packet) == 16
    total = sum(int.from_bytes(packet[i : i + 2], "big") for i in range(0, len(packet), 2))
    while total >> 16:
        total = (total >> 16) + (total & 0xFFFF)
    assert total == 0xFFFF, "RFC 1071: the sum over all with the checksum is all ones"


@pytest.mark.net
@pytest.mark.as_root("raw sockets")
def test_those_that_are_there_answer_and_the_others_cost_little_time(lab: Lab) -> None:
    lab.client("c1", address="10.77.0.11/24")
    addresses = ["10.77.0.1", "10.77.0.11", "10.77.0.12", "192.0.2.1"]
    script = (
        "from ipaddress import IPv4Address as A; from netbootd.ctl.echo import answering;"
        f"print(sorted(map(str, answering([A(a) for a in {addresses}]))))"
    )
    assert lab.run([sys.executable, "-c", script]).stdout == "['10.77.0.1', '10.77.0.11']\n"
