"""One TCP connection to a server, as small as a boot ROM's: in order, no options but the segment size. Pure.

RFC 9293 with a window of 64 KiB, each segment acknowledged when it comes; what comes out of order is dropped
and asked for again by a duplicate acknowledgement.
"""

from dataclasses import dataclass, field
from ipaddress import IPv4Address

from netbootd.simulate.play import Machine, Play, Segment, now, send, wait

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
MSS = 1460
FIRST_PORT = 49152
_TRIES = 6
_WRAP = 1 << 32


class BrokenError(Exception):
    """The connection is over before its time; the argument says how, in words."""


@dataclass(slots=True)
class Connection:
    """A connection from `machine`'s address to `server`:`port`. Raises BrokenError when it breaks."""

    machine: Machine
    server: IPv4Address
    port: int
    _local: int = 0
    _sent: int = 0
    _heard: int = 0
    _ended: bool = False
    _ready: list[bytes] = field(default_factory=list)

    def open(self, patience: float = 1.0) -> Play[None]:
        """Shake hands; `patience` is that of the first try and doubles."""
        self._local = self.machine.next_port(FIRST_PORT)
        self._sent = self.machine.next_xid()
        for number in range(_TRIES):
            yield from self._send(SYN, b"", mss=MSS)
            answer = yield from self._hear(patience * 2**number)
            if answer is None:
                continue
            if answer.flags & RST:
                raise BrokenError(f"{self.server} refuses connections on port {self.port}")
            if answer.flags & (SYN | ACK) == SYN | ACK and answer.acknowledged == (self._sent + 1) % _WRAP:
                self._sent, self._heard = answer.acknowledged, (answer.sequence + 1) % _WRAP
                return (yield from self._send(ACK, b""))
        raise BrokenError(f"no answer from {self.server} on port {self.port}")

    def write(self, octets: bytes, patience: float = 1.0) -> Play[None]:
        """Send a request (shorter than a segment) and see it acknowledged."""
        end = (self._sent + len(octets)) % _WRAP
        for number in range(_TRIES):
            yield from self._send(ACK | PSH, octets)
            until = (yield from now()) + patience * 2**number
            while (left := until - (yield from now())) > 0:
                segment = yield from self._hear(left)
                if segment is None:
                    break
                if segment.flags & ACK and segment.acknowledged == end:
                    self._sent = end
                    return (yield from self._take(segment))
        raise BrokenError(f"{self.server} doesn't take the request")

    def read(self, patience: float) -> Play[bytes]:
        """What comes next; nothing when the server has ended its side."""
        until = (yield from now()) + patience
        while not self._ready and not self._ended:
            segment = yield from self._hear(until - (yield from now()))
            if segment is None:
                raise BrokenError(f"{self.server} falls silent")
            yield from self._take(segment)
        return self._ready.pop(0) if self._ready else b""

    def close(self) -> Play[None]:
        """Be done with it, politely where all was read."""
        yield from self._send(FIN | ACK if self._ended else RST | ACK, b"")

    def _take(self, segment: Segment) -> Play[None]:
        if segment.flags & RST:
            raise BrokenError(f"{self.server} breaks the connection off")
        ahead = (segment.sequence - self._heard) % _WRAP
        old = _WRAP - ahead if ahead > _WRAP // 2 else 0
        fresh = segment.payload[old:] if ahead == 0 or old else b""
        if fresh:
            self._heard = (self._heard + len(fresh)) % _WRAP
            self._ready.append(fresh)
        in_order = ahead == 0 or bool(old)
        if segment.flags & FIN and in_order and not self._ended:
            self._heard = (self._heard + 1) % _WRAP
            self._ended = True
        if segment.payload or segment.flags & FIN:
            yield from self._send(ACK, b"")

    def _hear(self, seconds: float) -> Play[Segment | None]:
        until = (yield from now()) + seconds
        while (left := until - (yield from now())) > 0:
            heard = yield from wait(self._local, left)
            if heard is None:
                return None
            if isinstance(heard, Segment) and (heard.source, heard.source_port) == (self.server, self.port):
                return heard
        return None

    def _send(self, flags: int, octets: bytes, mss: int = 0) -> Play[None]:
        lease = self.machine.lease
        yield from send(
            Segment(
                source=lease.address.ip if lease else IPv4Address(0),
                source_port=self._local,
                to=self.server,
                port=self.port,
                sequence=self._sent,
                acknowledged=self._heard if flags & ACK else 0,
                flags=flags,
                payload=octets,
                mss=mss,
            )
        )
