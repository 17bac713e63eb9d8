"""A dnsmasq configuration as nodes; each one here is one that dnsmasq itself takes."""

import re
import subprocess
from pathlib import Path

import pytest

from netbootd.errors import UserError
from netbootd.exchange import dnsmasq
from netbootd.exchange.described import Described
from tests.exchange.files import Beside, remarks, shown

EXAMPLE = Path("/usr/share/doc/dnsmasq-base/examples/dnsmasq.conf.example")
HOSTS = "127.0.0.1 localhost\n10.77.0.41 oort oort.cluster  # the render master\n10.77.0.42 halley.cluster\n"
MACS = [f"52:54:00:00:00:{n:02x}" for n in range(10)]

HOST_LINES = {
    "name and address": (f"{MACS[1]},n01,10.77.0.11", ("n01", MACS[1], "10.77.0.11")),
    "another order, lease and tag": (
        f"{MACS[1].upper()},set:pi,10.77.0.11,n01,infinite", ("n01", MACS[1], "10.77.0.11"),
    ),
    "two cards": (f"{MACS[1]},{MACS[2]},n01", ("n01", f"{MACS[1]} {MACS[2]}", "-")),
    "a hardware type": (f"1-{MACS[1]},n01", ("n01", MACS[1], "-")),
    "octets of one digit": ("52:54:0:0:0:1,n01", ("n01", MACS[1], "-")),
    "no name at all": (f"{MACS[1]},10.77.0.11", (None, MACS[1], "10.77.0.11")),
    "a name from the hosts file": (f"{MACS[1]},10.77.0.42", ("halley", MACS[1], "10.77.0.42")),
    "an address from the hosts file": (f"{MACS[1]},oort", ("oort", MACS[1], "10.77.0.41")),
    "a name with its domain": (f"{MACS[1]},n01.cluster", ("n01", MACS[1], "-")),
    "any identifier": (f"{MACS[1]},id:*,n01", ("n01", MACS[1], "-")),
    "spaces": (f" {MACS[1]} , n01 , 10.77.0.11  # the first", ("n01", MACS[1], "10.77.0.11")),
    "quotation marks": (f'{MACS[1]},"n01",10.77.0.11', ("n01", MACS[1], "10.77.0.11")),
}  # fmt: skip
NO_NODES = {
    "no card": ("n01,10.77.0.11", "has no MAC address"),
    "an identifier": ("id:01:02:02:04,10.77.0.11", "has no MAC address"),
    "many cards": ("52:54:00:*:*:*,set:red", "stands for many cards"),
    "InfiniBand": ("20-52:54:00:00:00:01:02:03,n01", "isn't an Ethernet address"),
    "one to be ignored": (f"{MACS[1]},ignore", "ignore: "),
    "IPv6": (f"{MACS[1]},n01,[1234::5]", "about IPv6"),
    "a condition": (f"tag:eth1,{MACS[1]},n01", "alone"),
}


def read(text: str, files: dict[str, str] | None = None) -> Described:
    return dnsmasq.read(text, "dnsmasq.conf", Beside({"/hosts": HOSTS} | (files or {})), "/hosts")


def takes(tmp_path: Path, text: str) -> None:
    """Fail where dnsmasq wouldn't take the configuration."""
    (tmp_path / "dnsmasq.conf").write_text(text)
    words = ["dnsmasq", "--test", "-C", str(tmp_path / "dnsmasq.conf")]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr


@pytest.mark.needs("dnsmasq")
@pytest.mark.parametrize("case", HOST_LINES)
def test_a_dhcp_host_line_is_a_node(case: str, tmp_path: Path) -> None:
    line, wanted = HOST_LINES[case]
    takes(tmp_path, f"dhcp-host={line}\n")
    (entry,) = read(f"dhcp-host={line}\n").nodes
    assert shown(entry) == (*wanted, {})


