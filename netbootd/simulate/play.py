"""What a simulated board can do, and what comes of a boot. Pure.

A board yields actions and is sent their outcome: `send` and `tell` have none, `wait` yields what was heard or
None when the time is over, `now` the seconds since the power came on.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface
from typing import Any, TypeVar

from netbootd.dhcp.wire import Message
from netbootd.errors import PeerError
from netbootd.node import Mac

T = TypeVar("T")
Play = Generator[Any, Any, T]
"""A board's conduct; returns T in the end."""

ANY = IPv4Address(0)
EVERYBODY = IPv4Address("255.255.255.255")


class WontBoot(PeerError):  # noqa: N818 (it's an outcome)
    """The board gives up: `message` is the reason, `hint` what to do about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Datagram:
    """UDP over IPv4. `from_mac` is the sender's card, of what was heard. `bare`: as a Raspberry Pi's ROM
    sends, without checksum and with identification 0."""

    source: IPv4Address
    source_port: int
    to: IPv4Address
    port: int
    payload: bytes
    from_mac: Mac | None = None
    ttl: int = 64
    bare: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """TCP over IPv4; `flags` as RFC 9293 section 3.1 has them. `mss` goes with SYN."""

    source: IPv4Address
    source_port: int
    to: IPv4Address
    port: int
    sequence: int
    acknowledged: int
    flags: int
    window: int = 65535
    payload: bytes = b""
    mss: int = 0


@dataclass(frozen=True, slots=True)
class Send:
    """Put it on the wire."""

    packet: Datagram | Segment


@dataclass(frozen=True, slots=True)
class Wait:
    """Hear the next packet to `port`, for at most so many seconds."""

    port: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Configure:
    """The card has this address now, and answers for it; with None it has none."""

    address: IPv4Interface | None
    router: IPv4Address | None = None
    direct: bool = False
    """Without a router, ask for cards in other networks too (U-Boot, net/arp.c)."""


@dataclass(frozen=True, slots=True)
class Now:
    """Which time is it?"""


@dataclass(frozen=True, slots=True)
class Known:
    """What has `path` at `server`, by way of `door` (TFTP or HTTP)? `probe`: it only has to be there.

    Who plays on a wire answers None, and the board asks there. A rehearsal, which has none, answers with
    Loaded, or with the reason why there is no such file.
    """

    door: str
    server: IPv4Address
    path: str
    probe: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing asked. `does`: what the board makes of what came. Seconds since the power came on."""

    who: str
    asked: str
    came: str
    does: str = ""
    began: float = 0.0
    took: float = 0.0
    good: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Booted:
    """The kernel would start. `root` is where it has its / from, told from its command line."""

    kernel: str
    initrd: str | None
    root: str
    command_line: str
    device_tree: str | None = None


@dataclass(slots=True, kw_only=True)
class Machine:
    """The state of one board while it boots.

    `who` is the program that runs now, for the steps. `lease` is the last ACK, or what counts as one: loaders
    that run on a firmware's network stack take server and file from there. `begin` makes a loader of what was
    fetched; the table of boards sets it. `xid` and `port` are where made-up numbers start.
    """

    mac: Mac
    serial: int = 0
    uuid: bytes = bytes(16)
    xid: int = 0x6E657462
    port: int = 0
    who: str = "firmware"
    architecture: str = ""
    lease: "Lease | None" = None
    efi: bool = False
    refusal: str = ""
    cautions: list[str] = field(default_factory=list)
    begin: "Callable[[Machine, Loaded], Play[Booted]] | None" = None
    depth: int = 0

    def next_xid(self) -> int:
        """A transaction id that wasn't used yet."""
        self.xid = (self.xid * 1664525 + 1013904223) & 0xFFFFFFFF
        return self.xid

    def next_port(self, first: int = 49152, last: int = 65535) -> int:
        """The next local port, counting up from `first` as most small stacks do."""
        self.port = self.port + 1 if first <= self.port < last else first
        return self.port

    def caution(self, text: str) -> None:
        """What is no reason not to boot, but worth knowing."""
        if text not in self.cautions:
            self.cautions.append(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """What a DHCP client has in the end. `answer` is the message that it took its boot information from."""

    address: IPv4Interface
    router: IPv4Address | None
    server: IPv4Address
    bootfile: str
    answer: Message
    server_id: IPv4Address | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A program or file that was fetched: its name and its first octets (`contents` knows what it is)."""

    name: str
    content: bytes
    size: int
    url: str = ""
    """Where it came from over HTTP, else empty."""


def send(packet: Datagram | Segment) -> Play[None]:
    """Put a packet on the wire."""
    yield Send(packet)


def wait(port: int, seconds: float) -> Play[Datagram | Segment | None]:
    """The next packet to `port`, None when the time is over."""
    heard: Datagram | Segment | None = yield Wait(port, seconds)
    return heard


def now() -> Play[float]:
    """Seconds since the power came on."""
    seconds: float = yield Now()
    return seconds


def known(door: str, server: IPv4Address, path: str, *, probe: bool = False) -> "Play[Loaded | str | None]":
    """What comes of a request that needn't go over a wire; None where it has to."""
    found: Loaded | str | None = yield Known(door, server, path, probe)
    return found


def configure(address: IPv4Interface, router: IPv4Address | None, *, direct: bool = False) -> Play[None]:
    """Give the card its address."""
    yield Configure(address, router, direct)


def unconfigure() -> Play[None]:
    """Have no address, as before the first DHCP."""
    yield Configure(None)


def tell(machine: Machine, asked: str, came: str, does: str = "", **more: Any) -> Play[None]:
    """Report a step. `began` is when it was asked; it took until now unless told otherwise."""
    at = yield from now()
    began = more.pop("began", at)
    yield Step(who=machine.who, asked=asked, came=came, does=does, began=began, took=at - began, **more)
