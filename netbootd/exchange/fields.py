"""How each value of a node or a profile is written in a file, and read from one. Pure.

`read` and `show` are each other's reverse, but for spelling: a MAC address with dashes is read as one with
colons. Whatever a reader can't accept it raises UserError for.
"""

import re
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address
from typing import Any

from netbootd.boot.loaders import loader_name
from netbootd.dhcp import option_table
from netbootd.errors import UserError
from netbootd.image import image_name
from netbootd.node import Mac, RootMode, serial_number
from netbootd.settings import kernel_arguments, profile_name

IDENTITY = ("macs", "address", "machine_id", "serial", "profile", "cores")
"""What a node has besides its settings."""
WAYS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False,
        "0": False}  # fmt: skip


def address(text: str) -> IPv4Address:
    """An IPv4 address."""
    try:
        return IPv4Address(text.strip())
    except ValueError:
        raise UserError(f"{text[:40]!r} isn't an IPv4 address", "write it as 10.77.0.10") from None


def macs(text: str) -> tuple[Mac, ...]:
    """Network cards, with spaces, commas or semicolons between; the first is booted from."""
    found = tuple(Mac(word) for word in re.split(r"[\s,;|]+", text) if word)
    if not found:
        raise UserError("a node is known by its network card", "write a MAC address")
    if len(set(found)) < len(found):
        raise UserError("a MAC address stands there twice")
    return found


def machine_id(text: str) -> str:
    """As machine-id(5) has it; a UUID's hyphens are left out."""
    digits = text.strip().lower().replace("-", "")
    if not re.fullmatch(r"[0-9a-f]{32}", digits) or not digits.strip("0"):
        raise UserError(f"{text[:40]!r} isn't a machine-id", "write 32 hexadecimal digits, or leave it out")
    return digits


def root_mode(text: str) -> RootMode:
    """overlay, persistent or ram."""
    try:
        return RootMode(text.strip().lower())
    except ValueError:
        raise UserError(f"{text[:40]!r} is no root mode", f"one of {', '.join(RootMode)}") from None


def switch(text: str) -> bool:
    """true or false, in the words that people have for it."""
    if (found := WAYS.get(text.strip().lower())) is None:
        raise UserError(f"{text[:40]!r} is neither true nor false")
    return found


def cores(text: str) -> int:
    """How many processor cores a node has."""
    if not re.fullmatch(r"[1-9][0-9]{0,5}", text.strip()):
        raise UserError(f"{text[:40]!r} isn't a number of processor cores", "write 4, or leave it out")
    return int(text)


READERS: Mapping[str, Callable[[str], Any]] = {
    "macs": macs,
    "address": address,
    "machine_id": machine_id,
    "serial": serial_number,
    "profile": profile_name,
    "cores": cores,
    "parent": profile_name,
    "image": image_name,
    "root": root_mode,
    "kernel_args": kernel_arguments,
    "loader": loader_name,
    "eeprom_update": switch,
}
"""Every field that is one value; `dhcp_options` are `option`'s."""


def option(name: str, text: str) -> tuple[int, bytes]:
    """A DHCP option by name, `option-224` or number."""
    return option_table.read(name, text)


def shown(value: Any) -> str:
    """A value in the words that its reader takes."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return " ".join(value) if isinstance(value, tuple) else str(value)


def shown_options(options: Mapping[int, bytes]) -> dict[str, str]:
    """Name -> value, in the order of their numbers."""
    return {option_table.name(code): option_table.show(code, options[code]) for code in sorted(options)}
