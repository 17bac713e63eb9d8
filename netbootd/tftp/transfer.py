"""What the TFTP server tells of its transfers, what bounds them, and where it gets the octets from."""

from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Protocol

from netbootd.asset import Asset, Refusal
from netbootd.tftp.session import How


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What clients may take: transfers in all and per client address, ERRORs to malformed requests a second,
    octets of framed packets kept for the next client."""

    transfers: int = 4096
    per_client: int = 32
    errors_per_second: int = 20
    frames: int = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """A transfer that begins: `peer` reads `path`, `size` octets, from our address `local`."""

    peer: IPv4Address
    local: IPv4Address
    path: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """How a request ended. `size` is the file's, `delivered` what the client acknowledged, in octets.

    `retransmits` counts DATA packets sent again; `detail` says why it failed or was refused.
    """

    peer: IPv4Address
    local: IPv4Address
    path: str
    outcome: How
    detail: str = ""
    size: int = 0
    delivered: int = 0
    seconds: float = 0.0
    retransmits: int = 0


class Shelf(Protocol):
    """Where assets come from: decides what a path yields for this client at this door."""

    def open(self, path: str, peer: IPv4Address, local: IPv4Address, door: str) -> Asset | Refusal:
        """The opened asset, or why there is none."""
