"""Services that a diskless node has no use for, and units that wait for a disk which it hasn't.

A disk that a node does have may be used all the same: LVM, RAID and file system checks are left alone.
"""

import re
from collections import defaultdict
from pathlib import Path

from netbootd.images import edit, services
from netbootd.images.rooted import resolve

_LISTS = "it would fill each node's memory with package lists"
_NO_DISK = "a node has no disk"
_NO_PARTITION = "there is no partition to enlarge"
_NO_SWAP = "a swap file can't lie on an overlay"
_NOBODY = "nobody sits at a node's console to answer it"
_CRAWLS = "it would read the whole image over the network, on every node"
_MEMORY_LOG = "a node's log lies in memory anyway"

NEEDLESS_UNITS = {
    "apt-daily.timer": _LISTS,
    "dnf-makecache.timer": _LISTS,
    "apt-daily-upgrade.timer": "nodes are upgraded by a new generation of their image",
    "dpkg-db-backup.timer": "it keeps backups in each node's memory",
    "man-db.timer": "it would index the manual on every node",
    "plocate-updatedb.timer": _CRAWLS,
    "mlocate-updatedb.timer": _CRAWLS,
    "updatedb.timer": _CRAWLS,
    "e2scrub_all.timer": _NO_DISK,
    "e2scrub_reap.service": _NO_DISK,
    "fstrim.timer": _NO_DISK,
    "systemd-pstore.service": "what it keeps would be gone with the next boot",
    "dphys-swapfile.service": _NO_SWAP,
    "rpi-resize-swap-file.service": _NO_SWAP,
    "resize2fs_once.service": _NO_PARTITION,
    "systemd-growfs-root.service": _NO_PARTITION,
    "systemd-repart.service": _NO_PARTITION,
    "armbian-resize-filesystem.service": _NO_PARTITION,
    "raspberrypi-net-mods.service": "it looks for a boot partition",
    "rpi-eeprom-update.service": "the head node decides on a Pi's EEPROM (--eeprom-update)",
    "regenerate_ssh_host_keys.service": "it would take a node's own host keys away at every boot",
    "armbian-firstrun.service": "it would take a node's own host keys away at every boot",
    "armbian-firstrun-config.service": _NOBODY,
    "userconfig.service": _NOBODY,
    "systemd-firstboot.service": _NOBODY,
    "initial-setup.service": _NOBODY,
    "jeos-firstboot.service": _NOBODY,
    "oem-config.service": _NOBODY,
    "log2ram.service": _MEMORY_LOG,
    "armbian-ramlog.service": _MEMORY_LOG,
}
"""Units that cost a diskless node time or memory and give it nothing, or harm it -> why."""

_SNAP_UNITS = (
    *("snapd.service", "snapd.socket", "snapd.seeded.service", "snapd.autoimport.service"),
    *("snapd.core-fixup.service", "snapd.recovery-chooser-trigger.service", "snapd.apparmor.service"),
)
_DISK = re.compile(r"/dev/(?!(null|zero|loop|fuse|shm|mqueue|hugepages|zram))|(PART)?(UUID|LABEL)=")


def is_of_a_disk(device: str) -> bool:
    """Whether what fstab(5) or a unit names is a disk's, which a node hasn't."""
    return _DISK.match(device) is not None


def units(root: Path) -> list[str]:
    """Switch NEEDLESS_UNITS off."""
    off = services.switch_off(root, NEEDLESS_UNITS)
    by_reason: dict[str, list[str]] = defaultdict(list)
    for unit in off:
        why = NEEDLESS_UNITS.get(unit) or NEEDLESS_UNITS[f"{unit}.service"]
        by_reason[why].append(unit)
    return [f"{', '.join(names)} switched off: {why}" for why, names in by_reason.items()]


def disk_units(root: Path) -> list[str]:
    """Mask the mounts and swaps of disks that have units of their own: each would be waited for."""
    here = "/etc/systemd/system"
    swaps = [name.rpartition("/")[2] for name in edit.matching(root, here, "*.swap")]
    mounts = [
        name.rpartition("/")[2] for name in edit.matching(root, here, "*.mount") if _mounts_disk(root, name)
    ]
    automounts = [f"{name.removesuffix('mount')}automount" for name in mounts]
    masked = services.mask(root, [*mounts, *automounts, *swaps])
    return [f"{', '.join(masked)} masked: {_NO_DISK}"] if masked else []


def _mounts_disk(root: Path, name: str) -> bool:
    what = re.search(r"(?m)^\s*What\s*=\s*(\S+)", edit.read(root, name) or "")
    return what is not None and is_of_a_disk(what[1])


def encrypted(root: Path) -> list[str]:
    """Comment out what crypttab(5) has: the boot would wait for each of these disks, or for a passphrase."""
    text = edit.read(root, "/etc/crypttab")
    lines = text.splitlines() if text else []
    used = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not used:
        return []
    edit.write(root, "/etc/crypttab", "\n".join(edit.MARK + x if x in used else x for x in lines) + "\n")
    return [f"/etc/crypttab: {len(used)} encrypted disks commented out: {_NO_DISK}"]


def snaps(root: Path) -> list[str]:
    """An image whose snaps were never set up would set them up at every boot, for minutes."""
    if resolve(root, "/var/lib/snapd/seed") is None or resolve(root, "/var/lib/snapd/state.json") is not None:
        return []
    masked = services.mask(root, _SNAP_UNITS)
    hint = "to use them, boot the image once on a disk and import that"
    return [f"snapd masked: it would set its snaps up anew at every boot; {hint}"] if masked else []
