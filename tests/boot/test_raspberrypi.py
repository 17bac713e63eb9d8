"""Raspberry Pi: known by what it sends, told what its loader takes, and every path that it makes up."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netbootd.boot.answer import Denied, File, LocalBoot, Located, NetBoot, NotFound, Rendered, Wait
from netbootd.boot.assets import Request, locate, serial_told
from netbootd.boot.client import Client, from_dhcp
from netbootd.boot.firmware import raspberrypi, recognise, serial_of
from netbootd.boot.policy import decide
from netbootd.boot.visit import Visit
from netbootd.ctl.capture import requests
from netbootd.dhcp.leasebook import LeaseBook
from netbootd.dhcp.reservation import Reply, answer
from netbootd.dhcp.wire import Message, WireError, decode, encode
from netbootd.errors import UserError
from netbootd.image import Generation
from netbootd.network import Network
from netbootd.node import Mac, Node, same_serial
from netbootd.render import Renderer
from netbootd.simulate.discovers import DISCOVERS
from netbootd.stage import Stage
from tests.boot.test_assets import EXPORTED
from tests.boot.test_policy import GENERATION, NETWORK
from tests.dhcp.packets import NOW
from tests.dhcp.test_fuzz import MUTATIONS, check, mutated

SERIAL = "5564247d"
PI3 = Mac("b8:27:eb:64:24:7d")
PI4 = Mac("e4:5f:01:09:02:f7")
PI = replace(
    GENERATION,
    architecture="aarch64",
    firmware=True,
    config_txt=("arm_64bit=1", "dtoverlay=vc4-kms-v3d"),
)
N01 = Node(
    name="n01",
    macs=(PI3,),
    address=IPv4Address("10.77.0.51"),
    machine_id="0" * 32,
    image="debian",
    serial=SERIAL,
)
N02 = replace(N01, name="n02", macs=(PI4,), address=IPv4Address("10.77.0.52"), serial="91cdf03d")
FIRMWARE = PI.boot / "firmware"
PACKAGE = Path("/usr/lib/raspi-firmware")


# What it sends. The first is a whole DISCOVER of a Pi 3B's boot ROM, others differ in their options.

_HEADER = "01010600 26f30339 00000000" + "00000000" * 4 + "b827eb64247d" + "00" * (10 + 64 + 128)
_PXE_CLASS = "3c20" + b"PXEClient:Arch:00000:UNDI:002001".hex()
_COMMON = "5d020000 5e03010201"
_ROM = "63825363 350101 370c2b3c438081828384858687 42" + _COMMON + "611100" + "44" * 16 + _PXE_CLASS + "ff"
_BOOTCODE = (
    "63825363 350101 370e2b3c438081828384858687 420103"
    + _COMMON
    + "611100"
    + "7d246455" * 4
    + _PXE_CLASS
    + "ff"
)
_ASKS = "370e01032b3c4243 8081828384858687"


def _eeprom(uuid: str, mac: Mac = PI4, *, vendor_class: str = _PXE_CLASS, kind: int = 1) -> Client:
    header = bytearray.fromhex(_HEADER)
    header[28:34] = mac.octets
    options = f"63825363 3501{kind:02x}" + _ASKS + _COMMON + "6111" + uuid + vendor_class + "ff"
    return _client(bytes(header) + bytes.fromhex(options))


def _client(octets: bytes) -> Client:
    message = decode(octets.ljust(300, b"\0"))
    return from_dhcp(message.chaddr, message.options)


def _pi3(options: str) -> Client:
    return _client(bytes.fromhex(_HEADER + options))


PIS = [
    pytest.param(_pi3(_ROM), None, id="Pi 3B, its ROM"),
    pytest.param(_pi3(_BOOTCODE), SERIAL, id="Pi 3, bootcode.bin"),
    pytest.param(_eeprom("0034695052 1431d000 010902f7 3df0cd91"), "91cdf03d", id="Pi 4, 4iPR, piPXE's log"),
    pytest.param(
        _eeprom("0052506934 1431d000 32b023c3 d80092e0", Mac("dc:a6:32:b0:23:c3")),
        "e09200d8",
        id="Pi 4, RPi4",
    ),
    pytest.param(_eeprom("0052506935 7041d000 010902f7 e19a98bd"), "bd989ae1", id="Pi 5, RPi5"),
    pytest.param(_eeprom("0035695052 7041d000 010902f7 e19a98bd"), "bd989ae1", id="Pi 5, 5iPR"),
    pytest.param(_eeprom("0052506936 7051d000 010902f7 e19a98bd"), "bd989ae1", id="a Pi 6, as it would be"),
    pytest.param(_eeprom("00deadbeef 1431d000 010902f7 3df0cd91"), "91cdf03d", id="a fourcc of its owner's"),
    pytest.param(_eeprom("0052506934 1431d000 00000000 3df0cd91"), "91cdf03d", id="EEPROM of March 2020"),
    pytest.param(_eeprom("00" + "3df0cd91" * 4), "91cdf03d", id="DHCP_OPTION97=0"),
    pytest.param(
        _eeprom("0052506934 1431d000 010902f7 3df0cd91", vendor_class="", kind=3),
        "91cdf03d",
        id="a REQUEST without option 60",
    ),
    pytest.param(
        _eeprom("00" + "3df0cd91" * 4, vendor_class="", kind=3), "91cdf03d", id="the same, January 2020"
    ),
    pytest.param(_eeprom("0052506934 1431d000 010902f7 00000000"), None, id="no serial number set"),
]


@pytest.mark.parametrize(("client", "serial"), PIS)
def test_a_pi_is_known_by_what_it_sends_and_so_is_its_serial_number(
    client: Client, serial: str | None
) -> None:
    family = recognise(client)
    assert family is not None
    assert family.name == "raspberrypi"
    assert serial_of(client) == serial


_PC = from_dhcp(
    PI3,
    {
        53: b"\1",
        57: (1260).to_bytes(2, "big"),
        55: bytes((1, 3, 43, 54, 60, 66, 67, 128, 129, 130, 131, 132, 133, 134, 135)),
        93: b"\0\0",
        60: b"PXEClient:Arch:00000:UNDI:002001",
    },
)


@pytest.mark.parametrize(
    "uuid",
    [
        "",
        "00" * 17,
        "00" + "ff" * 16,
        "00" + "11" * 16,
        "00" + "44" * 16,
        "00" + "03000200" * 4,
        "00" + "12345678" * 4,
    ],
)
@pytest.mark.parametrize(
    "leaves_out", [(), (57,), (55,)], ids=["as PXE 2.1 has it", "without 57", "without 55"]
)
def test_a_pc_is_no_pi_whatever_its_maker_left_in_its_uuid(uuid: str, leaves_out: tuple[int, ...]) -> None:
    pc = replace(
        _PC,
        uuid=bytes.fromhex(uuid),
        sent=tuple(code for code in _PC.sent if code not in leaves_out),
        parameter_request_list=() if 55 in leaves_out else _PC.parameter_request_list,
    )
    family = recognise(pc)
    assert family is not None
    assert family.name == "bios"


def test_octets_all_alike_are_no_serial_number_even_in_a_pi_s_own_words() -> None:
    for octet in ("00", "11", "ff"):
        family = recognise(_eeprom("00" + octet * 16))
        assert family is not None
        assert family.name == "bios"


def test_uefi_on_a_pi_is_uefi() -> None:
    client = replace(
        _eeprom("0052506934 1431d000 010902f7 3df0cd91"),
        architectures=(11,),
        vendor_class="PXEClient:Arch:00011:UNDI:003000",
    )
    family = recognise(client)
    assert family is not None
    assert family.name == "uefi"


@pytest.mark.parametrize(
    "capture", sorted((Path(__file__).parent.parent / "captures").glob("*.pcap")), ids=lambda p: p.stem
)
def test_no_machine_of_the_captures_is_taken_for_a_pi(capture: Path) -> None:
    messages = [asked for _, _, asked in requests(capture) if isinstance(asked, Message)]
    assert messages
    for message in messages:
        family = recognise(from_dhcp(message.chaddr, message.options))
        assert family is None or family.name != "raspberrypi"


@given(st.binary(max_size=20), st.binary(max_size=5), st.sampled_from([b"", b"\0\0", b"\0\x29", b"x"]))
def test_no_option_97_can_break_recognition(uuid: bytes, mac: bytes, architecture: bytes) -> None:
    client = from_dhcp(
        Mac.from_octets(b"\2" + mac.ljust(5, b"\2")), {97: uuid, 93: architecture, 60: b"PXEClient"}
    )
    recognise(client)
    serial = serial_of(client)
    assert serial is None or len(serial) == 8


def test_mutations_of_a_pi_s_requests_raise_nothing_and_are_answered_whole() -> None:
    chance = random.Random(97)
    seeds = [kind.octets(PI3) for name, kind in DISCOVERS.items() if name.startswith("pi")]
    book, offered = LeaseBook(NETWORK), 0
    for _ in range(MUTATIONS):
        try:
            request = decode(mutated(chance.choice(seeds), chance))
        except WireError:
            continue
        client = from_dhcp(request.chaddr, request.options)
        serial = serial_of(client)
        assert serial is None or int(serial, 16) not in (0, 0x44444444, 0xFFFFFFFF)
        decision = decide(client, N01, NETWORK, PI, lambda _: True)
        found = answer(request, decision, N01, NETWORK, book, NOW)
        check(request, found)
        if isinstance(decision, NetBoot) and decision.firmware == "raspberrypi" and isinstance(found, Reply):
            assert not {66, 67} & found.message.options.keys()
            offered += 1
    assert offered > MUTATIONS / 20, "the mutations are too crude"


# What it is told


def _told(client: Client, generation: Generation = PI, *, has_start: bool = False) -> NetBoot | Wait:
    node = replace(N01, macs=(client.mac,))
    decision = decide(client, node, NETWORK, generation, lambda _: has_start)
    assert not isinstance(decision, LocalBoot)
    assert isinstance(decision, NetBoot | Wait)
    return decision


@pytest.mark.parametrize("request_options", [_ROM, _BOOTCODE], ids=["ROM", "bootcode.bin"])
def test_the_offer_is_what_the_loader_takes_and_no_more(request_options: str) -> None:
    request = decode(bytes.fromhex(_HEADER + request_options))
    decision = _told(from_dhcp(request.chaddr, request.options))
    book = LeaseBook(NETWORK, [], lambda _: False)
    reply = answer(request, decision, N01, NETWORK, book, 0.0)
    assert isinstance(reply, Reply)
    offer = reply.message
    assert offer.options[43] == bytes.fromhex(
        "0601030a0400505845 09170000 14 5261737062657272792050692042 6f6f74 202020 ff"
    )
    assert offer.options[60] == b"PXEClient"
    assert offer.options[97] == request.options[97]
    assert not {66, 67, 52, 13} & offer.options.keys()
    assert (offer.file, offer.sname) == (b"", b"")
    assert offer.siaddr == IPv4Address(offer.options[54]) == NETWORK.server
    assert offer.yiaddr == N01.address
    assert list(offer.options)[:2] == [53, 54]
    assert len(encode(offer)) <= 548
    assert "nothing to boot" not in reply.note


def test_an_image_for_another_processor_is_named_with_what_to_do() -> None:
    told = _told(_pi3(_ROM), GENERATION)
    assert isinstance(told, Wait)
    assert "for x86_64" in told.reason
    assert "node set n01 --image" in told.reason


BARE = replace(PI, firmware=False)
_EEPROM5 = "0052506935 7041d000 010902f7 e19a98bd"
_EEPROM4 = "0052506934 1431d000 010902f7 3df0cd91"


@pytest.mark.parametrize(
    ("client", "generation", "has_start", "boots"),
    [
        pytest.param(_pi3(_ROM), BARE, False, False, id="a Pi 3 and no start.elf anywhere"),
        pytest.param(_eeprom(_EEPROM4), BARE, False, False, id="a Pi 4 and none"),
        pytest.param(_eeprom(_EEPROM4), BARE, True, True, id="a Pi 4, the head node's"),
        pytest.param(_eeprom(_EEPROM4), PI, False, True, id="a Pi 4, the image's"),
        pytest.param(_eeprom(_EEPROM5), BARE, False, True, id="a Pi 5 has it built in"),
        pytest.param(_eeprom("0052506935 00000000 010902f7 e19a98bd"), BARE, False, True, id="by its fourcc"),
    ],
)
def test_a_board_waits_for_the_start_file_that_it_needs(
    client: Client,
    generation: Generation,
    has_start: bool,
    boots: bool,
) -> None:
    told = _told(client, generation, has_start=has_start)
    assert isinstance(told, NetBoot) is boots
    if isinstance(told, Wait):
        assert "raspi-firmware" in told.reason


# The paths that it makes up


@dataclass
class _View:
    """Two Pis of one image; `start` is where the head node has start files of its own."""

    nodes: tuple[Node, ...] = (N01, N02)
    generations: dict[int, Generation] = field(default_factory=lambda: {1: PI})
    start: Path | None = None

    def _first(self, fits: Callable[[Node], bool]) -> Node | None:
        return next((node for node in self.nodes if fits(node)), None)

    def node_by_mac(self, mac: Mac) -> Node | None:
        return self._first(lambda node: mac in node.macs)

    def node_by_address(self, address: IPv4Address) -> Node | None:
        return self._first(lambda node: node.address == address)

    def node_by_serial(self, serial: str) -> Node | None:
        return self._first(lambda node: node.serial is not None and same_serial(node.serial, serial))

    def network_of(self, address: IPv4Address) -> Network | None:
        return NETWORK if address in NETWORK.subnet else None

    def generation(self, image: str, number: int | None) -> Generation | None:
        return self.generations.get(number or max(self.generations, default=0)) if image == "debian" else None

    def generation_of(self, node: Node) -> Generation | None:
        return self.generation(node.image, None) if node.image else None

    def withheld(self, node: Node, port: int | None) -> str:
        return ""

    def loader(self, name: str) -> Path | None:
        return self.start / name if self.start else None


def _locate(path: str, view: _View | None = None, peer: IPv4Address = N01.address) -> Located:
    return locate(Request(path=path, peer=peer), view or _View(), EXPORTED)


PREFIXES = {
    "none": "",
    "the serial number": f"{SERIAL}/",
    "in upper case": f"{SERIAL.upper()}/",
    "its 16 digits": f"00000000{SERIAL}/",
    "MAC address": "b8-27-eb-64-24-7d/",
    "a text": "cluster/",
    "a text of two": "tftp_test/boot/",
}


@pytest.mark.parametrize("prefix", PREFIXES.values(), ids=PREFIXES)
@pytest.mark.parametrize(
    ("name", "file", "stage"),
    [
        ("bootcode.bin", FIRMWARE / "bootcode.bin", Stage.LOADER),
        ("start.elf", FIRMWARE / "start.elf", Stage.LOADER),
        ("start4.elf", FIRMWARE / "start4.elf", Stage.LOADER),
        ("start4x.elf", FIRMWARE / "start4x.elf", Stage.LOADER),
        ("fixup4.dat", FIRMWARE / "fixup4.dat", None),
        ("bcm2711-rpi-4-b.dtb", FIRMWARE / "bcm2711-rpi-4-b.dtb", None),
        ("overlays/vc4-kms-v3d.dtbo", FIRMWARE / "overlays/vc4-kms-v3d.dtbo", None),
        ("vmlinuz-1", FIRMWARE / "vmlinuz", Stage.KERNEL),
        ("initrd-1", PI.boot / "initrd", Stage.INITRD),
    ],
)
def test_files_come_from_the_image_whatever_the_prefix(
    prefix: str, name: str, file: Path, stage: Stage | None
) -> None:
    found = _locate(prefix + name)
    assert isinstance(found, File)
    assert (found.root / found.name, found.stage) == (file, stage)


@pytest.mark.parametrize("prefix", PREFIXES.values(), ids=PREFIXES)
@pytest.mark.parametrize("name", ["config.txt", "cmdline.txt", "cmdline-1.txt"])
def test_the_texts_are_rendered_for_who_asks(prefix: str, name: str) -> None:
    found = _locate(prefix + name)
    assert isinstance(found, Rendered)
    assert (found.variables["node"], found.stage) == (N01, Stage.CONFIG)
    template = name.replace("-1", "")
    with pytest.raises(UserError, match=rf"boot/raspberrypi/{template}.j2 renders to 'ü' in line 2"):
        found.packing("a line\nfür\n")


def _text(name: str, view: _View | None = None) -> str:
    found = _locate(f"{SERIAL}/{name}", view)
    assert isinstance(found, Rendered)
    return Renderer().render(found.template, **found.variables)


def test_config_txt_names_the_generation_s_kernel_and_keeps_the_image_s_own_lines() -> None:
    text = _text("config.txt")
    assert text.isascii()
    assert text.splitlines()[1:] == [
        "arm_64bit=1",
        "dtoverlay=vc4-kms-v3d",
        "[all]",
        "kernel=vmlinuz-1",
        "initramfs initrd-1 followkernel",
        "cmdline=cmdline-1.txt",
        "enable_uart=1",
    ]
    assert all(len(line) <= 98 for line in text.splitlines())


def test_cmdline_txt_is_one_line_with_both_consoles() -> None:
    line = _text("cmdline.txt")
    assert line.count("\n") == 1
    assert line.endswith(" console=serial0,115200 console=tty1\n")
    assert "netbootd.node=n01 " in line
    assert "netbootd.mac=b8:27:eb:64:24:7d" in line


def test_an_admin_s_console_takes_the_place_of_both() -> None:
    line = _text("cmdline.txt", _View((replace(N01, kernel_args="console=ttyAMA10"),)))
    assert line.endswith(" console=ttyAMA10\n")
    line = _text("cmdline.txt", _View((replace(N01, kernel_args="netconsole=@/eth0,@10.77.0.1/"),)))
    assert line.endswith(" console=serial0,115200 console=tty1\n")


def test_a_kernel_of_the_generation_that_config_txt_named_is_had_after_another_became_current() -> None:
    newer = replace(PI, number=2, directory=Path("/images/debian/2"))
    view = _View(generations={1: PI, 2: newer})
    assert "kernel=vmlinuz-2" in _text("config.txt", view)
    assert f"netbootd.image={PI.root} " in _text("cmdline-1.txt", view)
    assert f"netbootd.image={newer.root} " in _text("cmdline-2.txt", view)
    assert isinstance(without := _locate(f"{SERIAL}/cmdline-7.txt", view), NotFound)
    assert "has no generation 7" in without.reason
    for name in ("vmlinuz-1", "initrd-1"):
        found = _locate(f"{SERIAL}/{name}", view)
        assert isinstance(found, File)
        assert found.root.is_relative_to(PI.directory)
    gone = _locate(f"{SERIAL}/vmlinuz-7", view)
    assert isinstance(gone, NotFound)
    assert gone.missing


@pytest.mark.parametrize("name", ["start4.elf", "start.elf", "config.txt", "vmlinuz-1", "overlays/x.dtbo"])
@pytest.mark.parametrize("prefix", ["91cdf03d", "e4-5f-01-09-02-f7", "0000000091cdf03d"])
def test_under_another_board_s_prefix_there_is_nothing_at_all(prefix: str, name: str) -> None:
    """Not one file: a board that found some would not drop the prefix, and fail on the others."""
    found = _locate(f"{prefix}/{name}")
    assert isinstance(found, Denied)
    assert "n02" in found.reason
    assert "node set" in found.reason
    assert "n02" not in found.told
    assert found.told, "or the board would be told the reason"


def test_a_replaced_board_is_told_of_with_what_to_do_and_boots_without_its_prefix() -> None:
    denied = _locate("0badcafe/start4.elf")
    assert isinstance(denied, Denied)
    assert "`netbootctl node set n01 --serial 0badcafe`" in denied.reason
    assert isinstance(_locate("start4.elf"), File)
    config = _locate("config.txt")
    assert isinstance(config, Rendered)
    assert config.variables["node"] == N01


def test_a_board_whose_number_nobody_noted_is_served_under_it() -> None:
    view = _View((replace(N01, serial=None), N02))
    assert isinstance(_locate(f"{SERIAL}/start4.elf", view), File)
    assert isinstance(_locate("91cdf03d/start4.elf", view), Denied)


STRANGER = IPv4Address("10.77.0.150")


def test_who_has_no_address_of_ours_is_known_by_its_serial_number_or_mac() -> None:
    for prefix in (SERIAL, "b8-27-eb-64-24-7d"):
        found = _locate(f"{prefix}/config.txt", peer=STRANGER)
        assert isinstance(found, Rendered)
        assert found.variables["node"] == N01
    for path in ("config.txt", "0badcafe/config.txt", "start4.elf", "vmlinuz-1"):
        assert isinstance(_locate(path, peer=STRANGER), NotFound)


def test_bootcode_bin_comes_before_anything_is_known() -> None:
    found = _locate("bootcode.bin", _View(start=PACKAGE), STRANGER)
    assert found == File(root=PACKAGE, name="bootcode.bin", stage=Stage.LOADER)


def test_start_files_are_the_head_node_s_where_the_image_has_none_and_never_mixed() -> None:
    view = _View(generations={1: BARE}, start=PACKAGE)
    for name in ("bootcode.bin", "start4.elf", "fixup4.dat", "start.elf", "fixup.dat"):
        found = _locate(f"{SERIAL}/{name}", view)
        assert isinstance(found, File)
        assert found.root == PACKAGE
        both = _locate(f"{SERIAL}/{name}", _View(start=PACKAGE))
        assert isinstance(both, File)
        assert both.root == FIRMWARE
    none = _locate(f"{SERIAL}/start4.elf", _View(generations={1: BARE}))
    assert isinstance(none, NotFound)
    assert none.missing
    assert "apt install raspi-firmware" in none.reason


@pytest.mark.parametrize(
    "name", ["pieeprom.sig", "pieeprom.upd", "pieeprom.bin", "vl805.sig", "recovery.bin"]
)
def test_a_new_eeprom_is_given_only_to_who_shall_have_it(name: str) -> None:
    unasked = _locate(f"{SERIAL}/{name}")
    assert isinstance(unasked, NotFound)
    assert unasked.probe
    found = _locate(f"{SERIAL}/{name}", _View((replace(N01, eeprom_update=True),)))
    assert isinstance(found, File)
    assert found.root / found.name == FIRMWARE / name


PROBES = [
    *("bootsig.bin", "autoboot.txt", "bootcfg.txt", "recovery.elf", "recover4.elf", "dt-blob.bin"),
    *("overlays/overlay_map.dtb", "recovery7.img", "recovery8.img", "armstub8-gic.bin", "kernel_2712.img"),
]


@pytest.mark.parametrize("name", PROBES)
def test_what_a_loader_only_probes_for_is_no_news_where_it_is_missing(name: str) -> None:
    found = _locate(f"{SERIAL}/{name}")
    assert isinstance(found, File)
    assert found.absent is not None
    assert found.absent.probe


def test_a_missing_device_tree_is_told_of_with_the_likely_reason() -> None:
    found = _locate(f"{SERIAL}/bcm2712-rpi-5-b.dtb")
    assert isinstance(found, File)
    assert found.absent is not None
    assert found.absent.missing
    assert "debian@1 has no device tree bcm2712-rpi-5-b.dtb" in found.absent.reason


@pytest.mark.parametrize(
    "view", [_View((replace(N01, image=None),)), _View(generations={}), _View((replace(N01, image="none"),))]
)
def test_without_an_image_everything_is_missing_and_says_so(view: _View) -> None:
    for name in ("config.txt", "start4.elf", "bcm2711-rpi-4-b.dtb"):
        found = _locate(f"{SERIAL}/{name}", view)
        assert isinstance(found, NotFound)
        assert found.missing
        assert "image list" in found.reason


@pytest.mark.parametrize(
    "path",
    [
        *("extlinux/extlinux.conf", "pxelinux.cfg/0A4D0033", "grub/grub.cfg", "5564247d", "0A4D0033.img"),
        *("dtb/x.dtb", "x" * 33 + "/config.txt"),
    ],
)
def test_what_others_ask_for_is_theirs(path: str) -> None:
    visit = Visit(tuple(path.split("/")), N01.address, _View(), EXPORTED)
    assert raspberrypi.FAMILY.locate(visit) is None


@pytest.mark.parametrize(
    ("path", "serial"),
    [
        (f"{SERIAL}/start.elf", SERIAL),
        (f"//{SERIAL.upper()}/start4.elf", SERIAL),
        (f"{SERIAL}/config.txt", SERIAL),
        (f"0c8f7e5c{SERIAL}/config.txt", f"0c8f7e5c{SERIAL}"),
        (f"{SERIAL}/cmdline.txt", None),
        ("44444444/start.elf", None),
        ("00000000/start.elf", None),
        ("config.txt", None),
        ("cluster/config.txt", None),
        ("", None),
    ],
)
def test_the_serial_number_is_read_off_the_first_requests(path: str, serial: str | None) -> None:
    assert serial_told(path) == serial


_names = st.sampled_from(
    ["config.txt", "start4.elf", "vmlinuz-1", "overlays", "..", ".", "etc", "initrd-99999999", ""]
)
_prefixes = st.sampled_from([SERIAL, "91cdf03d", "b8-27-eb-64-24-7d", "ff-ff-ff-ff-ff-ff", "x", "ÄÖ"])


@given(
    st.builds(
        lambda prefix, parts: "/".join([prefix, *parts]),
        _prefixes,
        st.lists(_names | st.text(max_size=9), max_size=4),
    ),
    st.sampled_from([N01.address, N02.address, STRANGER]),
)
def test_no_path_leads_out_of_the_firmware_directory(path: str, peer: IPv4Address) -> None:
    serial_told(path)
    found = _locate(path, _View(start=PACKAGE), peer)
    if isinstance(found, File):
        assert found.root in (FIRMWARE, PI.boot, PACKAGE)
        assert found.root != PI.boot or found.name == "initrd"
        assert ".." not in Path(found.name).parts
        assert not found.name.startswith("/")
    if isinstance(found, Rendered):
        assert found.variables["node"] in (
            (N01, N02) if peer == STRANGER else (_View().node_by_address(peer),)
        )
