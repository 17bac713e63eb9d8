"""How making an image tells whoever waits for it how far it has come."""

from typing import Protocol

OCTET_STEPS = frozenset(
    {
        "downloading",
        "reading",
        "reading again",
        "checking",
        "unpacking layers",
        "comparing",
        "packing for memory",
    }
)
"""The steps whose `done` and `total` are octets; in all others they count packages, files or the like."""


class Progress(Protocol):
    """Called often, from the thread that does the work; what it raises ends the work."""

    def __call__(self, step: str, done: int, total: int | None) -> None:
        """`step` is what is being done, in words; `total` is None where nobody can know it yet."""


def silent(step: str, done: int, total: int | None) -> None:
    """Tell nobody."""
