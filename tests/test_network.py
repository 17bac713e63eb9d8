"""Networks and ranges: which address a node may have."""

from ipaddress import IPv4Address, IPv4Interface

import pytest

from netbootd.errors import UserError
from netbootd.network import AddressRange, Network, network_of

NETWORK = Network(
    interface="eth1",
    address=IPv4Interface("10.77.0.1/24"),
    range=AddressRange.parse("10.77.0.10-10.77.0.99"),
    pool=AddressRange.parse("10.77.0.100-10.77.0.199"),
    router=IPv4Address("10.77.0.254"),
)


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("10.78.0.5", "outside"),
        ("10.77.0.1", "head node's own"),
        ("10.77.0.0", "names the network"),
        ("10.77.0.255", "names the network"),
        ("10.77.0.254", "router"),
        ("10.77.0.150", "pool"),
    ],
)
def test_an_address_no_node_can_have_is_refused_with_the_reason(address: str, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        NETWORK.check_node_address(IPv4Address(address))


@pytest.mark.parametrize("address", ["10.77.0.10", "10.77.0.99", "10.77.0.200"])
def test_any_other_address_of_the_network_will_do(address: str) -> None:
    NETWORK.check_node_address(IPv4Address(address))


@pytest.mark.parametrize(
    "text", ["", "10.0.0.1", "10.0.0.9-10.0.0.1", "10.0.0.1-x", "10.0.0.1-10.0.0.2-10.0.0.3"]
)
def test_a_range_runs_from_the_lower_to_the_higher(text: str) -> None:
    with pytest.raises(UserError):
        AddressRange.parse(text)


def test_the_most_exact_network_wins() -> None:
    wide = Network(interface="eth2", address=IPv4Interface("10.0.0.1/8"))
    assert network_of(IPv4Address("10.77.0.5"), (wide, NETWORK)) is NETWORK
    assert network_of(IPv4Address("10.99.0.5"), (wide, NETWORK)) is wide
    assert network_of(IPv4Address("192.168.0.5"), (wide, NETWORK)) is None


def test_a_url_names_the_port_only_where_it_must() -> None:
    assert NETWORK.http == "http://10.77.0.1"
    other = Network(interface="eth1", address=IPv4Interface("10.77.0.1/24"), http_port=8080)
    assert other.http == "http://10.77.0.1:8080"
