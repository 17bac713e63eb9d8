"""TFTP packets, bytes <-> values (RFC 1350, 2347). The only module that imports tftpy.

Requests, OACK and ERROR go through tftpy's packet classes; DATA and ACK, of which there are millions, through
struct. Decoding analyses nothing: what an option's value means is for `options`. What is malformed raises
WireError and nothing else, whatever the bytes.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum, StrEnum

from tftpy.TftpPacketTypes import TftpPacketERR, TftpPacketOACK, TftpPacketRRQ, TftpPacketWRQ
from tftpy.TftpShared import TftpException

from netbootd.errors import PeerError

MOST_REQUEST = 512
"""Octets that a request may have (RFC 2347)."""
DATA_HEADER = 4
"""Octets before the payload of a DATA packet."""
_MOST_SHOWN = 120
_HEADER = struct.Struct("!HH")
_DATA = 3
_RRQ, _WRQ, _ACK, _ERROR = b"\0\1", b"\0\2", b"\0\4", b"\0\5"


class WireError(PeerError):
    """A datagram that isn't the TFTP it should be. The message can be sent back in an ERROR 4."""


class ErrorCode(IntEnum):
    """RFC 1350, appendix; 8 is RFC 2347's."""

    UNDEFINED = 0
    NOT_FOUND = 1
    ACCESS_VIOLATION = 2
    ILLEGAL_OPERATION = 4
    UNKNOWN_TID = 5
    OPTIONS_REFUSED = 8


class Mode(StrEnum):
    """How the octets of a file go over the wire. RFC 1350's third, `mail`, is refused."""

    OCTET = "octet"
    NETASCII = "netascii"


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """RRQ. `path` is printable ASCII, not empty, as the client wrote it; option names are as it spelled them,
    no two alike but for case, values printable ASCII."""

    path: str
    mode: Mode
    options: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class WriteRequest:
    """WRQ: understood, so that it can be refused by name."""

    path: str


@dataclass(frozen=True, slots=True)
class PeerFault:
    """ERROR from the client; `message` is safe to show."""

    code: int
    message: str


def decode_request(datagram: bytes) -> ReadRequest | WriteRequest:
    """What arrived on port 69. Raises WireError for anything but a well-formed RRQ or WRQ."""
    if len(datagram) > MOST_REQUEST:
        raise WireError("the request has more than 512 octets")
    if datagram[:2] == _RRQ:
        packet = TftpPacketRRQ()
    elif datagram[:2] == _WRQ:
        packet = TftpPacketWRQ()
    else:
        raise WireError("this port takes requests only")
    # Some ROMs pad their request with zeros; an unterminated last string stays the fault that it is.
    packet.buffer = datagram.rstrip(b"\0") + b"\0" if datagram.endswith(b"\0\0") else datagram
    try:
        packet.decode()
    except (TftpException, struct.error, UnicodeDecodeError):
        raise WireError("the request is malformed") from None
    path, options = str(packet.filename), dict(packet.options)
    if not path:
        raise WireError("the request names no file")
    if not all(text.isprintable() for text in (path, *options, *options.values())):
        raise WireError("the request holds control characters")
    if datagram[:2] == _WRQ:
        return WriteRequest(path)
    if packet.mode not in tuple(Mode):
        raise WireError(f"the mode {shown(packet.mode, 20)} isn't served, use octet")
    names = {name.lower() for name in options}
    if len(names) < len(options):
        raise WireError("the request holds an option twice")
    return ReadRequest(path, Mode(packet.mode), tuple(options.items()))


def decode_answer(datagram: bytes) -> int | PeerFault:
    """What a client sends during a transfer: the block number of its ACK, 0..65535, or its ERROR.

    Raises WireError for all else.
    """
    opcode = datagram[:2]
    if opcode == _ACK and len(datagram) >= _HEADER.size:
        return datagram[2] << 8 | datagram[3]
    if opcode == _ERROR and len(datagram) >= _HEADER.size:
        return PeerFault(datagram[2] << 8 | datagram[3], shown(datagram[4:].split(b"\0", 1)[0]))
    raise WireError("neither an ACK nor an ERROR")


def is_error(datagram: bytes) -> bool:
    """Whether it is an ERROR, to which no ERROR may ever be the answer."""
    return datagram[:2] == _ERROR


def encode_oack(options: tuple[tuple[str, str], ...]) -> bytes:
    """The OACK that grants `options`, in their order (RFC 2347)."""
    packet = TftpPacketOACK()
    packet.options = dict(options)
    return bytes(packet.encode().buffer)


def encode_error(code: ErrorCode, message: str) -> bytes:
    """An ERROR; the message in ASCII, at most 120 characters."""
    packet = TftpPacketERR()
    # The class ignores its errmsg and encodes only the texts of its own table, which lacks code 0.
    packet.errorcode = int(code)
    packet.errmsgs = {packet.errorcode: shown(message).encode("ascii")}
    return bytes(packet.encode().buffer)


def frame(first: int, last: int, blksize: int, content: bytes) -> bytes:
    """The DATA packets `first` to `last`, one after the other, with `content` cut into blocks of `blksize`.

    The numbers are absolute; on the wire they are modulo 65536, so block 65536 is 0 again. Every packet has
    blksize + 4 octets; the last one has fewer when the content ends in it.
    """
    pieces = []
    for block in range(first, last + 1):
        at = (block - first) * blksize
        pieces.append(_HEADER.pack(_DATA, block & 0xFFFF))
        pieces.append(content[at : at + blksize])
    return b"".join(pieces)


def shown(text: str | bytes, most: int = _MOST_SHOWN) -> str:
    """Text from the wire as printable ASCII of at most `most` characters."""
    if isinstance(text, bytes):
        text = text[:most].decode("ascii", "backslashreplace")
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text[:most])
    return text.encode("ascii", "backslashreplace").decode("ascii")[:most]
