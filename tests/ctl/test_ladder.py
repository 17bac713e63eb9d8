"""The exit ladder: every failure is a line on standard error and a status of its own, never a traceback."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.ctl.conftest import CONFIG, MACS, NETBOOTCTL, Head


def one_line(text: str) -> bool:
    return text.startswith("error: ") and text.endswith("\n") and text.count("\n") == 1


def test_a_broken_configuration_shows_every_fault_with_its_line(head: Head) -> None:
    head.config.write_text(
        'state_dri = "/tmp/x"\n[[network]]\ninterface = "eth9"\naddress = "10.77.0.1/24"\n'
        'range = "10.77.0.99-10.77.0.10"\npool = "10.88.0.1-10.88.0.9"\n[http]\nport = 99999\n'
    )
    done = head.apart("node", "list")
    assert done.returncode == 3 and done.stdout == ""
    lines = done.stderr.splitlines()
    assert lines[0] == f"error: {head.config} has 4 problems"
    assert [line.split(":")[0] for line in lines[1:]] == ["  line 1", "  line 5", "  line 6", "  line 8"]
    assert "did you mean state_dir" in lines[1]


def test_no_configuration_says_how_to_get_one(head: Head) -> None:
    head.config.unlink()
    done = head.apart("status")
    assert done.returncode == 3
    assert done.stderr == f"error: there is no {head.config}; `netbootctl setup` writes one\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nodes"], "no such command 'nodes'"),
        (["node", "ad"], "no such command 'ad'"),
        (["node", "add"], "missing argument"),
        (["node", "add", "n01", "--mc", "x"], "no such option"),
        (["node", "list", "--json=yes"], "does not take a value"),
        (["node", "add", "n01", "--root", "disk"], "'--root': 'disk' is not one of"),
        (["--config"], "--config"),
    ],
)
def test_a_command_line_that_cannot_be_read_says_where_the_help_is(
    head: Head, words: list[str], said: str
) -> None:
    done = head(*words)
    assert done.status == 2 and one_line(done.err), done.err
    assert said in done.err.lower() and "--help` shows how" in done.err


def test_ctrl_c_is_quiet(head: Head) -> None:
    head.well("node", "add", "n01", "--mac", MACS[0])
    process = subprocess.Popen(
        [NETBOOTCTL, "--config", head.config, "status", "--watch"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert "n01" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert (process.returncode, said) == (130, "interrupted\n")


def test_a_reader_that_goes_away_is_no_error(head: Head) -> None:
    head.well("node", "add", "n[01-19]", "--mac", ",".join(MACS))
    script = f"'{NETBOOTCTL}' --config '{head.config}' node list --all | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.stderr == "" and done.stdout.count("\n") == 1


def test_a_closed_standard_output_is_no_traceback(head: Head) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [str(NETBOOTCTL), "--config", str(head.config), "node", "list"]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_registry_that_is_no_database_is_said_in_a_line(head: Head) -> None:
    head.well("node", "list")
    path = head.directory / "state/registry/registry.db"
    for name in (f"{path}-wal", f"{path}-shm"):
        Path(name).unlink(missing_ok=True)
    path.write_bytes(b"this is no database, and it is longer than a header would be" * 50)
    done = head.apart("node", "list")
    assert done.returncode == 4 and one_line(done.stderr)
    assert "registry.db" in done.stderr


def test_a_fault_of_ours_is_a_line_with_the_place_and_all_of_it_on_request(head: Head) -> None:
    program = (
        "import sys; from netbootd.ctl import main; from netbootd.registry import Registry\n"
        "Registry.nodes = lambda self: 1 // 0\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", program, "--config", str(head.config), "node", "list"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert one_line(done.stderr) and "ZeroDivisionError" in done.stderr and done.returncode != 0
    told = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "NETBOOTD_TRACEBACK": "1"}
    )
    assert "Traceback" in told.stderr


def test_an_ascii_terminal_is_no_reason_to_fail(head: Head) -> None:
    env = {**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"}
    assert head.apart("node", "add", "nö", "--mac", MACS[0], env=env).returncode == 2


@pytest.mark.parametrize(
    "words", [[], ["--help"], ["node"], ["image", "--help"], ["explain", "--help"], ["--version"]]
)
def test_help_is_no_failure(head: Head, words: list[str]) -> None:
    done = head.apart(*words)
    assert done.returncode in (0, 2) and "Traceback" not in done.stderr + done.stdout
    assert "netbootctl" in done.stdout or "netbootd" in done.stdout


def test_every_command_of_the_listing_is_there(head: Head) -> None:
    listed = head.well("--help").out
    for noun in (
        "setup",
        "image",
        "node",
        "profile",
        "export",
        "import",
        "status",
        "why",
        "explain",
        "apply",
        "doctor",
    ):
        assert f" {noun} " in listed
        shown = head.well(noun, "--help").out
        assert f"netbootctl {noun}" in shown
        assert "--install-completion" not in shown, "the shell's completion is netbootctl's, not a command's"
    assert "--install-completion" in listed


@pytest.mark.net
def test_a_disk_that_is_mounted_read_only_is_named(head: Head) -> None:
    head.well("node", "add", "n01", "--mac", MACS[0])
    state = head.directory / "state"
    script = f'mount --bind {state} {state} && mount -o remount,bind,ro {state} && exec "$@"'
    words = ["unshare", "--mount", "sh", "-c", script, "sh", *head.command("node", "list")]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr.count("\n")) == (4, 1)
    assert f"{state}/registry is mounted read-only: mount it read-write" in done.stderr


@pytest.mark.parametrize(
    "words", [["node", "list"], ["status"], ["why", "n01"], ["apply"], ["doctor", "--quick"]]
)
@pytest.mark.usefixtures("as_root")
def test_who_may_not_read_the_registry_is_told_so(words: list[str]) -> None:
    """As another user for real: the directory of the registry is the daemon's alone."""
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        config = directory / "netbootd.toml"
        config.write_text(CONFIG.format(directory=directory))
        command = [str(NETBOOTCTL), "--config", str(config)]
        subprocess.run([*command, "node", "add", "n01", "--mac", MACS[0]], check=True, capture_output=True)
        done = subprocess.run([*nobody, *command, *words], capture_output=True, text=True, check=False)
    if "Permission denied" in done.stderr:
        pytest.skip("this checkout can't be read by others")
    if "doctor" in words:
        assert done.returncode == 1 and done.stderr == "" and "run it as root" in done.stdout
    else:
        assert done.returncode == 4 and one_line(done.stderr) and "run as root" in done.stderr


def test_listing_nodes_loads_no_protocol_and_no_template(head: Head) -> None:
    program = (
        "import sys; from netbootd.ctl import main; status = main(sys.argv[1:])\n"
        "heavy = {'scapy', 'pyroute2', 'jinja2', 'aiohttp', 'tftpy', 'rich'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else status)"
    )
    command = [sys.executable, "-c", program, "--config", str(head.config), "node", "list"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
