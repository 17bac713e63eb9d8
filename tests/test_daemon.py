"""The daemon whole: it serves what real clients ask, waits for what isn't there yet, and ends when told."""

import json
import os
import signal
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.lab.namespace import BRIDGE, Lab
from tests.lab.process import Process

pytestmark = [pytest.mark.net]
NETBOOTD = [sys.executable, "-m", "netbootd"]
NETBOOTCTL = Path(sys.executable).parent / "netbootctl"
MAC = "52:54:00:00:00:01"


def _configure(directory: Path, interface: str = BRIDGE, more: str = "") -> Path:
    path = directory / "netbootd.toml"
    path.write_text(
        f'state_dir = "{directory}/state"\n[[network]]\ninterface = "{interface}"\n'
        f'range = "10.77.0.10-10.77.0.20"\npool = "10.77.0.100-10.77.0.110"\n{more}\n'
        f'[nfs]\nserver = "ganesha"\nganesha_config = "{directory}/ganesha.conf"\n'
    )
    return path


def _start(lab: Lab, config: Path) -> Process:
    daemon = lab.start("netbootd", [*NETBOOTD, "--config", config])
    daemon.wait_for("serving 10.77.0.0/24")
    return daemon


def _lease(client_of: Lab, name: str, mac: str) -> str:
    """What udhcpc says of its lease."""
    client = client_of.client(name, mac)
    done = client.run(
        ["udhcpc", "-i", "eth0", "-f", "-q", "-n", "-t", "5", "-T", "1", "-s", "/bin/true"], check=False
    )
    return done.stdout + done.stderr


@pytest.mark.needs("udhcpc", "curl")
def test_a_client_gets_its_address_and_its_loader_by_both_doors(lab: Lab, tmp_path: Path) -> None:
    daemon = _start(lab, _configure(tmp_path))
    assert "lease of 10.77.0.100 obtained" in _lease(lab, "c1", MAC)
    client = lab.client("c2", address="10.77.0.101/24")
    loader = Path("/usr/lib/ipxe/undionly.kpxe")
    if not loader.exists():
        pytest.skip("not installed: ipxe")
    for scheme in ("http", "tftp"):
        got = tmp_path / scheme
        client.run(
            ["curl", "-sS", "--max-time", "20", "-o", got, f"{scheme}://10.77.0.1/loaders/undionly.kpxe"]
        )
        assert got.read_bytes() == loader.read_bytes()
    missing = client.run(["curl", "-sS", "-w", "%{http_code}", "http://10.77.0.1/loaders/none"])
    assert missing.stdout == "no such path\n404"
    assert daemon.stop() == 0


@pytest.mark.needs("udhcpc")
def test_a_registered_node_is_known_without_a_restart_or_a_reload(lab: Lab, tmp_path: Path) -> None:
    config = _configure(tmp_path)
    _start(lab, config)
    lab.run([NETBOOTCTL, "--config", config, "node", "add", "n01", "--mac", MAC, "--ip", "10.77.0.55"])
    assert "lease of 10.77.0.55 obtained" in _lease(lab, "c1", MAC)
    deadline = time.monotonic() + 10
    stage = None
    while stage != "ack" and time.monotonic() < deadline:
        status = json.loads(lab.run([NETBOOTCTL, "--config", config, "status", "--json"], check=False).stdout)
        (node,) = status["nodes"]
        stage = node["stage"]
    assert (node["name"], stage) == ("n01", "ack")


def test_an_interface_that_comes_later_is_served_then(lab: Lab, tmp_path: Path) -> None:
    daemon = lab.start("netbootd", [*NETBOOTD, "--config", _configure(tmp_path, "late0")])
    daemon.wait_for("late0 isn't up with its address yet; waiting for it")
    lab.ip(
        "link add late0 type veth peer name far0",
        "link set far0 up",
        "link set late0 up",
        f"address del 10.77.0.1/24 dev {BRIDGE}",
    )
    lab.ip("address add 10.77.0.1/24 dev late0")
    daemon.wait_for("serving 10.77.0.0/24 on late0")
    lab.ip("link del late0")
    daemon.wait_for("late0 is gone or has another address: its servers stop")
    lab.ip(
        "link add late0 type veth peer name far0",
        "link set far0 up",
        "link set late0 up",
        "address add 10.77.0.1/24 dev late0",
    )
    daemon.wait_until(lambda: daemon.output().count("serving 10.77.0.0/24 on late0") == 2, "second start")
    assert daemon.stop() == 0


