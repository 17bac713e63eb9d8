"""A generation's root as one file: what is in it, that it is the same each time, what a kill leaves."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from netbootd.errors import HostError
from netbootd.image import Generation
from netbootd.images import ram
from tests.images.roots import put
from tests.lab.namespace import Lab

MAKE = (
    "import sys; from pathlib import Path; from tests.images.test_ram import generation_at;"
    "from netbootd.images import ram; ram.make(generation_at(Path(sys.argv[1])))"
)

pytestmark = pytest.mark.needs("mksquashfs", "unsquashfs")


def generation(directory: Path, squashfs: str = "zstd") -> Generation:
    put(directory, "root/etc/hostname", "golden\n", 0o640)
    put(directory, "root/boot/vmlinuz", "kernel")
    put(directory, "root/boot/.hidden", "x")
    put(directory, "root/usr/boot/vmlinuz", "no kernel")
    (directory / "root/usr/link").symlink_to("/nowhere")
    os.mkfifo(directory / "root/usr/pipe")
    (directory / "boot").mkdir()
    return generation_at(directory, squashfs)


def generation_at(directory: Path, squashfs: str = "zstd") -> Generation:
    """The one whose files are there."""
    return Generation(
        image="debian",
        number=1,
        directory=directory,
        created="2026-01-02T03:04:05Z",
        origin="a test",
        architecture="x86_64",
        kernel_release="6.1",
        size=100,
        squashfs=squashfs,
    )


def listed(path: Path) -> str:
    return subprocess.run(["unsquashfs", "-ll", path], check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("compression", ["zstd", "xz", "gzip"])
def test_it_has_all_but_what_the_node_was_booted_by(tmp_path: Path, compression: str) -> None:
    made = generation(tmp_path, compression)
    assert not ram.is_made(made)
    ram.make(made)
    assert ram.is_made(made)
    names = [line.split(" -> ")[0].rpartition(" ")[2] for line in listed(made.boot / ram.NAME).splitlines()]
    assert {name.removeprefix("squashfs-root") for name in names if name.startswith("squashfs-root/")} == {
        *("/boot", "/etc", "/etc/hostname"),
        *("/usr", "/usr/boot", "/usr/boot/vmlinuz", "/usr/link", "/usr/pipe"),
    }
    about = subprocess.run(["unsquashfs", "-s", made.boot / ram.NAME], check=True, capture_output=True)
    assert f"Compression {compression}".encode() in about.stdout
    assert "-rw-r----- " in listed(made.boot / ram.NAME)


def test_its_size_and_checksum_are_beside_it_and_only_the_daemon_reads_what_is_secret(tmp_path: Path) -> None:
    made = generation(tmp_path)
    group = 1 if os.geteuid() == 0 else os.getegid()
    ram.make(made, group=group)
    content = (made.boot / ram.NAME).read_bytes()
    assert (made.boot / ram.SUM).read_text() == f"{len(content)} {hashlib.sha256(content).hexdigest()}\n"
    assert (made.boot / ram.SUM).stat().st_mode & 0o777 == 0o644
    whole = (made.boot / ram.NAME).stat()
    assert (whole.st_mode & 0o777, whole.st_gid) == (0o640, group)
    assert sorted(path.name for path in made.boot.iterdir()) == [ram.NAME, ram.SUM]


def test_it_is_the_same_each_time_and_not_made_again(tmp_path: Path) -> None:
    made = generation(tmp_path)
    ram.make(made)
    first = (made.boot / ram.NAME).read_bytes()
    inode = (made.boot / ram.NAME).stat().st_ino
    ram.make(made)
    assert (made.boot / ram.NAME).stat().st_ino == inode
    (made.boot / ram.NAME).unlink()
    time.sleep(1.1)
    ram.make(made)
    assert (made.boot / ram.NAME).read_bytes() == first


@pytest.mark.as_root("sets a capability")
@pytest.mark.needs("setcap")
def test_capabilities_are_kept(tmp_path: Path) -> None:
    made = generation(tmp_path)
    subprocess.run(["setcap", "cap_net_raw=ep", tmp_path / "root/etc/hostname"], check=True)
    ram.make(made)
    out = tmp_path / "out"
    subprocess.run(["unsquashfs", "-q", "-n", "-d", out, made.boot / ram.NAME], check=True)
    assert os.getxattr(out / "etc/hostname", "security.capability")


def test_without_squashfs_tools_its_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostError, match=r"mksquashfs is missing.*apt install squashfs-tools"):
        ram.make(generation(tmp_path))


@pytest.mark.net
def test_a_disk_that_fills_up_is_told_and_gets_its_space_back(tmp_path: Path, lab: Lab) -> None:
    made = generation(tmp_path)
    (made.root / "noise").write_bytes(os.urandom(3 << 20))
    lab.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", made.boot])
    done = lab.run([sys.executable, "-c", MAKE, tmp_path], cwd=Path.cwd(), check=False)
    assert "HostError: debian@1 can't be packed: " in done.stderr
    assert "No space left" in done.stderr
    assert lab.run(["ls", "-A", made.boot]).stdout == ""
    assert lab.run(["stat", "-f", "-c", "%f %b", made.boot]).stdout.split()[0] == "256"


def test_a_kill_at_any_moment_leaves_nothing_or_all_of_it(tmp_path: Path) -> None:
    made = generation(tmp_path)
    with (made.root / "noise").open("wb") as file:
        for _ in range(24):
            file.write(os.urandom(1 << 20))
    for wait in (0.2, 0.6, 1.0, 1.4):
        process = subprocess.Popen([sys.executable, "-c", MAKE, str(tmp_path)], cwd=Path.cwd())
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        process.wait()
        left = {path.name for path in made.boot.iterdir()} - {ram.SUM, f".{ram.SUM}.new"}
        assert left <= {ram.NAME}
        if ram.is_made(made):
            size, digest = (made.boot / ram.SUM).read_text().split()
            content = (made.boot / ram.NAME).read_bytes()
            assert (int(size), digest) == (len(content), hashlib.sha256(content).hexdigest())
