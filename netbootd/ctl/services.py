"""What `setup` starts by systemd: the daemon, and NFS-Ganesha where the nodes' NFS server is that one."""

import os
import shutil
import subprocess
from pathlib import Path

from netbootd.ctl.app import DEFAULT_CONFIG
from netbootd.ctl.tables import say, warn

DAEMON = "netbootd.service"
GANESHA = "netbootd-ganesha.service"
DISTRIBUTIONS_GANESHA = "nfs-ganesha.service"
"""Debian starts it at installation, with /etc/ganesha/ganesha.conf, at the port that ours needs."""
INSTALL_GANESHA = "apt-get install nfs-ganesha nfs-ganesha-vfs"
START_GANESHA = (
    f"systemctl disable --now nfs-ganesha; systemctl enable --now {GANESHA.removesuffix('.service')}"
)


def start(path: Path, nfs_server: str) -> None:
    """Start the services for netbootd.toml at `path`, anew if they run; one command less for the owner."""
    ours = os.geteuid() == 0 and path == DEFAULT_CONFIG and Path("/run/systemd/system").is_dir()
    if not ours or not _succeeds("cat", DAEMON):
        say(f"to start it: netbootd --config {path}")
        return
    if not (_done("enable", "--quiet", DAEMON) and _done("restart", DAEMON)):
        return
    say("netbootd runs, and will after the next start of this machine")
    if nfs_server == "ganesha":
        _start_ganesha()
    elif _succeeds("is-enabled", GANESHA):
        _done("disable", "--quiet", "--now", GANESHA)


def _start_ganesha() -> None:
    if shutil.which("ganesha.nfsd") is None:
        warn(
            f"nodes have their root from NFS-Ganesha, and it isn't installed; `{INSTALL_GANESHA}`, then again"
        )
        return
    if _succeeds("is-enabled", DISTRIBUTIONS_GANESHA) or _succeeds("is-active", DISTRIBUTIONS_GANESHA):
        if _edited():
            warn(
                f"{DISTRIBUTIONS_GANESHA} serves exports of yours at the port that nodes need; "
                f"to give it to the nodes: `{START_GANESHA}`"
            )
            return
        say(f"{DISTRIBUTIONS_GANESHA} makes room for {GANESHA}")
        if not _done("disable", "--quiet", "--now", DISTRIBUTIONS_GANESHA):
            return
    if _done("enable", "--quiet", GANESHA) and _done("restart", GANESHA):
        say("NFS-Ganesha does so too, with what netbootd exports")


def _edited() -> bool:
    """Whether the distribution's configuration is somebody's own, as dpkg sees it."""
    words = ["dpkg", "--verify", "nfs-ganesha"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return True
    return "/etc/ganesha/ganesha.conf" in done.stdout


def _succeeds(*words: str) -> bool:
    return subprocess.run(["systemctl", *words], capture_output=True, check=False).returncode == 0


def _done(*words: str) -> bool:
    """Whether systemctl did it; said if not."""
    if not _succeeds(*words):
        warn(f"systemctl {' '.join(words)} failed; `journalctl -u {words[-1]} -n 20` says why")
        return False
    return True
