"""The script that tells the head node that a node is up: with each tool, on a real connection."""

import os
import stat
import subprocess
from pathlib import Path

import pytest

from netbootd.render import packaged_templates
from tests.lab.namespace import HEAD, Lab, Namespace
from tests.lab.process import Process

COMMON = packaged_templates() / "node" / "common"
SCRIPT = COMMON / "usr/lib/netbootd/report-ready"
TOOLS = ("curl", "wget", "bash", "python3")
WORDS = "BOOT_IMAGE=x quiet netbootd.node=n1 netbootd.mac=52:54:00:aa:00:01 netbootd.http=10.77.0.1:8080 * rw"

SERVER = """
import http.server, sys

answers = [int(word) for word in sys.argv[1:]]

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        print(self.path, self.headers["Host"], flush=True)
        self.send_response(answers.pop(0))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass

server = http.server.HTTPServer(("10.77.0.1", 8080), Handler)
print("listening", flush=True)
server.serve_forever()
"""


@pytest.fixture
def node(lab: Lab) -> Namespace:
    return lab.client("n1", address="10.77.0.10/24")


def started(lab: Lab, *answers: int) -> Process:
    server = lab.start("server", ["python3", "-u", "-c", SERVER, *map(str, answers)])
    server.wait_for("listening")
    return server


def boot(node: Namespace, directory: Path, words: str) -> None:
    """Let the node's kernel have been started with `words`."""
    file = directory / "cmdline"
    file.write_text(f"{words}\n")
    node.run(["mount", "--bind", file, "/proc/cmdline"])


def leave_only(node: Namespace, directory: Path, tool: str) -> None:
    """Take the tools that would be tried before `tool` away."""
    nothing = directory / "nothing"
    nothing.touch(mode=0o644)
    for other in TOOLS[: TOOLS.index(tool)]:
        node.run(["sh", "-c", f"! path=$(command -v {other}) || mount --bind {nothing} $(readlink -f $path)"])


def cores() -> int:
    """Of this machine, by lscpu."""
    done = subprocess.run(["lscpu", "-p=core,socket"], capture_output=True, text=True, check=True)
    return len({line for line in done.stdout.splitlines() if not line.startswith("#")})


@pytest.mark.net
@pytest.mark.needs("lscpu", *TOOLS)
@pytest.mark.parametrize("tool", TOOLS)
def test_it_reports_with_whatever_the_image_has(lab: Lab, node: Namespace, tmp_path: Path, tool: str) -> None:
    boot(node, tmp_path, WORDS)
    leave_only(node, tmp_path, tool)
    # The head node is restarting: one refusal, then it is there.
    server = started(lab, 503, 204)
    done = node.run([SCRIPT], timeout=30)
    assert done.returncode == 0
    said = server.output().splitlines()[1:]
    assert said == [f"/report/52-54-00-aa-00-01/ready?cores={cores()} {HEAD.ip}:8080"] * 2


@pytest.mark.net
@pytest.mark.needs("busybox", *TOOLS)
def test_it_reports_with_a_wget_that_is_busybox(lab: Lab, node: Namespace, tmp_path: Path) -> None:
    boot(node, tmp_path, WORDS)
    leave_only(node, tmp_path, "wget")
    node.run(["sh", "-c", "mount --bind $(command -v busybox) $(readlink -f $(command -v wget))"])
    server = started(lab, 204)
    assert node.run([SCRIPT], timeout=30).returncode == 0
    server.wait_for(f"/report/52-54-00-aa-00-01/ready?cores={cores()} {HEAD.ip}:8080")


@pytest.mark.net
@pytest.mark.needs("nproc", *TOOLS)
@pytest.mark.parametrize("counts", [True, False])
def test_where_the_kernel_tells_no_cores_the_processors_count(
    lab: Lab, node: Namespace, tmp_path: Path, counts: bool
) -> None:
    boot(node, tmp_path, WORDS)
    node.run(["mount", "-t", "tmpfs", "tmpfs", "/sys/devices/system/cpu"])
    if not counts:
        nothing = tmp_path / "no-nproc"
        nothing.write_text("#!/bin/sh\nexit 1\n")
        nothing.chmod(0o755)
        node.run(["sh", "-c", f"mount --bind {nothing} $(readlink -f $(command -v nproc))"])
    expected = os.cpu_count() if counts else 1
    server = started(lab, 204)
    assert node.run([SCRIPT], timeout=30).returncode == 0
    server.wait_for(f"ready?cores={expected} ")


@pytest.mark.net
def test_what_wasnt_started_by_netbootd_reports_to_nobody(node: Namespace, tmp_path: Path) -> None:
    boot(node, tmp_path, "quiet rw")
    done = node.run([SCRIPT])
    assert "nobody to report to" in done.stderr


@pytest.mark.needs("shellcheck")
def test_shellcheck_finds_nothing() -> None:
    subprocess.run(["shellcheck", SCRIPT], check=True)


@pytest.mark.needs("dash", "busybox")
@pytest.mark.parametrize("shell", [["dash"], ["busybox", "sh"], ["bash", "--posix"]], ids=" ".join)
def test_every_shell_reads_it(shell: list[str]) -> None:
    subprocess.run([*shell, "-n", str(SCRIPT)], check=True)


@pytest.mark.needs("systemd-analyze")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "netbootd-ready.service"
    text = (COMMON / "etc/systemd/system/netbootd-ready.service").read_text()
    unit.write_text(text.replace("/usr/lib/netbootd/report-ready", str(SCRIPT)))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False
    )
    assert str(unit.name) not in done.stderr
    assert done.returncode == 0


def test_the_script_is_executable_in_the_checkout_too() -> None:
    assert SCRIPT.stat().st_mode & stat.S_IXUSR
