"""Which loader a machine gets, as a table: its firmware, the image, what is installed, what was chosen."""

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netbootd.boot import policy
from netbootd.boot.answer import Decision, File, NetBoot, NotFound, Rendered, Wait
from netbootd.boot.assets import Request, locate
from netbootd.boot.client import Client, from_dhcp
from netbootd.boot.firmware import FAMILIES, choice, http, uefi
from netbootd.boot.firmware.choice import ASKS_THE_DHCP_SERVER
from netbootd.boot.loaders import CHOICES, LOADERS, LOCAL
from netbootd.image import Generation
from netbootd.network import DhcpMode, Network
from netbootd.node import Node
from netbootd.render import Renderer
from netbootd.stage import Stage
from tests.boot.test_assets import EXPORTED, _View
from tests.boot.test_policy import GENERATION, MAC, NETWORK, NODE

SERVER = "http://10.77.0.1"
ALL = frozenset(LOADERS)
IPXE = frozenset(name for name, loader in LOADERS.items() if loader.kind == "ipxe")
GRUB = frozenset(name for name, loader in LOADERS.items() if loader.kind == "grub")
PXELINUX = frozenset({"lpxelinux.0", "ldlinux.c32"})
BESIDE = replace(NETWORK, dhcp=DhcpMode.PROXY, pool=None)
"""The network of NODE, where another DHCP server gives the addresses."""
SIGNED = ("grubx64.efi", "mmx64.efi", "shimx64.efi")
"""What a Debian image with shim-signed and grub-efi-amd64-signed brings."""


def tell(
    vendor_class: str,
    number: int | None,
    *,
    image: str = "x86_64",
    brings: tuple[str, ...] = (),
    here: frozenset[str] = ALL,
    loader: str | None = None,
    network: Network = NETWORK,
    **more: object,
) -> Decision:
    """What a registered machine is told. `here`: the loaders on the head node; `brings`: in the image."""
    client = Client(
        mac=MAC,
        vendor_class=vendor_class,
        architectures=() if number is None else (number,),
        **more,  # type: ignore[arg-type]
    )
    node, generation = _node(loader), _image(image, brings)
    return policy.decide(client, node, network, generation, here.__contains__)


def _node(loader: str | None = None) -> Node:
    return replace(NODE, loader=loader)


def _image(architecture: str, brings: tuple[str, ...] = ()) -> Generation:
    return replace(GENERATION, architecture=architecture, loaders=brings)


def pxe(number: int, **more: object) -> Callable[[], Decision]:
    """A PXE client of that architecture."""
    return lambda: tell(f"PXEClient:Arch:{number:05d}:UNDI:003000", number, **more)  # type: ignore[arg-type]


def by_http(number: int, **more: object) -> Callable[[], Decision]:
    """A UEFI HTTP Boot client of that architecture."""
    return lambda: tell(f"HTTPClient:Arch:{number:05d}:UNDI:003000", number, **more)  # type: ignore[arg-type]


def by_ipxe(number: int, **more: object) -> Callable[[], Decision]:
    """iPXE on a machine of that architecture."""
    return pxe(number, ipxe_options=True, **more)


FULL = frozenset({16, 19, 23})
NO_HTTP = frozenset({16, 23})


