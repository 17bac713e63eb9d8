"""The lab's own promises: nothing gets out of a namespace, and nothing outlives it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.lab.demo import keep_running, kept, stop
from tests.lab.head import HeadNode
from tests.lab.namespace import HOME, Lab
from tests.lab.process import LabError

pytestmark = pytest.mark.net


def gone(pid: int, timeout: float = 10.0) -> bool:
    """Whether a process ends (a zombie has ended) before time is over."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        try:
            if ") Z " in Path(f"/proc/{pid}/stat").read_text():
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.02)
    return False


def test_a_client_reaches_the_head_over_the_bridge_and_nothing_else(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "hello").write_text("hello from the head")
    client = lab.client("c1", address="10.77.0.9/24")
    server = lab.start(
        "web", [sys.executable, "-u", "-m", "http.server", "--bind", "10.77.0.1", "8080"], cwd=tmp_path
    )
    server.wait_for("Serving HTTP")
    fetch = "import urllib.request as u, sys; print(u.urlopen(sys.argv[1], timeout=5).read().decode())"
    assert (
        "hello from the head"
        in client.run([sys.executable, "-c", fetch, "http://10.77.0.1:8080/hello"]).stdout
    )
    assert client.run(["ip", "route", "show", "default"]).stdout == ""
    assert lab.run(["ip", "route", "show", "default"]).stdout == ""
    assert "unreachable" in lab.run([sys.executable, "-c", fetch, "http://198.51.100.1/"], check=False).stderr


def test_the_machines_own_files_stay_as_they_are(lab: Lab) -> None:
    before = Path("/etc/hosts").read_bytes()
    script = (
        "echo '10.77.0.10 n01' >>/etc/hosts && cp /etc/hosts /etc/hosts.new && mv /etc/hosts.new /etc/hosts"
        " && mkdir -p ~/.ssh /etc/ssh && echo x >~/.ssh/known_hosts && echo x >/etc/ssh/lab_wrote_this"
        " && echo ~"
    )
    assert lab.run(["sh", "-c", script]).stdout.strip() == HOME
    assert "10.77.0.10 n01" in lab.run(["cat", "/etc/hosts"]).stdout
    assert Path("/etc/hosts").read_bytes() == before
    assert not Path("/etc/ssh/lab_wrote_this").exists()
    assert lab.run(["hostname"]).stdout.strip() == "head" != os.uname().nodename


def test_two_labs_at_once_do_not_see_each_other() -> None:
    with Lab() as one, Lab() as other:
        one.ip("link add only-here type bridge")
        assert "only-here" in one.run(["ip", "-brief", "link"]).stdout
        assert "only-here" not in other.run(["ip", "-brief", "link"]).stdout


def test_what_went_to_the_background_ends_with_the_lab_too() -> None:
    with Lab() as lab:
        script = "trap '' TERM HUP; sh -c 'echo $$; exec sleep 600' & sleep 600"
        process = lab.start("daemon", ["sh", "-c", script])
        process.wait_until(lambda: process.output().endswith("\n"), "process id")
        daemon = int(process.output())
        process.popen.kill()
        client = lab.client("c1")
        in_client = client.start("sleeper", ["sleep", "600"])
        assert not gone(daemon, 0.1)
    assert gone(daemon, 0.5)
    assert not in_client.running


def test_everything_ends_when_the_process_that_made_the_lab_is_killed(tmp_path: Path) -> None:
    program = """
import pathlib, sys, time
from tests.lab.namespace import Lab
lab = Lab(directory=pathlib.Path(sys.argv[1])).__enter__()
client = lab.client("c1")
sleepers = lab.start("a", ["sleep", "600"]), client.start("b", ["sleep", "600"])
print(lab.pid, client.pid, *(sleeper.pid for sleeper in sleepers), flush=True)
time.sleep(600)
"""
    maker = subprocess.Popen([sys.executable, "-c", program, tmp_path], stdout=subprocess.PIPE, text=True)
    try:
        assert maker.stdout is not None
        inside = [int(word) for word in maker.stdout.readline().split()]
        assert len(inside) == 4
    finally:
        maker.send_signal(signal.SIGKILL)
        maker.communicate()
    assert [pid for pid in inside if not gone(pid)] == []


@pytest.mark.as_root("the demo is root's")
def test_a_kept_cluster_can_be_entered_until_it_is_ended(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    head = HeadNode(tmp_path / "demo")
    head.prepare()
    assert not stop(head)
    with Lab(directory=head.logs) as lab:
        sleeper = lab.start("sleeper", ["sleep", "600"])
        keeper = lab.pid
        keep_running(head, lab)
    try:
        assert kept(head) == keeper
        assert "demo/enter ssh n01" in capfd.readouterr().out
        entered = subprocess.run(
            [head.directory / "enter", "hostname"], capture_output=True, text=True, check=True
        )
        assert entered.stdout == "head\n"
        assert sleeper.running
    finally:
        assert stop(head)
    assert sleeper.popen.wait(10) == -signal.SIGTERM
    assert gone(keeper)
    assert kept(head) is None


def test_a_process_that_got_the_number_of_a_kept_one_is_left_alone(tmp_path: Path) -> None:
    head = HeadNode(tmp_path)
    (tmp_path / "kept.pid").write_text(str(os.getpid()))
    assert kept(head) is None
    assert not stop(head)


def test_a_command_that_fails_says_what_it_said(lab: Lab) -> None:
    with pytest.raises(LabError, match=r"exit 3\nout\nerr\n"):
        lab.run(["sh", "-c", "echo out; echo err >&2; exit 3"])
    with pytest.raises(LabError, match=r"not done in 1 s\nstarted"):
        lab.run(["sh", "-c", "echo started; sleep 60"], timeout=1)
    assert lab.run(["false"], check=False).returncode == 1


def test_a_program_that_ends_too_early_is_noticed_with_its_last_words(lab: Lab) -> None:
    process = lab.start("short", ["sh", "-c", "echo no such interface; exit 7"])
    with pytest.raises(
        LabError, match=r"(?s)short ended with 7, no 'ready' in its output\nno such interface"
    ):
        process.wait_for("ready")


def test_a_running_program_is_stopped_and_its_exit_status_is_known(lab: Lab) -> None:
    polite = lab.start("polite", ["sh", "-c", "trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done"])
    polite.wait_for("ready")
    assert polite.stop() == 5
    deaf = lab.start("deaf", ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done"])
    deaf.wait_for("ready")
    assert deaf.stop(timeout=0.2) == -signal.SIGKILL
