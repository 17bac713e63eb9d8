"""The trees of templates: the admin's over the packaged ones, by path."""

import os
from pathlib import Path

import pytest

from netbootd.files.change import ChangeTree
from netbootd.files.templates import Source, Sources, laid, rendered, sources
from netbootd.files.tree import Directory, File, Link, Tree
from netbootd.registry import Profile
from netbootd.render import Renderer
from tests.files.head import Head


def put(directory: Path, path: str, content: str | bytes, mode: int = 0o644) -> Path:
    file = directory / "node" / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    file.chmod(mode)
    return file


def tree(directory: Path, *trees: str, **variables: object) -> Tree:
    made = rendered(from_templates(directory, *trees), Renderer(directory), variables)
    assert not made.broken
    return made.tree


def from_templates(directory: Path, *trees: str) -> Sources:
    given = {"given": Source(File(b"by code"), "each")}
    return laid(given, sources(directory, trees or ["each"]))


def fault(directory: Path) -> str:
    """Of a tree with one."""
    ((_, error),) = rendered(from_templates(directory), Renderer(directory), {}).broken.values()
    return str(error)


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


def test_directories_are_made_with_their_modes_empty_ones_too(bare: Path) -> None:
    (bare / "node/each/srv/empty").mkdir(parents=True)
    (bare / "node/each/srv").chmod(0o2770)
    put(bare, "each/root/.ssh/config", "x")
    (bare / "node/each/root/.ssh").chmod(0o755)
    made = tree(bare)
    assert made["srv"] == Directory(0o2750)
    assert "srv/empty" in made
    assert made["root/.ssh"] == Directory(0o700), "sshd would take no key from it"


def test_a_file_takes_the_place_of_a_directory_and_a_directory_of_a_file(bare: Path) -> None:
    put(bare, "each/etc/a/b", "lower")
    put(bare, "each/etc/c", "lower")
    put(bare, "profiles/p/etc/a", "upper")
    put(bare, "profiles/p/etc/c/d", "upper")
    made = tree(bare, "each", "profiles/p")
    assert made["etc/a"] == made["etc/c/d"] == File(b"upper")
    assert "etc/a/b" not in made
    (bare / "node/profiles/p/etc/a").write_text("")
    assert not [path for path in tree(bare, "each", "profiles/p") if path.startswith("etc/a")]


def test_a_source_knows_what_it_stands_in_for(bare: Path) -> None:
    lower = put(bare, "each/etc/a.j2", "x")
    middle = put(bare, "profiles/p/etc/a", "x")
    upper = put(bare, "profiles/q/etc/a.j2", "x")
    found = from_templates(bare, "each", "profiles/p", "profiles/q")["etc/a"]
    assert found.file == upper
    assert [source.file for source in found.overrides] == [middle, lower]
    assert [source.tree for source in found.overrides] == ["profiles/p", "each"]


def test_what_editors_and_dpkg_leave_behind_is_passed_over(bare: Path) -> None:
    for name in ("a~", ".a.swp", "a.dpkg-old"):
        put(bare, f"each/{name}", "x")
    assert set(tree(bare)) == {".", "given"}


def test_a_file_and_a_template_of_the_same_path_are_refused(bare: Path) -> None:
    put(bare, "each/a", "x")
    put(bare, "each/a.j2", "x")
    assert "each/a.j2 and a beside it mean the same file" in fault(bare)
    (bare / "node/each/a").unlink()
    put(bare, "each/a/b", "x")
    assert "mean the same file" in fault(bare)


def test_a_device_is_no_template(bare: Path) -> None:
    (bare / "node/each").mkdir(parents=True)
    os.mkfifo(bare / "node/each/pipe")
    assert "pipe is no file" in fault(bare)


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


