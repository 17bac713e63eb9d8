"""The data pump: every running transfer's sockets, the blocks that leave them, the timers.

Each transfer has a port of its own, its TID (RFC 1350 section 4), and two sockets there. One is connected to
the client: the kernel hands it the client's datagrams alone, finds the route once, and passes on the client's
"port unreachable". The other gets what strangers send to that port, to tell them so. All of them stand in one
epoll set, and the event loop watches that set as if it were one socket: so a wake-up serves all clients that
answered meanwhile, two system calls per block, without a callback of asyncio for each.

A window leaves in one system call where UDP GSO works, packet by packet where it doesn't. What the kernel
can't take now counts as lost on the way; the timer sends it again.
"""

import asyncio
import errno
import math
import select
import socket
import struct
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from heapq import heapify, heappop, heappush
from itertools import count

from netbootd.errors import PeerError
from netbootd.tftp.frames import FrameCache, Source, chunk_blocks
from netbootd.tftp.session import Ended, How, Session, Step
from netbootd.tftp.sockets import Peer, Tid
from netbootd.tftp.wire import (
    DATA_HEADER,
    ErrorCode,
    WireError,
    decode_answer,
    encode_error,
    encode_oack,
    is_error,
)

_UDP_SEGMENT = 103
_SEGMENT = struct.Struct("=H")
_NO_GSO = frozenset({errno.EINVAL, errno.EMSGSIZE, errno.EIO, errno.EOPNOTSUPP, errno.ENOPROTOOPT})
_MOST_ANSWER = 600
"""Octets read of an answer: an ACK has 4, an ERROR rarely more than 100."""
_MOST_EVENTS = 256
_ROUNDS = 8
"""How often one wake-up looks for more answers before the event loop serves the other protocols."""
_FEW_EVENTS = 4
"""After so few answers there are hardly more by now."""
_MOST_STALE = 1024
"""Alarms of ended transfers that may lie about before they are swept up."""
_MOST_STRAYS = 8
"""Strangers at one TID that are told so; more are dropped in silence."""


class Running:
    """A transfer under way: who reads what, through which sockets, how far."""

    __slots__ = (
        "_blocks",
        "_chunk",
        "_first",
        "_last",
        "alarm",
        "closed",
        "packet",
        "peer",
        "receive",
        "segmented",
        "send",
        "session",
        "source",
        "started",
        "strays",
        "tid",
    )

    def __init__(self, tid: Tid, peer: Peer, source: Source, session: Session) -> None:
        self.tid = tid
        self.send, self.receive = tid.client.send, tid.client.recv
        self.closed = False
        self.peer = peer
        self.source = source
        self.session = session
        self.packet = session.terms.blksize + DATA_HEADER
        # With each send and not as an option of the socket, which would cut up a long OACK or ERROR too.
        self.segmented = [(socket.SOL_UDP, _UDP_SEGMENT, _SEGMENT.pack(self.packet))]
        self.alarm = math.inf
        self.started = 0.0
        self.strays = 0
        self._blocks = chunk_blocks(session.terms.blksize)
        self._chunk = memoryview(b"")
        self._first = self._last = 0

    def packets(self, first: int, last: int, cache: FrameCache) -> tuple[memoryview, int]:
        """The packets from block `first` on, as many as one chunk holds, and the last block among them.

        Raises FileChangedError, OSError.
        """
        if not self._first <= first <= self._last:
            number = (first - 1) // self._blocks
            self._chunk = memoryview(cache.chunk(self.source, self.session.terms.blksize, number))
            self._first = number * self._blocks + 1
            self._last = self._first + self._blocks - 1
        if last > self._last:  # noqa: PLR1730 - min() costs a call for each block
            last = self._last
        start = (first - self._first) * self.packet
        return self._chunk[start : start + (last - first + 1) * self.packet], last

    def close(self) -> None:
        """Closes the sockets and lets go of the octets; the source is its owner's to release."""
        self.tid.close()
        self.closed = True
        self.alarm = -math.inf
        self._chunk = memoryview(b"")
        self._first = self._last = 0


