"""Options that several commands share, and how their values are read."""

from collections.abc import Mapping
from typing import Annotated

import typer

from netbootd.boot.loaders import CHOICES
from netbootd.dhcp import option_table
from netbootd.errors import UserError
from netbootd.node import RootMode

Json = Annotated[bool, typer.Option("--json", help="For programs.")]
Root = Annotated[RootMode | None, typer.Option("--root", help="How a node gets its /.", show_default=False)]
KernelArgs = Annotated[
    str | None, typer.Option("--kernel-args", metavar="ARGS", help="Added to the kernel's command line.")
]

Loader = Annotated[
    str | None,
    typer.Option(
        "--loader",
        metavar="LOADER",
        autocompletion=lambda: list(CHOICES),
        help=f"What its firmware is given first, where it can choose: {', '.join(CHOICES)}.",
    ),
]
EepromUpdate = Annotated[
    bool | None,
    typer.Option(
        "--eeprom-update/--no-eeprom-update",
        help="Whether a Raspberry Pi that asks is given a new boot loader for its EEPROM.",
        show_default=False,
    ),
]
DhcpOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--dhcp-option",
        metavar="NAME=VALUE",
        help="Sent by DHCP, as ntp-servers=10.77.0.1; `none` sends none, and nothing after = drops it.",
    ),
]


def dhcp_options(given: list[str] | None) -> dict[int, bytes | None]:
    """NAME=VALUE, repeated, as option numbers and octets; None where the option is dropped. UserError."""
    changes: dict[int, bytes | None] = {}
    for each in given or []:
        written, mark, value = each.partition("=")
        if not mark:
            raise UserError(
                f"{each[:40]!r} has no value", "write --dhcp-option NAME=VALUE, as ntp-servers=10.77.0.1"
            )
        if value:
            code, octets = option_table.read(written, value)
            changes[code] = octets
        else:
            changes[option_table.number(written)] = None
    return changes


def shown_options(options: Mapping[int, bytes]) -> dict[str, str]:
    """Name -> value, in the order of their numbers, in the words that `dhcp_options` takes."""
    return {option_table.name(code): option_table.show(code, options[code]) for code in sorted(options)}
