"""Boards with U-Boot come to a login prompt: the stock U-Boot of Debian, Debian's kernels, a root over NFS."""

import json
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.lab import arm
from tests.lab.head import CHECKOUT, HeadNode
from tests.lab.machine import KINDS, Machine
from tests.lab.namespace import Lab
from tests.lab.process import LabError

pytestmark = [
    pytest.mark.boot,
    pytest.mark.slow,
    pytest.mark.needs("qemu-system-aarch64", "qemu-system-arm", "dpkg-deb", "depmod"),
]

NODES = {
    "a64": ("52:54:00:77:0a:01", "arm64", "uboot-arm64"),
    "a32": ("52:54:00:77:0a:02", "armhf", "uboot-arm32"),
}
UEFI = ("u64", "52:54:00:77:0a:03", "arm64", "uefi-arm64")
LOGIN = 420.0
PROMPT = r"^=> "
STOP = r"Hit any key to stop autoboot"


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[HeadNode]:
    """A head node with both images and both nodes, and no machine powered on."""
    for _, _, kind in NODES.values():
        if reason := KINDS[kind].missing():
            pytest.skip(reason)
    made = HeadNode(CHECKOUT / "build" / f"arm-{tmp_path_factory.getbasetemp().name}")
    try:
        made.prepare()
        with Lab(directory=made.logs) as lab:
            made.join(lab)
            for name, (mac, image, _) in NODES.items():
                root = arm.small_root(request.config, image)
                made.run("netbootctl", "image", "import", image, str(root), timeout=300)
                made.run("netbootctl", "node", "add", name, "--mac", mac, "--image", image)
            made.start()
            yield made
    finally:
        subprocess.run(["rm", "-rf", made.directory], check=True)


def power_on(head: HeadNode, name: str) -> Machine:
    mac, _, kind = NODES[name]
    found = next((machine for machine in head.machines if machine.name == name), None)
    machine = found or head.machine(name, kind, mac)
    machine.power_on()
    return machine


def at_prompt(machine: Machine) -> None:
    """Stop the countdown, as a person would."""
    machine.wait_for(STOP, 120)
    machine.type("\n")
    machine.wait_for(PROMPT, 30)


def stages(head: HeadNode, name: str) -> list[str]:
    """The stages of its latest boot, once it has reported that it is ready."""
    deadline = time.monotonic() + 60
    while True:
        told = json.loads(head.run("netbootctl", "why", name, "--json"))
        seen = [event["stage"] for event in told["events"] if event["stage"]]
        if "ready" in seen or time.monotonic() > deadline:
            return list(dict.fromkeys(seen))
        time.sleep(0.5)


def comes_to_login(head: HeadNode, machine: Machine) -> None:
    try:
        machine.wait_for(rf"^{machine.name} login:", LOGIN)
    except LabError as error:
        pytest.fail(f"{error}\n{head.what_happened()}")
    print(f"{machine.name}: login after {machine.elapsed:.1f} s")
    assert stages(head, machine.name)[-4:] == ["kernel", "initrd", "root", "ready"]


@pytest.mark.parametrize("name", NODES)
def test_pxe_get_typed_at_the_prompt_boots_the_node(head: HeadNode, name: str) -> None:
    machine = power_on(head, name)
    try:
        at_prompt(machine)
        machine.type("setenv autoload no; dhcp && pxe get && pxe boot\n")
        comes_to_login(head, machine)
    finally:
        machine.power_off()


@pytest.mark.parametrize("name", NODES)
def test_the_untouched_boot_command_boots_the_node(head: HeadNode, name: str) -> None:
    """Distro boot: `dhcp boot.scr.uimg; source`."""
    machine = power_on(head, name)
    try:
        comes_to_login(head, machine)
    finally:
        machine.power_off()


def test_64_bit_arm_uefi_boots_by_pxe_with_the_grub_that_its_image_brings(head: HeadNode) -> None:
    """No package for an amd64 head node has one."""
    name, mac, image, kind = UEFI
    if reason := KINDS[kind].missing():
        pytest.skip(reason)
    head.run("netbootctl", "node", "add", name, "--mac", mac, "--image", image, "--loader", "grub")
    machine = head.machine(name, kind, mac)
    machine.power_on()
    try:
        comes_to_login(head, machine)
        assert "images/arm64/1/loaders/grubaa64.efi over TFTP" in head.run("netbootctl", "why", name)
    finally:
        machine.power_off()
