"""Whether netbootd's ports are its own, and whose they are otherwise.

While netbootd runs it must be the one at its ports. While it doesn't, each port is tried just as it would:
that says for certain whether it could start. Who has a port stands in /proc.
"""

import errno
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from netbootd.ctl.checks.finding import Context, Finding, note, ok, wrong
from netbootd.dhcp.proxy import BOOT_SERVER_PORT
from netbootd.network import DhcpMode, Network

PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Port:
    """A port that netbootd opens on `network`; `device`: by SO_BINDTODEVICE, as for DHCP and TFTP."""

    protocol: str
    number: int
    purpose: str
    network: Network
    setting: str = ""
    """The line of netbootd.toml that moves it elsewhere."""

    def __str__(self) -> str:
        return f"{self.protocol.upper()} port {self.number} ({self.purpose})"


@dataclass(frozen=True, slots=True)
class Owner:
    """A process with a socket; `unit` is its systemd service, empty where it has none."""

    pid: int
    name: str
    unit: str

    def __str__(self) -> str:
        return f"{self.name} (process {self.pid}{f', {self.unit}' if self.unit else ''})"


def ports(context: Context) -> list[Finding]:
    """67, 4011, 69 and HTTP's."""
    found: list[Finding] = []
    fine: dict[str, None] = {}
    for port in _needed(context):
        owners = owners_of(port.protocol, port.number, port.network.server)
        ours = [owner for owner in owners if owner.pid == context.daemon]
        if context.daemon is not None and (ours or not context.root):
            fine[str(port)] = None
        elif context.daemon is not None:
            found.append(wrong(f"netbootd runs and hasn't {port} open", "journalctl -u netbootd -n 30"))
        else:
            found += _trial(port, owners, fine)
    if fine:
        whose = "netbootd's" if context.daemon is not None else "free"
        found.append(ok(f"{', '.join(fine)}: {whose}"))
    return found


def owners_of(protocol: str, number: int, address: IPv4Address) -> list[Owner]:
    """Who has that port open here, on `address` or on all; only root sees other users' processes."""
    inodes = set(_inodes(protocol, number, address))
    found: dict[int, Owner] = {}
    for process in PROC.iterdir() if inodes else ():
        if process.name.isdigit() and inodes & _sockets(process):
            found[int(process.name)] = Owner(
                int(process.name), _read(process / "comm").strip(), _unit(process)
            )
    return list(found.values())


def _needed(context: Context) -> Iterator[Port]:
    config = context.config
    served = {n.interface for n in context.networks if n.dhcp is not DhcpMode.OFF}
    by_interface = {network.interface: network for network in reversed(context.networks)}
    for network in reversed(by_interface.values()):
        if network.interface in served:
            yield Port("udp", 67, "DHCP", network, 'dhcp = "off"')
            yield Port("udp", BOOT_SERVER_PORT, "PXE", network, 'dhcp = "off"')
        if config.tftp.enabled:
            yield Port("udp", config.tftp.port, "TFTP", network)
    for network in {network.server: network for network in context.networks}.values():
        yield Port("tcp", config.http.port, "HTTP", network, "port under [http]")


def _trial(port: Port, owners: list[Owner], fine: dict[str, None]) -> list[Finding]:
    kind = socket.SOCK_STREAM if port.protocol == "tcp" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as trial:
        try:
            if port.protocol == "tcp":
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            else:
                device = port.network.interface.encode() + b"\0"
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device)
            trial.bind(("" if port.purpose in ("DHCP", "PXE") else str(port.network.server), port.number))
            if port.protocol == "tcp":
                trial.listen(1)
        except OSError as error:
            return _refused(port, owners, error)
    fine[str(port)] = None
    return []


def _refused(port: Port, owners: list[Owner], error: OSError) -> list[Finding]:
    if error.errno == errno.EADDRINUSE:
        who = " and ".join(map(str, owners)) or "another process (root sees which)"
        units = [owner.unit for owner in owners if owner.unit]
        stop = f"systemctl disable --now {units[0]}" if units else "stop it"
        if not units and owners:
            stop = f"kill {owners[0].pid}"
        other = f", or change {port.setting} in netbootd.toml" if port.setting.startswith("port") else ""
        return [wrong(f"{port} on {port.network.interface} is in use by {who}", stop + other)]
    if error.errno in (errno.EACCES, errno.EPERM):
        if owners:
            return [wrong(f"{port} is in use by {' and '.join(map(str, owners))}", "stop it")]
        return [note(f"{port}: only root can try whether it is free")]
    if error.errno in (errno.EADDRNOTAVAIL, errno.ENODEV):  # no address, no interface: said elsewhere
        return []
    return [wrong(f"{port} can't be opened: {error.strerror}")]


def _inodes(protocol: str, number: int, address: IPv4Address) -> Iterator[str]:
    """Inodes of the sockets bound there, from /proc/net; a TCP one counts where it listens (state 0A)."""
    for name, width in ((protocol, 8), (f"{protocol}6", 32)):
        for line in _read(PROC / "net" / name).splitlines()[1:]:
            fields = line.split()
            local, _, port = fields[1].partition(":")
            if int(port, 16) != number or (protocol == "tcp" and fields[3] != "0A"):
                continue
            own = width == 32 or int(local, 16) == 0 or bytes.fromhex(local)[::-1] == address.packed
            if own:
                yield fields[9]


def _sockets(process: Path) -> set[str]:
    """Inodes of the sockets that a process has open; none where we may not look, or it has ended."""
    found = set()
    try:
        for entry in (process / "fd").iterdir():
            if match := re.fullmatch(r"socket:\[(\d+)\]", str(entry.readlink())):
                found.add(match[1])
    except OSError:
        pass
    return found


def _unit(process: Path) -> str:
    services = re.findall(r"([^/\s]+\.service)", _read(process / "cgroup"))
    return services[-1] if services else ""


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
