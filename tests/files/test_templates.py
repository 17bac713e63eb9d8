"""The trees of templates: the admin's over the packaged ones, by path."""

import os
from pathlib import Path

import pytest

from netbootd.errors import UserError
from netbootd.files.templates import rendered, sources
from netbootd.files.tree import Directory, File, Link, Tree
from netbootd.render import Renderer
from tests.files.head import Head


def put(directory: Path, path: str, content: str | bytes, mode: int = 0o644) -> Path:
    file = directory / "node" / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    file.chmod(mode)
    return file


def tree(directory: Path, **variables: object) -> Tree:
    given = {"given": File(b"by code")}
    return rendered(sources(directory, "each"), Renderer(directory), variables, given)


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An admin's directory, and no packaged templates besides."""
    empty = tmp_path / "packaged"
    empty.mkdir()
    monkeypatch.setattr("netbootd.files.templates.packaged_templates", lambda: empty)
    admin = tmp_path / "admin"
    admin.mkdir()
    return admin


def test_a_template_loses_its_ending_and_a_plain_file_is_taken_octet_for_octet(bare: Path) -> None:
    put(bare, "each/etc/a.j2", "{{ word }}\n")
    put(bare, "each/etc/b", b"{{ word }}\0\xff")
    made = tree(bare, word="héllo")
    assert made["etc/a"] == File("héllo\n".encode())
    assert made["etc/b"] == File(b"{{ word }}\0\xff")


def test_files_keep_their_mode_but_for_writing_by_others(bare: Path) -> None:
    put(bare, "each/a", "x", 0o600)
    put(bare, "each/b", "x", 0o777)
    put(bare, "each/d/c.j2", "x", 0o4755)
    (bare / "node/each/d").chmod(0o770)
    made = tree(bare)
    assert [made[name] for name in ("a", "b", "d/c")] == [
        File(b"x", 0o600),
        File(b"x", 0o755),
        File(b"x", 0o755),
    ]
    assert made["d"] == Directory(0o750)


def test_links_are_taken_as_links(bare: Path) -> None:
    put(bare, "each/real/file", "x")
    (bare / "node/each/link").symlink_to("/etc/passwd")
    (bare / "node/each/directory").symlink_to("real")
    made = tree(bare)
    assert made["link"] == Link("/etc/passwd")
    assert made["directory"] == Link("real")
    assert "directory/file" not in made


def test_what_comes_out_empty_makes_no_file_and_takes_one_away(bare: Path) -> None:
    put(bare, "each/a.j2", "{% if word %}x{% endif %}\n\n")
    put(bare, "each/given", "")
    assert tree(bare, word="") == {".": Directory()}
    assert set(tree(bare, word="y")) == {".", "a"}


def test_what_editors_and_dpkg_leave_behind_is_passed_over(bare: Path) -> None:
    for name in ("a~", ".a.swp", "a.dpkg-old"):
        put(bare, f"each/{name}", "x")
    assert set(tree(bare)) == {".", "given"}


def test_a_file_and_a_template_of_the_same_path_are_refused(bare: Path) -> None:
    put(bare, "each/a", "x")
    put(bare, "each/a.j2", "x")
    with pytest.raises(UserError, match="mean the same file"):
        tree(bare)


def test_a_device_is_no_template(bare: Path) -> None:
    (bare / "node/each").mkdir(parents=True)
    os.mkfifo(bare / "node/each/pipe")
    with pytest.raises(UserError, match="pipe is no file"):
        tree(bare)


def test_the_admins_file_stands_in_for_the_packaged_one_rendered_or_not(head: Head) -> None:
    head.add(1)
    put(head.templates, "each/etc/hostname", "fixed\n")
    put(head.templates, "each/etc/motd.j2", "{{ node.name }} of {{ head.name }}\n")
    put(head.templates, "common/etc/munge/munge.key", b"\0\1\2", 0o400)
    head.apply()
    assert head.text("nodes/n1/etc/hostname") == "fixed\n"
    assert head.text("nodes/n1/etc/motd") == "n1 of head\n"
    key = head.state / "common/etc/munge/munge.key"
    assert (key.read_bytes(), key.stat().st_mode & 0o777) == (b"\0\1\2", 0o400)
    assert head.text("nodes/n1/etc/machine-id"), "the rest is as packaged"


def test_an_override_that_was_just_written_or_taken_back_counts_at_once(head: Head) -> None:
    head.add(1)
    head.apply()
    packaged = head.text("common/etc/hosts")
    override = put(head.templates, "common/etc/hosts.j2", "{{ nodes | length }} nodes\n")
    head.apply()
    assert head.text("common/etc/hosts") == "1 nodes\n"
    override.unlink()
    head.apply()
    assert head.text("common/etc/hosts") == packaged


def test_an_empty_file_keeps_the_clusters_key_off_the_nodes(head: Head) -> None:
    head.add(1)
    put(head.templates, "each/root/.ssh/id_ed25519", "")
    head.apply()
    assert not (head.state / "nodes/n1/root/.ssh/id_ed25519").exists()


def test_templates_of_one_node_dont_see_the_others(head: Head) -> None:
    """Else one more node would change the files of all."""
    head.add(1)
    put(head.templates, "each/etc/x.j2", "{{ nodes }}\n")
    with pytest.raises(UserError, match=r"x\.j2, line 1: 'nodes' is undefined"):
        head.plan()


def test_templates_run_nothing(head: Head) -> None:
    head.add(1)
    put(head.templates, "each/etc/x.j2", "{{ node.__class__.__mro__[1].__subclasses__() }}\n")
    with pytest.raises(UserError, match=r"x\.j2, line 1"):
        head.plan()
