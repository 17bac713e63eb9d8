"""What an import changes, in words for people. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from netbootd.contents import NodeRecord
from netbootd.exchange import fields
from netbootd.exchange.described import Place
from netbootd.settings import COLUMNS, Profile


@dataclass(frozen=True, slots=True)
class Change:
    """A row for people. `what` is removed, added, changed or renamed; `place` the line that says so."""

    what: str
    kind: str
    name: str
    details: tuple[str, ...] = ()
    place: Place | None = None


def node_change(old: NodeRecord | None, new: NodeRecord | None, place: Place | None) -> Change:
    """A node that is another now; None where there was none, or is none any more."""
    if new is None:
        return Change("removed", "node", old.name if old else "", _values(_told(old)))
    if old is None:
        return Change("added", "node", new.name, _values(_told(new)), place)
    details = _differences(_told(old), _told(new))
    if old.name != new.name:
        return Change("renamed", "node", new.name, (f"was {old.name}", *details), place)
    return Change("changed", "node", new.name, details, place)


def profile_changes(
    before: Sequence[Profile], after: Mapping[str, tuple[Profile, Place | None]]
) -> Iterator[Change]:
    """Those of the profiles. `after`: by name, each with the line that says so."""
    known = {profile.name: profile for profile in before}
    for name, old in known.items():
        if name not in after:
            yield Change("removed", "profile", name, _values(_told(old)))
    for name, (new, place) in after.items():
        if name not in known:
            yield Change("added", "profile", name, _values(_told(new)), place)
        elif known[name] != new:
            yield Change("changed", "profile", name, _differences(_told(known[name]), _told(new)), place)


def _told(item: NodeRecord | Profile | None) -> dict[str, str]:
    """Title -> value, in the order in which people ask for them."""
    if item is None:
        return {}
    if isinstance(item, NodeRecord):
        values: dict[str, Any] = {"address": item.address, "mac": item.macs, "serial": item.serial,
                                  "profile": item.profile, "cores": item.cores,
                                  "machine-id": item.machine_id}  # fmt: skip
    else:
        values = {"parent": item.parent}
    values |= {key: getattr(item.settings, key) for key in COLUMNS if key != "dhcp_options"}
    told = {key: fields.shown(value) for key, value in values.items() if value not in (None, "")}
    told |= {"kernel_args": "none"} if item.settings.kernel_args == "" else {}
    return told | {
        f"dhcp {name}": value for name, value in fields.shown_options(item.settings.dhcp_options).items()
    }


def _values(told: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(f"{key} {value}" for key, value in told.items() if key != "machine-id")


def _differences(old: Mapping[str, str], new: Mapping[str, str]) -> tuple[str, ...]:
    keys = dict.fromkeys((*new, *old))
    return tuple(
        f"{key} {old.get(key, '-')} -> {new.get(key, '-')}" for key in keys if old.get(key) != new.get(key)
    )
