"""What is carried over is what the other server told its machines: real dnsmasq, dhcpd and Kea are asked.

The server runs on the head node's bridge, Kea on a port of it, and a machine sends a DISCOVER for each card
of its configuration.
"""

import sys
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from netbootd.dhcp import wire
from netbootd.dhcp.options import MessageType, Option
from netbootd.dhcp.wire import BROADCAST_FLAG, Message
from netbootd.exchange import dhcpd, dnsmasq, kea
from netbootd.exchange.described import Described
from netbootd.exchange.ethers import Hosts
from netbootd.node import Mac
from tests.exchange.files import Beside, shown
from tests.lab.namespace import BRIDGE, Lab

pytestmark = pytest.mark.net
CHECKOUT = Path(__file__).parents[2]

DNSMASQ = """\
dhcp-range=10.77.0.100,10.77.0.110,1h
dhcp-host=52:54:00:00:00:01,set:pi,n01,10.77.0.11
dhcp-host=52:54:00:00:00:02,52:54:00:00:00:03,set:pi,set:big,n02,10.77.0.12,infinite
dhcp-option=tag:pi,tag:big,15,both
dhcp-option=tag:pi,15,later
dhcp-option=tag:pi,option:ntp-server,10.77.0.1,10.77.0.2
dhcp-option=tag:known,option:domain-search,a.one,b.two
dhcp-option=tag:big,26,9000
dhcp-option=tag:big,121,10.8.0.0/16,10.77.0.2,10.9.0.0/16,10.77.0.3
dhcp-option=tag:big,33,10.8.0.9,10.77.0.2
dhcp-option=tag:big,100,"CET-1CEST,M3.5.0,M10.5.0/3"
dhcp-option=tag:big,211,30i
dhcp-option=tag:big,19,1
dhcp-option=tag:big,224,10.77.0.9
dhcp-option=tag:big,225,01:02:ff
dhcp-option=tag:big,226,300
dhcp-option=tag:big,227,NIC=eepro100 # not this
dhcp-option=tag:big,252,"\\n"
dhcp-option=tag:big,3
"""
DHCPD = """\
authoritative;
option board-color code 224 = text;
option board-slots code 225 = array of unsigned integer 16;
option board-raw code 226 = string;
option board-peer code 227 = ip-address;
option board-tilt code 228 = signed integer 8;
option board-on code 229 = boolean;
subnet 10.77.0.0 netmask 255.255.255.0 { range 10.77.0.100 10.77.0.110; ping-check false; }
group {
  host n01 { hardware ethernet 52:54:00:00:00:01; fixed-address 10.77.0.11; option domain-name "own"; }
  group {
    option board-color "inner";
    host n02 {
      hardware ethernet 52:54:0:0:0:2; fixed-address 10.77.0.12;
      option board-slots 1, 0x200; option board-raw 01:ff:0; option board-peer 10.77.0.9;
      option board-tilt -3; option board-on true;
      option domain-search "a.one", "b.two"; option static-routes 10.8.0.9 10.77.0.2;
      option routers 10.77.0.250, 10.77.0.251; option ip-forwarding on;
      option root-path "/a \\"b\\" \\x41\\101";
      option time-offset -3600; option interface-mtu 9000; option vendor-encapsulated-options 01:02:03;
    }
  }
  option domain-name "group";
  option board-color "outer";
}
"""
KEA = r"""
"option-def": [
  { "name": "color", "code": 224, "type": "string" },
  { "name": "slots", "code": 225, "type": "uint16", "array": true },
  { "name": "place", "code": 226, "type": "record", "record-types": "ipv4-address, int8, fqdn" },
  { "name": "marks", "code": 227, "type": "record", "record-types": "boolean, uint8", "array": true } ],
"client-classes": [
  { "name": "first", "option-data": [ { "name": "color", "data": "first\\, of class" },
                                      { "name": "domain-name", "data": "first" } ] },
  { "name": "second", "option-data": [ { "name": "domain-name", "data": "second" },
                                       { "name": "time-offset", "data": "60" },
                                       { "name": "root-path", "data": "/of class, no more" } ] } ],
"option-data": [ { "name": "domain-name", "data": "all" } ],
"subnet4": [ { "id": 1, "subnet": "10.77.0.0/24", "pools": [ { "pool": "10.77.0.100 - 10.77.0.110" } ],
  "option-data": [ { "name": "time-offset", "data": "-3600" } ],
  "reservations": [
    { "hw-address": "52:54:00:00:00:01", "ip-address": "10.77.0.11", "hostname": "n01",
      "client-classes": [ "first", "second" ] },
    { "hw-address": "52:54:0:0:0:2", "ip-address": "10.77.0.12", "hostname": "n02",
      "client-classes": [ "second" ],
      "option-data": [
        { "name": "slots", "data": "1, 0x200" }, { "code": 226, "data": "10.77.0.9, -3, a.example" },
        { "name": "marks", "data": "true, 1, 2" }, { "name": "domain-name", "data": " own , left out" },
        { "name": "domain-search", "data": "a.one, b.two" }, { "name": "ip-forwarding", "data": "true" },
        { "name": "static-routes", "data": "10.8.0.9, 10.77.0.2" },
        { "name": "interface-mtu", "data": "9000" },
        { "name": "routers", "data": "10.77.0.250,10.77.0.251" },
        { "code": 121, "csv-format": false, "data": "10 0a 08 0a 4d 00 02" },
        { "code": 228, "csv-format": false, "data": "0xabc" },
        { "code": 229, "csv-format": false, "data": "'it''s'" },
        { "name": "vendor-encapsulated-options", "csv-format": false, "data": "1:1:f" } ] } ] } ]
"""
CODES = bytes([1, 2, 3, 15, 17, 19, 26, 33, 42, 43, 100, 119, 121, 211, *range(224, 230), 252])


