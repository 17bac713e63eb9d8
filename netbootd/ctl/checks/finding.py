"""What a check of `doctor` sees and what it finds."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from netbootd.config import Config
from netbootd.ctl.head import Head
from netbootd.links import Snapshot
from netbootd.network import Network


class Level(StrEnum):
    """`wrong` keeps nodes from booting, `warning` may, `note` is what couldn't be looked at."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """`what` in plain words; `mend`: a command, or what to do, where there is something to mend."""

    level: Level
    what: str
    mend: str = ""


@dataclass(frozen=True, slots=True)
class Context:
    """What the checks look at. `links`: all interfaces; `root`: whether we may look everywhere."""

    head: Head
    config: Config
    links: Snapshot
    networks: tuple[Network, ...]
    daemon: int | None
    """The running netbootd's process id."""
    root: bool


Check = Callable[[Context], list[Finding]]


def ok(what: str) -> Finding:
    """All is well."""
    return Finding(Level.OK, what)


def note(what: str, mend: str = "") -> Finding:
    """Something that couldn't be looked at, or is only worth knowing."""
    return Finding(Level.NOTE, what, mend)


def warning(what: str, mend: str = "") -> Finding:
    """Something that may keep nodes from booting."""
    return Finding(Level.WARNING, what, mend)


def wrong(what: str, mend: str = "") -> Finding:
    """Something that keeps nodes from booting."""
    return Finding(Level.WRONG, what, mend)
