"""Alpine's modloop: the kernel's modules and firmware as a squashfs beside the kernel, in /boot.

Alpine that runs from memory, and what it publishes for network booting, has them so: modloop-lts holds
modules/RELEASE and modules/firmware (mkinitfs, init.d/modloop). A node's initrd is made from plain files, and
its udev or mdev looks for these in /lib/modules.
"""

from pathlib import Path

from netbootd.images import edit, services, trees
from netbootd.images.disks.mounted import Extent, mounted_stream
from netbootd.images.progress import Progress
from netbootd.images.rooted import resolve
from netbootd.images.source import Reading, pour
from netbootd.images.store import Staging
from netbootd.images.unpacker import unpacked

_SQUASHFS = b"hsqs"
_PLACES = ("/boot", "/media/mmcblk0p1/boot", "/media/usb/boot")


def unpack(staging: Staging, progress: Progress) -> tuple[str, ...]:
    """Put what modloops of the image hold where it lies in any other; returns what is to be remarked.

    Raises UserError for one that is damaged, HostError where this machine can't read it.
    """
    remarks: list[str] = []
    for place in _PLACES:
        for name in edit.matching(staging.root, place, "modloop-*"):
            path = resolve(staging.root, name)
            if path is not None and path.is_file() and _begins(path) == _SQUASHFS:
                remarks += _unpack(staging, path, name, progress)
    return tuple(remarks)


def _unpack(staging: Staging, path: Path, name: str, progress: Progress) -> list[str]:
    home = staging.directory / "modloop"
    mount_point, tree = home / "mount", home / "tree"
    for directory in (home, mount_point, tree):
        directory.mkdir()
    try:
        with (
            mounted_stream("squashfs", [Extent(path)], mount_point) as tar,
            unpacked(name, tree, staging) as unpacking,
        ):
            assert tar.stdout is not None  # noqa: S101 - asked for
            pour(path, None, Reading(tar.stdout, None, progress, "unpacking modules"), unpacking.sink)
            unpacking.finish()
        releases = [found for found in edit.matching(tree, "/modules", "*") if found != "/modules/firmware"]
        moved = [_move(tree, found, staging.root, f"/lib{found}") for found in releases]
        _move(tree, "/modules/firmware", staging.root, "/lib/firmware")
    finally:
        trees.remove_tree(home)
    names = ", ".join(found.rpartition("/")[2] for found, there in zip(releases, moved, strict=True) if there)
    if not names:
        return []
    services.switch_off(staging.root, ["modloop.service"])  # it would look for the file on a disk
    return [f"{name}: the modules of {names} unpacked into /lib/modules"]


def _move(tree: Path, name: str, root: Path, to: str) -> bool:
    """Move it out of `tree` into the image, unless that has such a thing already."""
    source = edit.entry(tree, name)
    if source is None or source.is_symlink() or not source.is_dir():
        return False
    modules = edit.entry(root, "/lib/modules")
    if modules is not None and modules.is_symlink() and "/.modloop/" in str(modules.readlink()):
        modules.unlink()  # it leads to where Alpine would mount it
    if edit.entry(root, to) is not None:
        return False
    source.rename(edit.place(root, to))
    return True


def _begins(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(len(_SQUASHFS))
