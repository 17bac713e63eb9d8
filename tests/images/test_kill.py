"""SIGKILL at any point of an import or a shell: the old or the new generation, and what was left goes."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from netbootd.images import trees
from netbootd.images.importer import import_image
from netbootd.images.store import ImageStore
from tests.images.disks import making
from tests.images.roots import put, small_root
from tests.images.test_containers import oci
from tests.images.test_importer import tar_of
from tests.images.test_layered import picture

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
    assert trees.mounts_under(tmp_path) == []
    assert str(sources[what].parent) not in str(making.run("losetup", "--list"))


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


@pytest.fixture
def memory() -> Iterator[Path]:
    """Where publishing needn't wait for the disk."""
    directory = Path(tempfile.mkdtemp(prefix="netbootd-kill-", dir="/dev/shm"))
    yield directory
    shutil.rmtree(directory)


CHANGING = """
import os, signal, sys
from netbootd.images.importer import import_image
from netbootd.images.shell import opened
from netbootd.images.store import ImageStore
from pathlib import Path

images, what, last = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
steps, armed = 0, False

def count(event, _):
    global steps
    if armed and event in ("os.link", "os.rename", "os.mkdir", "os.utime", "os.chmod", "os.remove"):
        steps += 1
        if steps == last:
            os.kill(os.getpid(), signal.SIGKILL)

def progress(step, done, total):
    global armed
    armed = armed or step in ("comparing", "bringing it to the disk")

sys.addaudithook(count)
store = ImageStore(images)
if what == "sharing":
    import_image(store, "golden", sys.argv[4], progress=progress)
else:
    with opened(store, store.current("golden")) as session:
        assert session.run(["sh", "-c", "echo 1 >/etc/new; rm /etc/hostname /big; mkdir /srv"]) == 0
        changed = session.changed()
        armed = True
        session.publish(changed)
print(steps)
"""


@pytest.mark.parametrize("what", ["sharing", "shell"])
def test_a_kill_while_files_are_shared_changes_no_generation(memory: Path, tmp_path: Path, what: str) -> None:
    """At points all over it, by what is done to the disk."""
    source = small_root(tmp_path / "source")
    for number in range(12):
        put(source, f"usr/lib/part{number}", os.urandom(2000))
        os.link(source / f"usr/lib/part{number}", source / f"usr/lib/link{number}")
    put(source, "big", os.urandom(1 << 20))
    (source / "bin/rm").symlink_to("busybox")
    (source / "bin/mkdir").symlink_to("busybox")
    store = ImageStore(memory)
    first = import_image(store, "golden", source)
    before = picture(first.root)
    whole = changing(store, what, 0, source)
    assert whole.returncode == 0, whole.stderr
    steps = int(whole.stdout)
    assert steps > 30
    wanted = picture(store.directory / "golden/2/root")
    store.use("golden", 1)
    store.remove("golden", 2, {})
    for last in range(1, steps + 1, max(1, steps // 6)):
        numbers = store.numbers("golden")
        assert changing(store, what, last, source).returncode == -signal.SIGKILL
        assert picture(first.root) == before
        assert store.current_number("golden") in (1, numbers[-1], numbers[-1] + 1)
        for number in store.numbers("golden")[1:]:
            assert unmended(picture(store.directory / f"golden/{number}/root")) == unmended(wanted)
        wait_until_cleaned(store)
        assert picture(first.root) == before
        store.use("golden", 1)
        for number in store.numbers("golden")[1:]:
            store.remove("golden", number, {})
    assert trees.mounts_under(memory) == []


def changing(store: ImageStore, what: str, last: int, source: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", CHANGING, store.directory, what, str(last), source],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        stdin=subprocess.DEVNULL,
    )


def unmended(found: dict[str, object]) -> dict[str, object]:
    """Without what mending writes anew, and with it the time of the directories."""
    return {name: facts for name, facts in found.items() if isinstance(facts, tuple) and facts[5] is not None
            and "netbootd" not in name}  # fmt: skip


def test_a_kill_while_the_shell_runs_ends_all_of_it(tmp_path: Path) -> None:
    source = small_root(tmp_path / "source")
    (source / "bin/sleep").symlink_to("busybox")
    store = ImageStore(tmp_path / "images")
    import_image(store, "golden", source)
    mark = str(60_000 + os.getpid())
    program = (
        "import sys; from pathlib import Path; from netbootd.images.shell import opened\n"
        "from netbootd.images.store import ImageStore\n"
        "store = ImageStore(Path(sys.argv[1]))\n"
        "with opened(store, store.current('golden')) as session:\n"
        f"    session.run(['sh', '-c', 'echo 1 >/etc/new; echo started; sleep {mark} & sleep {mark}'])\n"
    )
    for _ in range(2):
        with subprocess.Popen(
            [sys.executable, "-c", program, store.directory], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
        ) as process:
            assert process.stdout and process.stdout.readline().strip() == b"started"
            assert store.clean() == [], "somebody works in it"
            process.kill()
        deadline = time.monotonic() + 60
        while [p for p in Path("/proc").glob("[0-9]*/cmdline") if mark.encode() in words(p)]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        wait_until_cleaned(store)
    assert store.numbers("golden") == [1]
    assert trees.mounts_under(tmp_path) == []


def words(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""
