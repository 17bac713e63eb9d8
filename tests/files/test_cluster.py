"""Names: what leads to whom, with a domain and without."""

from ipaddress import IPv4Address, IPv4Interface

import pytest

from netbootd.files import cluster
from netbootd.files.cluster import Cluster
from netbootd.network import Network
from netbootd.node import Mac, Node

ETH1 = Network(interface="eth1", address=IPv4Interface("10.77.0.1/24"), domain="cluster")
ETH2 = Network(interface="eth2", address=IPv4Interface("10.78.0.1/24"))
KEY = "ssh-ed25519 AAAA"


def node(name: str, address: str) -> Node:
    number = int(IPv4Address(address)).to_bytes(4, "big")
    return Node(
        name=name,
        macs=(Mac.from_octets(b"\x52\x54" + number),),
        address=IPv4Address(address),
        machine_id=name,
    )


def made(*nodes: Node) -> Cluster:
    return Cluster(
        nodes=cluster.members(nodes, (ETH1, ETH2), {n.machine_id: KEY for n in nodes}, {}),
        head=cluster.head("head", (ETH1, ETH2), [KEY]),
        authorized_keys=(),
    )


ALL = made(node("b", "10.78.0.5"), node("a", "10.77.0.5"), node("c", "192.168.1.1"))


def test_the_full_name_comes_first_and_without_a_domain_there_is_only_the_short_one() -> None:
    assert cluster.hosts_lines(ALL) == ["10.77.0.5 a.cluster a", "10.78.0.5 b", "192.168.1.1 c"]
    assert cluster.known_hosts_lines(ALL)[:2] == [f"a.cluster,a,10.77.0.5 {KEY}", f"b,10.78.0.5 {KEY}"]


def test_the_head_node_has_its_name_on_each_network() -> None:
    assert [(str(a.address), a.names) for a in ALL.head.addresses] == [
        ("10.77.0.1", ("head.cluster", "head")),
        ("10.78.0.1", ("head",)),
    ]


@pytest.mark.parametrize(
    ("own", "name", "names"),
    [
        ("Head.Example.org", "head", ("head.cluster", "head")),
        ("localhost", "localhost", ()),
        ("localhost.localdomain", "localhost", ()),
    ],
)
def test_a_head_node_called_localhost_is_known_by_address_alone(
    own: str, name: str, names: tuple[str, ...]
) -> None:
    found = cluster.head(own, [ETH1], [])
    assert (found.name, found.addresses[0].names) == (name, names)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b"10.77.0.5 a", 0),
        (b"10.77.0.5 a.cluster a other", 0),
        (b"127.0.1.1 A.Cluster", 1),
        (b"# 1.2.3.4 a", 0),
        (b"1.2.3.4 x # a", 0),
        (b"1.2.3.4 x a b", 2),
        (b"fe80::5054:ff:fe00:1%eth1 a", 0),
        (b"a", 0),
        (b"\xff\x00 \xfe", 0),
    ],
)
def test_contradictions(line: bytes, told: int) -> None:
    assert len(cluster.contradictions(b"\n" + line + b"\n", ALL, "hosts")) == told
