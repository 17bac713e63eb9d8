"""Debian's own kernel, fetched as a package and unpacked, never installed: real modules to select from.

It is kept in pytest's cache, so that only the first run downloads it (70 MB).
"""

import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.lab.alone import alone_in

PACKAGE = "linux-image-amd64"


def unpacked_kernel(config: pytest.Config) -> tuple[Path, str]:
    """A root with /boot and /lib/modules of the current kernel of this Debian, depmod run; and its release.

    Skips the test, with the reason, where apt can't provide it.
    """
    assert config.cache is not None
    kept = config.cache.mkdir("debian-kernel")
    with alone_in(kept):
        done = sorted(kept.glob("root-*/.complete"))
        if not done:
            done = [_fetch(kept) / ".complete"]
    root = done[-1].parent
    return root, root.name.removeprefix("root-")


def _fetch(kept: Path) -> Path:
    depends = _said("apt-cache", "depends", "--no-recommends", "--no-suggests", PACKAGE)
    names = [line.split()[-1] for line in depends.splitlines() if "Depends: linux-image-" in line]
    if not names:
        pytest.skip(f"apt knows no {PACKAGE}; run: apt-get update")
    with tempfile.TemporaryDirectory(dir=kept) as temporary:
        fetched = subprocess.run(
            ["apt-get", "download", "-q", names[0]],
            cwd=temporary,
            capture_output=True,
            text=True,
            check=False,
        )
        packages = list(Path(temporary).glob("*.deb"))
        if fetched.returncode != 0 or not packages:
            pytest.skip(f"apt-get download {names[0]}: {fetched.stderr.strip()[-200:]}")
        unpacked = Path(temporary) / "root"
        subprocess.run(["dpkg-deb", "-x", packages[0], unpacked], check=True)
        release = next((unpacked / "lib/modules").iterdir()).name
        subprocess.run(["depmod", "-b", unpacked, release], check=True)
        (unpacked / ".complete").touch()
        return unpacked.rename(kept / f"root-{release}")


def _said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout
