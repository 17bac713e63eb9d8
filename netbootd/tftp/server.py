"""The TFTP server of one interface: requests in, transfers begun or refused, every end reported.

Read-only. A request is decoded, looked up and either refused at once or given to the pump; either way the
answer leaves from the address that the request came to and from a port of its own, its TID.
"""

import asyncio
import errno
import resource
import socket
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address

from netbootd.asset import Asset, Refusal
from netbootd.errors import HostError, NetbootdError, PeerError
from netbootd.tftp.complaints import Budget, Complaints
from netbootd.tftp.frames import FrameCache, Source, Sources
from netbootd.tftp.options import negotiate
from netbootd.tftp.pump import Pump, Running
from netbootd.tftp.session import Ended, How, Session
from netbootd.tftp.sockets import Peer, bound, listening, open_tid, receive
from netbootd.tftp.transfer import Limits, Opening, Shelf, Transfer
from netbootd.tftp.wire import (
    ErrorCode,
    ReadRequest,
    WireError,
    WriteRequest,
    decode_request,
    encode_error,
    is_error,
    shown,
)

PORT = 69
_MOST_REQUESTS = 64
"""Requests taken in one go before the event loop serves the others."""
_YOUNG = 2.0
"""Seconds during which the same request from the same port is a duplicate that the network made."""
_SPARE_DESCRIPTORS = 128
"""Left for the rest of the daemon."""


@dataclass(frozen=True, slots=True, eq=False)
class _Entry:
    """A running transfer's request, as far as it is needed later."""

    datagram: bytes
    path: str
    peer: Peer
    local: IPv4Address
    source: Source
    running: Running


