"""The lines for other DHCP servers. That these servers take them as they are meant, test_beside.py shows."""

import json
import re
import subprocess
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from netbootd.boot.answer import NetBoot
from netbootd.dhcp.paste import recipes
from netbootd.node import Mac, Node
from tests.dhcp.packets import N01, SERVER

BOOT = NetBoot(
    firmware="uboot",
    server=SERVER,
    bootfile="boot.scr.uimg",
    reason="",
    options={209: b"pxelinux.cfg/01-x", 43: b"\6\1\x08", 66: b"10.77.0.1", 224: b"\x01\xff"},
)
TWO = replace(
    N01, macs=(Mac("52:54:00:00:00:01"), Mac("52:54:00:00:00:02")), address=IPv4Address("10.77.0.10")
)


def lines(kind: str, boot: NetBoot | None, node: Node = N01) -> list[str]:
    """Those for one kind of server."""
    (found,) = [r for r in recipes(node, boot) if kind in r.server]
    return list(found.lines)


def test_an_address_is_reserved_and_no_more_where_the_proxy_says_the_rest() -> None:
    assert lines("dnsmasq", None) == ["dhcp-host=52:54:00:00:00:01,set:netbootd-n01,10.77.0.10,n01,infinite"]
    assert "next-server" not in "".join(lines("Kea", None) + lines("dhcpd", None))
    assert lines("router", None) == [
        'reserve 10.77.0.10 for 52:54:00:00:00:01 ("static lease", "always assign the same address")'
    ]


def test_who_takes_no_proxy_is_told_server_file_and_what_else_its_firmware_asks_for() -> None:
    assert lines("dnsmasq", BOOT)[1:] == [
        "dhcp-boot=tag:netbootd-n01,boot.scr.uimg,,10.77.0.1",
        "dhcp-option-force=tag:netbootd-n01,209,pxelinux.cfg/01-x",
        "dhcp-option-force=tag:netbootd-n01,224,01:ff",
    ]
    said = "\n".join(lines("dhcpd", BOOT))
    assert '  next-server 10.77.0.1;\n  filename "boot.scr.uimg";' in said
    assert "option netbootd-224 code 224 = string;" in said and "  option netbootd-224 01:ff;" in said
    assert any("next server" in line and "10.77.0.1" in line for line in lines("router", BOOT))


def test_a_node_with_two_cards_is_one_machine_to_each_server() -> None:
    assert lines("dnsmasq", None, TWO)[0].startswith("dhcp-host=52:54:00:00:00:01,52:54:00:00:00:02,set:")
    reservations = json.loads("{" + "\n".join(lines("Kea", BOOT, TWO)) + "}")["reservations"]
    assert [r["hw-address"] for r in reservations] == list(TWO.macs)
    assert {r["ip-address"] for r in reservations} == {"10.77.0.10"}
    assert [line for line in lines("dhcpd", None, TWO) if line.startswith("host ")] == [
        "host n01 {",
        "host n01-2 {",
    ]


@pytest.mark.needs("kea-dhcp4")
def test_kea_takes_two_cards_at_one_address_where_it_is_told_what_we_say(tmp_path: Path) -> None:
    (found,) = [r for r in recipes(TWO, None) if r.server == "Kea"]
    (setting,) = re.findall(r"`(.*?)` into its Dhcp4", found.where)
    (one,) = [r.where for r in recipes(N01, None) if r.server == "Kea"]
    assert "into its Dhcp4" not in one
    for line, status in ((f"{setting}, ", 0), ("", 1)):
        config = tmp_path / "kea.json"
        config.write_text(
            f'{{ "Dhcp4": {{ {line} "interfaces-config": {{ "interfaces": [] }},'
            ' "lease-database": { "type": "memfile", "persist": false },'
            ' "subnet4": [ { "id": 1, "subnet": "10.77.0.0/24",\n' + "\n".join(found.lines) + "\n} ] } }"
        )
        done = subprocess.run(["kea-dhcp4", "-t", config], capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stdout + done.stderr


def test_a_boot_file_of_an_unusual_name_stays_one_value() -> None:
    odd = replace(BOOT, bootfile='a,b"c', options={})
    assert lines("dnsmasq", odd)[1].startswith('dhcp-boot=tag:netbootd-n01,"a,b')
    (entry,) = json.loads("{" + "\n".join(lines("Kea", odd)) + "}")["reservations"]
    assert entry["boot-file-name"] == 'a,b"c'
    assert '  filename "a,b\\"c";' in lines("dhcpd", odd)
