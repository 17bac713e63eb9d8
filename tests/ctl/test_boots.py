"""status and why: how far machines have come, where they stopped, and what to check."""

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from netbootd.boot.firmware.choice import ASKS_THE_DHCP_SERVER
from netbootd.boot.loaders import LOADERS
from netbootd.boot.progress import Progress
from netbootd.ctl.verdict import ADVICE, BESIDE, State, advice, complaint, state
from netbootd.dhcp.proxy import REGISTERED_ELSEWHERE
from netbootd.events import EventLog
from netbootd.node import Mac
from netbootd.stage import Event, Level, Stage
from tests.ctl.conftest import MACS, NETBOOTCTL, Head

STRANGER = "b8:27:eb:01:02:03"


def booted(
    head: Head,
    mac: str,
    node: str | None,
    upto: Stage,
    *,
    ago: float = 600,
    trouble: str = "",
    began: float = 0,
) -> None:
    """Record a boot that came as far as `upto`, a stage every two seconds."""
    log = EventLog.open(head.directory / "state/registry/events.db")
    began = began or time.time() - ago
    for stage in list(Stage)[: upto.order + 1]:
        at = began + 2 * stage.order
        log.record(Event(time=at, mac=Mac(mac), node=node, stage=stage, text=f"did {stage}"))
    if trouble:
        at = began + 2 * upto.order + 1
        log.record(Event(time=at, mac=Mac(mac), node=node, stage=None, text=trouble, level=Level.ERROR))
    log.close()


@pytest.fixture
def four(head: Head) -> Head:
    """Four nodes: one up, one on its way, one stuck, one never heard."""
    head.image("debian")
    head.well("node", "add", "n[01-04]", "--mac", ",".join(MACS[:4]))
    booted(head, MACS[0], "n01", Stage.READY)
    booted(head, MACS[1], "n02", Stage.KERNEL, ago=30)
    booted(head, MACS[2], "n03", Stage.ACK, trouble="loaders/x over TFTP failed")
    return head


def test_status_says_how_far_each_node_has_come(four: Head) -> None:
    status = four.well("status", "--json").json
    assert [(n["name"], n["state"], n["stage"], n["next"]) for n in status["nodes"]] == [
        ("n01", "ready", "ready", "debian@1"),
        ("n02", "booting", "kernel", "debian@1"),
        ("n03", "stuck", "ack", "debian@1"),
        ("n04", "silent", None, "debian@1"),
    ]
    assert status["daemon"] is None and status["unregistered"] == []
    lines = four.well("status").out.splitlines()
    assert "loaders/x over TFTP failed" in next(line for line in lines if line.startswith("n03"))


def test_a_stuck_nodes_remark_says_where_it_stopped(four: Head) -> None:
    booted(four, MACS[3], "n04", Stage.KERNEL)
    remarks = {n["name"]: n["remark"] for n in four.well("status", "--json").json["nodes"]}
    assert remarks["n04"] == "fetched its kernel and not the initrd"
    assert remarks["n01"] is None and remarks["n02"] is None


def test_status_names_what_is_missing(head: Head) -> None:
    head.well("node", "add", "n01", "--mac", MACS[0], "--image", "later")
    head.well("node", "add", "n02", "--mac", MACS[1])
    head.image("empty", current=False)
    head.well("profile", "set", "p", "--image", "empty")
    (head.config).write_text(head.config.read_text() + '\n[[network]]\ninterface = "nosuch0"\n')
    missing = "\n".join(head.well("status", "--json").json["missing"])
    assert "image later has no current generation; `netbootctl image build later`" in missing
    assert "image empty has no current generation" in missing
    assert "n02: no image" in missing
    assert "network nosuch0 has no address" in missing


def test_status_shows_machines_that_were_heard_and_are_not_registered(four: Head) -> None:
    booted(four, STRANGER, None, Stage.DISCOVER)
    (stranger,) = four.well("status", "--json").json["unregistered"]
    assert (stranger["mac"], stranger["stage"]) == (STRANGER, "discover")
    assert STRANGER in four.well("status").out


