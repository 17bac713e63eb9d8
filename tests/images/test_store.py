"""Generations: whole or not there, numbered once, current by one rename, whatever dies in the middle."""

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from netbootd.errors import HostError, UserError
from netbootd.image import Generation
from netbootd.images import record
from netbootd.images.store import ImageStore, Staging


@pytest.fixture
def images() -> Iterator[Path]:
    """In memory where that can be: bringing a busy disk up to date again and again takes minutes."""
    memory = Path("/dev/shm")
    base = memory if os.access(memory, os.W_OK) else None
    directory = Path(tempfile.mkdtemp(prefix="netbootd-images-", dir=base))
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def store(images: Path) -> ImageStore:
    return ImageStore(images)


def made(staging: Staging, mark: str) -> Generation:
    """A generation all of whose parts bear the same mark."""
    (staging.root / "etc").mkdir()
    (staging.root / "etc/mark").write_text(mark)
    (staging.boot / "vmlinuz").write_text(mark)
    return Generation(
        image=staging.name,
        number=0,
        directory=staging.directory,
        created=record.now(),
        origin=mark,
        architecture="x86_64",
        kernel_release="6.1",
        size=len(mark),
        remarks=("fstab emptied",),
    )


def publish(store: ImageStore, name: str = "debian", mark: str = "one") -> Generation:
    with store.staging(name) as staging:
        return store.publish(staging, made(staging, mark))


def assert_whole(generation: Generation) -> None:
    assert (generation.root / "etc/mark").read_text() == generation.origin
    assert (generation.boot / "vmlinuz").read_text() == generation.origin


def test_a_published_generation_is_current_and_the_older_ones_stay(store: ImageStore) -> None:
    first = publish(store, mark="one")
    second = publish(store, mark="two")
    assert (first.number, second.number) == (1, 2)
    assert store.current("debian") == second
    assert store.generations("debian") == (first, second)
    assert store.names() == ["debian"]
    assert_whole(first)
    assert_whole(second)


def test_what_is_written_is_what_is_read(store: ImageStore, images: Path) -> None:
    published = publish(store)
    assert ImageStore(images).current("debian") == published
    assert published.remarks == ("fstab emptied",)


def test_modes_let_the_daemon_read_and_nobody_else_write(store: ImageStore) -> None:
    generation = publish(store)
    assert generation.directory.stat().st_mode & 0o777 == 0o755
    assert generation.boot.stat().st_mode & 0o777 == 0o755
    assert (generation.directory / "generation.json").stat().st_mode & 0o777 == 0o644


def test_an_image_that_does_not_exist_has_nothing(store: ImageStore) -> None:
    assert store.current("debian") is None
    assert store.generation("debian", 1) is None
    assert store.generations("debian") == ()
    assert store.names() == []


def test_nothing_is_left_of_a_staging_that_is_given_up(store: ImageStore, images: Path) -> None:
    with pytest.raises(ZeroDivisionError), store.staging("debian") as staging:
        made(staging, "never")
        raise ZeroDivisionError
    assert [path.name for path in images.iterdir()] == [".lock"]


def test_a_full_disk_is_told_in_words_and_nothing_is_left(store: ImageStore, images: Path) -> None:
    with pytest.raises(HostError, match="make room"), store.staging("debian") as staging:
        raise OSError(28, "No space left on device", str(staging.root))
    assert store.names() == []
    assert [path.name for path in images.iterdir()] == [".lock"]


def test_use_and_rollback_switch_and_say_what_they_can_not(store: ImageStore) -> None:
    first = publish(store)
    with pytest.raises(UserError, match="no generation older than 1; it is the only one"):
        store.rollback("debian")
    second = publish(store)
    assert store.rollback("debian") == first
    assert store.current("debian") == first
    with pytest.raises(UserError, match="no generation older than 1; it has 2 besides: netbootctl image use"):
        store.rollback("debian")
    assert store.use("debian", 2) == second
    with pytest.raises(UserError, match="no generation 7; it has 1, 2"):
        store.use("debian", 7)
    with pytest.raises(UserError, match="no image arch; there are debian"):
        store.use("arch", 1)
    assert store.current("debian") == second


def test_the_current_generation_and_one_in_use_are_not_removed(store: ImageStore) -> None:
    publish(store), publish(store)
    with pytest.raises(UserError, match="debian@2 is the current"):
        store.remove("debian", 2, {})
    with pytest.raises(UserError, match="debian@1 is used by n01, n02"):
        store.remove("debian", 1, {1: {"n02", "n01"}})
    with pytest.raises(UserError, match="debian@2 is used by n03"):
        store.remove("debian", None, {2: ["n03"]})
    assert store.numbers("debian") == [1, 2]


def test_removing_gives_the_space_back(store: ImageStore, images: Path) -> None:
    publish(store), publish(store)
    store.remove("debian", 1, {2: {"n01"}})
    assert store.numbers("debian") == [2]
    store.remove("debian", None, {})
    assert store.names() == []
    left = sorted(path.relative_to(images).as_posix() for path in images.rglob("*"))
    assert left == [".lock", "debian", "debian/.last"]


def test_a_number_is_never_given_twice(store: ImageStore) -> None:
    publish(store), publish(store)
    store.use("debian", 1)
    store.remove("debian", 2, {})
    assert publish(store).number == 3
    store.remove("debian", None, {})
    assert store.current("debian") is None
    assert publish(store).number == 4


