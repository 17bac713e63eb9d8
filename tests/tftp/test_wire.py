"""Bytes from anybody: what is well formed is understood, all else is a WireError and nothing else."""

import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netbootd.errors import PeerError
from netbootd.tftp import wire
from netbootd.tftp.wire import ErrorCode, Mode, PeerFault, ReadRequest, WireError, WriteRequest

# As captured or read in the sources of the firmware (EDK2, Raspberry Pi 3 and 4, U-Boot, PXELINUX, iPXE).
FIRMWARE = [
    (
        b"\0\1shimx64.efi\0octet\0tsize\x000\0blksize\x001468\0windowsize\x004\0",
        ReadRequest("shimx64.efi", Mode.OCTET, (("tsize", "0"), ("blksize", "1468"), ("windowsize", "4"))),
    ),
    (b"\0\1bootcode.bin\0octet\0", ReadRequest("bootcode.bin", Mode.OCTET)),
    (
        b"\0\x019ffefdef/start4.elf\0octet\0tsize\x000\0blksize\x001024\0",
        ReadRequest("9ffefdef/start4.elf", Mode.OCTET, (("tsize", "0"), ("blksize", "1024"))),
    ),
    (
        b"\0\1extlinux.img\0octet\0timeout\x005\0tsize\x000\0blksize\x001468\0",
        ReadRequest("extlinux.img", Mode.OCTET, (("timeout", "5"), ("tsize", "0"), ("blksize", "1468"))),
    ),
]


@pytest.mark.parametrize(("datagram", "request_"), FIRMWARE)
def test_requests_of_firmware_are_understood(datagram: bytes, request_: ReadRequest) -> None:
    assert wire.decode_request(datagram) == request_


@pytest.mark.parametrize(
    ("datagram", "request_"),
    [
        (b"\0\1x\0OcTeT\0", ReadRequest("x", Mode.OCTET)),
        (b"\0\1x\0netascii\0", ReadRequest("x", Mode.NETASCII)),
        (b"\0\1x\0octet\0BLKSIZE\x0099\0", ReadRequest("x", Mode.OCTET, (("BLKSIZE", "99"),))),
        (b"\0\1x\0octet\0\0\0\0\0\0", ReadRequest("x", Mode.OCTET)),  # a ROM that pads with zeros
        (b"\0\1a b\\c\0octet\0", ReadRequest("a b\\c", Mode.OCTET)),
        (b"\0\2x\0octet\0", WriteRequest("x")),
        (b"\0\2x\0mail\0", WriteRequest("x")),
    ],
)
def test_requests_are_taken_as_the_rfc_means_them(
    datagram: bytes, request_: ReadRequest | WriteRequest
) -> None:
    assert wire.decode_request(datagram) == request_


@pytest.mark.parametrize(
    ("datagram", "message"),
    [
        (b"", "requests only"),
        (b"\0", "requests only"),
        (b"\0\1", "malformed"),
        (b"\0\1x", "malformed"),
        (b"\0\1x\0octet", "malformed"),
        (b"\0\1\0octet\0", "names no file"),
        (b"\0\1x\0mail\0", "mode mail isn't served"),
        (b"\0\1x\0\x1b[2J\0", r"mode \\x1b"),
        (b"\0\1x\0octet\0blksize\0", "malformed"),
        (b"\0\1x\0octet\0blksize\x00512", "malformed"),
        (b"\0\1x\0octet\0blksize\0\x00512\0", "malformed"),
        (b"\0\1x\0octet\0tsize\x000\0TSIZE\x000\0", "twice"),
        (b"\0\1\xffx\0octet\0", "malformed"),
        (b"\0\1x\ny\0octet\0", "control characters"),
        (b"\0\1x\0octet\0tsize\0\x07\0", "control characters"),
        (b"\0\1" + b"x" * 520 + b"\0octet\0", "more than 512"),
        (b"\0\3\0\1data", "requests only"),
        (b"\0\4\0\1", "requests only"),
        (b"\0\5\0\1no\0", "requests only"),
        (b"\0\6tsize\x000\0", "requests only"),
    ],
)
def test_a_malformed_request_says_what_is_wrong(datagram: bytes, message: str) -> None:
    with pytest.raises(WireError, match=message):
        wire.decode_request(datagram)
    assert issubclass(WireError, PeerError)


@pytest.mark.parametrize(
    ("datagram", "answer"),
    [
        (b"\0\4\0\0", 0),
        (b"\0\4\xff\xff", 65535),
        (b"\0\4\0\7trailing", 7),
        (b"\0\5\0\0Early terminate\0", PeerFault(0, "Early terminate")),
        (b"\0\5\0\x08User aborted the transfer\0", PeerFault(8, "User aborted the transfer")),
        (b"\0\5\0\0", PeerFault(0, "")),
        (b"\0\5\xff\xffunterminated", PeerFault(65535, "unterminated")),
        (b"\0\5\0\3\x1b[2J\xff\0junk", PeerFault(3, r"\x1b[2J\xff")),
        (b"\0\5\0\0" + b"x" * 9999, PeerFault(0, "x" * 120)),
    ],
)
def test_answers_are_understood_and_safe_to_show(datagram: bytes, answer: int | PeerFault) -> None:
    assert wire.decode_answer(datagram) == answer


