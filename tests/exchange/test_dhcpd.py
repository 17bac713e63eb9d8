"""An ISC dhcpd configuration as nodes; each one here is one that dhcpd itself takes."""

import re
import subprocess
from pathlib import Path

import pytest

from netbootd.contents import Contents
from netbootd.errors import FileError
from netbootd.exchange import dhcpd
from netbootd.exchange.described import Described
from netbootd.exchange.ethers import Hosts
from netbootd.exchange.plan import plan
from tests.exchange.files import Beside, remarks, shown
from tests.exchange.nodes import CLUSTER

EXAMPLE = Path("/usr/share/doc/isc-dhcp-server/examples/dhcpd.conf.example")
HOSTS = Hosts.read(["10.77.0.41 oort.cluster oort\n"])

WHOLE = """\
# The cluster's own.
option domain-name "cluster"; option domain-name-servers 10.77.0.1, 9.9.9.9;
option ntp-servers 10.77.0.1;
default-lease-time 600;
max-lease-time 7200;
authoritative; ddns-update-style none;
option board-color code 224 = text;
option board-slots code 225 = array of unsigned integer 16;
option board-raw code 226 = string;
option board-peer code 227 = ip-address;
class "pxe" { match if substring (option vendor-class-identifier, 0, 9) = "PXEClient"; }
subnet 10.77.0.0 netmask 255.255.255.0 {
  option routers 10.77.0.254;
  pool { range 10.77.0.100 10.77.0.199; allow unknown-clients; }
  host n01 { hardware ethernet 52:54:00:00:00:01; fixed-address 10.77.0.11; }
}
group {
  option time-offset -3600;
  use-host-decl-names on;
  group {
    option board-color "red; not # green";
    option board-slots 1, 2, 0x300;
    host n02.cluster.example {
      hardware ethernet 52:54:0:0:0:2;   # octets of one digit
      option host-name "halley";
      fixed-address 10.77.0.12, 10.77.0.13;
      option board-color "blue"; option board-raw 01:ff; option board-peer 10.77.0.9;
      filename "pxelinux.0"; next-server 10.77.0.1;
    }
  }
  host oort { hardware ethernet 52:54:00:00:00:03; fixed-address oort.cluster; }
  host n04 { hardware ethernet 52:54:00:00:00:04; option domain-search "a.example", "b.example";
             option static-routes 10.8.0.0 10.77.0.2, 10.9.0.0 10.77.0.3; option user-class "x"; }
}
if option arch = 00:07 { filename "x.efi"; } else { filename "x.0"; }
host ring { hardware token-ring 52:54:00:00:00:05; }
host nameless { option host-name "n06"; }
host under_score { hardware ethernet 52:54:00:00:00:07; }
"""


def read(text: str, files: dict[str, str] | None = None) -> Described:
    return dhcpd.read(text, "dhcpd.conf", Beside(files), HOSTS)


def takes(tmp_path: Path, text: str) -> None:
    """Fail where dhcpd wouldn't take the configuration."""
    (tmp_path / "dhcpd.conf").write_text(text)
    words = ["dhcpd", "-t", "-cf", str(tmp_path / "dhcpd.conf")]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr


@pytest.mark.needs("dhcpd")
def test_hosts_are_nodes_with_what_their_groups_give_them(tmp_path: Path) -> None:
    takes(tmp_path, WHOLE.replace("oort.cluster;", "10.77.0.41;").replace("option arch", "option board-raw"))
    found = read(WHOLE)
    offset = {2: (-3600).to_bytes(4, "big", signed=True)}
    assert [shown(entry) for entry in found.nodes] == [
        ("n01", "52:54:00:00:00:01", "10.77.0.11", {}),
        ("halley", "52:54:00:00:00:02", "10.77.0.12", offset | {
            224: b"blue", 225: b"\0\1\0\2\3\0", 226: b"\1\xff", 227: bytes([10, 77, 0, 9])}),
        ("oort", "52:54:00:00:00:03", "10.77.0.41", offset),
        ("n04", "52:54:00:00:00:04", "-", offset | {
            119: b"\1a\7example\0\1b\7example\0",
            33: bytes([10, 8, 0, 0, 10, 77, 0, 2, 10, 9, 0, 0, 10, 77, 0, 3])}),
    ]  # fmt: skip
    assert str(found.nodes[1].place) == "dhcpd.conf:23"


