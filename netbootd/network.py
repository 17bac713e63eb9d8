"""A network that netbootd serves: an interface of the head node and the addresses on its wire. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from netbootd.errors import UserError


class DhcpMode(StrEnum):
    """What netbootd does with DHCP on a network."""

    SERVER = "server"
    PROXY = "proxy"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class AddressRange:
    """Addresses from `first` to `last`, both included."""

    first: IPv4Address
    last: IPv4Address

    @classmethod
    def parse(cls, text: str) -> "AddressRange":
        """From `10.77.0.10-10.77.0.99`; raises UserError."""
        first, dash, last = text.partition("-")
        try:
            parsed = cls(IPv4Address(first.strip()), IPv4Address(last.strip()))
        except ValueError:
            raise UserError(
                f"{text[:60]!r} isn't a range of addresses", "write 10.77.0.10-10.77.0.99"
            ) from None
        if not dash or parsed.last < parsed.first:
            raise UserError(f"{text[:60]!r} runs backwards", "the lower address comes first")
        return parsed

    def __contains__(self, address: IPv4Address) -> bool:
        return self.first <= address <= self.last

    def __iter__(self) -> Iterator[IPv4Address]:
        return (IPv4Address(n) for n in range(int(self.first), int(self.last) + 1))

    def __len__(self) -> int:
        return int(self.last) - int(self.first) + 1

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"

    def overlaps(self, other: "AddressRange") -> bool:
        """Whether an address lies in both."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """One [[network]] of netbootd.toml, with the head node's own address on its interface filled in."""

    interface: str
    """The head node's."""
    address: IPv4Interface
    """The head node's own there, with the prefix length."""
    behind_relay: IPv4Network | None = None
    """The nodes' network, where that isn't on the interface's wire but behind a relay agent (RFC 1542)."""
    dhcp: DhcpMode = DhcpMode.SERVER
    """What netbootd does with DHCP here: server, proxy, off."""
    range: AddressRange | None = None
    """Of the nodes that are registered without an address."""
    pool: AddressRange | None = None
    """For machines that aren't registered; None gives them no answer."""
    router: IPv4Address | None = None
    """The way out, None without one."""
    dns: tuple[IPv4Address, ...] = ()
    """Name servers for the nodes."""
    domain: str | None = None
    """Behind the names of the nodes here."""
    lease_time: int = 43_200
    """Seconds, for machines from the pool; registered nodes keep theirs for ever (their root hangs on it)."""
    http_port: int = 80
    """Of the head node's HTTP door."""
    router_advertisement: bool = True
    """Whether the head node answers firmware that solicits IPv6 routers (advertise.py)."""
    echo_client_id: bool = True
    """Whether option 61 is returned (RFC 6842); some old clients refuse a reply that has it."""
    options: Mapping[int, bytes] = field(default_factory=dict, hash=False)
    """DHCP options for all machines of the network, by number, encoded."""

    @property
    def server(self) -> IPv4Address:
        """The head node's address for this network: siaddr, option 54, the host of every URL."""
        return self.address.ip

    @property
    def subnet(self) -> IPv4Network:
        """The network that the nodes are on, with its prefix."""
        return self.behind_relay or self.address.network

    @property
    def http(self) -> str:
        """Where the boot files are over HTTP, without a slash at the end."""
        return f"http://{self.server}" if self.http_port == 80 else f"http://{self.server}:{self.http_port}"

    def usable(self, address: IPv4Address) -> bool:
        """Whether a machine can have this address: not the network's, the broadcast's or ours."""
        subnet = self.subnet
        return address in subnet and address not in (
            subnet.network_address,
            subnet.broadcast_address,
            self.server,
        )

    def check_node_address(self, address: IPv4Address) -> None:
        """Raise UserError, with the reason, where a registered node can't have `address`."""
        if address not in self.subnet:
            raise UserError(f"{address} lies outside {self.subnet} of {self.interface}")
        if address == self.server:
            raise UserError(f"{address} is the head node's own address")
        if not self.usable(address):
            raise UserError(f"{address} names the network {self.subnet} itself, not a machine in it")
        if address == self.router:
            raise UserError(f"{address} is the router's address")
        if self.pool and address in self.pool:
            raise UserError(
                f"{address} lies in the pool {self.pool}, which is for machines not registered",
                "take an address outside it",
            )


def network_of(address: IPv4Address, networks: tuple[Network, ...]) -> Network | None:
    """The network that `address` lies in, the most exact first; None where there is none."""
    found = [n for n in networks if address in n.subnet]
    return max(found, key=lambda n: n.subnet.prefixlen, default=None)
