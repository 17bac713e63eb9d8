"""U-Boot: who is one, what it is told, and what each path that it makes up yields. Pure.

That real U-Boots boot by it: test_arm_boots.py.
"""

import struct
import subprocess
import zlib
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netbootd.boot import policy
from netbootd.boot.answer import File, Located, NetBoot, NotFound, Rendered, Wait
from netbootd.boot.assets import Request, locate
from netbootd.boot.client import Client, from_dhcp
from netbootd.boot.firmware import recognise
from netbootd.boot.firmware.uboot import SCRIPT, script_image
from netbootd.dhcp import wire
from netbootd.image import Generation
from netbootd.node import Node
from netbootd.render import Renderer
from netbootd.stage import Stage
from tests.boot.test_assets import EXPORTED, _View
from tests.boot.test_policy import GENERATION, MAC, NETWORK, NODE
from tests.dhcp.packets import CAPTURES, dhcp_payloads

ARM64 = replace(GENERATION, architecture="aarch64")
ARM32 = replace(GENERATION, architecture="armv7l")
ASKS = (1, 3, 6, 12, 17)
CLASSIC = Client(
    mac=MAC,
    vendor_class="U-Boot.armv8",
    architectures=(22,),
    maximum_size=576,
    parameter_request_list=ASKS,
    sent=(53, 57, 93, 94, 60, 55),
)
EFI = replace(CLASSIC, vendor_class="PXEClient:Arch:00011:UNDI:003000", architectures=(11,))
# No CMD_PXE: 93 is 0xffff. In 2015 neither 60 nor 93 was sent.
WITHOUT_PXE = replace(CLASSIC, architectures=(0xFFFF,))
OF_2015 = replace(CLASSIC, vendor_class="", architectures=(), parameter_request_list=(1, 3, 12, 17))
LWIP = Client(mac=MAC, maximum_size=1500, parameter_request_list=(1, 3, 28, 6), sent=(53, 57, 55))


def decide(
    client: Client, generation: Generation = ARM64, loaders: frozenset[str] = frozenset()
) -> NetBoot | Wait:
    decision = policy.decide(client, NODE, NETWORK, generation, loaders.__contains__)
    assert isinstance(decision, NetBoot | Wait)
    return decision


# ---- who is one


@pytest.mark.parametrize(
    "client",
    [
        pytest.param(CLASSIC, id="classic"),
        pytest.param(replace(CLASSIC, vendor_class="U-Boot.armv7", architectures=(21,)), id="32-bit"),
        pytest.param(WITHOUT_PXE, id="without the pxe command"),
        pytest.param(OF_2015, id="of 2015, no 60"),
        pytest.param(EFI, id="as EFI"),
        pytest.param(replace(EFI, vendor_class="PXEClient:Arch:0000b:UNDI:003000"), id="as EFI, 2025"),
        pytest.param(LWIP, id="lwIP"),
        pytest.param(replace(LWIP, sent=(53, 57, 50, 54, 55)), id="lwIP, its REQUEST"),
        pytest.param(replace(LWIP, parameter_request_list=(1, 3, 28)), id="lwIP without DNS"),
    ],
)
def test_a_u_boot_is_recognised_whatever_it_was_built_with(client: Client) -> None:
    family = recognise(client)
    assert family is not None and family.name == "uboot"
    assert family.begins_boot and not family.behind_proxy


@pytest.mark.parametrize(
    "client",
    [
        pytest.param(
            Client(
                mac=MAC,
                vendor_class="udhcp 1.35.0",
                maximum_size=576,
                parameter_request_list=(1, 3, 6, 12, 42),
            ),
            id="udhcpc that calls itself so",
        ),
        pytest.param(
            Client(mac=MAC, maximum_size=576, parameter_request_list=(1, 3, 6, 12, 15, 28, 42)),
            id="udhcpc without a name",
        ),
        pytest.param(replace(OF_2015, sent=(53, 61, 57, 55)), id="it has a client identifier"),
        pytest.param(replace(LWIP, sent=(53, 57, 55, 12)), id="lwIP of something that has a host name"),
        pytest.param(replace(LWIP, parameter_request_list=(1, 3, 28, 6, 15)), id="asks for more than lwIP"),
        pytest.param(
            replace(EFI, vendor_class="PXEClient:Arch:00000:UNDI:002001", architectures=(0,)),
            id="a PC's BIOS",
        ),
        pytest.param(replace(LWIP, maximum_size=None), id="doesn't say 1500"),
        pytest.param(Client(mac=MAC, maximum_size=576), id="asks for nothing"),
    ],
)
def test_nobody_else_is_taken_for_one(client: Client) -> None:
    family = recognise(client)
    assert family is None or family.name != "uboot"


