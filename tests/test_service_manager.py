"""service_manager.py by systemd-python and without it, against real sockets and descriptors."""

import importlib.util
import json
import logging
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from netbootd import service_manager
from tests.lab.namespace import Lab

WITHOUT = "service_manager._daemon = service_manager._journal = None"


def has_systemd_python() -> bool:
    try:
        return importlib.util.find_spec("systemd.daemon") is not None
    except ModuleNotFoundError:
        return False


@pytest.fixture(
    params=[
        pytest.param(
            "systemd-python",
            marks=pytest.mark.skipif(not has_systemd_python(), reason="systemd-python isn't installed"),
        ),
        "plain",
    ]
)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each test runs once with systemd-python and once as if it weren't there."""
    for name in (
        "NOTIFY_SOCKET",
        "WATCHDOG_USEC",
        "WATCHDOG_PID",
        "LISTEN_PID",
        "LISTEN_FDS",
        "JOURNAL_STREAM",
    ):
        monkeypatch.delenv(name, raising=False)
    if request.param == "plain":
        monkeypatch.setattr(service_manager, "_daemon", None)
        monkeypatch.setattr(service_manager, "_journal", None)
    return str(request.param)


def listener(address: str) -> socket.socket:
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.settimeout(5)
    manager.bind(address)
    return manager


def in_child(way: str, script: str) -> str:
    """Run a script in a process of its own, the same way; it finds `service_manager` imported."""
    preface = "import json, logging, os, socket, sys\nfrom netbootd import service_manager\n"
    preface += WITHOUT + "\n" if way == "plain" else ""
    done = subprocess.run(
        [sys.executable, "-c", preface + script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# ---- notify


def test_a_notice_reaches_a_manager_that_listens_at_a_path(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listener(str(tmp_path / "notify")) as manager:
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        assert service_manager.notify("READY=1\nSTATUS=2 nodes, grüße")
        assert manager.recv(4096) == "READY=1\nSTATUS=2 nodes, grüße".encode()
        assert service_manager.notify("WATCHDOG=1"), "the variable stays for the notices to come"
        assert manager.recv(4096) == b"WATCHDOG=1"


def test_a_notice_reaches_a_manager_that_listens_at_an_abstract_address(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"netbootd-test-{os.getpid()}"
    with listener("\0" + name) as manager:
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + name)
        assert service_manager.notify("READY=1")
        assert manager.recv(4096) == b"READY=1"


def test_without_a_service_manager_nothing_is_sent_and_nothing_said(
    way: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert not service_manager.notify("READY=1")
    assert caplog.text == ""


@pytest.mark.parametrize(
    "target", ["/nowhere/notify", "relative", "@", "/" + "x" * 200, "@" + "x" * 200, "/dev/null", "vsock:"]
)
def test_a_manager_that_cannot_be_reached_is_logged_and_never_stops_the_daemon(
    way: str, target: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", target)
    assert not service_manager.notify("READY=1")
    assert "doesn't take our notice" in caplog.text


# ---- watchdog


def test_the_watchdog_is_ours_when_it_names_nobody_or_us(way: str) -> None:
    assert service_manager.watchdog_interval({"WATCHDOG_USEC": "30000000"}) == 30.0
    ours = {"WATCHDOG_USEC": "500000", "WATCHDOG_PID": str(os.getpid())}
    assert service_manager.watchdog_interval(ours) == 0.5


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "-5"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": ""},
    ],
)
def test_there_is_no_watchdog_where_none_is_meant_for_us(way: str, environment: dict[str, str]) -> None:
    assert service_manager.watchdog_interval(environment) is None


# ---- the journal

LOG = """
handler = service_manager.log_handler()
log = logging.getLogger("netbootd.test")
log.setLevel(logging.DEBUG)
log.addHandler(handler)
log.debug("asked"); log.info("n01 up"); log.warning("two\\nlines")
log.error("bad %s", "disk"); log.critical("out")
"""


def log_to_file(way: str, tmp_path: Path, *, journal: bool) -> str:
    """What LOG writes to standard error when that is, or isn't, what JOURNAL_STREAM names."""
    lead = f"""
file = open({str(tmp_path / "stderr")!r}, "w")
os.dup2(file.fileno(), 2)
status = os.fstat(2)
os.environ["JOURNAL_STREAM"] = f"{{status.st_dev}}:{{status.st_ino + {int(not journal)}}}"
"""
    in_child(way, lead + LOG)
    return (tmp_path / "stderr").read_text()


def test_without_systemd_python_every_line_for_the_journal_has_its_priority(tmp_path: Path) -> None:
    assert log_to_file("plain", tmp_path, journal=True) == (
        "<7>asked\n<6>n01 up\n<4>two\n<4>lines\n<3>bad disk\n<2>out\n"
    )


def test_in_a_terminal_lines_have_a_time_and_a_level_and_no_priority(way: str, tmp_path: Path) -> None:
    text = log_to_file(way, tmp_path, journal=False)
    assert " INFO n01 up\n" in text
    assert " ERROR bad disk\n" in text
    assert "<" not in text


@pytest.mark.net
@pytest.mark.skipif(not has_systemd_python(), reason="systemd-python isn't installed")
def test_with_systemd_python_a_record_reaches_the_journal_with_its_fields_and_no_more(lab: Lab) -> None:
    """The lab's /run is its own, so that the journal's socket can be ours."""
    script = f"""
import json, logging, os, pathlib, socket, sys
from netbootd import service_manager
pathlib.Path("/run/systemd/journal").mkdir(parents=True)
journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
journal.bind("/run/systemd/journal/socket")
journal.settimeout(5)
status = os.fstat(2)
os.environ["JOURNAL_STREAM"] = f"{{status.st_dev}}:{{status.st_ino}}"
{LOG}
print(json.dumps([journal.recv(65536).decode("latin-1") for _ in range(5)]))
"""
    records = json.loads(lab.run([sys.executable, "-c", script]).stdout)
    fields = dict(line.split("=", 1) for line in records[3].splitlines())
    assert fields["MESSAGE"] == "bad disk"
    assert fields["PRIORITY"] == str(3)
    assert fields["SYSLOG_IDENTIFIER"] == "netbootd"
    assert fields["LOGGER"] == "netbootd.test"
    assert set(fields) == {
        "MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER", "LOGGER", "CODE_FILE", "CODE_LINE", "CODE_FUNC",
    }  # fmt: skip
    assert "two\nlines" in records[2]


def test_a_closed_standard_error_does_not_stop_the_daemon_from_starting(way: str) -> None:
    assert (
        in_child(way, "os.close(2); print(type(service_manager.log_handler()).__name__)") == "StreamHandler\n"
    )
    script = "sys.stderr = None; print(type(service_manager.log_handler()).__name__)"
    assert in_child(way, script) == "StreamHandler\n"


def test_the_handler_is_one_of_loggings(way: str) -> None:
    assert isinstance(service_manager.log_handler(), logging.Handler)
