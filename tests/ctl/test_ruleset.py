"""What a firewall lets in: read off its rules, and compared with what the kernel really does."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from netbootd.ctl.checks.ruleset import Outcome, Packet, from_iptables, from_nft, outcome
from tests.lab.namespace import Lab

TFTP = Packet(
    interface="eth1",
    protocol="udp",
    port=69,
    source=IPv4Address("10.77.0.9"),
    destination=IPv4Address("10.77.0.1"),
)
DHCP = replace(TFTP, port=67, source=IPv4Address("0.0.0.0"), destination=IPv4Address("255.255.255.255"))
HTTP = replace(TFTP, protocol="tcp", port=80)
ANSWER = replace(TFTP, port=40_000, state="established")


def fate(found: Outcome) -> str:
    if not found.certain:
        return "dropped?" if found.chain else "in?"
    return "dropped" if found.chain else "in"


OLD = {
    "nothing": ("", "in in in in"),
    "a policy": ("-P INPUT DROP", "dropped dropped dropped dropped"),
    "by interface": ("-P INPUT DROP\n-A INPUT -i eth1 -j ACCEPT", "in in in in"),
    "another interface": ("-P INPUT DROP\n-A INPUT -i eth2 -j ACCEPT", "dropped dropped dropped dropped"),
    "an interface's beginning": ("-P INPUT DROP\n-A INPUT -i eth+ -j ACCEPT", "in in in in"),
    "by port": ("-P INPUT DROP\n-A INPUT -p udp -m udp --dport 67:69 -j ACCEPT", "in in dropped dropped"),
    "by ports": (
        "-P INPUT DROP\n-A INPUT -p tcp -m multiport --dports 22,80 -j ACCEPT",
        "dropped dropped in dropped",
    ),
    "by state": (
        "-P INPUT DROP\n-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        "dropped dropped dropped in",
    ),
    "by network": ("-P INPUT DROP\n-A INPUT -s 10.77.0.0/24 -j ACCEPT", "in dropped in in"),
    "all but": ("-P INPUT ACCEPT\n-A INPUT ! -p tcp -j DROP", "dropped dropped in dropped"),
    "by a chain": (
        "-P INPUT DROP\n-N NODES\n-A INPUT -i eth1 -j NODES\n-A NODES -p udp -j ACCEPT\n-A NODES -j RETURN",
        "in in dropped in",
    ),
    "rejected": ("-P INPUT ACCEPT\n-A INPUT -p tcp --dport 80 -j REJECT", "in in dropped in"),
    "a log": ("-P INPUT ACCEPT\n-A INPUT -j LOG", "in in in in"),
    "by a condition unknown": (
        "-P INPUT DROP\n-A INPUT -m recent --name x -j ACCEPT",
        "dropped? dropped? dropped? dropped?",
    ),
    "unknown, for another port": (
        "-P INPUT ACCEPT\n-A INPUT -p tcp --dport 22 -m recent --name x -j DROP",
        "in in in in",
    ),
    "chains in a circle": (
        "-P INPUT DROP\n-N A\n-N B\n-A INPUT -j A\n-A A -j B\n-A B -j A",
        "dropped dropped dropped dropped",
    ),
}


@pytest.mark.parametrize(("rules", "expected"), OLD.values(), ids=OLD)
def test_iptables_rules_are_read(rules: str, expected: str) -> None:
    ruleset = from_iptables(rules)
    assert " ".join(fate(outcome(ruleset, packet)) for packet in (TFTP, DHCP, HTTP, ANSWER)) == expected


NEW: dict[str, tuple[Iterable[str], str]] = {
    "nothing": ([], "in in in in"),
    "a policy": (["policy drop"], "dropped dropped dropped dropped"),
    "the usual": (
        [
            "policy drop",
            "ct state vmap { established : accept, related : accept, invalid : drop }",
            'iifname "lo" accept',
            "tcp dport { 22, 80, 2049 } accept",
        ],
        "dropped dropped in in",
    ),
    "by interface": (["policy drop", 'iifname "eth1" accept'], "in in in in"),
    "by wildcard": (["policy drop", 'iifname "eth*" accept'], "in in in in"),
    "by a range of ports": (["policy drop", "udp dport 67-69 accept"], "in in dropped dropped"),
    "by network": (["policy drop", "ip saddr 10.77.0.0/24 accept"], "in dropped in in"),
    "not that network": (["ip saddr != 10.77.0.0/24 drop"], "in dropped in in"),
    "by protocol": (["meta l4proto { icmp, udp } drop"], "dropped dropped in dropped"),
    "any of both": (["meta l4proto { tcp, udp } th dport { 67, 80 } drop"], "in dropped dropped in"),
    "IPv6 alone": (["meta nfproto ipv6 drop", "ip6 saddr ::/0 drop"], "in in in in"),
    "rejected": (["tcp dport 80 reject"], "in in dropped in"),
    "counted and logged": (['counter log prefix "x" accept'], "in in in in"),
    "with a limit": (
        ["policy drop", "udp dport 69 limit rate 10/second accept"],
        "dropped? dropped dropped dropped",
    ),
    "by a named set": (["policy drop", "udp dport @ports accept"], "dropped? dropped? dropped dropped?"),
    "by a map of ports": (["udp dport vmap { 67 : drop, 69 : jump nodes }"], "in dropped in in"),
}


@pytest.fixture(scope="module")
def firewalled() -> Iterator[Lab]:
    """A head node whose rules these tests change."""
    with Lab() as made:
        yield made


@pytest.mark.net
@pytest.mark.needs("nft")
@pytest.mark.parametrize(("rules", "expected"), NEW.values(), ids=NEW)
def test_nftables_rules_are_read(firewalled: Lab, rules: Iterable[str], expected: str) -> None:
    ruleset = from_nft(loaded(firewalled, rules))
    assert " ".join(fate(outcome(ruleset, packet)) for packet in (TFTP, DHCP, HTTP, ANSWER)) == expected


@pytest.mark.net
@pytest.mark.needs("nft")
def test_the_kernel_does_with_packets_what_was_read(firewalled: Lab) -> None:
    client = firewalled.client("c1", address="10.77.0.9/24")
    listener = firewalled.start("listener", ["python3", "-u", "-c", LISTENER])
    listener.wait_for("listening")
    for number, (rules, expected) in enumerate(NEW.values()):
        if "?" in expected:
            continue
        ours = [rule.replace('"eth1"', '"br0"').replace('"eth*"', '"br*"') for rule in rules]
        ruleset = from_nft(loaded(firewalled, ours))
        client.run(["python3", "-c", SENDER, f"try-{number}"])
        firewalled.run(["nft", "flush", "ruleset"])
        client.run(["python3", "-c", SENDER, f"mark-{number}"])
        for port in PORTS:  # what comes after the mark was sent after it, so all before it has come
            listener.wait_for(f"{port} mark-{number};")
        said = listener.output()
        for port in PORTS:
            packet = replace(TFTP, interface="br0", port=port)
            passes = outcome(ruleset, packet).chain is None
            assert (f"{port} try-{number};" in said) == passes, (rules, port)


def test_an_empty_ruleset_and_other_families_are_no_firewall() -> None:
    assert from_nft(json.dumps({"nftables": [{"metainfo": {}}]})) == {}
    chain = {"family": "ip6", "table": "t", "name": "c", "type": "filter", "hook": "input", "policy": "drop"}
    assert from_nft(json.dumps({"nftables": [{"chain": chain}]})) == {}


def loaded(lab: Lab, rules: Iterable[str]) -> str:
    """Load `rules` into the head node's kernel, in place of all others, and read them back as doctor does."""
    policy = next((rule for rule in rules if rule.startswith("policy")), "policy accept")
    body = "\n".join(f"        {rule}" for rule in rules if not rule.startswith("policy"))
    text = f"""
flush ruleset
table inet t {{
    set ports {{
        type inet_service
        elements = {{ 69 }}
    }}
    chain nodes {{
        return
    }}
    chain input {{
        type filter hook input priority 0; {policy};
{body}
    }}
}}
"""
    lab.run(["nft", "-f", "-"], input=text)
    return lab.run(["nft", "-j", "list", "ruleset"]).stdout


PORTS = (67, 69, 4242)
LISTENER = f"""
import select, socket
ports = {{}}
for number in {PORTS}:
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    opened.bind(("", number))
    ports[opened] = number
print("listening", flush=True)
while True:
    for opened in select.select(list(ports), [], [])[0]:
        print(ports[opened], opened.recv(100).decode() + ";", flush=True)
"""
SENDER = f"""
import socket, sys
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for number in {PORTS}:
    out.sendto(sys.argv[1].encode(), ("10.77.0.1", number))
"""
