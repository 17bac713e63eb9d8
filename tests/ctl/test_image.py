"""netbootctl image: what is there, what nodes get, and that nothing in use is taken away."""

import hashlib
import os
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from tests.ctl.conftest import MACS, Head


def generations(head: Head) -> list[tuple[str, list[str], list[str]]]:
    """All that lies below images/, but for the lock."""
    return [
        (top, sorted(below), sorted(set(files) - {".lock"}))
        for top, below, files in sorted(os.walk(head.directory / "state/images"))
    ]


def test_list_shows_the_current_generation_and_who_has_it(head: Head) -> None:
    head.image("debian", 1)
    head.image("debian", 2)
    head.well("node", "add", "n01", "--mac", MACS[0], "--image", "debian")
    (found,) = head.well("image", "list", "--json").json
    assert (found["name"], found["current"], found["generations"], found["nodes"]) == ("debian", 2, [1, 2], 1)
    assert (found["architecture"], found["kernel"], found["size"]) == (
        "x86_64",
        "6.1.0-13-amd64",
        1_234_567_890,
    )
    assert "1.2 GB" in head.well("image", "list").out


def test_a_damaged_generation_does_not_hide_the_other_images(head: Head) -> None:
    head.image("arch")
    (head.image("debian").directory / "generation.json").write_text("{")
    found = {image["name"]: image["remark"] for image in head.well("image", "list", "--json").json}
    assert found["arch"] == "" and "generation.json" in found["debian"]


def test_use_and_rollback_switch_what_nodes_boot(head: Head) -> None:
    for number in (1, 2, 3):
        head.image("debian", number)
    assert "debian@1 is current" in head.well("image", "use", "debian@1").out
    assert "debian@3 is current" in head.well("image", "use", "debian").out
    assert "debian@2 is current" in head.well("image", "rollback", "debian").out
    assert (head.directory / "state/images/debian/current").readlink() == Path("2")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["use", "none"], "there is no image none"),
        (["use", "debian@7"], "debian has no generation 7; it has 1, 2"),
        (["use", "debian@x"], "names no generation"),
        (["rollback", "arch"], "has no generation older than 1"),
        (["show", "none"], "there is no image none"),
        (["show", "debian@7"], "has no generation 7"),
        (["remove", "debian@2"], "is the current generation"),
        (["remove", "debian"], "is used by n01"),
        (["remove", "arch"], "is used by profile p"),
        (["import", "new", "/nonexistent/x.tar"], "there is no file /nonexistent/x.tar"),
        (["import", "Bad", "/etc/hostname"], "can't name an image"),
        (["import", "new", "/nonexistent", "--kernel", "none"], "there is no image none"),
        (["import", "new", "/nonexistent", "--kernel", "debian@7"], "there is no image debian@7"),
        (["build", "../x"], "can't name an image"),
        (["build", "new", "--suite", "Bad Suite"], "names no suite"),
        (["build", "new", "--mirror", "nowhere"], "isn't a mirror's URL"),
        (["build", "new", "--package", "Bad_Package"], "can't name a package"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(head: Head, words: list[str], reason: str) -> None:
    head.image("debian", 1)
    head.image("debian", 2)
    head.image("arch")
    head.well("node", "add", "n01", "--mac", MACS[0], "--image", "debian")
    head.well("profile", "set", "p", "--image", "arch")
    before = generations(head)
    done = head("image", *words)
    assert done.status == 2 and reason in done.err and done.err.count("\n") == 1, done.err
    assert generations(head) == before


def test_an_old_generation_can_be_removed_and_the_rest_stays(head: Head) -> None:
    head.image("debian", 1)
    head.image("debian", 2)
    head.well("image", "remove", "debian@1")
    shown = head.well("image", "show", "debian", "--json").json
    assert [(made["generation"], made["current"]) for made in shown] == [(2, True)]


def test_show_has_everything_about_a_generation(head: Head) -> None:
    made = head.image("debian")
    shown = head.well("image", "show", "debian@1", "--json").json
    assert shown["origin"] == "a test" and shown["directory"] == str(made.directory)
    assert "6.1.0-13-amd64" in head.well("image", "show", "debian@1").out


def archive(path: Path) -> Path:
    """A tar archive that is no root file system: importing it is refused, after all of it was read."""
    with tarfile.open(path, "w:gz") as tar:
        member = tarfile.TarInfo("hello")
        member.size = 5
        tar.addfile(member, BytesIO(b"world"))
    return path


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize(
    "form",
    ["{md5}  root.tar.gz\n{sum}  root.tar.gz\n", "{sum} *./root.tar.gz\n", "SHA256 (root.tar.gz) = {sum}\n"],
)
def test_a_checksum_is_found_in_a_list_of_them(head: Head, tmp_path: Path, form: str) -> None:
    source = archive(tmp_path / "root.tar.gz")
    right = hashlib.sha256(source.read_bytes()).hexdigest()
    listed = tmp_path / "SHA256SUMS"
    listed.write_text("0" * 64 + "  other.tar.gz\n" + form.format(sum="1" * 64, md5="2" * 32))
    done = head("image", "import", "new", str(source), "--checksums", str(listed))
    assert done.status == 2 and right in done.err and "isn't the file that the checksum is of" in done.err
    listed.write_text(form.format(sum=right, md5="2" * 32))
    assert "checksum" not in head("image", "import", "new", str(source), "--checksums", str(listed)).err


def test_a_list_without_the_file_is_refused(head: Head, tmp_path: Path) -> None:
    source = archive(tmp_path / "root.tar.gz")
    listed = tmp_path / "SHA256SUMS"
    listed.write_text("0" * 64 + "  other.tar.gz\n")
    done = head("image", "import", "new", str(source), "--checksums", str(listed))
    assert done.status == 2 and "has no checksum of root.tar.gz" in done.err


@pytest.mark.usefixtures("as_root")
def test_an_import_in_a_pipe_tells_its_steps_line_by_line(head: Head, tmp_path: Path) -> None:
    done = head("image", "import", "new", str(archive(tmp_path / "root.tar.gz")))
    assert done.status == 2
    assert any(line.split()[1:] == ["s", "reading"] for line in done.out.splitlines()), done.out
    assert head.well("image", "list", "--json").json == []
