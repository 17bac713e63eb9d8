"""netbootctl image shell and note, what is in use, and what interrupted commands left."""

import os
import pty
import re
import select
import shutil
import sqlite3
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from netbootd.ctl.head import Head as HeadNode
from netbootd.ctl.image_made import tell_nodes
from netbootd.images.store import ImageStore
from netbootd.node import RootMode
from netbootd.registry import Registry
from tests.ctl.conftest import MACS, Head
from tests.images.roots import put, small_root

root_only = pytest.mark.as_root("it mounts, and an image's files belong to many users")


def machine_id(head: Head, name: str) -> str:
    with Registry.open(head.directory / "state/registry/registry.db") as registry:
        return registry.node(name).machine_id


def persistent_root(head: Head, machine: str, over: str) -> None:
    home = head.directory / "state/roots" / machine
    home.mkdir(parents=True)
    (home / "generation").symlink_to(f"../../images/{over}")


def test_a_note_is_kept_and_the_rest_of_the_record_stays(head: Head) -> None:
    made = head.image("debian", 1)
    head.image("debian", 2)
    path = made.directory / "generation.json"
    path.write_text(path.read_text().replace("{", '{"of_a_later_version": 7,', 1))
    assert "debian@1: before the upgrade" in head.well("image", "note", "debian@1", "before the upgrade").out
    assert '"of_a_later_version": 7' in path.read_text()
    (first, second) = head.well("image", "show", "debian", "--json").json
    assert (first["note"], second["note"]) == ("before the upgrade", "")
    assert "before the upgrade" in head.well("image", "show", "debian").out
    assert "debian@1 has no note" in head.well("image", "note", "debian@1", "").out
    assert head("image", "note", "debian@1", "two\nlines").status == 2
    assert head("image", "note", "debian@9", "x").err.startswith("error: debian has no generation 9")


def test_what_a_persistent_root_lies_over_cannot_be_removed(head: Head) -> None:
    """Nor would its node boot the current generation."""
    for number in (1, 2, 3, 4):
        head.image("debian", number)
    head.well("node", "add", "n01", "--mac", MACS[0], "--image", "debian")
    with sqlite3.connect(head.directory / "state/registry/registry.db") as db:
        db.execute("UPDATE node SET root = 'persistent'")  # which would have mounted its root, too
    persistent_root(head, machine_id(head, "n01"), "debian/1")
    persistent_root(head, "0123456789abcdef" * 2, "debian/2")
    records = head.well("image", "show", "debian", "--json").json
    gone = str(head.directory / "state/roots" / ("0123456789abcdef" * 2))
    assert {made["generation"]: made["used_by"] for made in records} == {
        1: ["n01's persistent root"],
        2: [f"{gone}, of no node"],
        3: [],
        4: [],
    }
    refused = head("image", "remove", "debian@1")
    assert refused.status == 2
    assert "debian@1 is used by n01's persistent root" in refused.err and "node reset" in refused.err
    with Registry.open(head.directory / "state/registry/registry.db") as registry:
        registry.set_booted("n01", "debian", 1, RootMode.PERSISTENT, 1.0)
    refused = head("image", "remove", "debian@1")
    assert "used by n01's persistent root;" in refused.err and refused.err.count("n01") == 1, "named once"
    assert head("image", "remove", "debian@2").status == 2
    assert head("image", "remove", "debian").status == 2


def test_who_gets_a_generation_is_told_and_who_stays_on_a_root_of_its_own(head: Head) -> None:
    for number in (1, 2, 3):
        head.image("debian", number)
    for name, mac in zip(("n01", "n02", "n03", "n04"), MACS, strict=False):
        head.well("node", "add", name, "--mac", mac, "--image", "debian")
    with sqlite3.connect(head.directory / "state/registry/registry.db") as db:
        db.execute("UPDATE node SET root = 'persistent' WHERE name IN ('n02', 'n03')")
    for name, over in (("n02", "debian/1"), ("n03", "debian/2"), ("n04", "debian/1")):
        persistent_root(head, machine_id(head, name), over)  # n04's is kept and not used
    generation = ImageStore(head.directory / "state/images").use("debian", 3)
    with Registry.open(head.directory / "state/registry/registry.db") as registry:
        nodes = registry.nodes()

    def told(chosen: str) -> list[str]:
        head.capture.readouterr()
        has = tell_nodes(HeadNode(head.config), generation, [n for n in nodes if n.name in chosen.split()])
        assert has == bool(chosen)
        return head.capture.readouterr().out.splitlines()

    assert told("") == []
    assert told("n01") == ["n01 gets it at its next boot"]
    assert told("n01 n02 n03 n04") == [
        "n01, n04 get it at their next boot",
        "n02 stays on its own root over debian@1 until `netbootctl node reset n02`",
        "n03 stays on its own root over debian@2 until `netbootctl node reset n03`",
    ]


