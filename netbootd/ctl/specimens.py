"""What each firmware sends in its DISCOVER, as a server reads it: the simulated boards' own octets. Pure."""

from dataclasses import dataclass

from netbootd.dhcp.wire import Message, decode
from netbootd.node import Mac
from netbootd.simulate.discovers import DISCOVERS, Discover


@dataclass(frozen=True, slots=True)
class Specimen:
    """One kind of client."""

    source: Discover

    def discover(self, mac: Mac) -> Message:
        """Its DISCOVER, sent from the network card `mac`."""
        return decode(self.source.octets(mac))


SPECIMENS: dict[str, Specimen] = {name: Specimen(source) for name, source in DISCOVERS.items()}
