"""netbootd.toml: what is right is taken, what is wrong is said all at once, each with its line."""

from ipaddress import IPv4Interface
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netbootd.config import load
from netbootd.errors import ConfigError

GOOD = """\
state_dir = "/srv/netbootd"
authorized_keys = [
    "/root/.ssh/id_ed25519.pub",   # mine
]
[[network]]
interface  = "eth1"
dhcp       = "server"
range      = "10.77.0.10-10.77.0.99"
pool       = "10.77.0.100-10.77.0.199"
router     = "10.77.0.1"
dns        = ["10.77.0.1"]
domain     = "cluster"
lease_time = "12h"
[tftp]
[http]
port = 8080
[nfs]
server = "ganesha"
"""


ETH1 = '[[network]]\ninterface = "eth1"\n'


def _write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def _problems(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(_write(tmp_path / "netbootd.toml", text))
    return [caught.value.message, *caught.value.problems]


def test_the_example_of_the_design_is_read(tmp_path: Path) -> None:
    config = load(_write(tmp_path / "netbootd.toml", GOOD))
    (network,) = config.networks_on({"eth1": [IPv4Interface("10.77.0.1/24")]})
    assert (network.lease_time, network.domain, network.http_port) == (43_200, "cluster", 8080)
    assert str(network.pool) == "10.77.0.100-10.77.0.199"
    assert config.nfs.server == "ganesha"
    assert config.registry_path == Path("/srv/netbootd/registry/registry.db")


def test_a_network_whose_interface_has_no_address_is_left_out(tmp_path: Path) -> None:
    assert load(_write(tmp_path / "netbootd.toml", GOOD)).networks_on({}) == ()


def test_a_range_outside_the_interface_s_network_is_found_later(tmp_path: Path) -> None:
    config = load(_write(tmp_path / "netbootd.toml", GOOD))
    with pytest.raises(ConfigError) as caught:
        config.networks_on({"eth1": [IPv4Interface("192.168.5.1/24")]})
    assert len(caught.value.problems) == 3  # range, pool, router


def test_of_several_addresses_the_one_that_fits_is_the_head_node_s(tmp_path: Path) -> None:
    config = load(_write(tmp_path / "netbootd.toml", GOOD))
    (network,) = config.networks_on(
        {"eth1": [IPv4Interface("169.254.7.8/16"), IPv4Interface("10.77.0.1/24")]}
    )
    assert network.address == IPv4Interface("10.77.0.1/24")


BEHIND = """
[[network]]
interface = "eth1"
subnet = "10.78.0.0/24"
range = "10.78.0.10-10.78.0.99"
router = "10.78.0.1"
"""


@pytest.mark.parametrize("pinned", ["", 'address = "10.77.0.1/24"\n'])
def test_networks_behind_relays_share_the_interface_and_its_address(tmp_path: Path, pinned: str) -> None:
    text = GOOD.replace('interface  = "eth1"\n', f'interface = "eth1"\n{pinned}') + BEHIND
    config = load(_write(tmp_path / "netbootd.toml", text + BEHIND.replace("10.78", "10.79")))
    there = {"eth1": [IPv4Interface("169.254.7.8/16"), IPv4Interface("10.77.0.1/24")]}
    if not pinned:
        there["eth1"].reverse()
    own, far, farther = config.networks_on(there)
    assert [str(n.subnet) for n in (own, far, farther)] == ["10.77.0.0/24", "10.78.0.0/24", "10.79.0.0/24"]
    assert {str(n.server) for n in (own, far, farther)} == {"10.77.0.1"}
    assert own.behind_relay is None and far.behind_relay == far.subnet
    assert far.http == "http://10.77.0.1:8080"


def test_a_network_behind_a_relay_can_be_the_only_one_of_its_interface(tmp_path: Path) -> None:
    config = load(_write(tmp_path / "netbootd.toml", BEHIND))
    (far,) = config.networks_on({"eth1": [IPv4Interface("10.77.0.1/24")]})
    assert (str(far.subnet), str(far.server)) == ("10.78.0.0/24", "10.77.0.1")


def test_of_networks_that_turn_out_to_overlap_the_first_is_served_alone(tmp_path: Path) -> None:
    path = tmp_path / "netbootd.toml"
    path.write_text('[[network]]\ninterface = "eth1"\n[[network]]\ninterface = "eth2"\n')
    config = load(path)
    same = {name: (IPv4Interface(f"10.77.0.{i}/24"),) for i, name in enumerate(("eth1", "eth2"), 1)}
    networks, misfits = config.matched(same)
    assert [network.interface for network in networks] == ["eth1"]
    assert misfits == ("network eth2: 10.77.0.0/24 overlaps 10.77.0.0/24 of eth1; one of them can be served",)
    with pytest.raises(ConfigError):
        config.networks_on(same)


def test_a_subnet_that_is_the_interface_s_own_is_on_its_wire(tmp_path: Path) -> None:
    config = load(_write(tmp_path / "netbootd.toml", BEHIND))
    (own,) = config.networks_on({"eth1": [IPv4Interface("10.77.0.1/24"), IPv4Interface("10.78.0.2/24")]})
    assert (own.behind_relay, str(own.server)) == (None, "10.78.0.2")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (('router = "10.78.0.1"', ""), "router: is missing; the nodes of 10.78.0.0/24 reach the head node"),
        (('"10.78.0.0/24"', '"10.78.0.7/24"'), "'10.78.0.7/24' is an address; its network is 10.78.0.0/24"),
        (('"10.78.0.0/24"', '"10.78.0.0"'), "'10.78.0.0' lacks its prefix length"),
        (('"10.78.0.0/24"', '"what/24"'), "'what/24' isn't a network; write 10.78.0.0/24"),
        (('"10.78.0.0/24"', "24"), "has to be a string in quotation marks"),
        (('"10.78.0.0/24"', '"10.77.0.128/25"'), "overlaps 10.77.0.0/24 of eth1"),
        (('"10.78.0.0/24"', '"10.0.0.0/8"'), "overlaps 10.77.0.0/24 of eth1"),
        (("10.78.0.99", "10.79.0.99"), "range: 10.78.0.10-10.79.0.99 lies outside 10.78.0.0/24"),
        (
            ('subnet = "10.78.0.0/24"', ""),
            "network[2].interface: 'eth1' stands in [[network]] 1 too; one behind",
        ),
    ],
)
def test_what_is_wrong_with_a_network_behind_a_relay(
    tmp_path: Path, change: tuple[str, str], complaint: str
) -> None:
    own = '[[network]]\ninterface = "eth1"\naddress = "10.77.0.1/24"\n'
    path = _write(tmp_path / "netbootd.toml", own + BEHIND.replace(*change))
    with pytest.raises(ConfigError) as caught:
        load(path).networks_on({})
    assert complaint in "\n".join(caught.value.problems)


