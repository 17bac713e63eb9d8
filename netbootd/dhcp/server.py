"""The DHCP server of one interface: its sockets, and the hallway from a request to its reply.

What arrives together is decided together, its leases are committed in one transaction, and only then do the
replies leave: a client that holds an ACK holds a lease that survives a power cut.
"""

import asyncio
import errno
import logging
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Protocol

from netbootd.boot.answer import Decision, Ignore
from netbootd.boot.client import Client, from_dhcp
from netbootd.boot.firmware import begins_boot
from netbootd.dhcp import destination, options, proxy, wire
from netbootd.dhcp.destination import SERVER_PORT, Way
from netbootd.dhcp.leasebook import LeaseBook
from netbootd.dhcp.options import MessageType
from netbootd.dhcp.reservation import Answer, Reply, answer, other_server
from netbootd.dhcp.selection import select
from netbootd.dhcp.throttle import Throttle
from netbootd.dhcp.wire import Message, WireError
from netbootd.errors import HostError
from netbootd.lease import Lease
from netbootd.network import DhcpMode, Network, network_of
from netbootd.node import Node
from netbootd.registry import Registry
from netbootd.stage import Event, Level, Stage

BATCH = 64
"""Requests that share a transaction; between two batches the other servers get their turn."""
RECEIVE_BUFFER = 1 << 20
"""Octets: a rack that powers on together, while a slow disk syncs. The kernel may grant less."""
IGNORED_EVERY = 60.0
FOREIGN_EVERY = 60.0
FAULTS_EVERY = 1.0
"""Seconds between two lines on the same matter."""
_IP_PKTINFO = 8
_ANCILLARY = 64
"""Octets: room for one struct in_pktinfo."""
_ETHERTYPE_IPV4 = 0x0800

log = logging.getLogger("netbootd.dhcp")

Decide = Callable[[Client, Node | None, Network], Decision]


class EventSink(Protocol):
    """Where events go; `netbootd.events.EventLog` is one."""

    def record(self, event: Event) -> None:
        """Take note of it, without blocking."""


@dataclass(frozen=True, slots=True)
class _Datagram:
    octets: bytes
    source: IPv4Address
    port: int
    broadcast: bool
    """Whether it was sent to everybody on the wire."""
    boot_server: bool
    """Whether it came in at port 4011."""


@dataclass(frozen=True, slots=True)
class _Exchange:
    network: Network | None
    """None where the request belongs to no network of ours."""
    request: Message
    client: Client
    node: Node | None
    answer: Answer
    datagram: _Datagram


