"""Every octet that a board sends, against the fact sheets' dumps and real firmware's captures."""

from pathlib import Path

import pytest

from netbootd.dhcp import wire
from netbootd.dhcp.options import MessageType
from netbootd.node import Mac
from netbootd.simulate import (
    bios,
    discovers,
    edk2,
    frames,
    grub,
    ipxe,
    pxelinux,
    raspberrypi,
    shim,
    tftp,
    uboot,
)
from netbootd.simulate.boards import machine
from netbootd.simulate.discovers import DISCOVERS
from netbootd.simulate.play import Datagram
from tests.dhcp.packets import CAPTURES, dhcp_payloads
from tests.simulate.stage import ADDRESS, SERVER
from tests.tftp.test_captures import datagrams

PI3 = Mac("b8:27:eb:64:24:7d")
HTTP = CAPTURES / "uefi-x64-httpboot.pcap"

ROM_DISCOVER = (
    """
0101060026f3033900000000000000000000000000000000 00000000b827eb64247d
"""
    + "00" * 202
    + """
63825363 350101 370c2b3c438081828384858687 42 5d020000 5e03010201 61110044444444444444444444444444444444
3c20505845436c69656e743a417263683a30303030303a554e44493a303032303031 ff
"""
)
BOOTCODE_OPTIONS = """
63 82 53 63 35 01 01 37 0e 2b 3c 43 80 81 82 83 84 85 86 87 42 01 03 5d 02 00 00 5e 03 01 02 01
61 11 00 7d 24 64 55 7d 24 64 55 7d 24 64 55 7d 24 64 55 3c 20 50 58 45 43 6c 69 65 6e 74 3a 41
72 63 68 3a 30 30 30 30 30 3a 55 4e 44 49 3a 30 30 32 30 30 31 ff
"""
UBOOT_OPTIONS = """
35 01 01 39 02 02 40 5d 02 00 16 5e 03 01 00 00 3c 0c 55 2d 42 6f 6f 74 2e 61 72 6d 76 38 37 06
01 03 06 0c 11 d1 ff
"""
EDK2_OPTIONS = """
35 01 01 39 02 05 c0 37 23 01 02 03 04 05 06 0c 0d 0f 11 12 16 17 1c 28 29 2a 2b 32 33 36 3a 3b
3c 42 43 61 80 81 82 83 84 85 86 87 61 11 00 00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f 5e
03 01 03 00 5d 02 00 07 3c 20 50 58 45 43 6c 69 65 6e 74 3a 41 72 63 68 3a 30 30 30 30 37 3a 55
4e 44 49 3a 30 30 33 30 30 30 ff
"""


def test_the_pi_3_s_rom_says_what_its_capture_says() -> None:
    octets = discovers.raspberry_rom(PI3)
    assert octets == bytes.fromhex(ROM_DISCOVER)
    assert len(octets) == 320


def test_bootcode_bin_adds_two_options_and_the_serial() -> None:
    octets = discovers.raspberry_bootcode(PI3, 0x5564247D)
    assert octets[236:] == bytes.fromhex(BOOTCODE_OPTIONS)
    assert (octets[4:8].hex(), len(octets)) == ("26f30339", 322)


def test_the_pi_3_s_datagrams_have_no_checksum_and_no_identification() -> None:
    packet = Datagram(source=ADDRESS, source_port=68, to=SERVER, port=67, payload=b"x", bare=True, ttl=128)
    frame = frames.of_packet(packet, PI3, frames.BROADCAST, 77)
    assert (frame[18:20], frame[22], frame[40:42]) == (b"\0\0", 128, b"\0\0")


@pytest.mark.parametrize(
    ("fourcc", "octets"),
    [
        (b"4iPR", "00 34 69 50 52 14 31 d0 00 01 09 02 f7 3d f0 cd 91"),
        (b"RPi4", "00 52 50 69 34 14 31 d0 00 01 09 02 f7 3d f0 cd 91"),
    ],
)
def test_a_pi_4_tells_revision_mac_and_serial_in_97(fourcc: bytes, octets: str) -> None:
    mac = Mac("e4:5f:01:09:02:f7")
    assert discovers.pi4_uuid(mac, 0x91CDF03D, fourcc, 0xD03114) == bytes.fromhex(octets)