@pytest.mark.needs("dnsmasq")
@pytest.mark.parametrize("case", NO_NODES)
def test_what_is_no_node_is_told_with_its_line(case: str, tmp_path: Path) -> None:
    line, why = NO_NODES[case]
    takes(tmp_path, f"dhcp-host={line}\n")
    found = read(f"# first\ndhcp-host={line}\n")
    assert not found.nodes and why in remarks(found)[2]


@pytest.mark.needs("dnsmasq")
def test_tags_bring_their_options_to_the_hosts_that_set_them(tmp_path: Path) -> None:
    text = (
        "dhcp-option=tag:pi,option:ntp-server,10.77.0.1,10.77.0.2\n"
        "dhcp-option=tag:pi,tag:big,26,9000\n"
        "dhcp-option=tag:known,option:domain-search,a.example,b.example\n"
        'dhcp-option=tag:pi,100,"CET-1CEST,M3.5.0,M10.5.0/3"\n'
        "dhcp-option-force=tag:big,121,10.8.0.0/16,10.77.0.2,10.9.0.0/16,10.77.0.3\n"
        "dhcp-option=tag:big,211,30i\n"
        "dhcp-option=tag:big,224,10.77.0.9\n"
        "dhcp-option=tag:big,225,01:02:ff\n"
        "dhcp-option=tag:big,226,300\n"
        "dhcp-option=tag:big,227,NIC=eepro100\n"
        "dhcp-option=tag:big,3\n"
        "dhcp-option=tag:big,15,first\ndhcp-option=tag:big,15,second\n"
        "dhcp-option=tag:other,15,third\n"
        f"dhcp-host={MACS[1]},set:pi,n01\n"
        f"dhcp-host={MACS[2]},set:pi,set:big,n02\n"
    )
    takes(tmp_path, text)
    found = read(text)
    small, big = (shown(entry)[3] for entry in found.nodes)
    assert small == {
        42: bytes([10, 77, 0, 1, 10, 77, 0, 2]),
        100: b"CET-1CEST,M3.5.0,M10.5.0/3",
        119: b"\1a\7example\0\1b\7example\0",
    }
    assert big == small | {
        3: b"", 15: b"second", 26: (9000).to_bytes(2, "big"), 211: bytes([0, 0, 0, 30]),
        121: bytes([16, 10, 8, 10, 77, 0, 2, 16, 10, 9, 10, 77, 0, 3]), 224: bytes([10, 77, 0, 9]),
        225: b"\1\2\xff", 226: b"\1\x2c", 227: b"NIC=eepro100",
    }  # fmt: skip
    assert remarks(found) == {14: "no dhcp-host that is carried over sets other"}


@pytest.mark.needs("dnsmasq")
def test_what_is_for_all_becomes_lines_of_netbootd_toml(tmp_path: Path) -> None:
    text = (
        "interface=eth1\ndomain=cluster\ndhcp-range=set:a,10.77.0.100,10.77.0.199,255.255.255.0,12h\n"
        "dhcp-option=3,10.77.0.254\ndhcp-option=option:dns-server,10.77.0.1,9.9.9.9\n"
        "dhcp-option=option:ntp-server,10.77.0.1\n"
    )
    takes(tmp_path, text)
    assert [(each.place.line, each.text, each.is_option) for each in read(text).settings] == [
        (1, 'interface = "eth1"', False),
        (2, 'domain = "cluster"', False),
        (3, 'pool = "10.77.0.100-10.77.0.199"', False),
        (3, 'lease_time = "12h"', False),
        (4, 'router = "10.77.0.254"', False),
        (5, 'dns = ["10.77.0.1", "9.9.9.9"]', False),
        (6, 'ntp-servers = "10.77.0.1"', True),
    ]


