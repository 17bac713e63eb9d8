"""Reading a file over TFTP, with the habits of the firmware that reads. Pure. RFC 1350, 2347-2349, 7440.

What comes of it is a value: `Loaded`, or `Missing` with the reason. Only what no firmware survives raises.
"""

import struct
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address

from netbootd.simulate.play import (
    ANY,
    Datagram,
    Loaded,
    Machine,
    Play,
    WontBoot,
    known,
    now,
    send,
    tell,
    wait,
)
from netbootd.tftp.wire import shown

PORT = 69
KEPT = 24 << 20
"""Octets of a file that are kept to be looked at; of a larger one the rest is counted."""
MOST = 4 << 30
"""Octets after which a file is taken for one without end."""
_RRQ, _DATA, _ACK, _ERROR, _OACK = 1, 3, 4, 5, 6
_PLAIN = 512
_REPEATED = 1 / 64
"""A packet that brings nothing new, in silent tries."""


class Oack(Enum):
    """What the firmware makes of an OACK, or of none."""

    LENIENT = "takes what it knows, and does without"
    STRICT = "an option that it didn't ask for, or a larger value, is an error"
    NEEDED = "reads nothing without one"


@dataclass(frozen=True, slots=True)
class Habits:
    """`options` in the order sent. `patience`: seconds per try; `tries`: of the same packet.

    `probe` is the ERROR (code, text) that ends a request which only wanted to know whether there is a file.
    """

    options: tuple[tuple[str, str], ...] = ()
    patience: float = 5.0
    tries: int = 5
    oack: Oack = Oack.LENIENT
    probe: tuple[int, str] = (0, "Early terminate")
    first_port: int = 49152
    last_port: int = 65535
    blocks: int = 0
    """The last block number of a reader that can't count over 65,535; 0 for one that can."""


@dataclass(frozen=True, slots=True)
class Missing:
    """No file. `code` is the ERROR's, None where nobody answered or the transfer broke off."""

    name: str
    why: str
    code: int | None = None

    @property
    def final(self) -> bool:
        """Whether the server said that there is no such file for us, and not merely failed."""
        return self.code in (1, 2)


def request(path: str, options: tuple[tuple[str, str], ...]) -> bytes:
    """An RRQ in octet mode, its options in the order given."""
    words = [path, "octet", *(word for option in options for word in option)]
    return struct.pack("!H", _RRQ) + b"".join(word.encode("latin-1", "replace") + b"\0" for word in words)


def error(code: int, text: str) -> bytes:
    """An ERROR packet."""
    return struct.pack("!HH", _ERROR, code) + text.encode("ascii", "replace") + b"\0"


def read(
    machine: Machine,
    habits: Habits,
    server: IPv4Address,
    path: str,
    *,
    probe: bool = False,
    does: str = "",
    optional: bool = False,
) -> Play[Loaded | Missing]:
    """Read a file, or only see whether it is there; the step is told. `does`: what it is wanted for."""
    began = yield from now()
    found = yield from _transfer(machine, habits, server, path, probe)
    asked = f"TFTP {'probe' if probe else 'read'} {path or '(no name)'}"
    if isinstance(found, Missing):
        what = does if optional else f"lacks it: {does}" if does else "lacks it"
        yield from tell(machine, asked, found.why, "does without" if optional else what, began=began,
                        good=optional)  # fmt: skip
    else:
        size = f"{found.size} octets" if found.size >= 0 else "answered"
        yield from tell(machine, asked, size, does, began=began)
    return found


def _transfer(
    machine: Machine, habits: Habits, server: IPv4Address, path: str, probe: bool
) -> Play[Loaded | Missing]:
    rehearsed = yield from known("TFTP", server, path, probe=probe)
    if rehearsed is not None:
        return Missing(path, rehearsed, 1) if isinstance(rehearsed, str) else rehearsed
    reader = _Reader(habits, path, probe)
    line = _Line(machine, server, machine.next_port(habits.first_port, habits.last_port))
    packet = request(path, habits.options)
    failures, progress, due = 0.0, -1, True
    while failures < habits.tries:
        if due:
            yield from line.send(packet)
        answer = yield from line.answer(reader, habits.patience)
        if answer is None:
            failures, due = failures + 1, True
            continue
        if reader.progress > progress:
            failures, progress = 0, reader.progress
        else:
            # What brings nothing new counts, or a server that repeats itself would be heard for ever.
            failures += _REPEATED
        due = bool(answer.packet)
        packet = answer.packet or packet
        if answer.done is not None:
            if answer.packet:
                yield from line.send(packet)
            return answer.done
    return Missing(path, _silence(reader, server, failures, habits.patience))


@dataclass(slots=True)
class _Line:
    """The two ports of a transfer; the server's is known from its first answer on."""

    machine: Machine
    server: IPv4Address
    port: int
    to: int = PORT

    def send(self, packet: bytes) -> Play[None]:
        source = self.machine.lease.address.ip if self.machine.lease else ANY
        yield from send(
            Datagram(source=source, source_port=self.port, to=self.server, port=self.to, payload=packet)
        )

    def answer(self, reader: "_Reader", patience: float) -> "Play[_Answer | None]":
        """What the reader makes of the next packet that it doesn't ignore; None when the time is over."""
        until = (yield from now()) + patience
        while (left := until - (yield from now())) > 0:
            heard = yield from wait(self.port, left)
            if not isinstance(heard, Datagram) or heard.source != self.server:
                continue
            if self.to == PORT:
                self.to = heard.source_port
            if heard.source_port != self.to:
                continue  # another transfer's, RFC 1350 section 4
            answer = reader.hear(heard.payload)
            if answer is not None:
                return answer
        return None


