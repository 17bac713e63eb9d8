"""On which terms a file is sent: the option negotiation of RFC 2347, 2348, 2349 and 7440.

An option is granted only when the client asked for it and its value is valid; what is invalid or unknown is
left out of the OACK, which tells the client that it wasn't granted. No value granted exceeds the one asked.
"""

from dataclasses import dataclass

MOST_BLOCKS = 64
"""The largest window. Measured: throughput stops growing there, and UDP GSO takes 64 segments at a time."""
MOST_IN_FLIGHT = 96 * 1024
"""Octets in one window: what fits in a socket's send buffer and in a modest switch's."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What was agreed: `blksize` in octets, `windowsize` in blocks, `timeout` in seconds.

    A `timeout` of None leaves the waiting to the session. `oack` is what the OACK says, names as the client
    spelled them; empty means that there is no OACK.
    """

    blksize: int = 512
    windowsize: int = 1
    timeout: int | None = None
    oack: tuple[tuple[str, str], ...] = ()


def negotiate(options: tuple[tuple[str, str], ...], size: int) -> Terms:
    """The terms for a file of `size` octets as they go over the wire."""
    asked = {name.lower(): value for name, value in options}
    blksize = _number(asked.get("blksize"), 8, 65464)
    timeout = _number(asked.get("timeout"), 1, 255)
    windowsize = _number(asked.get("windowsize"), 1, 65535)
    if windowsize is not None:
        windowsize = min(windowsize, MOST_BLOCKS, max(1, MOST_IN_FLIGHT // (blksize or 512)))
    # RFC 2349: the client sends 0. Any number is taken as the same question.
    tsize = size if _number(asked.get("tsize"), 0, 2**63) is not None else None
    granted = {"blksize": blksize, "timeout": timeout, "windowsize": windowsize, "tsize": tsize}
    oack = tuple(
        (name, str(granted[name.lower()])) for name, _ in options if granted.get(name.lower()) is not None
    )
    return Terms(blksize or 512, windowsize or 1, timeout, oack)


def _number(text: str | None, least: int, most: int) -> int | None:
    """A decimal number within bounds, else None. int() alone takes signs, spaces and underscores too."""
    if text is None or not text.isdecimal() or not text.isascii() or len(text) > 19:
        return None
    value = int(text)
    return value if least <= value <= most else None
