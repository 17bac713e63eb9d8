"""A Kea DHCPv4 configuration as nodes; each one here is one that Kea itself takes."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from netbootd.contents import Contents
from netbootd.errors import FileError
from netbootd.exchange import formats, kea
from netbootd.exchange.described import Described
from netbootd.exchange.ethers import Hosts
from netbootd.exchange.plan import plan
from tests.exchange.files import Beside, remarks, shown
from tests.exchange.nodes import CLUSTER

SHIPPED = Path("/etc/kea/kea-dhcp4.conf")
HOSTS = Hosts.read(["10.77.0.41 oort.cluster oort\n10.77.0.14 kuiper\n"])

WHOLE = r"""// The cluster's own.
{
/* All of it is
   DHCPv4. */
"Dhcp4": {
  "interfaces-config": { "interfaces": [ "eth1/10.77.0.1", "*" ] },   # a comment of a shell's kind
  "lease-database": { "type": "memfile", "persist": false },
  "valid-lifetime": 600, "max-valid-lifetime": 7200, "next-server": "10.77.0.1",
  "option-def": [
    { "name": "board-color", "code": 224, "type": "string" },
    { "name": "board-slots", "code": 225, "type": "uint16", "array": true },
    { "name": "board-place", "code": 226, "type": "record", "record-types": "ipv4-address, int8, fqdn" },
    { "name": "board-prefix", "code": 227, "type": "ipv6-prefix" },
    { "name": "other-space", "code": 1, "space": "vendor-9", "type": "uint8" }
  ],
  "option-data": [
    { "name": "domain-name", "data": "cluster" },
    { "code": 6, "data": "10.77.0.1, 9.9.9.9" },
    { "name": "ntp-servers", "csv-format": false, "data": "0A 4D 00 01" }
  ],
  "client-classes": [
    { "name": "painted", "option-data": [ { "name": "board-color", "data": "red\\, dark" },
                                          { "name": "time-offset", "data": "60" } ] },
    { "name": "pxe", "test": "substring(option[60].hex,0,9) == 'PXEClient'", "boot-file-name": "x.0" }
  ],
  "shared-networks": [ {
    "name": "hall", "interface": "eth1",
    "option-data": [ { "name": "routers", "data": "10.77.0.254" } ],
    "subnet4": [ {
      "id": 1, "subnet": "10.77.0.0/24", "relay": { "ip-addresses": [ "10.77.0.3" ] },
      "option-data": [ { "name": "time-offset", "data": "-3600" } ],
      "pools": [ { "pool": "10.77.0.100-10.77.0.199", "client-class": "pxe" }, { "pool": "10.77.0.64/28" } ],
      "reservations": [
        { "hw-address": "52:54:00:00:00:01", "ip-address": "10.77.0.11", "hostname": "n01" },
        { "hw-address": "52:54:0:0:0:2", "ip-address": "10.77.0.12", "hostname": "halley.cluster.example.",
          "client-classes": [ "painted", "unheard-of" ],
          "boot-file-name": "pxelinux.0",
          "option-data": [
            { "name": "board-slots", "data": "1, 2, 0x300" },
            { "name": "board-place", "data": "10.77.0.9, -3, a.example" },
            { "name": "domain-search", "data": "a.example, b.example" },
            { "name": "static-routes", "data": "10.8.0.9, 10.77.0.2, 10.8.0.8, 10.77.0.3" },
            { "code": 230, "csv-format": false, "data": "'as text'" },
            { "name": "vendor-encapsulated-options", "csv-format": false, "data": "1:2:f" },
            { "name": "host-name", "data": "x" },
            { "name": "tftp-servers", "space": "vendor-4491", "data": "10.77.0.9" }
          ] },
        { "client-id": "01:52:54:00:00:00:03", "ip-address": "10.77.0.13", "hostname": "n03" },
        { "duid": "01:02:03:04:05", "ip-address": "10.77.0.19", "hostname": "n09" },
        { "hw-address": "52:54:00:00:00:04", "ip-address": "10.77.0.14" },
        { "hw-address": "52:54:00:00:00:05", "ip-address": "10.77.0.15", "hostname": "under_score" },
      ]
    } ]
  } ],
  "reservations": [ { "hw-address": "525400000006", "hostname": "oort", "client-classes": [ "painted" ],
                      "user-context": { "comment": "under the stairs", "shelf": 2 } } ],
  "loggers": [ { "name": "kea-dhcp4", "severity": "INFO" } ]
} }
"""


def read(text: str, files: dict[str, str] | None = None) -> Described:
    return kea.read(text, "kea-dhcp4.conf", Beside(files), HOSTS)


def takes(tmp_path: Path, text: str) -> None:
    """Fail where Kea wouldn't take the configuration."""
    (tmp_path / "kea-dhcp4.conf").write_text(text)
    done = subprocess.run(
        ["kea-dhcp4", "-t", str(tmp_path / "kea-dhcp4.conf")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=os.environ | {"KEA_LOCKFILE_DIR": str(tmp_path), "KEA_PIDFILE_DIR": str(tmp_path)},
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.needs("kea-dhcp4")
def test_reservations_are_nodes_with_the_options_that_reach_them(tmp_path: Path) -> None:
    takes(tmp_path, WHOLE.replace('[ "eth1/10.77.0.1", "*" ]', "[ ]").replace('"eth1"', '"lo"'))
    color = b"red, dark"
    assert [shown(entry) for entry in read(WHOLE).nodes] == [
        ("n01", "52:54:00:00:00:01", "10.77.0.11", {}),
        ("halley", "52:54:00:00:00:02", "10.77.0.12", {
            224: color, 225: b"\0\1\0\2\3\0", 226: bytes([10, 77, 0, 9, 253]) + b"\1a\7example\0",
            119: b"\1a\7example\0\1b\7example\0",
            33: bytes([10, 8, 0, 9, 10, 77, 0, 2, 10, 8, 0, 8, 10, 77, 0, 3]),
            230: b"as text", 43: b"\1\2\x0f"}),
        ("n03", "52:54:00:00:00:03", "10.77.0.13", {}),
        ("kuiper", "52:54:00:00:00:04", "10.77.0.14", {}),
        ("oort", "52:54:00:00:00:06", "10.77.0.41", {224: color}),
    ]  # fmt: skip
    assert str(read(WHOLE).nodes[1].place) == "kea-dhcp4.conf:35"


def test_what_is_about_a_network_becomes_lines_of_netbootd_toml() -> None:
    assert [(each.place.line, each.text, each.is_option) for each in read(WHOLE).settings] == [
        (17, 'domain = "cluster"', False),
        (18, 'dns = ["10.77.0.1", "9.9.9.9"]', False),
        (19, 'ntp-servers = "10.77.0.1"', True),
        (28, 'router = "10.77.0.254"', False),
        (31, 'time-offset = "-3600"', True),
        (32, 'pool = "10.77.0.100-10.77.0.199"', False),
        (32, 'pool = "10.77.0.64-10.77.0.79"', False),
        (27, 'interface = "eth1"', False),
        (8, 'lease_time = "600s"', False),
    ]


def test_what_has_no_place_is_told_with_its_line() -> None:
    told = {(remark.place.line, remark.text) for remark in read(WHOLE).remarks}
    expected = {
        (8, "next-server: where the files are"), (13, "option-def: options of the type 'ipv6-prefix'"),
        (14, "option-def: isn't one of DHCP's own"), (24, "client class pxe: netbootd evaluates no"),
        (30, "relay: a relay agent is known"), (32, "client-class: netbootd answers"),
        (35, "the domain of 'halley.cluster.example'"), (36, "client class unheard-of: isn't defined"),
        (37, "boot-file-name: which file"), (45, "option host-name: option 12 (host-name) can't be set"),
        (46, "option tftp-servers: options of another space"), (48, "client-id: taken for that of the card"),
        (49, "reservation n09: isn't carried over: duid is given"),
        (51, "reservation under_score: isn't carried over"),
    }  # fmt: skip
    assert {(line, next((w for n, w in expected if n == line and text.startswith(w)), text))
            for line, text in told} == expected  # fmt: skip


def test_an_included_file_stands_in_its_place() -> None:
    one = '{ "hw-address": "52:54:00:00:00:0%d", "hostname": "n0%d" }'
    found = read(
        '{ "Dhcp4": { "reservations": [\n  <?include "/etc/kea/more.json"?>,\n<?include "/gone"?>\n] } }',
        {"/etc/kea/more.json": one % (1, 1) + ',\n<?include "rest"?>', "rest": "\n" + one % (2, 2)},
    )
    assert [(entry.name, str(entry.place)) for entry in found.nodes] == [
        ("n01", "/etc/kea/more.json:1"), ("n02", "rest:2"),
    ]  # fmt: skip
    assert remarks(found) == {3: "can't read /gone: No such file or directory"}


def test_two_reservations_of_one_name_and_address_are_one_node() -> None:
    """As `netbootctl explain` itself tells people to write a node with two cards."""
    card = '{ "hw-address": "52:54:00:00:00:0%d", "ip-address": "10.77.0.11", "hostname": "n01" }'
    text = '{ "Dhcp4": { "reservations": [ %s, %s ] } }' % (card % 1, card % 2)  # noqa: UP031 (full of braces)
    (entry,) = read(text).nodes
    assert shown(entry) == ("n01", "52:54:00:00:00:01 52:54:00:00:00:02", "10.77.0.11", {})


BROKEN = {
    "an open object": ('{"Dhcp4": {\n"subnet4": [\n', ":2: nothing closes this ["),
    "an object without end": ('{"Dhcp4": {\n', ":1: nothing closes this {"),
    "a bracket for a brace": ('{"Dhcp4": {\n"subnet4": [ } } }', ":2: a value has to stand before }"),
    "no comma": ('{"Dhcp4": {"subnet4": []\n"loggers": []}}', ":2: , or } has to stand before"),
    "no colon": ('{"Dhcp4" {}}', ":1: : has to stand before {"),
    "a bare word": ('{"Dhcp4": {\nsubnet4: []}}', ":2: 'subnet4: []}}' is no JSON"),
    "an open quotation mark": ('{"Dhcp4: {}}', ":1: this quotation mark isn't closed"),
    "an open comment": ('{"Dhcp4": {}}\n/* x', ":2: this comment isn't closed"),
    "more after the end": ('{"Dhcp4": {}}\n{}', ":2: '{' stands after the end"),
    "a name twice": ('{"Dhcp4": {"subnet4": [],\n"subnet4": []}}', ":2: 'subnet4' stands in line 1"),
    "an object for an array": ('{"Dhcp4": {"subnet4":\n{}}}', ":2: this has to be an array"),
    "a number for a text": ('{"Dhcp4": {"reservations": [{"hw-address":\n1}]}}', ":2: this has to be a text"),
    "brackets without end": ('{"Dhcp4": ' + "[" * 90, ":1: more than 64 braces deep"),
    "a file that includes itself": ('<?include "self"?>', "files include each other"),
    "nothing": ("", "a value has to stand before the end of the file"),
    "no JSON at all": ("subnet 10.0.0.0 { }", ":1: 'subnet 10.0.0.0 { }' is no JSON"),
    "another server's": ('{"Dhcp6": {}}', ":1: there is no Dhcp4 in it"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_kea_would_not_read_either_is_refused_with_its_line(case: str) -> None:
    text, why = BROKEN[case]
    with pytest.raises(FileError, match=re.escape(why)):
        read(text, {"self": '<?include "self"?>'})


BAD_VALUES = {
    '"name": "ntp-servers", "data": "x"': "isn't an IPv4 address",
    '"name": "ntp-servers"': "has no value",
    '"code": 230, "data": "0a0b"': "write its octets, with csv-format false",
    '"code": 230, "csv-format": false, "data": "0g"': "'0g' isn't hexadecimal",
    '"name": "nothing-such", "data": "1"': "there is no DHCP option 'nothing-such'",
    '"name": "small", "data": "256"': "'256' isn't of its type, uint8",
    '"name": "small", "data": "-1"': "'-1' isn't of its type, uint8",
    '"name": "pair", "data": "1"': "1 values are given, and it has 2",
    '"name": "pair", "data": "maybe, 1"': "isn't of its type, boolean, int8",
    '"code": 0, "data": "1"': "can't be set",
    '"code": 999, "data": "1"': "there is no DHCP option 'option-999'",
}


@pytest.mark.parametrize("words", BAD_VALUES)
def test_an_option_that_cannot_be_carried_over_is_told_and_its_node_is_not_lost(words: str) -> None:
    found = read(
        '{"Dhcp4": {"option-def": [{"name": "small", "code": 240, "type": "uint8"},'
        ' {"name": "pair", "code": 241, "type": "record", "record-types": "boolean,int8"}],'
        ' "reservations": [{"hw-address": "52:54:00:00:00:01", "hostname": "n01",\n'
        f'"option-data": [{{{words}}}] }}] }} }}'
    )
    assert [entry.name for entry in found.nodes] == ["n01"]
    assert BAD_VALUES[words] in remarks(found)[2]


def test_an_option_that_is_never_sent_is_so_here_too() -> None:
    one = '{"hw-address": "52:54:00:00:00:01", "hostname": "n01", "option-data": [%s]}'
    found = read('{"Dhcp4": {"reservations": [' + one % '{"code": 3, "never-send": true}' + "]}}")
    assert shown(found.nodes[0])[3] == {3: b""}


@pytest.mark.parametrize("name", ["kea-dhcp4.conf", "x.json", "-"])
def test_it_is_recognised_by_its_name_or_by_what_it_holds(name: str) -> None:
    assert formats.recognise(name, WHOLE) == "kea"
    assert formats.recognise(name, json.dumps({"Dhcp4": {}})) == "kea"


@pytest.mark.needs("kea-dhcp4")
@pytest.mark.skipif(not SHIPPED.exists(), reason="Kea's own configuration isn't installed")
def test_the_configuration_that_comes_with_kea_is_taken_or_told_line_by_line(tmp_path: Path) -> None:
    text = SHIPPED.read_text()
    takes(tmp_path, text)
    found = read(text)
    assert "1a:1b:1c:1d:1e:1f" in [shown(entry)[1] for entry in found.nodes]
    refused = [remark for remark in found.remarks if "isn't carried over" in remark.text]
    assert len(found.nodes) + len(refused) == 6
    assert 'pool = "192.0.2.1-192.0.2.200"' in [setting.text for setting in found.settings]
    plan(Contents(), found, CLUSTER)
