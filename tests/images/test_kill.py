"""SIGKILL at any point of an import: the old or the whole new generation, and what was left behind goes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from netbootd.images.importer import import_image
from netbootd.images.store import ImageStore
from tests.images.disks import making
from tests.images.roots import put, small_root
from tests.images.test_containers import oci
from tests.images.test_importer import tar_of

pytestmark = [
    pytest.mark.as_root("an image's files belong to many users"),
    pytest.mark.needs("mkfs.ext4", "sfdisk", "xz", "zstd", "mksquashfs"),
]

SCRIPT = """
import os, signal, sys
from netbootd.images.importer import import_image
from netbootd.images.store import ImageStore
from pathlib import Path

calls, last = int(sys.argv[3]), ""

def progress(step, done, total):
    global calls, last
    if step != last:
        last = step
        calls -= 1
        if calls == 0:
            os.kill(os.getpid(), signal.SIGKILL)

import_image(ImageStore(Path(sys.argv[1])), "golden", sys.argv[2], progress=progress)
"""


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same root, in all the ways in which it may come."""
    directory = tmp_path_factory.mktemp("sources")
    root = small_root(directory / "source")
    put(root, "big", os.urandom(6 << 20))
    card = making.disk(directory / "card.img", [("83", making.ext4(directory / "p1", root))])
    squashfs = directory / "p2"
    making.run("mksquashfs", root, squashfs, "-quiet", "-no-progress", "-comp", "gzip")
    disk = making.disk(directory / "squashfs.img", [("83", squashfs)])
    archive = tar_of(root, directory / "golden.tar")
    return {
        "a disk image": making.packed(card, ".xz"),
        "a disk that is mounted": making.packed(disk, ".zst"),
        "a container": oci(directory / "golden.oci", [archive.read_bytes()]),
        "a directory": root,
    }


@pytest.mark.parametrize("what", ["a disk image", "a disk that is mounted", "a container", "a directory"])
def test_a_kill_leaves_the_old_generation_or_the_whole_new_one(
    sources: dict[str, Path], tmp_path: Path, what: str
) -> None:
    store = ImageStore(tmp_path / "images")
    import_image(store, "golden", sources["a directory"])
    mounts, loops = Path("/proc/self/mountinfo").read_text(), making.run("losetup", "--list")
    for calls in range(1, 20):
        command = [sys.executable, "-c", SCRIPT, str(store.directory), str(sources[what]), str(calls)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        if done.returncode == 0:
            assert calls > 4, "it was killed a few times"
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert store.numbers("golden") == [1] and store.current_number("golden") == 1
        wait_until_cleaned(store)
    assert store.numbers("golden") == [1, 2] and store.current_number("golden") == 2
    assert Path("/proc/self/mountinfo").read_text() == mounts
    assert making.run("losetup", "--list") == loops


def wait_until_cleaned(store: ImageStore) -> None:
    """The processes that it had started end by themselves, then what they worked in can go."""
    deadline = time.monotonic() + 60
    while True:
        store.clean()
        left = [path for path in store.directory.iterdir() if path.name.startswith(".") and path.is_dir()]
        if not left:
            return
        assert time.monotonic() < deadline, left
        time.sleep(0.05)
