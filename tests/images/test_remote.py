"""Importing a running machine over SSH: a real sshd, tar and sudo on another machine of the lab."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from netbootd.errors import UserError
from netbootd.images.remote import Machine
from netbootd.images.store import ImageStore
from tests.ctl.conftest import CONFIG, NETBOOTCTL
from tests.images.roots import put, small_root
from tests.images.test_importer import assert_special_files, special_files
from tests.lab.namespace import HOME, Lab, Namespace

ADDRESS = "10.77.0.5"
SSHD = """\
Port 22
ListenAddress {address}
HostKey /run/sshd/host_key
AuthorizedKeysFile /run/sshd/authorized_keys
StrictModes no
PermitRootLogin yes
UsePAM no
PidFile none
Match User root
    ForceCommand exec chroot {root} /bin/sh -c "$SSH_ORIGINAL_COMMAND"
"""
# The machine's boot partition, what is in memory there, and a user who may do everything by sudo.
PREPARE = """
set -e
mount -t tmpfs -o mode=755 tmpfs "$1/boot/firmware"
echo arm_64bit=1 >"$1/boot/firmware/config.txt"
mount -t tmpfs tmpfs "$1/run"
echo running >"$1/run/state"
mount -t tmpfs tmpfs "$1/mnt"
echo foreign >"$1/mnt/share"
echo '/dev/mmcblk0p1 /boot/firmware vfat rw 0 0' >"$1/proc/mounts"
echo temporary >"$1/tmp/file"
echo "pi:x:1234:1234::/tmp:/bin/sh" >>/etc/passwd
echo "other:x:1235:1235::/tmp:/bin/sh" >>/etc/passwd
echo "pi:*:19000:0:99999:7:::" >>/etc/shadow
echo "other:*:19000:0:99999:7:::" >>/etc/shadow
echo "pi ALL=(root) NOPASSWD: ALL" >/etc/sudoers.d/pi
chmod 440 /etc/sudoers.d/pi
ssh-keygen -q -t ed25519 -N '' -f /run/sshd/host_key
"""

pytestmark = [
    pytest.mark.net,
    pytest.mark.as_root("an image's files belong to many users"),
    pytest.mark.needs("/usr/sbin/sshd", "ssh", "sudo", "tar"),
]


@dataclass(frozen=True)
class Place:
    """A head node, and the machine `pi` that is to be imported; `root` is that machine's /."""

    lab: Lab
    pi: Namespace
    root: Path
    config: Path

    def netbootctl(self, *words: str) -> subprocess.CompletedProcess[str]:
        command: list[str | Path] = [NETBOOTCTL, "--config", self.config, "image", "import", "golden", *words]
        return self.lab.run(command, check=False, timeout=120)

    @property
    def store(self) -> ImageStore:
        return ImageStore(self.config.parent / "state/images")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("ssh")
    root = small_root(directory / "source")
    special_files(root)
    for name in ("tar", "df", "grep", "id", "test"):
        bring_program(root, name)
    for name in ("boot/firmware", "mnt"):
        (root / name).mkdir()
    put(root, "var/swap", b"swapped out")
    with Lab() as lab:
        pi = lab.client("pi", address=f"{ADDRESS}/24")
        pi.run(["sh", "-c", PREPARE, "sh", root])
        lab.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{HOME}/.ssh/id_ed25519"])
        public = lab.run(["cat", f"{HOME}/.ssh/id_ed25519.pub"]).stdout
        pi.run(["tee", "/run/sshd/authorized_keys"], input=public)
        config = put(directory, "sshd_config", SSHD.format(address=ADDRESS, root=root))
        sshd = pi.start("sshd", ["/usr/sbin/sshd", "-D", "-e", "-f", config])
        sshd.wait_until(lambda: pi.listens(22), "sshd")
        netbootd = put(directory, "netbootd.toml", CONFIG.format(directory=directory))
        yield Place(lab, pi, root, netbootd)


def bring_program(root: Path, name: str) -> None:
    """A program of this machine, with its libraries."""
    path = Path(shutil.which(name) or "")
    libraries = subprocess.run(["ldd", path], capture_output=True, text=True, check=True).stdout.split()
    for file in [path, *(Path(word) for word in libraries if word.startswith("/"))]:
        if not (root / str(file).lstrip("/")).exists():
            put(root, str(file).lstrip("/"), file.read_bytes(), 0o755)


