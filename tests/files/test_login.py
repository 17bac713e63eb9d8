"""The cluster user's key: made once, as that user, in a home that may hold anything."""

import os
import pwd
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from netbootd.files import login
from netbootd.files.cluster import User

pytestmark = pytest.mark.needs("ssh-keygen")

KEY, LIST = ".ssh/id_ed25519", ".ssh/authorized_keys"


@pytest.fixture
def home() -> Iterator[Path]:
    """A home directory that its owner can reach, unlike pytest's own."""
    with tempfile.TemporaryDirectory(prefix="netbootd-home-") as directory:
        Path(directory).chmod(0o755)
        path = Path(directory) / "home"
        path.mkdir(mode=0o700)
        user = owner()
        os.chown(path, user.uid, user.gid)
        yield path


def owner() -> User:
    """Somebody who isn't root, where that can be."""
    found = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    return User(name=found.pw_name, uid=found.pw_uid, group="", gid=found.pw_gid, home="", shell="/bin/sh")


def put(home: Path, path: str, content: str, mode: int = 0o600) -> Path:
    """A file of his."""
    file = home / path
    ours(file.parent)
    file.write_text(content)
    file.chmod(mode)
    os.chown(file, owner().uid, owner().gid)
    return file


def ours(directory: Path) -> None:
    if not directory.exists():
        directory.mkdir(mode=0o700)
        os.chown(directory, owner().uid, owner().gid)


def pair(home: Path, passphrase: str = "") -> str:
    """A pair that he has already; returns its public key."""
    ours(home / ".ssh")
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", "mine", "-f", str(home / KEY)]
    subprocess.run(words, check=True)
    for name in (KEY, f"{KEY}.pub"):
        os.chown(home / name, owner().uid, owner().gid)
    return (home / f"{KEY}.pub").read_text().split()[1]


def test_a_pair_is_made_that_lets_its_owner_in_and_nobody_else_may_read(home: Path) -> None:
    assert login.look(owner(), home).lacks == ("key", "line")
    assert not (home / ".ssh").exists()
    assert login.make(owner(), home) == ()
    public = (home / f"{KEY}.pub").read_text()
    assert (home / LIST).read_text() == public
    modes = {path.name: path.stat().st_mode & 0o777 for path in (home / ".ssh").iterdir()}
    assert modes == {"id_ed25519": 0o600, "id_ed25519.pub": 0o600, "authorized_keys": 0o600}
    assert (home / ".ssh").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_uid for path in (home / ".ssh", *(home / ".ssh").iterdir())} == {owner().uid}
    assert login.look(owner(), home) == login.Login()
    assert login.make(owner(), home) == ()
    assert (home / LIST).read_text() == (home / f"{KEY}.pub").read_text() == public


def test_a_pair_that_he_has_is_kept_and_let_in_beside_others(home: Path) -> None:
    blob = pair(home)
    before = (home / KEY).read_bytes()
    put(home, LIST, "ssh-ed25519 AAAAother me@desk")  # without an end of the line
    assert login.look(owner(), home).lacks == ("line",)
    assert login.make(owner(), home) == ()
    first, second = (home / LIST).read_text().splitlines()
    assert first == "ssh-ed25519 AAAAother me@desk" and second.split()[1] == blob
    assert (home / KEY).read_bytes() == before
    assert login.look(owner(), home).lacks == ()


def test_a_line_with_options_of_his_own_counts(home: Path) -> None:
    blob = pair(home)
    put(home, LIST, f'from="10.77.0.*" ssh-ed25519 {blob} mine\n')
    assert login.look(owner(), home).lacks == ()


def test_a_passphrase_is_told_of_and_left_alone(home: Path) -> None:
    pair(home, "secret phrase")
    assert login.look(owner(), home).lacks == ("line",)
    (said,) = login.make(owner(), home)
    assert "passphrase" in said and len((home / LIST).read_text().splitlines()) == 1


def test_a_public_key_alone_is_somebodys_who_keeps_the_other_half_elsewhere(home: Path) -> None:
    put(home, f"{KEY}.pub", "ssh-ed25519 AAAA card\n")
    found = login.look(owner(), home)
    assert found.lacks == () and "without its" in found.warnings[0]
    assert login.make(owner(), home) == found.warnings
    assert [path.name for path in (home / ".ssh").iterdir()] == ["id_ed25519.pub"]


@pytest.mark.parametrize("name", [KEY, f"{KEY}.pub", LIST])
def test_a_link_to_nothing_makes_no_file_elsewhere(home: Path, name: str) -> None:
    if name == LIST:
        pair(home)
    ours(home / ".ssh")
    (home / name).symlink_to(home.parent / "planted")
    (said,) = login.make(owner(), home)
    assert "link to nothing" in said or "without its" in said
    assert not (home.parent / "planted").exists()


@pytest.mark.as_root("somebody else's file is to be led to")
@pytest.mark.parametrize("name", [".ssh", KEY, LIST])
def test_a_link_to_what_isnt_his_changes_nothing_there(home: Path, name: str) -> None:
    elsewhere = home.parent / "roots"
    elsewhere.mkdir(mode=0o755)
    (elsewhere / "file").write_text("untouched")
    (elsewhere / "file").chmod(0o644)
    if name == LIST:
        pair(home)
    if name == ".ssh":
        (home / ".ssh").symlink_to(elsewhere)
    else:
        ours(home / ".ssh")
        (home / name).symlink_to(elsewhere / "file")
    assert login.make(owner(), home)
    assert [path.name for path in elsewhere.iterdir()] == ["file"]
    assert (elsewhere / "file").read_text() == "untouched"


@pytest.mark.parametrize("name", [KEY, LIST])
def test_what_never_ends_keeps_nobody_waiting(home: Path, name: str) -> None:
    if name == LIST:
        pair(home)
    ours(home / ".ssh")
    os.mkfifo(home / name)
    started = time.monotonic()
    assert login.make(owner(), home)
    assert time.monotonic() - started < login.SECONDS


def test_a_file_where_ssh_has_its_directory_is_told_of(home: Path) -> None:
    put(home, ".ssh", "")
    (said,) = login.make(owner(), home)
    assert "can't be made" in said


def test_one_that_was_killed_leaves_nothing_in_the_way(home: Path) -> None:
    put(home, ".ssh/.netbootd-new", "half a key")
    put(home, ".ssh/.netbootd-new.pub", "half a key")
    assert login.make(owner(), home) == ()
    assert sorted(p.name for p in (home / ".ssh").iterdir()) == [
        "authorized_keys",
        "id_ed25519",
        "id_ed25519.pub",
    ]


@pytest.mark.needs("shellcheck")
def test_the_script_is_clean_shell() -> None:
    script = Path(login.__file__).with_name("login.sh")
    done = subprocess.run(["shellcheck", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
