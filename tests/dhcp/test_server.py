"""The DHCP server on a wire of its own, asked by clients that nobody here wrote, and by a crowd."""

import random
import re
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from netbootd.dhcp import wire
from netbootd.dhcp.destination import BROADCAST, CLIENT_PORT, SERVER_PORT, Destination, Way, datagram
from netbootd.dhcp.options import MessageType
from netbootd.events import EventLog, latest, timeline
from netbootd.lease import Lease, LeaseState
from netbootd.node import Mac
from netbootd.registry import NodeRequest, Registry
from netbootd.stage import Event, Stage
from tests.dhcp.client import Client
from tests.dhcp.packets import N01, NETWORK, request
from tests.lab.namespace import Lab, Namespace
from tests.lab.process import Process

pytestmark = pytest.mark.net

POOL = "10.77.0.100-10.77.0.109"
BIG_POOL = "10.77.0.100-10.77.0.250"
HUGE_POOL = "10.77.100.0-10.77.119.255"
SERVE = [sys.executable, "-m", "tests.dhcp.serve"]
CROWD = [sys.executable, "-m", "tests.dhcp.crowd"]
CHECKOUT = Path(__file__).parents[2]


@dataclass
class Head:
    """The server and what it is known by."""

    lab: Lab
    directory: Path
    process: Process

    def leases(self) -> dict[str, Lease]:
        """The leases on the disk."""
        with Registry.open(self.directory / "registry.db") as registry:
            return {str(lease.address): lease for lease in registry.leases()}

    def wait_for(self, text: str) -> None:
        self.process.wait_for(text)


@pytest.fixture
def serve(lab: Lab, tmp_path: Path) -> Callable[..., Head]:
    """Start the server; n01 is registered."""
    with Registry.open(tmp_path / "registry.db") as registry:
        registry.add_nodes([NodeRequest(name="n01", macs=N01.macs, address=N01.address)], (NETWORK,), {})

    def start(pool: str = POOL) -> Head:
        process = lab.start("dhcp", [*SERVE, tmp_path, pool], cwd=CHECKOUT)
        process.wait_for("ready")
        return Head(lab, tmp_path, process)

    return start


@pytest.fixture
def machine(lab: Lab, tmp_path: Path) -> Callable[[str, str], Client]:
    """Make a client on the wire."""
    return lambda name, mac: Client(lab.client(name, mac=mac), tmp_path)


Serve = Callable[..., Head]
Machine = Callable[[str, str], Client]
STRANGER = "52:54:00:ff:00:01"


@pytest.mark.needs("udhcpc")
@pytest.mark.parametrize("flags", [(), ("-B",)], ids=["unicast", "broadcast"])
def test_udhcpc_gets_its_nodes_address_for_ever(
    serve: Serve, machine: Machine, flags: tuple[str, ...]
) -> None:
    head, client = serve(), machine("n1", N01.mac)
    bound = client.wait_for(client.udhcpc(*flags, "-O", "search"), "bound")
    assert (bound["ip"], bound["mask"], bound["router"]) == ("10.77.0.10", "24", "10.77.0.254")
    assert (bound["hostname"], bound["domain"], bound["search"]) == ("n01", "cluster", "cluster")
    assert bound["dns"] == "10.77.0.1 10.77.0.2"
    assert (bound["lease"], bound["serverid"]) == ("4294967295", "10.77.0.1")
    head.wait_for("n01: ack: given 10.77.0.10")
    assert head.leases() == {}


@pytest.mark.needs("udhcpc")
def test_a_system_that_asks_for_its_address_once_more_begins_no_other_boot(
    serve: Serve, machine: Machine, tmp_path: Path
) -> None:
    log, now = EventLog.open(tmp_path / "events.db"), time.time()
    for stage in (Stage.DISCOVER, Stage.CONFIG, Stage.ROOT):
        log.record(Event(time=now, mac=N01.mac, node="n01", stage=stage, text=stage))
    log.close()
    head, client = serve(), machine("n1", N01.mac)
    client.wait_for(client.udhcpc(), "bound")
    head.process.stop()
    (progress,) = latest(tmp_path / "events.db")
    assert (progress.began, progress.stage) == (now, Stage.ROOT)
    told = timeline(tmp_path / "events.db", N01.mac)
    assert [event.stage for event in told[:3]] == [Stage.DISCOVER, Stage.CONFIG, Stage.ROOT]
    assert [event.stage for event in told[-4:]] == [None, Stage.OFFER, None, Stage.ACK]


