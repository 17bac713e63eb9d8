"""Boards against a server that does what the test says: what each takes, what it refuses, and how it ends."""

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from netbootd.dhcp.options import MessageType
from netbootd.dhcp.wire import Message, decode
from netbootd.node import Mac
from netbootd.simulate import contents
from netbootd.simulate.boards import BOARDS, LOADERS
from netbootd.simulate.contents import Kind
from netbootd.simulate.play import Datagram
from tests.simulate import images
from tests.simulate.stage import ADDRESS, SERVER, Played, Replies, Tftp, always, play, reply

PI3 = Mac("b8:27:eb:64:24:7d")
SERIAL = 0x5564247D
MENU = bytes.fromhex("060103 0a0400505845 0917000014") + b"Raspberry Pi Boot   \xff"
WITHOUT_SPACES = bytes.fromhex("060103 0a0400505845 0914000011") + b"Raspberry Pi Boot\xff"
OTHER_FIRST = bytes.fromhex("060103 0a0400505845 0920") + b"\0\0\x09ipxe boot\0\0\x11Raspberry Pi Boot\xff"
PXE = {60: b"PXEClient"}
TAKE_FILE = {**PXE, 43: b"\6\1\x08\xff"}
CMDLINE = b"console=serial0,115200 root=/dev/nfs nfsroot=10.77.0.1:/srv/root,vers=3 ip=dhcp\n"
EFI_LOADER = images.x86_kernel().replace(b"HdrS", b"\0\0\0\0") + b"iPXE"


def pi_files(prefix: str, kernel: str = "kernel8.img") -> dict[str, bytes]:
    """What a Raspberry Pi of any model needs, below `prefix`; bootcode.bin at the root."""
    files = {f"{prefix}{name}": content for name, content in images.FIRMWARE.items()}
    files |= {f"{prefix}config.txt": b"arm_64bit=1\n", f"{prefix}cmdline.txt": CMDLINE}
    return {**files, f"{prefix}{kernel}": images.arm64_kernel(), "bootcode.bin": b"code" * 1000}


def pi(board: str, option_43: bytes = MENU) -> Played:
    return play(board, always({**PXE, 43: option_43}), Tftp(pi_files("5564247d/")), mac=PI3, serial=SERIAL)


# Raspberry Pi


def test_a_pi_3_never_sends_a_request_and_asks_twice_with_one_xid() -> None:
    played = pi("pi3")
    assert played.booted is not None, played.reason
    kinds = [decode(octets).type for octets in played.dhcp]
    assert kinds == [MessageType.DISCOVER, MessageType.DISCOVER]
    assert {octets[4:8].hex() for octets in played.dhcp} == {"26f30339"}
    assert [len(octets) for octets in played.dhcp] == [320, 322]


def test_a_pi_3_reads_in_blocks_of_512_from_ports_that_count_up() -> None:
    tftp = Tftp(pi_files("5564247d/"))
    play("pi3", always({43: MENU}), tftp, mac=PI3, serial=SERIAL)
    assert all(octets.endswith(b"\0octet\0") for octets, _ in tftp.requests)
    ports = [port for _, port in tftp.requests]
    assert ports == list(range(49152, 49152 + len(ports)))
    assert tftp.asked[:3] == ["bootcode.bin", "bootsig.bin", "5564247d/start.elf"]
    assert set(tftp.errors) == {b"\0\5\0\0Early terminate\0"}


@pytest.mark.parametrize("board", ["pi3", "pi3b+", "pi4", "pi4-swapped", "pi5"])
def test_a_pi_boots_with_the_text_and_three_spaces(board: str) -> None:
    played = pi(board)
    assert played.booted is not None, played.reason
    assert played.booted.kernel == "5564247d/kernel8.img"
    assert played.booted.root == "NFS 10.77.0.1:/srv/root,vers=3"


@pytest.mark.parametrize(("board", "boots"), [("pi3", False), ("pi3b+", True), ("pi4", True), ("pi5", True)])
def test_only_the_rom_of_the_3b_insists_on_the_spaces(board: str, boots: bool) -> None:
    played = pi(board, WITHOUT_SPACES)
    assert (played.booted is not None) == boots
    assert boots or "three spaces" in played.reason


