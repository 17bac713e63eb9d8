"""A boot without a wire: a simulated board on one side, the functions that answer real machines on the other.

The board (netbootd.simulate) sends what its firmware sends and takes what its firmware takes; its clock is
made up, so that waiting costs nothing. What it asks by DHCP is decoded and answered, what it fetches is
located, as the servers would. Nothing is changed: there is no lease and no event.
"""

from collections import deque
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from types import MappingProxyType
from typing import Any

from netbootd.ctl.trace import Step, Trace
from netbootd.dhcp import options, wire
from netbootd.dhcp.options import INFINITE, MessageType, Option
from netbootd.dhcp.wire import BOOTREPLY, Message, WireError
from netbootd.errors import UserError
from netbootd.network import DhcpMode, Network
from netbootd.simulate.dhcp import CLIENT, PXE, SERVER
from netbootd.simulate.play import (
    ANY,
    Booted,
    Configure,
    Datagram,
    Known,
    Loaded,
    Machine,
    Now,
    Play,
    Segment,
    Send,
    Wait,
    WontBoot,
)
from netbootd.simulate.tftp import KEPT

LONGEST = 3600.0
"""Seconds of the made-up clock after which a board that still waits is given up."""


@dataclass(slots=True)
class Rehearsal:
    """One board's boot on `network`. `steps` is what it asked and was told; then `booted`, or `reason`."""

    trace: Trace
    network: Network
    machine: Machine
    steps: list[Step] = field(default_factory=list)
    booted: Booted | None = None
    reason: str = ""
    hint: str = ""
    _heard: deque[Datagram] = field(default_factory=deque)
    _clock: float = 0.0
    _address: IPv4Address = ANY

    def play(self, board: Play[Booted]) -> None:
        """Let the board do what it does until it has booted or given up."""
        outcome: Any = None
        try:
            while self._clock < LONGEST:
                outcome = self._done(board.send(outcome))
            self.reason = f"it is still waiting after {LONGEST / 60:.0f} minutes"
        except StopIteration as end:
            self.booted = end.value
        except WontBoot as error:
            self.reason, self.hint = error.message, error.hint

    def _done(self, action: object) -> Any:
        match action:
            case Send(Datagram() as packet) if packet.port in (SERVER, PXE):
                self._ask(packet)
            case Send(Datagram() | Segment()):
                pass  # nobody is there to hear it
            case Known(door, server, path):
                if server != self.network.server and server in self.network.subnet:
                    return f"{server} is asked for it, and isn't this head node: what it has isn't known"
                return self._fetched(path, door)
            case Wait(port, seconds):
                return self._next(port, seconds)
            case Configure(address=IPv4Interface() as address):
                self._address = address.ip
            case Now():
                return self._clock
        return None

    def _next(self, port: int, seconds: float) -> Datagram | None:
        while self._heard:
            packet = self._heard.popleft()
            if packet.port == port:
                return packet
        self._clock += seconds
        return None

    # DHCP

    def _ask(self, packet: Datagram) -> None:
        try:
            request = wire.decode(packet.payload)
        except WireError as error:
            self._note({"kind": "nothing", "path": "", "why": error.message})
            return
        boot_server = packet.port == PXE
        step, reply = self.trace.dhcp(request, self.network, boot_server=boot_server)
        self._note(step | {"who": self.machine.who, "port": packet.port})
        if reply is not None:
            self._hear(packet, wire.encode(reply), self.network.server)
        if self.network.dhcp is DhcpMode.PROXY and not boot_server:
            self._other_server(packet, request)

    def _other_server(self, packet: Datagram, request: Message) -> None:
        """The other DHCP server, as far as it can be known: it gives a node the address that it has here."""
        node = self.trace.view.node_by_mac(request.chaddr)
        kind = {MessageType.DISCOVER: MessageType.OFFER, MessageType.REQUEST: MessageType.ACK}.get(
            request.type or MessageType.INFORM
        )
        chosen = request.address(Option.SERVER_ID)
        if node is None or kind is None or chosen == self.network.server:
            return
        server = _stand_in(self.network)
        values: dict[int, bytes] = {
            Option.MESSAGE_TYPE: bytes([kind]),
            Option.SERVER_ID: options.address(server),
            Option.LEASE_TIME: options.seconds(INFINITE),
            Option.SUBNET_MASK: options.address(self.network.subnet.netmask),
        }
        reply = Message(
            op=BOOTREPLY,
            xid=request.xid,
            flags=request.flags,
            yiaddr=node.address,
            chaddr=request.chaddr,
            options=MappingProxyType(values),
        )
        why = f"the other DHCP server answers: {kind.name} {node.address}, if that is reserved there"
        self._note({"kind": "other", "who": self.machine.who, "why": why})
        self._hear(packet, wire.encode(reply), server)

    def _hear(self, packet: Datagram, octets: bytes, server: IPv4Address) -> None:
        port = packet.source_port if packet.port == PXE else CLIENT
        self._heard.append(
            Datagram(source=server, source_port=packet.port, to=packet.source, port=port, payload=octets)
        )

    # Files

    def _fetched(self, path: str, door: str) -> Loaded | str:
        try:
            step, found = self.trace.file(path, self._address)
        except UserError as error:
            step, found = {"kind": "nothing", "path": path, "why": str(error)}, None
        self._note(step | {"who": self.machine.who, "door": door})
        name = path.rpartition("/")[2]
        match found:
            case bytes():
                return Loaded(name=name, content=found, size=len(found))
            case Path():
                with found.open("rb") as file:
                    return Loaded(name=name, content=file.read(KEPT), size=found.stat().st_size)
        return str(step["why"])

    def _note(self, step: Step) -> None:
        """A question that is asked again and answered alike is one step."""
        if step not in self.steps:
            self.steps.append(step)


def _stand_in(network: Network) -> IPv4Address:
    """An address for the other DHCP server: the router's, as in most homes, or any that isn't ours."""
    if network.router and network.router != network.server:
        return network.router
    return next(host for host in network.subnet.hosts() if host != network.server)
