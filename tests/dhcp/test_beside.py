"""netbootd as a proxy beside real DHCP servers (dnsmasq, ISC dhcpd, Kea), and the lines it has pasted there.

The daemon is on br0 with 10.77.0.1, the other server in a namespace of its own with 10.77.0.254.
"""

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from netbootd.ctl.specimens import SPECIMENS
from netbootd.dhcp import wire
from netbootd.dhcp.options import MessageType
from netbootd.dhcp.wire import BROADCAST_FLAG, Message
from netbootd.node import Mac
from tests.dhcp import head
from tests.dhcp.client import Client
from tests.dhcp.packets import CAPTURES, dhcp_payloads
from tests.lab.namespace import Lab, Namespace
from tests.lab.process import Process
from tests.simulate import images

pytestmark = [pytest.mark.net, pytest.mark.needs("udhcpc", "curl")]

CHECKOUT = Path(__file__).parents[2]
OURS, OTHERS = "10.77.0.1", "10.77.0.254"
PC, BOARD, STRANGER = "52:54:00:00:00:01", "52:54:00:00:00:02", "52:54:00:ff:00:01"
PI, OLD = "dc:a6:32:00:00:01", "52:54:00:00:00:03"
PATIENCE = 20.0
"""Seconds for an answer that comes."""
SILENCE = 2.0
"""Seconds in which none must."""

CONFIG = """
state_dir = "{directory}/state"
[[network]]
interface = "{bridge}"
dhcp      = "proxy"
[nfs]
server = "ganesha"
ganesha_config = "{directory}/ganesha.conf"
[hosts]
hosts_file = "{directory}/hosts"
known_hosts_file = "{directory}/known_hosts"
ssh_config_file = "{directory}/ssh_config"
chrony_file = "{directory}/chrony/netbootd.conf"
"""


@dataclass
class Site(head.Site):
    """The head node, and the namespace for another server."""

    other: Namespace
    recipes: dict[str, dict[str, list[str]]] = field(default_factory=dict)

    def why(self, node: str) -> Any:
        """What `why` says, for programs."""
        return json.loads(self.ctl("why", node, "--json"))

    def hears(self, node: str, text: str) -> None:
        """Wait until `why` can tell of it: what is noted reaches the disk a moment after the log."""
        self.daemon.wait_until(lambda: text in str(self.why(node)["trouble"]), text)

    def pasted(self, server: str, *nodes: str) -> str:
        """The lines for that server that `why` printed first: a node that does well needs none."""
        for node in nodes:
            if node not in self.recipes:
                self.recipes[node] = {r["server"]: r["lines"] for r in self.why(node)["paste"]}
        found = [lines for node in nodes for name, lines in self.recipes[node].items() if server in name]
        assert len(found) == len(nodes)
        return "\n".join(line for lines in found for line in lines)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("beside")
    config = head.configure(directory, CONFIG)
    images.make(directory / "state", "pc", "x86_64")
    arm = {f"{name}aa64.efi": images.efi_program(0xAA64, name) for name in ("shim", "grub")}
    images.make(directory / "state", "board", "aarch64", arm)
    with ExitStack() as stack:
        lab = stack.enter_context(Lab(directory=directory))
        other = lab.client("other", address=f"{OTHERS}/24")
        daemon = head.serving(lab, config, "10.77.0.0/24 on br0")
        site = Site(lab, directory, config, daemon, other)
        site.ctl("node", "add", "pc", "--mac", PC, "--ip", "10.77.0.10", "--image", "pc")
        site.ctl("node", "add", "board", "--mac", BOARD, "--ip", "10.77.0.11", "--image", "board")
        old = ("--mac", OLD, "--ip", "10.77.0.13", "--image", "pc", "--loader", "pxelinux")
        site.ctl("node", "add", "old", *old)
        site.ctl("node", "add", "pi", "--mac", PI, "--ip", "10.77.0.12", "--image", "board")
        yield site


# ---- the other servers


def dnsmasq(site: Site, lines: str) -> Process:
    config = site.directory / "dnsmasq.conf"
    config.write_text(
        "port=0\ninterface=eth0\nbind-interfaces\nno-ping\ndhcp-authoritative\nuser=root\npid-file=\n"
        f"dhcp-range=10.77.0.100,10.77.0.110,1h\ndhcp-leasefile={site.directory}/dnsmasq.leases\n"
        f"log-dhcp\nlog-facility=-\n{lines}\n"
    )
    (site.directory / "dnsmasq.leases").unlink(missing_ok=True)
    process = site.other.start("dnsmasq", ["dnsmasq", "--keep-in-foreground", f"--conf-file={config}"])
    process.wait_until(lambda: site.other.run(["ss", "-Hlun", "sport", "=", ":67"]).stdout != "", "port 67")
    return process