@pytest.mark.parametrize("board", ["pi3", "pi3b+", "pi4", "pi5"])
@pytest.mark.parametrize("option_43", [b"\6\1\x08\xff", b"Raspberry Pie", b""])
def test_a_pi_refuses_an_offer_that_is_not_for_it(board: str, option_43: bytes) -> None:
    played = pi(board, option_43)
    assert "43" in played.reason
    assert not played.ports[69], "it fetches nothing"


def test_a_pi_3_gives_up_after_five_tries_and_a_pi_4_after_45_seconds() -> None:
    assert (len(play("pi3", mac=PI3).dhcp), play("pi3", mac=PI3).seconds) == (5, 25.0)
    assert 44 <= play("pi4", mac=PI3).seconds <= 46


def test_the_first_entry_of_a_menu_decides_for_a_pi_4() -> None:
    assert "ipxe boot" in pi("pi4", OTHER_FIRST).reason


def test_a_pi_4_takes_66_as_dotted_address_and_in_no_other_form() -> None:
    def with_66(value: bytes) -> Played:
        return play("pi4", always({66: value}), Tftp(pi_files("5564247d/")), mac=PI3, serial=SERIAL)

    assert with_66(b"10.77.0.1").booted
    assert "66" in with_66(SERVER.packed).reason
    assert "66" in with_66(b"").reason


def test_a_pi_fetches_from_who_answered_whatever_siaddr_says() -> None:
    other = IPv4Address("10.77.0.9")
    played = play(
        "pi3", always({43: MENU}, siaddr=other), Tftp(pi_files("5564247d/")), mac=PI3, serial=SERIAL
    )
    assert played.booted
    asked = {packet.to for packet in played.sent if isinstance(packet, Datagram) and packet.port == 69}
    assert asked == {SERVER}
    assert any("siaddr" in text for text in played.machine.cautions)


def test_a_relayed_offer_is_for_every_pi_but_the_3b() -> None:
    relayed = always({43: MENU}, giaddr=IPv4Address("10.77.0.254"), hops=1)
    assert "relay" in play("pi3", relayed, mac=PI3).reason
    assert play("pi3b+", relayed, Tftp(pi_files("5564247d/")), mac=PI3, serial=SERIAL).booted


@pytest.mark.parametrize("board", ["pi3", "pi4"])
def test_a_pi_works_with_a_proxy_beside_the_server_of_addresses(board: str) -> None:
    proxy = IPv4Address("10.77.0.2")

    def both(request: Message) -> list[tuple[Message, IPv4Address]]:
        own = reply(request, {}, siaddr=IPv4Address(0))
        if request.type is MessageType.REQUEST:
            return [(own, SERVER)]
        said = {**PXE, 43: MENU, 54: proxy.packed}
        return [(own, SERVER), (reply(request, said, yiaddr=IPv4Address(0), siaddr=proxy), proxy)]

    played = play(board, both, Tftp(pi_files("5564247d/")), mac=PI3, serial=SERIAL)
    assert played.booted, played.reason
    assert {p.to for p in played.sent if isinstance(p, Datagram) and p.port == 69} == {proxy}


def test_without_start4_elf_under_the_serial_the_prefix_is_dropped() -> None:
    tftp = Tftp(pi_files(""))
    played = play("pi4", always({43: MENU}), tftp, mac=PI3, serial=SERIAL)
    assert played.booted and played.booted.kernel == "kernel8.img"
    assert tftp.asked[:3] == ["5564247d/start4.elf", "5564247d/start.elf", "config.txt"]


@pytest.mark.parametrize(
    ("missing", "reason"),
    [
        ("bcm2711-rpi-4-b.dtb", "no device tree"),
        ("cmdline.txt", "the kernel has no root"),
        ("kernel8.img", "no kernel"),
        ("fixup4.dat", "fixup4.dat"),
    ],
)
def test_a_pi_4_says_which_file_it_lacks(missing: str, reason: str) -> None:
    files = pi_files("5564247d/")
    del files[f"5564247d/{missing}"]
    played = play("pi4", always({43: MENU}), Tftp(files), mac=PI3, serial=SERIAL)
    assert reason in played.reason


