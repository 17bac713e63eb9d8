"""Two machines without a disk, one BIOS and one UEFI, become nodes: the whole path, on real firmware.

Both are powered on at once, and the tests look at what has become of them: their consoles, what they say
over SSH, what the head node noted.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from netbootd.events import timeline
from netbootd.node import Mac
from netbootd.stage import Stage
from tests.lab.head import IMAGE, HeadNode, borrowed_image
from tests.lab.machine import KINDS, Machine
from tests.lab.namespace import Lab
from tests.lab.process import LabError

pytestmark = [pytest.mark.boot, pytest.mark.slow]

MACS = {"n01": "52:54:00:77:00:01", "n02": "52:54:00:77:00:02"}
FIRMWARE = {"n01": "bios", "n02": "uefi"}
LOGIN = 420.0
"""Seconds to the login prompt: about 50 on two idle cores, several times that on cores that are shared."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HeadNode]:
    """A head node with both machines powered on."""
    for kind in FIRMWARE.values():
        if reason := KINDS[kind].missing():
            pytest.skip(reason)
    with (
        borrowed_image(f"boot-{tmp_path_factory.getbasetemp().name}") as head,
        Lab(directory=head.logs) as lab,
    ):
        head.join(lab)
        for name, mac in MACS.items():
            head.run("netbootctl", "node", "add", name, "--mac", mac, "--image", IMAGE)
        head.start()
        for name, kind in FIRMWARE.items():
            head.machine(name, kind, MACS[name]).power_on()
        yield head


@pytest.fixture(params=sorted(FIRMWARE))
def node(request: pytest.FixtureRequest, cluster: HeadNode) -> Machine:
    """Each of the machines, at its login prompt."""
    name = str(request.param)
    machine = next(machine for machine in cluster.machines if machine.name == name)
    try:
        machine.wait_for(rf"^{name} login:", LOGIN)
    except LabError as error:
        pytest.fail(f"{error}\n{cluster.what_happened()}")
    return machine


def on(head: HeadNode, name: str, *command: str) -> str:
    """What `command` says on a node; retried while its sshd isn't up yet. Nothing may be asked."""
    deadline = time.monotonic() + 90
    while True:
        words = ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5", name, *command]
        done = head.lab.run(words, check=False, env=head.environment)
        if done.returncode != 255 or time.monotonic() > deadline:  # 255: ssh itself failed
            break
        time.sleep(1)
    if done.returncode != 0:
        pytest.fail(f"ssh {name} {' '.join(command)}: exit {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout.strip()


def test_it_comes_to_a_login_prompt_under_its_own_name(node: Machine) -> None:
    assert f"{node.name} login:" in node.output()


def test_the_head_node_reaches_it_by_name_without_a_password(cluster: HeadNode, node: Machine) -> None:
    assert on(cluster, node.name, "hostname") == node.name


def test_it_reaches_the_other_nodes_without_a_question(cluster: HeadNode, node: Machine) -> None:
    for other in MACS:
        on(cluster, other, "true")
        assert on(cluster, node.name, "ssh", "-o", "BatchMode=yes", other, "hostname") == other


def test_the_head_node_has_noted_every_stage_of_its_boot(cluster: HeadNode, node: Machine) -> None:
    on(cluster, node.name, "true")
    deadline = time.monotonic() + 60
    stages: list[Stage] = []
    while Stage.READY not in stages and time.monotonic() < deadline:
        events = timeline(cluster.state / "registry" / "events.db", Mac(node.mac))
        stages = [event.stage for event in events if event.stage]
        time.sleep(0.5)
    # This BIOS machine has iPXE in its card's ROM: it needs no loader.
    expected = set(Stage) - ({Stage.LOADER} if node.kind.name == "bios" else set())
    assert expected == set(stages), f"not seen: {sorted(expected - set(stages))}"
    assert stages.index(Stage.DISCOVER) < stages.index(Stage.KERNEL) < stages.index(Stage.READY)
    said = cluster.run("netbootctl", "why", node.name)
    assert "ready" in said


def test_what_it_writes_stays_in_its_memory(cluster: HeadNode, node: Machine) -> None:
    on(cluster, node.name, "echo", "mine", ">/etc/written-here")
    assert on(cluster, node.name, "cat", "/etc/written-here") == "mine"
    assert on(cluster, node.name, "findmnt", "-n", "-o", "FSTYPE", "/") == "overlay"
    images = cluster.state / "images" / IMAGE
    assert not list(images.glob("*/root/etc/written-here"))


def test_no_service_of_it_has_failed(cluster: HeadNode, node: Machine) -> None:
    failed = on(cluster, node.name, "systemctl", "--failed", "--no-legend", "--plain")
    assert failed == ""


def test_it_can_not_read_another_nodes_files(cluster: HeadNode, node: Machine) -> None:
    other = next(name for name in MACS if name != node.name)
    options = "ro,vers=4.2,proto=tcp,addr=10.77.0.1"
    for name, readable in ((node.name, True), (other, False)):
        files = cluster.state / "nodes" / name
        assert (files / "etc" / "ssh").is_dir()
        command = f"mount -i -t nfs4 -o {options} 10.77.0.1:{files} /mnt && ls /mnt; umount /mnt || true"
        assert ("etc" in on(cluster, node.name, command).split()) is readable


def test_its_host_key_and_machine_id_are_the_ones_registered(cluster: HeadNode, node: Machine) -> None:
    shown = json.loads(cluster.run("netbootctl", "node", "show", node.name, "--json"))
    assert on(cluster, node.name, "cat", "/etc/machine-id") == shown["machine_id"]
    public = (cluster.state / "nodes" / node.name / "etc/ssh/ssh_host_ed25519_key.pub").read_text()
    assert on(cluster, node.name, "cat", "/etc/ssh/ssh_host_ed25519_key.pub") == public.strip()
    assert Path("/etc/machine-id").read_text().strip() != shown["machine_id"]


def test_after_a_reboot_it_is_the_same_node_and_what_it_wrote_is_gone(cluster: HeadNode) -> None:
    machine = cluster.machines[0]
    machine.wait_for(f"^{machine.name} login:", LOGIN)
    before = on(
        cluster, machine.name, "touch /written-before; cat /etc/machine-id /etc/ssh/ssh_host_ed25519_key.pub"
    )
    cluster.run("ssh", machine.name, "systemctl", "reboot", check=False)
    try:
        machine.wait_for(rf"(?s){machine.name} login:.*SeaBIOS.*{machine.name} login:", LOGIN)
    except LabError as error:
        pytest.fail(f"{error}\n{cluster.what_happened()}")
    assert on(cluster, machine.name, "cat /etc/machine-id /etc/ssh/ssh_host_ed25519_key.pub") == before
    assert on(cluster, machine.name, "ls", "/").split().count("written-before") == 0
