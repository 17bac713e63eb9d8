"""The demo, interrupted while its machines boot: nothing of it may be left."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.head import CHECKOUT, HeadNode, borrowed_image

pytestmark = [pytest.mark.boot, pytest.mark.slow]


@pytest.fixture
def head(tmp_path: Path) -> Iterator[HeadNode]:
    with borrowed_image(f"demo-{tmp_path.name}") as borrowed:
        yield borrowed


def processes_of(directory: Path) -> list[str]:
    """Command lines of processes that work in or on `directory`, zombies excepted."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            where = str((entry / "cwd").readlink())
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if any(str(directory) in word for word in (*words, where)) and int(entry.name) != os.getpid():
            found.append(" ".join(words)[:100])
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_demo_leaves_nothing_behind(head: HeadNode, number: signal.Signals) -> None:
    log = head.directory / "demo.log"
    with log.open("w") as output:
        demo = subprocess.Popen(
            [sys.executable, "-m", "tests.lab.demo"],
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=CHECKOUT,
            env={**os.environ, "NETBOOTD_DEMO_DIR": str(head.directory)},
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 120
        while "n01 (bios)" not in log.read_text():
            assert demo.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        assert any("qemu-system" in process for process in processes_of(head.directory))
        os.killpg(demo.pid, number)
        status = demo.wait(30)
    finally:
        demo.kill()
    assert status == (-number if number is signal.SIGKILL else 128 + number)
    deadline = time.monotonic() + 15
    while (left := processes_of(head.directory)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert left == []
    assert ("cleaned up" in log.read_text()) is (number is not signal.SIGKILL)
