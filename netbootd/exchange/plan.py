"""What has to change so that the registry holds what a file says, checked to the last rule. Pure.

Looked at is the registry as it would be afterwards, so that two nodes may exchange their addresses, and each
conflict names both lines. Of another server's file the lines that don't fit are left out, with a remark; of
our own every fault is told, and nothing is planned.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from typing import Any

from netbootd.boot.firmware.raspberrypi_files import check_serial
from netbootd.contents import Contents, NodeRecord, Rewrite
from netbootd.errors import UserError
from netbootd.exchange import fields
from netbootd.exchange.changes import Change, node_change, profile_changes
from netbootd.exchange.described import Described, Entry, Place, Remark, refuse
from netbootd.network import Network, network_of
from netbootd.node import same_serial
from netbootd.settings import COLUMNS, DEEPEST_PROFILE, NOTHING_SET, Profile, Settings, changed_options

_NOWHERE = IPv4Address(0)
"""The address of a node that hasn't one yet."""


@dataclass(frozen=True, slots=True)
class Plan:
    """`changes` tell in words what `rewrite` does; `remarks` what was left out."""

    rewrite: Rewrite
    changes: tuple[Change, ...] = ()
    remarks: tuple[Remark, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """What the registry's nodes have to fit.

    `reserved`: names that no node can have, with whose they are. `image`: what a node boots that is new, and
    has neither image nor profile in the file.
    """

    networks: tuple[Network, ...]
    reserved: Mapping[str, str] = field(default_factory=dict)
    image: str | None = None


def plan(before: Contents, described: Described, cluster: Cluster, *, equal: bool = False) -> Plan:
    """What to change. `equal`: the registry shall hold what the file says and nothing else.

    Raises FileError for a file of ours that can't be.
    """
    remarks = list(described.remarks)
    entries = list(described.nodes)
    profiles, problems = _profiles(before, described, equal)
    while True:
        slots, faults = _slots(before, entries, cluster, equal)
        faults += _faults(slots, profiles, cluster)
        if not described.foreign or not faults:
            break
        remarks += [Remark(fault.entry.place, fault.text) for fault in faults]
        left_out = {id(fault.entry) for fault in faults}
        entries = [entry for entry in entries if id(entry) not in left_out]
    refuse(problems + [Remark(fault.entry.place, fault.text) for fault in faults])
    moved = tuple((slot.before, slot.after) for slot in slots if slot.before != slot.after)
    after = tuple(profile for profile, _ in profiles.values())
    changes = [*profile_changes(before.profiles, profiles), *_node_changes(slots)]
    order = ("removed", "added", "renamed", "changed")
    return Plan(
        Rewrite(before=before, nodes=moved, profiles=after),
        tuple(sorted(changes, key=lambda change: order.index(change.what))),
        tuple(sorted(remarks, key=lambda remark: remark.place)),
    )


@dataclass(slots=True)
class _Slot:
    """A node before and after; `entry` is what the file says of it."""

    before: NodeRecord | None
    after: NodeRecord | None
    entry: Entry | None = None

    @property
    def whose(self) -> str:
        name = self.after.name if self.after else ""
        return f"node {name!r} in {self.entry.place}" if self.entry else f"node {name!r}, registered already"


@dataclass(frozen=True, slots=True)
class _Fault:
    entry: Entry
    text: str


def _node_changes(slots: Sequence[_Slot]) -> Iterator[Change]:
    for slot in slots:
        if slot.before != slot.after:
            yield node_change(slot.before, slot.after, slot.entry.place if slot.entry else None)


# Nodes


def _slots(
    before: Contents, entries: Sequence[Entry], cluster: Cluster, equal: bool
) -> tuple[list[_Slot], list[_Fault]]:
    """Each node before and after, addresses given; and what can't be said of a node at all."""
    slots = {node.name: _Slot(node, None if equal else node) for node in before.nodes}
    by_id = {node.machine_id: node.name for node in before.nodes}
    by_mac = {mac: node.name for node in before.nodes for mac in node.macs}
    faults: list[_Fault] = []
    # Who is known by machine-id comes first: the name that it had may be another's in the same file.
    for entry in sorted(entries, key=lambda each: each.fields.get("machine_id", "") not in by_id):
        name = entry.name or next((by_mac[m] for m in entry.fields.get("macs", ()) if m in by_mac), None)
        if name is None:
            faults.append(_Fault(entry, "has no name, and no registered node has this card"))
            continue
        key = by_id.get(entry.fields.get("machine_id", ""), name)
        slot = slots.setdefault(key, _Slot(None, None))
        if slot.entry and slot.after and slot.after.name != name:
            slot = slots.setdefault(f"another {name}", _Slot(None, None))
        if slot.entry:
            faults.append(_Fault(entry, f"{name} stands in {slot.entry.place} already"))
        elif slot.before is None and not entry.fields.get("macs"):
            faults.append(_Fault(entry, f"{name} isn't registered, and has no MAC address here"))
        else:
            slot.entry = entry
            given = entry.fields
            if slot.before is None and not given.get("image") and not given.get("profile"):
                given = {**given, "image": cluster.image}
            slot.after = _changed(slot.before, name, given, equal)
    faults += _give_addresses([s for s in slots.values() if s.after and s.entry], slots.values(), cluster)
    return list(slots.values()), faults


def _changed(node: NodeRecord | None, name: str, given: Mapping[str, Any], equal: bool) -> NodeRecord:
    """The node with what the file gives; who it is isn't lost where the file leaves that out."""
    found = node or NodeRecord(name=name, macs=(), address=_NOWHERE)
    if equal:
        found = replace(found, serial=None, profile=None, cores=None, settings=NOTHING_SET)
    identity = {key: given[key] for key in fields.IDENTITY if key in given}
    identity = {
        key: value for key, value in identity.items() if value or key in ("serial", "profile", "cores")
    }
    return replace(found, name=name, settings=_settings(found.settings, given), **identity)


def _settings(settings: Settings, given: Mapping[str, Any]) -> Settings:
    values = {key: given[key] for key in COLUMNS if key in given}
    if "dhcp_options" in values:
        changes = values["dhcp_options"]
        values["dhcp_options"] = {} if changes is None else changed_options(settings.dhcp_options, changes)
    return replace(settings, **values)


def _give_addresses(slots: Sequence[_Slot], every: Any, cluster: Cluster) -> list[_Fault]:
    """Addresses for those that have none, from the first range, in the order of the file."""
    taken = {slot.after.address for slot in every if slot.after}
    free = (
        address
        for network in cluster.networks
        if network.range
        for address in network.range
        if address not in taken and network.usable(address) and address != network.router
    )
    first = next((network for network in cluster.networks if network.range), None)
    faults: list[_Fault] = []
    for slot in slots:
        if slot.after is None or slot.entry is None or slot.after.address != _NOWHERE:
            continue
        address = next(free, None)
        if address is None or first is None or address not in first.subnet:
            span = f"no address is left in {first.range}" if first else "no network has a range"
            faults.append(_Fault(slot.entry, f"{slot.after.name} has no address, and {span}"))
            continue
        slot.after = replace(slot.after, address=address)
    return faults


def _faults(
    slots: Sequence[_Slot], profiles: Mapping[str, tuple[Profile, Place | None]], cluster: Cluster
) -> list[_Fault]:
    """Everything that can't be, each at the line that brings it."""
    return [
        *_misfits(slots, profiles, cluster),
        *_clashes(slots, "name", lambda node: [node.name]),
        *_clashes(slots, "MAC", lambda node: node.macs),
        *_clashes(slots, "address", lambda node: [node.address] if node.address != _NOWHERE else []),
        *_clashes(slots, "machine-id", lambda node: [node.machine_id] if node.machine_id else []),
        *_serial_clashes(slots),
    ]


def _misfits(
    slots: Sequence[_Slot], profiles: Mapping[str, tuple[Profile, Place | None]], cluster: Cluster
) -> Iterator[_Fault]:
    for slot in slots:
        old, node, entry = slot.before, slot.after, slot.entry
        if node is None or entry is None:
            continue
        if node.name in cluster.reserved and (old is None or old.name != node.name):
            yield _Fault(entry, f"{node.name!r} is the name of {cluster.reserved[node.name]}")
        if node.profile is not None and node.profile not in profiles:
            yield _Fault(entry, f"{node.name}: there is no profile {node.profile!r}")
        try:
            if node.address != _NOWHERE and (old is None or old.address != node.address):
                _check_address(node.address, cluster.networks)
            if old is None or old.serial != node.serial:
                check_serial(node.serial, node.macs)
        except UserError as error:
            yield _Fault(entry, f"{node.name}: {error.message}")


def _check_address(address: IPv4Address, networks: tuple[Network, ...]) -> None:
    network = network_of(address, networks)
    if network is None:
        known = ", ".join(str(each.subnet) for each in networks) or "none is configured"
        raise UserError(f"{address} lies outside every network served ({known})")
    network.check_node_address(address)


def _clashes(
    slots: Sequence[_Slot], what: str, values: Callable[[NodeRecord], Sequence[Any]]
) -> Iterator[_Fault]:
    """What two nodes would have and only one can, told at the later line."""
    holders: dict[Any, _Slot] = {}
    # What is registered and stays comes first, then the file's lines in their order.
    for slot in sorted(slots, key=_line):
        for value in values(slot.after) if slot.after else ():
            first = holders.setdefault(value, slot)
            if first is not slot and slot.entry:
                yield _Fault(slot.entry, f"{what} {value} belongs to {first.whose}")


def _serial_clashes(slots: Sequence[_Slot]) -> Iterator[_Fault]:
    """As _clashes; a Raspberry Pi's serial number has a short form, see same_serial."""
    ends: dict[str, list[tuple[str, _Slot]]] = {}
    for slot in sorted(slots, key=_line):
        if slot.after is None or slot.after.serial is None:
            continue
        serial = slot.after.serial
        holders = ends.setdefault(serial[-8:], [])
        first = next((holder for known, holder in holders if same_serial(known, serial)), None)
        if first and slot.entry:
            yield _Fault(slot.entry, f"serial {serial} belongs to {first.whose}")
        holders.append((serial, slot))


def _line(slot: _Slot) -> Place:
    return slot.entry.place if slot.entry else Place("", 0)


# Profiles


def _profiles(
    before: Contents, described: Described, equal: bool
) -> tuple[dict[str, tuple[Profile, Place | None]], list[Remark]]:
    """The profiles as they shall be, each with the line that says so; and what can't be."""
    known = {profile.name: profile for profile in before.profiles}
    found: dict[str, tuple[Profile, Place | None]] = {}
    if not equal:
        found = {name: (profile, None) for name, profile in known.items()}
    problems: list[Remark] = []
    for entry in described.profiles:
        name = entry.name or ""
        already = found.get(name, (None, None))[1]
        if already:
            problems.append(Remark(entry.place, f"profile {name!r} stands in {already} already"))
            continue
        base = (None if equal else known.get(name)) or Profile(name=name)
        parent = entry.fields.get("parent", base.parent)
        settings = _settings(base.settings, entry.fields)
        found[name] = (Profile(name=name, parent=parent, settings=settings), entry.place)
    for profile, place in found.values():
        if place and (why := _inheritance(profile, found)):
            problems.append(Remark(place, f"profile {profile.name!r} {why}"))
    return dict(sorted(found.items())), problems


def _inheritance(profile: Profile, found: Mapping[str, tuple[Profile, Place | None]]) -> str:
    """What is wrong with whom it inherits from; empty where nothing is."""
    seen = [profile.name]
    while profile.parent is not None:
        if profile.parent not in found:
            return f"inherits from {profile.parent!r}, which isn't there"
        if profile.parent in seen:
            return f"would inherit from itself, by {' > '.join((*seen, profile.parent))}"
        if len(seen) == DEEPEST_PROFILE:
            return f"has more than {DEEPEST_PROFILE - 1} above it"
        profile = found[profile.parent][0]
        seen.append(profile.name)
    return ""
