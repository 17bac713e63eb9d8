"""netbootctl setup: what it proposes and refuses, and that netbootd can use the file it writes."""

import os
import pty
import select
import subprocess
import time
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netbootd.config import load
from netbootd.ctl import proposals
from netbootd.links import Interface
from netbootd.network import AddressRange
from netbootd.node import Mac
from netbootd.render import Renderer
from tests.ctl.conftest import NETBOOTCTL
from tests.lab.namespace import HOME, Lab, Namespace

ROUTES = (
    "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
    "eth0\t0000A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
    "eth0\t00000000\t0100A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
)


def test_the_default_route_is_read_off_the_kernels_table() -> None:
    assert proposals.default_route(ROUTES) == ("eth0", IPv4Address("192.168.0.1"))
    assert proposals.default_route(ROUTES.partition("eth0\t00000000")[0]) is None


@pytest.mark.parametrize(
    ("address", "router", "expected"),
    [
        ("10.77.0.1/24", None, "10.77.0.10-10.77.0.99 10.77.0.100-10.77.0.199"),
        ("10.77.0.150/24", None, "10.77.0.10-10.77.0.99 10.77.0.100-10.77.0.149"),
        ("10.77.0.1/24", "10.77.0.110", "10.77.0.10-10.77.0.99 10.77.0.111-10.77.0.199"),
        ("10.77.0.1/16", None, "10.77.10.0-10.77.99.255 10.77.100.0-10.77.199.255"),
        ("10.77.0.1/28", None, "10.77.0.2-10.77.0.14 None"),
        ("10.77.0.14/28", None, "10.77.0.1-10.77.0.14 None"),
        ("10.77.0.1/30", None, "10.77.0.2-10.77.0.2 None"),
    ],
)
def test_ranges_are_proposed_from_the_interfaces_address(
    address: str, router: str | None, expected: str
) -> None:
    assert " ".join(map(str, proposals.ranges(IPv4Interface(address), router))) == expected


@given(st.ip_addresses(v=4), st.integers(8, 30), st.integers(0, 2**24))
def test_whatever_is_proposed_fits_the_network(any_address: IPv4Address, prefix: int, host: int) -> None:
    subnet = IPv4Network((int(any_address), prefix), strict=False)
    home = IPv4Interface((int(subnet.network_address) + 1 + host % (subnet.num_addresses - 2), prefix))
    span, pool = proposals.ranges(home, None)
    for part in (span, pool):
        if isinstance(part, AddressRange):
            assert part.first <= part.last
            assert part.first in subnet and part.last in subnet
            assert subnet.network_address not in part and subnet.broadcast_address not in part
    assert pool is None or (home.ip not in pool and not pool.overlaps(span))


def test_the_likeliest_interface_is_the_one_with_an_address_that_leads_nowhere_else() -> None:
    def link(name: str, index: int, *addresses: str, up: bool = True) -> Interface:
        mac = Mac(f"52:54:00:00:00:{index:02x}") if name != "lo" else None
        return Interface(name, index, mac, up, up, tuple(map(IPv4Interface, addresses)))

    links = (
        link("lo", 1, "127.0.0.1/8"),
        link("eth0", 2, "192.168.0.5/24"),
        link("eth1", 3),
        link("eth2", 4, "10.0.0.1/24"),
        link("eth3", 5, up=False),
    )
    assert [found.name for found in proposals.candidates(links, "eth0")] == ["eth2", "eth1", "eth3", "eth0"]


QUESTIONS = (
    *("router", "name servers", "addresses for nodes", "not registered", "domain", "NFS"),
    *("user who works", "directory that all nodes share"),
)


class Fresh:
    """A head node without a netbootd.toml."""

    def __init__(self, lab: Lab, directory: Path) -> None:
        self.lab = lab
        self.config = directory / "etc" / "netbootd.toml"

    def setup(self, *words: str, status: int = 0, listens: bool = False) -> tuple[str, str]:
        """Run it; it listens for another DHCP server, some seconds, only where that is of interest."""
        if not listens and "--dhcp" not in words:
            words = (*words, "--dhcp", "server")
        done = self.lab.run([NETBOOTCTL, "--config", self.config, "setup", *words], check=False)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout, done.stderr