def dhcpd(site: Site, lines: str) -> Process:
    config, leases = site.directory / "dhcpd.conf", site.directory / "dhcpd.leases"
    config.write_text(
        f"authoritative;\n{lines}\nsubnet 10.77.0.0 netmask 255.255.255.0 {{\n"
        "  range 10.77.0.100 10.77.0.110;\n  ping-check false;\n}\n"
    )
    leases.write_text("")
    process = site.other.start(
        "dhcpd", ["dhcpd", "-4", "-f", "-d", "-cf", config, "-lf", leases, "--no-pid", "eth0"]
    )
    process.wait_for("Server starting service")
    return process


def kea(site: Site, lines: str) -> Process:
    config = site.directory / "kea.json"
    config.write_text(
        '{ "Dhcp4": { "interfaces-config": { "interfaces": [ "eth0" ] },\n'
        '  "lease-database": { "type": "memfile", "persist": false },\n'
        '  "subnet4": [ { "id": 1, "subnet": "10.77.0.0/24",\n'
        '    "pools": [ { "pool": "10.77.0.100 - 10.77.0.110" } ]'
        f"{',' if lines else ''}\n{lines}\n  }} ],\n"
        '  "loggers": [ { "name": "kea-dhcp4", "severity": "INFO",'
        ' "output_options": [ { "output": "stdout" } ] } ] } }\n'
    )
    where = {"KEA_LOCKFILE_DIR": str(site.directory), "KEA_PIDFILE_DIR": str(site.directory)}
    process = site.other.start("kea", ["kea-dhcp4", "-c", config], env=where)
    process.wait_for("DHCP4_STARTED")
    return process


SERVERS: dict[str, tuple[str, Callable[[Site, str], Process]]] = {
    "dnsmasq": ("dnsmasq", dnsmasq),
    "ISC dhcpd": ("dhcpd", dhcpd),
    "Kea": ("kea-dhcp4", kea),
}


@pytest.fixture
def serve(site: Site) -> Iterator[Callable[[str, str], Process]]:
    """Start one of the other servers, with more lines in its configuration."""
    running: list[Process] = []

    def start(kind: str, lines: str = "") -> Process:
        command, starter = SERVERS[kind]
        if shutil.which(command) is None:
            pytest.skip(f"not installed: {command}")
        running.append(starter(site, lines))
        return running[-1]

    yield start
    for process in running:
        process.stop()


Serve = Callable[..., Process]


# ---- machines


def machine(site: Site, name: str, mac: str) -> Namespace:
    """A machine on the wire; the one of that name before it is unplugged."""
    site.lab.run(["ip", "link", "delete", f"v-{name}"], check=False)
    return site.lab.client(name, mac=mac)


def ask(
    where: Namespace,
    message: Message,
    answers: int = 1,
    to: str = "255.255.255.255:67",
    port: int = 68,
    seconds: float = PATIENCE,
) -> dict[str, Message]:
    """The answers to a message, at most so many, by who sent them."""
    words = [str(seconds), str(answers), str(port), to, wire.encode(message).hex()]
    command = [sys.executable, "-m", "tests.dhcp.asker", *words]
    lines = where.run(command, cwd=CHECKOUT).stdout.splitlines()
    heard = [line.split() for line in lines]
    return {source: wire.decode_any(bytes.fromhex(octets)) for source, _, octets in heard}


def seen(capture: str, begins: bytes, mac: str, *, user_class: bytes | None = None) -> Message:
    """The first DISCOVER of a kind in a capture of real firmware, as the machine `mac` would send it."""
    for octets in dhcp_payloads(CAPTURES / capture):
        message = wire.decode_any(octets)
        is_first = message.type is MessageType.DISCOVER and message.options.get(77) == user_class
        if is_first and message.options.get(60, b"").startswith(begins):
            return replace(message, chaddr=Mac(mac), flags=BROADCAST_FLAG)
    raise LookupError(capture)


FIRMWARE = {
    "BIOS": (replace(SPECIMENS["bios"].discover(Mac(PC)), flags=BROADCAST_FLAG), "loaders/undionly.kpxe"),
    "UEFI": (seen("uefi-x64-pxe-to-grub.pcap", b"PXEClient:Arch:00007", PC), "loaders/snponly.efi"),
    "iPXE": (
        seen("bios-ipxe-rom-to-lpxelinux.pcap", b"PXEClient", PC, user_class=b"iPXE"),
        f"http://{OURS}/boot/{PC.replace(':', '-')}/boot.ipxe",
    ),
}


