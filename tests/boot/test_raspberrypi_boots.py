"""Simulated Raspberry Pis, a whole head node, a real Debian for 64-bit ARM with Debian's start files."""

import gzip
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab import arm
from tests.lab.head import CHECKOUT, HeadNode
from tests.lab.namespace import Lab
from tests.lab.process import LabError

pytestmark = [pytest.mark.net, pytest.mark.slow, pytest.mark.needs("dpkg-deb", "depmod", "ganesha.nfsd")]

MACS = {
    name: f"b8:27:eb:64:24:{number:02x}" for number, name in enumerate(("p3", "p3plus", "p4", "p5"), 0x10)
}
SERIALS = {name: f"a00000{mac[-2:]}" for name, mac in MACS.items()}


def raspberry_root(config: pytest.Config) -> Path:
    """The lab's root for arm64 with raspi-firmware in it, kept in pytest's cache."""
    plain = arm.small_root(config, "arm64")
    found = plain.parent / "with-raspi-firmware"
    if not found.is_dir():
        with tempfile.TemporaryDirectory(dir=plain.parent) as temporary:
            new = Path(temporary) / "root"
            subprocess.run(["cp", "-al", plain, new], check=True)
            arm.fetch(new, "arm64", "raspi-firmware")
            shutil.rmtree(new / "usr/share", ignore_errors=True)
            new.rename(found)
    return found


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[HeadNode]:
    """A head node with the image `pi` and four nodes."""
    made = HeadNode(CHECKOUT / "build" / f"pi-{tmp_path_factory.getbasetemp().name}")
    try:
        made.prepare()
        with Lab(directory=made.logs) as lab:
            made.join(lab)
            made.run("netbootctl", "image", "import", "pi", str(raspberry_root(request.config)), timeout=300)
            for name, mac in MACS.items():
                made.run("netbootctl", "node", "add", name, "--mac", mac, "--image", "pi")
            made.start()
            yield made
    finally:
        subprocess.run(["rm", "-rf", made.directory], check=True)


def play(head: HeadNode, board: str, name: str, serial: str | None = None) -> dict[str, Any]:
    """Power on a board of that kind with the node's card; what became of it."""
    words = ["--firmware", board, "--mac", MACS[name], "--serial", serial or SERIALS[name], "--json"]
    (report,) = json.loads(head.run("netbootctl", "simulate", *words, check=False, timeout=300))
    assert isinstance(report, dict)
    return report


def timeline(head: HeadNode, name: str) -> list[dict[str, Any]]:
    told = json.loads(head.run("netbootctl", "why", name, "--json"))["events"]
    assert isinstance(told, list)
    return told


@pytest.mark.parametrize(
    ("board", "name", "stages"),
    [
        ("pi3", "p3", ["discover", "offer", "loader", "config", "kernel", "initrd"]),
        ("pi3b+", "p3plus", ["discover", "offer", "loader", "config", "kernel", "initrd"]),
        ("pi4", "p4", ["discover", "offer", "request", "ack", "loader", "config", "kernel", "initrd"]),
    ],
)
def test_each_board_gets_all_that_it_needs_and_its_serial_is_noted(
    head: HeadNode, board: str, name: str, stages: list[str]
) -> None:
    report = play(head, board, name)
    assert report["boots"], json.dumps(report, indent=1)
    told = timeline(head, name)
    assert list(dict.fromkeys(event["stage"] for event in told if event["stage"])) == stages
    assert told[0]["text"].startswith("raspberrypi; "), "not the PC's BIOS that it says it is"
    assert all(event["level"] == "info" for event in told)
    assert len(told) < 20, "what it merely probes for is no news"
    assert json.loads(head.run("netbootctl", "node", "show", name, "--json"))["serial"] == SERIALS[name]


