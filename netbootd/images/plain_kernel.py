"""The kernel as U-Boot's `booti` takes it: an Image, as Linux is linked, not packed (cmd/booti.c).

On 64-bit ARM and RISC-V distributions ship it so (Debian), packed by gzip (Ubuntu), or as an EFI program that
unpacks what it carries (Fedora). U-Boot unpacks gzip only where its environment says where to; an EFI program
only its `bootefi` starts. 32-bit ARM needs nothing: its zImage is what `bootz` takes.
"""

import os
from pathlib import Path

from netbootd.images import kernel_file

FILE_NAME = "Image"
ARCHITECTURES = ("aarch64", "riscv64")


def put(kernel: Path, architecture: str) -> tuple[str, ...]:
    """Make `Image` beside `kernel`, a file that is served; returns remarks. Raises OSError."""
    if architecture not in ARCHITECTURES or kernel.stat().st_size > kernel_file.LARGEST:
        return ()
    target = kernel.with_name(FILE_NAME)
    content = kernel.read_bytes()
    if kernel_file.is_image(content, architecture):
        os.link(kernel, target)
        return ()
    plain = kernel_file.unwrapped(content)
    if not kernel_file.is_image(plain, architecture):
        return ("U-Boot's `pxe get` can't start this kernel: it is neither an Image nor holds one",)
    target.write_bytes(plain)
    return ()