@pytest.mark.parametrize("capture", sorted(CAPTURES.glob("*.pcap")), ids=lambda path: path.stem)
def test_in_captures_of_real_machines_exactly_the_u_boots_are_one(capture: Path) -> None:
    requests = [m for m in map(wire.decode_any, dhcp_payloads(capture)) if m.op == wire.BOOTREQUEST]
    assert requests
    for request in requests:
        family = recognise(from_dhcp(request.chaddr, request.options))
        assert (family is not None and family.name == "uboot") == capture.stem.startswith("uboot")


# ---- what it is told


@pytest.mark.parametrize("client", [CLASSIC, WITHOUT_PXE, LWIP, EFI])
def test_it_is_told_the_script_which_has_no_directory(client: Client) -> None:
    """`pxe get` looks beside the boot file; a script is harmless where it is loaded as anything else."""
    decision = decide(client)
    assert isinstance(decision, NetBoot)
    assert (decision.firmware, decision.bootfile, decision.server) == ("uboot", SCRIPT, NETWORK.server)
    assert "/" not in decision.bootfile
    assert not decision.options


def test_one_that_asks_for_its_configurations_name_is_spared_the_search() -> None:
    decision = decide(replace(CLASSIC, parameter_request_list=(*ASKS, 209)))
    assert isinstance(decision, NetBoot)
    assert dict(decision.options) == {209: b"pxelinux.cfg/01-52-54-00-00-00-01"}


def test_as_efi_it_gets_a_program_where_there_is_one() -> None:
    decision = decide(EFI, loaders=frozenset({"grubaa64.efi"}))
    assert isinstance(decision, NetBoot)
    assert (decision.firmware, decision.bootfile) == ("uboot", "loaders/grubaa64.efi")
    # 60 and 43 mean nothing to it, and it says so on its console.
    assert not decision.options


@pytest.mark.parametrize(
    ("client", "generation", "starts"),
    [
        (CLASSIC, ARM32, "aarch64"),
        (CLASSIC, GENERATION, "aarch64"),
        (replace(CLASSIC, architectures=(21,)), ARM64, "armv7l"),
        (LWIP, GENERATION, "ARM or RISC-V"),
        (replace(CLASSIC, architectures=(0xFFFF,)), GENERATION, "ARM or RISC-V"),
    ],
)
def test_an_image_that_it_can_not_start_is_not_offered(
    client: Client, generation: Generation, starts: str
) -> None:
    decision = decide(client, generation)
    assert isinstance(decision, Wait)
    assert decision.reason == (
        f"debian@1 is for {generation.architecture}, and a U-Boot for {starts} asks;"
        " `netbootctl node set n01 --image NAME` gives it another"
    )


# ---- what it asks for


def ask(path: str, generation: Generation = ARM64, node: Node = NODE, peer: str = "10.77.0.10") -> Located:
    view = _View(node=node, generations={1: generation})
    return locate(Request(path=path, peer=IPv4Address(peer)), view, EXPORTED)


def text(found: Located) -> str:
    assert isinstance(found, Rendered), found
    return Renderer().render(found.template, **found.variables)


OWN = "01-52-54-00-00-00-01"
NOBODY = "10.77.0.200"


