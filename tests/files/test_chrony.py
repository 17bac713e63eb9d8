"""Time: the head node's chrony serves it to the nodes; with real ones at both ends."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from netbootd.files import chrony
from netbootd.files.apply import carry_out, plan, undo
from netbootd.files.change import Restart
from tests.files.head import Head
from tests.files.test_identity import TIMESYNCD, lines
from tests.lab.namespace import Lab, Namespace


@pytest.fixture
def served(head: Head) -> Path:
    """Where a head node with chrony gets our file."""
    path = head.config.hosts.chrony_file
    path.parent.mkdir()
    return path


def test_time_is_served_to_the_networks_and_to_nobody_else(head: Head, served: Path) -> None:
    head.apply()
    text = served.read_text().splitlines()
    assert text[1:] == ["allow 10.77.0.0/16", "local stratum 10 orphan"]
    assert head.plan().changes == ()


def test_without_chrony_nothing_is_written(head: Head) -> None:
    head.apply()
    assert not head.config.hosts.chrony_file.parent.exists()


def test_chronyd_is_told_again_where_it_is_uncertain_whether_it_was(head: Head, served: Path) -> None:
    def restarts() -> list[Restart]:
        return [change for change in head.plan().changes if isinstance(change, Restart)]

    head.apply()
    assert restarts() == []
    (head.state / "chrony.loaded").unlink()  # as after a kill between the file and the restart
    assert len(restarts()) == 1
    head.apply()
    served.write_text("allow all\n")
    assert len(head.apply().changes) == 1 and "allow all" not in served.read_text()
    carry_out(plan(replace(head.inputs, networks=())))
    assert "allow" not in served.read_text() and restarts()


def test_undo_takes_it_away(head: Head, served: Path) -> None:
    head.apply()
    carry_out(undo(head.config))
    assert not served.exists() and served.parent.is_dir()


def test_timesyncd_which_asks_one_alone_asks_a_head_node_that_serves_time(head: Head, served: Path) -> None:
    head.add(1, 2)
    head.registry.set_node("n2", {"dhcp_options": {42: b""}}, head.networks)
    head.apply()
    assert lines(head, "n1", TIMESYNCD) == ["[Time]", "NTP=10.77.0.1"]
    assert lines(head, "n2", TIMESYNCD) is None
    shutil.rmtree(served.parent)
    head.apply()
    assert lines(head, "n1", TIMESYNCD) is None


def test_what_isnt_chronyd_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pid_file = tmp_path / "chronyd.pid"
    monkeypatch.setattr(chrony, "PID_FILES", (pid_file,))
    for text in ("", "nonsense", "1\n", "999999999"):
        pid_file.write_text(text)
        assert not chrony.running()


def start(at: Namespace, *settings: str) -> None:
    """A chronyd that keeps its hands off the clock: there is but one for all namespaces."""
    state = "/run/chrony"
    text = "\n".join(
        (*settings, f"pidfile {state}/chronyd.pid", f"bindcmdaddress {state}/chronyd.sock", "cmdport 0")
    )
    at.run(["sh", "-c", f"mkdir -m 700 -p {state}; cat >/run/chrony.conf"], input=text + "\n")
    at.start("chronyd", [shutil.which("chronyd") or "", "-d", "-x", "-u", "root", "-f", "/run/chrony.conf"])


@pytest.mark.net
@pytest.mark.needs("chronyd", "chronyc")
@pytest.mark.as_root("chronyd serves on port 123 as another user")
def test_a_nodes_chrony_takes_the_head_nodes_time_without_any_other_clock(
    lab: Lab, head: Head, served: Path
) -> None:
    """The head node knows no clock but its own, as one without internet."""
    head.add(1)
    head.apply()
    node = lab.client("n1", address="10.77.1.1/16")
    stranger = lab.client("far", address="10.99.0.2/16")
    lab.ip("address del 10.77.0.1/24 dev br0", "address add 10.77.0.1/16 dev br0")
    lab.ip("address add 10.99.0.1/16 dev br0")
    start(lab, f"confdir {served.parent}")
    start(node, f"sourcedir {head.state}/nodes/n1/etc/chrony/sources.d")
    # The other network isn't one of the nodes'.
    asked = stranger.run(
        ["chronyd", "-x", "-Q", "-t", "6", "-u", "root", "server 10.99.0.1 iburst"], check=False
    )
    assert asked.returncode != 0

    tracking = node.run(["chronyc", "-n", "waitsync", "40", "0", "0", "0.5"], timeout=60).stdout
    assert "try: 40" not in tracking
    told = node.run(["chronyc", "-n", "tracking"]).stdout
    assert re.search(r"^Reference ID +: \w+ \(10\.77\.0\.1\)$", told, re.MULTILINE), told
    assert re.search(r"^Stratum +: 11$", told, re.MULTILINE), told