def test_silence_for_a_file_is_the_end_of_a_pi_4() -> None:
    tftp = Tftp(pi_files("5564247d/"), silent=("5564247d/recovery.elf",))
    assert "must be answered with an ERROR" in str(
        play("pi4", always({43: MENU}), tftp, mac=PI3, serial=SERIAL).refused
    )


def test_config_txt_decides_what_a_pi_fetches() -> None:
    files = pi_files("5564247d/")
    files["5564247d/config.txt"] = (
        b"[pi3]\nkernel=wrong.img\n[pi4]\nkernel=linux\ninitramfs my-initrd followkernel\ncmdline=words\n"
        b"[0x1]\nkernel=other\n[all]\ndtoverlay=vc4,noaudio\n"
    )
    files |= {"5564247d/linux": images.arm64_kernel(), "5564247d/my-initrd": images.INITRD}
    files["5564247d/words"] = b"root=/dev/sda1"
    tftp = Tftp(files)
    played = play("pi4", always({43: MENU}), tftp, mac=PI3, serial=SERIAL)
    assert played.booted, played.reason
    assert (played.booted.kernel, played.booted.initrd) == ("5564247d/linux", "5564247d/my-initrd")
    assert played.booted.root == "/dev/sda1"
    assert "5564247d/overlays/vc4.dtbo" in tftp.asked


def test_a_config_txt_that_is_not_ascii_or_a_kernel_that_is_none_is_refused() -> None:
    files = pi_files("5564247d/")
    files["5564247d/config.txt"] = "# für\n".encode()
    assert "ASCII" in play("pi4", always({43: MENU}), Tftp(files), mac=PI3, serial=SERIAL).reason
    files = pi_files("5564247d/") | {"5564247d/kernel8.img": images.x86_kernel()}
    assert "x86" in play("pi4", always({43: MENU}), Tftp(files), mac=PI3, serial=SERIAL).reason


def test_a_pi_5_needs_no_start_file_and_says_half_its_serial() -> None:
    files = {name: content for name, content in pi_files("bd989ae1/").items() if "start" not in name}
    tftp = Tftp(files)
    played = play("pi5", always({43: MENU}), tftp, mac=PI3, serial=0x0C8F7E5CBD989AE1)
    assert played.booted, played.reason
    assert tftp.asked[0] == "bd989ae1/config.txt"


# U-Boot

EXTLINUX = b"""
DEFAULT one
LABEL other
  KERNEL other
LABEL one
  KERNEL vmlinuz
  INITRD initrd
  FDTDIR dtbs
  APPEND root=/dev/nfs nfsroot=10.77.0.1:/srv
"""
VIM3_TREE = "dtbs/amlogic/meson-g12b-a311d-khadas-vim3.dtb"


def uboot_files(directory: str = "") -> dict[str, bytes]:
    return {
        f"{directory}pxelinux.cfg/01-52-54-00-00-00-01": EXTLINUX,
        f"{directory}vmlinuz": images.arm64_kernel(),
        f"{directory}initrd": images.INITRD,
        f"{directory}{VIM3_TREE}": images.DEVICE_TREE,
    }


@pytest.mark.parametrize("board", ["khadas-mainline", "uboot-arm64", "uboot-lwip"])
def test_u_boot_boots_by_pxe_get_and_extlinux(board: str) -> None:
    tftp = Tftp(uboot_files())
    played = play(board, always(), tftp)
    assert played.booted, played.reason
    assert (played.booted.kernel, played.booted.initrd) == ("vmlinuz", "initrd")
    assert tftp.asked[:2] == ["0A4D0032.img", "pxelinux.cfg/01-52-54-00-00-00-01"]


def test_a_vim3_fetches_kernel_initrd_and_its_own_device_tree() -> None:
    tftp = Tftp(uboot_files())
    played = play("khadas-mainline", always(), tftp)
    assert tftp.asked[2:] == ["vmlinuz", "initrd", VIM3_TREE]
    assert played.booted and played.booted.device_tree == VIM3_TREE


