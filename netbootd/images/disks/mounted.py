"""File systems that only the kernel reads (btrfs, xfs, f2fs, squashfs, erofs), as a tar stream.

They are mounted read-only by a loop device in a mount namespace of the one process that reads them: nobody
else sees the mount, and it is gone with that process, however it ends. No log is replayed on somebody's
disk: one that wasn't unmounted is refused. That the kernel reads it means to trust whoever made it, as with
everything that is mounted; ext4 and FAT, which nearly all cards have, are read without the kernel.
"""

import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from netbootd.errors import HostError, UserError
from netbootd.images.source import Said, ended, program, tar_command

_OPTIONS = {"xfs": ",nouuid"}
_CANT_MOUNT = 90
_DAMAGED = ("superblock", "wrong fs type", "needs cleaning", "nvalid argument", "nput/output")
"""What mount(8) says where it is the file system's fault; it names the loop device all the same."""
_SCRIPT = """
mount=$1 kind=$2 layers=; shift 2
# Each file system is a directory of its own in a tmpfs that nobody else sees; later ones lie over earlier.
mount -n -t tmpfs -o mode=700 tmpfs "$mount" || exit 90
number=0
while [ "$1" != -- ]; do
    number=$((number + 1)) place=$mount/$number
    mkdir "$place" && mount -n -t "$kind" -o "$2" -- "$1" "$place" || exit 90
    layers=$place${layers:+:$layers}
    shift 2
done
shift
if [ "$number" -gt 1 ]; then
    place=$mount/all
    mkdir "$place" && mount -n -t overlay -o "ro,lowerdir=$layers" overlay "$place" || exit 90
fi
if [ "$kind" = btrfs ] && [ ! -d "$place/etc" ]; then
    for volume in @ @rootfs root; do
        if [ -d "$place/$volume/etc" ]; then place=$place/$volume; break; fi
    done
fi
cd "$place" && exec "$@"
"""


@dataclass(frozen=True, slots=True)
class Extent:
    """Where a file system lies: `size` octets (0: all) of the file or device `path`, from `start` on."""

    path: Path
    start: int = 0
    size: int = 0

    @property
    def options(self) -> str:
        """For mount: a loop device of just that part."""
        limit = f",sizelimit={self.size}" if self.size else ""
        return f"ro,nodev,nosuid,noexec,loop,offset={self.start}{limit}"


@contextmanager
def mounted_stream(
    kind: str, extents: Sequence[Extent], mount_point: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """The file system of that kind, or several laid over each other, the last on top, as a tar stream.

    `mount_point` is a directory, of which nobody else sees that it is used. Raises UserError where it isn't
    a whole file system, HostError where this machine can't mount it.
    """
    command = ["unshare", "--mount", "--propagation=private", "--", "sh", "-eu", "-c", _SCRIPT, "sh"]
    command += [str(mount_point), kind]
    for extent in extents:
        command += [str(extent.path), extent.options + _OPTIONS.get(kind, "")]
    command += ["--", *tar_command(Path())]
    with program(command, "util-linux mount tar", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as (
        tar,
        said,
    ):
        try:
            yield tar
        except UserError:
            _explain(kind, tar, said)  # an empty archive is not what is wrong
            raise
        _explain(kind, tar, said)


def _explain(kind: str, tar: subprocess.Popen[bytes], said: Said) -> None:
    """Raise what went wrong, if it was here."""
    status = ended(tar)
    if status == _CANT_MOUNT or said().startswith("unshare:"):
        raise _cant_mount(kind, said())
    if status not in (0, 1):  # 1: tar grumbles
        raise UserError(f"the {kind} in it is damaged: {said()}", "nothing of it was kept")


def _cant_mount(kind: str, complaint: str) -> HostError | UserError:
    known = any(line.split()[-1] == kind for line in Path("/proc/filesystems").read_text().splitlines())
    if not known:
        return HostError(
            f"this machine's kernel can't read {kind}: {complaint}",
            f"modprobe {kind}, or mount it elsewhere and import the directory that it is mounted on",
        )
    damaged = any(word in complaint for word in _DAMAGED)
    if not damaged and ("loop" in complaint or complaint.startswith("unshare:")):
        return HostError(
            f"the {kind} in it can't be mounted here: {complaint}",
            "in a container without loop devices, mount it outside and import that directory",
        )
    why = re.sub(r"^mount: \S+: |\s*on /dev/loop\d+|; dmesg.*", "", complaint)
    return UserError(
        f"the {kind} in it can't be mounted: {why}",
        "is it damaged or cut short, or was it not unmounted?",
    )
