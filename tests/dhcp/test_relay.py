"""Nodes behind relay agents: ISC's dhcrelay and dnsmasq's, real clients behind them, the daemon before them.

head 10.77.0.1 ── br0 ──┬── isc 10.77.0.2 │ 10.78.0.1 ── near (ISC dhcrelay, which adds option 82)
                        └── mas 10.77.0.3 │ 10.79.0.1 ── far  (dnsmasq --dhcp-relay)
"""

import json
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from tests.dhcp import head
from tests.dhcp.client import Client
from tests.lab.namespace import Lab, Namespace

pytestmark = [pytest.mark.net, pytest.mark.needs("dhcrelay", "dnsmasq", "udhcpc", "dhclient", "curl")]

NODE, STRANGER = "52:54:00:00:78:10", "52:54:00:ff:78:01"

CONFIG = """
state_dir = "{directory}/state"
[[network]]
interface = "{bridge}"
pool      = "10.77.0.100-10.77.0.110"
[[network]]
interface = "{bridge}"
subnet    = "10.78.0.0/24"
range     = "10.78.0.10-10.78.0.99"
pool      = "10.78.0.100-10.78.0.110"
router    = "10.78.0.1"
dns       = ["10.78.0.53"]
domain    = "near"
lease_time = "2m"
[[network]]
interface = "{bridge}"
subnet    = "10.79.0.0/24"
pool      = "10.79.0.100-10.79.0.110"
router    = "10.79.0.1"
domain    = "far"
[nfs]
server = "ganesha"
ganesha_config = "{directory}/ganesha.conf"
"""


@dataclass
class Site(head.Site):
    """The head node and the wires behind its two relays."""

    relays: dict[str, Namespace]
    stack: ExitStack

    def client(self, relay: str, name: str, mac: str) -> Client:
        """A machine on the wire behind a relay."""
        machine = self.stack.enter_context(Namespace(name, self.directory, parent=self.lab))
        before = self.relays[relay]
        before.ip(
            f"link add v-{name} type veth peer name eth0 address {mac} netns {machine.pid}",
            f"link set v-{name} master wire up",
        )
        machine.ip("link set eth0 up")
        return Client(machine, self.directory)


def relay(lab: Lab, name: str, here: str, there: str) -> Namespace:
    """A router between the head node's wire and another one, behind a bridge `wire` of its own."""
    made = lab.client(name, address=f"{here}/24")
    made.ip(
        "link add wire address 52:54:00:00:fe:02 type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
        f"address add {there}/24 dev wire",
        "link set wire up",
    )
    made.run(["sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"])
    lab.ip(f"route add {there.rpartition('.')[0]}.0/24 via {here}")
    return made


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("relay")
    config = head.configure(directory, CONFIG)
    with ExitStack() as stack:
        lab = stack.enter_context(Lab(directory=directory))
        isc = relay(lab, "isc", "10.77.0.2", "10.78.0.1")
        mas = relay(lab, "mas", "10.77.0.3", "10.79.0.1")
        networks = "10.77.0.0/24 and 10.78.0.0/24 and 10.79.0.0/24 on br0 (10.77.0.1)"
        daemon = head.serving(lab, config, networks)
        isc.start(
            "dhcrelay", ["dhcrelay", "-4", "-d", "--no-pid", "-a", "-id", "wire", "-iu", "eth0", "10.77.0.1"]
        )
        mas.start(
            "dnsmasq",
            [
                "dnsmasq",
                "--keep-in-foreground",
                "--conf-file=/dev/null",
                "--port=0",
                "--user=root",
                "--pid-file=",
                "--log-facility=-",
                "--dhcp-relay=10.79.0.1,10.77.0.1",
            ],
        )
        made = Site(lab, directory, config, daemon, {"isc": isc, "mas": mas}, stack)
        assert "n78" in made.ctl("node", "add", "n78", "--mac", NODE, "--ip", "10.78.0.10")
        yield made


def test_a_node_behind_a_relay_gets_its_address_router_and_domain(site: Site) -> None:
    client = site.client("isc", "n78", NODE)
    process = client.udhcpc("-O", "search")
    bound = client.wait_for(process, "bound")
    assert (bound["ip"], bound["mask"], bound["router"]) == ("10.78.0.10", "24", "10.78.0.1")
    assert (bound["dns"], bound["domain"], bound["hostname"]) == ("10.78.0.53", "near", "n78")
    assert (bound["serverid"], bound["lease"]) == ("10.77.0.1", "4294967295")
    site.daemon.wait_for("n78: ack: given 10.78.0.10")
    process.stop()
    # Its files come from its own address, through the router.
    client.namespace.ip("route add default via 10.78.0.1")
    for scheme in ("http", "tftp"):
        url = f"{scheme}://10.77.0.1/loaders/undionly.kpxe"
        client.namespace.run(["curl", "-sS", "--max-time", "20", "-o", "/dev/null", url], check=False)
        site.daemon.wait_for(f"over {scheme.upper()}")
    assert "n78: loader: loaders/undionly.kpxe over TFTP" in site.daemon.output()
    status = json.loads(site.ctl("status", "--json"))
    (node,) = status["nodes"]
    assert (node["name"], node["stage"]) == ("n78", "loader")
    ready = ["curl", "-sS", f"http://10.77.0.1/report/{NODE}/ready"]
    assert client.namespace.run(ready).stdout == "noted\n"