@pytest.mark.parametrize("kind", SERVERS)
def test_pxe_clients_get_an_address_from_the_other_server_and_the_boot_file_from_us(
    site: Site, serve: Serve, kind: str
) -> None:
    serve(kind, site.pasted(kind, "pc"))
    client = machine(site, "pc", PC)
    for name, (discover, bootfile) in FIRMWARE.items():
        answers = ask(client, discover, 2)
        assert set(answers) == {OURS, OTHERS}, (name, answers)
        assert answers[OTHERS].yiaddr == IPv4Address("10.77.0.10")
        offer = answers[OURS]
        assert (offer.type, offer.yiaddr, offer.siaddr) == (
            MessageType.OFFER,
            IPv4Address(0),
            IPv4Address(OURS),
        )
        assert offer.options[60] == b"PXEClient"
        assert offer.options[67].decode() == bootfile
        assert offer.options.get(97) == discover.options.get(97)
    site.daemon.wait_for("pc: offer: offered, beside the other server's address, boot file")


def test_port_4011_is_answered_to_the_port_that_asked(site: Site) -> None:
    client = machine(site, "pc", PC)
    client.ip("address add 10.77.0.10/24 dev eth0")
    for discover, bootfile in FIRMWARE.values():
        options = {**discover.options, 53: bytes([MessageType.REQUEST]), 54: IPv4Address(OURS).packed}
        asked = replace(discover, flags=0, ciaddr=IPv4Address("10.77.0.10"), options=options)
        for port in (68, 4011):
            answers = ask(client, asked, to=f"{OURS}:4011", port=port)
            assert set(answers) == {OURS}
            ack = answers[OURS]
            assert (ack.type, ack.yiaddr) == (MessageType.ACK, IPv4Address(0))
            assert ack.options[67].decode() == bootfile
    site.daemon.wait_for("pc: ack: told boot file loaders/snponly.efi")


@pytest.mark.parametrize("kind", SERVERS)
def test_u_boot_hears_of_us_by_the_lines_that_are_pasted(site: Site, serve: Serve, kind: str) -> None:
    client = machine(site, "board", BOARD)
    discover = replace(SPECIMENS["uboot"].discover(Mac(BOARD)), flags=BROADCAST_FLAG)
    assert ask(client, discover, seconds=SILENCE) == {}, "no useless offer"
    if "board" not in site.recipes:  # it is told of once a minute
        site.hears("board", "no answer: U-Boot takes nothing from a proxyDHCP server")
    lines = site.pasted(kind, "board")
    serve(kind, lines)
    answers = ask(client, discover)
    assert set(answers) == {OTHERS}
    offer = answers[OTHERS]
    assert (str(offer.yiaddr), str(offer.siaddr)) == ("10.77.0.11", OURS)
    assert offer.file == b"boot.scr.uimg"
    asks_209 = bytes((*discover.options[55], 209))
    offer = ask(client, replace(discover, options={**discover.options, 55: asks_209}))[OTHERS]
    assert offer.file == b"boot.scr.uimg"


def test_status_and_why_say_what_u_boot_needs(site: Site) -> None:
    client = machine(site, "board", BOARD)
    ask(
        client,
        seconds=SILENCE,
        message=replace(SPECIMENS["uboot"].discover(Mac(BOARD)), flags=BROADCAST_FLAG),
    )
    site.hears("board", "no answer: U-Boot takes nothing from a proxyDHCP server")
    said = site.ctl("why", "board")
    assert "trouble: no answer: U-Boot takes nothing from a proxyDHCP server" in said
    assert "the lines for it stand below" in said and "netbootctl why" not in said
    assert "dhcp-boot=tag:netbootd-board,boot.scr.uimg,,10.77.0.1" in said
    assert '"next-server": "10.77.0.1", "boot-file-name": "boot.scr.uimg"' in said
    assert "next-server 10.77.0.1;" in said
    assert "a home router" in said
    (board,) = [node for node in json.loads(site.ctl("status", "--json"))["nodes"] if node["name"] == "board"]
    assert "U-Boot takes nothing from a proxyDHCP server" in board["text"]


BOARDS = (
    ("bios", PC),
    ("bios", OLD),
    ("ipxe", PC),
    ("uefi-x64", PC),
    ("uefi-http", PC),
    ("uboot-arm64", BOARD),
    ("uboot-lwip", BOARD),
    ("uefi-arm64", PI),
    ("pi3b+", PI),
    ("pi4", PI),
    ("pi5", PI),
)