@pytest.mark.parametrize(
    "datagram", [b"", b"\0", b"\0\4", b"\0\4\0", b"\0\5", b"\0\5\0", b"\0\3\0\1x", b"\0\1"]
)
def test_what_is_no_answer_is_a_wire_error(datagram: bytes) -> None:
    with pytest.raises(WireError):
        wire.decode_answer(datagram)


def test_tens_of_thousands_of_mutations_raise_wire_error_alone() -> None:
    dice = random.Random(1350)
    seeds = [datagram for datagram, _ in FIRMWARE] + [b"\0\2x\0octet\0", b"\0\5\0\1text\0", b"\0\4\0\1"]
    understood = 0
    for _ in range(20_000):
        datagram = bytearray(dice.choice(seeds))
        for _ in range(dice.randint(1, 4)):
            at = dice.randrange(len(datagram) + 1)
            match dice.randrange(4):
                case 0:
                    datagram[at:at] = dice.choice([b"\0", b"\0\0", b"\xff", b"blksize\0-1\0", b"A" * 300])
                case 1:
                    del datagram[at : at + dice.randint(1, 8)]
                case 2:
                    datagram[at : at + 1] = dice.randbytes(1)
                case _:
                    datagram += datagram[:at]
        for decode in (wire.decode_request, wire.decode_answer):
            try:
                decode(bytes(datagram))
            except WireError:
                continue
            understood += 1
    assert understood > 1000, "mutations that leave nothing valid test little"


@given(st.binary(max_size=600))
def test_whatever_is_understood_is_printable_and_bounded(datagram: bytes) -> None:
    for prefix in (b"", b"\0\1", b"\0\1file\0octet\0"):
        try:
            request = wire.decode_request(prefix + datagram)
        except WireError as error:
            assert str(error).isprintable()
            assert str(error).isascii()
            continue
        assert request.path.isprintable()
        assert 0 < len(request.path) <= 512
        if isinstance(request, ReadRequest):
            assert all(text.isprintable() for option in request.options for text in option)


def test_an_oack_holds_the_options_in_their_order_and_spelling() -> None:
    assert (
        wire.encode_oack((("tsize", "2234112"), ("BlkSize", "1468"), ("windowsize", "4")))
        == b"\0\6tsize\x002234112\0BlkSize\x001468\0windowsize\x004\0"
    )


@pytest.mark.parametrize(
    ("code", "message", "datagram"),
    [
        (ErrorCode.NOT_FOUND, "File not found", b"\0\5\0\1File not found\0"),
        (ErrorCode.UNDEFINED, "busy", b"\0\5\0\0busy\0"),
        (ErrorCode.UNKNOWN_TID, "a\0b\nc", b"\0\5\0\5a\\x00b\\nc\0"),
        (ErrorCode.ILLEGAL_OPERATION, "Z\u00fcrich", b"\0\5\0\4Z\\xfcrich\0"),
        (ErrorCode.UNDEFINED, "x" * 500, b"\0\5\0\0" + b"x" * 120 + b"\0"),
    ],
)
def test_an_error_says_what_we_say(code: ErrorCode, message: str, datagram: bytes) -> None:
    assert wire.encode_error(code, message) == datagram


def test_framing_numbers_the_blocks_and_rolls_over() -> None:
    framed = wire.frame(65535, 65537, 8, b"A" * 8 + b"B" * 8 + b"C")
    assert framed == b"\0\3\xff\xffAAAAAAAA" + b"\0\3\0\0BBBBBBBB" + b"\0\3\0\1C"


def test_framing_ends_with_an_empty_block_where_the_content_ends_before() -> None:
    assert wire.frame(1, 2, 4, b"ABCD") == b"\0\3\0\1ABCD" + b"\0\3\0\2"
    assert wire.frame(1, 1, 4, b"") == b"\0\3\0\1"


@given(st.integers(1, 70_000), st.binary(max_size=99), st.sampled_from([8, 13, 512]))
def test_framing_loses_nothing(first: int, content: bytes, blksize: int) -> None:
    last = first + len(content) // blksize
    framed, unframed = wire.frame(first, last, blksize, content), b""
    for block in range(first, last + 1):
        packet = framed[: blksize + 4]
        framed = framed[blksize + 4 :]
        assert struct.unpack_from("!HH", packet) == (3, block % 65536)
        unframed += packet[4:]
    assert unframed == content
    assert not framed
