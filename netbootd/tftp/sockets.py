"""The sockets of TFTP: the one that takes requests, and the pair that makes a transfer's TID."""

import socket
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address

Peer = tuple[str, int]
"""A client's address and port, its TID, as the socket calls have it."""
MOST_DATAGRAM = 2048
"""Octets read of a request: enough to see that it has more than it may."""
_IP_PKTINFO = 8
_PKTINFO = struct.Struct("=i4s4s")
"""struct in_pktinfo: interface, our address, the datagram's destination (not the same for a broadcast)."""
_SEND_BUFFER = 256 * 1024
_REQUEST_BUFFER = 4 * 1024 * 1024
"""Octets, as many of them as net.core.rmem_max allows: a rack that is switched on asks all at once."""


@dataclass(frozen=True, slots=True)
class Tid:
    """A port of ours with two sockets: `client` hears that client alone, `strangers` everybody else."""

    client: socket.socket
    strangers: socket.socket

    def close(self) -> None:
        """Closes both."""
        self.client.close()
        self.strangers.close()


def bound(interface: str, address: str, port: int) -> socket.socket:
    """A UDP socket of this interface alone. Raises OSError."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        sock.bind((address, port))
    except OSError:
        sock.close()
        raise
    return sock


def listening(interface: str, port: int) -> socket.socket:
    """The socket that takes requests to any address of the interface; read it with `receive`."""
    sock = bound(interface, "", port)
    sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _REQUEST_BUFFER)
    return sock


def receive(sock: socket.socket) -> tuple[bytes, Peer, IPv4Address | None]:
    """A request, who sent it, to which address of ours; None for a broadcast or a multicast.

    Raises BlockingIOError when there is none.
    """
    datagram, ancillary, _, peer = sock.recvmsg(MOST_DATAGRAM, socket.CMSG_SPACE(_PKTINFO.size))
    for level, kind, data in ancillary:
        if level == socket.IPPROTO_IP and kind == _IP_PKTINFO:
            _, ours, destination = _PKTINFO.unpack_from(data)
            if ours == destination:
                return datagram, peer, IPv4Address(ours)
    return datagram, peer, None


def open_tid(interface: str, local: IPv4Address, peer: Peer) -> Tid:
    """A port that the kernel chooses at random (RFC 1350 section 4), on the address the client asked.

    Raises OSError.
    """
    strangers = bound(interface, str(local), 0)
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    tid = Tid(client, strangers)
    try:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        # Two sockets share the port for as long as it takes; then nobody else may.
        for sock in (strangers, client):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        client.bind(strangers.getsockname())
        for sock in (strangers, client):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        client.connect(peer)
    except OSError:
        tid.close()
        raise
    return tid
