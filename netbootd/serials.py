"""Boards tell their serial numbers, in DHCP's option 97 or in the paths that they ask for: noted once.

The registry then answers for paths with that number, and `node show` tells which board a node is.
"""

from collections.abc import Callable

from netbootd.errors import HostError, UserError
from netbootd.node import Mac, Node, same_serial
from netbootd.registry import Registry
from netbootd.stage import Event, Level


class Serials:
    """Writes what boards tell into the registry. `now` gives Unix seconds."""

    def __init__(self, registry: Registry, record: Callable[[Event], None], now: Callable[[], float]) -> None:
        self._registry = registry
        self._record = record
        self._now = now

    def learn(self, node: Node, serial: str, mac: Mac) -> None:
        """Take note of the serial number that the board of `node`, with the card `mac`, tells.

        Never fails: that another node has it, or that the node should have another, is an event.
        """
        if node.serial is not None and same_serial(node.serial, serial):
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
