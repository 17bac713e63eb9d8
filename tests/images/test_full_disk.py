"""A disk that fills up: a clear line, nothing published, and the space given back."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from netbootd.errors import HostError
from netbootd.images.importer import import_image
from netbootd.images.sharing import share
from netbootd.images.shell import opened
from netbootd.images.store import ImageStore
from tests.images.roots import put, small_root
from tests.images.test_layered import picture

pytestmark = [
    pytest.mark.as_root("it mounts, and an image's files belong to many users"),
    pytest.mark.needs("busybox", "mkfs.ext4"),
]

ROOM = 100 << 20


@pytest.fixture(params=["tmpfs", "ext4"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A small file system."""
    mount = tmp_path / "disk"
    mount.mkdir()
    if request.param == "tmpfs":
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", mount], check=True)
    else:
        with (tmp_path / "ext4").open("wb") as file:
            file.truncate(ROOM)
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", "-N", "4096", tmp_path / "ext4"], check=True)
        subprocess.run(["mount", "-o", "loop", tmp_path / "ext4", mount], check=True)
    yield mount
    subprocess.run(["umount", mount], check=True)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = small_root(tmp_path / "source")
    for name in ("dd", "rm", "sync"):
        (root / "bin" / name).symlink_to("busybox")
    return root


def used(disk: Path) -> int:
    """In the end: what was removed is given back when the disk comes to it."""
    os.sync()
    room = os.statvfs(disk)
    return (room.f_blocks - room.f_bfree) * room.f_frsize


def in_it(store: ImageStore) -> list[str]:
    return sorted(path.name for path in store.directory.iterdir() if path.name != ".lock")


def test_an_import_that_does_not_fit(disk: Path, source: Path) -> None:
    store = ImageStore(disk / "images")
    import_image(store, "golden", source)
    before = used(disk)
    for number in range(12):
        put(source, f"usr/lib/part{number}", os.urandom(9 << 20))
    with pytest.raises(HostError, match="left") as raised:
        import_image(store, "golden", source)
    assert "nothing of it was kept" in str(raised.value)
    assert store.numbers("golden") == [1] and in_it(store) == ["golden"]
    assert used(disk) < before + (1 << 20)


def test_a_shell_that_fills_the_disk(disk: Path, source: Path) -> None:
    store = ImageStore(disk / "images")
    first = import_image(store, "golden", source)
    shown, before = picture(first.root), used(disk)
    with opened(store, first) as session:
        status = session.run(["sh", "-c", "dd if=/dev/zero of=/big bs=1M 2>/dev/null; sync; rm /nothing"])
    assert status != 0
    assert store.numbers("golden") == [1] and in_it(store) == ["golden"]
    assert picture(first.root) == shown
    assert used(disk) < before + (1 << 20)


def test_what_a_shell_made_is_not_kept_twice_and_what_cannot_be_published_is_told(
    disk: Path, source: Path
) -> None:
    """The shell leaves too little for the initrd, though it ended well."""
    store = ImageStore(disk / "images")
    first = import_image(store, "golden", source)
    before = used(disk)
    most = (ROOM - before) // (1 << 20) - 12
    assert most > 50
    with opened(store, first) as session:
        assert session.run(["dd", "if=/dev/urandom", "of=/big", "bs=1M", f"count={most}"]) == 0
        made = session.publish(session.changed())
    assert made.own_size > most << 20 > (ROOM - before) // 2
    store.use("golden", 1)
    store.remove("golden", 2, {})
    with opened(store, first) as session:
        session.run(["sh", "-c", "dd if=/dev/urandom of=/big bs=64k; exit 0"])
        with pytest.raises(HostError, match="No space left on device; make room") as raised:
            session.publish(session.changed())
    assert "nothing was kept" in str(raised.value)
    assert store.numbers("golden") == [1] and store.current_number("golden") == 1
    assert in_it(store) == ["golden"]
    assert used(disk) < before + (1 << 20)


def test_sharing_where_no_room_is_left(tmp_path: Path) -> None:
    """tmpfs counts each name as a file: with the last one taken, nothing more can be shared, or be lost."""
    mount = tmp_path / "disk"
    mount.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=10m,nr_inodes=60", "tmpfs", mount], check=True)
    try:
        for root in (mount / "older", mount / "new"):
            for number in range(10):
                put(root, f"etc/{number}", f"{number}\n" * 100)
                os.utime(root / f"etc/{number}", ns=(1, 1))
        with pytest.raises(OSError, match="No space left"):
            for number in range(100):
                (mount / f"filler{number}").touch()
        before, older = picture(mount / "new"), picture(mount / "older")
        assert share(mount / "new", mount / "older").files == 0
        assert (picture(mount / "new"), picture(mount / "older")) == (before, older)
        (mount / "filler0").unlink()
        assert share(mount / "new", mount / "older").files == 10, "each gives back what it took"
        assert (picture(mount / "new"), picture(mount / "older")) == (before, older)
    finally:
        subprocess.run(["umount", mount], check=True)