@pytest.mark.needs("dhclient")
@pytest.mark.parametrize("flags", [(), ("bootp-broadcast-always",)], ids=["unicast", "broadcast"])
def test_dhclient_gets_its_nodes_address(serve: Serve, machine: Machine, flags: tuple[str, ...]) -> None:
    _, client = serve(), machine("n1", N01.mac)
    bound = client.wait_for(client.dhclient(*flags), "BOUND")
    assert bound["new_ip_address"] == "10.77.0.10"
    assert bound["new_host_name"] == "n01"
    assert bound["new_domain_name_servers"] == "10.77.0.1 10.77.0.2"
    assert bound["new_dhcp_lease_time"] == "4294967295"


@pytest.mark.needs("udhcpc")
def test_a_stranger_leases_renews_and_releases(serve: Serve, machine: Machine) -> None:
    head, client = serve(), machine("c1", STRANGER)
    process = client.udhcpc("-x", "hostname:laptop")
    assert client.wait_for(process, "bound")["ip"] == "10.77.0.100"
    first = head.leases()["10.77.0.100"]
    assert (first.mac, first.host_name, first.state) == (STRANGER, "laptop", LeaseState.BOUND)
    process.signal(signal.SIGUSR1)
    assert client.wait_for(process, "renew")["ip"] == "10.77.0.100"
    assert head.leases()["10.77.0.100"].expires > first.expires
    process.signal(signal.SIGUSR2)
    head.wait_for("released 10.77.0.100")
    assert head.leases()["10.77.0.100"].state is LeaseState.RELEASED


@pytest.mark.needs("dhclient")
def test_a_machine_that_comes_from_another_network_is_refused_and_gets_an_address_here(
    serve: Serve, machine: Machine
) -> None:
    head, client = serve(), machine("c1", STRANGER)
    lease = (
        'lease {\n  interface "eth0";\n  fixed-address 192.168.1.7;\n  option subnet-mask 255.255.255.0;\n'
        "  option dhcp-lease-time 86400;\n  option dhcp-server-identifier 192.168.1.1;\n"
        + "".join(f"  {word} never;\n" for word in ("renew", "rebind", "expire"))
        + "}\n"
    )
    bound = client.wait_for(client.dhclient(lease=lease), "BOUND")
    assert bound["new_ip_address"] == "10.77.0.100"
    head.wait_for("refused: 192.168.1.7 lies outside 10.77.0.0/24")


@pytest.mark.needs("udhcpc")
def test_an_address_at_which_somebody_else_answers_is_declined_and_rests(
    serve: Serve, machine: Machine, lab: Lab
) -> None:
    lab.client("squatter", address="10.77.0.100/24")
    head, client = serve(), machine("c1", STRANGER)
    assert client.wait_for(client.udhcpc("-a"), "bound")["ip"] == "10.77.0.101"
    assert head.leases()["10.77.0.100"].state is LeaseState.DECLINED
    assert "declined 10.77.0.100: another machine answers there" in head.process.output()


@pytest.mark.needs("udhcpc")
def test_a_nodes_address_at_which_somebody_else_answers_stays_the_nodes(
    serve: Serve, machine: Machine, lab: Lab
) -> None:
    squatter = lab.client("squatter", address="10.77.0.10/24")
    head, client = serve(), machine("n1", N01.mac)
    process = client.udhcpc("-a")
    head.wait_for("declined 10.77.0.10: another machine answers there; n01 keeps 10.77.0.10")
    squatter.ip("address flush dev eth0")
    assert client.wait_for(process, "bound")["ip"] == "10.77.0.10"