class TftpServer:
    """TFTP on one interface. `report` is told of every request's end, `opening` of every transfer's begin.

    `address` is the head node's own there; requests to other addresses of the interface are answered too.
    `port` 0 lets the kernel choose; after `start` it is the one chosen.
    `counters` counts datagrams and requests by what became of them.
    """

    def __init__(
        self,
        interface: str,
        address: IPv4Address,
        shelf: Shelf,
        report: Callable[[Transfer], None],
        *,
        port: int = PORT,
        limits: Limits | None = None,
        opening: Callable[[Opening], None] | None = None,
    ) -> None:
        self.interface = interface
        self.address = address
        self.port = port
        self.limits = limits or Limits()
        self.counters: Counter[str] = Counter()
        self._shelf = shelf
        self._report = report
        self._opening = opening
        self._most = self.limits.transfers
        self._sources = Sources()
        self._entries: dict[Running, _Entry] = {}
        self._latest: dict[Peer, _Entry] = {}
        self._per_client: Counter[str] = Counter()
        self._socket: socket.socket | None = None

    async def start(self) -> None:
        """Listens. Raises HostError when the port or the interface can't be had."""
        self._loop = asyncio.get_running_loop()
        self._budget = Budget(self.limits.errors_per_second)
        self._complaints = Complaints(f"TFTP on {self.interface}")
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        # A transfer takes two sockets and, unless another one reads the same file, a descriptor for that.
        self._most = max(1, min(self.limits.transfers, (soft - _SPARE_DESCRIPTORS) // 3))
        try:
            self._socket = listening(self.interface, self.port)
        except OSError as error:
            raise HostError(
                f"TFTP can't listen on {self.interface} ({self.address}), port {self.port}: {error.strerror}",
                _HINTS.get(error.errno or 0, "").format(port=self.port, interface=self.interface),
            ) from error
        self.port = self._socket.getsockname()[1]
        self._pump = Pump(FrameCache(self.limits.frames), self.counters, self._ended)
        self._loop.add_reader(self._socket.fileno(), self._receive)

    async def stop(self) -> None:
        """Tells the clients of running transfers and closes everything."""
        if self._socket is None:
            return
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        self._socket = None
        self._pump.close("the head node stops serving files")
        self._complaints.close()

    @property
    def running(self) -> int:
        """How many transfers are running."""
        return len(self._entries)

    def _receive(self) -> None:
        for _ in range(_MOST_REQUESTS):
            if self._socket is None:
                return
            try:
                datagram, peer, local = receive(self._socket)
            except OSError:
                return  # all read
            if local is None:
                self.counters["broadcast"] += 1  # RFC 1123 section 4.2.3.5: silently ignored
            else:
                self._answer(datagram, peer, local)

    def _answer(self, datagram: bytes, peer: Peer, local: IPv4Address) -> None:
        try:
            request = decode_request(datagram)
        except WireError as error:
            self._malformed(datagram, peer, local, error)
            return
        if isinstance(request, WriteRequest):
            self._refuse(request, peer, local, ErrorCode.ACCESS_VIOLATION, "nothing can be written here")
            return
        if self._is_duplicate(datagram, peer):
            self.counters["duplicate"] += 1
            return
        if busy := self._busy(peer):
            self._refuse(request, peer, local, ErrorCode.UNDEFINED, busy)
            return
        try:
            found = self._shelf.open(request.path, IPv4Address(peer[0]), local, "TFTP")
            if isinstance(found, Refusal):
                code = ErrorCode.ACCESS_VIOLATION if found.denied else ErrorCode.NOT_FOUND
                self._refuse(request, peer, local, code, found.reason)
            else:
                self._begin(datagram, request, peer, local, found)
        except PeerError as error:
            self._refuse(request, peer, local, ErrorCode.UNDEFINED, error.message)
        except (OSError, NetbootdError) as error:
            self._complaints.add("assets that can't be read", f"{shown(request.path)} to {peer[0]}: {error}")
            self._refuse(
                request, peer, local, ErrorCode.UNDEFINED, "the head node can't serve it, see its log"
            )

    def _begin(
        self, datagram: bytes, request: ReadRequest, peer: Peer, local: IPv4Address, asset: Asset
    ) -> None:
        source = self._sources.take(asset, request.mode)
        try:
            tid = open_tid(self.interface, local, peer)
        except OSError:
            self._sources.release(source)
            raise
        session = Session(source.size, negotiate(request.options, source.size))
        running = Running(tid, peer, source, session)
        entry = _Entry(datagram, request.path, peer, local, source, running)
        self._entries[running] = self._latest[peer] = entry
        self._per_client[peer[0]] += 1
        self.counters["begun"] += 1
        if self._opening:
            self._opening(
                Opening(peer=IPv4Address(peer[0]), local=local, path=request.path, size=source.size)
            )
        self._pump.start(running)

    def _ended(self, running: Running, ended: Ended) -> None:
        entry = self._entries.pop(running)
        if self._latest.get(entry.peer) is entry:
            del self._latest[entry.peer]
        self._per_client[entry.peer[0]] -= 1
        if not self._per_client[entry.peer[0]]:
            del self._per_client[entry.peer[0]]
        self._sources.release(entry.source)
        self.counters[ended.how.value] += 1
        self._report(
            Transfer(
                peer=IPv4Address(entry.peer[0]),
                local=entry.local,
                path=entry.path,
                outcome=ended.how,
                detail=ended.detail,
                size=running.session.size,
                delivered=running.session.delivered,
                seconds=self._loop.time() - running.started,
                retransmits=running.session.resent,
            )
        )

    def _is_duplicate(self, datagram: bytes, peer: Peer) -> bool:
        """Whether this request is being answered already. Our timer repeats the answer if it got lost."""
        entry = self._latest.get(peer)
        if entry is None or entry.datagram != datagram:
            return False
        running = entry.running
        return not running.session.verified or self._loop.time() - running.started < _YOUNG

    def _busy(self, peer: Peer) -> str:
        if len(self._entries) >= self._most:
            return f"busy with {self._most} transfers, try again later"
        if self._per_client[peer[0]] >= self.limits.per_client:
            return f"{self.limits.per_client} transfers to your address are running, end one first"
        return ""

    def _refuse(
        self, request: ReadRequest | WriteRequest, peer: Peer, local: IPv4Address, code: ErrorCode, why: str
    ) -> None:
        self._send_error(peer, local, code, why)
        self.counters[How.REFUSED.value] += 1
        self._report(
            Transfer(
                peer=IPv4Address(peer[0]), local=local, path=request.path, outcome=How.REFUSED, detail=why
            )
        )

    def _malformed(self, datagram: bytes, peer: Peer, local: IPv4Address, error: WireError) -> None:
        self.counters["malformed"] += 1
        self._complaints.add("malformed requests", f"{error.message} (from {peer[0]})")
        # An ERROR is never the answer to an ERROR: two servers could keep each other busy with that.
        if not is_error(datagram) and self._budget.spend(self._loop.time()):
            self._send_error(peer, local, ErrorCode.ILLEGAL_OPERATION, error.message)

    def _send_error(self, peer: Peer, local: IPv4Address, code: ErrorCode, why: str) -> None:
        with suppress(OSError), bound(self.interface, str(local), 0) as sock:
            sock.sendto(encode_error(code, why), peer)


_HINTS = {
    errno.EADDRINUSE: "another TFTP server runs there; `ss -ulpn sport = :{port}` names it",
    errno.EACCES: "it needs CAP_NET_BIND_SERVICE, as netbootd.service gives it",
    errno.EPERM: "it needs CAP_NET_RAW, as netbootd.service gives it",
    errno.ENODEV: "there is no interface {interface}; `ip link` shows those there are",
}
