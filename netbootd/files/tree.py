"""A tree of files as a value, and what turns one tree into another. Pure.

A tree maps paths, relative to its root and without a leading slash, to what is there; "." is the root
itself. Everything in it belongs to whoever runs `apply`: root.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

DIRECTORY_MODES = {"root": 0o700, "root/.ssh": 0o700, "tmp": 0o1777, "var/tmp": 0o1777}
"""Of directories that nothing says a mode of; any other is 0755. They count where the image has none."""


@dataclass(frozen=True, slots=True)
class File:
    """A regular file."""

    content: bytes
    mode: int = 0o644

    def __repr__(self) -> str:
        # The content may be a private key.
        return f"File({len(self.content)} octets, {self.mode:04o})"


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link."""

    target: str


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory."""

    mode: int = 0o755


@dataclass(frozen=True, slots=True)
class Other:
    """What is there and can't stay as it is: a device, a socket, somebody else's file."""

    what: str


Entry = File | Link | Directory | Other
Tree = Mapping[str, Entry]


class Action(StrEnum):
    """What is done to a path."""

    MAKE = "make"
    WRITE = "write"
    LINK = "link"
    MODE = "chmod"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class Step:
    """One step from the tree that is to the tree that shall be. REMOVE takes all below along."""

    action: Action
    path: str
    entry: Entry


def with_directories(entries: Mapping[str, Entry]) -> Tree:
    """`entries` and every directory that they lie in, the root included."""
    above = {parent for path in entries for parent in parents(path)} | {"."}
    return {**{path: directory(path) for path in above}, **entries}


def parents(path: str) -> Iterator[str]:
    """The directories that `path` lies in, the nearest first, the root last; none for the root itself."""
    while path != ".":
        path = path.rpartition("/")[0] or "."
        yield path


def directory(path: str, mode: int = 0o755) -> Directory:
    """A directory at `path`; DIRECTORY_MODES win over `mode`."""
    return Directory(DIRECTORY_MODES.get(path, mode))


def keeping(desired: Tree, present: Tree, paths: Iterable[str]) -> Tree:
    """`desired`, with what is at `paths` staying as it is: nobody knows what should be there now."""
    kept: dict[str, Entry] = {}
    for path in paths:
        if isinstance(present.get(path), File | Link):
            kept |= {parent: present[parent] for parent in parents(path)} | {path: present[path]}
    return {**kept, **desired}


def differences(desired: Tree, present: Tree) -> list[Step]:
    """The steps from `present` to `desired`, in an order in which they can be carried out."""
    removed: set[str] = set()
    steps = []
    for path in _downwards(present):
        there = present[path]
        clash = path in desired and isinstance(there, Directory) != isinstance(desired[path], Directory)
        if path not in desired or clash:
            if not any(parent in removed for parent in parents(path)):
                steps.append(Step(Action.REMOVE, path, there))
            removed.add(path)
    for path in _downwards(desired):
        wanted, there_now = desired[path], present.get(path)
        if there_now == wanted and path not in removed:
            continue
        match wanted:
            case Directory():
                both = isinstance(there_now, Directory) and path not in removed
                steps.append(Step(Action.MODE if both else Action.MAKE, path, wanted))
            case File():
                steps.append(Step(Action.WRITE, path, wanted))
            case Link():
                steps.append(Step(Action.LINK, path, wanted))
            case Other(what):
                raise ValueError(f"{path}: {what} can't be made")
    return steps


def _downwards(paths: Iterable[str]) -> list[str]:
    """Parents before what lies in them."""
    return sorted(paths, key=lambda path: path.split("/") if path != "." else [])