def test_the_vendor_s_u_boot_of_a_vim3_sends_nothing() -> None:
    played = play("khadas", always())
    assert not played.sent and "mainline" in str(played.refused)


def test_names_under_pxelinux_cfg_come_in_u_boot_s_order() -> None:
    tftp = Tftp({})
    played = play("khadas-mainline", always(), tftp)
    names = [name.removeprefix("pxelinux.cfg/") for name in tftp.asked[1:]]
    assert names == [
        "01-52-54-00-00-00-01",
        *("0A4D0032", "0A4D003", "0A4D00", "0A4D0", "0A4D", "0A4", "0A", "0"),
        *("default-arm-meson-w400", "default-arm-meson", "default-arm", "default"),
    ]
    assert "no configuration" in played.reason


def test_option_209_is_the_only_name_that_u_boot_asks_then() -> None:
    tftp = Tftp({})
    played = play("uboot-arm64", always({209: b"there/is/none"}), tftp)
    assert tftp.asked[1:] == ["there/is/none"] and "209" in played.reason


def test_the_header_s_file_gives_the_directory_and_wins_over_67() -> None:
    tftp = Tftp(uboot_files("boards/"))
    assert play("uboot-arm64", always({67: b"elsewhere/x"}, file=b"boards/first"), tftp).booted
    assert tftp.asked[0] == "boards/first"


def test_lwip_takes_the_boot_file_from_the_header_alone_and_classic_u_boot_from_67_too() -> None:
    only_67 = always({67: b"boards/first"})
    lwip, classic = Tftp(uboot_files("boards/")), Tftp(uboot_files("boards/"))
    assert "no configuration" in play("uboot-lwip", only_67, lwip).reason
    assert lwip.asked[0] == "0A4D0032.img"
    assert play("uboot-arm64", only_67, classic).booted


def test_classic_u_boot_reads_no_server_but_siaddr() -> None:
    played = play("uboot-arm64", always({66: b"10.77.0.1"}, siaddr=IPv4Address(0)), Tftp(uboot_files()))
    assert "siaddr" in played.reason


def test_u_boot_drops_a_proxy_s_offer() -> None:
    played = play("uboot-arm64", always(PXE, yiaddr=IPv4Address(0)), Tftp(uboot_files()))
    assert "proxy" in played.reason
    assert 27 <= played.seconds <= 29


def test_the_first_offer_wins_and_the_request_has_its_xid() -> None:
    other = IPv4Address("10.77.0.9")

    def two(request: Message) -> list[tuple[Message, IPv4Address]]:
        if request.type is MessageType.REQUEST:
            return [(reply(request), SERVER)]
        return [(reply(request), SERVER), (reply(request, {54: other.packed}), other)]

    played = play("uboot-arm64", two, Tftp(uboot_files()))
    request = decode(played.dhcp[-1])
    assert request.options[54] == SERVER.packed
    assert request.xid == decode(played.dhcp[0]).xid


def test_an_fdt_that_is_missing_ends_it_and_an_fdtdir_does_not() -> None:
    files = uboot_files()
    del files[VIM3_TREE]
    played = play("khadas-mainline", always(), Tftp(files))
    assert played.booted and any("own device tree" in text for text in played.machine.cautions)
    files["pxelinux.cfg/01-52-54-00-00-00-01"] = EXTLINUX.replace(b"FDTDIR dtbs", b"FDT missing.dtb")
    assert "missing.dtb" in play("khadas-mainline", always(), Tftp(files)).reason


def test_a_kernel_of_another_architecture_is_told_apart() -> None:
    played = play("uboot-arm32", always(), Tftp(uboot_files()))
    assert "64-bit ARM" in played.reason and "zImage" in played.reason


def test_an_error_other_than_not_found_stops_pxe_get() -> None:
    tftp = Tftp({}, silent=("pxelinux.cfg/01-52-54-00-00-00-01",))
    played = play("uboot-arm64", always(), tftp)
    assert tftp.asked[-1] == "pxelinux.cfg/01-52-54-00-00-00-01" and "ERROR 1" in str(played.refused)


