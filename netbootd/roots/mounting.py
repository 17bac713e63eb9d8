"""Mounting persistent roots, and taking them away: mount(2) and umount2(2), and what their refusals mean.

By the system calls and not by mount(8): that one's words for a refusal depend on its version, and it cares
for /etc/fstab, helpers and /run/mount, of which nothing is wanted here.
"""

import ctypes
import errno
import os
import time
from pathlib import Path

from netbootd.errors import HostError
from netbootd.roots.mountinfo import Mount, holding, parse
from netbootd.roots.overlay import SETTINGS, SOURCE, Overlay

_MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 2, 4, 8
_MNT_DETACH = 2
PATIENCE = 5.0
"""Seconds that an NFS server is given to let go of a root that it exports no more."""
UNFIT = {
    "nfs": "NFS",
    "nfs4": "NFS",
    "overlay": "an overlay itself",
    "squashfs": "squashfs, which can't be written",
    "vfat": "FAT",
    "exfat": "exFAT",
    "ntfs3": "NTFS",
    "cifs": "SMB",
    "9p": "9p",
    "ecryptfs": "eCryptfs",
}
"""File systems that can't hold what a node changes: no trusted.* attributes, or no devices 0:0."""
_PARAMETERS = Path("/sys/module/overlay/parameters")

_libc = ctypes.CDLL(None, use_errno=True)


def mounts() -> tuple[Mount, ...]:
    """What this process sees mounted."""
    # Octets, so that no line end is turned into another.
    return tuple(parse(Path("/proc/self/mountinfo").read_bytes().decode("utf-8", "surrogateescape")))


def defaults() -> dict[str, str]:
    """What this kernel's overlayfs does unless it is told otherwise, in the words of its options."""
    found = {}
    for key in SETTINGS:
        try:
            text = (_PARAMETERS / key).read_text(encoding="ascii").strip()
        except OSError:
            continue  # not loaded yet: then nothing is mounted either
        if key != "redirect_dir":  # "off" means two things by another setting, so that is always shown
            found[key] = "on" if text == "Y" else "off"
    return found


def check_place(directory: Path) -> None:
    """Raise HostError where the file system that `directory` lies on can't hold what nodes change."""
    below = holding(mounts(), directory.resolve())
    if below is not None and (why := UNFIT.get(below.kind) or _fuse(below.kind)):
        raise HostError(
            f"{directory} lies on {why}, and overlayfs can't keep changes there",
            f"mount ext4, xfs or btrfs at {directory}, or give the nodes another root mode",
        )


def mount(overlay: Overlay) -> None:
    """Mount it. Raises HostError, which says what keeps this machine from that."""
    check_place(overlay.upper.parents[2])
    options = ",".join(f"{key}={value}" for key, value in overlay.options.items()).encode()
    if len(options) >= os.sysconf("SC_PAGESIZE"):
        raise HostError(f"{overlay.upper} is too long a path to be mounted", "choose a shorter state_dir")
    flags = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
    failed = _libc.mount(
        SOURCE.encode(), os.fsencode(overlay.point), b"overlay", ctypes.c_ulong(flags), options
    )
    if failed:
        raise _refused(overlay, ctypes.get_errno())


def unmount(point: Path, patience: float = PATIENCE) -> str:
    """Take away what is mounted at `point`; where it stays in use, out of sight. Returns a warning or "".

    Raises HostError.
    """
    deadline = time.monotonic() + patience
    while _umount(point, 0) == errno.EBUSY:
        if time.monotonic() >= deadline:
            _umount(point, _MNT_DETACH)
            return (
                f"{point} is still in use (by an NFS server, or `fuser --mount` tells by whom): it is out of"
                " sight, and goes when it is let go of"
            )
        time.sleep(0.1)
    return ""


def _umount(point: Path, flags: int) -> int:
    """Returns 0 or EBUSY. What isn't mounted any more is no fault."""
    if not _libc.umount2(os.fsencode(point), ctypes.c_int(flags)):
        return 0
    code = ctypes.get_errno()
    if code == errno.EBUSY:
        return code
    if code in (errno.EINVAL, errno.ENOENT):
        return 0
    raise HostError(f"{point} can't be unmounted: {os.strerror(code)}", _as_root(code))


def _refused(overlay: Overlay, code: int) -> HostError:
    """What the kernel means; its own words are in its log (dmesg)."""
    point = overlay.point
    match code:
        case errno.ENODEV:
            return HostError("this kernel has no overlayfs, which persistent roots need", "modprobe overlay")
        case errno.EBUSY:
            return HostError(
                f"{point} can't be mounted: its changes are in use by another mount of them",
                "a mount namespace may hold an older one (`ip netns exec`, a container, `unshare --mount`):"
                f" grep -l {point.parent.name} /proc/[0-9]*/mountinfo names its processes; end them, then"
                " netbootctl apply",
            )
        case errno.ESTALE:
            return HostError(
                f"{point} can't be mounted: its changes were made over another copy of {overlay.lower}",
                "one of both was copied or restored; netbootctl node promote NAME makes a new generation with"
                " what was changed, and netbootctl node reset NAME begins anew over that",
            )
        case errno.EINVAL:
            return HostError(
                f"{point} can't be mounted: this kernel's overlayfs refuses the options, or"
                f" {overlay.upper.parent} can't hold changes",
                "dmesg tells why; it has to be ext4, xfs with ftype=1 or btrfs, and Linux 4.16 or newer",
            )
        case _:
            return HostError(f"{point} can't be mounted: {os.strerror(code)}", _as_root(code) or "see dmesg")


def _as_root(code: int) -> str:
    return "run it as root, outside of any container" if code in (errno.EPERM, errno.EACCES) else ""


def _fuse(kind: str) -> str:
    return f"FUSE ({kind})" if kind == "fuse" or kind.startswith("fuse.") else ""
