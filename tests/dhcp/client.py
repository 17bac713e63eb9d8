"""Machines with real DHCP clients: udhcpc and dhclient, and what they said of their leases."""

import re
from pathlib import Path

from tests.lab.namespace import Namespace
from tests.lab.process import Process

# What a client would set up, it writes down; udhcpc says what happened in $1, dhclient in $reason.
SCRIPT = """#!/bin/sh
what=${1:-$reason}
{ echo "== $what"; env; } >> "$SAID"
case $what in
    deconfig|PREINIT|EXPIRE|FAIL) ip address flush dev $interface ;;
    bound|renew) ip address replace $ip/$mask dev $interface ;;
    BOUND|RENEW|REBIND|REBOOT) ip address replace $new_ip_address/24 dev $interface ;;
esac
"""


class Client:
    """A machine with a real DHCP client. `said` is what the client told its script, by name of the event."""

    def __init__(self, namespace: Namespace, directory: Path) -> None:
        self.namespace = namespace
        self.name = namespace.name
        self._said = directory / f"{self.name}.said"
        self.script = directory / "script"
        self.script.write_text(SCRIPT)
        self.script.chmod(0o755)
        self.directory = directory

    @property
    def env(self) -> dict[str, str]:
        return {"SAID": str(self._said)}

    def said(self, what: str) -> dict[str, str]:
        """The client's variables at the last event of that name; empty if there was none."""
        text = self._said.read_text() if self._said.exists() else ""
        found = [part for part in re.split(r"^== ", text, flags=re.MULTILINE) if part.startswith(f"{what}\n")]
        lines = found[-1].splitlines() if found else []
        return dict(line.split("=", 1) for line in lines if "=" in line)

    def udhcpc(self, *arguments: str) -> Process:
        """Start busybox udhcpc in the foreground, staying there to renew."""
        command = [
            "udhcpc",
            "-f",
            "-i",
            "eth0",
            "-s",
            str(self.script),
            "-t",
            "8",
            "-T",
            "1",
            "-A",
            "1",
            *arguments,
        ]
        return self.namespace.start(f"udhcpc-{self.name}", command, env=self.env)

    def dhclient(self, *arguments: str, lease: str = "") -> Process:
        """Start ISC dhclient in the foreground; `lease` is what its lease file already has."""
        leases, config = self.directory / f"{self.name}.leases", self.directory / f"{self.name}.conf"
        leases.write_text(lease)
        config.write_text("timeout 20;\ninitial-interval 1;\n" + "".join(f"{a};\n" for a in arguments))
        files: list[str | Path] = ["-cf", config, "-lf", leases, "-sf", self.script, "--no-pid"]
        environment = [word for key, value in self.env.items() for word in ("-e", f"{key}={value}")]
        return self.namespace.start(
            f"dhclient-{self.name}", ["dhclient", "-4", "-d", "-1", *files, *environment, "eth0"]
        )

    def wait_for(self, process: Process, what: str) -> dict[str, str]:
        """The variables of the event, once the client has come to it."""
        process.wait_until(lambda: bool(self.said(what)), f"event {what}")
        return self.said(what)