def test_a_network_that_does_not_fit_leaves_the_others_alone(tmp_path: Path) -> None:
    config = load(_write(tmp_path / "netbootd.toml", GOOD + '[[network]]\ninterface = "eth2"\n'))
    found = {"eth1": [IPv4Interface("192.168.5.1/24")], "eth2": [IPv4Interface("10.78.0.1/24")]}
    networks, misfits = config.matched(found)
    assert [network.interface for network in networks] == ["eth2"]
    assert [misfit.split(":")[0] for misfit in misfits] == ["network eth1"] * 3


def test_the_line_is_the_editor_s_whatever_stands_in_a_comment(tmp_path: Path) -> None:
    text = '# a\x85b\u2028c\n[[network]]\ninterface = "eth1"\nlease_time = "x"\n'
    assert "line 4: network[1].lease_time" in "\n".join(_problems(tmp_path, text))


def test_a_mark_of_the_encoding_at_the_beginning_is_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "netbootd.toml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert load(path).http.port == 8080


def test_every_fault_is_told_at_once_with_its_key_and_line(tmp_path: Path) -> None:
    text = """\
state_dir = "var"
template_dri = "/x"
authorized_keys = "/root/key.pub"
[[network]]
interface = "eth1"
address = "10.77.0.1/24"
range = "10.77.0.10-10.77.0.99"
pool = "10.77.0.50-10.77.1.199"
router = "10.78.0.1"
dns = [
  "10.77.0.1",
  "foo"]
dhcp = "serve"
lease_time = "12x"
[[network]]
interface = "eth1"
[http]
port = 99999
[nfs]
server = "foo"
"""
    found = "\n".join(_problems(tmp_path, text))
    for expected in (
        "line 1: state_dir: 'var' has to begin with a slash",
        "line 2: template_dri: isn't a setting; did you mean template_dir?",
        "line 3: authorized_keys: '/root/key.pub' has to be a list",
        "line 8: network[1].pool: 10.77.0.50-10.77.1.199 lies outside 10.77.0.0/24",
        "line 8: network[1].pool: 10.77.0.50-10.77.1.199 overlaps range 10.77.0.10-10.77.0.99",
        "line 9: network[1].router: 10.78.0.1 lies outside",
        "line 10: network[1].dns[2]: 'foo' isn't an IPv4 address",
        "line 13: network[1].dhcp: 'serve' isn't one of",
        "line 14: network[1].lease_time: '12x' isn't a time",
        "line 16: network[2].interface: 'eth1' stands in [[network]] 1 too",
        "line 18: http.port: 99999 has to be a whole number from 1 to 65535",
        "line 20: nfs.server: 'foo' isn't one of 'kernel' or 'ganesha'",
    ):
        assert expected in found
    assert "12 problems" in found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "at least one [[network]]"),
        ("network = []", "at least one [[network]]"),
        ('network = "eth0"', "write [[network]]"),
        ("[[network]]\ninterface = eth1", "line 2"),
        ('[[network]]\ninterface = "a/b"', "can't name a network interface"),
        ('[[network]]\naddress = "10.0.0.1/24"', "interface: is missing"),
        ('[[network]]\ninterface = "eth1"\naddress = "10.0.0.1"', "lacks its prefix length"),
        ('[[network]]\ninterface = "eth1"\naddress = "10.0.0.1/31"', "leaves no room"),
        (
            '[[network]]\ninterface = "eth1"\naddress = "10.0.0.1/24"\npool = "10.0.0.1-10.0.0.9"',
            "head node's own address",
        ),
        (
            '[[network]]\ninterface = "eth1"\naddress = "10.0.0.0/24"',
            "write the head node's own, such as 10.0.0.1",
        ),
        (
            '[[network]]\ninterface = "eth1"\naddress = "10.0.0.1/24"\nsubnet = "10.1.0.7/32"',
            "subnet: 10.1.0.7/32 leaves no room",
        ),
        (
            '[[network]]\ninterface = "eth1"\naddress = "10.0.0.1/24"\nrouter = "10.0.0.255"',
            "router: 10.0.0.255 names the network",
        ),
        ('state_dir = "/srv/my nodes"\n[[network]]\ninterface = "eth1"', "kernel command lines"),
        (
            'template_dir = "/a\\u0000b"\n[[network]]\ninterface = "eth1"',
            "line 1: template_dir: '/a\\x00b' has control",
        ),
        ("x = " + "[" * 5000 + "]" * 5000, "what no setting needs"),
        ("x = " + "9" * 5000, "what no setting needs"),
        ('[[network]]\ninterface = "eth1"\ndomain = "a..b"', "isn't a domain"),
        ('[[network]]\ninterface = "eth1"\nlease_time = 5', "out of range"),
        ('tftp = 3\n[[network]]\ninterface = "eth1"', "has to be a table; write [tftp]"),
        (
            '[[network]]\ninterface = "eth1"\ndhcp = "proxy"\npool = "10.77.0.100-10.77.0.199"',
            "the other DHCP server gives the addresses; leave it out",
        ),
        (f'{ETH1}[cluster]\nuser = "root"', "line 4: cluster.user: 'root' is on every node anyway"),
        (f'{ETH1}[cluster]\nuser = "al ice"', "line 4: cluster.user: 'al ice' can't name a user"),
        (f'{ETH1}[cluster]\nuser = "-x"', "can't name a user"),
        (f'{ETH1}[cluster]\nuser = "Ålice"', "can't name a user"),
        (f'{ETH1}[cluster]\nuser = "{"a" * 33}"', "can't name a user"),
        (f"{ETH1}[cluster]\nuser = 1000", "1000 can't name a user"),
        (f'{ETH1}[cluster]\nusr = "alice"', "cluster.usr: isn't a setting; did you mean user?"),
        (f'{ETH1}[cluster]\nshared = "srv"', "line 4: cluster.shared: 'srv' has to begin with a slash"),
        (f'{ETH1}[cluster]\nshared = "/"', "would hide part of a node's system"),
        (f'{ETH1}[cluster]\nshared = "/usr/share"', "would hide part of a node's system"),
        (f'{ETH1}[cluster]\nshared = "/srv/../etc"', "would hide part of a node's system"),
        (f'{ETH1}[cluster]\nshared = "/srv/my files"', "kernel command lines"),
        (
            f'state_dir = "/srv/netbootd"\n{ETH1}[cluster]\nshared = "/srv"',
            "line 5: cluster.shared: /srv and state_dir, /srv/netbootd, lie one in the other",
        ),
        (f'{ETH1}[hosts]\nchrony_file = "x"', "line 4: hosts.chrony_file: 'x' has to begin with a slash"),
    ],
)
def test_a_fault_says_what_would_be_right(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in "\n".join(_problems(tmp_path, text))


def test_a_user_and_a_shared_directory_are_nobodys_and_none_unless_named(tmp_path: Path) -> None:
    assert load(_write(tmp_path / "a.toml", ETH1)).cluster.model_dump() == {"user": None, "shared": None}
    text = f'{ETH1}[cluster]\nuser = "_pi-2"\nshared = "/srv"'
    cluster = load(_write(tmp_path / "b.toml", text)).cluster
    assert (cluster.user, cluster.shared) == ("_pi-2", Path("/srv"))


def test_a_missing_file_names_the_command_that_writes_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="netbootctl setup"):
        load(tmp_path / "none.toml")


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="[]{}=\"'.,#\n ab1/-", max_size=120))
def test_no_text_makes_it_fail_otherwise(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.toml"
    path.write_text(text + '\n[[network]]\ninterface = "eth1"\n')
    try:
        load(path)
    except ConfigError as error:
        assert error.problems


OPTIONS = """
[[network]]
interface = "eth1"
address = "10.77.0.1/24"
[network.options]
ntp-servers = ["10.77.0.1", "10.77.0.2"]
time-offset = -3600
ip-forwarding = true
interface_mtu = 9000
option-224 = "hex:0a0b"
domain-search = "none"
[[network]]
interface = "eth2"
address = "10.78.0.1/24"
echo_client_id = false
options = {"log-servers" = "10.78.0.9, 10.78.0.8"}
"""


def test_dhcp_options_of_a_network_are_read_into_the_octets_that_are_sent(tmp_path: Path) -> None:
    first, second = load(_write(tmp_path / "netbootd.toml", OPTIONS)).networks_on({})
    assert first.options == {
        42: bytes((10, 77, 0, 1, 10, 77, 0, 2)),
        2: b"\xff\xff\xf1\xf0",
        19: b"\x01",
        26: b"\x23\x28",
        224: b"\x0a\x0b",
        119: b"",
    }
    assert (first.echo_client_id, second.echo_client_id) == (True, False)
    assert second.options == {7: bytes((10, 78, 0, 9, 10, 78, 0, 8))}


def test_a_key_below_the_options_is_sent_back_above_them(tmp_path: Path) -> None:
    text = '[[network]]\ninterface = "eth1"\n[network.options]\nrange = "10.77.0.10-10.77.0.99"\n'
    assert _problems(tmp_path, text)[1:] == [
        "line 4: network[1].options.range: is a key of the [[network]]: write `range` above [network.options]"
    ]


def test_what_is_wrong_with_a_dhcp_option_is_told_with_its_line(tmp_path: Path) -> None:
    text = """
[[network]]
interface = "eth1"
address = "10.77.0.1/24"
[network.options]
ntp-servers = "10.77.0"
lease-time = "1h"
routers = "10.77.0.254"
ntp-server = "10.77.0.1"
42 = "10.77.0.2"
tftp-server-nam = "x"
domain-search = 3.5
[[network]]
interface = "eth2"
options = 7
[network.nonsense]
a = 1
"""
    assert [line.replace("network[1].options.", "") for line in _problems(tmp_path, text)[1:]] == [
        "line 6: ntp-servers: '10.77.0' isn't an IPv4 address; write it as 10.77.0.1, 10.77.0.2",
        "line 7: lease-time: option 51 (lease-time) can't be set: a node's lease never ends, because its root"
        " hangs on it; `lease_time` of the [[network]] is for machines from the pool",
        "line 8: routers: write `router` in the [[network]] instead",
        "line 10: 42: option 42 stands here twice",
        "line 11: tftp-server-nam: there is no DHCP option 'tftp-server-nam'; did you mean tftp-server-name?",
        "line 12: domain-search: '3.5' has to be a text, a number, true or false; write it as"
        " cluster.example, example",
        "line 15: network[2].options: 7 has to be a table; write [network.options]",
        "line 16: network[2].nonsense: isn't a setting; known here: interface, address, subnet, dhcp, range,"
        " pool, router, dns, domain, lease_time, router_advertisement, echo_client_id, options",
    ]