def test_a_switch_made_by_another_process_is_seen_at_once(store: ImageStore, images: Path) -> None:
    publish(store), publish(store)
    assert (seen := store.current("debian")) and seen.number == 2
    ImageStore(images).use("debian", 1)
    assert (seen := store.current("debian")) and seen.number == 1
    ImageStore(images).remove("debian", 2, {})
    assert store.generation("debian", 2) is None


def test_a_damaged_generation_can_still_be_removed(store: ImageStore) -> None:
    (publish(store).directory / "generation.json").write_text("")
    publish(store)
    store.remove("debian", 1, {})
    assert store.numbers("debian") == [2]


def test_the_daemon_can_read_whatever_umask_root_has(images: Path) -> None:
    before = os.umask(0o077)
    try:
        generation = publish(ImageStore(images / "new"))
    finally:
        os.umask(before)
    for path in (images / "new", generation.directory.parent, generation.directory, generation.boot):
        assert path.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "isn't JSON"),
        ("[" * 100_000, "isn't JSON"),
        ("[]", "isn't an object"),
        ('{"created": "x"}', "lacks origin, architecture, kernel_release, size"),
        ('{"size": "many"}', "size is of the wrong kind"),
        ('{"remarks": [1]}', "remarks is of the wrong kind"),
    ],
)
def test_a_damaged_generation_is_told_with_its_file(store: ImageStore, content: str, why: str) -> None:
    generation = publish(store)
    path = generation.directory / "generation.json"
    path.write_text(content)
    with pytest.raises(HostError) as raised:
        ImageStore(store.directory).current("debian")
    assert str(path) in raised.value.message
    assert why in raised.value.message


def test_a_generation_of_a_later_version_is_read(store: ImageStore) -> None:
    path = publish(store).directory / "generation.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "invented_later": 1}))
    assert ImageStore(store.directory).current("debian") is not None


def test_a_running_build_is_not_cleaned_and_a_dead_one_is(store: ImageStore, images: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from netbootd.images.store import ImageStore\n"
        "with ImageStore(Path(sys.argv[1])).staging('debian') as staging:\n"
        "    print(staging.directory, flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(images)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        theirs = Path(process.stdout.readline().strip())
        assert store.clean() == []
        assert theirs.is_dir()
        process.kill()
    assert store.clean() == [theirs]
    assert not theirs.exists()


def test_what_a_dead_builds_children_still_hold_is_not_cleaned(store: ImageStore, images: Path) -> None:
    program = (
        "import os, sys, subprocess; from pathlib import Path; from netbootd.images.store import ImageStore\n"
        "with ImageStore(Path(sys.argv[1])).staging('debian') as staging:\n"
        "    child = subprocess.Popen(['sleep', '60'], pass_fds=(staging.lock,), stdout=-3, stderr=-3)\n"
        "    print(child.pid, flush=True)\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, str(images)], capture_output=True, text=True, check=False
    )
    child = int(run.stdout)
    try:
        assert store.clean() == []
    finally:
        os.kill(child, signal.SIGKILL)


def _publish_in_child(images: Path, mark: str) -> None:
    publish(ImageStore(images), mark=mark)


def test_two_builds_of_one_image_get_two_numbers(images: Path) -> None:
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=_publish_in_child, args=(images, f"mark {i}")) for i in range(6)]
    for child in children:
        child.start()
    for child in children:
        child.join()
        assert child.exitcode == 0
    store = ImageStore(images)
    generations = store.generations("debian")
    assert [generation.number for generation in generations] == [1, 2, 3, 4, 5, 6]
    assert {generation.origin for generation in generations} == {f"mark {i}" for i in range(6)}
    assert (current := store.current("debian")) and current.number == 6


_STEPS = {
    "os.rename",
    "os.mkdir",
    "os.symlink",
    "os.chmod",
    "os.remove",
    "open",
    "subprocess.Popen",
    "fcntl.flock",
}


def _die_at(images: Path, step: int) -> int:
    """Publish in a child that SIGKILLs itself before its `step`th system call of note; its wait status."""
    child = os.fork()
    if child == 0:
        passed = 0

        def count(event: str, _: object) -> None:
            nonlocal passed
            if event not in _STEPS:
                return
            passed += 1
            if passed > step:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.addaudithook(count)
            publish(ImageStore(images), mark=f"killed at {step}")
            os._exit(0)
        finally:
            traceback.print_exc()
            os._exit(1)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL), "the child failed by itself"
    return status


def test_killed_at_any_step_leaves_the_old_or_the_new_generation(store: ImageStore, images: Path) -> None:
    publish(store, mark="the first")
    for step in range(1000):
        before = store.current("debian")
        status = _die_at(images, step)
        after = ImageStore(images)
        current = after.current("debian")
        assert before is not None
        assert current is not None
        assert current.origin in (before.origin, f"killed at {step}")
        for generation in after.generations("debian"):
            assert_whole(generation)
        after.clean()
        assert not [path for path in images.iterdir() if path.name.startswith((".incoming", ".outgoing"))]
        if os.WIFEXITED(status):
            assert step > 15, "publishing has more steps than that"
            assert current.origin == f"killed at {step}"
            return
    pytest.fail("publishing never came to its end")


def test_killed_before_the_first_is_current_leaves_no_image_to_boot(images: Path) -> None:
    for step in range(1000):
        status = _die_at(images, step)
        store = ImageStore(images)
        current = store.current("debian")
        if current is not None:
            assert_whole(current)
        if os.WIFEXITED(status):
            assert current is not None
            return
        store.clean()
        for name in store.names():
            store.remove(name, None, {})
