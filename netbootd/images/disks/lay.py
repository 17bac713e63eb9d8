"""From the partitions of a disk to one root file system: each laid where the root's fstab mounts it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from netbootd.errors import UserError
from netbootd.images import trees
from netbootd.images.disks.parts import Part, mounts, told
from netbootd.images.rooted import find_file, resolve

_LARGEST_FSTAB = 1 << 20
_BOOT_PLACES = ("/boot/firmware", "/boot")
_BOOT_FILES = ("config.txt", "cmdline.txt", "bootcode.bin", "kernel8.img", "kernel.img", "boot.scr")


def lay(files: Mapping[int, Path], parts: Sequence[Part], root: Path) -> tuple[str, ...]:
    """Make `root`, an empty directory, the file system of the machine that had these partitions.

    `files` has the tree of each partition that could be read, by its number; they are used up. Returns what
    is to be remarked. Raises UserError where none of them is a root.
    """
    roots = [part for part in parts if part.number in files and _is_root(files[part.number])]
    if not roots:
        raise UserError(
            f"no root file system is on it, only {told(parts)}",
            "an image to import has one partition at least with bin, etc and usr in it",
        )
    chosen = roots[0]
    root.rmdir()
    files[chosen.number].rename(root)
    remarks = [f"{other.words} holds a root file system, too, and was left out" for other in roots[1:]]
    left = {part.number: part for part in parts if part.number in files and part not in roots}
    for device, directory in mounts(_fstab(root)):
        part = next((part for part in left.values() if part.is_meant_by(device)), None)
        if part is not None:
            del left[part.number]
            remarks.append(_place(files[part.number], root, directory, part))
    for part in list(left.values()):
        place = _boot_place(root) if part.kind == "fat" and _has_boot_files(files[part.number]) else None
        if place is not None:
            del left[part.number]
            remarks.append(_place(files[part.number], root, place, part))
    remarks += [f"{part.words} was left out: its fstab mounts it nowhere" for part in left.values()]
    return tuple(remarks)


def _is_root(tree: Path) -> bool:
    return (tree / "etc").is_dir() and any((tree / name).is_dir() for name in ("usr", "bin"))


def _fstab(root: Path) -> str:
    path = find_file(root, ["/etc/fstab"])
    if path is None or path.stat().st_size > _LARGEST_FSTAB:
        return ""
    return path.read_text(encoding="utf-8", errors="replace")


def _place(tree: Path, root: Path, directory: str, part: Part) -> str:
    """Put `tree` at `directory`; what lies there was hidden while it was mounted."""
    outer, _, name = directory.rstrip("/").rpartition("/")
    parent = resolve(root, outer or "/")
    if parent is None or not parent.is_dir() or name in (".", ".."):
        return f"{part.words} was left out: the root has no {outer!a} to mount it in"
    target = resolve(root, directory) or parent / name
    if target == root:
        return f"{part.words} was left out: its fstab would mount it over the root"
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        return f"{part.words} was left out: {directory!a} is no directory"
    trees.remove_tree(target)
    tree.rename(target)
    return f"{part.words} is {directory}"


def _boot_place(root: Path) -> str | None:
    """Where a boot partition belongs that no fstab names: into an empty directory that waits for it."""
    for place in _BOOT_PLACES:
        path = resolve(root, place)
        if path is not None and path.is_dir() and not any(path.iterdir()):
            return place
    return None


def _has_boot_files(tree: Path) -> bool:
    return any((tree / name).is_file() for name in _BOOT_FILES)
