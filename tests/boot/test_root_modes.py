"""One cluster, a node in each root mode: overlay, persistent and ram, to login, and what of it stays.

The one in memory comes first, while no NFS server runs. Then the others boot beside each other, write, reboot
and see what became of it; and the NFS server and netbootd are restarted under a node that lives on them.
"""

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from netbootd.events import timeline
from netbootd.images import ram
from netbootd.node import Mac
from netbootd.stage import Stage
from tests.lab.head import IMAGE, HeadNode, borrowed_image
from tests.lab.machine import KINDS, Machine
from tests.lab.namespace import Lab
from tests.lab.process import LabError

pytestmark = [
    pytest.mark.boot,
    pytest.mark.slow,
    pytest.mark.as_root("persistent roots are mounted"),
    pytest.mark.needs("mksquashfs"),
]

LOGIN = 600.0
"""Seconds to the login prompt: about 50 on two idle cores."""
MACS = {"n01": "52:54:00:77:04:01", "n02": "52:54:00:77:04:02", "n03": "52:54:00:77:04:03"}
MODES = {"n01": "overlay", "n02": "persistent", "n03": "ram"}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HeadNode]:
    """A head node whose NFS server is stopped; nodes whose mode is the default, their own, a profile's."""
    if reason := KINDS["bios"].missing():
        pytest.skip(reason)
    with (
        borrowed_image(f"modes-{tmp_path_factory.getbasetemp().name}") as head,
        Lab(directory=head.logs) as lab,
    ):
        head.join(lab)
        head.run("netbootctl", "profile", "set", "memory", "--image", IMAGE, "--root", "ram")
        for name, how in {
            "n01": ("--image", IMAGE),
            "n02": ("--image", IMAGE, "--root", "persistent"),
            "n03": ("--profile", "memory"),
        }.items():
            head.run("netbootctl", "node", "add", name, "--mac", MACS[name], *how, timeout=600)
        head.start()
        assert head.ganesha is not None
        head.ganesha.stop()
        yield head
        for machine in head.machines:
            machine.power_off()


def power_on(head: HeadNode, name: str) -> Machine:
    machine = head.machine(name, "bios", MACS[name])
    machine.power_on()
    return machine


def at_login(head: HeadNode, machine: Machine, times: int = 1) -> None:
    """Wait for its prompt, and its ready event."""
    try:
        machine.wait_for("(?s)" + ".*".join([f"{machine.name} login:"] * times), LOGIN)
    except LabError as error:
        pytest.fail(f"{error}\n{head.what_happened()}")
    soon(lambda: Stage.READY in stages(head, machine.name), f"{machine.name} is ready")


def stages(head: HeadNode, name: str) -> list[Stage]:
    """Of its latest boot."""
    events = timeline(head.state / "registry" / "events.db", Mac(MACS[name]))
    return [event.stage for event in events if event.stage]


def soon(true: Callable[[], bool], what: str, seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.5)


def attempt(head: HeadNode, name: str, command: str) -> tuple[int, str]:
    """How a command ends on a node, and what it says; again while its sshd isn't up."""
    words = ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5", name, command]
    deadline = time.monotonic() + 90
    while True:
        done = head.lab.run(words, check=False, env=head.environment)
        if done.returncode != 255 or time.monotonic() > deadline:  # 255: ssh itself failed
            return done.returncode, (done.stdout + done.stderr).strip()
        time.sleep(1)


def on(head: HeadNode, name: str, command: str) -> str:
    status, said = attempt(head, name, command)
    assert status == 0, f"{command}: {said}"
    return said