def test_a_pi_5_tells_the_low_half_of_its_serial() -> None:
    uuid = discovers.pi4_uuid(PI3, 0x0C8F7E5CBD989AE1, b"RPi5", 0xD04170)
    assert uuid[-4:] == (0xBD989AE1).to_bytes(4, "little")
    assert len(discovers.raspberry_eeprom(PI3, 1, uuid)) == 322


def test_u_boot_says_what_its_source_says() -> None:
    octets = discovers.uboot(PI3, 7, "U-Boot.armv8", 22)
    assert octets[240:].rstrip(b"\0") == bytes.fromhex(UBOOT_OPTIONS)
    assert len(octets) == 300


def test_uefi_says_what_its_source_says() -> None:
    octets = discovers.edk2(PI3, 7, 7, bytes(range(16)))
    assert octets[240:] == bytes.fromhex(EDK2_OPTIONS)
    assert octets[10:12] == b"\x80\0"


def test_lwip_and_grub_say_next_to_nothing() -> None:
    assert discovers.uboot_lwip(PI3, 7)[240:].rstrip(b"\0").hex() == "350101390205dc370301031cff"
    assert discovers.grub(PI3, 7)[240:].rstrip(b"\0").hex() == "350101ff"


@pytest.mark.parametrize(
    ("habits", "path", "octets"),
    [
        (raspberrypi.PI3_TFTP, "bootcode.bin", "0001626f6f74636f64652e62696e006f6374657400"),
        (
            raspberrypi.PI4_TFTP,
            "9ffefdef/start4.elf",
            "0001 39666665666465662f7374617274342e656c6600 6f6374657400 7473697a65003000"
            "626c6b73697a65003130323400",
        ),
        (
            uboot.habits_of(machine(PI3), uboot.ARM64),
            "extlinux.img",
            "0001 6578746c696e75782e696d6700 6f6374657400 74696d656f7574003500 7473697a65003000"
            "626c6b73697a65003134363800",
        ),
        (
            edk2.PROBE,
            "shimx64.efi",
            "0001 7368696d7836342e65666900 6f6374657400 7473697a65003000 626c6b73697a65003134363800"
            "77696e646f7773697a65003400",
        ),
        (
            edk2.READ,
            "shimx64.efi",
            "0001 7368696d7836342e65666900 6f6374657400 626c6b73697a6500313436380077696e646f7773697a65003400",
        ),
        (
            pxelinux.TFTP,
            "pxelinux.cfg/default",
            "0001 7078656c696e75782e6366672f64656661756c7400 6f6374657400 7473697a65003000"
            "626c6b73697a65003134303800",
        ),
        (
            ipxe.TFTP,
            "boot.ipxe",
            "0001 626f6f742e6970786500 6f6374657400 626c6b73697a65003134333200 7473697a65003000",
        ),
        (
            grub.TFTP,
            "grub/grub.cfg",
            "0001 677275622f677275622e63666700 6f6374657400 626c6b73697a65003130323400 7473697a65003000",
        ),
    ],
)
def test_read_requests_are_those_of_the_fact_sheet(habits: tftp.Habits, path: str, octets: str) -> None:
    assert tftp.request(path, habits.options) == bytes.fromhex(octets)


def test_probes_end_as_the_boards_end_them() -> None:
    assert tftp.error(*raspberrypi.PI3_TFTP.probe).hex() == "000500004561726c79207465726d696e61746500"
    assert tftp.error(*edk2.PROBE.probe) == b"\0\5\0\x08User aborted the transfer\0"


# Against captures: what differs from boot to boot is taken from the capture, all else must agree.


def _requests(stem: str) -> list[tuple[bytes, wire.Message]]:
    found = [(payload, wire.decode_any(payload)) for payload in dhcp_payloads(CAPTURES / f"{stem}.pcap")]
    return [(octets, message) for octets, message in found if message.op == wire.BOOTREQUEST]


def _offer(message: wire.Message) -> list[tuple[int, bytes]] | None:
    if message.type is not MessageType.REQUEST:
        return None
    return [(53, b"\3"), (54, message.options[54]), (50, message.options[50])]


