"""A name from the wire opens what lies under the root, and nothing else, with openat2 and without."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from netbootd import beneath
from netbootd.beneath import open_beneath, walk_beneath


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("secret")
    served = tmp_path / "served"
    (served / "boot" / "deep").mkdir(parents=True)
    (served / "boot" / "vmlinuz-6.1").write_text("kernel")
    (served / "boot" / "deep" / "dtb").write_text("tree")
    (served / "boot" / "vmlinuz").symlink_to("vmlinuz-6.1")
    (served / "up").symlink_to("boot/deep/../vmlinuz-6.1")
    (served / "out").symlink_to("../secret")
    (served / "absolute").symlink_to(tmp_path / "secret")
    (served / "outdir").symlink_to("..")
    (served / "loop").symlink_to("loop")
    (served / "dangling").symlink_to("nowhere")
    (served / "magic").symlink_to("/proc/self/root")
    os.mkfifo(served / "fifo")
    return served


@pytest.fixture(params=["openat2", "walk"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Runs a test once as the kernel does it and once as on a kernel without the call."""
    if request.param == "walk":

        def missing(directory: int, name: str) -> int:
            raise OSError(38, "Function not implemented", name)

        monkeypatch.setattr(beneath, "_openat2", missing)
    yield request.param


def read(descriptor: int) -> str:
    with open(descriptor) as file:
        return file.read()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("boot/vmlinuz-6.1", "kernel"),
        ("boot//deep/./dtb", "tree"),
    ],
)
def test_files_under_the_root_open(root: Path, way: str, name: str, text: str) -> None:
    assert read(open_beneath(root, name)) == text


@pytest.mark.parametrize("name", ["boot/vmlinuz", "up"])
def test_links_that_stay_under_the_root_open_with_openat2_and_are_denied_by_the_walk(
    root: Path, way: str, name: str
) -> None:
    if way == "walk":
        with pytest.raises(PermissionError):
            open_beneath(root, name)
    else:
        assert read(open_beneath(root, name)) == "kernel"


@pytest.mark.parametrize(
    "name",
    [
        "out",
        "absolute",
        "outdir/secret",
        "../secret",
        "boot/../../secret",
        "/etc/passwd",
        "loop",
        "loop/x",
        "magic/etc/passwd",
    ],
)
def test_whatever_leads_out_is_denied(root: Path, way: str, name: str) -> None:
    with pytest.raises(PermissionError):
        open_beneath(root, name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "boot",
        "boot/",
        "boot/vmlinuz-6.1/",
        "nothing",
        "boot/nothing",
        "boot/vmlinuz-6.1/x",
        "fifo",
        "a\0b",
        "a\ud800b",
        "a\nb",
        "x" * 5000,
        "x/" * 3000,
    ],
)
def test_what_is_no_file_is_not_found(root: Path, way: str, name: str) -> None:
    with pytest.raises(FileNotFoundError):
        open_beneath(root, name)


def test_a_dangling_link_gives_an_error_of_the_two(root: Path, way: str) -> None:
    with pytest.raises((FileNotFoundError, PermissionError)):
        open_beneath(root, "dangling")


def test_the_root_itself_may_be_a_link(root: Path, way: str) -> None:
    (root.parent / "current").symlink_to("served")
    assert read(open_beneath(root.parent / "current", "boot/vmlinuz-6.1")) == "kernel"


def test_a_missing_root_is_not_found(root: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_beneath(root / "none", "x")


def test_no_descriptor_is_left_open(root: Path, way: str) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for name in [
        "boot/vmlinuz-6.1",
        "out",
        "boot",
        "nothing",
        "boot/nothing/x",
        "fifo",
        "loop/x",
        "../secret",
    ]:
        try:
            os.close(open_beneath(root, name))
        except OSError:
            continue
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_the_walk_stays_under_a_directory_that_is_swapped_for_a_link(root: Path) -> None:
    directory = os.open(root, os.O_PATH)
    (root / "boot").rename(root / "old")
    (root / "boot").symlink_to("/etc")
    with pytest.raises(OSError, match=r"[Tt]oo many levels|symbolic"):
        walk_beneath(directory, "boot/passwd")
    os.close(directory)
