"""How a persistent root is mounted: an overlay of the image's generation and what the node changed. Pure.

Every option has its reason (Documentation/filesystems/overlayfs.rst in Linux):

    index=on         keeps hard links together when one of them is written, and refuses a directory of changes
                     that belongs to another lower one
    nfs_export=on    gives files handles that outlive a restart of the NFS server; wants the index
    redirect_dir=nofollow
                     a directory of the image can't be renamed (EXDEV, so mv copies it), as on a node with an
                     overlay in memory; changes can be read without following anything, and kernels
                     don't differ
    nosuid nodev noexec
                     count on the head node alone: a node's setuid program is nothing that may be run here,
                     its /dev no devices of ours. The node sees all of them over NFS as they are
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from netbootd.roots.mountinfo import Mount

SOURCE = "netbootd-root"
"""What stands in /proc/mounts as the device."""
FLAGS = frozenset({"nosuid", "nodev", "noexec"})
SETTINGS: Mapping[str, str] = {"index": "on", "nfs_export": "on", "redirect_dir": "nofollow"}


@dataclass(frozen=True, slots=True)
class Overlay:
    """One root: `lower` is the generation's, `upper` and `work` are the node's, `point` where all is one."""

    lower: Path
    upper: Path
    work: Path
    point: Path

    @property
    def options(self) -> dict[str, str]:
        """What mount(2) is told. Nothing needs escaping: netbootd.toml takes no such state_dir."""
        return {
            "lowerdir": str(self.lower),
            "upperdir": str(self.upper),
            "workdir": str(self.work),
            **SETTINGS,
        }

    def is_mounted_as(self, mount: Mount, defaults: Mapping[str, str]) -> bool:
        """Whether `mount` is this overlay with just these options.

        The kernel shows a setting only where it isn't the default; `defaults` are this kernel's. That the
        mount is read-only, and not the file system, may be so for this process alone: netbootd-apply.service.
        """
        shown = {**defaults, **mount.options}
        return (
            mount.kind == "overlay"
            and mount.point == self.point
            and mount.flags >= FLAGS
            and "rw" in mount.options
            and all(shown.get(key) == value for key, value in self.options.items())
        )