@pytest.mark.parametrize(
    "stem", ["uefi-x64-pxe-to-grub", "uefi-x64-pxe-to-shim-grub", "uefi-arm64-pxe-to-grub"]
)
def test_uefi_s_messages_are_those_captured(stem: str) -> None:
    for octets, message in _requests(stem):
        arch = int.from_bytes(message.options[93], "big")
        made = discovers.edk2(message.chaddr, message.xid, arch, message.options[97][1:], _offer(message))
        assert made == octets


def test_http_boot_s_messages_are_those_captured() -> None:
    for octets, message in _requests("uefi-x64-httpboot"):
        made = discovers.edk2_http(message.chaddr, message.xid, 16, message.options[97][1:], _offer(message))
        assert made == octets


@pytest.mark.parametrize("stem", ["bios-ipxe-rom-to-lpxelinux", "bios-e1000-to-pxelinux"])
def test_ipxe_s_messages_are_those_captured(stem: str) -> None:
    for octets, message in _requests(stem):
        uuid = message.options[97][1:]
        made = discovers.ipxe(
            message.chaddr, message.xid, 0, "002001", uuid, _offer(message), secs=message.secs
        )
        # The card that iPXE drives (175.177) is the machine's own.
        own, theirs = (wire.decode(o).options[175] for o in (made, octets))
        assert made.replace(own, theirs) == octets
        assert own[:3] == theirs[:3] and own[8:] == theirs[8:]


@pytest.mark.parametrize("stem", ["uboot-arm64-pxe-get", "uboot-arm64-default-bootcmd"])
def test_u_boot_s_messages_are_those_captured_but_for_option_209(stem: str) -> None:
    """The capture is of 2023.01, which didn't ask for 209 yet."""
    for octets, message in _requests(stem):
        if message.options[93] != b"\0\x16":
            continue  # its pass as EFI
        made = discovers.uboot(
            message.chaddr, message.xid, "U-Boot.armv8", 22, _offer(message), message.file.decode()
        )
        older = made.replace(b"\x37\x06\1\3\6\x0c\x11\xd1\xff", b"\x37\x05\1\3\6\x0c\x11\xff\0")
        assert older[:8] + b"\0\0" + older[10:] == octets[:8] + b"\0\0" + octets[10:]


@pytest.mark.parametrize(
    ("stem", "habits"),
    [
        ("uefi-x64-pxe-to-grub", {edk2.PROBE, edk2.READ, grub.TFTP}),
        ("uefi-x64-pxe-to-shim-grub", {edk2.PROBE, edk2.READ, shim.TFTP, grub.TFTP}),
        ("uefi-arm64-pxe-to-grub", {edk2.PROBE, edk2.READ, grub.TFTP}),
        ("bios-ipxe-rom-to-lpxelinux", {ipxe.TFTP, pxelinux.TFTP}),
        ("bios-e1000-to-pxelinux", {ipxe.TFTP, pxelinux.TFTP}),
    ],
)
def test_real_firmware_asks_with_these_options_and_no_others(stem: str, habits: set[tftp.Habits]) -> None:
    asked = set()
    for _, port, octets in datagrams(CAPTURES / f"{stem}.pcap"):
        if port == 69:
            path = octets[2:].split(b"\0")[0].decode()
            asked.add(octets.removeprefix(tftp.request(path, ())))
    assert asked == {tftp.request("", habit.options).removeprefix(tftp.request("", ())) for habit in habits}


def test_http_boot_sends_the_headers_captured() -> None:
    lines = Path(HTTP).read_bytes()
    wanted = ["HEAD /grubx64.efi HTTP/1.1", *edk2.HTTP.headers]
    assert "\r\n".join(wanted).replace("{host}", "10.77.0.1").encode() + b"\r\n\r\n" in lines


def test_every_discover_is_one_and_stays_what_it_is() -> None:
    for name, discover in DISCOVERS.items():
        message = wire.decode(discover.octets(PI3))
        assert (message.type, message.chaddr) == (MessageType.DISCOVER, PI3), name


def test_a_pxe_rom_sends_what_rfc_4578_demands() -> None:
    message = wire.decode(discovers.pxe_rom(PI3, 7, bytes(16)))
    assert {93, 94, 97, 60, 57, 55} <= message.options.keys()
    assert bios.WAITS == (4.0, 8.0, 16.0, 32.0)
