"""Completion in a real shell: commands, options, the names of nodes, images, generations and profiles."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ctl.conftest import MACS, NETBOOTCTL, Head


def completed(head: Head, *words: str) -> set[str]:
    """What bash offers after `netbootctl --config FILE WORDS…`, the last word being typed."""
    typed = ["netbootctl", "--config", str(head.config), *words]
    script = (
        f'eval "$(_NETBOOTCTL_COMPLETE=source_bash {NETBOOTCTL})"\n'
        'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))\n'
        '_netbootctl_completion netbootctl; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    path = f"{NETBOOTCTL.parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script, "bash", *typed],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PATH": path},
    )
    assert done.stderr == ""
    return set(done.stdout.split())


@pytest.fixture
def filled(head: Head) -> Head:
    head.image("debian", 1)
    head.image("debian", 2)
    head.image("arch")
    head.well("profile", "set", "gpu", "--root", "ram")
    head.well("node", "add", "n[01-02]", "--mac", ",".join(MACS[:2]))
    head.well("node", "add", "orion", "--mac", MACS[2])
    return head


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["no"], {"node"}),
        (["node", "re"], {"rename", "remove", "reset"}),
        (["node", "show", ""], {"n01", "n02", "orion"}),
        (["node", "set", "o"], {"orion"}),
        (["why", "n0"], {"n01", "n02"}),
        (["node", "set", "n01", "--image", "d"], {"debian"}),
        (["node", "set", "n01", "--profile", ""], {"gpu"}),
        (["image", "use", ""], {"arch", "debian"}),
        (["image", "use", "debian@"], {"debian@1", "debian@2"}),
        (["profile", "remove", "g"], {"gpu"}),
        (["explain", "n01", "--firmware", "uefi-a"], {"uefi-arm64"}),
        (["node", "set", "n01", "--root", "p"], {"persistent"}),
    ],
)
def test_bash_completes(filled: Head, words: list[str], offered: set[str]) -> None:
    assert completed(filled, *words) == offered


def test_completion_is_silent_where_there_is_no_registry_to_read(head: Head) -> None:
    head.config.write_text("this is not TOML")
    assert completed(head, "node", "show", "") == set()
    head.config.unlink()
    assert completed(head, "image", "use", "") == set()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_there_is_a_script_for_each_shell(shell: str) -> None:
    environment = {**os.environ, "_NETBOOTCTL_COMPLETE": f"source_{shell}"}
    done = subprocess.run([NETBOOTCTL], capture_output=True, text=True, check=True, env=environment)
    assert "netbootctl" in done.stdout and f"complete_{shell}" in done.stdout


def test_what_is_to_be_imported_is_completed_as_a_path(head: Head, tmp_path: Path) -> None:
    (tmp_path / "golden.img").touch()
    (tmp_path / "golden.d").mkdir()
    offered = completed(head, "image", "import", "sclork", f"{tmp_path}/gol")
    assert offered == {f"{tmp_path}/golden.img", f"{tmp_path}/golden.d/"}


def test_install_completion_puts_it_where_bash_finds_it(tmp_path: Path) -> None:
    environment = {**os.environ, "HOME": str(tmp_path)}
    command = f"{NETBOOTCTL} --install-completion; exit $?"
    subprocess.run(["bash", "-c", command], env=environment, check=True, capture_output=True)
    found = subprocess.run(
        ["bash", "-c", "source ~/.bashrc; complete -p netbootctl"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "_netbootctl_completion" in found.stdout


def test_completing_loads_no_protocol(head: Head) -> None:
    """Somebody waits for it with a finger on the key."""
    program = (
        "import sys, atexit; from netbootd.ctl import main\n"
        "heavy = {'scapy', 'pyroute2', 'jinja2'}\n"
        "atexit.register(lambda: print(heavy & set(sys.modules), file=sys.stderr))\n"
        "main()"
    )
    environment = {
        **os.environ,
        "_NETBOOTCTL_COMPLETE": "complete_bash",
        "COMP_WORDS": f"netbootctl --config {head.config} node show ",
        "COMP_CWORD": "5",
    }
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False
    )
    assert done.stderr.strip() == "set()"
