"""The registry changed as a whole: in one transaction, or not at all."""

from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from netbootd.contents import Contents, NodeRecord, Rewrite
from netbootd.errors import HostError, UserError
from netbootd.node import Booted, Mac, RootMode
from netbootd.registry import NodeRequest, Profile, Registry
from tests.exchange.nodes import CLUSTER


def _node(number: int, profile: str | None = None) -> NodeRecord:
    return NodeRecord(
        name=f"n{number:02}",
        macs=(Mac(f"52:54:00:00:00:{number:02x}"),),
        address=IPv4Address("10.77.0.10") + number,
        machine_id=f"{number:032x}",
        profile=profile,
    )


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """Two nodes, one of which inherits."""
    made = Registry.open(tmp_path / "registry.db")
    nodes = tuple((None, _node(number, "base" if number == 2 else None)) for number in (1, 2))
    made.rewrite(Rewrite(before=Contents(), nodes=nodes, profiles=(Profile(name="base"),)))
    return made


def test_what_two_nodes_exchange_arrives_and_what_they_booted_stays_theirs(registry: Registry) -> None:
    registry.set_booted("n01", "debian", 3, RootMode.RAM, 0.0)
    before = registry.contents()
    first, second = before.nodes
    changed = (
        (first, replace(first, name="n02", address=second.address, macs=second.macs)),
        (second, replace(second, name="n01", address=first.address, macs=first.macs, profile=None)),
    )
    version = registry.version
    registry.rewrite(Rewrite(before=before, nodes=changed))
    assert registry.version != version
    assert {node.name: node.machine_id for node in registry.nodes()} == {
        "n02": first.machine_id,
        "n01": second.machine_id,
    }
    assert registry.booted() == {"n02": Booted("debian", 3, RootMode.RAM)}
    assert registry.profiles() == []


def test_a_change_made_from_what_is_no_longer_there_is_refused(registry: Registry) -> None:
    before = registry.contents()
    request = NodeRequest(name="n03", macs=(Mac("52:54:00:00:00:03"),))
    registry.add_nodes([request], CLUSTER.networks, {})
    with pytest.raises(UserError, match="changed meanwhile"):
        registry.rewrite(Rewrite(before=before, nodes=((before.nodes[0], None),)))
    assert len(registry.nodes()) == 3


@pytest.mark.parametrize(
    "wrong",
    [
        replace(_node(3), macs=(Mac("52:54:00:00:00:01"),)),
        replace(_node(3), address=_node(1).address),
        replace(_node(3), machine_id=_node(1).machine_id),
        replace(_node(3), profile="missing"),
    ],
    ids=["card", "address", "machine-id", "profile"],
)
def test_where_one_node_cannot_be_written_none_is(registry: Registry, wrong: NodeRecord) -> None:
    """The plan checks all this before; the file itself holds it too."""
    before = registry.contents()
    nodes = ((before.nodes[1], None), (None, _node(4)), (None, wrong))
    with pytest.raises(HostError):
        registry.rewrite(Rewrite(before=before, nodes=nodes, profiles=before.profiles))
    assert registry.contents() == before


def test_a_node_without_a_machine_id_is_given_one(registry: Registry) -> None:
    before = registry.contents()
    new = replace(_node(3), machine_id="")
    registry.rewrite(Rewrite(before=before, nodes=((None, new),), profiles=before.profiles))
    assert len(registry.node("n03").machine_id) == 32
