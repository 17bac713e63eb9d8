"""ARM machines come to a login prompt, by U-Boot and by UEFI: Debian's firmware and kernels, NFS roots."""

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


def enter(machine: Machine, commands: str) -> None:
    """Type a line and wait until it is done: U-Boot loses what is typed while it works."""
    done = f"done {hash((commands, machine.elapsed)):x}"
    machine.type(f"{commands}; echo {done}\n")
    machine.wait_for(rf"^{done}", 120)


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
    seen = stages(head, machine.name)
    # U-Boot fetches the initrd first, since 2024 the kernel.
    assert sorted(seen[-4:-2]) == ["initrd", "kernel"], seen
    assert seen[-2:] == ["root", "ready"], seen


def starts_its_kernel(head: HeadNode, machine: Machine) -> None:
    """The rest is the same whatever U-Boot started it by, and another test waits for that board's login."""
    try:
        machine.wait_for(rf"Kernel command line: .*netbootd\.node={machine.name} ", LOGIN)
        machine.wait_for(r"Run /\S*init as init process", LOGIN)
    except LabError as error:
        pytest.fail(f"{error}\n{head.what_happened()}")
    print(f"{machine.name}: node-init after {machine.elapsed:.1f} s")


def test_pxe_get_typed_at_the_prompt_boots_a_32_bit_board(head: HeadNode) -> None:
    machine = power_on(head, "a32")
    try:
        at_prompt(machine)
        machine.type("setenv autoload no; dhcp && pxe get && pxe boot\n")
        comes_to_login(head, machine)
    finally:
        machine.power_off()


def test_the_untouched_boot_command_boots_a_64_bit_board(head: HeadNode) -> None:
    """Distro boot: `dhcp ${scriptaddr} boot.scr.uimg; source ${scriptaddr}`; the script tries `pxe get`."""
    machine = power_on(head, "a64")
    try:
        comes_to_login(head, machine)
        why = head.run("netbootctl", "why", "a64")
        assert "boot.scr.uimg over TFTP" in why
        assert "pxelinux.cfg/01-52-54-00-77-0a-01 over TFTP" in why
    finally:
        machine.power_off()


def test_where_there_is_no_pxe_command_the_script_alone_starts_the_node_s_kernel(head: HeadNode) -> None:
    machine = power_on(head, "a32")
    try:
        at_prompt(machine)
        machine.type("setenv pxefile_addr_r; boot\n")  # `pxe get` fails without it
        starts_its_kernel(head, machine)
        why = head.run("netbootctl", "why", "a32")
        assert "boot.scr.uimg over TFTP" in why
        assert "pxelinux.cfg" not in why
    finally:
        machine.power_off()


def test_the_way_of_a_parallella_without_a_card_starts_the_node_s_kernel(head: HeadNode) -> None:
    """What its `tftpboot` does, typed: an address without DHCP, uEnv.txt twice, and the second is the node's.

    Only where things lie in memory is changed, and the device tree is QEMU's: Debian's kernel has no Zynq.
    """
    machine = power_on(head, "a32")
    load = "tftpboot 0x42000000 uEnv.txt && env import -t 0x42000000 $filesize"
    try:
        at_prompt(machine)
        enter(machine, "setenv ipaddr 10.77.0.200; setenv serverip 10.77.0.1")
        enter(machine, f"{load} && run tftpboot_stage2")
        assert "DHCP client bound to address 10.77.0.11" in machine.output()
        enter(machine, load)
        enter(machine, "setenv fdt_high 0xffffffff; setenv initrd_high 0xffffffff; setenv netbootd_fdt true")
        enter(machine, "setenv kernel_addr_r 0x40400000; setenv ramdisk_addr_r 0x44000000")
        enter(machine, "setenv fdt_addr_r 0x40000000")
        machine.type("run tftpboot_stage2\n")
        starts_its_kernel(head, machine)
        assert "uEnv.txt over TFTP" in head.run("netbootctl", "why", "a32")
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
