"""The first boot decision, as a table: a client's facts -> what it is told."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

import pytest

from netbootd.boot import policy
from netbootd.boot.answer import Decision, Ignore, LocalBoot, NetBoot, Wait
from netbootd.boot.client import Client, from_dhcp
from netbootd.image import Generation
from netbootd.network import AddressRange, DhcpMode, Network
from netbootd.node import Mac, Node, RootMode

MAC = Mac("52:54:00:00:00:01")
NODE = Node(name="n01", macs=(MAC,), address=IPv4Address("10.77.0.10"), machine_id="0" * 32, image="debian")
NETWORK = Network(interface="eth1", address=IPv4Interface("10.77.0.1/24"))
POOL = AddressRange.parse("10.77.0.100-10.77.0.199")
GENERATION = Generation(
    image="debian",
    number=1,
    directory=Path("/images/debian/1"),
    created="2026-01-01T00:00:00Z",
    origin="test",
    architecture="x86_64",
    kernel_release="6.1.0",
    size=1,
)
IN_MEMORY = replace(NODE, root=RootMode.RAM)
PACKABLE = replace(GENERATION, squashfs="zstd")
PXE = "PXEClient:Arch:00000:UNDI:002001"
SCRIPT = "http://10.77.0.1/boot/52-54-00-00-00-01/boot.ipxe"


def decide(client: Client, node: Node | None, network: Network, generation: Generation | None) -> Decision:
    """On a head node that has every loader."""
    return policy.decide(client, node, network, generation, lambda _: True)


def _client(vendor_class: str = PXE, **more: object) -> Client:
    return replace(Client(mac=MAC, vendor_class=vendor_class), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("client", "firmware", "bootfile"),
    [
        pytest.param(_client(architectures=(0,)), "bios", "loaders/undionly.kpxe", id="a BIOS ROM"),
        pytest.param(_client(), "bios", "loaders/undionly.kpxe", id="a BIOS ROM that leaves 93 out"),
        pytest.param(_client(architectures=(7,)), "uefi", "loaders/snponly.efi", id="UEFI x64"),
        pytest.param(_client(architectures=(9,)), "uefi", "loaders/snponly.efi", id="old UEFI x64, EBC"),
        pytest.param(_client(architectures=(0,), user_classes=(b"iPXE",)), "ipxe", SCRIPT, id="iPXE by 77"),
        pytest.param(_client(architectures=(7,), ipxe_options=True), "ipxe", SCRIPT, id="iPXE by 175"),
    ],
)
def test_each_firmware_gets_what_it_can_load(client: Client, firmware: str, bootfile: str) -> None:
    decision = decide(client, NODE, NETWORK, GENERATION)
    assert isinstance(decision, NetBoot)
    assert (decision.firmware, decision.bootfile, decision.server) == (firmware, bootfile, NETWORK.server)


def test_ipxe_is_told_not_to_wait_for_a_proxy_and_gets_no_vendor_class() -> None:
    decision = decide(_client(ipxe_options=True), NODE, NETWORK, GENERATION)
    assert isinstance(decision, NetBoot)
    assert dict(decision.options) == {175: b"\xb0\x01\x01"}


def test_a_pxe_rom_gets_its_vendor_class_only_with_discovery_control() -> None:
    """60 alone sends EDK2 to port 4011."""
    for architecture in (0, 7):
        decision = decide(_client(architectures=(architecture,)), NODE, NETWORK, GENERATION)
        assert isinstance(decision, NetBoot)
        assert dict(decision.options) == {60: b"PXEClient", 43: b"\x06\x01\x08\xff"}


def test_a_machine_nobody_registered_hears_nothing() -> None:
    decision = decide(_client(architectures=(0,)), None, NETWORK, None)
    assert isinstance(decision, Ignore)
    assert "isn't registered" in decision.reason


def test_unless_there_is_a_pool_and_then_it_gets_an_address_and_nothing_to_boot() -> None:
    decision = decide(_client(architectures=(0,)), None, replace(NETWORK, pool=POOL), None)
    assert isinstance(decision, LocalBoot)
    assert decision.firmware == "bios"


def test_an_operating_system_gets_its_address_alone() -> None:
    assert isinstance(decide(_client(vendor_class="udhcp 1.35"), NODE, NETWORK, GENERATION), LocalBoot)


@pytest.mark.parametrize(
    ("node", "generation", "hint"),
    [
        (replace(NODE, image=None), None, "netbootctl node set n01 --image"),
        (NODE, None, "netbootctl image build debian"),
        (IN_MEMORY, GENERATION, "its kernel has no squashfs"),
        (IN_MEMORY, GENERATION, "netbootctl node set n01 --root overlay"),
        (IN_MEMORY, replace(PACKABLE, by_itself=True), "takes no initrd"),
    ],
)
def test_a_node_that_lacks_something_waits_and_the_reason_names_the_command(
    node: Node, generation: Generation | None, hint: str
) -> None:
    decision = decide(_client(architectures=(0,)), node, NETWORK, generation)
    assert isinstance(decision, Wait)
    assert hint in decision.reason


def test_a_node_waits_for_what_the_head_node_has_yet_to_do() -> None:
    client = _client(architectures=(0,))

    def decided(obstacle: str) -> Decision:
        return policy.decide(
            client, IN_MEMORY, NETWORK, PACKABLE, lambda _: True, lambda node, generation: obstacle
        )

    waits = decided("debian@1 isn't packed yet")
    assert isinstance(waits, Wait)
    assert waits.reason == "debian@1 isn't packed yet"
    assert isinstance(decided(""), NetBoot)


def test_an_architecture_without_a_loader_waits_and_the_reason_has_its_number() -> None:
    decision = decide(_client(architectures=(0x27,)), NODE, NETWORK, GENERATION)
    assert isinstance(decision, Wait)
    assert "option 93 is 39" in decision.reason


@pytest.mark.parametrize(
    ("client", "firmware"),
    [
        pytest.param(_client(architectures=(0,), uuid=b"\0" + b"\x44" * 16), "raspberrypi", id="Pi 3"),
        pytest.param(
            _client(architectures=(0,), uuid=b"\0" + b"\x7d\x24\x64\x55" * 4), "raspberrypi", id="Pi 3B+"
        ),
        pytest.param(
            _client(architectures=(0,), uuid=b"\0RPi4" + bytes(range(12))), "raspberrypi", id="Pi 4"
        ),
        pytest.param(
            _client(architectures=(0,), uuid=b"\x005iPR" + bytes(range(12))), "raspberrypi", id="Pi 5"
        ),
        pytest.param(_client("U-Boot.armv8", architectures=(22,)), "uboot", id="U-Boot"),
        pytest.param(
            _client("HTTPClient:Arch:00016:UNDI:003000", architectures=(16,)), "http", id="HTTP Boot"
        ),
    ],
)
def test_firmware_that_says_it_is_another_is_recognised(client: Client, firmware: str) -> None:
    decision = decide(client, NODE, NETWORK, GENERATION)
    assert isinstance(decision, NetBoot | Wait)
    assert decision.firmware == firmware


@pytest.mark.parametrize("uuid", [b"", bytes(17), b"\0" + bytes(range(16))])
def test_a_pc_is_no_raspberry_pi_whatever_its_uuid(uuid: bytes) -> None:
    assert isinstance(decide(_client(architectures=(0,), uuid=uuid), NODE, NETWORK, GENERATION), NetBoot)


def test_a_network_with_dhcp_off_is_silent() -> None:
    assert isinstance(decide(_client(), NODE, replace(NETWORK, dhcp=DhcpMode.OFF), GENERATION), Ignore)


def test_a_node_plugged_into_another_wire_is_ignored() -> None:
    decision = decide(_client(), replace(NODE, address=IPv4Address("10.78.0.1")), NETWORK, GENERATION)
    assert isinstance(decision, Ignore)
    assert "another wire" in decision.reason


def test_facts_are_read_off_the_options() -> None:
    options = {
        60: b"PXEClient:Arch:00007:UNDI:003000\0",
        93: b"\0\7\0\x10",
        97: b"\0" + bytes(16),
        77: b"iPXE",
        55: b"\1\3",
        175: b"",
    }
    client = from_dhcp(MAC, options)
    assert client.vendor_class == "PXEClient:Arch:00007:UNDI:003000"
    assert (client.architectures, client.architecture) == ((7, 16), 7)
    assert client.user_classes == (b"iPXE",)
    assert client.ipxe_options
    assert client.parameter_request_list == (1, 3)


@pytest.mark.parametrize(
    ("raw", "classes"),
    [
        (b"iPXE", (b"iPXE",)),
        (b"\x04iPXE", (b"iPXE",)),
        (b"\x01a\x02bc", (b"a", b"bc")),
        (b"\x09short", (b"\x09short",)),
        (b"", ()),
    ],
)
def test_user_classes_with_and_without_lengths(raw: bytes, classes: tuple[bytes, ...]) -> None:
    assert from_dhcp(MAC, {77: raw}).user_classes == classes


def test_what_is_malformed_counts_as_not_sent() -> None:
    client = from_dhcp(MAC, {93: b"\0", 97: b"\0abc", 60: b"PXE\x1b[2J"})
    assert client.architecture is None
    assert client.uuid == b""
    assert client.vendor_class == "PXE?[2J"


@pytest.mark.parametrize("looks", range(12))
def test_loaders_that_are_being_installed_at_this_moment_raise_nothing(looks: int) -> None:
    """Each look at the disk may find another one there than the look before."""
    seen: list[str] = []

    def has_loader(name: str) -> bool:
        seen.append(name)
        return len(seen) > looks

    decision = policy.decide(_client(architectures=(7,)), NODE, NETWORK, GENERATION, has_loader)
    assert isinstance(decision, NetBoot | Wait)