def test_exports_and_node_files_are_asked_for_again_when_a_network_comes(lab: Lab, tmp_path: Path) -> None:
    """What was written without its address lacks its domain and its name servers."""
    request = tmp_path / "apply"
    lab.ip(f"address del 10.77.0.1/24 dev {BRIDGE}")
    environment = {**os.environ, "RUNTIME_DIRECTORY": str(tmp_path)}
    daemon = lab.start("netbootd", [*NETBOOTD, "--config", _configure(tmp_path)], env=environment)
    daemon.wait_for("waiting for it")
    daemon.wait_until(request.exists, "a request to apply")
    request.unlink()
    lab.ip(f"address add 10.77.0.1/24 dev {BRIDGE}")
    daemon.wait_until(request.exists, "another one")
    assert daemon.stop() == 0


def test_an_interface_made_anew_in_one_go_is_served_again(lab: Lab, tmp_path: Path) -> None:
    """Sockets are bound to an interface's index; the new one looks the same but has another."""
    far = ["link set far0 up", "link set late0 up", "address add 10.99.0.1/24 dev late0"]
    make = ["link add late0 type veth peer name far0", *far]
    config = tmp_path / "netbootd.toml"
    config.write_text(f'state_dir = "{tmp_path}/state"\n[[network]]\ninterface = "late0"\n')
    lab.ip(*make)
    daemon = lab.start("netbootd", [*NETBOOTD, "--config", config])
    daemon.wait_for("serving 10.99.0.0/24")
    lab.ip("link del late0", *make)
    daemon.wait_until(lambda: daemon.output().count("serving 10.99.0.0/24 on late0") == 2, "second start")
    assert daemon.stop() == 0


def test_an_address_that_does_not_fit_is_waited_out_and_stops_what_ran(lab: Lab, tmp_path: Path) -> None:
    lab.ip(f"address del 10.77.0.1/24 dev {BRIDGE}", f"address add 169.254.7.8/16 dev {BRIDGE}")
    daemon = lab.start("netbootd", [*NETBOOTD, "--config", _configure(tmp_path)])
    daemon.wait_for("lies outside 169.254.0.0/16")
    daemon.wait_for("isn't up with its address yet")
    lab.ip(f"address add 10.77.0.1/24 dev {BRIDGE}")
    daemon.wait_for("serving 10.77.0.0/24")
    lab.ip(f"address del 10.77.0.1/24 dev {BRIDGE}")
    daemon.wait_for("is gone or has another address: its servers stop")
    daemon.wait_until(lambda: not lab.listens(80), "end of the HTTP server")
    assert daemon.stop() == 0


@pytest.mark.as_root("it becomes another user and back")
def test_what_root_starts_by_hand_leaves_nothing_that_the_service_cannot_open(
    lab: Lab, tmp_path: Path
) -> None:
    for directory in (tmp_path, *tmp_path.parents):
        if directory.owner() == "root" and directory.name.startswith(("pytest-", "popen-", "test_")):
            directory.chmod(0o755)
    config = _configure(tmp_path)
    registry = tmp_path / "state" / "registry"
    registry.mkdir(parents=True, mode=0o750)
    os.chown(registry, 65534, 65534)
    daemon = _start(lab, config)
    lab.run([NETBOOTCTL, "--config", config, "node", "list"])
    owners = {path.name: path.stat().st_uid for path in registry.iterdir()}
    assert {"registry.db", "events.db", "netbootd.lock"} <= owners.keys()
    assert set(owners.values()) == {65534}
    assert daemon.stop() == 0


@pytest.mark.needs("udhcpc")
def test_a_disk_that_is_full_stops_no_registered_node(lab: Lab, tmp_path: Path) -> None:
    config = _configure(tmp_path)
    state = tmp_path / "state"
    state.mkdir()
    lab.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", state])
    lab.run([NETBOOTCTL, "--config", config, "node", "add", "n01", "--mac", MAC, "--ip", "10.77.0.55"])
    daemon = _start(lab, config)
    lab.run(["dd", "if=/dev/zero", f"of={state}/filler", "bs=4k"], check=False)
    assert "lease of 10.77.0.55 obtained" in _lease(lab, "c1", MAC)
    assert "obtained" not in _lease(lab, "c2", "52:54:00:00:00:77"), "no lease that isn't on the disk"
    lab.run(["rm", f"{state}/filler"])
    assert "lease of 10.77.0.10" in _lease(lab, "c3", "52:54:00:00:00:78")
    assert "Traceback" not in daemon.output()
    assert daemon.stop() == 0