def _silence(reader: "_Reader", server: IPv4Address, tries: float, patience: float) -> str:
    if reader.deaf:
        return reader.deaf
    where = f"after {reader.size} octets" if reader.size else "to the request"
    return f"no answer {where} from {server} in {tries * patience:.0f} s"


@dataclass(slots=True)
class _Answer:
    """What the reader sends because of a packet, and what came of the transfer where it is over."""

    packet: bytes = b""
    done: Loaded | Missing | None = None


class _Reader:
    """One transfer's receiving end."""

    def __init__(self, habits: Habits, path: str, probe: bool) -> None:
        self.size = 0
        self.deaf = ""
        self._habits = habits
        self._path = path
        self._probe = probe
        self._asked = {name.lower(): value for name, value in habits.options}
        self._negotiated = not habits.options
        self._blksize = _PLAIN
        self._window = 1
        self._next = 1
        self._unacknowledged = 0
        self._content = bytearray()
        self._announced = -1

    @property
    def progress(self) -> int:
        """Grows with what is new: the OACK, each block in order."""
        return self._next + self._negotiated

    def hear(self, octets: bytes) -> _Answer | None:
        """None for what is ignored: the wait goes on."""
        opcode = int.from_bytes(octets[:2], "big")
        if len(octets) < 4:
            return None
        if opcode == _ERROR:
            code = int.from_bytes(octets[2:4], "big")
            text = shown(octets[4:].split(b"\0", 1)[0])
            return _Answer(done=Missing(self._path, f"ERROR {code} {text}".strip(), code))
        if opcode == _OACK:
            return self._oack(octets[2:]) if self._next == 1 else None
        if opcode == _DATA:
            return self._data(octets)
        return None

    def _oack(self, octets: bytes) -> _Answer:
        words = octets.split(b"\0")
        granted = {
            name.decode("ascii", "replace").lower(): value.decode("ascii", "replace")
            for name, value in zip(words[::2], words[1::2], strict=False)
            if name
        }
        if fault := self._fault(granted):
            return _Answer(error(8, "Option negotiation failed"), Missing(self._path, f"OACK {fault}", 8))
        self._negotiated = True
        self._blksize = int(granted.get("blksize", _PLAIN))
        self._window = int(granted.get("windowsize", 1))
        self._announced = int(granted.get("tsize", -1))
        if self._probe:
            return self._probed()
        return _Answer(_ack(0))

    def _fault(self, granted: dict[str, str]) -> str:
        """What no reader can work with; and of a strict one what RFC 2347 forbids the server."""
        for name, value in granted.items():
            if name in ("blksize", "windowsize", "tsize") and not (value.isascii() and value.isdigit()):
                return f"has {name} {shown(value)}, not a number"
            asked = int(self._asked.get(name, "0")) if name in ("blksize", "windowsize") else 0
            if asked and not 1 <= int(value) <= asked:
                return f"grants {name} {value}, {self._asked[name]} was asked"
            if name == "timeout" and value != self._asked.get("timeout", value):
                return f"has timeout {shown(value)}, {self._asked['timeout']} was asked"
            if name not in self._asked and self._habits.oack is Oack.STRICT:
                return f"has {shown(name)}, which wasn't asked for"
        return ""

    def _probed(self) -> _Answer:
        size = self._announced if self._announced >= 0 else -1
        return _Answer(error(*self._habits.probe), Loaded(name=self._path, content=b"", size=size))

    def _data(self, octets: bytes) -> _Answer | None:
        if not self._negotiated and self._habits.oack is Oack.NEEDED:
            self.deaf = "DATA without an OACK, which it needs: it waits for one until it gives up"
            return None
        # A virtual wire may bring a window in one piece, as segmentation offload left it.
        step = self._blksize + 4
        pieces = (
            [octets] if len(octets) <= step else [octets[i : i + step] for i in range(0, len(octets), step)]
        )
        said: _Answer | None = None
        for piece in pieces:
            answer = self._block(piece)
            said = answer if answer and (answer.packet or answer.done or said is None) else said
        return said

    def _block(self, octets: bytes) -> _Answer | None:
        block = int.from_bytes(octets[2:4], "big")
        data = octets[4:]
        if self._probe and self._habits.probe[0] == 0 and block == 1:
            self._announced = len(data) if len(data) < self._blksize else -1
            return self._probed()
        if block != self._next & 0xFFFF:
            behind = (self._next - 1 - block) & 0xFFFF
            self._unacknowledged = 0
            # A duplicate is acknowledged again; on a gap the last one in order is (RFC 7440 section 4).
            return _Answer(_ack(self._next - 1)) if behind < 0x8000 or self._window > 1 else None
        if self._habits.blocks and self._next > self._habits.blocks:
            return _Answer(
                error(0, "too large"), Missing(self._path, f"more than {self._habits.blocks} blocks")
            )
        if len(self._content) < KEPT:
            self._content += data[: KEPT - len(self._content)]
        self.size += len(data)
        if self.size > MOST:
            raise WontBoot(f"{self._path} has more than 4 GiB", "no such file is meant to be booted")
        self._next += 1
        self._unacknowledged += 1
        if len(data) < self._blksize:
            return _Answer(_ack(block), Loaded(name=self._path, content=bytes(self._content), size=self.size))
        if self._unacknowledged < self._window:
            return _Answer()
        self._unacknowledged = 0
        return _Answer(_ack(block))


def _ack(block: int) -> bytes:
    return struct.pack("!HH", _ACK, block & 0xFFFF)
