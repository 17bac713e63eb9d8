"""Raspberry Pi OS for 32 bits, built on another architecture from archives laid out as Raspberry Pi's are.

Debian's own armhf packages play Raspbian's, and run under qemu-user; the kernel and the firmware are small
packages made here. The public archives aren't asked.
"""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from netbootd.images import debian, foreign
from netbootd.images.build import build
from netbootd.images.machine import architecture
from netbootd.images.recipe import Order, Recipe, hook, keyring
from netbootd.images.store import ImageStore
from tests.lab import archive
from tests.lab.archive import Archive

BINFMT = Path("/proc/sys/fs/binfmt_misc")
ENTRY = "netbootd-test-arm"
RELEASE = "6.12.25-rpi-v7"
KERNEL = bytearray(0x1000)
KERNEL[0x24:0x28] = b"\x18\x28\x6f\x01"  # a zImage
KERNEL[0x200:0x280] = f"Linux version {RELEASE} (serge@raspberrypi.com) #1".encode().ljust(0x80, b"\0")


@pytest.fixture(scope="module")
def arm_programs() -> Iterator[None]:
    """This machine runs programs for armhf: as it is, or with what qemu-user-static is registered by here."""
    if foreign.runs("armhf"):
        yield
        return
    qemu = shutil.which("qemu-arm-static")
    if qemu is None:
        pytest.skip("not installed: qemu-arm-static")
    mounted = (BINFMT / "register").exists()
    if not mounted and subprocess.run(["mount", "-t", "binfmt_misc", "none", BINFMT], check=False).returncode:
        pytest.skip("binfmt_misc can't be mounted here")
    magic = r"\x7f\x45\x4c\x46\x01\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x28\x00"
    mask = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
    (BINFMT / "register").write_text(f":{ENTRY}:M::{magic}:{mask}:{qemu}:F")
    try:
        assert foreign.runs("armhf")
        yield
    finally:
        (BINFMT / ENTRY).write_text("-1")
        if not mounted:
            subprocess.run(["umount", BINFMT], check=True)


@pytest.mark.slow
@pytest.mark.boot
@pytest.mark.needs(*archive.COMMANDS)
@pytest.mark.usefixtures("arm_programs")
def test_raspberry_pi_os_is_built_from_two_archives_by_their_keys(
    tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    with ExitStack() as stack:
        raspbian, own = Archive(tmp_path / "raspbian"), Archive(tmp_path / "own")
        stack.callback(raspbian.close)
        stack.callback(own.close)
        archive.put_core(pytestconfig, raspbian, "armhf")
        for name in {*debian.PACKAGES, "apt", "usrmerge", "firmware-brcm80211"} - {"busybox"}:
            raspbian.make(name)
        keys = {"usr/share/keyrings/raspbian-archive-keyring.gpg": raspbian.key}
        raspbian.make("raspbian-archive-keyring", files=keys)
        raspbian.publish("bookworm", "armhf", components=("main", "contrib", "non-free", "rpi"))
        keys = {"usr/share/keyrings/raspberrypi-archive-keyring.pgp": own.key}
        own.make("raspberrypi-archive-keyring", files=keys)
        names = ("bootcode.bin", "start.elf", "fixup.dat")
        firmware = {f"boot/firmware/{name}": b"firmware" for name in names}
        own.make("raspi-firmware", files={**firmware, "boot/firmware/bcm2709-rpi-2-b.dtb": b"a tree"})
        kernel = {
            f"boot/vmlinuz-{RELEASE}": bytes(KERNEL),
            f"boot/config-{RELEASE}": b"CONFIG_NFS_FS=y\nCONFIG_OVERLAY_FS=y\n",
        }
        own.make("linux-image-rpi-v7", "armhf", kernel, control="Depends: raspi-firmware\n")
        own.publish("bookworm", "armhf")
        raspbian_url, _ = stack.enter_context(raspbian.served())
        own_url, _ = stack.enter_context(own.served())
        order = Order(
            "raspios-bookworm",
            "armhf",
            {"": raspbian_url, "raspberrypi": own_url},
            hooks=(hook("arm.sh", b'#!/bin/sh\nchroot "$1" dpkg --print-architecture >"$1/etc/arm"\n'),),
            keyrings=(keyring("raspbian.gpg", raspbian.key), keyring("raspberrypi.gpg", own.key)),
        )
        made = build(ImageStore(tmp_path / "images"), "pi", order)
    assert (made.architecture, made.kernel_release) == ("armv7l", RELEASE)
    assert made.firmware and made.config_txt[0] == "arm_64bit=0"
    assert architecture(made.root) == "armv7l"
    assert (made.root / "etc/arm").read_text() == "armhf\n"
    assert (made.boot / "firmware/start.elf").read_bytes() == b"firmware"
    sources = (made.root / "etc/apt/sources.list.d/raspi.sources").read_text()
    assert "Signed-By: /usr/share/keyrings/raspbian-archive-keyring.gpg\n" in sources
    assert "Signed-By: /usr/share/keyrings/raspberrypi-archive-keyring.pgp\n" in sources
    assert list(made.root.glob("etc/apt/keyrings/*")) == [], "each archive's own package has brought its keys"
    named = replace(order, mirrors={"raspbian": raspbian_url, "raspberrypi": own_url})
    assert Recipe.from_json(made.recipe).order == named
    assert list(made.root.glob("usr/bin/qemu-*")) == []
