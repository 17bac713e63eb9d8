"""What the two doors, TFTP and HTTP, hand to a booting client: an opened asset, or why there is none."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Asset:
    """An opened thing to send: a file (`fd`) or rendered content (`content`), never both.

    `size` is in octets. The receiver owns `fd` and closes it. `key` (device, inode, mtime in ns) is the
    identity of a file for caches; two assets with the same key have the same octets.
    """

    name: str
    size: int
    fd: int | None
    content: bytes | None
    key: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Refusal:
    """No asset for this client: not there, or `denied`. `reason` is shown to the client and in the log."""

    reason: str
    denied: bool = False
