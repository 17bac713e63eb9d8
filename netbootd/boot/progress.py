"""Which boot an event belongs to, and how far that boot has come."""

from dataclasses import dataclass, replace

from netbootd.node import Mac
from netbootd.stage import Event, Level, Stage

PAUSE = 120.0
"""Seconds without a word after which a DISCOVER begins a new boot; firmware's own retries are shorter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One machine's latest boot. `began` is its first DISCOVER, Unix seconds, and names the boot.

    `stage` is the furthest reached; `text` and `level` are of the last event that says something of it.
    """

    mac: Mac
    node: str | None
    began: float
    last: float
    stage: Stage | None = None
    text: str = ""
    level: Level = Level.INFO


def advance(progress: Progress | None, event: Event, mac: Mac) -> Progress:
    """The machine's progress after `event`. A DISCOVER begins a new boot unless it continues one.

    A loader asks for its address again: that DISCOVER comes before any script or kernel was fetched.
    """
    if progress is None or _begins(progress, event):
        progress = Progress(mac=mac, node=event.node, began=event.time, last=event.time)
    further = event.stage is not None and (
        progress.stage is None or event.stage.order >= progress.stage.order
    )
    # Of a machine that came to no stage the last word is all that can be shown, unless it had trouble.
    silent = progress.stage is None and progress.level is Level.INFO
    telling = further or silent or event.level is not Level.INFO
    return replace(
        progress,
        node=event.node,
        last=event.time,
        stage=event.stage if further else progress.stage,
        text=event.text if telling else progress.text,
        level=event.level if telling else progress.level,
    )


def _begins(progress: Progress, event: Event) -> bool:
    if event.stage is not Stage.DISCOVER:
        return False
    # Either way: a board without a clock of its own sets it by NTP, hours on or back, while others boot.
    return abs(event.time - progress.last) > PAUSE or (
        progress.stage is not None and progress.stage.order >= Stage.CONFIG.order
    )
