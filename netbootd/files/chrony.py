"""The head node's chronyd serves time to the nodes: a file of ours among its own, and a restart for it."""

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from netbootd.network import Network

UNITS = ("chrony.service", "chronyd.service")
"""Debian's name, and everybody else's."""
SYSTEMD = Path("/run/systemd/system")
PID_FILES = (Path("/run/chrony/chronyd.pid"), Path("/run/chronyd.pid"))
SECONDS = 60


def render(networks: Iterable[Network]) -> bytes:
    """The file: chrony.conf(5). Time for the networks that are served, whatever the head node itself knows.

    `local stratum 10 orphan`: a head node without internet serves its own clock, as a poor one, so that the
    nodes agree at least with each other; one that hears of a better clock serves that.
    """
    lines = [
        "# Written by `netbootctl apply`, which replaces it: the nodes have their time from here.",
        *(f"allow {subnet}" for subnet in sorted({network.subnet for network in networks})),
        "local stratum 10 orphan",
    ]
    return "".join(f"{line}\n" for line in lines).encode()


def restart(path: Path) -> tuple[str, ...]:
    """Have a running chronyd read `path`: only a start does that. Returns why it didn't."""
    if not SYSTEMD.is_dir() or shutil.which("systemctl") is None:
        return (f"chronyd runs, and reads {path} when it starts; restart it",) if running() else ()
    try:
        done = subprocess.run(
            ["systemctl", "try-restart", *UNITS],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return (f"chronyd isn't restarted after {SECONDS} seconds; `systemctl restart chrony` by hand",)
    # 5: the one of the two names that isn't this system's.
    if done.returncode not in (0, 5):
        said = done.stderr.strip().splitlines()
        return (f"chronyd wasn't restarted, and serves time as before: {said[0][:200] if said else ''}",)
    return ()


def running() -> bool:
    """Whether a chronyd runs here."""
    return any(map(_is_chronyd, PID_FILES))


def _is_chronyd(pid_file: Path) -> bool:
    try:
        pid = int(pid_file.read_text(encoding="ascii"))
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip() == "chronyd"
    except (OSError, ValueError):
        return False
