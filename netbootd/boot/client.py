"""What a booting machine says of itself, read off one DHCP request. No judgement here, only facts."""

from collections.abc import Mapping
from dataclasses import dataclass

from netbootd.node import Mac

OPTION_PARAMETER_REQUEST_LIST = 55
OPTION_MAXIMUM_SIZE = 57
OPTION_VENDOR_CLASS = 60
OPTION_USER_CLASS = 77
OPTION_CLIENT_ARCHITECTURE = 93
OPTION_CLIENT_UUID = 97
OPTION_IPXE = 175


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """The facts by which a firmware is recognised.

    `architectures` is option 93 (RFC 4578 2.1: one number or several); `uuid` option 97 raw, its type octet
    first; `user_classes` option 77 with RFC 3004's lengths taken off, or whole where there are none (iPXE).
    `ipxe_features`: what iPXE says in 175 that it can. `maximum_size` is option 57 in octets. `sent`: the
    numbers of all options, in their order: some firmware is known by nothing else. `privileged`: it asked
    from a port below 1024, as firmware does (68), and on a running system only root can.
    """

    mac: Mac
    architectures: tuple[int, ...] = ()
    vendor_class: str = ""
    user_classes: tuple[bytes, ...] = ()
    uuid: bytes = b""
    parameter_request_list: tuple[int, ...] = ()
    ipxe_options: bool = False
    ipxe_features: frozenset[int] = frozenset()
    maximum_size: int | None = None
    sent: tuple[int, ...] = ()
    privileged: bool = False

    @property
    def architecture(self) -> int | None:
        """The first of option 93, the one that the client runs as."""
        return self.architectures[0] if self.architectures else None


def from_dhcp(mac: Mac, options: Mapping[int, bytes]) -> Client:
    """Read a request's options (whole, RFC 3396 pieces joined). What is malformed counts as not sent."""
    arch = options.get(OPTION_CLIENT_ARCHITECTURE, b"")
    uuid = options.get(OPTION_CLIENT_UUID, b"")
    size = options.get(OPTION_MAXIMUM_SIZE, b"")
    return Client(
        mac=mac,
        architectures=tuple(int.from_bytes(arch[i : i + 2], "big") for i in range(0, len(arch) - 1, 2)),
        vendor_class=_text(options.get(OPTION_VENDOR_CLASS, b"")),
        user_classes=_user_classes(options.get(OPTION_USER_CLASS, b"")),
        uuid=uuid if len(uuid) == 17 else b"",
        parameter_request_list=tuple(options.get(OPTION_PARAMETER_REQUEST_LIST, b"")),
        ipxe_options=OPTION_IPXE in options,
        ipxe_features=_ipxe_features(options.get(OPTION_IPXE, b"")),
        maximum_size=int.from_bytes(size, "big") if len(size) == 2 else None,
        sent=tuple(options),
    )


def _text(raw: bytes) -> str:
    """Printable ASCII only; RFC 2132 section 2 lets a text end in NUL."""
    return "".join(chr(c) if 0x20 <= c < 0x7F else "?" for c in raw.rstrip(b"\0"))


def _user_classes(raw: bytes) -> tuple[bytes, ...]:
    """RFC 3004 section 4: length, data, length, data. iPXE sends the bare word instead."""
    classes, rest = [], raw
    while rest:
        length = rest[0]
        if not 0 < length < len(rest):
            return (raw,)
        classes.append(rest[1 : 1 + length])
        rest = rest[1 + length :]
    return tuple(classes)


def _ipxe_features(raw: bytes) -> frozenset[int]:
    """Sub-options 16 to 127 of 175 with a value that isn't zero (iPXE, include/ipxe/features.h)."""
    found, rest = set(), raw
    while len(rest) >= 2 and rest[0] != 255:
        code, length = rest[0], rest[1]
        if 16 <= code < 128 and any(rest[2 : 2 + length]):
            found.add(code)
        rest = rest[2 + length :]
    return frozenset(found)
