"""The smallest root file system that becomes an image: this machine's busybox, and a kernel's file.

The kernel can't run, but says its release where a bzImage says it, and its configuration that it has NFS and
overlayfs built in: what is read of a kernel here is what is read of any.
"""

import re
import shutil
import subprocess
from pathlib import Path

RELEASE = "6.1.0-9-test"


def bzimage(release: str) -> bytes:
    """A file with the header of the x86 boot protocol, as far as a release is told by it."""
    content = bytearray(0x1000)
    content[0x202:0x206] = b"HdrS"
    content[0x20E:0x210] = (0x400).to_bytes(2, "little")
    text = release.encode() + b" (builder@example) #1 SMP\0"
    content[0x600 : 0x600 + len(text)] = text
    return bytes(content)


def put(root: Path, name: str, content: bytes | str, mode: int = 0o644) -> Path:
    """A file in the root, with its directories."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(mode)
    return path


def small_root(root: Path, release: str = RELEASE) -> Path:
    """Make `root` hold a shell, the libraries it needs, an init and a kernel."""
    busybox = shutil.which("busybox")
    assert busybox, "the packages of the lab have it"
    libraries = subprocess.run(["ldd", busybox], capture_output=True, text=True, check=False).stdout
    for library in re.findall(r"(/\S+) \(0x", libraries):
        put(root, library.lstrip("/"), Path(library).read_bytes(), 0o755)
    put(root, "bin/busybox", Path(busybox).read_bytes(), 0o755)
    for name in ("bin/sh", "sbin/init"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).symlink_to("/bin/busybox")
    put(root, "boot/vmlinuz-" + release, bzimage(release))
    put(root, "boot/config-" + release, "CONFIG_NFS_FS=y\nCONFIG_OVERLAY_FS=y\n")
    put(root, "etc/hostname", "golden\n")
    for directory in ("dev", "proc", "sys", "run", "tmp", "usr"):
        (root / directory).mkdir(exist_ok=True)
    return root