@pytest.fixture
def fresh(lab: Lab, tmp_path: Path) -> Fresh:
    lab.ip(
        "link add eth1 type veth peer name far1",
        "address add 10.88.0.1/24 dev eth1",
        "link set eth1 up",
        "link set far1 up",
        "link add eth2 type veth peer name far2",
    )
    return Fresh(lab, tmp_path)


@pytest.mark.net
def test_everything_is_derived_from_the_interface(fresh: Fresh) -> None:
    fresh.lab.run(
        ["sh", "-c", f"mkdir -p {HOME}/.ssh; echo 'ssh-ed25519 AAAA me' >{HOME}/.ssh/id_ed25519.pub"]
    )
    out, _ = fresh.setup("--interface", "eth1", "--yes", listens=True)
    assert "listening on eth1 for another DHCP server" in out
    assert f"wrote {fresh.config}" in out and "next: netbootctl image build debian" in out
    config = load(fresh.config)
    (network,) = config.network
    assert (network.interface, network.address, str(network.range), network.pool) == (
        "eth1",
        None,
        "10.88.0.10-10.88.0.99",
        None,
    )
    assert network.domain == "cluster" and config.authorized_keys == (Path(HOME) / ".ssh/id_ed25519.pub",)
    (found,) = config.networks_on({"eth1": [IPv4Interface("10.88.0.1/24")]})
    assert found.server == IPv4Address("10.88.0.1")


@pytest.mark.net
def test_flags_say_otherwise(fresh: Fresh) -> None:
    fresh.setup(
        *("--interface", "eth2", "--address", "10.99.0.1/16", "--yes", "--pool", "10.99.200.0-10.99.250.0"),
        *(
            "--router",
            "10.99.0.254",
            "--dns",
            "10.99.0.2,10.99.0.3",
            "--domain",
            "none",
            "--http-port",
            "8080",
        ),
        *("--nfs", "ganesha", "--lease-time", "1h", "--state-dir", "/srv/netbootd", "--dhcp", "off"),
    )
    config = load(fresh.config)
    (network,) = config.network
    assert network.address == IPv4Interface("10.99.0.1/16") and str(network.pool) == "10.99.200.0-10.99.250.0"
    assert network.router == IPv4Address("10.99.0.254") and list(map(str, network.dns)) == [
        "10.99.0.2",
        "10.99.0.3",
    ]
    assert network.domain is None and network.lease_time == 3600 and network.dhcp == "off"
    assert config.http.port == 8080 and config.nfs.server == "ganesha"
    assert config.state_dir == Path("/srv/netbootd")


