"""The DHCP server's sockets: UDP ports 67 and 4011 of one interface, and its link layer."""

import errno
import socket
import struct
from contextlib import ExitStack
from dataclasses import dataclass

from netbootd.dhcp.destination import SERVER_PORT
from netbootd.dhcp.proxy import BOOT_SERVER_PORT
from netbootd.errors import HostError

RECEIVE_BUFFER = 1 << 20
"""Octets: a rack that powers on together, while a slow disk syncs. The kernel may grant less."""
PKTINFO = 8
"""IP_PKTINFO of ip(7), which the socket module has no name for."""
ANCILLARY = 64
"""Octets: room for one struct in_pktinfo."""


@dataclass(frozen=True, slots=True)
class Sockets:
    """`dhcp` is port 67, `boot_server` port 4011; `link` sends to who has no address yet."""

    dhcp: socket.socket
    boot_server: socket.socket
    link: socket.socket

    def close(self) -> None:
        """Close all."""
        for opened in (self.dhcp, self.boot_server, self.link):
            opened.close()


def open_on(interface: str) -> Sockets:
    """All of an interface's, or none; raises HostError where that can't be."""
    with ExitStack() as opened:
        dhcp = opened.enter_context(_listening(interface, SERVER_PORT))
        boot_server = opened.enter_context(_listening(interface, BOOT_SERVER_PORT))
        try:
            # Protocol 0: it only sends. The kernel puts the Ethernet header before what we hand it.
            link = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, 0)
        except OSError as error:
            raise _reason(error, interface, SERVER_PORT) from error
        opened.pop_all()
    return Sockets(dhcp, boot_server, link)


def sent_to_us(pktinfo: bytes) -> bool:
    """Whether a datagram was sent to an address of ours, and not to everybody: struct in_pktinfo."""
    _, local, to = struct.unpack("=I4s4s", pktinfo[:12])
    return bool(local == to)


def from_address(server: bytes) -> list[tuple[int, int, bytes]]:
    """The ancillary data that sends a datagram from that address."""
    return [(socket.IPPROTO_IP, PKTINFO, struct.pack("=I4s4s", 0, server, bytes(4)))]


def _listening(interface: str, port: int) -> socket.socket:
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode() + b"\0")
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        udp.setsockopt(socket.IPPROTO_IP, PKTINFO, 1)
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
