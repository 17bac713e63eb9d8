"""An image's generations, as values; how they are made is netbootd.images' business."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from netbootd.errors import UserError, did_you_mean

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One immutable, numbered state of an image. `architecture` is uname's: x86_64, aarch64, armv7l."""

    image: str
    """The image's name."""
    number: int
    """Counted from 1."""
    directory: Path
    """Where it lies on the head node."""
    created: str
    """UTC, ISO 8601."""
    origin: str
    """What it was made from, for the reader: a suite and mirror, a file's name."""
    architecture: str
    """As uname says it: x86_64, aarch64, armv7l."""
    kernel_release: str
    """As uname -r will say it on a node."""
    size: int
    """Octets that the root file system's files hold."""
    shared: int = 0
    """Of `size`: octets that older generations had already, and the disk keeps once."""
    init: str = "/sbin/init"
    """What node-init hands over to."""
    kernel_args: str = ""
    """The image's own additions to the kernel's command line."""
    note: str = ""
    """An admin's words about it."""
    remarks: tuple[str, ...] = ()
    """What was found at import, and mended or not: one line each."""
    sha256: str = ""
    """Of the file that was imported; empty for an image that came otherwise."""
    loaders: tuple[str, ...] = ()
    """What the image brings in boot/loaders/: shimx64.efi, grubx64.efi … as its distribution signed them."""
    squashfs: str = ""
    """What its kernel reads a squashfs of: zstd, xz, gzip; empty where it can't keep its root in memory."""
    firmware: bool = False
    """Whether boot/firmware/ has what a Raspberry Pi's own boot loader asks for (start4.elf …)."""
    config_txt: tuple[str, ...] = ()
    """Lines for a Raspberry Pi's config.txt: how its kernel is started, and what the image's own said."""
    recipe: Mapping[str, Any] = field(default_factory=dict, hash=False, repr=False)
    """How to build it again (netbootd.images.recipe): JSON-able, empty for an image that wasn't built."""

    by_itself: bool = False
    """Whether its kernel takes no initrd: it mounts its root by itself, and node-init runs as its init."""

    @property
    def root(self) -> Path:
        """The root file system."""
        return self.directory / "root"

    @property
    def boot(self) -> Path:
        """What is served over TFTP and HTTP: vmlinuz, initrd, dtbs/ …"""
        return self.directory / "boot"

    @property
    def own_size(self) -> int:
        """Octets that it cost when it was made, beside its boot files."""
        return self.size - self.shared

    @property
    def label(self) -> str:
        """debian@3, as it is written in commands."""
        return f"{self.image}@{self.number}"


def image_name(text: str) -> str:
    """`text` if it can name an image (it becomes a directory and a part of URLs); else UserError."""
    if not _NAME.fullmatch(text) or text == "current":
        raise UserError(
            f"{text[:80]!r} can't name an image",
            "use 1 to 63 lower-case letters, digits, dots, hyphens and underscores, a letter or digit first",
        )
    return text


def parse_label(text: str) -> tuple[str, int | None]:
    """`debian@3` -> ("debian", 3), `debian` -> ("debian", None); raises UserError."""
    name, at, number = text.partition("@")
    if at and not re.fullmatch(r"[1-9][0-9]{0,8}", number):
        raise UserError(f"{text[:80]!r} names no generation", "write NAME or NAME@NUMBER, as in debian@3")
    return image_name(name), int(number) if at else None


def how_to_get(name: str, known: Sequence[str]) -> str:
    """A hint for an image that nothing can be booted from: what was meant, or what makes it."""
    make = f"`netbootctl image build {name}` makes one"
    return make if name in known else did_you_mean(name, known, make)
