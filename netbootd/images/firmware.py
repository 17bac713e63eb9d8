"""The firmware that kernel modules ask for, as the image has it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from netbootd.images.rooted import resolve

_SUFFIXES = ("", ".xz", ".zst")
"""A kernel that came with compressed firmware reads it so; it is taken as it is."""


@dataclass(frozen=True, slots=True)
class FirmwareFile:
    """`name` is the path under /lib/firmware, with the suffix of its compression; `size` in octets."""

    name: str
    path: Path
    size: int


def find_firmware(root: Path, release: str, names: Iterable[str]) -> list[FirmwareFile]:
    """Those of `names` that the image has, looked for where the kernel `release` looks, in that order."""
    found: list[FirmwareFile] = []
    for name in names:
        if ".." in name.split("/"):  # the name becomes a path in the initrd
            continue
        for place in (f"updates/{release}", "updates", release, "."):
            file = _first(root, f"/lib/firmware/{place}", name)
            if file is not None:
                found.append(file)
                break
    return found


def within_limit(files: Iterable[FirmwareFile], limit: int) -> tuple[dict[str, bytes], list[str]]:
    """Content by name of as many as `limit` octets hold, small ones first; and the names of the others."""
    chosen: dict[str, bytes] = {}
    left_out: list[str] = []
    total = 0
    for file in sorted(set(files), key=lambda file: (file.size, file.name)):
        if total + file.size > limit:
            left_out.append(file.name)
        else:
            total += file.size
            chosen[file.name] = file.path.read_bytes()
    return chosen, left_out


def lacking(root: Path, release: str, asked: Mapping[str, tuple[str, ...]]) -> list[str]:
    """The modules of `asked` (name -> its firmware) of whose firmware the image has not a single file."""
    return [module for module, names in asked.items() if names and not find_firmware(root, release, names)]


def _first(root: Path, directory: str, name: str) -> FirmwareFile | None:
    for suffix in _SUFFIXES:
        path = resolve(root, f"{directory}/{name}{suffix}")
        if path is not None and path.is_file():
            return FirmwareFile(name + suffix, path, path.stat().st_size)
    return None