def told(lab: Lab, mac: str) -> Message:
    """The OFFER that the server on the bridge makes to a card."""
    asked = Message(
        op=1,
        xid=int(mac.replace(":", "")[-8:], 16),
        chaddr=Mac(mac),
        flags=BROADCAST_FLAG,
        options={
            Option.MESSAGE_TYPE: bytes([MessageType.DISCOVER]),
            Option.PARAMETER_REQUEST_LIST: CODES,
            Option.MAXIMUM_SIZE: (1472).to_bytes(2, "big"),
        },
    )
    words = ["20", "1", "68", "255.255.255.255:67", wire.encode(asked).hex()]
    name = "ask" + mac[-2:]
    asker = lab.client(name, mac)
    done = asker.run([sys.executable, "-m", "tests.dhcp.asker", *words], cwd=CHECKOUT)
    assert done.stdout, f"nothing came back for {mac}"
    return wire.decode_any(bytes.fromhex(done.stdout.split()[2]))


def compare(lab: Lab, described: Described) -> None:
    assert not described.remarks
    for entry in described.nodes:
        _, macs, address, options = shown(entry)
        assert options
        for mac in macs.split():
            offer = told(lab, mac)
            assert offer.yiaddr == IPv4Address(address)
            for code, octets in options.items():
                assert offer.options.get(code, b"") == octets, (entry.name, code)


@pytest.mark.needs("dnsmasq")
def test_dnsmasq_tells_a_machine_what_its_node_has(lab: Lab) -> None:
    config = lab.directory / "dnsmasq.conf"
    more = "port=0\nbind-interfaces\nno-ping\ndhcp-authoritative\nuser=root\npid-file=\nlog-facility=-\n"
    config.write_text(f"{more}interface={BRIDGE}\ndhcp-leasefile={lab.directory}/leases\n{DNSMASQ}")
    process = lab.start("dnsmasq", ["dnsmasq", "--keep-in-foreground", f"--conf-file={config}"])
    process.wait_until(lambda: lab.run(["ss", "-Hlun", "sport", "=", ":67"]).stdout != "", "port 67")
    compare(lab, dnsmasq.read(DNSMASQ, "dnsmasq.conf", Beside(), None))


@pytest.mark.needs("dhcpd")
def test_dhcpd_tells_a_machine_what_its_node_has(lab: Lab) -> None:
    config, leases = lab.directory / "dhcpd.conf", lab.directory / "dhcpd.leases"
    config.write_text(DHCPD)
    leases.write_text("")
    words: list[str | Path] = ["dhcpd", "-4", "-f", "-d", "-cf", config, "-lf", leases, "--no-pid", BRIDGE]
    lab.start("dhcpd", words).wait_for("Server starting service")
    described = dhcpd.read(DHCPD.replace("ping-check false;", ""), "dhcpd.conf", Beside(), Hosts())
    compare(lab, described)


@pytest.mark.needs("kea-dhcp4")
def test_kea_tells_a_machine_what_its_node_has(lab: Lab) -> None:
    config = lab.directory / "kea-dhcp4.conf"
    more = (
        '"interfaces-config": { "interfaces": [ "eth0" ] },'
        ' "lease-database": { "type": "memfile", "persist": false },'
        ' "loggers": [ { "name": "kea-dhcp4", "severity": "INFO",'
        ' "output_options": [ { "output": "stdout" } ] } ]'
    )
    config.write_text(f'{{ "Dhcp4": {{ {more}, {KEA} }} }}')
    where = {"KEA_LOCKFILE_DIR": str(lab.directory), "KEA_PIDFILE_DIR": str(lab.directory)}
    server = lab.client("kea", address="10.77.0.2/24")  # Kea takes no bridge that nobody is on yet
    server.start("kea", ["kea-dhcp4", "-c", config], env=where).wait_for("DHCP4_STARTED")
    compare(lab, kea.read(config.read_text(), "kea-dhcp4.conf", Beside(), Hosts()))