def test_an_oack_that_grants_more_or_another_timeout_is_refused() -> None:
    for granted in ({"blksize": "9000"}, {"timeout": "9"}, {"blksize": "much"}):
        tftp = Tftp(uboot_files(), grant=lambda asked, size: granted)  # noqa: B023 (played at once)
        assert play("uboot-arm64", always(), tftp).booted is None
        assert b"\0\5\0\x08Option negotiation failed\0" in tftp.errors


def test_a_parallella_asks_10_11_12_1_without_dhcp() -> None:
    tftp = Tftp({"uEnv.txt": b"x=1\n"})
    played = play("parallella", tftp=tftp)
    (first, *_) = played.sent
    assert isinstance(first, Datagram)
    assert (str(first.source), str(first.to)) == ("10.11.12.13", "10.11.12.1")
    assert not played.dhcp and "tftpboot_stage2" in played.reason


def test_a_parallella_runs_what_u_env_txt_defines() -> None:
    files = {
        "uEnv.txt": b"autoload=no\nbootargs=root=/dev/nfs nfsroot=10.77.0.1:/srv\nk=0x3000000\n"
        b"load=tftpboot ${k} vmlinuz && tftpboot 0x4000000 initrd && tftpboot 2A00000 board.dtb\n"
        b"tftpboot_stage2=dhcp || sleep 5; run load && bootz ${k} 0x4000000:${filesize} 0x2a00000\n",
        "vmlinuz": images.arm_kernel(),
        "initrd": images.INITRD,
        "board.dtb": images.DEVICE_TREE,
    }
    played = play("parallella", always(), Tftp(files))
    assert played.booted, played.reason
    assert (played.booted.kernel, played.booted.device_tree) == ("vmlinuz", "board.dtb")
    assert {60, 93, 97}.isdisjoint(decode(played.dhcp[0]).options)


def test_a_parallella_that_fails_begins_anew() -> None:
    tftp = Tftp({"uEnv.txt": b"load=tftpboot 0 none\ntftpboot_stage2=run load && bootz 0 || sleep 5\n"})
    played = play("parallella", tftp=tftp)
    assert tftp.asked.count("uEnv.txt") > 1 and "none: ERROR 1" in played.reason


# UEFI


def uefi(replies: Replies, tftp: Tftp | None = None, board: str = "uefi-x64") -> Played:
    return play(board, replies, tftp or Tftp({"ipxe.efi": EFI_LOADER}))


def test_uefi_learns_the_size_then_reads_in_windows() -> None:
    tftp = Tftp({"ipxe.efi": EFI_LOADER}, grant=lambda asked, size: {**asked, **_size(asked, size)})
    played = uefi(always(TAKE_FILE | {67: b"ipxe.efi"}), tftp)
    assert [octets.count(b"tsize") for octets, _ in tftp.requests[:2]] == [1, 0]
    assert tftp.errors[0] == b"\0\5\0\x08User aborted the transfer\0"
    assert any(step.who == "iPXE" for step in played.steps), "it went on as what it was given"


def _size(asked: dict[str, str], size: int) -> dict[str, str]:
    return {"tsize": str(size)} if "tsize" in asked else {}


def test_uefi_waits_four_seconds_for_more_offers() -> None:
    played = uefi(always(TAKE_FILE | {67: b"ipxe.efi"}))
    acked = next(step for step in played.steps if step.asked == "DHCPREQUEST")
    assert 4.0 <= acked.began < 4.1


@pytest.mark.parametrize(
    ("grant", "fault"),
    [
        ({"utimeout": "1"}, "wasn't asked for"),
        ({"blksize": "9000"}, "1468 was asked"),
        ({"windowsize": "64"}, "4 was asked"),
    ],
)
def test_uefi_refuses_an_oack_with_more_than_it_asked(grant: dict[str, str], fault: str) -> None:
    tftp = Tftp({"ipxe.efi": EFI_LOADER}, grant=lambda asked, size: grant)
    assert fault in uefi(always(TAKE_FILE | {67: b"ipxe.efi"}), tftp).reason


