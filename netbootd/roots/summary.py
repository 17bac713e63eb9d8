"""A node's changes in a few lines: directories whose content is new, or mostly changed, summed up. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netbootd.images.layered import Change

MOST = 12
"""Lines for what lies in one directory; more are summed up."""
SHALLOWEST = 2
"""How deep a directory has to lie to be summed up: /usr as a whole would say nothing."""


@dataclass(frozen=True, slots=True)
class Line:
    """What changed at `path`; of a directory summed up, how many `entries` in it. `size` in octets."""

    path: str
    change: str
    """added, changed, removed; or mixed."""
    what: str
    size: int
    entries: int = 1


@dataclass(slots=True)
class _Branch:
    path: str
    own: "Change | None" = None
    below: dict[str, "_Branch"] = field(default_factory=dict)


def lines(changes: "Iterable[Change]", most: int = MOST) -> list[Line]:
    """The changes by path; `most` 0 sums nothing up but directories that are new."""
    top = _Branch("")
    for change in changes:
        branch = top
        if change.path != ".":
            for part in change.path.split("/"):
                branch = branch.below.setdefault(part, _Branch(f"{branch.path}/{part}"))
        branch.own = change
    return list(_lines(top, 0, most))


def _lines(branch: _Branch, depth: int, most: int) -> Iterator[Line]:
    if branch.own is not None and branch.own.kind == "added" and branch.own.type == "directory":
        yield _summed(branch, "added")
        return
    found = [line for child in branch.below.values() for line in _lines(child, depth + 1, most)]
    if most and depth >= SHALLOWEST and len(found) > most:
        yield _summed(branch, "mixed")
        return
    if branch.own is not None:
        own = branch.own
        yield Line(branch.path or "/", own.kind, ", ".join(own.what) or own.type, own.size)
    yield from found


def _summed(branch: _Branch, change: str) -> Line:
    all_ = list(_all(branch))
    counts = {kind: sum(1 for each in all_ if each.kind == kind) for kind in ("added", "changed", "removed")}
    entries = sum(counts.values())
    said = [f"{count} {kind}" for kind, count in counts.items() if count]
    what = "directory" if entries == 1 else f"{entries} entries" if change == "added" else ", ".join(said)
    kinds = [kind for kind, count in counts.items() if count]
    kind = kinds[0] if len(kinds) == 1 else change
    return Line(f"{branch.path}/", kind, what, sum(each.size for each in all_), entries)


def _all(branch: _Branch) -> "Iterator[Change]":
    if branch.own is not None:
        yield branch.own
    for child in branch.below.values():
        yield from _all(child)
