"""How far a boot has come, and what is worth telling about it."""

from dataclasses import dataclass
from enum import StrEnum

from netbootd.node import Mac


class Stage(StrEnum):
    """The stages of a boot, in the order in which a node passes them."""

    DISCOVER = "discover"
    OFFER = "offer"
    REQUEST = "request"
    ACK = "ack"
    LOADER = "loader"
    CONFIG = "config"
    KERNEL = "kernel"
    INITRD = "initrd"
    ROOT = "root"
    READY = "ready"

    @property
    def order(self) -> int:
        """0 for discover, 9 for ready."""
        return _ORDER[self]


_ORDER = {stage: number for number, stage in enumerate(Stage)}


class Level(StrEnum):
    """How much an event asks of the reader."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened to a machine. `time` is Unix seconds; `text` is printable and bounded.

    `stage` is None for what isn't a step of a boot (a declined address, a refused request).
    """

    time: float
    mac: Mac | None
    node: str | None
    stage: Stage | None
    text: str
    level: Level = Level.INFO