@pytest.mark.parametrize("kind", SERVERS)
def test_every_board_boots_beside_another_server(site: Site, serve: Serve, kind: str) -> None:
    """As netbootd's own simulated boards see it, strict about what the real ones are strict about."""
    if "board" not in site.recipes:
        ask(machine(site, "board", BOARD), SPECIMENS["uboot"].discover(Mac(BOARD)), seconds=SILENCE)
        site.hears("board", "no answer: U-Boot takes nothing from a proxyDHCP server")
    # One by one they take seconds: beside dnsmasq all, beside the others those that need them most.
    boards = [(b, mac) for b, mac in BOARDS if kind == "dnsmasq" or mac == BOARD]
    nodes = ("pc", "old", "board", "pi") if kind == "dnsmasq" else ("board",)
    serve(kind, site.pasted(kind, *nodes))
    wire = machine(site, "wire", "52:54:00:00:00:99")
    failed: dict[str, Any] = {}
    for board, mac in boards:
        words = ["--firmware", board, "--mac", mac, "--interface", "eth0", "--timeout", "90", "--json"]
        command: list[str | Path] = [head.NETBOOTCTL, "--config", site.config, "simulate", *words]
        (report,) = json.loads(wire.run(command, check=False, timeout=120).stdout)
        if not report["boots"]:
            failed[f"{board} {mac}"] = report["reason"]
    assert not failed, failed


@pytest.mark.parametrize("kind", ["dnsmasq", "ISC dhcpd"])
def test_a_nodes_system_gets_its_own_address_from_the_other_server_alone(
    site: Site, serve: Serve, kind: str
) -> None:
    serve(kind, site.pasted(kind, "board"))
    client = Client(machine(site, "board", BOARD), site.directory)
    process = client.udhcpc()
    bound = client.wait_for(process, "bound")
    assert (bound["ip"], bound["serverid"]) == ("10.77.0.11", OTHERS)
    site.daemon.wait_for(f"board: asks the DHCP server {OTHERS} for 10.77.0.11, its own address")
    process.stop()


def test_a_stranger_is_none_of_our_business(site: Site, serve: Serve) -> None:
    serve("dnsmasq")
    client = Client(machine(site, "stranger", STRANGER), site.directory)
    process = client.udhcpc()
    assert client.wait_for(process, "bound")["serverid"] == OTHERS
    process.stop()
    assert f"{STRANGER}: offer" not in site.daemon.output()


def test_a_node_that_is_given_another_address_gets_no_configuration_and_its_owner_the_reason(
    site: Site, serve: Serve
) -> None:
    serve("dnsmasq")
    client = Client(machine(site, "pc", PC), site.directory)
    process = client.udhcpc()
    got = client.wait_for(process, "bound")["ip"]
    assert got.startswith("10.77.0.1") and got != "10.77.0.10"
    site.daemon.wait_for(f"pc: asks the DHCP server {OTHERS} for {got}, but is registered with 10.77.0.10")
    url = f"http://{OURS}/boot/{PC.replace(':', '-')}/boot.ipxe"
    script = client.namespace.run(["curl", "-sS", "-w", "%{http_code}", url]).stdout
    assert script.endswith("403") and f"pc asks from {got}, and 10.77.0.10 is registered for it" in script
    process.stop()
    site.hears("pc", f"asks the DHCP server {OTHERS} for {got}, but is registered with 10.77.0.10")
    assert "netbootctl why pc   prints the lines that reserve it there" in site.ctl("doctor", "--quick")
    assert "dhcp-host=52:54:00:00:00:01,set:netbootd-pc,10.77.0.10,pc,infinite" in site.ctl("why", "pc")
    client.namespace.ip("address flush dev eth0", "address add 10.77.0.10/24 dev eth0")
    script = client.namespace.run(["curl", "-sS", "-w", "%{http_code}", url]).stdout
    assert script.startswith("#!ipxe") and "netbootd.ip=10.77.0.10/24" in script


def test_doctor_wants_another_server_and_names_it(site: Site, serve: Serve) -> None:
    assert "no DHCP server answered on br0 in 5 s; a proxy leaves the addresses to one" in site.ctl("doctor")
    serve("dnsmasq")
    found = f"the DHCP server {OTHERS} gives the addresses on br0, and netbootd says what to boot"
    assert found in site.ctl("doctor")
    assert "UDP port 67 (DHCP), UDP port 4011 (PXE)" in site.ctl("doctor", "--quick")
