"""Boards tell their serial numbers, in DHCP's option 97 or in the paths that they ask for: noted once.

The registry then answers for paths with that number, and `node show` tells which board a node is.

Whoever can send packets can tell one. What was tried isn't tried again for a while, so that a flood of
clashes takes the registry's lock, which others wait for, a few times a second and no more.
"""

from collections.abc import Callable

from netbootd.dhcp.throttle import Throttle
from netbootd.errors import HostError, UserError
from netbootd.node import Mac, Node, same_serial
from netbootd.registry import Registry
from netbootd.stage import Event, Level

TRIED_EVERY = 10.0
"""Seconds between two tries to note one number for one node."""


class Serials:
    """Writes what boards tell into the registry. `now` gives Unix seconds."""

    def __init__(self, registry: Registry, record: Callable[[Event], None], now: Callable[[], float]) -> None:
        self._registry = registry
        self._record = record
        self._now = now
        self._tried = Throttle(TRIED_EVERY)

    def learn(self, node: Node, serial: str, mac: Mac) -> None:
        """Take note of the serial number that the board of `node`, with the card `mac`, tells.

        Never fails: that another node has it, or that the node should have another, is an event.
        """
        if node.serial is not None and same_serial(node.serial, serial):
            return
        if self._tried.admits((node.name, serial), self._now()) is None:
            return
        try:
            if not self._registry.learn_serial(node.name, serial):
                return
            text, level = f"its board's serial number is {serial}: noted", Level.INFO
        except UserError as error:
            text, level = str(error), Level.ERROR
        except HostError as error:
            text, level = f"its board's serial number {serial} could not be noted: {error}", Level.WARNING
        event = Event(time=self._now(), mac=mac, node=node.name, stage=None, text=text, level=level)
        self._record(event)