@pytest.mark.net
@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["--interface", "eth1"], 2, "this is no terminal; pass --yes"),
        (["--yes"], 2, "it isn't obvious which wire"),
        (["--yes", "--interface", "eht1"], 2, "did you mean eth1?"),
        (["--yes", "--interface", "eth2"], 2, "eth2 has no address"),
        (["--yes", "--interface", "eth1", "--address", "10.88.0.1"], 2, "isn't an address with its prefix"),
        (["--yes", "--interface", "eth1", "--pool", "10.99.0.1-10.99.0.9"], 3, "lies outside 10.88.0.0/24"),
        (["--yes", "--interface", "eth1", "--dhcp", "perhaps"], 3, "network[1].dhcp"),
        (["--yes", "--interface", "eth1", "--nfs", "samba"], 3, "nfs.server"),
        (["--yes", "--interface", "eth1", "--user", "root"], 3, "is on every node anyway"),
        (["--yes", "--interface", "eth1", "--user", "Al"], 3, "cluster.user"),
        (["--yes", "--interface", "eth1", "--shared", "srv"], 3, "has to begin with a slash"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(
    fresh: Fresh, words: list[str], status: int, said: str
) -> None:
    _, err = fresh.setup(*words, status=status)
    assert said in err and not fresh.config.exists()


@pytest.mark.net
def test_all_that_is_wrong_is_said_at_once(fresh: Fresh) -> None:
    _, err = fresh.setup(
        *("--yes", "--interface", "eth1", "--pool", "10.88.0.50-10.88.0.60", "--lease-time", "soon"),
        *("--domain", "-x", "--router", "10.9.9.9", "--http-port", "99999"),
        status=3,
    )
    for key in (
        "network[1].pool",
        "network[1].lease_time",
        "network[1].domain",
        "network[1].router",
        "http.port",
    ):
        assert f"  {key}: " in err


@pytest.mark.net
@pytest.mark.needs("useradd")
@pytest.mark.as_root("only root makes users")
def test_the_cluster_user_is_made_once_with_a_home(fresh: Fresh, tmp_path: Path) -> None:
    homes = tmp_path / "homes"
    homes.mkdir()
    fresh.lab.run(["sh", "-c", f"echo HOME={homes} >/etc/default/useradd"])  # in the lab's own /etc
    words = ("--interface", "eth1", "--yes", "--user", "alice", "--shared", "/srv/shared")
    out, _ = fresh.setup(*words)
    assert "made the user alice" in out
    cluster = load(fresh.config).cluster
    assert (cluster.user, cluster.shared) == ("alice", Path("/srv/shared"))
    name, _, uid, gid, _, home, shell = fresh.lab.run(["getent", "passwd", "alice"]).stdout.strip().split(":")
    assert (name, home, shell) == ("alice", str(homes / "alice"), "/bin/bash") and int(uid) >= 1000
    assert (homes / "alice").stat().st_uid == int(uid) and (homes / "alice").stat().st_gid == int(gid)
    assert "made the user" not in fresh.setup(*words)[0]


@pytest.mark.net
def test_an_old_file_is_kept_and_the_same_one_is_left_alone(fresh: Fresh) -> None:
    fresh.config.parent.mkdir()
    fresh.config.write_text("# mine\n")
    fresh.setup("--interface", "eth1", "--yes")
    backup = fresh.config.with_name("netbootd.toml.bak")
    assert backup.read_text() == "# mine\n"
    before = fresh.config.stat().st_mtime_ns
    assert "is like that already" in fresh.setup("--interface", "eth1", "--yes")[0]
    assert fresh.config.stat().st_mtime_ns == before and backup.read_text() == "# mine\n"
    assert sorted(path.name for path in fresh.config.parent.iterdir()) == [
        "netbootd.toml",
        "netbootd.toml.bak",
    ]


@pytest.mark.net
def test_the_file_as_it_was_installed_is_not_worth_a_copy(fresh: Fresh) -> None:
    fresh.config.parent.mkdir()
    fresh.config.write_text(Renderer().render("netbootd.toml.j2"))
    out, _ = fresh.setup("--interface", "eth1", "--yes")
    assert "is kept as" not in out
    assert [path.name for path in fresh.config.parent.iterdir()] == ["netbootd.toml"]


@pytest.mark.net
def test_at_a_terminal_it_asks_proposes_and_asks_again_what_it_cannot_take(fresh: Fresh) -> None:
    with Terminal(fresh.lab, fresh.config) as terminal:
        terminal.answer("interface with the nodes", "eth9")
        terminal.answer("there is no interface 'eth9'", "eth1")
        terminal.answer("router [none]", "")
        terminal.answer("name servers", "")
        terminal.answer("addresses for nodes [10.88.0.10-10.88.0.99]", "10.88.0.9-10.88.0.5")
        terminal.answer("runs backwards", "10.88.0.20-10.88.0.30")
        terminal.answer("(free: 10.88.0.100-10.88.0.199)", "")
        terminal.answer("domain", "music")
        terminal.answer("NFS server", "ganesha")
        terminal.answer("user who works on all nodes [none]", "Alice Liddell")
        terminal.answer("can't name a user", "")
        terminal.answer("directory that all nodes share [none]", "/usr")
        terminal.answer("would hide part of a node's system", "/srv/shared")
        terminal.answer("write ", "y")
        assert terminal.end() == 0
    config = load(fresh.config)
    assert (config.cluster.user, config.cluster.shared) == (None, Path("/srv/shared"))
    (network,) = config.network
    assert (str(network.range), network.domain, network.pool) == ("10.88.0.20-10.88.0.30", "music", None)


@pytest.mark.net
def test_who_says_no_at_the_end_keeps_everything_as_it_was(fresh: Fresh) -> None:
    with Terminal(fresh.lab, fresh.config, "--interface", "eth1", "--dhcp", "server") as terminal:
        for question in QUESTIONS:
            terminal.answer(question, "")
        terminal.answer("write ", "n")
        assert terminal.end() == 2
    assert not fresh.config.exists()


@pytest.fixture
def another(fresh: Fresh) -> Namespace:
    """Another DHCP server at the other end of eth1."""
    other = fresh.lab.client("other")
    fresh.lab.ip(f"link set far1 netns {other.pid}")
    other.ip("address add 10.88.0.254/24 dev far1", "link set far1 up")
    words = ["--conf-file=/dev/null", "--port=0", "--user=root", "--pid-file=", "--log-facility=-"]
    leases = f"--dhcp-leasefile={fresh.lab.directory}/leases"
    pool = "--dhcp-range=10.88.0.100,10.88.0.110,1h"
    server = other.start("dnsmasq", ["dnsmasq", "--keep-in-foreground", *words, leases, pool])
    server.wait_for("DHCP, IP range")
    return other


@pytest.mark.net
@pytest.mark.needs("dnsmasq")
def test_beside_another_dhcp_server_it_proposes_to_be_a_proxy(fresh: Fresh, another: Namespace) -> None:
    out, err = fresh.setup("--interface", "eth1", "--yes", listens=True)
    assert "another DHCP server answers on eth1: 10.88.0.254" in out
    assert "the other DHCP server has to have your nodes' addresses reserved" in out, err
    (network,) = load(fresh.config).network
    assert (network.dhcp, network.pool) == ("proxy", None)


@pytest.mark.net
@pytest.mark.needs("dnsmasq")
def test_who_will_switch_the_other_server_off_says_so(fresh: Fresh, another: Namespace) -> None:
    with Terminal(fresh.lab, fresh.config, "--interface", "eth1") as terminal:
        terminal.answer("DHCP (server, proxy, off) [proxy]", "serve")
        terminal.answer("'serve' is none of server, proxy, off", "server")
        for question in QUESTIONS:
            terminal.answer(question, "")
        terminal.answer("write ", "y")
        assert terminal.end() == 0
    (network,) = load(fresh.config).network
    assert network.dhcp == "server"


class Terminal:
    """netbootctl setup at a terminal, as a person has it."""

    def __init__(self, lab: Lab, config: Path, *words: str) -> None:
        self.main, side = pty.openpty()
        command = [*lab.inside(), str(NETBOOTCTL), "--config", str(config), "setup", *words]
        environment = {**os.environ, "TERM": "dumb", "COLUMNS": "200"}
        self.process = subprocess.Popen(command, stdin=side, stdout=side, stderr=side, env=environment)
        os.close(side)
        self.said = ""

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.main)

    def answer(self, question: str, text: str) -> None:
        """Wait until it has said `question`, then type `text`."""
        self._read(lambda: question in self.said and self.said.rstrip(" ").endswith(":"))
        self.said = ""
        os.write(self.main, f"{text}\n".encode())

    def end(self) -> int:
        """Its exit status."""
        self._read(lambda: self.process.poll() is not None)
        return self.process.wait()

    def _read(self, until: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 30
        while not until():
            assert time.monotonic() < deadline, f"waited in vain; it said {self.said!r}"
            if select.select([self.main], [], [], 0.1)[0]:
                try:
                    self.said += os.read(self.main, 4096).decode()
                except OSError:  # it has ended
                    break