def test_a_machine_whose_key_is_not_known_is_refused_with_the_remedy(place: Place) -> None:
    done = place.netbootctl(f"ssh://root@{ADDRESS}")
    assert done.returncode == 4, done.stdout + done.stderr
    assert "Host key verification failed" in done.stderr and "ssh-copy-id" in done.stderr
    assert place.store.names() == []
    keys = place.lab.run(["ssh-keyscan", ADDRESS]).stdout
    place.lab.run(["tee", f"{HOME}/.ssh/known_hosts"], input=keys)


def test_a_running_machine_becomes_an_image(place: Place) -> None:
    done = place.netbootctl(f"ssh://root@{ADDRESS}")
    assert done.returncode == 0, done.stdout + done.stderr
    made = place.store.current("golden")
    assert made is not None and made.origin == f"ssh://root@{ADDRESS}"
    assert (made.root / "boot/firmware/config.txt").read_text() == "arm_64bit=1\n"
    for directory in ("run", "proc", "mnt", "tmp", "dev"):
        assert list((made.root / directory).iterdir()) == [], f"{directory} stays over there"
    assert not (made.root / "var/swap").exists()


def test_a_user_reads_it_by_sudo(place: Place) -> None:
    """A directory over there, such as a card that is mounted."""
    done = place.netbootctl(f"ssh://pi@{ADDRESS}:22{place.root}")
    assert done.returncode == 0, done.stdout + done.stderr
    made = place.store.current("golden")
    assert made is not None
    devices = [made.root / "dev/null", made.root / "dev/sda"]
    assert not any(path.exists() for path in devices)
    for path in devices:  # left out: the kernel makes them
        source = (place.root / path.relative_to(made.root)).stat()
        os.mknod(path, source.st_mode, source.st_rdev)
        path.chmod(source.st_mode & 0o777)
    assert_special_files(made.root)


@pytest.mark.parametrize(
    ("url", "status", "why"),
    [
        (f"ssh://other@{ADDRESS}", 2, "other may not read all files there, and sudo wants a password"),
        (f"ssh://pi@{ADDRESS}/nowhere", 2, "there is no directory '/nowhere' there"),
        (f"ssh://pi@{ADDRESS}:23", 4, "Connection refused"),
        ("ssh://pi@10.77.0.5 -oProxyCommand=x", 2, "isn't a machine to read from"),
    ],
)
def test_what_keeps_from_reading_it_is_told(place: Place, url: str, status: int, why: str) -> None:
    done = place.netbootctl(url)
    assert done.returncode == status, done.stdout + done.stderr
    assert why in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_connection_that_breaks_publishes_nothing(place: Place) -> None:
    """The machine is switched off while it is read."""
    before = place.store.numbers("golden")
    big = place.root / "big"
    with big.open("wb") as file:
        for _ in range(300):
            file.write(bytes(range(256)) * 4096)
    try:
        reading = place.lab.start(
            "import",
            [NETBOOTCTL, "--config", place.config, "image", "import", "golden", f"ssh://root@{ADDRESS}"],
        )
        incoming = place.store.directory
        reading.wait_until(lambda: any(incoming.glob(".incoming-*/root/big")), "the file to come")
        (ssh,) = children(reading.pid, "ssh")
        os.kill(ssh, signal.SIGKILL)
        assert reading.popen.wait(60) == 4, reading.last_words()
        assert "broke off" in reading.output()
    finally:
        big.unlink()
    assert place.store.numbers("golden") == before
    assert not list(place.store.directory.glob(".incoming-*"))


def test_what_is_refused_while_it_still_comes_is_told_as_that(place: Place) -> None:
    """The connection breaks then, too: because nobody wants more of it."""
    disk, big = place.root / "bin/disk", place.root / "usr/big"
    os.mknod(disk, 0o60666, os.makedev(8, 0))
    try:
        with big.open("wb") as file:
            for _ in range(60):
                file.write(bytes(range(256)) * 4096)
        done = place.netbootctl(f"ssh://root@{ADDRESS}")
        assert done.returncode == 2 and "bin/disk is a device node outside of /dev" in done.stderr, (
            done.stderr
        )
    finally:
        disk.unlink()
        big.unlink()


def children(pid: int, name: str) -> list[int]:
    """The processes of that name that `pid` started."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(each) for each in found if Path(f"/proc/{each}/comm").read_text().strip() == name]


@pytest.mark.parametrize(
    "url",
    [
        "ssh://",
        "ssh://-oProxyCommand=x",
        "ssh://pi:secret@host",
        "ssh://host:99999",
        "ssh://-l@host",
        "ssh://host/?x",
    ],
)
def test_what_is_no_machine_is_refused(url: str) -> None:
    with pytest.raises(UserError, match="isn't a machine to read from"):
        Machine.parse(url)
