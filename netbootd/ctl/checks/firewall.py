"""Whether this machine's firewall lets nodes in: nftables' rules by `nft`, older ones by `iptables`."""

import shutil
import subprocess
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

from netbootd.ctl.checks.finding import Context, Finding, note, ok, warning, wrong
from netbootd.ctl.checks.ruleset import Outcome, Packet, Ruleset, from_iptables, from_nft, outcome
from netbootd.dhcp.proxy import BOOT_SERVER_PORT
from netbootd.network import DhcpMode, Network

OLD_TABLES = Path("/proc/net/ip_tables_names")
TRANSFER_PORT = 40_000
"""Where a TFTP transfer goes on, any high port; it is the answer to what we sent from there."""


def firewall(context: Context) -> list[Finding]:
    """DHCP, TFTP, HTTP and NFS from each network."""
    if not context.root:
        return [note("the firewall's rules can be read by root only")]
    rulesets = dict(_rulesets())
    if not rulesets:
        if _old_rules():
            return [
                note(
                    "there is a firewall (iptables), and no `iptables` here to read it",
                    "apt-get install iptables",
                )
            ]
        if Path("/proc/net/nf_conntrack").exists() and shutil.which("nft") is None:
            return [note("there may be a firewall, and no `nft` here to read it", "apt-get install nftables")]
        return [ok("no firewall rules")]
    found: list[Finding] = []
    for network in context.networks:
        for tool, ruleset in rulesets.items():
            found += _of_network(context, network, tool, ruleset)
    return found or [ok(f"the firewall ({' and '.join(rulesets)}) lets nodes in")]


def _of_network(context: Context, network: Network, tool: str, ruleset: Ruleset) -> Iterator[Finding]:
    blocked: dict[str, list[tuple[str, Outcome]]] = {"certain": [], "perhaps": []}
    for what, packet in _packets(context, network):
        found = outcome(ruleset, packet)
        if found.chain is not None:
            blocked["certain" if found.certain else "perhaps"].append((what, found))
    for certainty, cases in blocked.items():
        if cases:
            chain = cases[0][1].chain
            name = chain.title if chain else ""
            mend = (
                f"nft insert rule {name} iifname {network.interface} accept"
                if tool == "nft"
                else f"iptables -I {name} -i {network.interface} -j ACCEPT"
            )
            services = ", ".join(what for what, _ in cases)
            if certainty == "certain":
                yield wrong(
                    f"the firewall drops {services} on {network.interface} (chain {name})", mend + _keep()
                )
            else:
                text = f"the firewall may drop {services} on {network.interface}"
                yield warning(f"{text} (chain {name} has rules not judged here)", mend + _keep())


def _packets(context: Context, network: Network) -> Iterator[tuple[str, Packet]]:
    """What a booting node sends us, in its order."""
    node = next(address for address in network.subnet.hosts() if address != network.server)
    nobody, everybody = IPv4Address("0.0.0.0"), IPv4Address("255.255.255.255")  # noqa: S104 (DHCP's own)
    if network.behind_relay and network.router:
        nobody, everybody = network.router, network.server  # the relay speaks, and to us alone
    config, server, wire = context.config, network.server, network.interface

    def packet(protocol: str, port: int, state: str = "new") -> Packet:
        return Packet(
            interface=wire, protocol=protocol, port=port, source=node, destination=server, state=state
        )  # fmt: skip

    if network.dhcp is not DhcpMode.OFF:
        yield (
            "DHCP (UDP 67)",
            Packet(interface=wire, protocol="udp", port=67, source=nobody, destination=everybody),
        )
        yield f"PXE (UDP {BOOT_SERVER_PORT})", packet("udp", BOOT_SERVER_PORT)
    if config.tftp.enabled:
        yield f"TFTP (UDP {config.tftp.port})", packet("udp", config.tftp.port)
        yield "TFTP's transfers (established UDP)", packet("udp", TRANSFER_PORT, "established")
    yield f"HTTP (TCP {config.http.port})", packet("tcp", config.http.port)
    yield "NFS (TCP 2049)", packet("tcp", 2049)
    if config.nfs.version == "3":
        yield "rpcbind (TCP 111)", packet("tcp", 111)
    if config.hosts.chrony_file.parent.is_dir():
        yield "NTP (UDP 123)", packet("udp", 123)


def _rulesets() -> Iterator[tuple[str, Ruleset]]:
    """Tool -> its rules, where it has any that packets to us meet."""
    if shutil.which("nft") and (text := _output("nft", "-j", "list", "ruleset")):
        ruleset = from_nft(text)
        if any(chain.hook for chain in ruleset.values()):
            yield "nft", ruleset
    if _old_rules() and shutil.which("iptables-legacy"):
        yield "iptables", from_iptables(_output("iptables-legacy", "-S"))
    elif _old_rules() and shutil.which("iptables"):
        yield "iptables", from_iptables(_output("iptables", "-S"))


def _old_rules() -> bool:
    """Whether the kernel has tables of iptables-legacy, which `nft` doesn't show."""
    try:
        return "filter" in OLD_TABLES.read_text(encoding="ascii").split()
    except OSError:
        return False


def _output(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _keep() -> str:
    """How the change outlives the next start, where a manager of firewalls would undo it."""
    if shutil.which("ufw"):
        return "   (or `ufw allow in on` that interface)"
    if shutil.which("firewall-cmd"):
        return "   (or put that interface into firewalld's zone trusted)"
    return ""
