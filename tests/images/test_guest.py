"""Files that are in an image only while somebody works in it."""

from pathlib import Path

import pytest

from netbootd.images.guest import Guest
from tests.images.roots import put

NAME = "usr/sbin/policy-rc.d"


def guest(tmp_path: Path) -> Guest:
    for name in ("etc", "usr/sbin"):
        (tmp_path / "image" / name).mkdir(parents=True)
    made = Guest(tmp_path / "image", tmp_path / "guest")
    assert NAME in made.files
    return made


@pytest.mark.parametrize("way", ["withdraw", "take"])
def test_a_directory_that_became_a_link_costs_this_machine_no_file(tmp_path: Path, way: str) -> None:
    made = guest(tmp_path)
    text = (made.directory / NAME).read_text()
    tree, ours = tmp_path / "tree", put(tmp_path, "machine/policy-rc.d", text)
    there = put(tree, f"{ours}".lstrip("/"), text)
    (tree / "usr").mkdir()
    (tree / "usr/sbin").symlink_to(ours.parent)
    if way == "withdraw":
        made.withdraw_from(tree)
    else:
        made.take_from(tree, tmp_path)
    assert ours.read_text() == there.read_text() == text


def test_what_is_still_as_it_was_put_is_taken_out(tmp_path: Path) -> None:
    made = guest(tmp_path)
    tree = tmp_path / "tree"
    put(tree, NAME, (made.directory / NAME).read_text())
    made.withdraw_from(tree)
    assert not (tree / NAME).exists()
