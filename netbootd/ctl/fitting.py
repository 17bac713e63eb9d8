"""An image for another processor than the node's: told to whoever gives it, before the node boots in vain."""

import re
from collections.abc import Iterable

from netbootd import events
from netbootd.boot.firmware import fit
from netbootd.ctl.head import Head
from netbootd.ctl.tables import warn
from netbootd.errors import HostError
from netbootd.node import Node
from netbootd.stage import Stage

_TOLD = re.compile(r"(?P<family>[a-z]+)(?:;.*)?; architecture (?P<numbers>\d+(?:, \d+)*)")
"""What the DHCP server notes of who asks."""


def warn_of_misfits(head: Head, nodes: Iterable[Node]) -> None:
    """Warn of each node whose image its machine can't run, by what was seen when it booted last."""
    for node in nodes:
        try:
            generation = head.images.current(node.image) if node.image else None
        except HostError:
            continue  # a damaged image is told elsewhere
        known = seen(head, node)
        if generation is None or known is None or generation.architecture in known[1]:
            continue
        what, runs = known
        warn(
            f"{node.name} was last seen as {what}, and {generation.label} is for {generation.architecture}: "
            f"it won't be given it; `netbootctl node set {node.name} --image NAME`, one for {runs[0]}"
        )


def seen(head: Head, node: Node) -> tuple[str, tuple[str, ...]] | None:
    """What sort of machine asked at the last boot by one of the node's cards, and what it runs."""
    told = [
        event
        for mac in node.macs
        for event in events.timeline(head.config.events_path, mac)
        if event.stage is Stage.DISCOVER
    ]
    # A later DISCOVER of the same boot is a loader's or the system's: the first one is the firmware's.
    for event in sorted(told, key=lambda event: event.time):
        if found := _TOLD.match(event.text):
            numbers = [int(number) for number in found["numbers"].split(", ")]
            if known := fit.machine(found["family"], numbers):
                return known
    return None
