"""SIGKILL at any moment: what netbootctl said it registered is registered, and the registry stays whole."""

import os
import random
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

from tests.ctl.conftest import NETBOOTCTL, Head

ROUNDS = 14


def test_sigkill_never_loses_a_registration_that_was_acknowledged(head: Head, tmp_path: Path) -> None:
    head.well("node", "list")
    began = time.monotonic()
    head.apart("node", "add", "warm", "--mac", "52:54:00:00:ff:ff")
    usual = time.monotonic() - began
    acknowledged, dice = ["warm"], random.Random(7)
    for round_ in range(ROUNDS):
        name = f"n{round_:02}"
        said = tmp_path / f"said-{round_}"
        with said.open("wb") as out:
            process = subprocess.Popen(
                [
                    NETBOOTCTL,
                    "--config",
                    head.config,
                    "node",
                    "add",
                    name,
                    "--mac",
                    f"52:54:00:00:01:{round_:02x}",
                ],
                stdout=out,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
            # Half of them right after the acknowledgement, while apply runs; the others whenever.
            if round_ % 2:
                deadline = time.monotonic() + 30
                while not said.read_bytes() and process.poll() is None and time.monotonic() < deadline:
                    time.sleep(0.002)
                time.sleep(dice.uniform(0, 0.05))
            else:
                time.sleep(dice.uniform(0.3, 1.1) * usual)
            process.send_signal(signal.SIGKILL)
            process.wait()
        if f"registered {name}" in said.read_text():
            acknowledged.append(name)
    db = sqlite3.connect(head.directory / "state/registry/registry.db")
    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()
    found = {node["name"] for node in head.well("node", "list", "--json").json}
    assert set(acknowledged) <= found
    assert len(acknowledged) > ROUNDS // 3, "too few were acknowledged for this to say anything"
    if os.geteuid() == 0:
        head.well("apply")
        assert "nothing to apply" in head.well("apply").out
