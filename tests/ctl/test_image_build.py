"""netbootctl image build and rebuild, as far as it goes without a mirror; what was built is shown whole."""

from dataclasses import replace
from pathlib import Path

import pytest

from netbootd.images import record
from netbootd.images.recipe import CHANGED_BY_HAND, Order, Recipe, hook
from tests.ctl.conftest import Head

RECIPE = Recipe(
    Order(
        "noble",
        "arm64",
        {"security": "http://s.example/ubuntu"},
        ("mpich",),
        (hook("farm.sh", b"#!/bin/sh\ntrue\n"),),
    ),
    ("deb http://ports.ubuntu.com/ubuntu-ports noble main universe",),
    {"mmdebstrap": "1.3.5"},
    73,
    {"bash": "5.2.21-2ubuntu4", "mpich": "4.2.0-5build3"},
)


def built(head: Head, name: str, number: int = 1, *, suite: str = "noble", by_hand: str = "") -> None:
    """A generation with a recipe."""
    made = head.image(name, number)
    recipe = replace(RECIPE, order=replace(RECIPE.order, suite=suite)).to_json()
    if by_hand:
        recipe[CHANGED_BY_HAND] = by_hand
    record.write(made.directory / record.FILE_NAME, replace(made, recipe=recipe))


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Files that are no hooks and no keyrings."""
    (tmp_path / "notes.txt").write_text("buy povray\n")
    (tmp_path / "page.gpg").write_text("<html>404 Not Found</html>\n")
    (tmp_path / "good.sh").write_text("#!/bin/sh\n")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["build", "new", "--hook", "{files}/none.sh"], "can't read {files}/none.sh: No such file"),
        (["build", "new", "--hook", "{files}"], "can't read {files}: Is a directory"),
        (["build", "new", "--hook", "{files}/notes.txt"], "the hook notes.txt is no script"),
        (["build", "new", *["--hook", "{files}/good.sh"] * 9], "9 hooks; 8 are the most"),
        (["build", "new", "--keyring", "{files}/page.gpg"], "page.gpg is no keyring"),
        (
            ["build", "new", "--mirror", "http://a/", "--mirror", "http://b/"],
            "two mirrors of the main",
        ),
        (["build", "new", "--mirror", "raspberrypi=http://a/"], "has no archive 'raspberrypi'"),
        (["build", "new", "--suite", "raspios-bookworm", "--architecture", "amd64"], "nothing for amd64"),
        (["build", "new", "--architecture", "vax"], "no architecture 'vax'"),
        (["rebuild", "none"], "there is no image none"),
        (["rebuild", "golden"], "no generation of golden was built here"),
        (["rebuild", "golden@1"], "golden@1 can't be built again: it wasn't built here"),
        (["rebuild", "golden@7"], "golden has no generation 7; it has 1"),
        (["rebuild", "damaged"], "damaged@1 can't be built again: its recipe is damaged"),
        (["show", "golden@1", "--recipe"], "golden@1: it wasn't built here and has no recipe"),
    ],
)
def test_what_cannot_be_built_is_told_in_one_line(
    head: Head, files: Path, words: list[str], reason: str
) -> None:
    head.image("golden")
    damaged = head.image("damaged")
    record.write(damaged.directory / record.FILE_NAME, replace(damaged, recipe={"suite": 7}))
    done = head("image", *(word.format(files=files) for word in words))
    assert done.status == 2 and reason.format(files=files) in done.err, done.err
    assert done.err.count("\n") == 1
    assert not (head.directory / "state/images/new").exists()


def test_a_recipe_is_shown_whole(head: Head) -> None:
    built(head, "farm")
    text = head.well("image", "show", "farm", "--recipe").out
    for shown in (
        "noble",
        "arm64",
        "security=http://s.example/ubuntu",
        "  #!/bin/sh",
        "  mpich 4.2.0-5build3",
    ):
        assert shown in text
    assert RECIPE.order.hooks[0].sha256 in text
    assert head.well("image", "show", "farm@1", "--recipe", "--json").json == RECIPE.to_json()


def test_a_recipe_says_first_that_an_image_was_changed_by_hand_since(head: Head) -> None:
    built(head, "farm")
    built(head, "farm", 2, by_hand="over farm@1")
    first = head.well("image", "show", "farm@2", "--recipe").out.splitlines()[0]
    assert "farm@2 was changed by hand since" in first and "over farm@1" in first
    assert "by hand" not in head.well("image", "show", "farm@1", "--recipe").out


def test_what_is_built_again_is_the_current_generation(head: Head) -> None:
    """Seen by a suite that nobody has: it is refused before anything is fetched."""
    built(head, "farm", 1, suite="First Suite")
    built(head, "farm", 2, suite="Second Suite")
    assert "'Second Suite'" in head("image", "rebuild", "farm").err
    head.well("image", "use", "farm@1")
    refused = head("image", "rebuild", "farm")
    assert "'First Suite'" in refused.err and "wasn't built here" not in refused.err
    head.image("farm", 3)
    refused = head("image", "rebuild", "farm")
    assert "farm@3, the current one, wasn't built here: taking farm@2's recipe" in refused.err
    assert "'Second Suite'" in refused.err


def test_a_password_in_a_mirror_is_not_repeated_when_it_is_refused(head: Head) -> None:
    done = head("image", "build", "new", "--mirror", "gopher://me:secret@a.example/")
    assert done.status == 2 and "isn't a mirror's URL" in done.err and "secret" not in done.err


def test_the_packages_kept_are_given_back(head: Head) -> None:
    assert head.well("image", "clean").out == "no packages were kept\n"
    kept = head.directory / "state/cache/apt/bookworm-amd64-0"
    kept.mkdir(parents=True)
    (kept / "hello.deb").write_bytes(b"x" * 2_000_000)
    assert head.well("image", "clean").out == "2.0 MB given back\n"
    assert not kept.exists()
