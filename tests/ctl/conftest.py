"""A head node in a temporary directory, and netbootctl to work on it."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from netbootd.ctl import main
from netbootd.image import Generation
from netbootd.images import record
from netbootd.images.trees import mounts_under
from tests.simulate.images import INITRD, x86_kernel

CONFIG = """\
state_dir = "{directory}/state"
template_dir = "{directory}/templates"

[[network]]
interface = "eth9"
address = "10.77.0.1/24"
range = "10.77.0.10-10.77.0.99"
pool = "10.77.0.100-10.77.0.199"
router = "10.77.0.254"

[nfs]
server = "ganesha"
exports_file = "{directory}/exports"
ganesha_config = "{directory}/ganesha.conf"
ganesha_pid = "{directory}/ganesha.pid"

[hosts]
hosts_file = "{directory}/hosts"
known_hosts_file = "{directory}/known_hosts"
ssh_config_file = "{directory}/ssh_config"
chrony_file = "{directory}/chrony/netbootd.conf"
"""
NETBOOTCTL = Path(sys.executable).parent / "netbootctl"
MACS = [f"52:54:00:00:00:{n:02x}" for n in range(1, 20)]


@dataclass(frozen=True)
class Outcome:
    """How a command ended, and what it said."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it said, for programs."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Head:
    """A head node whose every file lies below `directory`. Calling it runs netbootctl in this process."""

    directory: Path
    capture: pytest.CaptureFixture[str]

    @property
    def config(self) -> Path:
        return self.directory / "netbootd.toml"

    def __call__(self, *words: str) -> Outcome:
        self.capture.readouterr()
        status = main(["--config", str(self.config), *words])
        said = self.capture.readouterr()
        return Outcome(status, said.out, said.err)

    def well(self, *words: str) -> Outcome:
        """Run a command that must succeed."""
        done = self(*words)
        assert done.status == 0, done.err
        return done

    def apart(self, *words: str, **settings: Any) -> subprocess.CompletedProcess[str]:
        """Run netbootctl in a process of its own."""
        return subprocess.run(
            self.command(*words),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            stdin=subprocess.DEVNULL,
            **settings,
        )

    def command(self, *words: str) -> list[str]:
        """The words to run netbootctl with."""
        return [str(NETBOOTCTL), "--config", str(self.config), *words]

    def dump(self) -> list[str]:
        """All that the registry holds, but for what is counted."""
        path = self.directory / "state" / "registry" / "registry.db"
        if not path.exists():
            return []
        db = sqlite3.connect(path)
        try:
            return list(db.iterdump())
        finally:
            db.close()

    def image(self, name: str, number: int = 1, *, kernel: bool = True, current: bool = True) -> Generation:
        """An image generation with as much in it as commands look at."""
        directory = self.directory / "state" / "images" / name / str(number)
        (directory / "root").mkdir(parents=True)
        (directory / "boot").mkdir()
        if kernel:
            (directory / "boot" / "vmlinuz").write_bytes(x86_kernel())
            (directory / "boot" / "initrd").write_bytes(INITRD)
        made = Generation(
            image=name,
            number=number,
            directory=directory,
            created="2026-01-02T03:04:05+00:00",
            origin="a test",
            architecture="x86_64",
            kernel_release="6.1.0-13-amd64",
            size=1_234_567_890,
        )
        record.write(directory / record.FILE_NAME, made)
        if current:
            link = directory.parent / "current"
            link.unlink(missing_ok=True)
            link.symlink_to(str(number))
        return made


@pytest.fixture
def head(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Head]:
    """A head node with one network; its registry comes into being with the first command."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # main() sets its own
    (tmp_path / "netbootd.toml").write_text(CONFIG.format(directory=tmp_path))
    yield Head(tmp_path, capsys)
    for mount in mounts_under(tmp_path):  # persistent roots, which apply mounts
        subprocess.run(["umount", mount], check=True)


@pytest.fixture
def as_root() -> None:
    """For what only root may do."""
    if os.geteuid() != 0:
        pytest.skip("needs root: apply gives files to root")