def test_files_that_it_names_are_read_as_dnsmasq_reads_them() -> None:
    found = read(
        "conf-file=/etc/more.conf\nconf-dir=/etc/dnsmasq.d/,*.conf\nconf-dir=/etc/all,.bak\n"
        "dhcp-hostsfile=/etc/hostlines\ndhcp-optsfile=/etc/options\nread-ethers\naddn-hosts=/etc/hosts2\n"
        "conf-file=/etc/gone\n",
        {
            "/etc/more.conf": f"dhcp-host={MACS[1]},n01\n",
            "/etc/dnsmasq.d/a.conf": f"dhcp-host={MACS[2]},n02\n",
            "/etc/dnsmasq.d/README": "dhcp-host=no,no\n",
            "/etc/all/old.bak": "dhcp-host=no,no\n",
            "/etc/all/left~": "dhcp-host=no,no\n",
            "/etc/all/b": f"dhcp-host={MACS[3]},n03\n",
            "/etc/hostlines": f"# comment\n{MACS[4]},set:x,n04\n",
            "/etc/options": "tag:x,option:ntp-server,10.77.0.1\n",
            "/etc/ethers": f"{MACS[5]} n05\n",
            "/etc/hosts2": "10.77.0.55 n05\n",
        },
    )
    assert [shown(entry)[:3] for entry in found.nodes] == [
        ("n01", MACS[1], "-"), ("n02", MACS[2], "-"), ("n03", MACS[3], "-"), ("n04", MACS[4], "-"),
        ("n05", MACS[5], "10.77.0.55"),
    ]  # fmt: skip
    assert shown(found.nodes[3])[3] == {42: bytes([10, 77, 0, 1])}
    assert str(found.nodes[1].place) == "/etc/dnsmasq.d/a.conf:1"
    assert remarks(found) == {8: "can't read /etc/gone: No such file or directory"}


def test_no_hosts_means_none() -> None:
    (entry,) = read(f"no-hosts\ndhcp-host={MACS[1]},oort\n").nodes
    assert shown(entry)[2] == "-"


def test_a_file_that_names_itself_comes_to_an_end() -> None:
    with pytest.raises(UserError, match="deep"):
        read("conf-file=/loop\n", {"/loop": "conf-file=/loop\n"})
    with pytest.raises(UserError, match="files are named"):
        read("conf-file=/wide\n" * 2000, {"/wide": "\n"})


def test_cards_of_one_name_and_address_are_one_node() -> None:
    found = read(f"dhcp-host={MACS[1]},n01,10.77.0.11\ndhcp-host={MACS[2]},n01,10.77.0.11\n")
    assert [shown(entry)[:3] for entry in found.nodes] == [("n01", f"{MACS[1]} {MACS[2]}", "10.77.0.11")]


@pytest.mark.needs("dnsmasq")
@pytest.mark.skipif(not EXAMPLE.exists(), reason="dnsmasq's documentation isn't installed")
def test_each_line_of_dnsmasqs_own_example_is_taken_or_told(tmp_path: Path) -> None:
    """All that it has in comments, switched on; its MAC addresses are no network card's, so changed."""
    lines = EXAMPLE.read_text().splitlines()
    lines = [
        re.sub(r"^#([a-z][a-z0-9-]*( ?=.*)?)$", r"\1", line).replace("11:22:33", "10:22:33") for line in lines
    ]
    lines = [line for line in lines if not re.match(r"(conf-|addn-|read-ethers)", line)]
    said = {n for n, line in enumerate(lines, 1) if line.strip() and not line.startswith("#")}
    assert len(said) > 100
    dhcp = [line for line in lines if line.startswith(("dhcp-host=", "dhcp-option="))]
    seen = set[str]()
    for line in dhcp:  # one address may be given to one host only, so each line alone
        if line not in seen:
            takes(tmp_path, line + "\n")
        seen.add(line)
    found = read("\n".join(lines))
    places = [each.place for each in found.nodes] + [each.place for each in found.remarks]
    told = {place.line for place in (*places, *(each.place for each in found.settings))}
    # Those act through others: an option through the hosts that have its tag.
    quiet = {n for n, line in enumerate(lines, 1) if "tag:red" in line or line == "no-hosts"}
    assert said - told <= quiet, [lines[n - 1] for n in sorted(said - told)]
    macs = [shown(entry)[1] for entry in found.nodes]
    assert macs.count("10:22:33:44:55:66") >= 4 and "10:22:33:44:55:66 12:34:56:78:90:12" in macs
