"""A golden SD card becomes an image, and a machine without a disk boots it: the whole way, on real firmware.

The card is a packed disk image of a Debian: its kernel on a FAT of its own, both partitions in the fstab, a
host name.
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.boot.test_first_boot import LOGIN, on
from tests.images.disks import making
from tests.lab.head import IMAGE, HeadNode, borrowed_image
from tests.lab.machine import KINDS
from tests.lab.namespace import Lab
from tests.lab.process import LabError

pytestmark = [
    pytest.mark.boot,
    pytest.mark.slow,
    pytest.mark.needs("mkfs.ext4", "mkfs.vfat", "mcopy", "sfdisk", "zstd"),
]

MAC = "52:54:00:77:00:31"
FSTAB = """\
PARTUUID=5e3da3da-02 / ext4 defaults,noatime 0 1
PARTUUID=5e3da3da-01 /boot vfat defaults 0 2
"""


def card(root: Path, workshop: Path) -> Path:
    """A packed disk image of the system in `root`, which stays as it is."""
    tree, boot = workshop / "tree", workshop / "boot"
    subprocess.run(["cp", "-al", root, tree], check=True)
    boot.mkdir()
    for each in sorted((tree / "boot").iterdir()):
        if each.is_file() and not each.is_symlink():
            subprocess.run(["cp", each, boot], check=True)
    subprocess.run(["rm", "-rf", tree / "boot"], check=True)
    (tree / "boot").mkdir()
    for name, content in (("fstab", FSTAB), ("hostname", "golden\n"), ("came-from", "the card\n")):
        (tree / "etc" / name).unlink(missing_ok=True)  # it is a hard link
        (tree / "etc" / name).write_text(content)
    size = int(making.run("du", "-sm", tree).split()[0])
    parts = [
        ("c", making.fat(workshop / "p1", boot, 128 * making.MEGA, 32)),
        ("83", making.ext4(workshop / "p2", tree, (size + size // 4 + 200) * making.MEGA)),
    ]
    disk = making.disk(workshop / "card.img", parts)
    return making.packed(disk, ".zst")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HeadNode]:
    """A head node that imported the card, with one machine powered on."""
    if reason := KINDS["bios"].missing():
        pytest.skip(reason)
    with (
        borrowed_image(f"card-{tmp_path_factory.getbasetemp().name}") as head,
        Lab(directory=head.logs) as lab,
    ):
        head.join(lab)
        generation = next(iter((head.state / "images" / IMAGE).glob("[0-9]*")))
        workshop = head.directory / "workshop"
        workshop.mkdir()
        source = card(generation / "root", workshop)
        said = head.run("netbootctl", "image", "import", "sclork", str(source), timeout=600)
        subprocess.run(["rm", "-rf", workshop], check=True)
        assert "partition 1 (fat) is /boot" in said
        head.run("netbootctl", "node", "add", "n01", "--mac", MAC, "--image", "sclork")
        head.start()
        machine = head.machine("n01", "bios", MAC)
        machine.power_on()
        try:
            machine.wait_for(r"^n01 login:", LOGIN)
        except LabError as error:
            pytest.fail(f"{error}\n{head.what_happened()}")
        yield head


def test_a_machine_boots_what_was_on_the_card_as_itself(cluster: HeadNode) -> None:
    assert on(cluster, "n01", "cat", "/etc/came-from") == "the card"
    assert on(cluster, "n01", "hostname") == "n01"


def test_nothing_of_the_card_keeps_it_waiting_for_its_partitions(cluster: HeadNode) -> None:
    assert on(cluster, "n01", "systemctl", "--failed", "--no-legend") == ""
    assert "mmcblk" not in on(cluster, "n01", "cat", "/proc/mounts")
