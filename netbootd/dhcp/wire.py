"""DHCP messages: octets to `Message` and back. The only module that imports scapy.

scapy's field descriptions read and write the header and the list of options; its packet objects are left
alone (a malformed option would hide those after it, 52 isn't read, a value over 255 octets raises). What
they lack is here: the walk over the options, RFC 3396's pieces, option 52, and every bound.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from ipaddress import IPv4Address
from types import MappingProxyType

from scapy.layers.dhcp import BOOTP, DHCP, dhcpmagic

from netbootd.dhcp.options import FIXED_SIZES, MessageType, Option
from netbootd.errors import PeerError, UserError
from netbootd.node import Mac

HEADER = 236
"""Octets before the magic cookie. Some BOOTP clients send no more (klibc's ipconfig -c bootp)."""
SHORTEST = 240
"""The header and the magic cookie; no DHCP message is shorter (RFC 2131 section 2)."""
LONGEST = 4096
"""Octets of a request that are looked at; real ones stay below one Ethernet frame."""
LONGEST_PIECE = 255
"""Octets that one option's length can tell of."""
MINIMUM = 300
"""What a BOOTP client may insist on (RFC 1542 section 2.1); replies are padded to it."""
UNKNOWN_LIMIT = 548
"""A client that sends no option 57 takes datagrams of 576 octets, of which 28 are IP and UDP."""
FRAME_LIMIT = 1472
"""What fits one Ethernet frame. UEFI drops what is longer, and many clients drop fragments."""

LONGEST_CLIENT_ID = 255
"""Octets of option 61: leases and offers are kept by it. A DUID has at most 130 (RFC 8415 section 11.1)."""

BOOTREQUEST, BOOTREPLY = 1, 2
BROADCAST_FLAG = 0x8000
_ETHERNET = 1
_NOWHERE = IPv4Address(0)

_HEADER = tuple(f for f in BOOTP.fields_desc if f.name != "options")
_OPTIONS = DHCP.fields_desc[0]
_PROTOTYPE = BOOTP()
_OVERLOADED_FILE, _OVERLOADED_SNAME = 1, 2

NEEDED = frozenset(
    {
        Option.SUBNET_MASK,
        Option.ROUTER,
        Option.VENDOR_SPECIFIC,
        Option.LEASE_TIME,
        Option.VENDOR_CLASS,
        Option.CLIENT_ID,
        Option.TFTP_SERVER_NAME,
        Option.BOOT_FILE_NAME,
        Option.CLIENT_UUID,
        Option.IPXE,
        Option.PXELINUX_CONFIG,
        Option.PXELINUX_PREFIX,
    }
)
"""Options without which a client gets no address or doesn't boot: the last to go where room is short."""


class WireError(PeerError):
    """These octets aren't a DHCP request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A DHCP message (RFC 2131 section 2). `options`: whole values in the order in which they came.

    Where option 52 put options into `sname` or `file`, they stand in `options` and the field is empty.
    """

    op: int
    xid: int
    chaddr: Mac
    hops: int = 0
    secs: int = 0
    flags: int = 0
    ciaddr: IPv4Address = _NOWHERE
    yiaddr: IPv4Address = _NOWHERE
    siaddr: IPv4Address = _NOWHERE
    giaddr: IPv4Address = _NOWHERE
    sname: bytes = b""
    file: bytes = b""
    options: Mapping[int, bytes] = field(default_factory=dict)

    @property
    def type(self) -> MessageType | None:
        """Option 53; None for BOOTP, which has none, and for a number that no server gets."""
        kind = self.options.get(Option.MESSAGE_TYPE)
        return _TYPES.get(kind[0]) if kind else None

    @property
    def broadcast(self) -> bool:
        """Whether the client can only be reached by broadcast as yet (RFC 2131 section 4.1)."""
        return bool(self.flags & BROADCAST_FLAG)

    @property
    def client_id(self) -> bytes:
        """Option 61, else hardware type and address, as section 4.2 has it."""
        return self.options.get(Option.CLIENT_ID) or bytes([_ETHERNET]) + self.chaddr.octets

    def address(self, option: int) -> IPv4Address | None:
        """The address in option 50 or 54, None where it wasn't sent."""
        raw = self.options.get(option)
        return IPv4Address(raw) if raw else None

    @property
    def limit(self) -> int:
        """The longest reply this client takes, in octets of UDP payload.

        Option 57 counts the IP and UDP headers too; what is below its legal minimum counts as not sent. A
        BOOTP client has room for 64 octets of options (RFC 951 section 3).
        """
        if Option.MESSAGE_TYPE not in self.options:
            return MINIMUM
        raw = self.options.get(Option.MAXIMUM_SIZE)
        return min(max(int.from_bytes(raw, "big") - 28, UNKNOWN_LIMIT), FRAME_LIMIT) if raw else UNKNOWN_LIMIT


def decode(octets: bytes) -> Message:
    """Read a message sent to a server: BOOTREQUEST, Ethernet, with DHCP's cookie. Raises WireError."""
    message = decode_any(octets)
    if message.op != BOOTREQUEST:
        raise WireError(f"op is {message.op}, not a request")
    return message


def decode_any(octets: bytes) -> Message:
    """Read a request or a reply (a capture has both). Raises WireError.

    Where there is no cookie it is BOOTP without vendor information (RFC 951 section 3): no options.
    """
    if len(octets) < SHORTEST and len(octets) != HEADER:
        raise WireError(f"{len(octets)} octets are too few for a DHCP message")
    if len(octets) > LONGEST:
        raise WireError(f"longer than {LONGEST} octets")
    bare = octets[HEADER:SHORTEST] in (b"", bytes(4))
    if not bare and octets[HEADER:SHORTEST] != dhcpmagic:
        raise WireError("the magic cookie isn't DHCP's")
    head, rest = {}, octets[:HEADER]
    for part in _HEADER:
        rest, head[part.name] = part.getfield(_PROTOTYPE, rest)
    if head["htype"] != _ETHERNET or head["hlen"] != 6:
        raise WireError(f"hardware type {head['htype']} with {head['hlen']} octets isn't Ethernet")
    if head["op"] not in (BOOTREQUEST, BOOTREPLY):
        raise WireError(f"op is {head['op']}, neither request nor reply")
    try:
        mac = Mac.from_octets(head["chaddr"][:6])
    except UserError as error:
        raise WireError(f"chaddr: {error.message}") from error
    after = b"" if bare else octets[SHORTEST:]
    options, overload = _read_options(after, head["file"], head["sname"])
    return Message(
        op=head["op"],
        hops=head["hops"],
        xid=head["xid"],
        secs=head["secs"],
        flags=int(head["flags"]),
        ciaddr=_address(head["ciaddr"]),
        yiaddr=_address(head["yiaddr"]),
        siaddr=_address(head["siaddr"]),
        giaddr=_address(head["giaddr"]),
        chaddr=mac,
        sname=b"" if overload & _OVERLOADED_SNAME else head["sname"].partition(b"\0")[0],
        file=b"" if overload & _OVERLOADED_FILE else head["file"].partition(b"\0")[0],
        options=MappingProxyType(options),
    )


def encode(message: Message) -> bytes:
    """The octets of `message`: 53 and 54 first, 82 last, an end mark, padded to MINIMUM."""
    values = {
        "op": message.op,
        "htype": _ETHERNET,
        "hlen": 6,
        "hops": message.hops,
        "xid": message.xid,
        "secs": message.secs,
        "flags": message.flags,
        "ciaddr": str(message.ciaddr),
        "yiaddr": str(message.yiaddr),
        "siaddr": str(message.siaddr),
        "giaddr": str(message.giaddr),
        "chaddr": message.chaddr,
        "sname": message.sname,
        "file": message.file,
    }
    octets = b""
    for part in _HEADER:
        octets = part.addfield(_PROTOTYPE, octets, values[part.name])
    pieces: list[tuple[int, bytes]] = []
    for code, value in _wire_order(message.options):
        if len(value) <= LONGEST_PIECE:
            pieces.append((code, value))
        else:  # RFC 3396: a longer value is several options of the same number
            pieces += [(code, value[i : i + LONGEST_PIECE]) for i in range(0, len(value), LONGEST_PIECE)]
    octets += dhcpmagic + _OPTIONS.i2m(None, [*pieces, "end"])
    return bytes(octets).ljust(MINIMUM, b"\0")


def fit(message: Message, limit: int) -> tuple[Message, tuple[int, ...]]:
    """`message` with as many options as `limit` octets hold, and the numbers of those left out.

    What goes first is what isn't NEEDED, from the last option back; then what is needed, from the last back,
    and 82 at the end of all, as a whole (RFC 3046 section 2.2): a relay that can't tell its client without it
    would lose the reply. 53 and 54 always stay.
    """
    size = SHORTEST + 1 + sum(_size(value) for value in message.options.values())
    if size <= limit:
        return message, ()
    back = [code for code in list(message.options)[::-1] if code not in _NEVER_LEFT_OUT]
    going = sorted(back, key=lambda code: (code == Option.RELAY_AGENT, code in NEEDED))
    left_out: list[int] = []
    for code in going:
        if size <= limit:
            break
        size -= _size(message.options[code])
        left_out.append(code)
    kept = {code: value for code, value in message.options.items() if code not in left_out}
    return replace(message, options=MappingProxyType(kept)), tuple(left_out)


# Details

_TYPES = {int(kind): kind for kind in MessageType}
_NEVER_LEFT_OUT = (Option.MESSAGE_TYPE, Option.SERVER_ID)


def _read_options(main: bytes, file: bytes, sname: bytes) -> tuple[dict[int, bytes], int]:
    """All options and the value of 52; pieces are joined in RFC 3396's order: options, file, sname."""
    options: dict[int, bytes] = {}
    _walk(main, options)
    raw = options.pop(Option.OVERLOAD, b"\0")
    overload = raw[0] if len(raw) == 1 and raw[0] <= 3 else -1
    if overload < 0:
        raise WireError("option 52 is neither 1, 2 nor 3")
    if overload & _OVERLOADED_FILE:
        _walk(file, options)
    if overload & _OVERLOADED_SNAME:
        _walk(sname, options)
    for code, size in FIXED_SIZES.items():
        if code in options and len(options[code]) != size:
            raise WireError(f"option {int(code)} has {len(options[code])} octets instead of {size}")
    if len(options.get(Option.CLIENT_ID, b"")) > LONGEST_CLIENT_ID:
        raise WireError(f"the client identifier has more than {LONGEST_CLIENT_ID} octets")
    return options, overload


def _walk(octets: bytes, options: dict[int, bytes]) -> None:
    at, end = 0, len(octets)
    while at < end:
        code = octets[at]
        if code == Option.END:
            return
        if code == Option.PAD:
            at += 1
            continue
        stop = at + 2 + octets[at + 1] if at + 1 < end else end + 1
        if stop > end:
            raise WireError(f"option {code} reaches beyond the end of its field")
        options[code] = options.get(code, b"") + octets[at + 2 : stop]
        at = stop


_PLACES: Mapping[int, float] = {Option.MESSAGE_TYPE: -2, Option.SERVER_ID: -1, Option.RELAY_AGENT: 1}
"""53 and 54 first: clients with little memory read no further to tell the type. 82 last (RFC 3046)."""


def _wire_order(options: Mapping[int, bytes]) -> list[tuple[int, bytes]]:
    return sorted(options.items(), key=lambda option: _PLACES.get(option[0], _in_pieces(option[1])))


def _in_pieces(value: bytes) -> float:
    """Behind the others: a client that can't join the pieces (RFC 3396) has read the rest by then."""
    return 0.5 if len(value) > LONGEST_PIECE else 0.0


def _size(value: bytes) -> int:
    return len(value) + 2 * max(1, -(-len(value) // LONGEST_PIECE))


@lru_cache(maxsize=4096)
def _address(dotted: str) -> IPv4Address:
    """Reading an address costs as much as reading the rest of the header, and most are 0.0.0.0."""
    return IPv4Address(dotted)
