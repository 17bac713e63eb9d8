"""Whatever a server sends: a board ends with a reason or boots, and nothing else happens."""

from contextlib import suppress
from ipaddress import IPv4Address, IPv4Interface

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netbootd.node import Mac
from netbootd.simulate import contents, extlinux, frames, grub_script, http, ipxe_script, pi_config
from netbootd.simulate.boards import BOARDS
from netbootd.simulate.frames import Arp
from netbootd.simulate.play import Datagram, Segment
from netbootd.simulate.station import Station
from tests.simulate import images
from tests.simulate.stage import ADDRESS, MAC, SERVER, Tftp, always, play

EVERYTHING = {43: b"\6\1\x03\x09\x17\0\0\x14Raspberry Pi Boot   \xff", 60: b"PXEClient", 67: b"x"}
WORDS = [
    "if",
    "then",
    "fi",
    "for",
    "do",
    "done",
    "{",
    "}",
    "'",
    '"',
    "\\",
    ";",
    "linux",
    "x",
    "$x",
    "\n",
    " ",
]
WORDS += ["menuentry", "function", "label", "kernel", "include", "||", "&&", "goto", ":", "[pi4]", "="]
texts = st.lists(st.sampled_from(WORDS) | st.text(max_size=5), max_size=60).map(" ".join)


@given(st.binary(max_size=120), st.sampled_from([b"\x08\x00\x45", b"\x08\x06\0\1\x08\0\6\4", b""]))
def test_a_frame_is_read_or_isn_t(octets: bytes, start: bytes) -> None:
    station = Station(MAC)
    station.configure(IPv4Interface("10.77.0.50/24"), None)
    for to in (MAC.octets, frames.BROADCAST):
        frame = to + b"\x02\0\0\0\0\1" + start + octets
        heard, answers = station.hear(frame)
        assert heard is None or isinstance(heard, Datagram | Segment)
        assert all(len(answer) >= frames.SHORTEST for answer in answers)


def test_a_station_asks_for_a_card_once_and_answers_for_its_own_address() -> None:
    station = Station(MAC)
    packet = Datagram(source=ADDRESS, source_port=1, to=SERVER, port=69, payload=b"x")
    assert station.send(packet) == [], "without an address it can't ask"
    station.configure(IPv4Interface(f"{ADDRESS}/24"), None)
    (question,) = station.send(packet)
    asked = frames.read(question)
    assert isinstance(asked, Arp) and asked.target == SERVER
    theirs = Arp(frames.ARP_REPLY, Mac("02:00:00:00:00:99"), SERVER, ADDRESS)
    _, (sent,) = station.hear(frames.of_arp(theirs, MAC.octets, MAC.octets))
    assert sent[:6] == Mac("02:00:00:00:00:99").octets and frames.read(sent)
    far = Datagram(source=ADDRESS, source_port=1, to=IPv4Address("192.0.2.1"), port=69, payload=b"")
    assert station.send(far) == [], "and without a router there is no way out"


@settings(max_examples=12, deadline=None)
@given(st.lists(st.binary(max_size=40), min_size=1, max_size=5), st.sampled_from([b"", b"\0\3\0\1", b"\0\6"]))
@pytest.mark.parametrize("board", ["pi3", "pi4", "uboot-arm64", "uefi-x64", "bios", "grub", "ipxe"])
def test_a_tftp_server_that_talks_nonsense_ends_a_board(board: str, said: list[bytes], start: bytes) -> None:
    class Babble(Tftp):
        def hear(self, packet: Datagram) -> list[bytes]:
            return [start + part for part in said][: 1 if packet.port != 69 else None]

    played = play(board, always(EVERYTHING, file=b"x"), Babble())
    assert played.refused or played.booted


@settings(max_examples=10, deadline=None)
@given(st.dictionaries(st.integers(1, 254), st.binary(max_size=30), max_size=6))
@pytest.mark.parametrize("board", list(BOARDS))
def test_options_of_any_content_end_in_a_verdict(board: str, options: dict[int, bytes]) -> None:
    fixed = {50: 4, 51: 4, 52: 1, 53: 1, 54: 4, 57: 2}
    kept = {code: value for code, value in options.items() if code not in fixed and code != 61}
    played = play(board, always({**EVERYTHING, **kept}, file=b"x"))
    assert played.refused or played.booted


@given(texts)
def test_configurations_of_any_text_are_read(text: str) -> None:
    with suppress(grub_script.GrubSyntaxError):
        grub_script.parse(text)
    extlinux.parse(text).chosen()
    ipxe_script.parse(text)
    pi_config.parse(text, "pi4", 1)


@given(texts)
@settings(max_examples=20, deadline=None)
@pytest.mark.parametrize(
    ("board", "path"),
    [
        ("grub", "/grub/grub.cfg"),
        ("uboot-arm64", "pxelinux.cfg/default"),
        ("ipxe", "x"),
        ("parallella", "uEnv.txt"),
    ],
)
def test_a_configuration_of_any_text_ends_in_a_verdict(board: str, path: str, text: str) -> None:
    start = "#!ipxe\n" if board == "ipxe" else "tftpboot_stage2=" if board == "parallella" else ""
    tftp = Tftp({path: (start + text).encode(), "vmlinuz": images.arm64_kernel(100)})
    played = play(board, always(EVERYTHING, file=b"x"), tftp)
    assert played.refused or played.booted


@given(st.binary(max_size=200), st.sampled_from([b"", b"MZ", b"mimg" + bytes(4), b"\xd0\x0d\xfe\xed"]))
def test_files_of_any_content_have_a_kind(octets: bytes, start: bytes) -> None:
    content = start + octets
    contents.kind_of(content, "x")
    contents.efi_machine(content)
    contents.grub_prefix(content)
    contents.is_initrd(content)
    http.unchunked(content)


def test_a_grub_s_own_prefix_is_read_from_it() -> None:
    prefix = b"\3\0\0\0\x10\0\0\0/boot\0\0\0"
    header = b"mimg" + bytes(4) + (24).to_bytes(8, "little") + (24 + len(prefix)).to_bytes(8, "little")
    assert contents.grub_prefix(b"MZ" + bytes(50) + header + prefix) == ("/boot", False)