def test_use_and_rollback_name_the_nodes_that_get_it(head: Head) -> None:
    for number in (1, 2):
        head.image("debian", number)
    assert "next boot" not in head.well("image", "use", "debian").out, "nobody has it"
    head.well("node", "add", "n01", "--mac", MACS[0], "--image", "debian")
    for words in (["rollback", "debian"], ["use", "debian@2"]):
        assert "n01 gets it at its next boot" in head.well("image", *words).out


@root_only
@pytest.mark.parametrize(
    "words", [["image", "list"], ["image", "show", "debian"], ["image", "use", "debian"], ["apply"]]
)
def test_what_an_interrupted_import_left_goes_with_the_next_command(head: Head, words: list[str]) -> None:
    head.image("debian")
    left = head.directory / "state/images/.incoming-0123abcd"
    put(left, "root/etc/passwd", "half")
    done = head.well(*words)
    assert not left.exists()
    assert "was left by a command that was interrupted: removed" in done.err


@pytest.fixture
def golden(head: Head, tmp_path: Path) -> Head:
    """A head node with an image that has a shell."""
    root = small_root(tmp_path / "golden")
    (root / "root").mkdir()
    for name in ("cat", "rm", "true"):
        (root / "bin" / name).symlink_to("busybox")
    head.well("image", "import", "golden", str(root))
    return head


@root_only
def test_what_a_command_does_in_an_image_is_its_next_generation(golden: Head) -> None:
    words = ("image", "shell", "golden", "--note", "for Anna", "--", "sh", "-c", "echo hello >/etc/motd")
    golden.well("node", "add", "n01", "--mac", MACS[0], "--image", "other")
    done = golden.well(*words)
    assert "next: netbootctl node set NAME --image golden" in done.out, "n01 has no use for it"
    assert "golden@2 is current" in done.out and "changed by hand: 1 added, 0 changed, 0 removed" in done.out
    (first, second) = golden.well("image", "show", "golden", "--json").json
    assert (second["origin"], second["note"], second["current"]) == ("shell over golden@1", "for Anna", True)
    assert second["own_size"] < 50_000 < first["own_size"] == first["size"]
    (listed,) = golden.well("image", "list", "--json").json
    assert listed["all_sizes"] == first["size"] + second["own_size"]


@root_only
def test_a_command_that_fails_or_changes_nothing_publishes_nothing(golden: Head) -> None:
    failed = golden("image", "shell", "golden", "--", "sh", "-c", "echo hello >/etc/motd; exit 3")
    assert failed.status == 2
    assert failed.err == "error: sh ended with 3: nothing is published, golden@1 is as it was\n"
    assert "nothing was changed in golden@1" in golden.well("image", "shell", "golden", "--", "true").out
    assert ImageStore(golden.directory / "state/images").numbers("golden") == [1]


@root_only
def test_an_apt_without_package_lists_is_told_how_it_gets_them(golden: Head) -> None:
    root = golden.directory / "state/images/golden/1/root"
    put(root, "usr/bin/apt-get", "#!/bin/sh\nexit 100\n", 0o755)

    def said(*command: str) -> str:
        return golden("image", "shell", "golden", "--", *command).err

    assert "-- sh -c 'apt-get update && apt-get install -y htop'" in said("apt-get", "install", "-y", "htop")
    assert "have `apt-get update` run before it" in said("sh", "-c", "apt-get install -y htop")
    for other in (["apt-get", "update"], ["sh", "-c", "exit 1"]):
        assert "package lists" not in said(*other), "that has another cause"
    terminal = Terminal(golden.command("image", "shell", "golden"), os.environ["PATH"])
    try:
        terminal.wait_for("package lists: apt-get update")
    finally:
        terminal.kill()
    put(root, "var/lib/apt/lists/deb.example_debian_dists_x_main_binary-amd64_Packages", "Package: htop\n")
    assert "package lists" not in said("apt-get", "install", "-y", "htop")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["none"], "there is no image none"),
        (["debian@7"], "debian has no generation 7; it has 1"),
        (["debian", "--note", "two\nlines"], "a note is one line"),
    ],
)
def test_a_shell_in_what_is_not_there_is_refused(head: Head, words: list[str], why: str) -> None:
    head.image("debian")
    refused = head("image", "shell", *words)
    assert refused.status == 2 and why in refused.err


