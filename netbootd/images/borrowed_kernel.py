"""Another image's kernel for a system that has none: a container's, a Gentoo stage3, an Ubuntu base.

The kernel, its modules, device trees and the firmware of cards are independent of what runs above them, its C
library too: only the processor has to be the same.
"""

import shutil
import subprocess
from pathlib import Path

from netbootd.errors import HostError, UserError
from netbootd.image import Generation
from netbootd.images import edit, kernels, machine
from netbootd.images.rooted import resolve

_RUNS_ON = {"i686": ("x86_64",), "armv7l": ("aarch64",), "armv6l": ("armv7l", "aarch64")}
"""Programs of the first run under a kernel of the others as well."""


def lay(lender: Generation, root: Path) -> tuple[str, ...]:
    """Give the system under `root` the kernel of `lender`; returns what is to be remarked.

    Raises UserError where it can't run there, or has gone; HostError, OSError where it can't be copied.
    """
    architecture = machine.architecture(root)
    if lender.architecture not in (architecture, *_RUNS_ON.get(architecture, ())):
        raise UserError(
            f"the kernel of {lender.label} is for {lender.architecture}, and this system for {architecture}",
            f"take an image's that is for {architecture} (netbootctl image list)",
        )
    kernel = kernels.find(lender.root)
    _file(kernel.path, root, f"/boot/vmlinuz-{kernel.release}")
    config = resolve(lender.root, f"/boot/config-{kernel.release}")
    if config is not None and config.is_file():
        _file(config, root, f"/boot/config-{kernel.release}")
    if kernel.modules is not None:
        modules = edit.entry(root, f"/lib/modules/{kernel.release}")
        if modules is not None and modules.is_dir() and not modules.is_symlink():
            shutil.rmtree(modules)  # some of them, as an installer has
        _tree(kernel.modules, root, f"/lib/modules/{kernel.release}")
    if kernel.device_trees is not None:
        _tree(kernel.device_trees, root, f"/usr/lib/modules/{kernel.release}/dtbs")
    firmware = resolve(lender.root, "/lib/firmware")
    if firmware is not None and resolve(root, "/lib/firmware") is None:
        _tree(firmware, root, "/lib/firmware")
    return (f"the kernel {kernel.release} is that of {lender.label}",)


def _file(source: Path, root: Path, name: str) -> None:
    edit.remove(root, name)
    target = edit.place(root, name)
    shutil.copyfile(source, target)
    target.chmod(0o644)


def _tree(source: Path, root: Path, name: str) -> None:
    """A copy of the tree `source` as `name`, where there is nothing of that name yet."""
    target = edit.place(root, name)
    if target.exists() or target.is_symlink():
        return
    command = ["cp", "--archive", "--reflink=auto", "--no-target-directory", str(source), str(target)]
    result = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if result.returncode:
        raise HostError(f"can't copy {source}: {result.stderr.strip()[-300:]}", "is the disk full?")
