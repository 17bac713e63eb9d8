"""What each firmware sends in its DISCOVER, for `explain`: the simulated boards' own octets. Pure."""

from dataclasses import dataclass

from netbootd.dhcp.wire import Message, decode
from netbootd.errors import UserError
from netbootd.node import Mac
from netbootd.simulate.discovers import DISCOVERS, Discover


@dataclass(frozen=True, slots=True)
class Specimen:
    """One kind of client. `what` is for people."""

    source: Discover

    @property
    def what(self) -> str:
        """What it is, for people."""
        return self.source.what

    def discover(self, mac: Mac) -> Message:
        """Its DISCOVER, sent from the network card `mac`."""
        return decode(self.source.octets(mac))


SPECIMENS: dict[str, Specimen] = {name: Specimen(source) for name, source in DISCOVERS.items()}
_ALSO = {"raspberrypi": "pi4", "pi": "pi4", "uboot-arm64": "uboot", "uefi-x64": "uefi"}

IPXE_AFTER = {"uefi": "ipxe-uefi", "uefi-arm64": "ipxe-arm64"}
"""Which iPXE asks next when this firmware was given one; after all others it is `ipxe`."""


def specimen(firmware: str) -> tuple[str, Specimen]:
    """The kind of client called `firmware`, and its first name. Raises UserError."""
    name = _ALSO.get(firmware.lower(), firmware.lower())
    if name not in SPECIMENS:
        raise UserError(f"{firmware[:40]!r} is no firmware known here", f"one of {', '.join(SPECIMENS)}")
    return name, SPECIMENS[name]
