"""The second boot decision: a path, who asks -> what it yields."""

from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netbootd.boot.answer import Denied, File, Located, NotFound, Rendered
from netbootd.boot.assets import Request, locate
from netbootd.boot.cmdline import Exported, command_line, parted
from netbootd.image import Generation
from netbootd.network import DhcpMode, Network
from netbootd.node import Mac, Node, RootMode
from netbootd.stage import Stage
from tests.boot.test_policy import GENERATION, NETWORK, NODE

EXPORTED = Exported(
    nodes_dir=Path("/state/nodes"),
    common_dir=Path("/state/common"),
    roots_dir=Path("/state/roots"),
    ram_dir=Path("/state/ram"),
    nfs_version="4.2",
)


@dataclass
class _View:
    """A head node with one node and one generation, as values."""

    node: Node = NODE
    generations: dict[int, Generation] = field(default_factory=lambda: {1: GENERATION})
    installed: bool = True
    network: Network = NETWORK

    def node_by_mac(self, mac: Mac) -> Node | None:
        return self.node if mac in self.node.macs else None

    def node_by_address(self, address: IPv4Address) -> Node | None:
        return self.node if address == self.node.address else None

    def node_by_serial(self, serial: str) -> Node | None:
        return self.node if serial == self.node.serial else None

    def network_of(self, address: IPv4Address) -> Network | None:
        return self.network if address in self.network.subnet else None

    def generation(self, image: str, number: int | None) -> Generation | None:
        return self.generations.get(number or max(self.generations, default=0)) if image == "debian" else None

    def generation_of(self, node: Node) -> Generation | None:
        return self.generation(node.image, None) if node.image else None

    def loader(self, name: str) -> Path | None:
        return Path("/usr/lib/ipxe") / name if self.installed else None

    def withheld(self, node: Node, port: int | None) -> str:
        return "" if port == 600 else f"{node.name} isn't booting"


def _locate(path: str, view: _View | None = None) -> Located:
    return locate(Request(path=path, peer=NODE.address), view or _View(), EXPORTED)


IN_MEMORY = _View(node=replace(NODE, root=RootMode.RAM))


@pytest.mark.parametrize("name", ["common.tar", "nodes/n01.tar"])
def test_a_node_in_memory_gets_its_files_while_it_boots(name: str) -> None:
    found = locate(Request(path=f"/ram/{name}", peer=NODE.address, port=600), IN_MEMORY, EXPORTED)
    assert isinstance(found, File)
    assert (found.root, found.name) == (EXPORTED.ram_dir, name)
    assert found.absent is not None
    assert "netbootctl apply" in found.absent.reason


@pytest.mark.parametrize(
    ("path", "port", "node", "peer", "why"),
    [
        ("ram/common.tar", 40000, IN_MEMORY.node, NODE.address, "isn't booting"),
        ("ram/nodes/n01.tar", None, IN_MEMORY.node, NODE.address, "isn't booting"),
        ("ram/nodes/n02.tar", 600, IN_MEMORY.node, NODE.address, "given to their own node, and this is n01"),
        ("ram", 600, IN_MEMORY.node, NODE.address, "given to their own node"),
        ("ram/nodes", 600, IN_MEMORY.node, NODE.address, "given to their own node"),
        ("ram/nodes/n01.tar/x", 600, IN_MEMORY.node, NODE.address, "given to their own node"),
        ("ram/nodes/n01.tar", 600, NODE, NODE.address, "has root mode overlay"),
        ("ram/nodes/n01.tar", 600, IN_MEMORY.node, NODE.address + 1, "none has this address"),
    ],
)
def test_node_files_are_refused_to_everybody_else(
    path: str, port: int | None, node: Node, peer: IPv4Address, why: str
) -> None:
    found = locate(Request(path=path, peer=peer, port=port), _View(node=node), EXPORTED)
    assert isinstance(found, Denied)
    assert why in found.reason


WHOLE = "images/debian/1/root.squashfs"


@pytest.mark.parametrize("path", [WHOLE, f"/{WHOLE.replace('/', '//')}", WHOLE.replace("/", "\\")])
def test_a_root_in_one_file_is_given_to_root_of_a_node_that_boots_it(path: str) -> None:
    found = locate(Request(path=path, peer=NODE.address, port=1023), IN_MEMORY, EXPORTED)
    assert found == File(root=GENERATION.boot, name="root.squashfs", stage=None)


