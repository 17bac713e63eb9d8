"""A network card with as much of an IP stack as boot firmware has: address, ARP, a way to the router. Pure.

It answers ARP for its address and asks for others'; a packet whose next hop isn't known yet waits for the
answer. The far end's card is also learned from what it sends, as U-Boot does (net/bootp.c, store_net_params).
"""

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface

from netbootd.node import Mac
from netbootd.simulate import frames
from netbootd.simulate.frames import Arp
from netbootd.simulate.play import EVERYBODY, Datagram, Segment

MOST_WAITING = 16
"""Packets that wait for an ARP answer; TFTP and DHCP never have more than one."""


@dataclass(slots=True)
class Station:
    """One card, `mac`. `address` is unset until the board has a lease."""

    mac: Mac
    address: IPv4Interface | None = None
    router: IPv4Address | None = None
    direct: bool = False
    _known: dict[IPv4Address, bytes] = field(default_factory=dict)
    _waiting: list[tuple[IPv4Address, Datagram | Segment]] = field(default_factory=list)
    _ident: int = 0

    def configure(
        self, address: IPv4Interface | None, router: IPv4Address | None, *, direct: bool = False
    ) -> list[bytes]:
        """Take an address; returns the frames of what waited for it to be known where to go."""
        self.address, self.router, self.direct = address, router, direct
        waiting, self._waiting = self._waiting, []
        return [frame for _, packet in waiting for frame in self.send(packet)]

    def send(self, packet: Datagram | Segment) -> list[bytes]:
        """The frames to put on the wire: the packet's, or an ARP request while the next hop isn't known."""
        to = self._card(packet.to)
        if to is not None:
            self._ident += 1
            return [frames.of_packet(packet, self.mac, to, self._ident)]
        hop = self._hop(packet.to)
        if hop is None or self.address is None:
            return []
        self._waiting = [*self._waiting[-MOST_WAITING:], (hop, packet)]
        question = Arp(frames.ARP_REQUEST, self.mac, self.address.ip, hop)
        return [frames.of_arp(question, frames.BROADCAST)]

    def hear(self, frame: bytes) -> tuple[Datagram | Segment | None, list[bytes]]:
        """What a frame brings the board, and the frames that the card sends because of it."""
        if frame[:6] not in (self.mac.octets, frames.BROADCAST):
            return None, []
        found = frames.read(frame)
        if isinstance(found, Arp):
            return None, self._arp(found)
        if found is None:
            return None, []
        # Before it has an address it takes what comes to its card: an OFFER goes to the address offered.
        fresh = self.address is None and frame[:6] == self.mac.octets
        return (found if fresh or found.to in (EVERYBODY, *self._mine()) else None), []

    def _mine(self) -> tuple[IPv4Address, ...]:
        return (self.address.ip, self.address.network.broadcast_address) if self.address else ()

    def _card(self, address: IPv4Address) -> bytes | None:
        if address == EVERYBODY:
            return frames.BROADCAST
        hop = self._hop(address)
        return self._known.get(hop) if hop else None

    def _hop(self, address: IPv4Address) -> IPv4Address | None:
        if self.address is None or address in self.address.network:
            return address
        return self.router or (address if self.direct else None)

    def _arp(self, arp: Arp) -> list[bytes]:
        answers = []
        ours = self.address.ip if self.address else None
        if ours is not None and arp.target == ours:
            self._known[arp.sender] = arp.sender_mac.octets
            if arp.kind == frames.ARP_REQUEST:
                reply = Arp(frames.ARP_REPLY, self.mac, ours, arp.sender)
                answers.append(frames.of_arp(reply, arp.sender_mac.octets, arp.sender_mac.octets))
        ready = [packet for hop, packet in self._waiting if hop in self._known]
        self._waiting = [(hop, packet) for hop, packet in self._waiting if hop not in self._known]
        return answers + [frame for packet in ready for frame in self.send(packet)]