def test_uefi_reads_the_whole_file_where_the_server_knows_no_options() -> None:
    tftp = Tftp({"ipxe.efi": EFI_LOADER}, grant=lambda asked, size: None)
    played = uefi(always(TAKE_FILE | {67: b"ipxe.efi"}), tftp)
    assert any(step.who == "iPXE" for step in played.steps)


def test_uefi_drops_an_offer_over_1472_octets() -> None:
    long = {code: bytes(200) for code in range(224, 232)}
    played = uefi(always(TAKE_FILE | {67: b"ipxe.efi"} | long))
    assert "1472" in played.reason


def test_60_without_43_sends_uefi_and_a_pxe_rom_to_port_4011() -> None:
    for board in ("uefi-x64", "bios"):
        played = uefi(lambda request: [(reply(request, PXE), SERVER)], board=board)
        assert played.ports[4011] >= 1, board

    def with_4011(request: Message) -> list[tuple[Message, IPv4Address]]:
        file = {67: b"ipxe.efi"} if int(request.ciaddr) else {}
        return [(reply(request, PXE | file), SERVER)]

    assert any(step.who == "iPXE" for step in uefi(with_4011).steps)


def test_nobody_at_port_4011_is_the_end_after_ten_seconds() -> None:
    def silent_there(request: Message) -> list[tuple[Message, IPv4Address]]:
        return [] if int(request.ciaddr) else [(reply(request, PXE), SERVER)]

    played = uefi(silent_there)
    assert "4011" in played.reason
    assert [decode(o).ciaddr for o in played.dhcp[-4:]] == [ADDRESS] * 4


def test_an_offer_of_a_mere_address_boots_nothing() -> None:
    for board in ("uefi-x64", "bios", "ipxe"):
        assert "nothing to boot" in uefi(always(), board=board).reason, board


def test_a_file_that_is_no_program_or_another_machine_s_is_not_started() -> None:
    script = Tftp({"ipxe.efi": b"#!ipxe\n"})
    assert "isn't an EFI program" in uefi(always(TAKE_FILE | {67: b"ipxe.efi"}), script).reason
    assert "0x8664" in uefi(always(TAKE_FILE | {67: b"ipxe.efi"}), board="uefi-arm64").reason
    assert "EFI program" in uefi(always(TAKE_FILE | {67: b"ipxe.efi"}), board="bios").reason


def test_http_boot_takes_only_an_offer_that_says_http_client() -> None:
    url = b"http://10.77.0.1/ipxe.efi"
    assert "HTTPClient" in uefi(always({60: b"PXEClient", 67: url}), board="uefi-http").reason
    assert "67" in uefi(always({60: b"HTTPClient"}), board="uefi-http").reason
    assert "DNS" in uefi(always({60: b"HTTPClient", 67: b"http://host/x.efi"}), board="uefi-http").reason


# Loaders


def pxelinux_tftp(**more: bytes) -> Tftp:
    return Tftp(
        {
            "pxelinux.0": b"PXELINUX 6.04",
            "ldlinux.c32": images.ELF,
            "vmlinuz": images.x86_kernel(),
            "initrd": images.INITRD,
            **more,
        }
    )


PXELINUX_CONFIG = (
    b"DEFAULT l\nLABEL l\nKERNEL vmlinuz\nAPPEND initrd=initrd root=/dev/nfs nfsroot=10.77.0.1:/srv\n"
)


def test_a_bios_goes_on_as_pxelinux_and_searches_in_its_order() -> None:
    tftp = pxelinux_tftp(**{"pxelinux.cfg/default": PXELINUX_CONFIG})
    played = play("bios", always(TAKE_FILE, file=b"pxelinux.0"), tftp, uuid=bytes(range(16)))
    assert played.booted, played.reason
    assert tftp.asked[:4] == [
        "pxelinux.0",
        "ldlinux.c32",
        "pxelinux.cfg/00010203-0405-0607-0809-0a0b0c0d0e0f",
        "pxelinux.cfg/01-52-54-00-00-00-01",
    ]
    assert tftp.asked[-2:] == ["vmlinuz", "initrd"]