@pytest.mark.parametrize(
    ("told", "bootfile"),
    [
        pytest.param(pxe(0), "loaders/undionly.kpxe", id="BIOS"),
        pytest.param(pxe(0, here=PXELINUX), "loaders/lpxelinux.0", id="BIOS, only PXELINUX installed"),
        pytest.param(pxe(0, loader="pxelinux"), "loaders/lpxelinux.0", id="BIOS, PXELINUX chosen"),
        pytest.param(pxe(0, image="i686"), "loaders/undionly.kpxe", id="BIOS, 32-bit image"),
        pytest.param(pxe(0, brings=SIGNED), "loaders/undionly.kpxe", id="BIOS has no Secure Boot"),
        pytest.param(pxe(7), "loaders/snponly.efi", id="x64"),
        pytest.param(pxe(9), "loaders/snponly.efi", id="x64 that says EBC"),
        pytest.param(pxe(7, here=GRUB), "loaders/grubx64.efi", id="x64, only GRUB installed"),
        pytest.param(pxe(7, loader="grub"), "loaders/grubx64.efi", id="x64, GRUB chosen"),
        pytest.param(pxe(7, loader="shim"), "loaders/shimx64.efi", id="x64, the head node's shim chosen"),
        pytest.param(pxe(7, brings=SIGNED), "images/debian/1/loaders/shimx64.efi", id="x64, signed image"),
        pytest.param(
            pxe(7, brings=SIGNED, loader="shim"), "images/debian/1/loaders/shimx64.efi", id="and chosen"
        ),
        pytest.param(pxe(7, brings=SIGNED, loader="ipxe"), "loaders/snponly.efi", id="x64, iPXE chosen"),
        pytest.param(
            pxe(7, brings=("grubx64.efi",), here=frozenset()),
            "images/debian/1/loaders/grubx64.efi",
            id="x64, nothing installed, the image has GRUB",
        ),
        pytest.param(pxe(7, brings=("shimx64.efi",)), "loaders/snponly.efi", id="shim without GRUB is none"),
        pytest.param(pxe(11, image="aarch64"), "loaders/ipxe-arm64.efi", id="arm64"),
        pytest.param(pxe(11, image="aarch64", here=GRUB), "loaders/grubaa64.efi", id="arm64, only GRUB"),
        pytest.param(pxe(6, image="i686", here=IPXE), "loaders/ipxe-ia32.efi", id="ia32"),
        pytest.param(pxe(6), "loaders/grubia32.efi", id="ia32 under a 64-bit kernel"),
        pytest.param(pxe(10, image="armv7l"), "loaders/grubarm.efi", id="arm32"),
        pytest.param(pxe(27, image="riscv64"), "loaders/ipxe-riscv64.efi", id="riscv64"),
        pytest.param(by_http(16), f"{SERVER}/loaders/snponly.efi", id="HTTP x64"),
        pytest.param(by_http(16, brings=SIGNED), f"{SERVER}/loaders/snponly.efi", id="HTTP, signed image"),
        pytest.param(by_http(19, image="aarch64"), f"{SERVER}/loaders/ipxe-arm64.efi", id="HTTP arm64"),
        pytest.param(by_http(28, image="riscv64"), f"{SERVER}/loaders/ipxe-riscv64.efi", id="HTTP riscv64"),
        pytest.param(
            by_http(19, image="aarch64", brings=("ipxe-arm64.efi",), here=frozenset()),
            f"{SERVER}/images/debian/1/loaders/ipxe-arm64.efi",
            id="HTTP arm64, iPXE in the image",
        ),
        pytest.param(by_http(16, loader="grub"), f"{SERVER}/loaders/grubx64.efi", id="HTTP, GRUB chosen"),
        pytest.param(
            by_http(16, loader="shim", brings=SIGNED),
            f"{SERVER}/images/debian/1/loaders/shimx64.efi",
            id="HTTP, shim chosen",
        ),
        pytest.param(by_ipxe(0), f"{SERVER}/boot/52-54-00-00-00-01/boot.ipxe", id="iPXE"),
        pytest.param(
            by_ipxe(7, ipxe_features=FULL, brings=SIGNED, here=frozenset()),
            f"{SERVER}/boot/52-54-00-00-00-01/boot.ipxe",
            id="iPXE on UEFI needs no loader",
        ),
        pytest.param(by_ipxe(0, ipxe_features=NO_HTTP), "loaders/undionly.kpxe", id="iPXE without HTTP"),
        pytest.param(by_ipxe(7, ipxe_features=NO_HTTP), "loaders/snponly.efi", id="the same on UEFI"),
        pytest.param(
            by_ipxe(0, ipxe_features=FULL, user_classes=(b"gPXE",)), "loaders/undionly.kpxe", id="gPXE"
        ),
        pytest.param(by_ipxe(0, loader="pxelinux"), "loaders/lpxelinux.0", id="iPXE, PXELINUX chosen"),
        pytest.param(by_ipxe(7, loader="grub"), "loaders/grubx64.efi", id="iPXE, GRUB chosen"),
    ],
)
def test_each_machine_gets_a_loader_that_it_can_run(told: Callable[[], Decision], bootfile: str) -> None:
    decision = told()
    assert isinstance(decision, NetBoot), decision
    assert decision.bootfile == bootfile


