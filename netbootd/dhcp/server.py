"""The DHCP server of one interface: its sockets, and the hallway from a request to its reply.

What arrives together is decided together, its leases are committed in one transaction, and only then do the
replies leave: a client that holds an ACK holds a lease that survives a power cut.
"""

import asyncio
import logging
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from ipaddress import IPv4Address, IPv4Network
from typing import Protocol

from netbootd.boot.answer import Decision, Ignore
from netbootd.boot.client import Client, from_dhcp
from netbootd.boot.firmware import begins_boot, recognise, serial_of
from netbootd.boot.window import PRIVILEGED
from netbootd.dhcp import destination, options, sockets, wire
from netbootd.dhcp.answering import answer
from netbootd.dhcp.destination import Way
from netbootd.dhcp.leasebook import LeaseBook
from netbootd.dhcp.options import MessageType
from netbootd.dhcp.reservation import Answer, Reply, other_server
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
IGNORED_EVERY = 60.0
FOREIGN_EVERY = 60.0
FAULTS_EVERY = 1.0
"""Seconds between two lines on the same matter."""
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
        self._sockets: sockets.Sockets | None = None

    async def start(self) -> None:
        """Open the sockets and answer from now on; raises HostError where that can't be."""
        self._sockets = sockets.open_on(self.interface)
        loop = asyncio.get_running_loop()
        for opened, boot_server in ((self._sockets.dhcp, False), (self._sockets.boot_server, True)):
            loop.add_reader(opened, partial(self._readable, opened, boot_server=boot_server))

    async def stop(self) -> None:
        """Answer no more. Harmless the second time."""
        if self._sockets is not None:
            for opened in (self._sockets.dhcp, self._sockets.boot_server):
                asyncio.get_running_loop().remove_reader(opened)
            self._sockets.close()
            self._sockets = None

    # The hallway

    def _readable(self, ready: socket.socket, *, boot_server: bool) -> None:
        now = self._clock()
        batch = [
            exchange
            for datagram in self._receive(ready, now, boot_server=boot_server)
            if (exchange := self._consider(datagram, now)) is not None
        ]
        for exchange in self._committed(batch, now):
            self._record(exchange, now)
            if isinstance(exchange.answer, Reply) and exchange.network is not None:
                self._send(exchange, exchange.answer, exchange.network.server, now)

    def _receive(self, ready: socket.socket, now: float, *, boot_server: bool) -> list[_Datagram]:
        received: list[_Datagram] = []
        try:
            while len(received) < BATCH:
                octets, ancillary, _, (host, port) = ready.recvmsg(wire.LONGEST + 1, sockets.ANCILLARY)
                broadcast = not any(
                    sockets.sent_to_us(data) for _, kind, data in ancillary if kind == sockets.PKTINFO
                )
                received.append(_Datagram(octets, IPv4Address(host), port, broadcast, boot_server))
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
        client = replace(from_dhcp(request.chaddr, request.options), privileged=datagram.port < PRIVILEGED)
        try:
            node = self._registry.node_by_mac(client.mac)
            return self._answered(request, client, node, datagram, now)
        except HostError as error:
            self._complain("registry", f"{client.mac} gets no answer: {error}", now, logging.ERROR)
            return None

    def _answered(
        self, request: Message, client: Client, node: Node | None, datagram: _Datagram, now: float
    ) -> _Exchange:
        network = self._network(request, datagram)
        if isinstance(network, Ignore):
            return _Exchange(None, request, client, node, network, datagram)
        decision, book = self._decide(client, node, network), self._books[network.subnet]
        found = answer(request, client, decision, node, network, book, now, boot_server=datagram.boot_server)
        if not isinstance(found, Ignore):
            for lease in found.leases:
                book.put(lease)
        if isinstance(found, Reply) and found.offer:
            book.hold(*found.offer, now)
        return _Exchange(network, request, client, node, found, datagram)

    def _network(self, request: Message, datagram: _Datagram) -> Network | Ignore:
        """Who asks at port 4011 has its address, whether it tells of it or not, and is answered there."""
        if datagram.boot_server and int(datagram.source):
            found = network_of(datagram.source, self.networks)
            return found or Ignore(
                reason=f"it asks at port 4011 from {datagram.source}, outside our networks"
            )
        return select(request, self.networks, broadcast=datagram.broadcast, source=datagram.source)

    def _committed(self, batch: list[_Exchange], now: float) -> list[_Exchange]:
        """The exchanges of `batch` whose leases are on the disk: all of them, or those that have none."""
        leases = [lease for exchange in batch for lease in _leases(exchange)]
        try:
            self._registry.commit_leases(leases)
        except HostError as error:
            self._complain("leases", f"{len(leases)} leases were not given: {error}", now, logging.ERROR)
            with suppress(HostError):  # a disk that can't be read either: the books withhold what they hold
                self._books = self._read_leases()
            return [exchange for exchange in batch if not _leases(exchange)]
        return batch

    def _send(self, exchange: _Exchange, reply: Reply, server: IPv4Address, now: float) -> None:
        message, left_out = wire.fit(reply.message, exchange.request.limit)
        if left_out:
            names = ", ".join(options.name(code) for code in left_out)
            self._complain("room", f"{exchange.client.mac} takes short replies: left out {names}", now)
        opened, came = self._sockets, exchange.datagram
        if opened is None:
            return
        if came.boot_server:
            to, udp = destination.of_boot_server(message, came.source, came.port), opened.boot_server
        else:
            to, udp = destination.of(exchange.request, message, came.port), opened.dhcp
        octets = wire.encode(message)
        try:
            if to.way is Way.LINK:
                frame = destination.datagram(server, to, octets)
                opened.link.sendto(frame, (self.interface, _ETHERTYPE_IPV4, 0, 0, to.mac.octets))
            else:
                source = sockets.from_address(server.packed)
                udp.sendmsg([octets], source, 0, (str(to.address), to.port))
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


def _rival(exchange: _Exchange) -> IPv4Address | None:
    """Another DHCP server that a client has chosen, where there should be none."""
    network = exchange.network
    if network is None or network.dhcp is DhcpMode.PROXY:
        return None
    return other_server(exchange.request, network)


def _leases(exchange: _Exchange) -> tuple[Lease, ...]:
    return () if isinstance(exchange.answer, Ignore) else exchange.answer.leases


def _introduction(exchange: _Exchange) -> str:
    """What asks, by name where that is known, and in its own words: a Raspberry Pi's are a PC's."""
    client = exchange.client
    family, serial = recognise(client), serial_of(client)
    words = [family.name] if family else []
    if serial:
        words.append(f"serial {serial}")
    words.append(client.vendor_class[:60] or "no vendor class")
    if client.architectures:
        words.append(f"architecture {', '.join(map(str, client.architectures[:4]))}")
    return "; ".join(words)
