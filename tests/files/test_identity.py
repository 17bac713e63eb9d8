"""Who a node is: what is rendered onto it that no other node has, or that all have alike."""

import subprocess
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from netbootd.files.apply import carry_out, plan
from netbootd.files.change import ChangeTree
from tests.files.head import Head


def test_motd_says_who_the_node_is_and_what_becomes_of_what_is_written(head: Head) -> None:
    head.add(1, 2)
    head.registry.set_node("n2", {"image": None, "root": "persistent"}, head.networks)
    head.apply()
    assert head.text("nodes/n1/etc/motd") == (
        "This is n1.cluster (10.77.1.1), started over the network by head\n"
        "with the image debian, its root in mode overlay.\n"
        "What is written here lies in memory and is gone with the next start.\n"
    )
    told = head.text("nodes/n2/etc/motd")
    assert "with the image none, its root in mode persistent." in told and "gone with" not in told


def test_the_hostfiles_name_all_nodes_with_the_cores_that_they_told_of(head: Head) -> None:
    head.add(1, 2)
    head.apply()
    assert slots(head, "mpich") == ["n1:1", "n2:1"]
    head.registry.learn_cores("n2", 12)
    changed = [change.step.path for change in head.apply().changes if isinstance(change, ChangeTree)]
    assert sorted(changed) == ["etc/mpi/hostfile.mpich", "etc/mpi/hostfile.openmpi"]
    assert slots(head, "mpich") == ["n1:1", "n2:12"]
    assert slots(head, "openmpi") == ["n1 slots=1", "n2 slots=12"]


def slots(head: Head, which: str) -> list[str]:
    text = head.text(f"common/etc/mpi/hostfile.{which}")
    return [line for line in text.splitlines() if not line.startswith("#")]


CHRONY, TIMESYNCD = "etc/chrony/sources.d/netbootd.sources", "etc/systemd/timesyncd.conf.d/netbootd.conf"


def lines(head: Head, node: str, path: str) -> list[str] | None:
    file = head.state / "nodes" / node / path
    if not file.exists():
        return None
    return [line for line in file.read_text().splitlines() if not line.startswith("#")]


def test_time_comes_from_the_head_node_unless_dhcp_names_others(head: Head) -> None:
    head.add(1, 2, 3)
    head.registry.set_node("n2", {"dhcp_options": {42: bytes([10, 77, 0, 2, 10, 77, 0, 3])}}, head.networks)
    head.registry.set_node("n3", {"dhcp_options": {42: b""}}, head.networks)
    head.apply()
    assert lines(head, "n1", CHRONY) == ["server 10.77.0.1 iburst"]
    assert lines(head, "n2", CHRONY) == ["server 10.77.0.2 iburst", "server 10.77.0.3 iburst"]
    assert lines(head, "n2", TIMESYNCD) == ["[Time]", "NTP=10.77.0.2 10.77.0.3"]
    assert lines(head, "n3", CHRONY) is None
    # It would ask nobody else, and the head node may serve no time.
    assert [lines(head, name, TIMESYNCD) for name in ("n1", "n3")] == [None] * 2
    away = carry_out(plan(replace(head.inputs, networks=())))
    assert away.faults == () and lines(head, "n1", CHRONY) is None, "its network is away"


def test_the_networks_time_servers_are_those_of_its_nodes(tmp_path: Path) -> None:
    network = {"interface": "eth1", "address": "10.77.0.1/16", "options": {"ntp-servers": "10.77.0.1"}}
    with Head(tmp_path, network=[network]) as head:
        head.add(1)
        head.apply()
        assert lines(head, "n1", CHRONY) == ["server 10.77.0.1 iburst"]
        assert lines(head, "n1", TIMESYNCD) == ["[Time]", "NTP=10.77.0.1"]


def test_ids_are_unique_stable_and_go_with_the_node(head: Head) -> None:
    head.add(*range(1, 30))
    head.apply()

    def ids(name: str) -> tuple[str, bytes]:
        tree = head.state / "nodes" / name / "etc"
        return (tree / "machine-id").read_text(), (tree / "hostid").read_bytes()

    before = [ids(f"n{number}") for number in range(1, 30)]
    for column in zip(*before, strict=True):
        assert len(set(column)) == len(before)
    assert all(len(machine) == 33 and len(host) == 4 for machine, host in before)
    head.registry.rename_node("n1", "first", {})
    head.registry.remove_nodes(["n2"])
    head.apply()
    assert ids("first") == before[0]
    assert [ids(f"n{number}") for number in range(3, 30)] == before[2:]


def test_every_address_has_a_host_id_even_one_of_white_space(head: Head) -> None:
    head.add(1)
    head.registry.set_node("n1", {"address": IPv4Address("10.77.13.10")}, head.networks)
    head.apply()
    assert (head.state / "nodes/n1/etc/hostid").read_bytes() == b"\x0a\x0d\x4d\x0a"


@pytest.mark.net
@pytest.mark.needs("hostid", "unshare")
def test_hostid_shows_the_address(head: Head) -> None:
    """By the C library, which is where programs have it from."""
    head.add(1)
    head.apply()
    layers = head.directory / "layers"
    script = (
        f"mkdir {layers} && mount -t tmpfs tmpfs {layers} && mkdir {layers}/upper {layers}/work &&"
        f" cp {head.state}/nodes/n1/etc/hostid {layers}/upper/ &&"
        f" mount -t overlay -o lowerdir=/etc,upperdir={layers}/upper,workdir={layers}/work overlay /etc"
        " && hostid"
    )
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "0a4d0101\n"