@pytest.mark.parametrize(
    ("path", "peer"),
    [
        (f"pxelinux.cfg/{OWN}", "10.77.0.10"),
        (f"pxelinux.cfg/{OWN}", NOBODY),
        (f"/some/dir//pxelinux.cfg/{OWN.upper()}", NOBODY),
        ("pxelinux.cfg/0A4D000A", NOBODY),
        ("pxelinux.cfg/0a4d000a", NOBODY),
        ("pxelinux.cfg/default-arm-meson-khadas", "10.77.0.10"),
        ("pxelinux.cfg/default-arm", "10.77.0.10"),
        ("pxelinux.cfg/default", "10.77.0.10"),
        ("extlinux/extlinux.conf", "10.77.0.10"),
        ("boot/extlinux/extlinux.conf", "10.77.0.10"),
    ],
)
def test_its_configuration_is_found_by_every_name_that_it_tries(path: str, peer: str) -> None:
    found = ask(path, peer=peer)
    assert isinstance(found, Rendered)
    assert (found.template, found.stage) == ("boot/extlinux/extlinux.conf.j2", Stage.CONFIG)
    assert found.variables["node"] == NODE


@pytest.mark.parametrize(
    "path",
    [
        "pxelinux.cfg/44332211-6655-8877-99aa-bbccddeeff00",
        *(f"pxelinux.cfg/{'0A4D000A'[:digits]}" for digits in range(1, 8)),
        "pxelinux.cfg/01-52-54-00-00-00-99",
        "pxelinux.cfg/01-nonsense",
        "pxelinux.cfg/0A4D00FF",
        "pxelinux.cfg",
        "pxelinux.cfg/default/more",
        "0A4D000A.img",
    ],
)
def test_the_names_that_are_nobodys_are_a_miss_and_no_fault(path: str) -> None:
    found = ask(path)
    assert isinstance(found, NotFound)
    assert not found.missing


def test_a_stranger_has_no_default() -> None:
    for path in ("pxelinux.cfg/default", "extlinux/extlinux.conf", SCRIPT):
        assert isinstance(ask(path, peer=NOBODY), NotFound)


def test_an_extlinux_conf_names_files_that_are_served_and_waits_for_nobody() -> None:
    conf = text(ask(f"pxelinux.cfg/{OWN}"))
    words = [line.split(None, 1) for line in conf.splitlines() if line.strip() and line[0] != "#"]
    assert words[:3] == [["DEFAULT", "netbootd"], ["PROMPT", "0"], ["LABEL", "netbootd"]]
    values = dict(reversed([(word[0], word[1]) for word in words]))
    assert (values["KERNEL"], values["INITRD"]) == ("images/debian/1/Image", "images/debian/1/initrd")
    assert values["FDTDIR"] == "images/debian/1/dtbs"
    for key in ("KERNEL", "INITRD"):
        assert isinstance(ask(values[key]), File)
    assert values["APPEND"].startswith("netbootd.node=n01 netbootd.mac=52:54:00:00:00:01 ")


def test_no_console_is_named_for_a_board_whose_device_tree_names_it() -> None:
    """The kernel takes stdout-path, whatever the serial port is called, unless there is a console=."""
    for generation in (ARM64, ARM32):
        assert "console=" not in text(ask(f"pxelinux.cfg/{OWN}", generation))


def test_x86_machines_that_ask_by_the_same_names_are_left_to_pxelinux() -> None:
    found = ask(f"pxelinux.cfg/{OWN}", GENERATION)
    assert isinstance(found, Rendered)
    assert found.template == "boot/pxelinux/pxelinux.cfg.j2"


def test_a_node_without_an_image_is_told_of_where_it_can_be_mended() -> None:
    for path in (SCRIPT, f"pxelinux.cfg/{OWN}", "uEnv.txt"):
        found = ask(path, node=replace(NODE, image=None))
        assert isinstance(found, NotFound) and found.missing, path


@pytest.mark.parametrize(
    "board", ["amlogic/meson-g12b-a311d-khadas-vim3.dtb", "broadcom/bcm2711-rpi-4-b.dtb"]
)
def test_the_device_tree_for_an_efi_program_comes_from_the_image(board: str) -> None:
    found = ask(f"dtb/{board}")
    assert isinstance(found, File)
    assert (found.root, found.name) == (ARM64.boot, f"dtbs/{board}")
    assert found.absent is not None and not found.absent.missing
    assert isinstance(ask("dtb/"), NotFound)
    assert isinstance(ask("dtb/some.dtb", peer=NOBODY), NotFound)


