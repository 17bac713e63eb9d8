"""`python -m tests.benchmarks.dhcp`: our DHCP server beside dnsmasq, four-way exchanges of registered nodes.

Each server in turn in a network namespace of its own, and a crowd of clients (tests/dhcp/crowd.py) that keeps
32 exchanges going. Prints exchanges a second and the server's CPU milliseconds for each, the median of
three rounds in which the servers take turns. dnsmasq is left out where it isn't installed.
"""

import os
import shutil
import sys
import tempfile
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from statistics import median

from netbootd.node import Mac
from netbootd.registry import NodeRequest, Registry
from tests.dhcp.packets import NETWORK
from tests.lab.namespace import BRIDGE, Lab
from tests.lab.process import Process

NODES = 1000
FIRST = 4096
TURNS = 3
ROUNDS = 3
CHECKOUT = Path(__file__).parents[2]
ADDRESSES = [IPv4Address("10.77.100.0") + number for number in range(NODES)]
MACS = [Mac.from_octets(b"\x52\x54" + (FIRST + number).to_bytes(4, "big")) for number in range(NODES)]


def main() -> None:
    """Measure and print."""
    found: dict[str, list[tuple[float, float]]] = {}
    for _ in range(ROUNDS):
        for name in ("netbootd", "dnsmasq"):
            if name == "netbootd" or shutil.which(name):
                found.setdefault(name, []).append(measured(name))
    for name, rounds in found.items():
        rate, cpu = (median(column) for column in zip(*rounds, strict=True))
        print(f"{name:10}{rate:8.0f} exchanges a second{cpu:8.3f} CPU ms each")


def measured(name: str) -> tuple[float, float]:
    """Exchanges a second, and the server's CPU milliseconds for one."""
    with tempfile.TemporaryDirectory() as directory, Lab() as lab:
        crowd = lab.client("crowd", address="10.77.0.9/16")
        lab.ip(f"address replace 10.77.0.1/16 dev {BRIDGE}", f"address delete 10.77.0.1/24 dev {BRIDGE}")
        server = SERVERS[name](lab, Path(directory))
        before = cpu_seconds(server)
        command = [sys.executable, "-m", "tests.dhcp.crowd", str(FIRST), str(NODES), str(TURNS)]
        said = crowd.run(command, cwd=CHECKOUT, timeout=600).stderr
        return float(said.split()[0]), (cpu_seconds(server) - before) * 1000 / (NODES * TURNS)


def start_netbootd(lab: Lab, directory: Path) -> Process:
    """With its registry and its events on the disk, and every event told."""
    network = replace(NETWORK, address=IPv4Interface("10.77.0.1/16"))
    names = [f"m{number}" for number in range(NODES)]
    requests = [
        NodeRequest(name=name, macs=(mac,), address=address)
        for name, mac, address in zip(names, MACS, ADDRESSES, strict=True)
    ]
    with Registry.open(directory / "registry.db") as registry:
        registry.add_nodes(requests, (network,), {})
    # A pool beside the nodes' addresses makes the server take the wide network.
    pool = "10.77.200.0-10.77.200.9"
    server = lab.start("netbootd", [sys.executable, "-m", "tests.dhcp.serve", directory, pool], cwd=CHECKOUT)
    server.wait_for("ready")
    return server


def start_dnsmasq(lab: Lab, directory: Path) -> Process:
    """With the same nodes, and its log of each message, as its users have it."""
    hosts = directory / "hosts"
    hosts.write_text("".join(f"{mac},{a}\n" for mac, a in zip(MACS, ADDRESSES, strict=True)))
    command: list[str | Path] = ["dnsmasq", "--conf-file=/dev/null", "--keep-in-foreground", "--port=0"]
    command += [
        f"--interface={BRIDGE}",
        "--bind-dynamic",
        "--dhcp-range=10.77.0.0,static,255.255.0.0,infinite",
    ]
    command += [f"--dhcp-hostsfile={hosts}", f"--dhcp-leasefile={directory}/leases", "--user=root"]
    command += ["--log-facility=-", "--dhcp-lease-max=5000", "--dhcp-authoritative"]
    server = lab.start("dnsmasq", command)
    server.wait_until(lambda: "DHCP, static leases" in server.output(), "range")
    return server


SERVERS = {"netbootd": start_netbootd, "dnsmasq": start_dnsmasq}


def cpu_seconds(process: Process) -> float:
    """User and system time so far."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
