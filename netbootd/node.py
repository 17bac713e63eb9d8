"""A node: a registered machine. Pure values, validated once, here."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address
from itertools import product
from typing import Self

from netbootd.errors import UserError

_MAC = re.compile(r"[0-9a-f]{2}([:-]?[0-9a-f]{2}){5}")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_NAME_RANGE = re.compile(r"\[([^\[\]]*)\]")
RESERVED_NAMES = frozenset(
    {"localhost", "localhost4", "localhost6", "ip6-localhost", "ip6-loopback", "broadcasthost"}
)
MOST_NAMES = 10_000
"""The most names that one range may stand for; a slip of the finger shouldn't register a million."""


class RootMode(StrEnum):
    """How a node gets `/`."""

    OVERLAY = "overlay"
    PERSISTENT = "persistent"
    RAM = "ram"


class Mac(str):
    """An Ethernet address in one spelling: lower case, colons. `Mac("52-54-00-AB-CD-EF")`.

    Raises UserError for what isn't the unicast address of a network card.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """Normalise `text`: colons, hyphens, dots (Cisco's) or nothing between the digits."""
        plain = text.strip().lower().replace(".", "")
        if not _MAC.fullmatch(plain):
            raise UserError(f"{text[:40]!r} isn't a MAC address", "write it as 52:54:00:12:34:56")
        octets = bytes.fromhex(plain.replace(":", "").replace("-", ""))
        if octets[0] & 1 or not any(octets):
            raise UserError(
                f"{text[:40]} is a group address, no network card has it", "copy it from the board's label"
            )
        return super().__new__(cls, octets.hex(":"))

    @classmethod
    def from_octets(cls, octets: bytes) -> Self:
        """From the six octets of a frame or of chaddr."""
        return cls(octets.hex(":"))

    @property
    def octets(self) -> bytes:
        """Six octets, as on the wire."""
        return bytes.fromhex(self.replace(":", ""))

    @property
    def dashed(self) -> str:
        """As it stands in paths: 52-54-00-12-34-56."""
        return self.replace(":", "-")


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A registered machine with every setting resolved (its own, its profile's, the default)."""

    name: str
    """Its host name, without a domain."""
    macs: tuple[Mac, ...]
    """Of its network cards, first of that which it boots from."""
    address: IPv4Address
    """Its own, whoever gives it."""
    machine_id: str
    """Its own for ever: 32 hexadecimal digits, machine-id(5)."""
    image: str | None = None
    """What it boots; None where nothing was chosen."""
    root: RootMode = RootMode.OVERLAY
    """How it gets its /: overlay, persistent, ram."""
    profile: str | None = None
    """Where settings come from that it hasn't itself."""
    serial: str | None = None
    """Its board's serial number, where that is known."""
    kernel_args: str = ""
    """An admin's additions to the kernel's command line."""
    loader: str | None = None
    """What its firmware is given first where it can choose: ipxe, grub …; None leaves it to the firmware."""
    eeprom_update: bool = False
    """Whether a Raspberry Pi is handed a new boot loader for its EEPROM when it asks."""
    dhcp_options: Mapping[int, bytes] = field(default_factory=dict, hash=False)
    """DHCP options that an admin set for it, by number, encoded; they win over what netbootd would send."""

    @property
    def mac(self) -> Mac:
        """The first address: the card that the node boots from."""
        return self.macs[0]


@dataclass(frozen=True, slots=True)
class Booted:
    """What a node was last told to boot: it runs that until it boots anew, whatever is set meanwhile."""

    image: str
    number: int
    """Of the image's generation."""
    root: RootMode

    @property
    def label(self) -> str:
        """As it is written: debian@3."""
        return f"{self.image}@{self.number}"


def host_name(text: str) -> str:
    """`text` in lower case if it can be a node's name: one RFC 1123 label, section 2.1; else UserError."""
    name = text.strip().lower()
    if name in RESERVED_NAMES:
        raise UserError(f"{name!r} always means the machine itself", "choose another name")
    if "." in name:
        raise UserError(
            f"{text[:80]!r} has a dot", "give the name alone; the domain is a setting of the network"
        )
    if not _LABEL.fullmatch(name):
        raise UserError(
            f"{text[:80]!r} can't be a host name",
            "use 1 to 63 letters, digits and hyphens, no hyphen at either end (RFC 1123)",
        )
    if name.isdigit():
        raise UserError(f"{name!r} would be read as an address", "put a letter into it")
    return name


def serial_number(text: str) -> str:
    """A board's serial number as it stands in its requests: lower-case letters and digits, at most 32."""
    serial = text.strip().lower().removeprefix("0x")
    if not re.fullmatch(r"[a-z0-9]{1,32}", serial):
        raise UserError(
            f"{text[:40]!r} isn't a serial number", "write letters and digits only, as in bd989ae1"
        )
    return serial


def same_serial(known: str | None, told: str) -> bool:
    """Whether both mean one board: a Raspberry Pi has 16 digits, and tells the last eight when it boots.

    Option 97 and the directory that a Pi asks for have the low 32 bits (rpi-eeprom issue 563); /proc/cpuinfo
    and the label have all.
    """
    if known is None or known == told:
        return known == told
    long, short = (known, told) if len(known) > len(told) else (told, known)
    return len(long) == 16 and len(short) == 8 and long.endswith(short) and _is_hex(long)


def _is_hex(text: str) -> bool:
    return all(c in "0123456789abcdef" for c in text)


def expand_names(text: str) -> list[str]:
    """`n[01-03,7]` -> n01 n02 n03 n7, in that order; several brackets multiply. Each is a valid host name.

    Raises UserError for a malformed range, one that counts down, or one of more than MOST_NAMES names.
    """
    if text.count("[") > text.count("]"):
        raise UserError(f"the [ of {text[:80]!r} isn't closed", "write n[01-12], in quotation marks")
    pieces = _NAME_RANGE.split(text)
    choices = [[piece] if i % 2 == 0 else _expand_range(piece, text) for i, piece in enumerate(pieces)]
    total = 1
    for choice in choices:
        total *= len(choice)
    if total > MOST_NAMES:
        raise UserError(f"{text[:80]!r} stands for {total} names", f"at most {MOST_NAMES} at a time")
    names = [host_name("".join(parts)) for parts in product(*choices)]
    if len(set(names)) < len(names):
        raise UserError(f"{text[:80]!r} names a node twice", "let the ranges not overlap")
    return names


def _expand_range(inside: str, whole: str) -> list[str]:
    numbers: list[str] = []
    for part in inside.split(","):
        match = re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?", part.strip(), re.ASCII)
        if not match:
            raise UserError(f"{whole[:80]!r}: [{inside[:40]}] isn't a range", "write n[01-12] or n[1,3,5-9]")
        first, last = match[1], match[2] or match[1]
        if int(last) < int(first):
            raise UserError(f"{whole[:80]!r}: {first}-{last} counts down", f"write {last}-{first}")
        if int(last) - int(first) >= MOST_NAMES:
            raise UserError(f"{whole[:80]!r} stands for too many names", f"at most {MOST_NAMES} at a time")
        width = len(first) if first.startswith("0") else 0
        numbers.extend(f"{n:0{width}d}" for n in range(int(first), int(last) + 1))
    return numbers
