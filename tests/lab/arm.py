"""Small Debian root file systems for ARM: Debian's kernel for that architecture, its busybox and C library.

Packages of another architecture come through an apt configuration of one's own and are unpacked, never
installed: nothing of them runs here. The root is made to be imported (`netbootctl image import NAME ROOT`),
has a login prompt, and reports that it is ready like any image. Kept in pytest's cache, so that only the
first run downloads (60 MB each).
"""

import hashlib
import shutil
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from netbootd.images import apt
from netbootd.images.build import machine_sources
from netbootd.images.suites import choose
from netbootd.images.suites.distribution import used
from tests.lab.alone import alone_in

SUITE = "bookworm"
LOADERS = {"arm64": ("grub-efi-arm64-signed",)}
"""What an image for UEFI machines brings, as no package for this machine has it."""
KERNELS = {"arm64": "linux-image-arm64", "armhf": "linux-image-armmp"}
"""Debian's architecture -> the package that depends on its current kernel."""

_INITTAB = """\
::sysinit:/etc/init.d/rcS
::respawn:/sbin/getty -L 0 console vt100
::ctrlaltdel:/sbin/reboot
"""
_RCS = """\
#!/bin/sh
# node-init has brought the card up and mounted the root; what is left is to say so.
for start in /etc/local.d/*.start; do
    [ ! -x "$start" ] || "$start"
done
"""
_APPLETS = (
    "sh init getty login reboot poweroff mount umount ip cat ls cp mkdir rm grep sed dmesg ps wget hostname "
    "insmod modprobe switch_root readlink sleep chroot sync df tr nc free uname find head tail test touch"
)
# Drivers that no diskless node of the lab has hardware for; most of what the package weighs.
_NEEDLESS = ("sound", "drivers/gpu", "drivers/media", "drivers/staging", "drivers/iio", "net/bluetooth")


def small_root(config: pytest.Config, architecture: str) -> Path:
    """A root with the kernel of `architecture` (arm64, armhf). Skips the test where apt can't provide it."""
    assert config.cache is not None
    kept = config.cache.mkdir("debian-arm")
    with alone_in(kept):
        return made(kept, architecture)


def made(kept: Path, architecture: str) -> Path:
    """The same, kept under `kept` by what this file makes of the packages."""
    recipe = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:8]
    found = kept / f"{architecture}-{recipe}" / "root"
    if not found.is_dir():
        with tempfile.TemporaryDirectory(dir=kept) as temporary:
            new = Path(temporary) / architecture
            new.mkdir()
            _make(new, architecture)
            shutil.rmtree(found.parent, ignore_errors=True)
            new.rename(found.parent)
    return found


def fetch(directory: Path, architecture: str, *packages: str) -> None:
    """Unpack `packages` of `architecture` into `directory`; a kernel's name stands for the current one.

    Skips the test, with apt's own words, where they can't be had.
    """
    with tempfile.TemporaryDirectory() as downloads:
        download(Path(downloads), architecture, *packages)
        for package in sorted(Path(downloads).glob("*.deb")):
            subprocess.run(["dpkg-deb", "-x", package, directory], check=True)


def download(directory: Path, architecture: str, *packages: str) -> None:
    """Put the files of `packages` into `directory`, without their dependencies; otherwise as `fetch`."""
    with tempfile.TemporaryDirectory() as temporary:
        here = Path(temporary)
        here.chmod(0o755)  # apt fetches as a user of its own
        configuration = _configure(here, architecture)
        _apt(here, configuration, "update", "-qq")
        wanted = [_concrete(package, configuration) for package in packages]
        _apt(directory, configuration, "download", "-q", *wanted)


def _configure(here: Path, architecture: str) -> Path:
    debian = choose.distribution(SUITE, architecture)
    source = used(debian, machine_sources(Path("/etc/apt")), {})[0].sources()[0]
    # A Raspberry Pi's start files are there.
    source = replace(source, components=("main", "non-free-firmware"))
    (here / "sources.list").write_text(apt.one_line(source) + "\n")
    (here / "lists" / "partial").mkdir(parents=True)
    (here / "cache" / "archives" / "partial").mkdir(parents=True)
    (here / "status").touch()
    configuration = here / "apt.conf"
    configuration.write_text(
        f'Dir::State "{here}";\nDir::State::lists "{here}/lists";\nDir::State::status "{here}/status";\n'
        f'Dir::Cache "{here}/cache";\nDir::Etc::sourcelist "{here}/sources.list";\n'
        f'Dir::Etc::sourceparts "-";\nAcquire::Languages "none";\nAPT::Sandbox::User "root";\n'
        f'APT::Architecture "{architecture}";\nAPT::Architectures {{ "{architecture}"; }};\n'
    )
    return configuration


def _apt(here: Path, configuration: Path, *words: str) -> None:
    command: list[str | Path] = ["apt-get", "-c", configuration, *words]
    done = subprocess.run(command, cwd=here, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"apt-get {' '.join(words)}: {done.stderr.strip()[-300:]}")


def _concrete(package: str, configuration: Path) -> str:
    """The package with the kernel itself, for one that only depends on the current one."""
    if package not in KERNELS.values():
        return package
    command = ["apt-cache", "-c", str(configuration), "depends", "--no-recommends", "--no-suggests", package]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    names = [line.split()[-1] for line in said.stdout.splitlines() if "Depends: linux-image-" in line]
    if not names:
        pytest.skip(f"apt knows no {package} in {SUITE}")
    return names[0]


def _make(directory: Path, architecture: str) -> None:
    root = directory / "root"
    root.mkdir()
    fetch(root, architecture, KERNELS[architecture], "busybox", "libc6", *LOADERS.get(architecture, ()))
    release = next((root / "lib/modules").iterdir()).name
    for name in _NEEDLESS:
        shutil.rmtree(root / "lib/modules" / release / "kernel" / name, ignore_errors=True)
    shutil.rmtree(root / "usr/share")
    for gconv in root.glob("usr/lib/*/gconv"):
        shutil.rmtree(gconv)
    for name in ("dev", "proc", "sys", "run", "tmp", "root", "mnt", "sbin", "etc/init.d", "etc/local.d"):
        (root / name).mkdir(parents=True, exist_ok=True)
    subprocess.run(["depmod", "-b", root, release], check=True)
    for applet in _APPLETS.split():
        (root / "bin" / applet).symlink_to("busybox")
    for name in ("init", "getty", "reboot"):
        (root / "sbin" / name).symlink_to("../bin/busybox")
    for name, text, mode in (
        ("etc/inittab", _INITTAB, 0o644),
        ("etc/init.d/rcS", _RCS, 0o755),
        ("etc/passwd", "root::0:0:root:/root:/bin/sh\n", 0o644),
        ("etc/group", "root:x:0:\ntty:x:5:\n", 0o644),
        ("etc/shadow", "root::19000:0:99999:7:::\n", 0o600),
        ("etc/hostname", "golden\n", 0o644),
    ):
        (root / name).write_text(text)
        (root / name).chmod(mode)
