"""From a root file system to a generation: what building and importing have in common.

The kernel is found, what would keep the image from network booting is mended, the small initrd is made around
node-init, what the generation before has too is shared with it, and the whole is published.
"""

import shutil
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from netbootd.image import Generation
from netbootd.images import (
    boards,
    initrd,
    kernels,
    machine,
    mend,
    plain_kernel,
    record,
    sharing,
    signed,
    trees,
)
from netbootd.images.kernels import Kernel
from netbootd.images.progress import Progress
from netbootd.images.store import ImageStore, Staging

_LARGEST_TREE = 4 << 20


def publish(  # noqa: PLR0913 (what a generation remembers of its making, each by its keyword)
    store: ImageStore,
    staging: Staging,
    *,
    origin: str,
    progress: Progress,
    remarks: tuple[str, ...] = (),
    sha256: str = "",
    recipe: Mapping[str, Any] | None = None,
    note: str = "",
) -> Generation:
    """Make the root file system in `staging` the next generation of its image, and current.

    `remarks` are what the maker wants to be known, `sha256` is the source's, `recipe` how it was built,
    `note` an admin's words. Raises UserError where the image can't be network booted (no kernel, no shell …),
    HostError where this machine can't do it.
    """
    root = staging.root
    with trees.explained(staging.directory):
        progress("looking for the kernel", 0, None)
        architecture = machine.architecture(root)
        kernel = kernels.find(root)
        progress("mending what keeps it from network booting", 0, None)
        remarks = (*remarks, *mend.mend(root))
        progress("making the initrd", 0, None)
        built_in = kernels.built_in(root, kernel)
        by_itself = kernels.mounts_its_root(kernel, built_in)
        older = _older(store, staging)
        before = older / "boot" / "initrd" if older is not None else None
        report = initrd.build(root, kernel.release, staging.boot / "initrd", built_in=built_in, older=before)
        _copy_boot_files(root, kernel, staging.boot)
        plain = plain_kernel.put(staging.boot / "vmlinuz", architecture)
        board = boards.collect(root, kernel, architecture, staging.boot)
        loaders = signed.collect(root, architecture, staging.boot)
        _make_readable(staging.boot)
        cloned = _share(staging, older, progress) if older is not None else 0
        size = trees.measure(root)
    progress("bringing it to the disk", 0, None)
    return store.publish(
        staging,
        Generation(
            image=staging.name,
            number=0,
            directory=staging.directory,
            created=record.now(),
            origin=origin,
            architecture=architecture,
            kernel_release=kernel.release,
            size=size.whole,
            shared=size.whole - size.own + cloned,
            remarks=(*remarks, *report.remarks, *plain, *board.remarks),
            sha256=sha256,
            loaders=loaders,
            squashfs=report.squashfs,
            firmware=board.firmware,
            config_txt=board.config_txt,
            by_itself=by_itself,
            recipe=recipe or {},
            note=note,
        ),
    )


def _older(store: ImageStore, staging: Staging) -> Path | None:
    """The directory of the image's newest generation so far."""
    numbers = store.numbers(staging.name)
    return store.directory / staging.name / str(numbers[-1]) if numbers else None


def _share(staging: Staging, older: Path, progress: Progress) -> int:
    """Keep once what the generation before has too; how many octets the file system found by itself."""
    total = trees.size(staging.root)

    def told(octets: int) -> None:
        progress("comparing", octets, total)

    told(0)
    sharing.share(staging.boot, older / "boot", times=False)
    cloned = sharing.share(staging.root, older / "root", told=told).cloned
    told(total)  # directories that only the new one has were not looked into
    return cloned


def _copy_boot_files(root: Path, kernel: Kernel, boot: Path) -> None:
    """What is served, to everybody: ordinary files only, and no initrd that the image keeps for root.

    That has keys in it: of disks, of its SSH server (UMASK in initramfs.conf(5)).
    """
    _copy(kernel.path, boot / "vmlinuz")
    if kernel.initrd is not None and kernel.initrd.stat().st_mode & stat.S_IROTH:
        _copy(kernel.initrd, boot / "initrd.distribution")
    if kernel.device_trees is not None:
        for path in sorted(kernel.device_trees.rglob("*.dtb*")):
            ordinary = path.is_file() and not path.is_symlink()
            if ordinary and path.suffix in (".dtb", ".dtbo") and path.stat().st_size <= _LARGEST_TREE:
                _copy(path, boot / "dtbs" / path.relative_to(kernel.device_trees))


def _make_readable(boot: Path) -> None:
    for path in [boot, *boot.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
