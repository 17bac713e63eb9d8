"""How the values of DHCP options are written by an admin, sent, and shown. Pure.

Each type reads words into octets and shows octets as such words again. What it shows, it reads. RFC 2132
gives the types their layout unless a line names another source.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

INFINITE = 0xFFFFFFFF
ANYWHERE = IPv4Network("0.0.0.0/0")
"""The destination of a default route."""
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


@dataclass(frozen=True, slots=True)
class OptionType:
    """`read` raises ValueError in words; `show` gives None for octets that aren't of this type.

    A type that isn't a list gets all that was written as one word.
    """

    example: str
    read: Callable[[Sequence[str]], bytes]
    show: Callable[[bytes], str | None]
    is_list: bool = False


def printable(raw: bytes, longest: int = 255) -> str:
    """A text from the wire as it may be shown or kept: ASCII, bounded, without NUL at its end."""
    return "".join(chr(c) if 0x20 <= c < 0x7F else "?" for c in raw.rstrip(b"\0")[:longest])


# Addresses


def _address(word: str) -> bytes:
    try:
        return IPv4Address(word.strip()).packed
    except ValueError:
        raise ValueError(f"{word[:40]!r} isn't an IPv4 address") from None


def _read_addresses(words: Sequence[str]) -> bytes:
    return b"".join(_address(word) for word in words)


def _show_addresses(raw: bytes) -> str | None:
    if not raw or len(raw) % 4:
        return None
    return ", ".join(str(IPv4Address(raw[i : i + 4])) for i in range(0, len(raw), 4))


def _show_address(raw: bytes) -> str | None:
    return _show_addresses(raw) if len(raw) == 4 else None


def _read_pairs(words: Sequence[str]) -> bytes:
    octets = b""
    for word in words:
        pair = word.split()
        if len(pair) != 2:
            raise ValueError(f"{word[:40]!r} isn't two addresses with a space between them")
        octets += _address(pair[0]) + _address(pair[1])
    return octets


def _read_static_routes(words: Sequence[str]) -> bytes:
    octets = _read_pairs(words)
    if any(octets[i : i + 4] == bytes(4) for i in range(0, len(octets), 8)):
        raise ValueError("0.0.0.0 can't be a destination here (RFC 2132 section 5.8): set routers")
    return octets


def _show_pairs(raw: bytes) -> str | None:
    if not raw or len(raw) % 8:
        return None
    each = (raw[i : i + 8] for i in range(0, len(raw), 8))
    return ", ".join(f"{IPv4Address(pair[:4])} {IPv4Address(pair[4:])}" for pair in each)


def route(network: IPv4Network, router: bytes) -> bytes:
    """One route of option 121: the prefix's length, as many octets as it has bits in, the router."""
    return bytes([network.prefixlen]) + network.network_address.packed[: -(-network.prefixlen // 8)] + router


def _read_routes(words: Sequence[str]) -> bytes:
    octets = b""
    for word in words:
        parts = word.replace(" via ", " ").split()
        if len(parts) != 2:
            raise ValueError(f"{word[:60]!r} isn't a route, as 10.8.0.0/16 via 10.77.0.1")
        try:
            given = IPv4Interface(parts[0] if parts[0] != "default" else "0.0.0.0/0")
        except ValueError as error:
            raise ValueError(f"{parts[0][:40]!r} isn't a network: {error}") from None
        network = given.network
        if given.ip != network.network_address:
            raise ValueError(f"{parts[0]} is an address; its network is {network}")
        octets += route(network, _address(parts[1]))
    return octets


def routes(raw: bytes) -> list[tuple[IPv4Network, IPv4Address]] | None:
    """The routes in option 121 (RFC 3442); None where it is malformed."""
    found, at = [], 0
    while at < len(raw):
        length = raw[at]
        end = at + 1 + -(-length // 8)
        if length > 32 or end + 4 > len(raw):
            return None
        network = IPv4Network((raw[at + 1 : end].ljust(4, b"\0"), length), strict=False)
        found.append((network, IPv4Address(raw[end : end + 4])))
        at = end + 4
    return found


def _show_routes(raw: bytes) -> str | None:
    found = routes(raw)
    return ", ".join(f"{network} via {router}" for network, router in found) if found else None


# Numbers


def _number(size: int, low: int, high: int) -> Callable[[Sequence[str]], bytes]:
    def read(words: Sequence[str]) -> bytes:
        octets = b""
        for word in words:
            if not re.fullmatch(r"-?\d{1,10}", word.strip(), re.ASCII):
                raise ValueError(f"{word[:40]!r} isn't a whole number")
            if not low <= int(word) <= high:
                raise ValueError(f"{word} is out of range, from {low} to {high}")
            octets += int(word).to_bytes(size, "big", signed=low < 0)
        return octets

    return read


def _show_numbers(size: int, *, signed: bool = False) -> Callable[[bytes], str | None]:
    def show(raw: bytes) -> str | None:
        if not raw or len(raw) % size:
            return None
        each = (raw[i : i + size] for i in range(0, len(raw), size))
        return ", ".join(str(int.from_bytes(octets, "big", signed=signed)) for octets in each)

    return show


def unsigned(size: int, low: int = 0, high: int | None = None, example: int = 1) -> OptionType:
    """A number of `size` octets in the range that its RFC allows."""
    most = high if high is not None else (1 << 8 * size) - 1
    shows = _show_numbers(size)
    return OptionType(
        str(max(low, example)), _number(size, low, most), lambda raw: shows(raw) if len(raw) == size else None
    )


def _read_bool(words: Sequence[str]) -> bytes:
    found = {"true": 1, "yes": 1, "on": 1, "1": 1, "false": 0, "no": 0, "off": 0, "0": 0}.get(
        words[0].strip().lower()
    )
    if found is None:
        raise ValueError(f"{words[0][:40]!r} is neither true nor false")
    return bytes([found])


def _show_bool(raw: bytes) -> str | None:
    return {b"\0": "false", b"\1": "true"}.get(raw)


def _read_seconds(words: Sequence[str]) -> bytes:
    word = words[0].strip().lower()
    if word in ("for ever", "forever", "infinite"):
        return INFINITE.to_bytes(4, "big")
    match = re.fullmatch(r"(\d{1,10})\s*([smhdw]?)", word, re.ASCII)
    if not match:
        raise ValueError(f"{words[0][:40]!r} isn't a time")
    seconds = int(match[1]) * _UNITS[match[2]]
    if seconds > INFINITE:
        raise ValueError(f"{words[0][:40]} is longer than 32 bits can tell")
    return seconds.to_bytes(4, "big")


def _show_seconds(raw: bytes) -> str | None:
    if len(raw) != 4:
        return None
    number = int.from_bytes(raw, "big")
    return "for ever" if number == INFINITE else f"{number} s"


# Texts


def _read_text(words: Sequence[str]) -> bytes:
    if not words[0] or not words[0].isascii() or not words[0].isprintable():
        raise ValueError(f"{words[0][:40]!r} isn't a line of printable ASCII characters")
    return words[0].encode("ascii")


def _read_hex(words: Sequence[str]) -> bytes:
    digits = re.sub(r"[\s:]", "", words[0])
    if not re.fullmatch(r"([0-9a-fA-F]{2})+", digits):
        raise ValueError(f"{words[0][:40]!r} isn't hexadecimal, two digits for an octet")
    return bytes.fromhex(digits)


def _show_hex(raw: bytes) -> str:
    return raw.hex(" ")


_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")


def domain_name(domain: str) -> bytes:
    """A domain as DNS writes it, not compressed (RFC 1035 section 3.1). Raises ValueError."""
    labels = domain.strip().rstrip(".").split(".")
    if len(domain) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError(f"{domain[:60]!r} isn't a domain")
    return b"".join(bytes([len(label)]) + label.encode("ascii") for label in labels) + b"\0"


def _read_domains(words: Sequence[str]) -> bytes:
    return b"".join(domain_name(word) for word in words)


def _show_domains(raw: bytes) -> str | None:
    names, labels, at = list[str](), list[str](), 0
    while at < len(raw):
        label = raw[at + 1 : at + 1 + raw[at]]
        if raw[at] > 63 or len(label) < raw[at]:
            return None
        at += 1 + raw[at]
        if label:
            labels.append(printable(label))
        else:
            names.append(".".join(labels))
            labels = []
    return ", ".join(names) if not labels else None


def _read_sip(words: Sequence[str]) -> bytes:
    """RFC 3361: names, or addresses, not both; the first octet says which."""
    try:
        return b"\1" + _read_addresses(words)
    except ValueError:
        return b"\0" + _read_domains(words)


def _show_sip(raw: bytes) -> str | None:
    shows = {b"\0": _show_domains, b"\1": _show_addresses}.get(raw[:1])
    return shows(raw[1:]) if shows and len(raw) > 1 else None


ADDRESS = OptionType("10.77.0.1", _read_addresses, _show_address)
ADDRESSES = OptionType("10.77.0.1, 10.77.0.2", _read_addresses, _show_addresses, is_list=True)
ADDRESS_PAIRS = OptionType("10.0.0.0 255.0.0.0", _read_pairs, _show_pairs, is_list=True)
STATIC_ROUTES = OptionType("192.168.5.9 10.77.0.2", _read_static_routes, _show_pairs, is_list=True)
ROUTES = OptionType("10.8.0.0/16 via 10.77.0.2", _read_routes, _show_routes, is_list=True)
BOOL = OptionType("true", _read_bool, _show_bool)
SECONDS = OptionType("12h", _read_seconds, _show_seconds)
OFFSET = OptionType(
    "-3600",
    _number(4, -(1 << 31), (1 << 31) - 1),
    lambda raw: _show_numbers(4, signed=True)(raw) if len(raw) == 4 else None,
)
MTUS = OptionType("576, 1006", _number(2, 68, 65_535), _show_numbers(2), is_list=True)
TEXT = OptionType("a text", _read_text, printable)
HEX = OptionType("hex:0a0b0c", _read_hex, _show_hex)
DOMAIN = OptionType("cluster.example", _read_domains, _show_domains)
DOMAINS = OptionType("cluster.example, example", _read_domains, _show_domains, is_list=True)
SIP = OptionType("10.77.0.5", _read_sip, _show_sip, is_list=True)
