"""Generations keep once what they have in common, and none ever changes because of another."""

import errno
import os
import shutil
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from netbootd.images import entries, sharing, trees
from netbootd.images.importer import import_image
from netbootd.images.sharing import share
from netbootd.images.store import ImageStore
from tests.images.roots import put, small_root
from tests.images.test_layered import picture

pytestmark = pytest.mark.as_root("an image's files belong to many users")


@pytest.fixture
def both(tmp_path: Path) -> tuple[Path, Path]:
    """An older tree and a new one that is the same, to be changed by the test."""
    older, new = tmp_path / "older", tmp_path / "new"
    for name in ("etc/a", "etc/b", "usr/lib/c", "usr/lib/d", "usr/e"):
        put(older, name, f"{name}\n" * 100)
    (older / "etc/link").symlink_to("a")
    for path in [older, *older.rglob("*")]:
        os.utime(path, ns=(10**18, 10**18 + 7), follow_symlinks=False)
    copied(older, new)
    return older, new


def copied(source: Path, target: Path) -> None:
    subprocess.run(["cp", "-a", "--reflink=never", source, target], check=True)


def same(older: Path, new: Path) -> set[str]:
    """The names that mean one file in both."""
    return {
        str(path.relative_to(new))
        for path in new.rglob("*")
        if not path.is_dir() or path.is_symlink()
        if os.path.lexists(older / path.relative_to(new))
        and path.lstat().st_ino == (older / path.relative_to(new)).lstat().st_ino
    }


def test_what_is_the_same_is_one_file_and_looks_as_it_did(both: tuple[Path, Path]) -> None:
    older, new = both
    before, older_before = picture(new), picture(older)
    assert share(new, older).files == 6
    assert same(older, new) == {"etc/a", "etc/b", "etc/link", "usr/lib/c", "usr/lib/d", "usr/e"}
    assert picture(new) == before
    assert picture(older) == older_before
    assert trees.measure(new) == trees.Size(whole=3800, own=0)


def change_content(path: Path) -> None:
    status = path.stat()
    path.write_bytes(path.read_bytes()[:-2] + b"X\n")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(change_content, id="content"),
        pytest.param(lambda path: path.chmod(0o4644), id="mode"),
        pytest.param(lambda path: os.chown(path, 1, 0), id="owner"),
        pytest.param(lambda path: os.chown(path, 0, 1), id="group"),
        pytest.param(lambda path: os.utime(path, ns=(10**18, 10**18 + 8)), id="time"),
        pytest.param(lambda path: os.setxattr(path, "user.colour", b"blue"), id="attribute"),
        pytest.param(lambda path: os.truncate(path, 3), id="size"),
    ],
)
def test_what_differs_in_anything_stays_its_own(both: tuple[Path, Path], change: object) -> None:
    older, new = both
    assert callable(change)
    change(new / "usr/e")
    before, older_before = picture(new), picture(older)
    share(new, older)
    assert same(older, new) == {"etc/a", "etc/b", "etc/link", "usr/lib/c", "usr/lib/d"}
    assert (picture(new), picture(older)) == (before, older_before)


