"""The whole registry as a value: what an export writes, and what an import changes. Pure.

Leases, boots and events aren't part of it: they belong to one head node and its network, and come again.
"""

from dataclasses import dataclass, field
from ipaddress import IPv4Address

from netbootd.node import Mac, Node, RootMode
from netbootd.settings import NOTHING_SET, Profile, Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRecord:
    """A node with its own settings alone. `machine_id` is empty where one has still to be made."""

    name: str
    macs: tuple[Mac, ...]
    address: IPv4Address
    machine_id: str = ""
    serial: str | None = None
    profile: str | None = None
    cores: int | None = None
    """Processor cores, which a node tells when it is up."""
    settings: Settings = NOTHING_SET

    def resolved(self, inherited: Settings) -> Node:
        """The node as it boots: what it leaves open is `inherited` from its profile, or the default."""
        settings = self.settings.over(inherited)
        return Node(
            name=self.name,
            macs=self.macs,
            address=self.address,
            machine_id=self.machine_id,
            serial=self.serial,
            profile=self.profile,
            image=settings.image,
            root=settings.root or RootMode.OVERLAY,
            kernel_args=settings.kernel_args or "",
            loader=settings.loader,
            eeprom_update=bool(settings.eeprom_update),
            dhcp_options=settings.dhcp_options,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """All that is registered: profiles by name, nodes by address."""

    profiles: tuple[Profile, ...] = ()
    nodes: tuple[NodeRecord, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewrite:
    """How a registry that holds `before` is to be changed.

    `nodes`: those that change, as they were and as they shall be; None where there was none, or shall be
    none. `profiles`: all that there shall be.
    """

    before: Contents
    nodes: tuple[tuple[NodeRecord | None, NodeRecord | None], ...] = field(default=())
    profiles: tuple[Profile, ...] = ()
