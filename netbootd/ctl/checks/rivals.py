"""Another DHCP server on a network of ours: asked for by a DISCOVER of our own, and listened for.

Its answers race ours: a node that takes them gets no boot file, or somebody else's; unless netbootd is a
proxy, which needs one. The request goes out at
the link layer and answers are read there, so that no port has to be free and no address is needed.
"""

import secrets
import select
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

from netbootd.ctl.checks.finding import Context, Finding, note, ok, warning, wrong
from netbootd.dhcp.destination import CLIENT_PORT, SERVER_PORT, Destination, Way, datagram
from netbootd.dhcp.options import MessageType, Option
from netbootd.dhcp.wire import BOOTREPLY, BOOTREQUEST, BROADCAST_FLAG, Message, WireError, decode_any, encode
from netbootd.links import Interface
from netbootd.network import DhcpMode
from netbootd.node import Mac

LISTEN = 5.0
"""Seconds; dnsmasq looks for three whether an address is in use before it offers it."""
AGAIN = 2.0
ETH_P_IP = 0x0800
BROADCAST_MAC = Mac.from_octets(b"\x02" + bytes(5))
_EVERYBODY = b"\xff" * 6


@dataclass(frozen=True, slots=True)
class Rival:
    """A server that answered; `address` is its option 54, or where the packet came from."""

    interface: str
    address: IPv4Address
    mac: str
    offered: IPv4Address


def rivals(context: Context) -> list[Finding]:
    """Ask on each network, all at once."""
    links = {link.name: link for link in context.links}
    asked = [
        (network, links[network.interface])
        for network in context.networks
        if network.dhcp is not DhcpMode.OFF and not network.behind_relay
        if network.interface in links and links[network.interface].up
    ]
    if not asked:
        return []
    if not context.root:
        return [note("another DHCP server can be looked for by root only")]
    answers = list(heard([link for _, link in asked]))
    found = []
    for network, link in asked:
        others = {r.address: r for r in answers if r.interface == link.name and r.address != network.server}
        if network.dhcp is DhcpMode.PROXY:
            found.append(_beside(list(others.values()), link.name))
            continue
        found += [_finding(rival) for rival in others.values()]
        if not others:
            found.append(ok(f"no other DHCP server answered on {link.name} in {LISTEN:.0f} s"))
    return found


def _finding(rival: Rival) -> Finding:
    who = f"{rival.address} ({rival.mac})" if rival.mac else str(rival.address)
    return wrong(
        f"another DHCP server answers on {rival.interface}: {who} offered {rival.offered}",
        "switch it off, or its DHCP for this wire; two servers race for every node",
    )


def _beside(others: list[Rival], interface: str) -> Finding:
    """What there is to say where netbootd is a proxy, and another server is wanted."""
    if not others:
        return warning(
            f"no DHCP server answered on {interface} in {LISTEN:.0f} s; a proxy leaves the addresses to one",
            'one that knows its clients may answer them alone; where there is none: dhcp = "server"',
        )
    who = " and ".join(str(rival.address) for rival in others)
    if len(others) > 1:
        return warning(
            f"{len(others)} DHCP servers answer on {interface}: {who}",
            "unless they are one pair that shares its leases, switch all but one off",
        )
    return ok(f"the DHCP server {who} gives the addresses on {interface}, and netbootd says what to boot")


def heard(links: Sequence[Interface], seconds: float = LISTEN) -> Iterator[Rival]:
    """Send, listen, send again, listen. Raises OSError where sockets aren't allowed."""
    xid = secrets.randbits(32)
    sockets: dict[socket.socket, Interface] = {}
    try:
        for link in links:
            opened = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_IP))
            opened.bind((link.name, ETH_P_IP))
            sockets[opened] = link
        deadline = time.monotonic() + seconds
        next_send = time.monotonic()
        while (now := time.monotonic()) < deadline:
            if now >= next_send:
                next_send = now + AGAIN
                for opened, link in sockets.items():
                    opened.sendto(_discover(link, xid), (link.name, ETH_P_IP, 0, 0, _EVERYBODY))
            ready, _, _ = select.select(list(sockets), [], [], min(next_send, deadline) - now)
            for opened in ready:
                packet, sender = opened.recvfrom(4096)
                if rival := _answer(packet, sender, sockets[opened], xid):
                    yield rival
    finally:
        for opened in sockets:
            opened.close()


def _discover(link: Interface, xid: int) -> bytes:
    """A DISCOVER from the interface's own card: a server that knows its clients may answer no other."""
    message = Message(
        op=BOOTREQUEST,
        xid=xid,
        chaddr=link.mac or BROADCAST_MAC,
        flags=BROADCAST_FLAG,
        options={
            Option.MESSAGE_TYPE: bytes([MessageType.DISCOVER]),
            Option.PARAMETER_REQUEST_LIST: bytes((1, 3, 54)),
        },
    )
    everybody = Destination(Way.BROADCAST, IPv4Address("255.255.255.255"), SERVER_PORT, BROADCAST_MAC)
    return datagram(IPv4Address(0), everybody, encode(message), CLIENT_PORT)


def _answer(packet: bytes, sender: tuple[object, ...], link: Interface, xid: int) -> Rival | None:
    """The rival that an IPv4 packet is an OFFER of, to us; None for all others."""
    header = (packet[0] & 0x0F) * 4 if packet else 0
    if len(packet) < header + 8 or packet[9] != socket.IPPROTO_UDP:
        return None
    if int.from_bytes(packet[header : header + 2], "big") != SERVER_PORT:
        return None
    try:
        message = decode_any(packet[header + 8 :])
    except WireError:
        return None
    if message.op != BOOTREPLY or message.xid != xid:
        return None
    source = message.address(Option.SERVER_ID) or IPv4Address(packet[12:16])
    mac = sender[4]
    return Rival(link.name, source, mac.hex(":") if isinstance(mac, bytes) else "", message.yiaddr)