def test_a_profiles_files_go_to_its_nodes_and_to_those_that_inherit_from_it(head: Head) -> None:
    head.add(1, 2, 3)
    head.registry.put_profile(Profile(name="base"))
    head.registry.put_profile(Profile(name="gpu", parent="base"))
    head.registry.set_node("n2", {"profile": "base"}, head.networks)
    head.registry.set_node("n3", {"profile": "gpu"}, head.networks)
    put(head.templates, "each/etc/issue.j2", "each {{ node.name }}\n")
    put(head.templates, "profiles/base/etc/issue.j2", "base {{ node.name }}\n")
    put(head.templates, "profiles/base/etc/base", "1\n")
    put(head.templates, "profiles/gpu/etc/issue.j2", "gpu {{ node.name }}\n")
    put(head.templates, "profiles/gpu/usr/bin/tool", "#!/bin/sh\n", 0o755)
    head.apply()
    issues = [head.text(f"nodes/{name}/etc/issue") for name in ("n1", "n2", "n3")]
    assert issues == ["each n1\n", "base n2\n", "gpu n3\n"]
    with_base = [(head.state / f"nodes/{name}/etc/base").exists() for name in ("n1", "n2", "n3")]
    assert with_base == [False, True, True]
    assert (head.state / "nodes/n3/usr/bin/tool").stat().st_mode & 0o777 == 0o755
    assert not (head.state / "nodes/n2/usr/bin/tool").exists()
    head.registry.set_node("n3", {"profile": None}, head.networks)
    head.apply()
    assert head.text("nodes/n3/etc/issue") == "each n3\n"
    assert not (head.state / "nodes/n3/usr/bin/tool").exists()


def test_a_node_more_writes_no_other_nodes_files_nor_its_profiles(head: Head) -> None:
    head.registry.put_profile(Profile(name="gpu"))
    put(head.templates, "profiles/gpu/etc/gpu.conf.j2", "{{ node.name }}\n")
    head.add(1, 2)
    head.registry.set_node("n2", {"profile": "gpu"}, head.networks)
    head.apply()
    head.add(3)
    head.registry.set_node("n3", {"profile": "gpu"}, head.networks)
    trees = {change.tree for change in head.apply().changes if isinstance(change, ChangeTree)}
    assert trees == {"common", "nodes/n3"}


def test_a_slip_in_a_template_s_path_is_told(head: Head) -> None:
    for name in ("nodes/each/etc/motd", "boot/boot.ipxe.j2", "boot/ipxe/macros.j2", "boot/ipxe/boot.ipxe.j2~",
                 "nfs/exports", "lib/macros.j2"):  # fmt: skip
        (head.templates / name).parent.mkdir(parents=True, exist_ok=True)
        (head.templates / name).write_text("x")
    told = [warning for warning in head.apply().warnings if "is used by nothing" in warning]
    assert told == [
        f"{head.templates}/nodes is used by nothing; did you mean node?",
        f"{head.templates}/boot/boot.ipxe.j2 is used by nothing; did you mean boot/ipxe/boot.ipxe.j2?",
        f"{head.templates}/nfs/exports is used by nothing; did you mean nfs/exports.j2?",
    ]


def test_what_lies_beside_the_trees_is_told(head: Head) -> None:
    head.add(1)
    head.registry.put_profile(Profile(name="gpu"))
    for path in ("etc/motd", "profiles/gpu/etc/a", "profiles/gup/etc/a", ".git/config"):
        put(head.templates, path, "x")
    told = [warning for warning in head.apply().warnings if "is on no node" in warning]
    assert told == [
        f"{head.templates}/node/etc is on no node: put it below node/common/, node/each/ or"
        " node/profiles/NAME/",
        f"{head.templates}/node/profiles/gup is on no node: there is no profile 'gup';"
        " `netbootctl profile set` makes one",
    ]


def test_templates_of_one_node_dont_see_the_others(head: Head) -> None:
    """Else one more node would change the files of all."""
    head.add(1)
    put(head.templates, "each/etc/x.j2", "{{ nodes }}\n")
    (fault,) = head.plan().faults
    assert "x.j2, line 1: 'nodes' is undefined" in fault


def test_templates_run_nothing(head: Head) -> None:
    head.add(1)
    put(head.templates, "each/etc/x.j2", "{{ node.__class__.__mro__[1].__subclasses__() }}\n")
    (fault,) = head.plan().faults
    assert "x.j2, line 1: access to attribute '__class__'" in fault