@pytest.mark.parametrize("path", [WHOLE, f"/{WHOLE.replace('/', '//')}", WHOLE.replace("/", "\\")])
@pytest.mark.parametrize(
    ("port", "node", "peer", "why"),
    [
        (40000, IN_MEMORY.node, NODE.address, "from a port below 1024"),
        (None, IN_MEMORY.node, NODE.address, "from a port below 1024"),
        (600, NODE, NODE.address, "to nobody else"),
        (600, replace(IN_MEMORY.node, image="other"), NODE.address, "to nobody else"),
        (600, IN_MEMORY.node, NODE.address + 1, "to nobody else"),
    ],
)
def test_a_root_in_one_file_which_has_password_hashes_is_refused_to_everybody_else(
    path: str, port: int | None, node: Node, peer: IPv4Address, why: str
) -> None:
    found = locate(Request(path=path, peer=peer, port=port), _View(node=node), EXPORTED)
    assert isinstance(found, Denied)
    assert why in found.reason


def test_a_node_in_memory_is_told_what_it_fetches_and_of_no_export() -> None:
    words = command_line(IN_MEMORY.node, GENERATION, NETWORK, EXPORTED).split()
    assert {
        "netbootd.root=ram",
        "netbootd.image=/images/debian/1/root.squashfs",
        "netbootd.files=/ram/nodes/n01.tar",
        "netbootd.common=/ram/common.tar",
        "netbootd.http=10.77.0.1:80",
    } <= set(words)
    assert "/state" not in " ".join(words)


def test_where_another_dhcp_server_gives_addresses_only_the_registered_one_gets_a_configuration() -> None:
    """It has the node set that address up, which may be another machine's."""
    view, script = (
        _View(network=replace(NETWORK, dhcp=DhcpMode.PROXY, pool=None)),
        "boot/52-54-00-00-00-01/boot.ipxe",
    )
    assert isinstance(_locate(script, view), Rendered)
    elsewhere = locate(Request(path=script, peer=NODE.address + 50), view, EXPORTED)
    assert isinstance(elsewhere, Denied)
    assert f"asks from {NODE.address + 50}, and {NODE.address} is registered" in elsewhere.reason
    loader = locate(Request(path="loaders/undionly.kpxe", peer=NODE.address + 50), view, EXPORTED)
    assert isinstance(loader, File)


@pytest.mark.parametrize("slash", ["", "/", "//"])
def test_a_loader_is_found_whatever_slashes_a_firmware_puts_before_it(slash: str) -> None:
    found = _locate(f"{slash}loaders/undionly.kpxe")
    assert found == File(root=Path("/usr/lib/ipxe"), name="undionly.kpxe", stage=Stage.LOADER)


def test_backslashes_are_slashes() -> None:
    assert isinstance(_locate("\\loaders\\snponly.efi"), File)


def test_a_loader_that_is_not_installed_names_the_command_that_brings_it() -> None:
    found = _locate("loaders/snponly.efi", _View(installed=False))
    assert isinstance(found, NotFound)
    assert found.missing
    assert "apt install ipxe" in found.reason


def test_kernel_and_initrd_come_from_the_generation_in_the_path() -> None:
    assert _locate("images/debian/1/vmlinuz") == File(
        root=GENERATION.boot, name="vmlinuz", stage=Stage.KERNEL
    )
    assert _locate("images/debian/1/initrd") == File(root=GENERATION.boot, name="initrd", stage=Stage.INITRD)
    assert _locate("images/debian/1/dtbs/a/b.dtb") == File(
        root=GENERATION.boot, name="dtbs/a/b.dtb", stage=None
    )


def test_a_generation_that_is_not_there_is_missing() -> None:
    found = _locate("images/debian/7/vmlinuz")
    assert isinstance(found, NotFound)
    assert found.missing


def test_the_script_is_rendered_for_the_node_with_the_mac_in_the_path() -> None:
    found = _locate("boot/52-54-00-00-00-01/boot.ipxe")
    assert isinstance(found, Rendered)
    assert found.stage is Stage.CONFIG
    assert found.variables["node"] == NODE
    assert found.variables["files"] == "http://10.77.0.1/images/debian/1"


@pytest.mark.parametrize(
    "view",
    [_View(node=replace(NODE, image=None)), _View(node=replace(NODE, image="none")), _View(generations={})],
)
def test_a_script_without_an_image_to_boot_is_missing(view: _View) -> None:
    found = _locate("boot/52-54-00-00-00-01/boot.ipxe", view)
    assert isinstance(found, NotFound)
    assert found.missing


