"""Reading over HTTP through a wire that loses, repeats and swaps segments."""

from collections.abc import Callable
from ipaddress import IPv4Interface
from typing import Any

import pytest

from netbootd.dhcp.wire import Message
from netbootd.simulate import edk2, http, ipxe
from netbootd.simulate.boards import machine
from netbootd.simulate.play import Lease, Loaded, Now, Play, Segment, Send, Wait
from netbootd.simulate.tcp import ACK, FIN, RST, SYN
from netbootd.simulate.tftp import Missing
from tests.simulate.stage import ADDRESS, MAC, SERVER

START = 0xFFFFFF00
"""Near the end of the sequence numbers, so that they wrap."""
BODY = bytes(range(256)) * 40
Wire = Callable[[int], int]
"""How often the server's n-th segment arrives: 1, or 0 where it is lost."""


class Server:
    """One connection's far end: `response` in pieces of 1000, again from what isn't acknowledged."""

    def __init__(self, response: bytes, wire: Wire) -> None:
        self._response = response
        self._wire = wire
        self._number = 0
        self.asked = b""

    def hear(self, segment: Segment) -> list[Segment]:
        if segment.flags & RST:
            return []
        if segment.flags & SYN:
            return self._through([self._said(segment, SYN | ACK, 0, b"")])
        self.asked = segment.payload or self.asked
        if not self.asked:
            return []
        done = (segment.acknowledged - START - 1) % (1 << 32)
        window = [
            self._said(segment, ACK, at + 1, self._response[at : at + 1000])
            for at in range(done, min(done + 3000, len(self._response)), 1000)
        ]
        if done + 3000 >= len(self._response) and done <= len(self._response):
            window.append(self._said(segment, ACK | FIN, len(self._response) + 1, b""))
        return self._through(window)

    def _through(self, segments: list[Segment]) -> list[Segment]:
        arrived = []
        for segment in segments:
            self._number += 1
            arrived += [segment] * self._wire(self._number)
        return arrived

    def _said(self, to: Segment, flags: int, ahead: int, payload: bytes) -> Segment:
        return Segment(
            source=to.to,
            source_port=to.port,
            to=to.source,
            port=to.source_port,
            sequence=(START + ahead) % (1 << 32),
            acknowledged=(to.sequence + len(to.payload) + bool(to.flags & SYN)) % (1 << 32),
            flags=flags,
            payload=payload,
        )


def fetch(
    response: bytes, wire: Wire = lambda _: 1, habits: http.Habits = ipxe.HTTP, method: str = "GET"
) -> tuple[Loaded | Missing, Server]:
    made = machine(MAC)
    nothing = Message(op=2, xid=0, chaddr=MAC)
    address = IPv4Interface(f"{ADDRESS}/24")
    made.lease = Lease(address=address, router=None, server=SERVER, bootfile="", answer=nothing)
    server, waiting, clock = Server(response, wire), list[Segment](), 0.0
    reading: Play[Loaded | Missing] = http.read(made, habits, f"http://{SERVER}/x.efi", method=method)
    outcome: Any = None
    while True:
        try:
            action = reading.send(outcome)
        except StopIteration as end:
            return end.value, server
        outcome = None
        match action:
            case Send(Segment() as segment):
                waiting += server.hear(segment)
            case Wait(_, seconds):
                outcome = waiting.pop(0) if waiting else None
                clock += 0.001 if outcome else seconds
            case Now():
                outcome = clock


def _response(body: bytes, *headers: str) -> bytes:
    return "\r\n".join(["HTTP/1.1 200 OK", *headers, "", ""]).encode() + body


WITH_LENGTH = _response(BODY, f"Content-Length: {len(BODY)}")


@pytest.mark.parametrize(
    "wire",
    [lambda n: 1, lambda n: n % 5 != 2, lambda n: 2, lambda n: 0 if n in (1, 2) else 1],
    ids=["whole", "lossy", "twice", "late"],
)
def test_a_file_comes_whole_through_any_wire(wire: Wire) -> None:
    found, _ = fetch(WITH_LENGTH, lambda number: int(wire(number)))
    assert isinstance(found, Loaded), found
    assert (found.content, found.size) == (BODY, len(BODY))


def test_a_chunked_body_is_put_together_and_uefi_refuses_it() -> None:
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (b"one", b"three")) + b"0\r\n\r\n"
    response = _response(chunks, "Transfer-Encoding: chunked")
    found, _ = fetch(response)
    assert isinstance(found, Loaded) and found.content == b"onethree"
    refused, _ = fetch(response, habits=edk2.HTTP)
    assert isinstance(refused, Missing) and "Content-Length" in refused.why


def test_a_head_needs_no_body() -> None:
    found, server = fetch(_response(b"", "Content-Length: 12345"), habits=edk2.HTTP, method="HEAD")
    assert isinstance(found, Loaded) and found.size == 12345
    assert server.asked.startswith(b"HEAD /x.efi HTTP/1.1\r\nHost: 10.77.0.1\r\n")


@pytest.mark.parametrize(
    ("response", "why"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone", "404: none"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "isn't HTTP"),
        (_response(BODY, f"Content-Length: {len(BODY) + 1}"), "ends after 10240 of 10241"),
        (b"HTTP/1.1 200 OK\r\n", "isn't HTTP"),
    ],
)
def test_what_is_no_file_is_missing_and_says_why(response: bytes, why: str) -> None:
    found, _ = fetch(response)
    assert isinstance(found, Missing) and why in found.why


def test_a_server_that_never_answers_is_given_up() -> None:
    found, _ = fetch(WITH_LENGTH, lambda _: 0)
    assert isinstance(found, Missing) and "no answer" in found.why
