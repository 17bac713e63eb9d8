"""PXELINUX, as a BIOS ROM or iPXE loads it: lpxelinux.0, which fetches kernel and initrd over HTTP.

It reads the packets that the ROM got, not ones of its own: what it is told goes to the ROM, unasked, for no
ROM has these numbers in its list (core/fs/pxe/dhcp_option.c). It asks for ldlinux.c32 first, and then,
with 209, for exactly one configuration instead of a dozen names.
"""

from netbootd.boot.answer import Located
from netbootd.boot.firmware import pxelinux_cfg
from netbootd.boot.visit import Visit, rendered
from netbootd.node import Mac

_CONFIG_FILE = 209
_PATH_PREFIX = 210
_DIRECTORY = "loaders"


def options(mac: Mac) -> dict[int, bytes]:
    """What it is told (RFC 5071): its configuration's name, and the directory of that and of ldlinux.c32."""
    config = f"{pxelinux_cfg.DIRECTORY}/{pxelinux_cfg.ETHERNET}{mac.dashed}"
    return {_CONFIG_FILE: config.encode(), _PATH_PREFIX: f"/{_DIRECTORY}/".encode()}


def locate(visit: Visit) -> Located | None:
    """A configuration by one of the names that PXELINUX makes up; U-Boot's family has taken its own."""
    if (name := pxelinux_cfg.name_in(visit.parts)) is None:
        return None
    node = pxelinux_cfg.node_named(name, visit)
    return rendered(visit, node, "boot/pxelinux/pxelinux.cfg.j2") if node else None