@pytest.mark.parametrize(
    ("told", "words"),
    [
        pytest.param(pxe(0, here=frozenset()), ["undionly.kpxe", "`apt install ipxe`"], id="BIOS"),
        pytest.param(
            pxe(0, loader="pxelinux", here=IPXE), ["lpxelinux.0", "`apt install pxelinux`"], id="PXELINUX"
        ),
        pytest.param(
            pxe(0, loader="pxelinux", here=frozenset({"lpxelinux.0"})),
            ["ldlinux.c32", "`apt install syslinux-common`"],
            id="half of PXELINUX",
        ),
        pytest.param(pxe(0, loader="grub"), ["a PC's BIOS can't be given grub", "--loader"], id="BIOS, GRUB"),
        pytest.param(pxe(7, here=frozenset()), ["snponly.efi", "`apt install ipxe`"], id="x64"),
        pytest.param(
            pxe(7, here=frozenset(), loader="shim"), ["shimx64.efi", "`apt install shim-signed`"], id="shim"
        ),
        pytest.param(
            pxe(7, here=frozenset({"shimx64.efi"}), loader="shim"),
            ["grubx64.efi", "`apt install grub-efi-amd64-signed`"],
            id="shim alone",
        ),
        pytest.param(
            pxe(7, loader="pxelinux"), ["64-bit x86 UEFI can't be given pxelinux"], id="UEFI, PXELINUX"
        ),
        pytest.param(pxe(7, image="aarch64"), ["debian@1 is for aarch64", "for x86_64"], id="other image"),
        pytest.param(
            pxe(11), ["debian@1 is for x86_64", "64-bit ARM UEFI", "--image"], id="arm64, x86 image"
        ),
        pytest.param(
            pxe(0, image="aarch64"), ["debian@1 is for aarch64", "a PC's BIOS"], id="BIOS, arm image"
        ),
        pytest.param(
            pxe(11, image="aarch64", here=frozenset()),
            ["ipxe-arm64.efi", "Debian 13", str(LOCAL)],
            id="arm64, nothing installed",
        ),
        pytest.param(
            pxe(11, image="aarch64", here=frozenset(), loader="grub"),
            ["dpkg --add-architecture arm64", "apt install grub-efi-arm64-signed:arm64"],
            id="arm64, GRUB chosen",
        ),
        pytest.param(
            pxe(6, loader="ipxe"),
            ["32-bit x86 UEFI", "only GRUB starts it", "--loader grub"],
            id="32-bit UEFI",
        ),
        pytest.param(by_ipxe(6), ["32-bit x86 UEFI", "only GRUB starts it"], id="iPXE there"),
        pytest.param(by_ipxe(11), ["debian@1 is for x86_64"], id="iPXE on arm64, x86 image"),
        pytest.param(by_ipxe(0, loader="shim"), ["can't be given shim"], id="iPXE on BIOS, shim chosen"),
        pytest.param(by_http(16, here=GRUB), ["snponly.efi", "`apt install ipxe`"], id="HTTP without iPXE"),
        pytest.param(by_http(16, loader="pxelinux"), ["can't be given pxelinux"], id="HTTP, PXELINUX chosen"),
        pytest.param(by_http(18, image="armv7l"), ["option 93 18"], id="HTTP arm32"),
        pytest.param(pxe(0x27), ["option 93 is 39"], id="LoongArch"),
        pytest.param(pxe(0xFFFF), ["option 93 is 65535"], id="no such number"),
    ],
)
def test_a_machine_that_can_not_be_helped_waits_and_is_told_why(
    told: Callable[[], Decision], words: list[str]
) -> None:
    decision = told()
    assert isinstance(decision, Wait), decision
    for word in words:
        assert word in decision.reason


