"""Paths inside an image: links count as they do for a process whose / is the image, and lead nowhere else."""

from pathlib import Path

import pytest

from netbootd.images.rooted import find_file, resolve


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "root"
    (made / "usr/bin").mkdir(parents=True)
    (made / "usr/bin/tool").write_text("x")
    (made / "bin").symlink_to("usr/bin")
    (made / "absolute").symlink_to("/usr/bin/tool")
    (made / "doubled").symlink_to("//usr//bin/./tool")
    (made / "out").symlink_to("../../../../etc/passwd")
    (made / "loop").symlink_to("loop")
    (tmp_path / "secret").write_text("outside")
    return made


@pytest.mark.parametrize(
    "name", ["/bin/tool", "bin/tool", "//usr/bin/tool", "/absolute", "doubled", "/../usr/bin/tool"]
)
def test_a_path_means_what_it_means_inside(root: Path, name: str) -> None:
    assert resolve(root, name) == root / "usr/bin/tool"


@pytest.mark.parametrize("name", ["/out", "/loop", "/../secret", "//secret", "/bin/tool/under", "/none"])
def test_nothing_outside_is_ever_found(root: Path, name: str) -> None:
    assert resolve(root, name) is None


def test_a_relative_root_works_as_well(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root.parent)
    assert resolve(Path("root"), "/absolute") == Path("root/usr/bin/tool")


def test_the_first_file_that_is_there_is_found(root: Path) -> None:
    assert find_file(root, ["/none", "/usr/bin", "/bin/tool"]) == root / "usr/bin/tool"
    assert find_file(root, ["/none", "/usr"]) is None
