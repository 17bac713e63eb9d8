"""Values in netbootd.toml: what their authors write, checked, as what they mean. Pure.

Each function takes a TOML value and raises ValueError in words.
"""

import re
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

from netbootd.config_problems import shown
from netbootd.errors import UserError
from netbootd.network import AddressRange
from netbootd.node import host_name

USER_NAME = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
"""As useradd takes it everywhere; what else Linux would take, some tool of some image trips over."""
_SYSTEMS_OWN = frozenset(
    {"bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "proc", "root", "run", "sbin", "sys"}
    | {"tmp", "usr", "var"}
)
"""Directories of / that are a node's own."""
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def address(value: object) -> object:
    """An IPv4 address."""
    return _try(IPv4Address, value, "isn't an IPv4 address; write 10.77.0.1")


def interface_address(value: object) -> object:
    """An address of an interface, with its prefix length."""
    if isinstance(value, str) and "/" not in value:
        raise ValueError(f"{value[:60]!r} lacks its prefix length; write {value[:40]}/24")
    return _try(IPv4Interface, value, "isn't an address with its prefix length; write 10.77.0.1/24")


def subnet(value: object) -> object:
    """A network."""
    if isinstance(value, str) and "/" not in value:
        raise ValueError(f"{value[:60]!r} lacks its prefix length; write {value[:40]}/24")
    try:
        return _try(IPv4Network, value, "isn't a network; write 10.78.0.0/24")
    except ValueError:
        # Somebody's address with its prefix: say which network that is.
        own = _try(IPv4Interface, value, "isn't a network; write 10.78.0.0/24")
        raise ValueError(f"{value!r} is an address; its network is {getattr(own, 'network', own)}") from None


def _try(parse: type, value: object, complaint: str) -> object:
    if isinstance(value, str):
        try:
            return parse(value)
        except ValueError:
            raise ValueError(f"{value[:60]!r} {complaint}") from None
    raise ValueError(f"has to be a string in quotation marks, not {shown(value)}")


def address_range(value: object) -> object:
    """Two addresses with a hyphen between."""
    if not isinstance(value, str):
        raise ValueError(f'has to be a string such as "10.77.0.10-10.77.0.99", not {shown(value)}')
    try:
        return AddressRange.parse(value)
    except UserError as error:
        raise ValueError(str(error)) from None


def duration(value: object) -> object:
    """Seconds, from 90 or "90s", "30m", "12h", "7d"."""
    if isinstance(value, int) and not isinstance(value, bool):
        seconds = value
    elif isinstance(value, str) and (match := re.fullmatch(r"(\d{1,9})\s*([smhdw]?)", value.strip())):
        seconds = int(match[1]) * _UNITS[match[2]]
    else:
        raise ValueError(f'{shown(value)} isn\'t a time; write "12h", "30m" or a number of seconds')
    if not 60 <= seconds < 0xFFFFFFFF:
        raise ValueError(f"{shown(value)} is out of range; from 60 seconds to 136 years")
    return seconds


def absolute_path(value: object) -> object:
    """A path from the root on."""
    path = _try(Path, value, "isn't a path")
    if isinstance(path, Path) and not path.is_absolute():
        raise ValueError(f"{str(path)[:80]!r} has to begin with a slash")
    if not str(path).isprintable():
        raise ValueError(f"{str(path)[:80]!r} has control characters")
    return path


def exported_path(value: object) -> object:
    """A path that stands on kernel command lines and in exports(5), where nothing can be quoted for all."""
    path = absolute_path(value)
    if not re.fullmatch(r"[\w./+@:~-]+", str(path), re.ASCII):
        raise ValueError(
            f"{str(path)[:80]!r} stands on kernel command lines: use letters, digits and . _ - only"
        )
    return path


def user_name(value: object) -> object:
    """A user's name; who that is, only the head node's own list of users can tell."""
    if not isinstance(value, str) or not USER_NAME.fullmatch(value):
        text = "can't name a user: up to 32 small letters, digits, _ and -, a letter first"
        raise ValueError(f"{shown(value)} {text}")
    if value == "root":
        raise ValueError("'root' is on every node anyway; name a user who works on the cluster")
    return value


def shared_path(value: object) -> object:
    """A directory that nodes mount at the same path: none that they have a system in."""
    path = exported_path(value)
    if not isinstance(path, Path):
        return path
    parts = path.parts[1:]
    if not parts or parts[0] in _SYSTEMS_OWN or ".." in parts:
        raise ValueError(f"{str(path)!r} would hide part of a node's system; write /srv/shared")
    return path


def overlap(one: Path, other: Path) -> bool:
    """Whether one of two directories lies in the other, or both are the same."""
    return one.is_relative_to(other) or other.is_relative_to(one)


def domain(value: object) -> object:
    """A domain of RFC 1123 labels; a label may be a number."""
    if not isinstance(value, str) or not value or len(value) > 253:
        raise ValueError(f'{shown(value)} isn\'t a domain; write "cluster"')
    try:
        return ".".join(
            host_name(label) if not label.isdigit() else label for label in value.strip(".").split(".")
        )
    except UserError as error:
        raise ValueError(f"{value[:60]!r} isn't a domain: {error.message}") from None


def interface_name(value: object) -> object:
    """What Linux takes as a name: up to 15 octets, no slash, no white space (dev_valid_name)."""
    if not isinstance(value, str) or not re.fullmatch(r"[^\s/:]{1,15}", value) or value in (".", ".."):
        raise ValueError(
            f'{shown(value)} can\'t name a network interface; write "eth1" (`ip -br link` lists them)'
        )
    return value