def test_what_differs_in_size_or_time_is_not_even_read(
    both: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    older, new = both
    os.utime(new / "usr/e", ns=(1, 1))
    os.truncate(new / "etc/a", 3)
    read: list[int] = []
    same_content = entries.same_content

    def noted(one: int, other: int) -> bool:
        read.append(os.fstat(one).st_size)
        return same_content(one, other)

    monkeypatch.setattr(entries, "same_content", noted)
    share(new, older)
    assert read == [1000, 1000, 600], "usr/lib/c and d, etc/b"


def test_what_was_come_to_counts_though_it_is_shared_already(both: tuple[Path, Path]) -> None:
    older, new = both
    (new / "usr/e").unlink()
    os.link(older / "usr/e", new / "usr/e")
    os.link(new / "etc/a", new / "etc/a2")
    told: list[int] = []
    share(new, older, told=told.append)
    assert len(told) == 5 and told == sorted(told)
    assert told[-1] == trees.size(new)


def test_times_may_be_passed_over(both: tuple[Path, Path]) -> None:
    """What is served at boot is copied anew for each generation."""
    older, new = both
    os.utime(new / "usr/e", ns=(1, 1))
    share(new, older, times=False)
    assert "usr/e" in same(older, new)


def test_one_file_with_two_names_stays_one(both: tuple[Path, Path]) -> None:
    """In both trees; in the new alone; in the older alone."""
    older, new = both
    for root in (older, new):
        os.link(root / "etc/a", root / "usr/lib/too")
    (new / "usr/lib/d").unlink()
    put(older, "usr/lib/d", "x")
    put(older, "usr/lib/twin", "x")
    put(new, "usr/lib/d", "x")
    os.link(new / "usr/lib/d", new / "usr/lib/twin")
    (older / "usr/e").unlink()
    put(older, "usr/e", "y")
    os.link(older / "usr/e", older / "usr/f")
    put(new, "usr/e", "y")
    put(new, "usr/f", "y")
    for root in (older, new):
        for path in root.rglob("*"):
            os.utime(path, ns=(1, 1), follow_symlinks=False)
    before, older_before = picture(new), picture(older)
    share(new, older)
    assert (picture(new), picture(older)) == (before, older_before), "names included"
    assert {"etc/a", "usr/lib/too"} <= same(older, new)
    assert {"usr/lib/d", "usr/lib/twin"}.isdisjoint(same(older, new))
    assert len({"usr/e", "usr/f"} & same(older, new)) == 1


def test_a_name_that_an_older_generation_shares_is_no_twin(tmp_path: Path, both: tuple[Path, Path]) -> None:
    """The second generation's files have two names by now: the third's are to become their third."""
    older, new = both
    share(new, older)
    third = tmp_path / "third"
    copied(older, third)
    assert share(third, new).files == 6
    assert (third / "etc/a").stat().st_nlink == 3


@pytest.mark.parametrize("failing", range(1, 5))
def test_a_file_with_too_many_names_stays_its_own(
    both: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    """EMLINK at any of them: a file of several names is shared as a whole or not at all."""
    older, new = both
    for root in (older, new):
        os.link(root / "etc/a", root / "usr/lib/too")
        os.link(root / "etc/a", root / "usr/lib/three")
        for path in [root, *root.rglob("*")]:
            os.utime(path, ns=(1, 1), follow_symlinks=False)
    for name in ("etc/b", "etc/link", "usr/lib/c", "usr/lib/d", "usr/e"):
        (new / name).unlink()
    before, calls, link = picture(new), 0, os.link

    def refusing(*args: object, **kwargs: object) -> None:
        nonlocal calls
        calls += 1
        if calls == failing:
            raise OSError(errno.EMLINK, os.strerror(errno.EMLINK))
        link(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "link", refusing)
    shared = share(new, older)
    monkeypatch.undo()
    assert picture(new) == before
    assert shared.files == (failing == 4)
    assert (new / "etc/a").stat().st_nlink == (6 if failing == 4 else 3)
    assert not list(new.rglob(".netbootd*"))


@pytest.mark.slow
def test_the_most_names_that_a_file_system_gives_a_file(tmp_path: Path) -> None:
    older, new, names = tmp_path / "older", tmp_path / "new", tmp_path / "names"
    put(older, "full", "x")
    put(older, "other", "y")
    copied(older, new)
    names.mkdir()
    made = 1
    try:
        while made < 70_000:
            os.link(older / "full", names / str(made))
            made += 1
    except OSError as error:
        assert error.errno == errno.EMLINK
    else:
        pytest.skip("this file system knows no such limit")
    assert share(new, older).files == 1
    assert same(older, new) == {"other"}
    assert (new / "full").read_text() == "x"


def test_links_of_an_image_lead_nowhere(tmp_path: Path, both: tuple[Path, Path]) -> None:
    older, new = both
    outside = tmp_path / "outside"
    copied(older / "usr", outside)
    shutil.rmtree(older / "usr")
    (older / "usr").symlink_to(outside)
    share(new, older)
    assert same(outside, new / "usr") == set()


@pytest.fixture(params=["btrfs", "xfs"])
def sharing_disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A file system that can keep octets once for several files."""
    kind = str(request.param)
    image, mount = tmp_path / "disk", tmp_path / "mount"
    if shutil.which(f"mkfs.{kind}") is None:
        pytest.skip(f"needs mkfs.{kind}")
    with image.open("wb") as file:
        file.truncate(320 << 20)
    mount.mkdir()
    subprocess.run([f"mkfs.{kind}", image], check=True, capture_output=True)
    subprocess.run(["mount", "-o", "loop", image, mount], check=True)
    yield mount
    subprocess.run(["umount", mount], check=True)


def free(disk: Path) -> int:
    os.sync()
    return os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize


def test_where_the_file_system_can_files_of_another_time_share_their_octets(sharing_disk: Path) -> None:
    older, new = sharing_disk / "older", sharing_disk / "new"
    content = os.urandom(40 << 20)
    put(older, "usr/lib/big", content)
    put(older, "usr/lib/changed", content[: 1 << 20])
    copied(older, new)
    os.utime(new / "usr/lib/big", ns=(1, 1))
    (new / "usr/lib/big").chmod(0o640)
    put(new, "usr/lib/changed", b"a" + content[1 : 1 << 20])
    before, older_before = picture(new), picture(older)
    before_it = free(sharing_disk)
    shared = share(new, older)
    assert (picture(new), picture(older)) == (before, older_before)
    assert shared.cloned == 40 << 20
    deadline = time.monotonic() + 60  # btrfs gives it back when it comes to it
    while free(sharing_disk) - before_it <= 36 << 20:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    with (new / "usr/lib/big").open("r+b") as file:
        file.write(b"new only")
    assert (older / "usr/lib/big").read_bytes() == content


def test_ten_generations_cost_what_changed(tmp_path: Path) -> None:
    """Imported anew each time: one file of 100 kB differs, 8 MB don't."""
    source = small_root(tmp_path / "source")
    for number in range(80):
        put(source, f"usr/lib/part{number}", os.urandom(100_000))
    store = ImageStore(tmp_path / "images")
    pictures = {}
    for number in range(1, 11):
        put(source, "usr/lib/part7", os.urandom(100_000))
        made = import_image(store, "golden", source)
        assert made.number == number
        pictures[number] = picture(made.root)
    first, *others = store.generations("golden")
    assert first.own_size == first.size > 8_000_000
    assert all(100_000 <= made.own_size < 150_000 for made in others), "and what mending writes"
    assert used(store.directory / "golden") - used(first.directory) < 9 * 300_000, "directories are its own"
    assert {number: picture(store.directory / f"golden/{number}/root") for number in pictures} == pictures
    before = used(store.directory)
    for number in range(1, 10):
        store.remove("golden", number, {})
        sizes = [made.own_size for made in store.generations("golden")]
        assert sizes[0] == first.size and all(size < 150_000 for size in sizes[1:])
        assert picture(store.directory / "golden/10/root") == pictures[10]
    assert before - used(store.directory) > 9 * 100_000
    assert used(store.directory) < used(first_alone(tmp_path, source)) + 500_000


def first_alone(tmp_path: Path, source: Path) -> Path:
    """The same, where it never had another generation."""
    import_image(ImageStore(tmp_path / "alone"), "golden", source)
    return tmp_path / "alone"


def used(directory: Path) -> int:
    """Octets of disk, as du counts them."""
    done = subprocess.run(
        ["du", "--summarize", "--block-size=1", directory], capture_output=True, text=True, check=True
    )
    return int(done.stdout.split()[0])


def test_an_import_from_a_tree_that_changes_leaves_older_ones_alone(tmp_path: Path) -> None:
    """All that is mended at an import is mended in a tree whose files older generations may have."""
    store = ImageStore(tmp_path / "images")
    source = small_root(tmp_path / "source")
    first = import_image(store, "golden", source)
    before = picture(first.root)
    second = import_image(store, "golden", source)
    assert picture(first.root) == before
    assert stat.S_IMODE((second.root / "etc").stat().st_mode) == stat.S_IMODE(
        (first.root / "etc").stat().st_mode
    )
    assert sharing.share(second.root, first.root).files == 0, "all was shared before"