def test_what_a_stranger_sent_cannot_move_the_cursor(four: Head) -> None:
    booted(four, STRANGER, None, Stage.DISCOVER, trouble="\x1b[2J\x07evil")
    assert "\x1b" not in four.well("status").out + four.well("why", STRANGER).out


@contextmanager
def daemon(head: Head) -> Iterator[int]:
    """A process that holds the lock as the daemon does."""
    path = head.directory / "state/registry/netbootd.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    program = (
        "import fcntl, os, sys\nf = open(sys.argv[1], 'a+'); fcntl.flock(f, fcntl.LOCK_EX)\n"
        "f.truncate(0); f.write(f'{os.getpid()}\\n'); f.flush(); print('held', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdin is not None
    assert process.stdout.readline() == "held\n"
    try:
        yield process.pid
    finally:
        process.stdin.close()
        process.wait(10)


def test_status_knows_whether_the_daemon_runs_and_never_keeps_it_from_starting(four: Head) -> None:
    assert "netbootd doesn't run" in four.well("status").out
    with daemon(four) as pid:
        assert four.well("status", "--json").json["daemon"] == pid
        assert "netbootd doesn't run" not in four.well("status").out
    # The file with the old process id stays behind; the lock is free, and nobody else takes it to look.
    assert four.well("status", "--json").json["daemon"] is None
    with (four.directory / "state/registry/netbootd.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_status_watch_in_a_pipe_tells_each_change_in_a_line(four: Head) -> None:
    process = subprocess.Popen(
        [NETBOOTCTL, "--config", four.config, "status", "--watch"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ},
    )
    assert process.stdout is not None
    first = [process.stdout.readline() for _ in range(4)]
    booted(four, MACS[3], "n04", Stage.CONFIG, ago=10)
    changed = process.stdout.readline().split()
    process.terminate()
    process.communicate()
    assert [line.split()[1:4] for line in first][1] == ["n02", "booting", "kernel"]
    assert changed[1:4] == ["n04", "booting", "config"]


def test_why_tells_the_whole_boot_with_seconds_since_it_began(four: Head) -> None:
    told = four.well("why", "n01", "--json").json
    assert [(e["seconds"], e["stage"]) for e in told["events"]] == [
        (2.0 * stage.order, stage.value) for stage in Stage
    ]
    assert told["state"] == "ready" and told["stopped"] is None and told["checks"] == []
    out = four.well("why", "n01").out
    assert "it came up in 18.0 s" in out and "check" not in out


def test_what_a_node_does_once_it_is_up_takes_no_time_of_its_boot(head: Head) -> None:
    head.well("node", "add", "n01", "--mac", MACS[0])
    booted(head, MACS[0], "n01", Stage.READY, began=time.time() - 7200)
    log = EventLog.open(head.directory / "state/registry/events.db")
    log.record(Event(time=time.time(), mac=Mac(MACS[0]), node="n01", stage=None, text="asks for its address"))
    log.close()
    assert "it came up in 18.0 s" in head.well("why", "n01").out


def test_why_says_where_a_boot_stopped_and_what_to_check(four: Head) -> None:
    out = four.well("why", "n03").out
    assert "it has its address and never fetched its loader" in out
    assert "trouble: loaders/x over TFTP failed" in out
    assert "UDP 69" in out


def test_why_takes_a_mac_too_in_any_spelling(four: Head) -> None:
    assert four.well("why", MACS[2].upper().replace(":", "-")).out == four.well("why", "n03").out


def test_why_follows_a_machine_that_is_not_registered(four: Head) -> None:
    booted(four, STRANGER, None, Stage.DISCOVER)
    out = four.well("why", STRANGER).out
    assert "not registered" in out and f"netbootctl node add NAME --mac {STRANGER}" in out
    assert "did discover" in out


def test_why_for_a_node_never_heard_says_so(four: Head) -> None:
    out = four.well("why", "n04").out
    assert "never asked for an address" in out and "boot order" in out


def test_why_of_a_boot_that_is_on_its_way_does_not_call_it_stuck(four: Head) -> None:
    out = four.well("why", "n02").out
    assert "it is on its way" in out and "check:" not in out
    assert four.well("why", "n02", "--json").json["checks"] == []


def test_why_of_a_boot_that_met_trouble_tells_it_at_once(four: Head) -> None:
    booted(four, MACS[3], "n04", Stage.ACK, ago=10, trouble="offered nothing to boot: no image")
    out = four.well("why", "n04").out
    assert "it is on its way" in out and "trouble: offered nothing to boot: no image" in out


def test_why_refuses_what_is_no_node(four: Head) -> None:
    done = four("why", "n99")
    assert done.status == 2 and "there is no node 'n99'" in done.err


def test_why_shows_only_the_last_boot(four: Head) -> None:
    booted(four, MACS[0], "n01", Stage.LOADER, ago=200)
    told = four.well("why", "n01", "--json").json
    assert [e["stage"] for e in told["events"]] == ["discover", "offer", "request", "ack", "loader"]


def test_every_stage_but_the_last_has_its_advice() -> None:
    assert set(ADVICE) == set(Stage) - {Stage.READY}
    for stage in Stage:
        events = [
            Event(time=0, mac=None, node=None, stage=s, text="") for s in list(Stage)[: stage.order + 1]
        ]
        found = advice(events)
        assert (found is None) == (stage is Stage.READY)
        assert found is None or (found.stopped and found.checks)


def test_beside_another_dhcp_server_the_advice_is_another(head: Head) -> None:
    """`why` has the lines for that server until the node does well; `status` says where it stopped."""
    text = head.config.read_text().replace('pool = "10.77.0.100-10.77.0.199"\n', "")
    head.config.write_text(text.replace('interface = "eth9"\n', 'interface = "eth9"\ndhcp = "proxy"\n'))
    head.image("debian")
    head.well("node", "add", "n[01-02]", "--mac", ",".join(MACS[:2]))
    silent = head.well("why", "n01").out
    assert "dhcp-host=52:54:00:00:00:01,set:netbootd-n01,10.77.0.10,n01,infinite" in silent
    booted(head, MACS[0], "n01", Stage.OFFER)
    assert "was offered its boot file, and never asked the other DHCP server" in head.well("why", "n01").out
    (first, _) = head.well("status", "--json").json["nodes"]
    assert first["remark"] == BESIDE[Stage.OFFER].stopped
    booted(
        head, MACS[0], "n01", Stage.REQUEST, trouble=f"it has 10.77.0.99, {REGISTERED_ELSEWHERE} 10.77.0.10"
    )
    assert "dhcp-host=" in head.well("why", "n01").out
    booted(head, MACS[1], "n02", Stage.READY)
    assert head.well("why", "n02", "--json").json["paste"] == []


def test_where_grub_is_the_loader_the_other_server_is_told_to_name_us(head: Head) -> None:
    if not any(path.is_file() for path in LOADERS["grubx64.efi"].paths):
        pytest.skip("not installed: grub-efi-amd64-signed")
    text = head.config.read_text().replace('pool = "10.77.0.100-10.77.0.199"\n', "")
    head.config.write_text(text.replace('interface = "eth9"\n', 'interface = "eth9"\ndhcp = "proxy"\n'))
    head.image("debian")
    head.well("node", "add", "n01", "--mac", MACS[0], "--loader", "grub")
    booted(head, MACS[0], "n01", Stage.LOADER, trouble=f"UEFI gets GRUB; {ASKS_THE_DHCP_SERVER}")
    assert "dhcp-boot=tag:netbootd-n01,loaders/grubx64.efi,,10.77.0.1" in head.well("why", "n01").out


def test_a_silent_machine_is_stuck_after_two_minutes_unless_it_is_up() -> None:
    progress = Progress(mac=Mac(MACS[0]), node=None, began=0, last=1000, stage=Stage.KERNEL)
    assert state(progress, 1060) is State.BOOTING
    assert state(progress, 1121) is State.STUCK
    assert state(None, 0) is State.SILENT


def test_the_reason_for_no_answer_is_the_trouble() -> None:
    told = Event(time=0, mac=None, node=None, stage=Stage.DISCOVER, text="no answer: it isn't registered")
    assert complaint([told]) == "no answer: it isn't registered"