def test_a_stranger_leases_from_its_own_networks_pool_and_renews_past_the_relay(site: Site) -> None:
    client = site.client("mas", "c79", STRANGER)
    process = client.udhcpc()
    bound = client.wait_for(process, "bound")
    assert (bound["ip"], bound["router"], bound["domain"]) == ("10.79.0.100", "10.79.0.1", "far")
    site.daemon.wait_for("given 10.79.0.100")
    client.namespace.ip("route add default via 10.79.0.1")
    process.signal(signal.SIGUSR1)
    assert client.wait_for(process, "renew")["ip"] == "10.79.0.100"
    process.signal(signal.SIGUSR2)
    site.daemon.wait_for("released 10.79.0.100")
    process.stop()


def test_dhclient_behind_isc_s_relay_that_adds_option_82(site: Site) -> None:
    client = site.client("isc", "c78", "52:54:00:ff:78:02")
    bound = client.wait_for(client.dhclient(), "BOUND")
    assert bound["new_ip_address"] == "10.78.0.100"
    assert (bound["new_routers"], bound["new_domain_name"]) == ("10.78.0.1", "near")
    assert bound["new_dhcp_lease_time"] == "120"


def test_a_machine_on_the_head_nodes_own_wire_is_not_confused(site: Site) -> None:
    client = Client(site.lab.client("c77", mac="52:54:00:ff:77:01"), site.directory)
    assert client.wait_for(client.udhcpc(), "bound")["ip"] == "10.77.0.100"


def test_a_machine_that_moves_between_wires_is_refused_its_old_address_and_gets_another(site: Site) -> None:
    old = (
        'lease {\n  interface "eth0";\n  fixed-address 10.79.0.105;\n  option subnet-mask 255.255.255.0;\n'
        "  option dhcp-lease-time 86400;\n  option dhcp-server-identifier 10.77.0.1;\n"
        + "".join(f"  {word} never;\n" for word in ("renew", "rebind", "expire"))
        + "}\n"
    )
    client = site.client("isc", "mover", "52:54:00:ff:78:03")
    assert client.wait_for(client.dhclient(lease=old), "BOUND")["new_ip_address"].startswith("10.78.0.10")
    site.daemon.wait_for("refused: 10.79.0.105 lies outside 10.78.0.0/24")


def test_a_node_that_is_plugged_in_behind_another_relay_is_told_so(site: Site) -> None:
    client = site.client("mas", "lost", "52:54:00:00:78:11")
    assert "n79" in site.ctl("node", "add", "n79", "--mac", "52:54:00:00:78:11", "--ip", "10.78.0.11")
    client.udhcpc()
    site.daemon.wait_for("n79: no answer: n79 is on another wire: 10.78.0.11 lies outside 10.79.0.0/24")


def test_a_relay_of_a_network_that_nobody_configured_is_named_once(site: Site) -> None:
    unknown = relay(site.lab, "unknown", "10.77.0.4", "10.80.0.1")
    site.relays["unknown"] = unknown
    unknown.start(
        "dhcrelay2", ["dhcrelay", "-4", "-d", "--no-pid", "-id", "wire", "-iu", "eth0", "10.77.0.1"]
    )
    for number in range(2):
        site.client("unknown", f"u{number}", f"52:54:00:ff:80:0{number}").udhcpc()
    text = "no answer: it came through the relay 10.80.0.1, which is on no network configured"
    site.daemon.wait_for(text)
    assert site.daemon.output().count("relay 10.80.0.1") == 1


def test_doctor_finds_the_routes_to_what_is_behind_relays_and_a_pool_with_a_nodes_address(site: Site) -> None:
    def found() -> str:
        return site.ctl("doctor", "--quick")

    assert "there is a route to 10.78.0.0/24, behind a relay of br0" in found()
    assert found().count("br0 is up with 10.77.0.1/24") == 1
    site.lab.ip("route del 10.79.0.0/24 via 10.77.0.3")
    assert "there is no route to 10.79.0.0/24, which is behind a relay" in found()
    site.lab.ip("route add 10.79.0.0/24 via 10.77.0.3", "address add 10.77.0.9/24 dev br0")
    site.lab.ip("route replace 10.79.0.0/24 via 10.77.0.3 src 10.77.0.9")
    assert "the way to 10.79.0.0/24 begins at 10.77.0.9 and not at 10.77.0.1" in found()
    wide = site.config.read_text().replace("10.78.0.10-", "10.78.0.20-").replace("10.78.0.100-", "10.78.0.5-")
    site.config.write_text(wide.replace("10.78.0.20-10.78.0.99", "10.78.0.120-10.78.0.199"))
    assert "pool 10.78.0.5-10.78.0.110 holds the address of n78, n79" in found()