@pytest.mark.needs("udhcpc")
def test_somebody_who_keeps_the_registry_to_himself_stops_no_registered_node(
    lab: Lab, tmp_path: Path
) -> None:
    config = _configure(tmp_path)
    lab.run([NETBOOTCTL, "--config", config, "node", "add", "n01", "--mac", MAC, "--ip", "10.77.0.55"])
    with closing(
        sqlite3.connect(tmp_path / "state" / "registry" / "registry.db", isolation_level=None)
    ) as db:
        db.execute("BEGIN IMMEDIATE")
        daemon = _start(lab, config)
        assert "lease of 10.77.0.55 obtained" in _lease(lab, "c1", MAC)
        assert "obtained" not in _lease(lab, "c2", "52:54:00:00:00:77")
        assert "database is locked" in daemon.output()
    assert "lease of 10.77.0.10" in _lease(lab, "c3", "52:54:00:00:00:78")
    assert "Traceback" not in daemon.output()


@pytest.mark.needs("udhcpc")
def test_an_image_that_cannot_be_looked_at_leaves_the_node_its_address(lab: Lab, tmp_path: Path) -> None:
    config = _configure(tmp_path)
    generation = tmp_path / "state" / "images" / "debian" / "1"
    generation.mkdir(parents=True)
    (generation.parent / "current").symlink_to("1")
    (generation / "generation.json").symlink_to("generation.json")
    lab.run(
        [
            *(NETBOOTCTL, "--config", config, "node", "add", "n01", "--mac", MAC, "--ip", "10.77.0.55"),
            *("--image", "debian"),
        ],
        check=False,
    )
    daemon = _start(lab, config)
    assert "lease of 10.77.0.55 obtained" in _lease(lab, "c1", MAC)
    assert "Traceback" not in daemon.output()


def test_a_broken_configuration_ends_it_at_once_with_every_fault(lab: Lab, tmp_path: Path) -> None:
    config = _configure(tmp_path, more='dhpc = "server"\nlease_time = "soon"')
    done = lab.run([*NETBOOTD, "--config", config], check=False)
    assert done.returncode == 3
    assert "line 6: network[1].dhpc: isn't a setting; did you mean dhcp?" in done.stderr
    assert "line 7: network[1].lease_time" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken_ends_it_with_what_to_do(lab: Lab, tmp_path: Path) -> None:
    other = lab.start("other", [sys.executable, "-m", "http.server", "--bind", "10.77.0.1", "80"])
    other.wait_until(lambda: lab.listens(80), "listening")
    done = lab.run([*NETBOOTD, "--config", _configure(tmp_path)], check=False)
    assert done.returncode == 4
    assert "netbootctl doctor" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_second_daemon_on_the_same_state_is_refused(lab: Lab, tmp_path: Path) -> None:
    config = _configure(tmp_path)
    daemon = _start(lab, config)
    done = lab.run([*NETBOOTD, "--config", config], check=False)
    assert done.returncode == 4
    assert "netbootd runs already" in done.stderr
    daemon.signal(signal.SIGKILL)
    daemon.popen.wait()
    again = lab.start("again", [*NETBOOTD, "--config", config])
    again.wait_for("serving 10.77.0.0/24")


@pytest.mark.as_root("what was left belongs to many users")
def test_what_an_interrupted_import_left_is_gone_soon_after_the_start(lab: Lab, tmp_path: Path) -> None:
    left = tmp_path / "state/images/.incoming-0123abcd"
    (left / "root/etc").mkdir(parents=True)
    (left / "root/etc/passwd").write_text("half")
    daemon = _start(lab, _configure(tmp_path))
    daemon.wait_for("was left by a command that was interrupted: removed")
    assert not left.exists()
    assert daemon.stop() == 0


def test_sighup_changes_nothing_and_sigint_ends_it_cleanly(lab: Lab, tmp_path: Path) -> None:
    daemon = _start(lab, _configure(tmp_path))
    daemon.signal(signal.SIGHUP)
    daemon.wait_for("nothing to reload")
    daemon.signal(signal.SIGINT)
    assert daemon.popen.wait(10) == 0