@pytest.mark.boot
@pytest.mark.needs("qemu-system-aarch64", "tftp")
def test_what_a_pi_3_fetches_boots_qemu_s_pi_3_to_a_login_prompt(head: HeadNode) -> None:
    """QEMU has the board and not its boot loader: what that fetches is fetched for it, and laid into memory.

    Its network card is on USB, as the real one's, though of another make.
    """
    name, mac = "p3plus", MACS["p3plus"]
    fetched = head.directory / "fetched"
    fetched.mkdir()
    for file in ("config.txt", "cmdline-1.txt", "vmlinuz-1", "initrd-1", "bcm2710-rpi-3-b-plus.dtb"):
        path = f"{mac.replace(':', '-')}/{file}"
        head.run("tftp", "10.77.0.1", "-m", "binary", "-c", "get", path, str(fetched / file))
    assert "kernel=vmlinuz-1\ninitramfs initrd-1 followkernel\n" in (fetched / "config.txt").read_text()
    (fetched / "Image").write_bytes(gzip.decompress((fetched / "vmlinuz-1").read_bytes()))
    line = (fetched / "cmdline-1.txt").read_text().strip()
    # The loader puts the port's name in; there is no screen here.
    line = line.replace("console=serial0,", "console=ttyS1,").replace(" console=tty1", "")
    command: list[str | Path] = [
        *("qemu-system-aarch64", "-M", "raspi3b", "-accel", "tcg,thread=multi", "-display", "none"),
        *("-no-reboot", "-monitor", "none", "-serial", "null", "-serial", "stdio", "-append", line),
        *("-kernel", fetched / "Image", "-initrd", fetched / "initrd-1"),
        *("-dtb", fetched / "bcm2710-rpi-3-b-plus.dtb"),
        *("-netdev", f"tap,id=n,ifname={head.lab.tap(name)},script=no,downscript=no"),
        *("-device", f"usb-net,netdev=n,mac={mac}"),
    ]
    machine = head.lab.start("raspi3b", command)
    try:
        machine.wait_for(f"{name} login:", 420)
        machine.wait_until(
            lambda: any(event["stage"] == "ready" for event in timeline(head, name)), "report", 120
        )
    except LabError as error:
        pytest.fail(f"{error}\n{head.what_happened()}")
    finally:
        machine.stop()


def test_a_pi_5_is_refused_by_a_kernel_that_is_older_and_why_says_so(head: HeadNode) -> None:
    """Debian 12's kernel has no device tree for it."""
    report = play(head, "pi5", "p5")
    assert not report["boots"]
    (trouble,) = {event["text"] for event in timeline(head, "p5") if event["level"] == "error"}
    assert "has no device tree bcm2712-rpi-5-b.dtb: its kernel may be older than the board" in trouble


def test_a_replaced_board_boots_without_its_prefix_and_why_says_what_to_do(head: HeadNode) -> None:
    head.run("netbootctl", "node", "set", "p4", "--serial", SERIALS["p4"])
    report = play(head, "pi4", "p4", serial="0badcafe")
    assert report["boots"], json.dumps(report, indent=1)
    told = timeline(head, "p4")
    assert any("`netbootctl node set p4 --serial 0badcafe`" in event["text"] for event in told)
    assert {"error", "warning"} <= {event["level"] for event in told}
    assert json.loads(head.run("netbootctl", "node", "show", "p4", "--json"))["serial"] == SERIALS["p4"]


def test_a_board_with_another_s_serial_number_is_told_of_by_the_other_s_name(head: HeadNode) -> None:
    head.run("netbootctl", "node", "set", "p4", "--serial", SERIALS["p4"])
    head.run("netbootctl", "node", "remove", "p5")
    head.run("netbootctl", "node", "add", "p5", "--mac", MACS["p5"], "--image", "pi")
    report = play(head, "pi4", "p5", serial=SERIALS["p4"])
    assert report["boots"], "by its address, without the prefix"
    clash = f"serial {SERIALS['p4']} belongs to node 'p4' already"
    assert any(event["level"] == "error" and clash in event["text"] for event in timeline(head, "p5"))
    assert json.loads(head.run("netbootctl", "node", "show", "p5", "--json"))["serial"] is None