@pytest.mark.needs("udhcpc")
def test_a_machine_that_is_registered_meanwhile_loses_its_lease_and_gets_its_own_address(
    serve: Serve, machine: Machine
) -> None:
    head, client = serve(), machine("c1", STRANGER)
    process = client.udhcpc()
    assert client.wait_for(process, "bound")["ip"] == "10.77.0.100"
    with Registry.open(head.directory / "registry.db") as registry:
        made = NodeRequest(name="n02", macs=(Mac(STRANGER),), address=IPv4Address("10.77.0.11"))
        registry.add_nodes([made], (NETWORK,), {})
    process.signal(signal.SIGUSR1)
    process.wait_until(lambda: client.said("bound")["ip"] == "10.77.0.11", "its own address")
    assert head.leases()["10.77.0.100"].state is LeaseState.RELEASED


@pytest.mark.needs("udhcpc")
def test_without_a_pool_a_stranger_hears_nothing(serve: Serve, machine: Machine) -> None:
    head, client = serve(""), machine("c1", STRANGER)
    command = ["udhcpc", "-n", "-q", "-f", "-i", "eth0", "-t", "2", "-T", "1", "-s", "/bin/true"]
    assert client.namespace.run(command, check=False).returncode == 1
    head.process.stop()
    said = "discover: no answer: it isn't registered, and br0 has no pool"
    assert f"{STRANGER}: {said}" in head.process.output()
    assert head.process.output().count("no answer") == 1, "one line a minute and machine"
    assert "counters {'ignored': 2, 'received': 2}" in head.process.output()


@pytest.mark.needs("udhcpc")
def test_two_hundred_machines_at_once_all_get_an_address_of_their_own(
    serve: Serve, lab: Lab, tmp_path: Path
) -> None:
    with Registry.open(tmp_path / "registry.db") as registry:
        nodes = [
            NodeRequest(
                name=f"m{n:03}", macs=(Mac(f"52:54:00:00:01:{n:02x}"),), address=IPv4Address("10.77.0.20") + n
            )
            for n in range(60)
        ]
        registry.add_nodes(nodes, (NETWORK,), {})
    serve(BIG_POOL)
    rack = lab.client("rack")
    cards = range(200)
    rack.ip(
        *(f"link add m{n} link eth0 address 52:54:00:00:01:{n:02x} type macvlan mode bridge" for n in cards)
    )
    rack.ip(*(f"link set m{n} up" for n in cards))
    script = tmp_path / "said.sh"
    script.write_text('#!/bin/sh\n[ "$1" != bound ] || echo "$interface $ip" >> "$SAID"\n')
    script.chmod(0o755)
    one = f"udhcpc -f -q -n -i m$n -s {script} -t 10 -T 2"
    rack.run(
        ["sh", "-c", f"n=0; while [ $n -lt 200 ]; do {one} & n=$((n+1)); done; wait"],
        env={"SAID": str(tmp_path / "said")},
        timeout=120,
    )
    got = dict(line.split() for line in (tmp_path / "said").read_text().splitlines())
    assert len(got) == 200
    assert len(set(got.values())) == 200
    assert [got[f"m{n}"] for n in range(60)] == [f"10.77.0.{20 + n}" for n in range(60)]


def test_no_acknowledged_lease_is_lost_to_a_kill_at_any_moment(serve: Serve, lab: Lab) -> None:
    crowd = lab.client("crowd", address="10.77.0.9/24")
    chance = random.Random(951)
    acknowledged: dict[str, str] = {}
    for turn in range(6):
        head = serve(HUGE_POOL)
        asking = crowd.start(f"crowd{turn}", [*CROWD, str(4096 + turn * 800), "800", "99"], cwd=CHECKOUT)
        asking.wait_for("\n")
        time.sleep(chance.random() * 0.2)
        head.process.signal(signal.SIGKILL)
        head.process.popen.wait()
        asking.stop()
        lines = [line.split() for line in asking.output().splitlines()]
        acknowledged.update((address, mac) for address, mac in lines)
        kept = {address: lease.mac for address, lease in head.leases().items()}
        assert {address: kept.get(address) for address in acknowledged} == acknowledged