# ---- the script


def script(generation: Generation = ARM64, node: Node = NODE) -> str:
    return text(ask(SCRIPT, generation, node))


@pytest.mark.parametrize(("generation", "command"), [(ARM64, "booti"), (ARM32, "bootz")])
def test_the_script_starts_a_kernel_the_way_its_processor_takes_it(
    generation: Generation, command: str
) -> None:
    assert f"{command} ${{kernel_addr_r}} ${{ramdisk_addr_r}}:${{filesize}}" in script(generation)


def test_an_apostrophe_in_the_kernel_s_arguments_ends_no_string_in_the_script() -> None:
    node = replace(NODE, kernel_args="dyndbg='file x +p; reset'")
    line = next(line for line in script(node=node).splitlines() if line.startswith("setenv bootargs"))
    done = subprocess.run(
        ["sh", "-c", f'setenv() {{ printf %s "$2"; }}; {line}'], capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith(" dyndbg='file x +p; reset'")


def test_the_script_is_served_as_an_image_under_both_its_names() -> None:
    for name in (SCRIPT, "boot.scr", f"/{SCRIPT}"):
        found = ask(name)
        assert isinstance(found, Rendered)
        assert found.packing is script_image


def test_the_image_s_checksums_are_those_that_u_boot_counts() -> None:
    image = script_image("echo hello\n")
    magic, header_crc, _, size, _, _, data_crc = struct.unpack_from(">7I", image)
    assert (magic, size, len(image)) == (0x27051956, 8 + 11, 64 + 8 + 11)
    assert header_crc == zlib.crc32(image[:4] + bytes(4) + image[8:64])
    assert data_crc == zlib.crc32(image[64:])
    assert image[64:] == struct.pack(">II", 11, 0) + b"echo hello\n"


@pytest.mark.needs("mkimage")
def test_mkimage_reads_it(tmp_path: Path) -> None:
    (tmp_path / SCRIPT).write_bytes(script_image("echo hello\n"))
    said = subprocess.run(["mkimage", "-l", SCRIPT], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "Script" in said.stdout
    assert "netbootd" in said.stdout


@given(st.text(max_size=300))
def test_whatever_a_template_says_the_image_is_whole(words: str) -> None:
    image = script_image(words)
    length, end = struct.unpack_from(">II", image, 64)
    assert end == 0
    assert length == len(image) - 72
    assert image[72:].isascii()


# ---- a Parallella without a card


def test_a_parallella_is_first_told_to_use_dhcp_whoever_it_is() -> None:
    environment = text(ask("uEnv.txt", peer="10.11.12.13"))
    variables = dict(
        line.split("=", 1) for line in environment.splitlines() if line and not line.startswith("#")
    )
    assert variables == {"autoload": "no", "tftpboot_stage2": "dhcp || sleep 5"}


def test_then_its_own_environment_boots_it() -> None:
    environment = text(ask("uEnv.txt", ARM32))
    variables = dict(
        line.split("=", 1) for line in environment.splitlines() if line and not line.startswith("#")
    )
    assert variables["bootargs"].startswith("netbootd.node=n01 ")
    assert "images/debian/1/vmlinuz" in variables["netbootd_kernel"]
    assert variables["netbootd_boot"].startswith("bootz ")
    assert variables["serverip"] == str(NETWORK.server)


def test_every_line_of_an_environment_is_a_variable_or_a_comment() -> None:
    """`env import -t` takes any other line for the name of a variable to delete."""
    for peer in ("10.11.12.13", "10.77.0.10"):
        for line in text(ask("uEnv.txt", ARM32, peer=peer)).splitlines():
            assert line.startswith("#") or "=" in line


def test_a_command_line_longer_than_pxe_boot_takes_is_left_to_the_script() -> None:
    wordy = replace(NODE, kernel_args="x" * 900)
    refused = ask(f"pxelinux.cfg/{OWN}", node=wordy)
    assert isinstance(refused, NotFound)
    assert refused.missing
    assert "takes a command line of 1023 octets" in refused.reason
    assert isinstance(ask(SCRIPT, node=wordy), Rendered)