@pytest.mark.parametrize(
    ("told", "bootfile", "helped"),
    [
        (pxe(7, network=BESIDE, brings=SIGNED), "loaders/snponly.efi", False),
        (pxe(7, network=BESIDE, loader="grub"), "loaders/grubx64.efi", True),
        (pxe(7, network=BESIDE, loader="shim"), "loaders/shimx64.efi", True),
        (pxe(7, network=BESIDE, here=GRUB), "loaders/grubx64.efi", True),
        (pxe(7, loader="grub"), "loaders/grubx64.efi", False),
    ],
)
def test_behind_a_proxy_grub_is_the_last_choice_and_known_to_need_help(
    told: Callable[[], Decision], bootfile: str, helped: bool
) -> None:
    """It asks the server that the other DHCP server names (as next-server), and no proxy's."""
    decision = told()
    assert isinstance(decision, NetBoot)
    assert decision.bootfile == bootfile
    assert (ASKS_THE_DHCP_SERVER in decision.reason) is helped


def test_pxelinux_is_told_its_configuration_and_its_directory_unasked() -> None:
    for decision in (pxe(0, loader="pxelinux")(), by_ipxe(0, loader="pxelinux")()):
        assert isinstance(decision, NetBoot)
        assert decision.options[209] == b"pxelinux.cfg/01-52-54-00-00-00-01"
        assert decision.options[210] == b"/loaders/"


def test_http_boot_is_offered_as_its_own_class_and_with_an_address_that_needs_no_dns() -> None:
    decision = by_http(16)()
    assert isinstance(decision, NetBoot)
    assert decision.options == {60: b"HTTPClient"}
    assert decision.bootfile.startswith("http://10.77.0.1/")


def test_what_an_ipxe_can_do_is_read_off_option_175() -> None:
    """As QEMU's ROM sends it; b1 and eb aren't features, and one with a zero is none."""
    raw = bytes.fromhex("b105011af41000eb030100001701012201011301011101012701011901012901011001021a0100")
    client = from_dhcp(MAC, {175: raw})
    assert client.ipxe_features == {0x17, 0x22, 0x13, 0x11, 0x27, 0x19, 0x29, 0x10}
    assert from_dhcp(MAC, {175: b"\x13\x01"}).ipxe_features == frozenset()


@given(st.binary(max_size=60))
def test_no_option_175_is_read_beyond_its_end(raw: bytes) -> None:
    assert all(16 <= code < 128 for code in from_dhcp(MAC, {175: raw}).ipxe_features)


# ---- the table itself


def test_every_loader_that_a_machine_may_be_given_is_in_the_table_under_its_kind() -> None:
    machines = {choice.BIOS.name: choice.BIOS}
    machines |= {m.name: m for m in (*uefi.MACHINES.values(), *http.MACHINES.values())}
    for machine in machines.values():
        for kind, files in machine.loaders.items():
            assert kind in CHOICES
            assert LOADERS[files[0]].kind == kind


def test_a_loader_put_there_by_hand_comes_before_a_package_s() -> None:
    for name, loader in LOADERS.items():
        assert loader.paths[0] == LOCAL / name
        assert loader.advice


# ---- what loaders ask for


def _ask(path: str, view: _View | None = None) -> object:
    return locate(Request(path=path, peer=NODE.address), view or _View(), EXPORTED)


