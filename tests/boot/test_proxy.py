"""Machines without a disk beside somebody else's DHCP server: dnsmasq gives the address, netbootd the boot.

One with BIOS and iPXE in its card's ROM, one with UEFI's own PXE (BINL, port 4011), both at once.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from netbootd.events import timeline
from netbootd.node import Mac
from netbootd.stage import Stage
from tests.lab.head import IMAGE, HeadNode, borrowed_image
from tests.lab.machine import KINDS, Machine
from tests.lab.namespace import Lab, Namespace
from tests.lab.process import LabError

pytestmark = [pytest.mark.boot, pytest.mark.slow, pytest.mark.needs("dnsmasq")]

MACS = {"n01": "52:54:00:77:01:01", "n02": "52:54:00:77:01:02"}
FIRMWARE = {"n01": "bios", "n02": "uefi"}
OTHERS = "10.77.0.254"
LOGIN = 420.0
"""Seconds to the login prompt: about 50 on two idle cores, several times that on cores that are shared."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[HeadNode, Namespace]]:
    """A head node in proxy mode, and the namespace of the DHCP server with its nodes' addresses reserved."""
    for kind in FIRMWARE.values():
        if reason := KINDS[kind].missing():
            pytest.skip(reason)
    with (
        borrowed_image(f"proxy-{tmp_path_factory.getbasetemp().name}") as head,
        Lab(directory=head.logs) as lab,
    ):
        text = head.config.read_text()
        head.config.write_text(text.replace("[[network]]\n", '[[network]]\ndhcp      = "proxy"\n'))
        head.join(lab)
        for name, mac in MACS.items():
            head.run("netbootctl", "node", "add", name, "--mac", mac, "--image", IMAGE)
        other = lab.client("other", address=f"{OTHERS}/24")
        pasted = []
        for name in MACS:
            paste = json.loads(head.run("netbootctl", "why", name, "--json"))["paste"]
            pasted += next(recipe["lines"] for recipe in paste if "dnsmasq" in recipe["server"])
        config = head.logs / "dnsmasq.conf"
        config.write_text(
            "port=0\ninterface=eth0\nbind-interfaces\nno-ping\nuser=root\npid-file=\nlog-dhcp\n"
            f"log-facility=-\ndhcp-range=10.77.0.100,10.77.0.110,1h\ndhcp-leasefile={head.logs}/leases\n"
            + "\n".join(pasted)
            + "\n"
        )
        other.start("dnsmasq", ["dnsmasq", "--keep-in-foreground", f"--conf-file={config}"])
        head.start()
        for name, kind in FIRMWARE.items():
            head.machine(name, kind, MACS[name]).power_on()
        yield head, other


@pytest.mark.parametrize("name", sorted(FIRMWARE))
def test_it_boots_beside_another_dhcp_server(site: tuple[HeadNode, Namespace], name: str) -> None:
    head, _ = site
    machine: Machine = next(machine for machine in head.machines if machine.name == name)
    try:
        machine.wait_for(rf"^{name} login:", LOGIN)
    except LabError as error:
        pytest.fail(f"{error}\n{head.what_happened()}")
    events = timeline(Path(head.state) / "registry" / "events.db", Mac(MACS[name]))
    told = "\n".join(event.text for event in events)
    address = f"10.77.0.{10 + sorted(MACS).index(name)}"
    assert f"asks the DHCP server {OTHERS} for {address}, its own address" in told
    assert "offered, beside the other server's address, boot file" in told
    stages = {event.stage for event in events}
    assert {Stage.DISCOVER, Stage.OFFER, Stage.CONFIG, Stage.KERNEL, Stage.INITRD, Stage.ROOT} <= stages
    # UEFI asks at 4011 for what its offer left out; who was told all in the offer needn't.
    assert (Stage.ACK in stages) is (FIRMWARE[name] == "uefi")
    assert f"{address} for ever" not in told, "no address is ours to give"
    machine.power_off()