@pytest.mark.parametrize(
    "path",
    [
        *("", "/", "loaders", "loaders/", "loaders/etc/passwd", "loaders/none.efi", "boot/zz/boot.ipxe"),
        *("images/debian/1", "images/Debian/1/vmlinuz", "images/debian/x/vmlinuz", "autoexec.exe"),
        "boot/52-54-00-00-00-99/boot.ipxe",
    ],
)
def test_what_is_not_there_is_not_found_and_nobody_s_fault(path: str) -> None:
    found = _locate(path)
    assert isinstance(found, NotFound)
    assert not found.missing


@pytest.mark.parametrize(
    "path",
    [
        "../etc/passwd",
        "images/debian/1/../../../../etc/shadow",
        "loaders\\..\\..",
        "images/debian/1/\0",
        "x" * 501,
    ],
)
def test_a_path_that_climbs_is_denied(path: str) -> None:
    assert isinstance(_locate(path), Denied)


@given(st.text(max_size=80) | st.from_regex(r"(loaders|boot|images)(/[ -~]{0,9}){0,5}", fullmatch=True))
def test_no_path_leads_out_of_what_is_served(path: str) -> None:
    found = _locate(path)
    if isinstance(found, File):
        assert ".." not in Path(found.name).parts
        assert not found.name.startswith("/")
        assert found.root in (Path("/usr/lib/ipxe"), GENERATION.boot)


def test_the_command_line_tells_node_init_everything() -> None:
    line = command_line(NODE, GENERATION, replace(NETWORK, router=IPv4Address("10.77.0.254")), EXPORTED)
    assert line.split() == [
        "netbootd.node=n01",
        "netbootd.mac=52:54:00:00:00:01",
        "netbootd.ip=10.77.0.10/24",
        "netbootd.gw=10.77.0.254",
        "netbootd.server=10.77.0.1",
        "netbootd.root=overlay",
        "netbootd.image=/images/debian/1/root",
        "netbootd.files=/state/nodes/n01",
        "netbootd.common=/state/common",
        "netbootd.nfs=4.2",
        "netbootd.http=10.77.0.1:80",
        "console=ttyS0,115200n8",
        "console=tty0",
    ]


def test_an_unusual_init_is_named_as_node_init_reads_it() -> None:
    line = command_line(NODE, replace(GENERATION, init="/bin/openrc-init"), NETWORK, EXPORTED)
    assert "init=/bin/openrc-init" in line.split()


def test_an_admin_s_console_takes_the_place_of_ours() -> None:
    node = replace(NODE, kernel_args="console=ttyS1 quiet")
    line = command_line(node, GENERATION, NETWORK, EXPORTED)
    assert line.endswith("console=ttyS1 quiet")
    assert "tty0" not in line


def test_a_netconsole_is_no_console() -> None:
    node = replace(NODE, kernel_args="netconsole=@/eth0,@10.77.0.1/")
    assert "console=ttyS0,115200n8" in command_line(node, GENERATION, NETWORK, EXPORTED).split()


@pytest.mark.parametrize(
    ("architecture", "refused"), [("armv7l", True), ("riscv64", True), ("x86_64", False)]
)
def test_a_command_line_that_a_kernel_would_cut_off_is_refused_in_words(
    architecture: str, refused: bool
) -> None:
    view = _View(
        node=replace(NODE, kernel_args="x" * 900),
        generations={1: replace(GENERATION, architecture=architecture)},
    )
    found = _locate("boot/52-54-00-00-00-01/boot.ipxe", view)
    assert isinstance(found, NotFound) is refused
    if isinstance(found, NotFound):
        assert found.missing
        assert f"a kernel for {architecture} reads 1023" in found.reason
        assert "`netbootctl node set n01 --kernel-args ARGS`" in found.reason


@pytest.mark.parametrize(
    ("line", "arguments"),
    [
        ("quiet  a=b", ["quiet", "a=b"]),
        ('dyndbg="module nfs +p" ro', ["dyndbg=module nfs +p", "ro"]),
        ('"dyndbg=module nfs +p"', ["dyndbg=module nfs +p"]),
        ('a="b"', ["a=b"]),
    ],
)
def test_a_command_line_is_parted_as_the_kernel_does_it(line: str, arguments: list[str]) -> None:
    assert parted(line) == arguments