GRUB_PATHS = [
    "/grub/grub.cfg",
    "/grub/x86_64-efi/grub.cfg",
    "/debian-installer/amd64/grub/grub.cfg",
    "/EFI/fedora/grub.cfg",
    "loaders/grub.cfg",
    "images/debian/1/loaders/grub.cfg",
    "/grub/grub.cfg-01-52-54-00-00-00-01",
    "/grub/grub.cfg-0A4D000A",
    "/grub/grub.cfg-00000000-0000-0000-0000-000000000000",
]


@pytest.mark.parametrize("path", GRUB_PATHS)
def test_grub_finds_its_nodes_configuration_wherever_it_was_made_to_look(path: str) -> None:
    found = _ask(path)
    assert isinstance(found, Rendered)
    assert found.stage is Stage.CONFIG
    text = Renderer().render(found.template, **found.variables)
    assert '"($root)/images/debian/1"' in text
    assert "'netbootd.node=n01'" in text


@pytest.mark.parametrize(
    "path",
    [
        *("/grub/grub.cfg-0A4D000", "/grub/grub.cfg-0", "/grub/grub.cfg-01-52-54-00-00-00-99"),
        *("/grub/grub.cfg-", "/grub/grub.cfg-zz", "/grub/x86_64-efi/command.lst", "/grub/fonts/unicode.pf2"),
        *("loaders/revocations_sku.efi", "images/debian/1/loaders/shim_certificate_0.efi"),
        *("pxelinux.cfg/0A4D", "loaders/pxelinux.cfg/44332211-6655-8877-99aa-bbccddeeff00"),
    ],
)
def test_what_a_loader_asks_for_in_vain_is_refused_at_once_and_nobodys_fault(path: str) -> None:
    found = _ask(path)
    assert isinstance(found, NotFound)
    assert not found.missing


def test_an_argument_with_a_quote_reaches_the_kernel_as_one_word() -> None:
    node = replace(NODE, kernel_args="a='b $c")
    found = _ask("/grub/grub.cfg", _View(node=node))
    assert isinstance(found, Rendered)
    assert "'a='\\''b'" in Renderer().render(found.template, **found.variables)


def test_grub_is_given_a_quoted_argument_whole_and_puts_the_quotes_back_itself() -> None:
    """It puts a backslash before a quote that it is given (lib/cmdline.c): the kernel would keep that."""
    node = replace(NODE, kernel_args='dyndbg="module nfs +p" ro')
    found = _ask("/grub/grub.cfg", _View(node=node))
    assert isinstance(found, Rendered)
    assert " 'dyndbg=module nfs +p' 'ro';" in Renderer().render(found.template, **found.variables)


@pytest.mark.parametrize(
    "name", ["01-52-54-00-00-00-01", "0A4D000A", "default", "01-52-54-00-00-00-01".upper()]
)
def test_pxelinux_finds_its_nodes_configuration(name: str) -> None:
    found = _ask(f"loaders/pxelinux.cfg/{name}")
    assert isinstance(found, Rendered)
    text = Renderer().render(found.template, **found.variables)
    assert "KERNEL http://10.77.0.1/images/debian/1/vmlinuz" in text
    assert "APPEND netbootd.node=n01 " in text


def test_ipxe_that_looks_beside_itself_is_led_to_its_nodes_script() -> None:
    for path in ("loaders/autoexec.ipxe", "autoexec.ipxe", "images/debian/1/loaders/autoexec.ipxe"):
        found = _ask(path)
        assert isinstance(found, Rendered)
        text = Renderer().render(found.template, **found.variables)
        assert text.startswith("#!ipxe\n")
        assert found.stage is Stage.LOADER  # the DISCOVER that follows belongs to this boot
        assert "http://10.77.0.1/boot/52-54-00-00-00-01/boot.ipxe" in text


