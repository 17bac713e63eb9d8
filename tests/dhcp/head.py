"""A head node on the lab's wire: the real daemon with a netbootd.toml, and netbootctl to work on it."""

import sys
from dataclasses import dataclass
from pathlib import Path

from tests.dhcp.client import Client
from tests.lab.namespace import BRIDGE, Lab
from tests.lab.process import Process

NETBOOTD = [sys.executable, "-m", "netbootd"]
NETBOOTCTL = Path(sys.executable).parent / "netbootctl"


@dataclass
class Site:
    """The head node and its wire."""

    lab: Lab
    directory: Path
    config: Path
    daemon: Process

    def machine(self, name: str, mac: str) -> Client:
        """A machine on the head node's own wire."""
        return Client(self.lab.client(name, mac=mac), self.directory)

    def ctl(self, *words: str) -> str:
        """What a command says, however it ends."""
        done = self.lab.run([NETBOOTCTL, "--config", self.config, *words], check=False)
        return done.stdout + done.stderr

    def well(self, *words: str) -> str:
        """What a command puts out; it must succeed."""
        return self.lab.run([NETBOOTCTL, "--config", self.config, *words]).stdout


def configure(directory: Path, text: str) -> Path:
    """Write netbootd.toml, with {directory} and {bridge} filled in."""
    config = directory / "netbootd.toml"
    config.write_text(text.format(directory=directory, bridge=BRIDGE))
    return config


def serving(lab: Lab, config: Path, networks: str) -> Process:
    """Start the daemon, and wait until it serves."""
    daemon = lab.start("netbootd", [*NETBOOTD, "--config", config])
    daemon.wait_for(f"serving {networks}")
    return daemon