def test_a_lease_that_cannot_be_written_is_not_given_until_it_can(lab: Lab) -> None:
    disk = "/run/small"
    lab.run(["sh", "-c", f"mkdir {disk} && mount -t tmpfs -o size=1m tmpfs {disk}"])
    server = lab.start("dhcp", [*SERVE, disk, POOL], cwd=CHECKOUT)
    server.wait_for("ready")
    lab.run(["dd", "if=/dev/zero", f"of={disk}/filler", "bs=4k"], check=False)
    crowd = lab.client("crowd", address="10.77.0.9/24")
    asking = crowd.start("crowd", [*CROWD, "4096", "1"], cwd=CHECKOUT)
    server.wait_for("1 leases were not given: can't write the registry: database or disk is full")
    assert asking.output() == ""
    lab.run(["rm", f"{disk}/filler"])
    asking.wait_for("10.77.0.100 52:54:00:00:10:00")
    assert "Traceback" not in server.output()


def test_leases_that_can_neither_be_written_nor_read_stop_nobody_else(serve: Serve, lab: Lab) -> None:
    head, crowd = serve(POOL), lab.client("crowd", address="10.77.0.9/24")
    with sqlite3.connect(head.directory / "registry.db") as damaged:
        damaged.execute("DROP TABLE lease")
    damaged.close()
    asking = crowd.start("crowd", [*CROWD, "4096", "1"], cwd=CHECKOUT)
    head.wait_for("1 leases were not given: can't write the registry: no such table: lease")
    asking.stop()
    say(crowd, wire.encode(request(MessageType.DISCOVER, N01.mac, flags=wire.BROADCAST_FLAG)))
    head.wait_for("n01: offer")
    assert asking.output() == ""
    assert "Traceback" not in head.process.output()


def say(namespace: Namespace, payload: bytes, times: int = 1) -> None:
    """Broadcast a datagram from the client port to the server's."""
    program = (
        "import socket, sys; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM);"
        "s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b'eth0\\0');"
        "s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1); s.bind(('', 68));"
        "[s.sendto(bytes.fromhex(sys.argv[1]), ('255.255.255.255', 67)) for _ in range(int(sys.argv[2]))]"
    )
    namespace.run([sys.executable, "-c", program, payload.hex(), str(times)])


def test_malformed_messages_are_counted_and_told_of_once_a_second(serve: Serve, lab: Lab) -> None:
    head, client = serve(), lab.client("c1", address="10.77.0.9/24")
    sound = wire.encode(request(MessageType.DISCOVER, N01.mac, flags=wire.BROADCAST_FLAG))
    say(client, sound[:100], times=300)
    say(client, sound)
    head.wait_for("n01: offer")
    head.process.stop()
    output = head.process.output()
    assert "'malformed': 300, 'offer': 1, 'received': 301" in output
    assert "malformed message from 10.77.0.9: 100 octets are too few" in output
    assert output.count("malformed message") < 20
    assert "Traceback" not in output


@pytest.mark.needs("udhcpc")
def test_two_thousand_made_up_machines_keep_no_real_one_from_its_address(
    serve: Serve, machine: Machine
) -> None:
    head, client = serve(), machine("n1", N01.mac)
    discover = wire.encode(request(MessageType.DISCOVER, flags=wire.BROADCAST_FLAG))
    program = (
        "import os, socket, sys; s = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0);"
        "frame = bytes.fromhex(sys.argv[1]);"
        "[s.sendto(frame[:58] + os.urandom(4) + frame[62:], ('eth0', 0x0800, 0, 0, b'\\xff' * 6))"
        " for _ in range(2000)]"
    )
    # Without a UDP checksum, so that chaddr can be changed in place: 28 octets of headers, then 28 to chaddr.
    to = Destination(Way.BROADCAST, BROADCAST, SERVER_PORT, N01.mac)
    frame = bytearray(datagram(IPv4Address(0), to, discover, CLIENT_PORT))
    frame[26:28] = bytes(2)
    client.namespace.run([sys.executable, "-c", program, frame.hex()])
    assert client.wait_for(client.udhcpc(), "bound")["ip"] == "10.77.0.10"
    head.process.stop()
    received = re.search(r"'received': (\d+)", head.process.output())
    assert received is not None and int(received[1]) > 100


