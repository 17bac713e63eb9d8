"""Real firmware, as it was captured reading from another server: understood, and given what that one gave."""

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from netbootd.tftp import wire
from netbootd.tftp.options import negotiate
from netbootd.tftp.session import How, Session
from netbootd.tftp.wire import PeerFault, ReadRequest
from tests.dhcp.packets import CAPTURES, frames

captures = pytest.mark.parametrize(
    "capture",
    sorted(path for path in CAPTURES.glob("*.pcap") if path.name.startswith(("bios", "uboot", "uefi"))),
    ids=lambda path: path.stem,
)
OACK = b"\0\6"


def datagrams(capture: Path) -> Iterator[tuple[int, int, bytes]]:
    """Source port, destination port and payload of everything that isn't DHCP."""
    for frame in frames(capture):
        if frame[12:14] == b"\x08\x00" and frame[23] == 17:
            udp = frame[14 + (frame[14] & 15) * 4 :]
            source, to, length = struct.unpack("!HHH", udp[:6])
            if not {source, to} & {67, 68}:
                yield source, to, udp[8:length]


@captures
def test_every_request_is_understood_and_granted_what_the_other_server_granted(capture: Path) -> None:
    asked: dict[int, ReadRequest] = {}
    granted = 0
    for source, to, payload in datagrams(capture):
        if to == 69:
            request = wire.decode_request(payload)
            assert isinstance(request, ReadRequest)
            asked[source] = request
        elif payload.startswith(OACK) and to in asked:
            words = payload[2:].decode("ascii").split("\0")
            theirs = dict(zip(words[::2], words[1::2], strict=False))
            ours = dict(negotiate(asked[to].options, int(theirs.get("tsize", 0))).oack)
            assert theirs.items() <= ours.items()
            assert ours.keys() <= {name for name, _ in asked[to].options}
            granted += 1
    if "httpboot" not in capture.name:
        assert asked
        assert granted or not any(request.options for request in asked.values())


@captures
def test_every_error_that_firmware_sent_ends_a_probe(capture: Path) -> None:
    requests = {source for source, to, _ in datagrams(capture) if to == 69}
    for source, to, payload in datagrams(capture):
        if source in requests and to != 69:
            answer = wire.decode_answer(payload)
            if isinstance(answer, PeerFault):
                session = Session(10_000, negotiate((("tsize", "0"),), 10_000))
                session.begin(0.0)
                assert session.fault(answer).how is How.PROBE
