"""What keeps an image from being exported to a whole network: anything hidden that may be a secret."""

import os
from pathlib import Path

import pytest

from netbootd.images.secrets import secret_in

HASH = "$y$j9T$abcdefghijklmnop$0123456789"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """As Debian has it: accounts without passwords, root's two files, a program with rights of its own."""
    put(tmp_path, "etc/shadow", "root:*:20000:0:99999:7:::\nada:!:20000::::::\nsync:!*:1::::::\n", 0o640)
    put(tmp_path, "etc/gshadow", "root:*::\nstaff:!::ada\n\n", 0o640)
    put(tmp_path, "etc/chrony/chrony.keys", "# 1 MD5 AVeryLongAndRandomPassword\n\n", 0o640)
    put(tmp_path, "etc/sudoers", "root ALL=(ALL:ALL) ALL\n", 0o440)
    put(tmp_path, "usr/lib/helper", "\x7fELF...", 0o4710)
    put(tmp_path, "usr/share/base-files/dot.bashrc", "umask 022\n")
    put(tmp_path, "root/.bashrc", "umask 022\n")
    (tmp_path / "root").chmod(0o700)
    put(tmp_path, "etc/hostname", "debian\n")
    put(tmp_path, "var/log/empty", "", 0o600)
    return tmp_path


def put(root: Path, name: str, text: str, mode: int = 0o644) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def test_an_image_in_which_nothing_is_hidden_but_locked_accounts_holds_no_secret(root: Path) -> None:
    assert secret_in(root) is None


@pytest.mark.parametrize(
    ("name", "text", "mode"),
    [
        ("etc/shadow", f"root:*:1::::::\npi:{HASH}:1::::::\n", 0o640),
        ("etc/shadow-", f"pi:!{HASH}:1::::::\n", 0o600),
        ("etc/gshadow", f"staff:{HASH}::\n", 0o640),
        ("etc/ssh/ssh_host_ed25519_key", "-----BEGIN OPENSSH PRIVATE KEY-----\n", 0o600),
        ("etc/chrony/chrony.keys", "1 MD5 secret\n", 0o640),
        ("root/.bashrc", "export TOKEN=x\n", 0o644),
        ("root/notes", "x\n", 0o644),
        ("home/pi/.ssh/id_rsa", "x\n", 0o600),
        ("srv/key", "\x7fELF, it says\n", 0o600),
        ("srv/large", "# \n" * 30_000, 0o600),
    ],
)
def test_what_only_some_may_read_may_be_one(root: Path, name: str, text: str, mode: int) -> None:
    put(root, name, text, mode)
    assert secret_in(root) == name


def test_a_directory_that_is_closed_closes_all_below(root: Path) -> None:
    put(root, "srv/closed/deep/file", "x\n")
    assert secret_in(root) is None
    (root / "srv/closed").chmod(0o750)
    assert secret_in(root) == "srv/closed/deep/file"


def test_links_and_pipes_are_left_alone(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside")
    put(outside, "secret", "x\n", 0o600)
    (root / "root/link").symlink_to(outside / "secret")
    (root / "srv").symlink_to(outside)
    os.mkfifo(root / "root/pipe", 0o600)
    (root / "usr/share/base-files/dot.profile").symlink_to(outside / "secret")
    put(root, "root/.profile", "x\n")
    assert secret_in(root) == "root/.profile"