def cost(head: HeadNode, name: str) -> str:
    """What its root costs a node: for whoever reads the test's output."""
    facts = dict(re.findall(r"(\w+): +(\d+) kB", on(head, name, "cat /proc/meminfo")))
    total, free, shared = (int(facts[key]) // 1024 for key in ("MemTotal", "MemAvailable", "Shmem"))
    return f"{MODES[name]}: {total - free} of {total} MiB used, {shared} of them files in memory"


@pytest.fixture(scope="module")
def in_memory(cluster: HeadNode) -> Machine:
    """n03 at its login prompt; nobody serves NFS."""
    machine = power_on(cluster, "n03")
    at_login(cluster, machine)
    print(f"login after {machine.elapsed:.0f} s; {cost(cluster, 'n03')}")
    return machine


def test_a_node_in_memory_comes_up_while_no_nfs_server_runs(cluster: HeadNode, in_memory: Machine) -> None:
    assert on(cluster, "n03", "hostname") == "n03"
    kinds = on(cluster, "n03", "cut -d' ' -f3 /proc/mounts").split()
    assert "overlay" in kinds
    assert not any(kind.startswith("nfs") for kind in kinds)
    assert on(cluster, "n03", "findmnt -no FSTYPE /") == "overlay"
    assert on(cluster, "n03", "systemctl --failed --no-legend --plain") == ""
    shown = cluster.run("netbootctl", "why", "n03")
    assert "ram, from memory" in shown, shown
    assert in_memory.running


def test_it_has_its_own_files_with_their_modes_and_the_images_capabilities(
    cluster: HeadNode, in_memory: Machine
) -> None:
    own = cluster.state / "nodes/n03"
    for name in ("etc/machine-id", "etc/ssh/ssh_host_ed25519_key.pub", "etc/hostname"):
        assert on(cluster, "n03", f"cat /{name}") == (own / name).read_text().strip()
    modes = "stat -c %a:%U /etc/ssh/ssh_host_ed25519_key /root/.ssh /root/.ssh/id_ed25519"
    assert on(cluster, "n03", modes).split() == ["600:root", "700:root", "600:root"]
    assert "cap_net_raw" in on(
        cluster, "n03", "getfattr -m- -n security.capability /usr/bin/ping || getcap /usr/bin/ping"
    )


def test_once_it_runs_nobody_on_it_gets_its_files_over_http(cluster: HeadNode, in_memory: Machine) -> None:
    for path in ("/ram/nodes/n03.tar", "/ram/common.tar"):
        request = f'exec 3<>/dev/tcp/10.77.0.1/80; printf "GET {path} HTTP/1.0\\r\\n\\r\\n" >&3; head -1 <&3'
        ask = f"bash -c '{request}'"
        assert "403" in on(cluster, "n03", f"runuser -u nobody -- {ask}")
        low = "sysctl -qw net.ipv4.ip_unprivileged_port_start=512 net.ipv4.ip_local_port_range='512 1023'"
        back = (
            "sysctl -qw net.ipv4.ip_local_port_range='32768 60999' net.ipv4.ip_unprivileged_port_start=1024"
        )
        assert "403" in on(cluster, "n03", f"{low}; {ask}; {back}")
    assert "isn't booting" in cluster.run("netbootctl", "why", "n03")


def test_it_runs_on_without_a_head_node(cluster: HeadNode, in_memory: Machine) -> None:
    assert cluster.netbootd is not None
    cluster.netbootd.stop()
    assert on(cluster, "n03", "cat /usr/bin/* | md5sum | cut -c1-4; uptime -p; echo fine").endswith("fine")
    in_memory.power_off()


@pytest.fixture(scope="module")
def both(cluster: HeadNode, in_memory: Machine) -> dict[str, Machine]:
    """n01 and n02 at their login prompts, with the NFS server running again."""
    in_memory.power_off()
    if cluster.netbootd is not None:
        cluster.netbootd.stop()
    cluster.start()
    machines = {name: power_on(cluster, name) for name in ("n01", "n02")}
    for name, machine in machines.items():
        at_login(cluster, machine)
        print(f"login after {machine.elapsed:.0f} s; {cost(cluster, name)}")
    return machines


def test_each_node_has_the_root_that_it_was_given(cluster: HeadNode, both: dict[str, Machine]) -> None:
    assert on(cluster, "n01", "findmnt -no FSTYPE /") == "overlay"
    assert on(cluster, "n02", "findmnt -no FSTYPE /") == "nfs4"
    for name in both:
        assert on(cluster, name, "hostname") == name
        assert on(cluster, name, "systemctl --failed --no-legend --plain") == ""


def test_over_nfs_it_works_like_a_disk(cluster: HeadNode, both: dict[str, Machine]) -> None:
    work = (
        "cd /srv && mkdir -p a && mv a b && echo one >b/x && ln b/x b/y && exec 5<b/x && rm b/x && cat <&5"
        " && exec 5<&- && flock b/y dd if=/dev/zero of=b/z bs=64k count=32 conv=fsync status=none"
        " && rm -r b && useradd --create-home mallory && echo done"
    )
    assert on(cluster, "n02", work).split()[-1] == "done"


def test_after_a_reboot_what_was_written_is_there_or_gone(
    cluster: HeadNode, both: dict[str, Machine]
) -> None:
    for name, machine in both.items():
        on(cluster, name, "echo mine >/etc/written; echo mine >/etc/motd; sync")
        attempt(cluster, name, "systemctl reboot")
        machine.wait_for("(?s)login:.*SeaBIOS", LOGIN)
    for machine in both.values():
        at_login(cluster, machine, times=2)
        assert "Kernel panic" not in machine.output()
    assert attempt(cluster, "n01", "cat /etc/written")[0] == 1
    assert on(cluster, "n02", "cat /etc/written") == "mine"
    assert on(cluster, "n02", "id -un mallory") == "mallory"
    changed = next(path for path in cluster.state.glob("roots/*/changes/upper/etc/written"))
    assert changed.read_text() == "mine\n"
    assert not list((cluster.state / "images").glob("*/*/root/etc/written"))


def test_a_root_that_stays_outlives_a_restart_of_what_serves_it(
    cluster: HeadNode, both: dict[str, Machine]
) -> None:
    assert cluster.ganesha is not None
    assert cluster.netbootd is not None
    cluster.ganesha.stop()
    cluster.netbootd.stop()
    cluster.start()
    cluster.run("netbootctl", "apply")
    assert on(cluster, "n02", "cat /etc/written; echo again >/etc/again; sync; ls /usr/share | wc -l")
    assert any(
        Path(path).read_text() == "again\n" for path in cluster.state.glob("roots/*/changes/upper/etc/again")
    )
    assert on(cluster, "n01", "ls /usr/share | wc -l")


def test_what_nodes_in_memory_need_is_there_for_them_alone(cluster: HeadNode) -> None:
    generation = next((cluster.state / "images" / IMAGE).glob("[0-9]*"))
    assert (generation / "boot" / ram.NAME).is_file()
    assert sorted(path.name for path in (cluster.state / "ram/nodes").iterdir()) == ["n03.tar"]
    cluster.run("netbootctl", "node", "set", "n03", "--root", "overlay")
    assert not [path for path in (cluster.state / "ram").rglob("*") if path.is_file()]