class Terminal:
    """Somebody at a terminal, typing."""

    def __init__(self, command: list[str], path: str) -> None:
        self._screen, inner = pty.openpty()
        self._process = subprocess.Popen(
            ["setsid", "--ctty", *command],
            stdin=inner,
            stdout=inner,
            stderr=inner,
            env={**os.environ, "TERM": "dumb", "PATH": path},
        )
        os.close(inner)
        self._seen = ""
        self._read = 0

    def wait_for(self, pattern: str, seconds: float = 60) -> None:
        """Read on until the screen has it."""
        deadline = time.monotonic() + seconds
        while (found := re.compile(pattern).search(self._seen, self._read)) is None:
            assert time.monotonic() < deadline, f"no {pattern!r} after {self._seen[self._read :]!r}"
            if select.select([self._screen], [], [], 0.2)[0]:
                self._seen += os.read(self._screen, 4096).decode(errors="replace")
        self._read = found.end()

    def type(self, text: str) -> None:
        os.write(self._screen, text.encode())

    def end(self) -> int:
        """The command's status."""
        status = self._process.wait(60)
        os.close(self._screen)
        return status

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._screen)


PROMPT = "# (\x1b\\[6n)?$"
"""Busybox asks the terminal where its cursor is."""


@pytest.fixture(params=["container", "namespaces"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A PATH with systemd-nspawn, or without."""
    if request.param == "container":
        if shutil.which("systemd-nspawn") is None:
            pytest.skip("needs systemd-nspawn")
        return os.environ["PATH"]
    (tmp_path / "bin").mkdir()
    for directory in ("/usr/sbin", "/usr/bin"):
        for command in Path(directory).iterdir():
            if command.name != "systemd-nspawn" and not (tmp_path / "bin" / command.name).is_symlink():
                (tmp_path / "bin" / command.name).symlink_to(command)
    return str(tmp_path / "bin")


@root_only
def test_at_a_terminal_ctrl_c_is_the_shells_and_its_last_status_is_asked_about(
    golden: Head, path: str
) -> None:
    terminal = Terminal(golden.command("image", "shell", "golden"), path)
    try:
        terminal.wait_for(r"after `exit 1` you are asked")
        terminal.wait_for(PROMPT)
        terminal.type("echo rea''dy; sleep 600\n")
        terminal.wait_for("ready\r\n")
        for _ in range(30):  # the shell takes no notice of one that comes while it starts the command
            terminal.type("\x03")
            with suppress(AssertionError):
                terminal.wait_for(PROMPT, 2)
                break
        else:
            pytest.fail("Ctrl-C doesn't end what runs in the shell")
        terminal.type("echo $((6*7)) >/etc/motd\n")
        terminal.wait_for(PROMPT)
        terminal.type("cat /none\n")
        terminal.wait_for("No such file[^#]*" + PROMPT)
        terminal.type("exit\n")
        terminal.wait_for(r"the shell ended with 1; in golden@1 it left 1 added, 0 changed, 0 removed")
        terminal.wait_for("publish it all the same")
        terminal.type("y\n")
        terminal.wait_for("golden@2 is current")
    except BaseException:
        terminal.kill()
        raise
    assert terminal.end() == 0
    assert (golden.directory / "state/images/golden/2/root/etc/motd").read_text() == "42\n"


@root_only
def test_at_a_terminal_exit_1_throws_it_away(golden: Head, path: str) -> None:
    terminal = Terminal(golden.command("image", "shell", "golden"), path)
    try:
        terminal.wait_for(PROMPT)
        terminal.type("echo 1 >/etc/motd\n")
        terminal.wait_for(PROMPT)
        terminal.type("exit 1\n")
        terminal.wait_for("publish it all the same")
        terminal.type("\n")
        terminal.wait_for("nothing is published")
    except BaseException:
        terminal.kill()
        raise
    assert terminal.end() == 2
    assert [path.name for path in (golden.directory / "state/images").glob(".incoming*")] == []
