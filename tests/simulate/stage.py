"""A stage for boards: a server that does what a test says, and a clock that only waiting moves."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Any

from netbootd.dhcp.options import MessageType
from netbootd.dhcp.wire import Message, decode, encode
from netbootd.node import Mac
from netbootd.simulate.boards import BOARDS, machine
from netbootd.simulate.play import (
    EVERYBODY,
    Booted,
    Configure,
    Datagram,
    Machine,
    Now,
    Play,
    Segment,
    Send,
    Step,
    Wait,
    WontBoot,
)

SERVER = IPv4Address("10.77.0.1")
ADDRESS = IPv4Address("10.77.0.50")
MAC = Mac("52:54:00:00:00:01")

Replies = Callable[[Message], list[tuple[Message, IPv4Address]]]


def reply(
    request: Message,
    options: Mapping[int, bytes] | None = None,
    kind: MessageType | None = None,
    **header: Any,
) -> Message:
    """What a server says to a request: its address, netmask and 54, and what a test adds; b"" takes away."""
    answers = {MessageType.DISCOVER: MessageType.OFFER, MessageType.REQUEST: MessageType.ACK}
    kind = kind or answers[request.type or MessageType.DISCOVER]
    head: dict[str, Any] = {"yiaddr": ADDRESS, "siaddr": SERVER, **header}
    said = {
        53: bytes([kind]),
        54: SERVER.packed,
        51: b"\0\0\x0e\x10",
        1: b"\xff\xff\xff\0",
        **(options or {}),
    }
    said = {code: value for code, value in said.items() if value}
    return Message(op=2, xid=request.xid, chaddr=request.chaddr, flags=request.flags, options=said, **head)


def always(options: Mapping[int, bytes] | None = None, **header: Any) -> Replies:
    """A server that says the same to everyone."""
    return lambda request: [(reply(request, options, **header), SERVER)]


@dataclass
class Tftp:
    """Files, and how options are granted: `grant` gets those asked and the size, None for no OACK."""

    files: Mapping[str, bytes] = field(default_factory=dict)
    grant: Callable[[dict[str, str], int], dict[str, str] | None] = lambda asked, size: {
        **{name: value for name, value in asked.items() if name in ("blksize", "timeout")},
        **({"tsize": str(size)} if "tsize" in asked else {}),
    }
    silent: tuple[str, ...] = ()
    lose: Callable[[int], bool] = lambda _number: False
    """Whether the server's n-th packet is lost."""
    requests: list[tuple[bytes, int]] = field(default_factory=list)
    errors: list[bytes] = field(default_factory=list)
    _open: dict[int, tuple[bytes, int, int]] = field(default_factory=dict)
    _sent: int = 0

    @property
    def asked(self) -> list[str]:
        """The paths asked for, in order."""
        return [octets[2:].split(b"\0")[0].decode() for octets, _ in self.requests]

    def hear(self, packet: Datagram) -> list[bytes]:
        """The datagrams that answer one, all from port 2000 + the client's."""
        said = self._answer(packet)
        self._sent += len(said)
        return [] if said and self.lose(self._sent) else said

    def _answer(self, packet: Datagram) -> list[bytes]:
        octets = packet.payload
        if packet.port == 69:
            self.requests.append((octets, packet.source_port))
            words = octets[2:].decode("latin-1").split("\0")
            path, asked = words[0], dict(zip(words[2::2], words[3::2], strict=False))
            if path in self.silent:
                return []
            if path not in self.files:
                return [b"\0\5\0\1File not found\0"]
            content = self.files[path]
            granted = self.grant(asked, len(content)) if asked else None
            window = int((granted or {}).get("windowsize", 1))
            size = (granted or {}).get("blksize", "512")
            self._open[packet.source_port] = (content, int(size) if size.isdigit() else 512, window)
            if granted is not None:
                text = "".join(f"{name}\0{value}\0" for name, value in granted.items())
                return [b"\0\6" + text.encode()]
            return self._window(packet.source_port, 1)
        if octets[:2] == b"\0\5":
            self.errors.append(octets)
            return []
        return self._window(packet.source_port, int.from_bytes(octets[2:4], "big") + 1)

    def _window(self, port: int, first: int) -> list[bytes]:
        content, size, window = self._open[port]
        last = len(content) // size + 1
        blocks = range(first, min(first + window - 1, last) + 1)
        return [
            b"\0\3" + (block & 0xFFFF).to_bytes(2, "big") + content[(block - 1) * size : block * size]
            for block in blocks
        ]


@dataclass
class Played:
    """What came of a board: all that it sent, in order, and how it ended. `seconds` by its clock."""

    machine: Machine
    sent: list[Datagram | Segment] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    booted: Booted | None = None
    refused: WontBoot | None = None
    seconds: float = 0.0

    @property
    def reason(self) -> str:
        """Why it doesn't boot."""
        return self.refused.message if self.refused else ""

    @property
    def dhcp(self) -> list[bytes]:
        """Its DHCP messages."""
        return [p.payload for p in self.sent if isinstance(p, Datagram) and p.port in (67, 4011)]

    @property
    def ports(self) -> Counter[int]:
        """How many packets went to which port."""
        return Counter(packet.port for packet in self.sent)


def play(  # noqa: C901 (one case for each action)
    board: str | Callable[[Machine], Play[Booted]],
    replies: Replies = lambda _request: [],
    tftp: Tftp | None = None,
    *,
    mac: Mac = MAC,
    serial: int | None = None,
    uuid: bytes = bytes(16),
) -> Played:
    """Play a board to its end against `replies` (DHCP) and `tftp`."""
    played = Played(machine(mac, serial=serial, uuid=uuid))
    acting = (BOARDS[board].plays if isinstance(board, str) else board)(played.machine)
    tftp = tftp or Tftp()
    waiting: list[Datagram] = []
    address: IPv4Address | None = None
    outcome: Any = None
    try:
        while True:
            action = acting.send(outcome)
            outcome = None
            match action:
                case Send(packet):
                    played.sent.append(packet)
                    # A card without an address can ask nobody's, and sends to all alone.
                    if isinstance(packet, Datagram) and (address or packet.to == EVERYBODY):
                        waiting += _answers(packet, replies, tftp)
                case Wait(port, seconds):
                    mine = [p for p in waiting if p.port == port and address in (None, p.to)]
                    outcome = mine[0] if mine else None
                    if outcome:
                        waiting.remove(outcome)
                        played.seconds += 0.001
                    else:
                        played.seconds += seconds
                case Now():
                    outcome = played.seconds
                case Configure(address=given):
                    address = given.ip if given else None
                case Step() as step:
                    played.steps.append(step)
    except StopIteration as end:
        played.booted = end.value
    except WontBoot as error:
        played.refused = error
    return played


def _answers(packet: Datagram, replies: Replies, tftp: Tftp) -> list[Datagram]:
    if packet.port in (67, 4011):
        return [
            Datagram(source=source, source_port=packet.port, to=ADDRESS, port=68, payload=encode(message))
            for message, source in replies(decode(packet.payload))
        ]
    return [
        Datagram(
            source=packet.to,
            source_port=2000 + packet.source_port % 3000,
            to=packet.source,
            port=packet.source_port,
            payload=payload,
        )
        for payload in tftp.hear(packet)
    ]
