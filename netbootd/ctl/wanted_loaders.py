"""Which loaders the nodes need, by what they were told when they asked; and which of these aren't here."""

import re
from collections.abc import Iterable

from netbootd.boot.loaders import LOADERS, Loader

_TOLD = re.compile(r"(?:boot file (?:http://[^/ ]+/)?loaders/|the loader )([A-Za-z0-9._-]{1,40})")
"""How an offer's event names a loader of the head node's: dhcp.reservation and boot.firmware.choice."""
_TOGETHER = {
    "lpxelinux.0": ("ldlinux.c32",),
    "shimx64.efi": ("grubx64.efi",),
    "shimaa64.efi": ("grubaa64.efi",),
}
"""What a loader goes on to ask for."""
FIRST = {"x86_64": ("undionly.kpxe", "snponly.efi"), "i686": ("undionly.kpxe",)}
"""What a machine not heard yet will ask for, by its image's architecture. A board may need none."""


def missing(told: Iterable[str], unheard: Iterable[str]) -> list[Loader]:
    """The loaders that aren't installed and are needed: by events' texts, and by machines never heard.

    `unheard` has the architectures of the images of these, in uname's words.
    """
    names = {match[1] for text in told for match in _TOLD.finditer(text)}
    names |= {name for architecture in unheard for name in FIRST.get(architecture, ())}
    names |= {more for name in names for more in _TOGETHER.get(name, ())}
    return [loader for loader in LOADERS.values() if loader.name in names and not installed(loader)]


def installed(loader: Loader) -> bool:
    """Whether this machine has it."""
    return any(path.is_file() for path in loader.paths)