def test_pxelinux_takes_209_and_210_unasked() -> None:
    files = {f"boards/{name}": content for name, content in pxelinux_tftp().files.items()}
    files |= {"pxelinux.0": b"PXELINUX", "boards/mine": PXELINUX_CONFIG}
    tftp = Tftp(files)
    said = always(TAKE_FILE | {209: b"mine", 210: b"boards/"}, file=b"pxelinux.0")
    assert play("bios", said, tftp).booted
    assert tftp.asked[1:3] == ["boards/ldlinux.c32", "boards/mine"]


def test_pxelinux_without_its_module_says_so() -> None:
    tftp = Tftp({"pxelinux.0": b"PXELINUX"})
    assert "ldlinux.c32" in play("bios", always(TAKE_FILE, file=b"pxelinux.0"), tftp).reason


GRUB_CFG = b"""
function go {
  if linux ($1)/vmlinuz 'root=/dev/nfs' nfsroot=10.77.0.1:/srv; then
    if initrd "($1)/initrd"; then boot; fi
  fi
}
for attempt in 1 2 3; do
  go tftp,10.77.0.9
  go tftp,10.77.0.1
done
"""


def grub_files() -> dict[str, bytes]:
    return {"/vmlinuz": images.x86_kernel(), "/initrd": images.INITRD}


def test_grub_searches_from_the_mac_to_grub_cfg() -> None:
    tftp = Tftp({**grub_files(), "/grub/grub.cfg": GRUB_CFG})
    played = play("grub", always(), tftp)
    assert played.booted, played.reason
    names = [name for name in tftp.asked if "grub.cfg" in name]
    digits = ["0A4D0032"[:length] for length in range(8, 0, -1)]
    expected = ["-01-52-54-00-00-00-01", *(f"-{text}" for text in digits), ""]
    assert names == [f"/grub/grub.cfg{name}" for name in expected]
    assert decode(played.dhcp[0]).options.keys() == {53}


def test_grub_s_arguments_come_to_the_kernel_as_its_source_puts_them() -> None:
    """A backslash before each quote and backslash, quotes around what has a space (lib/cmdline.c)."""
    cfg = rb"""
linux /vmlinuz root=/dev/nfs 'dyndbg=module nfs +p' 'a="b"' 'c\d' 'e\x20f'
initrd /initrd
boot
"""
    played = play("grub", always(), Tftp({**grub_files(), "/grub/grub.cfg": cfg}))
    assert played.booted, played.reason
    assert played.booted.command_line == r'root=/dev/nfs "dyndbg=module nfs +p" a=\"b\" c\\d e\x20f'


def test_grub_reads_nothing_without_an_oack() -> None:
    tftp = Tftp({"/grub/grub.cfg-01-52-54-00-00-00-01": GRUB_CFG}, grant=lambda asked, size: None)
    played = play("grub", always(), tftp)
    assert "OACK" in str(played.refused)


def test_shim_looks_beside_itself_by_the_header_alone() -> None:
    shim = EFI_LOADER.replace(b"iPXE", b"") + b"\nshim,4,UEFI shim,shim,1,https\n"
    second = EFI_LOADER.replace(b"iPXE", b"") + b"\ngrub,5,Free Software Foundation,grub\n"
    tftp = Tftp(
        {"boot/shimx64.efi": shim, "boot/grubx64.efi": second, "/grub/grub.cfg": GRUB_CFG, **grub_files()}
    )
    said = {**TAKE_FILE, 67: b"boot/shimx64.efi"}
    assert "header" in uefi(always(said), tftp).reason
    played = uefi(always(said, file=b"boot/shimx64.efi"), tftp)
    assert played.booted, played.reason
    start = tftp.asked.index("boot/revocations_sku.efi")
    assert tftp.asked[start : start + 4] == [
        "boot/revocations_sku.efi",
        "boot/revocations_sbat.efi",
        "boot/shim_certificate_0.efi",
        "boot/grubx64.efi",
    ]