def test_another_dhcp_server_on_the_wire_is_told_of(serve: Serve, lab: Lab) -> None:
    head, client = serve(), lab.client("c1", address="10.77.0.9/24")
    chosen = {54: IPv4Address("10.77.0.3").packed, 50: N01.address.packed}
    say(client, wire.encode(request(MessageType.REQUEST, N01.mac, chosen)), times=5)
    head.wait_for("another DHCP server (10.77.0.3) answers on br0")
    head.process.stop()
    assert head.process.output().count("another DHCP server (10.77.0.3) answers") == 1
    assert "'ignored': 5" in head.process.output()


def test_every_reply_comes_from_the_networks_own_address(serve: Serve, lab: Lab, tmp_path: Path) -> None:
    lab.ip("address add 10.77.0.2/24 dev br0", "address add 192.0.2.1/24 dev br0")
    client = lab.client("c1", address="10.77.0.10/24")
    serve()
    program = (
        "import socket, sys; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM);"
        "s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1); s.bind(('', 68)); s.settimeout(10);"
        "[(s.sendto(bytes.fromhex(p), (sys.argv[1], 67)), print(s.recvfrom(2000)[1][0]))"
        " for p in sys.argv[2:]]"
    )
    discover = wire.encode(request(MessageType.DISCOVER, N01.mac, flags=wire.BROADCAST_FLAG))
    renew = wire.encode(request(MessageType.REQUEST, N01.mac, ciaddr=N01.address))
    for to in ("10.77.0.1", "10.77.0.2"):
        said = client.run([sys.executable, "-c", program, to, discover.hex(), renew.hex()]).stdout.split()
        assert said == ["10.77.0.1", "10.77.0.1"]


def test_a_relay_hears_at_its_server_port_or_where_it_asks_to(serve: Serve, lab: Lab) -> None:
    """RFC 2131 section 4.1, RFC 8357."""
    serve()
    relay = lab.client("relay", address="10.77.0.2/24")
    program = (
        "import socket, sys; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM);"
        "s.bind(('10.77.0.2', int(sys.argv[1]))); s.settimeout(10);"
        "s.sendto(bytes.fromhex(sys.argv[2]), ('10.77.0.1', 67)); print(s.recv(2000).hex())"
    )
    for port, relay_agent in ((67, b"\x01\x02ab"), (4242, b"\x01\x02ab\x13\x00")):
        relayed = request(
            MessageType.DISCOVER, N01.mac, {82: relay_agent}, giaddr=IPv4Address("10.77.0.2"), hops=1
        )
        heard = relay.run([sys.executable, "-c", program, str(port), wire.encode(relayed).hex()]).stdout
        offer = wire.decode_any(bytes.fromhex(heard))
        assert (offer.type, offer.yiaddr, offer.giaddr) == (MessageType.OFFER, N01.address, relayed.giaddr)
        assert list(offer.options.items())[-1] == (82, relay_agent)


def test_a_port_that_is_taken_and_an_interface_that_is_missing_are_said_in_words(
    serve: Serve, lab: Lab, tmp_path: Path
) -> None:
    serve()
    (tmp_path / "second").mkdir()
    second = lab.run([*SERVE, tmp_path / "second"], cwd=CHECKOUT, check=False)
    assert (second.returncode, second.stderr) == (4, "")
    assert "another DHCP server has UDP port 67 on br0; `ss -lunp sport = :67` shows it" in second.stdout
    lab.ip("link delete br0")
    third = lab.run([*SERVE, tmp_path / "second"], cwd=CHECKOUT, check=False)
    assert (third.returncode, third.stderr) == (4, "")
    assert "there is no interface br0; `ip link` shows" in third.stdout
