"""The wire: Ethernet frames in and out of an interface of this machine. IO.

Two ways. `PacketPort` is a raw socket on an interface: nothing about the machine is changed, and what the
boards send leaves by its card. `TapPort` is a cable of its own into a bridge of this machine, made for the
simulation and gone with this process, however it ends: frames that a machine sends out of its own bridge
never reach itself, so on a head node with a bridge this is the way to the netbootd that runs there.
"""

import asyncio
import errno
import fcntl
import os
import socket
import struct
from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from netbootd.errors import HostError, UserError

LARGEST = 70_000
"""Octets of a frame as segmentation offload may leave it on a virtual wire."""
AT_ONCE = 64
"""Frames read before others get their turn."""
_ETH_P_ALL = 3
_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, _PACKET_MR_PROMISC = 263, 1, 1
_PACKET_OUTGOING = 4
_TUN = Path("/dev/net/tun")
_TUNSETIFF, _IFF_TAP, _IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
_SIOCBRADDIF = 0x89A2
_SIOCETHTOOL, _ETHTOOL_GDRVINFO = 0x8946, 3
_NAME = 16


class Port(ABC):
    """Frames of an interface; a context manager. `read` gives those that wait, at most AT_ONCE."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def fileno(self) -> int:
        """What to poll."""

    @abstractmethod
    def send(self, frame: bytes) -> None:
        """Put a frame on the wire."""

    @abstractmethod
    def read(self) -> list[bytes]:
        """Frames that have come."""

    @abstractmethod
    def close(self) -> None:
        """Leave nothing behind."""

    def listen(self, heard: Callable[[bytes], None]) -> None:
        """Have the running loop call `heard` with each frame."""

        def readable() -> None:
            for frame in self.read():
                heard(frame)

        asyncio.get_running_loop().add_reader(self.fileno(), readable)


class PacketPort(Port):
    """A raw socket on `interface`. Raises UserError, HostError."""

    def __init__(self, interface: str) -> None:
        try:
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        except PermissionError:
            raise _not_allowed("CAP_NET_RAW") from None
        try:
            self._socket.setblocking(False)  # noqa: FBT003 (its only parameter)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
            index = socket.if_nametoindex(interface)
            self._socket.bind((interface, _ETH_P_ALL))
            # The boards' addresses aren't the card's: it must hand up what is for others.
            membership = struct.pack("iHH8s", index, _PACKET_MR_PROMISC, 0, b"")
            self._socket.setsockopt(_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, membership)
        except OSError as error:
            self._socket.close()
            raise UserError(f"interface {interface}: {error.strerror}", "`ip link` lists them") from None

    def fileno(self) -> int:
        """The socket's."""
        return self._socket.fileno()

    def send(self, frame: bytes) -> None:
        """A full queue loses the frame, as a wire may."""
        with suppress(BlockingIOError):
            try:
                self._socket.send(frame)
            except OSError as error:
                if error.errno != errno.ENOBUFS:  # that is a full queue too
                    raise HostError(
                        f"nothing can be sent: {error.strerror}", "is the interface up?"
                    ) from None

    def read(self) -> list[bytes]:
        """What others sent; what this machine sends itself isn't heard."""
        frames: list[bytes] = []
        with suppress(BlockingIOError):
            while len(frames) < AT_ONCE:
                frame, (_, _, kind, _, _) = self._socket.recvfrom(LARGEST)
                if kind != _PACKET_OUTGOING:
                    frames.append(frame)
        return frames

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class TapPort(Port):
    """A tap device as a port of `bridge`. Raises HostError."""

    def __init__(self, bridge: str) -> None:
        try:
            self._fd = os.open(_TUN, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise HostError(f"{_TUN}: {error.strerror}", _ELSEWHERE) from None
        try:
            request = fcntl.ioctl(
                self._fd, _TUNSETIFF, struct.pack("16sH22x", b"nbsim%d", _IFF_TAP | _IFF_NO_PI)
            )
            name = request[:_NAME].rstrip(b"\0")
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
                index = socket.if_nametoindex(name.decode())
                fcntl.ioctl(control, _SIOCBRADDIF, struct.pack("16si20x", bridge.encode(), index))
                flags = fcntl.ioctl(control, _SIOCGIFFLAGS, struct.pack("16sh22x", name, 0))
                up = struct.unpack_from("h", flags, _NAME)[0] | _IFF_UP
                fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh22x", name, up))
        except PermissionError:
            os.close(self._fd)
            raise _not_allowed("CAP_NET_ADMIN") from None
        except OSError as error:
            os.close(self._fd)
            raise HostError(f"no cable into {bridge}: {error.strerror}", _ELSEWHERE) from None

    def fileno(self) -> int:
        """The device's."""
        return self._fd

    def send(self, frame: bytes) -> None:
        """A full queue loses the frame, as a wire may."""
        with suppress(BlockingIOError):
            os.write(self._fd, frame)

    def read(self) -> list[bytes]:
        """What the bridge forwards here."""
        frames: list[bytes] = []
        with suppress(BlockingIOError):
            while len(frames) < AT_ONCE:
                frames.append(os.read(self._fd, LARGEST))
        return frames

    def close(self) -> None:
        """The device goes with its descriptor, out of the bridge too."""
        os.close(self._fd)


def is_bridge(interface: str) -> bool:
    """Whether it is a bridge of this machine: its driver says so (ethtool's GDRVINFO)."""
    answer = array("B", struct.pack("I", _ETHTOOL_GDRVINFO).ljust(256, b"\0"))
    at, _ = answer.buffer_info()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        try:
            fcntl.ioctl(control, _SIOCETHTOOL, struct.pack("16sP16x", interface.encode()[:15], at))
        except OSError:
            return False
    return answer.tobytes()[4:36].rstrip(b"\0") == b"bridge"


def open_port(interface: str) -> Port:
    """The way onto `interface`'s wire: a port of its own where it is a bridge, else a raw socket."""
    return TapPort(interface) if is_bridge(interface) else PacketPort(interface)


_ELSEWHERE = "run it on another machine on the wire: it needs nothing there but this package"


def _not_allowed(capability: str) -> HostError:
    return HostError(f"boards send frames of their own making, which takes {capability}", "run it as root")