IPXE_SCRIPT = b"""#!ipxe
set base tftp://${next-server}
kernel ${base}/vmlinuz initrd=initrd root=/dev/nfs nfsroot=10.77.0.1:/srv || goto failed
initrd --name initrd ${base}/initrd || goto failed
boot || goto failed
:failed
sleep 10
chain tftp://10.77.0.1/boot.ipxe || goto failed
"""


def test_ipxe_runs_a_script_and_ends_a_failing_one() -> None:
    files = {"boot.ipxe": IPXE_SCRIPT, "vmlinuz": images.x86_kernel(), "initrd": images.INITRD}
    said = always({67: b"boot.ipxe", 175: b"\xb0\1\1"})
    played = play("ipxe", said, Tftp(files))
    assert played.booted, played.reason
    assert (played.booted.kernel, played.booted.initrd) == ("vmlinuz", "initrd")
    del files["initrd"]
    assert "initrd: ERROR 1" in play("ipxe", said, Tftp(files)).reason


def test_a_loader_that_is_handed_itself_for_ever_is_stopped() -> None:
    tftp = Tftp({"undionly.kpxe": b"\xea\5\0\xc0"})
    played = play("bios", always(TAKE_FILE, file=b"undionly.kpxe"), tftp)
    assert "without end" in played.reason


def test_linux_reads_no_option_52_and_no_more_than_312_octets() -> None:
    assert play("linux", always({17: b"/srv/root"})).booted
    long = {code: bytes(100) for code in range(224, 228)}
    assert "312" in play("linux", always(long)).reason


def test_linux_with_a_lease_that_ends_is_warned_of() -> None:
    played = play("linux", always({51: b"\0\0\x0e\x10"}))
    assert any("never renews" in text for text in played.machine.cautions)
    assert not play("linux", always({51: b"\xff\xff\xff\xff"})).machine.cautions


# All of them


@pytest.mark.parametrize("board", [name for name in BOARDS if name != "khadas"])
def test_silence_ends_every_board_with_a_reason_and_in_its_own_time(board: str) -> None:
    played = play(board)
    assert played.reason and played.refused and played.refused.hint
    assert played.seconds <= 120


@pytest.mark.parametrize("board", [name for name in BOARDS if name not in ("khadas", "parallella")])
@pytest.mark.parametrize("junk", [b"", b"\2" * 300, bytes(240), b"\2\1\6\0" + bytes(600)])
def test_nonsense_is_no_answer(board: str, junk: bytes) -> None:
    def nonsense(request: Message) -> list[tuple[Message, IPv4Address]]:
        wrong = reply(request, {53: junk[:1] or b"\x09"})
        return [(wrong, SERVER)]

    assert play(board, nonsense).booted is None


def test_another_s_answer_is_no_answer() -> None:
    def another(request: Message) -> list[tuple[Message, IPv4Address]]:
        theirs = reply(request, {43: MENU})
        return [(replace(theirs, chaddr=Mac("b8:27:eb:00:00:09")), SERVER)]

    assert play("pi3", another, mac=PI3).booted is None, "two Pi 3 share one xid"


def test_lost_packets_cost_time_and_nothing_else() -> None:
    tftp = Tftp(uboot_files(), lose=lambda number: number % 7 == 3)
    played = play("uboot-arm64", always(), tftp)
    assert played.booted, played.reason
    assert played.seconds > 5


def test_each_loader_is_known_by_its_own_octets() -> None:
    assert contents.kind_of(b"MZ" + bytes(100) + b"\nshim,4,UEFI shim,") is Kind.SHIM
    assert contents.kind_of(b"\xea\5\0\xc0 packed", "loaders/undionly.kpxe") is Kind.IPXE
    assert contents.kind_of(images.x86_kernel()) is Kind.LINUX_X86
    assert contents.kind_of(images.arm64_kernel()) is Kind.LINUX_ARM64
    assert set(LOADERS) == {Kind.IPXE, Kind.SHIM, Kind.GRUB, Kind.PXELINUX}
