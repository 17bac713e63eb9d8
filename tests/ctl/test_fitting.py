"""An image for another processor: refused when the machine asks, and told to whoever gives it before."""

import time
from dataclasses import replace

import pytest

from netbootd.boot import policy
from netbootd.boot.answer import NetBoot, Wait
from netbootd.boot.client import Client
from netbootd.boot.firmware import fit, recognise
from netbootd.events import EventLog
from netbootd.node import Mac
from netbootd.stage import Event, Stage
from tests.boot.test_policy import GENERATION, MAC, NETWORK, NODE
from tests.ctl.conftest import MACS, Head

ARCHITECTURES = ("x86_64", "i686", "aarch64", "armv7l", "riscv64")
SEEN = {
    "a PC's BIOS": (("PXEClient:Arch:00000:UNDI:002001", 0), {"x86_64", "i686"}),
    "64-bit x86 UEFI": (("PXEClient:Arch:00007:UNDI:003016", 7), {"x86_64"}),
    "64-bit ARM UEFI": (("PXEClient:Arch:00011:UNDI:003000", 11), {"aarch64"}),
    "64-bit ARM UEFI by HTTP": (("HTTPClient:Arch:00019:UNDI:003000", 19), {"aarch64"}),
    "a U-Boot for aarch64": (("U-Boot.armv8", 22), {"aarch64"}),
    "a U-Boot for armv7l": (("U-Boot.armv7", 21), {"armv7l"}),
}
"""Machine -> option 60 and 93 of its request, and the images that it can boot."""


@pytest.mark.parametrize("machine", SEEN)
def test_the_boot_decision_refuses_what_the_processor_cannot_run_and_the_warning_agrees(machine: str) -> None:
    (vendor, number), runs = SEEN[machine]
    client = Client(mac=MAC, vendor_class=vendor, architectures=(number,))
    family = recognise(client)
    assert family is not None
    known = fit.machine(family.name, client.architectures)
    assert known is not None
    for architecture in ARCHITECTURES:
        generation = replace(GENERATION, architecture=architecture)
        decision = policy.decide(client, NODE, NETWORK, generation, lambda _: True)
        assert isinstance(decision, NetBoot) is (architecture in runs) is (architecture in known[1])
        if isinstance(decision, Wait):
            assert f"debian@1 is for {architecture}" in decision.reason
            assert f"netbootctl node set {NODE.name} --image NAME" in decision.reason


def seen(head: Head, mac: str, text: str) -> None:
    log = EventLog.open(head.directory / "state/registry/events.db")
    log.record(Event(time=time.time() - 60, mac=Mac(mac), node=None, stage=Stage.DISCOVER, text=text))
    log.close()


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("uefi; PXEClient:Arch:00011:UNDI:003000; architecture 11", "64-bit ARM UEFI"),
        ("raspberrypi; serial 5564247d; PXEClient:Arch:00000:UNDI:002001; architecture 0", "a Raspberry Pi"),
        ("uboot; U-Boot.armv8; architecture 22", "a U-Boot for aarch64"),
        ("bios; PXEClient:Arch:00000:UNDI:002001; architecture 0", ""),
        ("linux; udhcp 1.35; architecture 22", ""),
        ("no vendor class", ""),
    ],
)
def test_whoever_gives_a_node_an_image_that_its_machine_cannot_run_is_told(
    head: Head, text: str, warning: str
) -> None:
    head.image("debian")
    head.image("other")
    head.well("node", "add", "n01", "--mac", MACS[0], "--image", "debian")
    seen(head, MACS[0], text)
    done = head.well("node", "set", "n01", "--image", "other")
    assert (f"n01 was last seen as {warning}, and other@1 is for x86_64" in done.err) is bool(warning)
    assert ("last seen" in done.err) is bool(warning)


def test_a_machine_that_was_heard_before_it_was_registered_is_known_too(head: Head) -> None:
    head.image("debian")
    seen(head, MACS[0], "uefi; PXEClient:Arch:00011:UNDI:003000; architecture 11")
    done = head.well("node", "add", "n01", "--mac", MACS[0], "--image", "debian")
    assert "n01 was last seen as 64-bit ARM UEFI, and debian@1 is for x86_64" in done.err
