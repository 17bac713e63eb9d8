"""From one tree to another: the steps, and that they lead there, on a real disk."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netbootd.files.disk import carry_out, scan
from netbootd.files.tree import (
    Action,
    Directory,
    Entry,
    File,
    Link,
    Other,
    Step,
    differences,
    keeping,
    with_directories,
)

ETC, HOSTNAME = "etc", "etc/hostname"


def test_directories_come_with_what_lies_in_them() -> None:
    tree = with_directories({"root/.ssh/id": File(b"k", 0o600), "a/b/c": Link("x"), "a": Directory(0o750)})
    assert tree == {
        ".": Directory(0o755),
        "a": Directory(0o750),
        "a/b": Directory(0o755),
        "a/b/c": Link("x"),
        "root": Directory(0o700),
        "root/.ssh": Directory(0o700),
        "root/.ssh/id": File(b"k", 0o600),
    }


WANTED = with_directories({HOSTNAME: File(b"n1\n")})


@pytest.mark.parametrize(
    ("present", "steps"),
    [
        (WANTED, []),
        ({}, [(Action.MAKE, "."), (Action.MAKE, ETC), (Action.WRITE, HOSTNAME)]),
        ({**WANTED, HOSTNAME: File(b"n2\n")}, [(Action.WRITE, HOSTNAME)]),
        ({**WANTED, HOSTNAME: File(b"n1\n", 0o666)}, [(Action.WRITE, HOSTNAME)]),
        ({**WANTED, HOSTNAME: Link("/etc/shadow")}, [(Action.WRITE, HOSTNAME)]),
        ({**WANTED, HOSTNAME: Other("a device")}, [(Action.WRITE, HOSTNAME)]),
        ({**WANTED, ETC: Directory(0o777)}, [(Action.MODE, ETC)]),
        (
            {**WANTED, "x": File(b""), "etc/y": Directory(), "etc/y/z": File(b"")},
            [(Action.REMOVE, "etc/y"), (Action.REMOVE, "x")],
        ),
        (
            {".": Directory(), ETC: Link("/etc")},
            [(Action.REMOVE, ETC), (Action.MAKE, ETC), (Action.WRITE, HOSTNAME)],
        ),
        (
            {".": Other("no directory")},
            [(Action.REMOVE, "."), (Action.MAKE, "."), (Action.MAKE, ETC), (Action.WRITE, HOSTNAME)],
        ),
        (
            {**WANTED, HOSTNAME: Directory(), "etc/hostname/x": File(b"")},
            [(Action.REMOVE, HOSTNAME), (Action.WRITE, HOSTNAME)],
        ),
    ],
)
def test_steps(present: dict[str, Entry], steps: list[tuple[Action, str]]) -> None:
    assert [(step.action, step.path) for step in differences(WANTED, present)] == steps


def test_what_can_only_be_found_cant_be_wanted() -> None:
    with pytest.raises(ValueError, match="a device"):
        differences({"x": Other("a device")}, {})


def test_what_is_kept_is_kept_with_its_directories_and_nothing_else_is() -> None:
    present: dict[str, Entry] = {
        ".": Directory(),
        "etc": Directory(0o750),
        "etc/motd": File(b"good", 0o600),
        "etc/old": File(b""),
        "run": Directory(),
        "dev": Other("a device"),
    }
    kept = keeping(with_directories({"srv": Link("x")}), present, ["etc/motd", "etc/new", "run", "dev"])
    assert kept == {
        ".": Directory(),
        "srv": Link("x"),
        "etc": Directory(0o750),
        "etc/motd": File(b"good", 0o600),
    }


names = st.sampled_from(["a", "b", "c.d", "a-b"])
paths = st.lists(names, min_size=1, max_size=3).map("/".join)
leaves = st.one_of(
    st.builds(File, st.binary(max_size=4), st.sampled_from([0o600, 0o644, 0o755])),
    st.builds(Link, st.sampled_from(["x", "../..", "/etc/passwd"])),
)


@st.composite
def trees(draw: st.DrawFn) -> dict[str, Entry]:
    entries: dict[str, Entry] = {}
    for path, leaf in draw(st.dictionaries(paths, leaves, max_size=8)).items():
        under_a_leaf = any(path.startswith(f"{other}/") or other.startswith(f"{path}/") for other in entries)
        if not under_a_leaf:
            entries[path] = leaf
    if any(path.startswith("a/") for path in entries):
        entries["a"] = Directory(0o750)
    return dict(with_directories(entries))


def bring(base: Path, wanted: dict[str, Entry]) -> list[Step]:
    steps = differences(wanted, scan(base, "nodes/n1"))
    for step in steps:
        carry_out(base, "nodes/n1", step)
    return steps


@given(trees(), trees())
def test_any_tree_becomes_any_other_and_then_nothing_is_left_to_do(
    first: dict[str, Entry], second: dict[str, Entry]
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        base = Path(directory)
        for wanted in (first, second):
            bring(base, wanted)
            assert scan(base, "nodes/n1") == wanted
            assert bring(base, wanted) == []