class DhcpServer:
    """Answers for the networks of one interface, its own and those behind relays, from `start` to `stop`.

    `counters` is for the metrics.
    """

    def __init__(
        self,
        networks: Sequence[Network],
        registry: Registry,
        events: EventSink,
        decide: Decide,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.networks = tuple(networks)
        self.interface = networks[0].interface
        self.counters: Counter[str] = Counter()
        """`received`, `malformed`, `ignored`, `unsent`, and a lower-case name for each type of reply."""
        self._registry = registry
        self._events = events
        self._decide = decide
        self._clock = clock
        self._books = self._read_leases()
        self._ignored = Throttle(IGNORED_EVERY)
        self._foreign = Throttle(FOREIGN_EVERY)
        self._faults = Throttle(FAULTS_EVERY)
        self._udp: socket.socket | None = None
        self._boot: socket.socket | None = None
        self._link: socket.socket | None = None

    async def start(self) -> None:
        """Open the sockets and answer from now on; raises HostError where that can't be."""
        self._udp, self._boot, self._link = _open_sockets(self.interface)
        for opened in (self._udp, self._boot):
            asyncio.get_running_loop().add_reader(opened, self._readable, opened)

    async def stop(self) -> None:
        """Answer no more. Harmless the second time."""
        for opened in (self._udp, self._boot, self._link):
            if opened is not None:
                asyncio.get_running_loop().remove_reader(opened)
                opened.close()
        self._udp = self._boot = self._link = None

    # The hallway

    def _readable(self, ready: socket.socket) -> None:
        now = self._clock()
        batch = [
            exchange
            for datagram in self._receive(ready, now)
            if (exchange := self._consider(datagram, now)) is not None
        ]
        for exchange in self._committed(batch, now):
            self._record(exchange, now)
            if isinstance(exchange.answer, Reply) and exchange.network is not None:
                self._send(exchange, exchange.answer, exchange.network.server, now)

    def _receive(self, ready: socket.socket, now: float) -> list[_Datagram]:
        received: list[_Datagram] = []
        try:
            while ready.fileno() >= 0 and len(received) < BATCH:
                octets, ancillary, _, (host, port) = ready.recvmsg(wire.LONGEST + 1, _ANCILLARY)
                broadcast = not any(_to_us(data) for _, kind, data in ancillary if kind == _IP_PKTINFO)
                received.append(_Datagram(octets, IPv4Address(host), port, broadcast, ready is self._boot))
        except BlockingIOError:
            pass
        except OSError as error:  # the interface went down; the daemon hears of that by itself
            self._complain("receive", f"can't receive: {error.strerror}", now)
        self.counters["received"] += len(received)
        return received

    def _consider(self, datagram: _Datagram, now: float) -> _Exchange | None:
        """Decode, look up, decide, answer; the lease book is up to date for the next request."""
        try:
            request = wire.decode(datagram.octets)
        except WireError as error:
            self.counters["malformed"] += 1
            self._complain("malformed", f"malformed message from {datagram.source}: {error.message}", now)
            return None
        client = from_dhcp(request.chaddr, request.options)
        try:
            node = self._registry.node_by_mac(client.mac)
        except HostError as error:
            self._complain("registry", f"{client.mac} gets no answer: {error}", now, logging.ERROR)
            return None
        network = self._network(request, datagram)
        if isinstance(network, Ignore):
            return _Exchange(None, request, client, node, network, datagram)
        decision = self._decide(client, node, network)
        if datagram.boot_server:
            found = proxy.answer_boot_server(request, client, decision, node, network)
        elif network.dhcp is DhcpMode.PROXY:
            found = proxy.answer(request, client, decision, node, network)
        else:
            found = self._answered(request, decision, node, network, now)
        return _Exchange(network, request, client, node, found, datagram)

    def _network(self, request: Message, datagram: _Datagram) -> Network | Ignore:
        """Who asks at port 4011 has its address, whether it tells of it or not."""
        asks_from = network_of(datagram.source, self.networks) if datagram.boot_server else None
        return asks_from or select(request, self.networks, broadcast=datagram.broadcast)

    def _answered(
        self, request: Message, decision: Decision, node: Node | None, network: Network, now: float
    ) -> Answer:
        book = self._books[network.subnet]
        found = answer(request, decision, node, network, book, now)
        if not isinstance(found, Ignore):
            for lease in found.leases:
                book.put(lease)
        if isinstance(found, Reply) and found.offer:
            book.hold(*found.offer, now)
        return found

    def _committed(self, batch: list[_Exchange], now: float) -> list[_Exchange]:
        """The exchanges of `batch` whose leases are on the disk: all of them, or those that have none."""
        leases = [lease for exchange in batch for lease in _leases(exchange)]
        try:
            self._registry.commit_leases(leases)
        except HostError as error:
            self._complain("leases", f"{len(leases)} leases were not given: {error}", now, logging.ERROR)
            self._books = self._read_leases()
            return [exchange for exchange in batch if not _leases(exchange)]
        return batch

    def _send(self, exchange: _Exchange, reply: Reply, server: IPv4Address, now: float) -> None:
        message, left_out = wire.fit(reply.message, exchange.request.limit)
        if left_out:
            names = ", ".join(options.name(code) for code in left_out)
            self._complain("room", f"{exchange.client.mac} takes short replies: left out {names}", now)
        came = exchange.datagram
        if came.boot_server:
            to, udp = destination.of_boot_server(message, came.source, came.port), self._boot
        else:
            to, udp = destination.of(exchange.request, message, came.port), self._udp
        octets, interface = wire.encode(message), self.interface
        if udp is None or self._link is None:
            return
        try:
            if to.way is Way.LINK:
                frame = destination.datagram(server, to, octets)
                target = (interface, _ETHERTYPE_IPV4, 0, 0, to.mac.octets)
                self._link.sendto(frame, target)
            else:
                source = struct.pack("=I4s4s", 0, server.packed, bytes(4))
                control = [(socket.IPPROTO_IP, _IP_PKTINFO, source)]
                udp.sendmsg([octets], control, 0, (str(to.address), to.port))
        except OSError as error:
            self.counters["unsent"] += 1
            self._complain("send", f"can't send to {to.address} ({to.way.value}): {error.strerror}", now)
            return
        self.counters[message.type.name.lower() if message.type else "bootp"] += 1

    # What is told

    def _record(self, exchange: _Exchange, now: float) -> None:
        request, found = exchange.request, exchange.answer
        foreign = _rival(exchange)
        if foreign and request.type is MessageType.REQUEST and self._foreign.admits(foreign, now) is not None:
            text = f"another DHCP server ({foreign}) answers on {self.interface}: it was chosen"
            self._tell(exchange, now, None, text, Level.WARNING)
        asked = _stage_asked(exchange)
        if isinstance(found, Ignore):
            self.counters["ignored"] += 1
            # A relay that nobody configured is one matter, however many machines are behind it.
            nowhere = exchange.network is None and int(request.giaddr)
            matter = request.giaddr if nowhere else request.chaddr
            untold = self._ignored.admits(matter, now)
            if untold is not None:
                times = f" ({untold} times since the last line)" if untold else ""
                self._tell(exchange, now, asked, f"no answer: {found.reason}{times}", Level.INFO)
            return
        if request.type in _STAGES:
            self._tell(exchange, now, asked, _introduction(exchange), Level.INFO)
        stage = found.stage if isinstance(found, Reply) else None
        self._tell(exchange, now, stage, found.note, found.level)

    def _tell(self, exchange: _Exchange, now: float, stage: Stage | None, text: str, level: Level) -> None:
        name = exchange.node.name if exchange.node else None
        event = Event(time=now, mac=exchange.client.mac, node=name, stage=stage, text=text, level=level)
        self._events.record(event)

    def _complain(self, matter: str, text: str, now: float, level: int = logging.WARNING) -> None:
        untold = self._faults.admits(matter, now)
        if untold is not None:
            more = f" ({untold} more like this)" if untold else ""
            log.log(level, "DHCP on %s: %s%s", self.interface, text, more)

    def _read_leases(self) -> dict[IPv4Network, LeaseBook]:
        leases, node_at = self._registry.leases(), self._registry.node_by_address
        return {
            network.subnet: LeaseBook(network, leases, taken=lambda a: node_at(a) is not None)
            for network in self.networks
        }


# Details

_STAGES = {MessageType.DISCOVER: Stage.DISCOVER, MessageType.REQUEST: Stage.REQUEST}


def _stage_asked(exchange: _Exchange) -> Stage | None:
    """None where a node's operating system asks, with its boot behind it: that begins no other boot."""
    if exchange.node and not begins_boot(exchange.client):
        return None
    return _STAGES.get(exchange.request.type) if exchange.request.type else None


def _to_us(pktinfo: bytes) -> bool:
    """Whether a datagram was sent to an address of ours: struct in_pktinfo of ip(7)."""
    _, local, to = struct.unpack("=I4s4s", pktinfo[:12])
    return bool(local == to)


def _rival(exchange: _Exchange) -> IPv4Address | None:
    """Another DHCP server that a client has chosen, where there should be none."""
    network = exchange.network
    if network is None or network.dhcp is DhcpMode.PROXY:
        return None
    return other_server(exchange.request, network)


def _leases(exchange: _Exchange) -> tuple[Lease, ...]:
    return () if isinstance(exchange.answer, Ignore) else exchange.answer.leases


def _introduction(exchange: _Exchange) -> str:
    client = exchange.client
    words = [client.vendor_class[:60] or "no vendor class"]
    if client.architectures:
        words.append(f"architecture {', '.join(map(str, client.architectures[:4]))}")
    if client.ipxe_options:
        words.append("iPXE")
    return "; ".join(words)


def _open_sockets(interface: str) -> tuple[socket.socket, socket.socket, socket.socket]:
    """UDP ports 67 and 4011 of the interface, and its link layer for clients that have no address yet."""
    with ExitStack() as opened:
        udp = opened.enter_context(_listening(interface, SERVER_PORT))
        boot = opened.enter_context(_listening(interface, proxy.BOOT_SERVER_PORT))
        try:
            # Protocol 0: it only sends. The kernel puts the Ethernet header before what we hand it.
            link = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, 0)
        except OSError as error:
            raise _reason(error, interface, SERVER_PORT) from error
        opened.pop_all()
    return udp, boot, link


def _listening(interface: str, port: int) -> socket.socket:
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode() + b"\0")
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        udp.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        udp.bind(("", port))
    except OSError as error:
        udp.close()
        raise _reason(error, interface, port) from error
    return udp


def _reason(error: OSError, interface: str, port: int) -> HostError:
    if error.errno == errno.EADDRINUSE:
        return HostError(
            f"another DHCP server has UDP port {port} on {interface}",
            f"`ss -lunp sport = :{port}` shows it; stop it",
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return HostError(
            "not allowed to open the DHCP sockets",
            "run as root, or with CAP_NET_BIND_SERVICE and CAP_NET_RAW",
        )
    if error.errno == errno.ENODEV:
        return HostError(f"there is no interface {interface}", "`ip link` shows those there are")
    return HostError(f"can't open UDP port {port} on {interface}: {error.strerror}")
