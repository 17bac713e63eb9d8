"""Options that several commands share, and how their values are read."""

from typing import Annotated

import typer

from netbootd.errors import UserError
from netbootd.node import RootMode

Json = Annotated[bool, typer.Option("--json", help="For programs.")]
Root = Annotated[RootMode | None, typer.Option("--root", help="How a node gets its /.", show_default=False)]
KernelArgs = Annotated[
    str | None, typer.Option("--kernel-args", metavar="ARGS", help="Added to the kernel's command line.")
]


def kernel_arguments(text: str | None) -> str | None:
    """One line of printable ASCII: what a boot script can carry to the kernel unchanged. Raises UserError."""
    if text is None:
        return None
    if not text.isascii() or not text.isprintable() or len(text) > 1000:
        raise UserError("kernel arguments are one line of at most 1000 printable ASCII characters")
    words = text.split()
    # iPXE takes these for the end of its command (core/exec.c), a comment, and a setting of its own.
    for word in words:
        if word in ("||", "&&", ";") or word.startswith("#") or "${" in word:
            raise UserError(f"kernel arguments can't have {word[:80]!r}: iPXE would take it for its own")
    return " ".join(words)