def test_what_is_about_a_network_becomes_lines_of_netbootd_toml() -> None:
    assert [(each.place.line, each.text, each.is_option) for each in read(WHOLE).settings] == [
        (2, 'domain = "cluster"', False),
        (2, 'dns = ["10.77.0.1", "9.9.9.9"]', False),
        (3, 'ntp-servers = "10.77.0.1"', True),
        (4, 'lease_time = "600s"', False),
        (13, 'router = "10.77.0.254"', False),
        (14, 'pool = "10.77.0.100-10.77.0.199"', False),
    ]


def test_what_has_no_place_is_told_with_its_line() -> None:
    told = remarks(read(WHOLE))
    for line, why in {
        5: "a pool has one lease_time", 11: "class pxe: there are no classes", 14: "allow unknown-clients",
        26: "a node has one address", 28: "netbootd does this by itself", 33: "only clients send it",
        35: "evaluates no expressions", 36: "isn't the address of an Ethernet card",
        37: "has no hardware address", 38: "host under_score isn't carried over",
    }.items():  # fmt: skip
        assert why in told[line], (line, told.get(line))


def test_an_included_file_stands_in_its_place() -> None:
    host = "host n0%d { hardware ethernet 52:54:00:00:00:0%d; }\n"
    found = read(
        'group {\n option time-offset 60;\n include "/etc/dhcp/hosts";\n}\ninclude "/gone";\n',
        {"/etc/dhcp/hosts": host % (1, 1) + 'include "more";\n', "more": host % (2, 2)},
    )
    assert [(entry.name, str(entry.place)) for entry in found.nodes] == [
        ("n01", "/etc/dhcp/hosts:1"), ("n02", "more:1"),
    ]  # fmt: skip
    assert all(shown(entry)[3] == {2: b"\0\0\0\x3c"} for entry in found.nodes)
    assert remarks(found) == {5: "can't read /gone: No such file or directory"}


def test_two_declarations_of_one_name_and_address_are_one_node() -> None:
    """As `netbootctl explain` itself tells people to write a node with two cards."""
    card = (
        "host n01%s { hardware ethernet 52:54:00:00:00:0%d;"
        ' fixed-address 10.77.0.11; option host-name "n01"; }\n'
    )
    (entry,) = read(card % ("", 1) + card % ("-2", 2)).nodes
    assert shown(entry) == ("n01", "52:54:00:00:00:01 52:54:00:00:00:02", "10.77.0.11", {})


BROKEN = {
    "an open block": ("group {\nhost a { }\n", "dhcpd.conf:1: this block isn't closed"),
    "a brace too many": ("group { }\n}\n", "dhcpd.conf:2: this } closes nothing"),
    "no semicolon": ("host a {\n hardware ethernet 1:2:3:4:5:6 }\n", "dhcpd.conf:2: a semicolon is missing"),
    "an end in the middle": ("authoritative\n", "dhcpd.conf:1: 'authoritative' isn't ended"),
    "an open quotation mark": ('\noption domain-name "x;\n', "dhcpd.conf:2: this quotation mark"),
    "braces without end": ("group {" * 40, "dhcpd.conf:1: more than 32 braces"),
    "a file that includes itself": ('include "self";', "files include each other"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_dhcpd_would_not_read_either_is_refused_with_its_line(case: str) -> None:
    text, why = BROKEN[case]
    with pytest.raises(FileError, match=re.escape(why)):
        read(text, {"self": 'include "self";'})


@pytest.mark.needs("dhcpd")
@pytest.mark.skipif(not EXAMPLE.exists(), reason="dhcpd's documentation isn't installed")
def test_dhcpds_own_example_is_taken_or_told_line_by_line(tmp_path: Path) -> None:
    """All that it has in comments, switched on, as dhcpd takes it."""
    text = re.sub(r"(?m)^#( *(?:[a-z].*[;{]|\}))$", r"\1", EXAMPLE.read_text())
    named = {"fantasia.example.com": "10.0.29.5", "rtr-239-0-1.example.org": "10.254.239.1"}
    resolved = re.sub(
        r"[a-z0-9-]+(\.[a-z]+)?\.example\.(com|org)(?!\")", lambda m: named.get(m[0], "10.0.29.1"), text
    )
    takes(tmp_path, resolved)
    found = read(text)
    assert [shown(entry)[:2] for entry in found.nodes] == [
        ("passacaglia", "00:00:c0:5d:bd:95"), ("fantasia", "08:00:07:26:c0:a5"),
    ]  # fmt: skip
    assert len(found.settings) > 8 and len(found.remarks) > 8
    made = plan(Contents(), found, CLUSTER)
    assert [change.name for change in made.changes] == ["passacaglia", "fantasia"]
