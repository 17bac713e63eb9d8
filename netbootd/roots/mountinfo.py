"""What is mounted where, read off /proc/self/mountinfo (proc_pid_mountinfo(5)). Pure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """One line: a file system of kind `kind` at `point`. Flags are `nosuid` and the like, of this mount.

    `options` are the file system's own: key -> value, empty for one without.
    """

    point: Path
    kind: str
    source: str
    flags: frozenset[str]
    options: Mapping[str, str]


def parse(text: str) -> list[Mount]:
    """All mounts in the kernel's order: of two at one point the later lies on top. Odd lines are left out."""
    # Not splitlines(): a user's mount point may have any line end in its name but the one that is escaped.
    return [mount for line in text.split("\n") if (mount := _mount(line)) is not None]


def top(mounts: Iterable[Mount], point: Path) -> Mount | None:
    """What is seen at `point` itself; None where nothing is mounted just there."""
    return next((mount for mount in reversed(list(mounts)) if mount.point == point), None)


def holding(mounts: Iterable[Mount], path: Path) -> Mount | None:
    """The file system that `path` lies on. `path` has no symbolic link in it."""
    found: Mount | None = None
    for mount in mounts:
        depth = len(found.point.parts) if found else 0
        if PurePosixPath(path).is_relative_to(mount.point) and len(mount.point.parts) >= depth:
            found = mount
    return found


def _mount(line: str) -> Mount | None:
    fields = line.split(" ")
    # Between the sixth field and the hyphen stand optional ones, none or more.
    if "-" not in fields[6:] or len(fields) < (dash := fields.index("-", 6)) + 4:
        return None
    return Mount(
        point=Path(_plain(fields[4])),
        kind=fields[dash + 1],
        source=_plain(fields[dash + 2]),
        flags=frozenset(fields[5].split(",")),
        options={
            _plain(key): _plain(value)
            for key, _, value in (option.partition("=") for option in fields[dash + 3].split(","))
        },
    )


def _plain(text: str) -> str:
    """The kernel writes blanks, line ends, # and backslashes in octal (seq_path, seq_escape): all ASCII."""
    return _OCTAL.sub(lambda found: chr(int(found[1], 8)), text)
