"""IPv6 router advertisements for firmware that won't go on without one.

iPXE solicits routers before it asks for an IPv4 address and waits about 13 seconds for an answer. One that
says "I am no router" (lifetime 0, RFC 4861 section 4.2, no prefix, no flags) ends the wait and configures
nothing: no host takes it as a router or an address from it (section 6.3.4).
"""

import asyncio
import logging
import socket
import struct
import sys

ROUTER_SOLICITATION = 133
ROUTER_ADVERTISEMENT = 134
ALL_ROUTERS = "ff02::2"
ALL_NODES = "ff02::1"
HOP_LIMIT = 255
"""Proves that a message comes from this link: RFC 4861 section 6.1."""

NOTHING_TO_OFFER = struct.pack("!BBHBBHII", ROUTER_ADVERTISEMENT, 0, 0, 0, 0, 0, 0, 0)
"""Type, code, checksum (the kernel's), hop limit, flags, router lifetime, reachable and retransmit timer.

0 leaves each of the last five to whoever really is a router.
"""

_ICMP6_FILTER = 1
_BLOCKED = (1 << 256) - 1 & ~(1 << ROUTER_SOLICITATION)
_ONLY_SOLICITATIONS = struct.pack("=8I", *(_BLOCKED >> shift & 0xFFFFFFFF for shift in range(0, 256, 32)))
"""struct icmp6_filter: a set bit blocks its type (RFC 3542 section 3.2)."""

log = logging.getLogger("netbootd.advertise")


def is_solicitation(packet: bytes, hop_limit: int) -> bool:
    """Whether an ICMPv6 message is a valid router solicitation: RFC 4861 section 6.1.1."""
    return hop_limit == HOP_LIMIT and len(packet) >= 8 and packet[0] == ROUTER_SOLICITATION and packet[1] == 0


class Advertiser:
    """Answers router solicitations on one interface."""

    def __init__(self, interface: str) -> None:
        self._interface = interface
        self._socket: socket.socket | None = None

    async def start(self) -> None:
        """Listen; where IPv6 is off nobody solicits, and nothing is done."""
        try:
            index = socket.if_nametoindex(self._interface)
            sock = socket.socket(
                socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_ICMPV6
            )
        except OSError as error:
            log.info("no router advertisements on %s: %s", self._interface, error)
            return
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, self._interface.encode())
            sock.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, _ONLY_SOLICITATIONS)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, HOP_LIMIT)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, HOP_LIMIT)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
            membership = socket.inet_pton(socket.AF_INET6, ALL_ROUTERS) + struct.pack("=I", index)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, membership)
        except OSError as error:
            sock.close()
            log.info("no router advertisements on %s: %s", self._interface, error)
            return
        self._socket = sock
        asyncio.get_running_loop().add_reader(sock, self._answer, sock, index)

    async def stop(self) -> None:
        """Stop listening."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def _answer(self, sock: socket.socket, index: int) -> None:
        try:
            packet, ancillary, _, peer = sock.recvmsg(1280, 64)
            limits = [
                int.from_bytes(data[:4], sys.byteorder)
                for _, kind, data in ancillary
                if kind == socket.IPV6_HOPLIMIT
            ]
            if is_solicitation(packet, limits[0] if limits else 0):
                source = peer[0] if not peer[0].startswith("::") else ALL_NODES
                sock.sendto(NOTHING_TO_OFFER, (source.partition("%")[0], 0, 0, index))
        except OSError as error:
            log.debug("a router solicitation on %s went unanswered: %s", self._interface, error)
