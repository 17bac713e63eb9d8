"""DHCP options: their numbers, what their octets mean, and how they read to a person. Pure.

Numbers are IANA's "BOOTP Vendor Extensions and DHCP Options"; RFC 2132 unless a line names another.
"""

from collections.abc import Callable, Iterable
from enum import IntEnum
from ipaddress import IPv4Address

from netbootd.dhcp import option_table, option_types

INFINITE = option_types.INFINITE
"""Seconds in option 51 that never end (RFC 2131 section 3.3)."""


class MessageType(IntEnum):
    """Option 53 (RFC 2132 section 9.6)."""

    DISCOVER = 1
    OFFER = 2
    REQUEST = 3
    DECLINE = 4
    ACK = 5
    NAK = 6
    RELEASE = 7
    INFORM = 8


class Option(IntEnum):
    """The options that netbootd reads, sends or explains."""

    PAD = 0
    SUBNET_MASK = 1
    ROUTER = 3
    DNS = 6
    HOST_NAME = 12
    BOOT_FILE_SIZE = 13
    DOMAIN_NAME = 15
    ROOT_PATH = 17
    INTERFACE_MTU = 26
    BROADCAST_ADDRESS = 28
    NTP_SERVERS = 42
    VENDOR_SPECIFIC = 43
    REQUESTED_ADDRESS = 50
    LEASE_TIME = 51
    OVERLOAD = 52
    MESSAGE_TYPE = 53
    SERVER_ID = 54
    PARAMETER_REQUEST_LIST = 55
    MESSAGE = 56
    MAXIMUM_SIZE = 57
    RENEWAL_TIME = 58
    REBINDING_TIME = 59
    VENDOR_CLASS = 60
    CLIENT_ID = 61
    TFTP_SERVER_NAME = 66
    BOOT_FILE_NAME = 67
    USER_CLASS = 77  # RFC 3004
    RELAY_AGENT = 82  # RFC 3046
    CLIENT_ARCHITECTURE = 93  # RFC 4578
    CLIENT_INTERFACE = 94  # RFC 4578
    CLIENT_UUID = 97  # RFC 4578
    SUBNET_SELECTION = 118  # RFC 3011
    DOMAIN_SEARCH = 119  # RFC 3397
    CLASSLESS_ROUTES = 121  # RFC 3442
    IPXE = 175  # ipxe.org: encapsulated options
    PXELINUX_CONFIG = 209  # RFC 5071
    PXELINUX_PREFIX = 210  # RFC 5071
    MS_CLASSLESS_ROUTES = 249  # Microsoft's number for 121
    END = 255


RELAY_SOURCE_PORT = 19
"""Sub-option of 82 (RFC 8357): the relay wants its answer at the port it sent from."""

FIXED_SIZES = {
    Option.REQUESTED_ADDRESS: 4,
    Option.LEASE_TIME: 4,
    Option.OVERLOAD: 1,
    Option.MESSAGE_TYPE: 1,
    Option.SERVER_ID: 4,
    Option.MAXIMUM_SIZE: 2,
}
"""Octets of the options that the server itself reads; a request that has another number is malformed."""


# Values to octets


def address(value: IPv4Address) -> bytes:
    """One address: 1, 28, 50, 54."""
    return value.packed


def addresses(values: Iterable[IPv4Address]) -> bytes:
    """Several, the preferred first: 3, 6."""
    return b"".join(value.packed for value in values)


def seconds(value: int) -> bytes:
    """A time: 51, 58, 59."""
    return value.to_bytes(4, "big")


def text(value: str) -> bytes:
    """A text without NUL at its end: 12, 15, 56, 66, 67. What isn't ASCII becomes a question mark."""
    return value.encode("ascii", "replace")


def domain_search(domains: Iterable[str]) -> bytes:
    """Domains as DNS writes them, not compressed: 119 (RFC 3397 section 2). Raises ValueError."""
    return b"".join(option_types.domain_name(domain) for domain in domains)


# Octets to values; what is malformed reads as not sent


def sub_options(raw: bytes) -> dict[int, bytes]:
    """Number, length, octets, repeated: 43, 82, 175. Stops at an end mark or where one is cut short."""
    found: dict[int, bytes] = {}
    at = 0
    while at + 2 <= len(raw) and raw[at] != Option.END:
        if raw[at] == Option.PAD:
            at += 1
            continue
        value = raw[at + 2 : at + 2 + raw[at + 1]]
        if len(value) < raw[at + 1]:
            break
        found[raw[at]] = found.get(raw[at], b"") + value
        at += 2 + raw[at + 1]
    return found


printable = option_types.printable


# Options for people


name = option_table.name


def describe(code: int, value: bytes) -> str:
    """The value for a reader, as in `10.77.0.1, 10.77.0.2`; hexadecimal where nothing better is known."""
    kind = option_table.KNOWN.get(code)
    shows = _READERS.get(code, kind.type.show if kind else _hex)
    shown = shows(value)
    return shown if shown is not None else _hex(value)


def _hex(value: bytes) -> str:
    return value.hex(" ")


def _message_type(value: bytes) -> str | None:
    try:
        return MessageType(value[0]).name if len(value) == 1 else None
    except ValueError:
        return None


def _numbers(value: bytes) -> str:
    return " ".join(str(number) for number in value)


def _architectures(value: bytes) -> str | None:
    if not value or len(value) % 2:
        return None
    return ", ".join(str(int.from_bytes(value[i : i + 2], "big")) for i in range(0, len(value), 2))


def _encapsulated(value: bytes) -> str:
    return "; ".join(f"{code}: {part.hex(' ')}" for code, part in sub_options(value).items()) or _hex(value)


_READERS: dict[int, Callable[[bytes], str | None]] = {
    **dict.fromkeys((Option.VENDOR_SPECIFIC, Option.RELAY_AGENT, Option.IPXE), _encapsulated),
    Option.MESSAGE_TYPE: _message_type,
    Option.PARAMETER_REQUEST_LIST: _numbers,
    Option.CLIENT_ARCHITECTURE: _architectures,
}
"""What is read otherwise than an admin would write it."""