@pytest.mark.parametrize(
    "options",
    [
        {53: b"\1"},
        {53: b"\1", 82: b"\1\1x"},
        {53: b"\3", 54: b"\x0a\x4d\0\1", 50: b"\x0a\x4d\0\x0a", 55: bytes((1, 3, 6, 15, 12, 17, 18))},
    ],
    ids=["DISCOVER", "DISCOVER through a relay", "REQUEST"],
)
def test_grub_that_asks_by_itself_is_told_where_its_configuration_is(options: dict[int, bytes]) -> None:
    decision = policy.decide(from_dhcp(MAC, options), NODE, NETWORK, GENERATION, lambda _: True)
    assert isinstance(decision, NetBoot)
    assert (decision.firmware, decision.bootfile) == ("grub", "grub/grub.cfg")
    assert isinstance(_ask(decision.bootfile), Rendered)


def test_a_stranger_finds_no_configuration() -> None:
    for path in ("/grub/grub.cfg", "loaders/autoexec.ipxe", "pxelinux.cfg/default"):
        found = locate(Request(path=path, peer=IPv4Address("10.77.0.66")), _View(), EXPORTED)
        assert isinstance(found, NotFound)


def test_a_loader_that_the_image_brought_is_a_file_of_its_generation() -> None:
    view = _View(generations={1: replace(GENERATION, loaders=SIGNED)})
    found = _ask("images/debian/1/loaders/shimx64.efi", view)
    assert found == File(root=GENERATION.boot, name="loaders/shimx64.efi", stage=Stage.LOADER)


_WORDS = (
    *("grub", "grub.cfg", "grub.cfg-01-52-54-00-00-00-01", "grub.cfg-", "0A4D000A"),
    *("pxelinux.cfg", "01-", "default", "boot", "boot.ipxe", "autoexec.ipxe", "loaders", "shimx64.efi"),
    *("images", "debian", "1", ".."),
)


@given(st.lists(st.sampled_from(_WORDS) | st.text(max_size=12), max_size=6).map("/".join))
def test_no_path_of_a_loader_leads_out_or_raises(path: str) -> None:
    view = _View(generations={1: replace(GENERATION, loaders=SIGNED)})
    found = _ask(path, view)
    if isinstance(found, File):
        assert ".." not in Path(found.name).parts and not found.name.startswith("/")
        assert GENERATION.boot in (found.root, *found.root.parents) or found.name in LOADERS
    if isinstance(found, Rendered):
        Renderer().render(found.template, **found.variables)


@given(
    number=st.none() | st.integers(0, 65535),
    start=st.sampled_from(["PXEClient", "HTTPClient", ""]),
    image=st.sampled_from(["x86_64", "aarch64", "i686", "armv7l", "riscv64", "s390x"]),
    brings=st.sets(st.sampled_from(sorted(LOADERS))).map(tuple),
    here=st.frozensets(st.sampled_from(sorted(LOADERS))),
    loader=st.none() | st.sampled_from(CHOICES),
    features=st.frozensets(st.integers(16, 127), max_size=4),
)
def test_nobody_is_ever_sent_for_a_file_that_is_not_there(
    number: int | None,
    start: str,
    image: str,
    brings: tuple[str, ...],
    here: frozenset[str],
    loader: str | None,
    features: frozenset[int],
) -> None:
    both: tuple[dict[str, Any], ...] = ({}, {"ipxe_options": True, "ipxe_features": features})
    for more in both:
        decision = tell(start, number, image=image, brings=brings, here=here, loader=loader, **more)
        if not isinstance(decision, NetBoot) or decision.firmware not in ("bios", "uefi", "http", "ipxe"):
            continue
        path = decision.bootfile.removeprefix(f"{SERVER}/")
        if path.startswith("images/"):
            assert path.rpartition("/")[2] in brings
        elif path.startswith("loaders/"):
            assert path.rpartition("/")[2] in here


def test_the_families_stand_in_the_order_in_which_they_must_be_asked() -> None:
    names = [family.name for family in FAMILIES]
    assert names == ["ipxe", "http", "raspberrypi", "uboot", "uefi", "bios", "grub", "linux"]
