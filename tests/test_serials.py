"""Serial numbers that boards tell: noted once, and no flood of them reaches the registry."""

import sqlite3
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

import pytest

from netbootd.network import Network
from netbootd.node import Mac
from netbootd.registry import NodeRequest, Registry
from netbootd.serials import TRIED_EVERY, Serials
from netbootd.stage import Event, Level

NETWORK = Network(interface="eth1", address=IPv4Interface("10.77.0.1/24"))
FIRST, SECOND = Mac("52:54:00:00:00:01"), Mac("52:54:00:00:00:02")


class Told:
    """A registry with two nodes, what was told of them, and a clock."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.events: list[Event] = []
        self.now = 1_000_000.0
        self.serials = Serials(registry, self.events.append, lambda: self.now)

    def tell(self, name: str, serial: str) -> None:
        node = self.registry.node(name)
        self.serials.learn(node, serial, node.mac)


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    with Registry.open(tmp_path / "registry.db", patience=0.05) as registry:
        requests = [
            NodeRequest(name=name, macs=(mac,), address=IPv4Address(f"10.77.0.1{i}"))
            for i, (name, mac) in enumerate((("n01", FIRST), ("n02", SECOND)))
        ]
        registry.add_nodes(requests, (NETWORK,), {})
        yield Told(registry)


def test_a_number_is_noted_once(told: Told) -> None:
    for _ in range(3):
        told.tell("n01", "bd989ae1")
    assert [event.text for event in told.events] == ["its board's serial number is bd989ae1: noted"]
    assert told.registry.node("n01").serial == "bd989ae1"


def test_a_flood_of_clashes_takes_the_registry_s_lock_a_few_times_a_second(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each try waits for who writes, and the event loop with it."""
    told.tell("n01", "bd989ae1")
    tries: list[str] = []
    learn = told.registry.learn_serial

    def counted(name: str, serial: str) -> bool:
        tries.append(serial)
        return learn(name, serial)

    monkeypatch.setattr(told.registry, "learn_serial", counted)
    for _ in range(1000):
        told.tell("n02", "bd989ae1")
    assert len(tries) == 1
    for number in range(1000):
        told.tell("n02", f"{number:08x}" if number % 2 else "bd989ae1")
    assert len(tries) <= 20
    told.now += TRIED_EVERY
    told.tell("n01", "91cdf03d")
    assert tries[-1] == "91cdf03d"
    assert told.events[-1].level is Level.ERROR
    assert "n01 has serial bd989ae1, and its board says 91cdf03d" in told.events[-1].text


def test_a_number_that_could_not_be_noted_is_tried_again(told: Told, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "registry.db", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        told.tell("n01", "bd989ae1")
        other.execute("ROLLBACK")
    other.close()
    assert "could not be noted" in told.events[-1].text
    told.now += TRIED_EVERY
    told.tell("n01", "bd989ae1")
    assert told.registry.node("n01").serial == "bd989ae1"
