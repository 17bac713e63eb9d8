"""What a file says of nodes and profiles, each with its place in the file. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from netbootd.errors import FileError

LARGEST = 16 << 20
"""Octets of a file that is read; a cluster of 10,000 nodes has a quarter of it."""
MOST_FILES = 1000
DEEPEST_INCLUDE = 16


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A line of a file."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Remark:
    """Something about a line: what could not be carried over and why, or where it belongs instead."""

    place: Place
    text: str

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"


@dataclass(frozen=True, slots=True)
class Setting:
    """What another server's line is in netbootd.toml: a line of a [[network]], or of its options."""

    place: Place
    text: str
    is_option: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A node or a profile as a file has it.

    `fields` has only what the file names: `macs`, `address`, `machine_id`, `serial`, `profile`, `cores` (of a
    node), `parent` (of a profile), and the settings' names; None takes the own value away. Its `dhcp_options`
    are laid over those there are, option by option. `name` is None where a file knows a machine by its card
    only.
    """

    name: str | None
    place: Place
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """All that a file says. `foreign`: another program's file, of which what fits is carried over.

    `remarks` could not be carried over; `settings` belong in netbootd.toml.
    """

    nodes: tuple[Entry, ...] = ()
    profiles: tuple[Entry, ...] = ()
    remarks: tuple[Remark, ...] = ()
    settings: tuple[Setting, ...] = ()
    foreign: bool = False


class Files(Protocol):
    """The files beside the one that is read."""

    def text(self, path: str) -> str:
        """A file's text. Raises UserError where it can't be read."""

    def names(self, directory: str) -> Sequence[str]:
        """The names in a directory, sorted. Raises UserError where it can't be read."""


def refuse(problems: Sequence[Remark]) -> None:
    """Raise FileError with every problem in the order of their lines, if there is any."""
    if not problems:
        return
    lines = tuple(str(problem) for problem in sorted(problems, key=lambda each: each.place))
    if len(lines) == 1:
        raise FileError(lines[0], (), "nothing was changed")
    raise FileError(f"{len(lines)} lines can't be accepted", lines, "nothing was changed")


def joined(entries: Iterable[Entry]) -> list[Entry]:
    """Other servers have an entry for each card: those of one name and address become one node."""
    found: dict[tuple[Any, ...], Entry] = {}
    for number, entry in enumerate(entries):
        address = entry.fields.get("address")
        alone = entry.name is None or address is None
        key = (number,) if alone else (entry.name, address)
        if key not in found:
            found[key] = entry
            continue
        first = found[key]
        macs = tuple(dict.fromkeys((*first.fields["macs"], *entry.fields["macs"])))
        options = {**entry.fields.get("dhcp_options", {}), **first.fields.get("dhcp_options", {})}
        merged = {**first.fields, "macs": macs} | ({"dhcp_options": options} if options else {})
        found[key] = replace(first, fields=merged)
    return list(found.values())