class Pump:
    """Runs the transfers it is given. `on_end` is told of each one that ended, its sockets closed by then.

    `counters` gets how many datagrams came to TIDs from strangers ("stray") or made no sense ("malformed").
    """

    def __init__(
        self, cache: FrameCache, counters: Counter[str], on_end: Callable[[Running, Ended], None]
    ) -> None:
        self._cache = cache
        self._counters = counters
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._epoll = select.epoll()
        self._running: dict[int, Running] = {}
        self._strangers: dict[int, Running] = {}
        self._alarms: list[tuple[float, int, Running]] = []
        self._order = count()
        self._timer: asyncio.TimerHandle | None = None
        self._loop.add_reader(self._epoll.fileno(), self._ready)

    def start(self, running: Running) -> None:
        """Takes over a transfer and its sockets and sends the first answer."""
        self._running[running.tid.client.fileno()] = running
        self._strangers[running.tid.strangers.fileno()] = running
        self._epoll.register(running.tid.client, select.EPOLLIN)
        self._epoll.register(running.tid.strangers, select.EPOLLIN)
        running.started = self._loop.time()
        self._perform(running, running.session.begin(running.started))

    def close(self, reason: str) -> None:
        """Ends all transfers, telling each client the reason."""
        for running in list(self._running.values()):
            self._send(running, encode_error(ErrorCode.UNDEFINED, reason))
            self._end(running, Ended(How.FAILED, reason))
        if self._timer:
            self._timer.cancel()
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()

    # ---- answers

    def _ready(self) -> None:
        for _ in range(_ROUNDS):
            events = self._epoll.poll(0, _MOST_EVENTS)
            now = self._loop.time()
            for descriptor, _ in events:
                running = self._running.get(descriptor)
                if running is not None:
                    self._receive(running, now)
                elif descriptor in self._strangers:
                    self._stray(self._strangers[descriptor])
            if len(events) < _FEW_EVENTS:
                return

    def _receive(self, running: Running, now: float) -> None:
        try:
            answer = decode_answer(running.receive(_MOST_ANSWER))
        except ConnectionRefusedError:
            self._refused(running)
        except OSError:
            return  # nothing there after all, or an ICMP error that may pass
        except WireError:
            self._counters["malformed"] += 1  # the transfer goes on: whatever that was, the timer still runs
        else:
            if isinstance(answer, int):
                self._perform(running, running.session.acknowledge(answer, now))
            else:
                self._end(running, running.session.fault(answer))

    def _stray(self, running: Running) -> None:
        """A datagram that another than the client sent to its TID (RFC 1350 section 4)."""
        with suppress(OSError):
            datagram, sender = running.tid.strangers.recvfrom(_MOST_ANSWER)
            self._counters["stray"] += 1
            running.strays += 1
            if running.strays <= _MOST_STRAYS and not is_error(datagram):
                error = encode_error(ErrorCode.UNKNOWN_TID, "this transfer is another client's")
                running.tid.strangers.sendto(error, sender)

    # ---- what the session wants done

    def _perform(self, running: Running, step: Step) -> None:
        if type(step) is tuple:
            first, last = step
            if first == 0:
                self._send(running, encode_oack(running.session.terms.oack))
            else:
                self._send_blocks(running, first, last)
            if running.session.deadline < running.alarm:
                self._set_alarm(running)
        elif isinstance(step, Ended):
            # No ERROR to a peer that never answered: it may not be the one that asked.
            if step.how is not How.DONE and running.session.verified:
                self._send(running, encode_error(ErrorCode.UNDEFINED, step.detail))
            self._end(running, step)

    def _send_blocks(self, running: Running, first: int, last: int) -> None:
        while first <= last:
            try:
                packets, sent = running.packets(first, last, self._cache)
            except (PeerError, OSError) as error:
                text = str(error)
                self._send(running, encode_error(ErrorCode.UNDEFINED, text))
                self._end(running, Ended(How.FAILED, text))
                return
            if first == sent:
                self._send(running, packets)
            elif not (running.segmented and self._send_segmented(running, packets)):
                for at in range(0, len(packets), running.packet):
                    self._send(running, packets[at : at + running.packet])
            first = sent + 1

    def _send(self, running: Running, packet: bytes | memoryview) -> None:
        try:
            running.send(packet)
        except ConnectionRefusedError:
            self._loop.call_soon(self._refused, running)
        except OSError:
            return  # lost on the way, as far as the session is concerned

    def _send_segmented(self, running: Running, packets: memoryview) -> bool:
        """One system call for many packets; False when this route doesn't do that."""
        try:
            running.tid.client.sendmsg([packets], running.segmented)
        except ConnectionRefusedError:
            self._loop.call_soon(self._refused, running)
        except OSError as error:
            if error.errno in _NO_GSO:
                running.segmented = []
                return False
        return True

    def _refused(self, running: Running) -> None:
        """The client's host says that nothing listens at its port any more (ICMP port unreachable)."""
        if not running.closed:
            self._end(running, running.session.gone())

    def _end(self, running: Running, ended: Ended) -> None:
        del self._running[running.tid.client.fileno()]
        del self._strangers[running.tid.strangers.fileno()]
        running.close()  # which takes them out of the epoll set as well
        self._on_end(running, ended)

    # ---- timers

    def _set_alarm(self, running: Running) -> None:
        """Puts the session's deadline in the heap: one entry a transfer, looked at again when it is due.

        A deadline moves with every ACK, mostly further away; then the entry stays, and only when it comes
        up is it found to be early.
        """
        running.alarm = running.session.deadline
        heappush(self._alarms, (running.alarm, next(self._order), running))
        if len(self._alarms) > 2 * len(self._running) + _MOST_STALE:
            self._alarms = [entry for entry in self._alarms if entry[0] == entry[2].alarm]
            heapify(self._alarms)
        if self._alarms[0][2] is running:
            self._set_timer()

    def _set_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._alarms[0][0], self._due) if self._alarms else None

    def _due(self) -> None:
        now = self._loop.time()
        while self._alarms and self._alarms[0][0] <= now:
            when, _, running = heappop(self._alarms)
            if when != running.alarm:
                continue
            running.alarm = math.inf
            if running.session.deadline > now:
                self._set_alarm(running)
            else:
                self._perform(running, running.session.expire(now))
        self._set_timer()
