"""Disk images as people have them, made by the real tools: sfdisk, mkfs, mcopy."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

MEGA = 1 << 20


def run(*command: str | Path, input_text: str | None = None) -> str:
    """Run a tool; its complaint is the failure."""
    result = subprocess.run(
        [str(part) for part in command], input=input_text, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, f"{command}: {result.stdout}{result.stderr}"
    return result.stdout


def blank(path: Path, size: int) -> Path:
    """A file of `size` octets, all of it a hole."""
    with path.open("wb") as file:
        file.truncate(size)
    return path


def ext4(path: Path, root: Path, size: int = 24 * MEGA, *options: str) -> Path:
    """An ext4 file system that holds what `root` holds."""
    run("mkfs.ext4", "-q", "-F", "-d", root, *options, blank(path, size))
    return path


def by_kernel(path: Path, root: Path) -> Path:
    """Fill an empty file system with what `root` holds, through a loop device of a namespace's own."""
    script = 'mount -n -o loop "$1" "$3" && cp -a --preserve=all "$2/." "$3/" && umount -n "$3"'
    mount_point = path.with_name(path.name + ".mount")
    mount_point.mkdir()
    command: list[str | Path] = [
        "unshare",
        "--mount",
        "--propagation=private",
        "sh",
        "-ec",
        script,
        "sh",
        path,
        root,
        mount_point,
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        pytest.skip(f"can't mount by a loop device here: {result.stderr.strip()}")
    return path


def fat(path: Path, files: Path, size: int = 12 * MEGA, bits: int = 16) -> Path:
    """A FAT file system that holds what the directory `files` holds."""
    run(
        "mkfs.vfat",
        "-s",
        "4" if bits == 16 else "1",
        "-F",
        str(bits),
        "-i",
        "1234ABCD",
        "-n",
        "bootfs",
        blank(path, size),
    )
    for name in sorted(files.iterdir()):
        run("mcopy", "-i", path, "-s", "-m", name, "::")
    return path


def disk(path: Path, parts: Sequence[tuple[str, Path]], label: str = "dos") -> Path:
    """A disk with a partition for each file system image in `parts`; the texts are sfdisk's types."""
    script = [f"label: {label}", "label-id: 0x5e3da3da" if label == "dos" else ""]
    at = 1
    for kind, image in parts:
        size = -(-image.stat().st_size // MEGA)
        script.append(f"start={at}MiB, size={size}MiB, type={kind}")
        at += size
    blank(path, (at + 1) * MEGA)
    run("sfdisk", "--quiet", path, input_text="\n".join(script) + "\n")
    at = 1
    for _, image in parts:
        run("dd", f"if={image}", f"of={path}", "bs=1M", f"seek={at}", "conv=notrunc,sparse", "status=none")
        at += -(-image.stat().st_size // MEGA)
    return path


def packed(path: Path, suffix: str) -> Path:
    """The same, packed; beside it."""
    target = path.with_name(path.name + suffix)
    if suffix == ".zip":
        target = path.with_suffix(".zip")
        run("zip", "-q", "-1", "-j", target, path)
        return target
    command = {".gz": ["gzip", "-1"], ".xz": ["xz", "-0"], ".zst": ["zstd", "-q"], ".bz2": ["bzip2", "-1"],
               ".lz4": ["lz4", "-q"]}[suffix]  # fmt: skip
    assert shutil.which(command[0]), command
    with path.open("rb") as source, target.open("wb") as sink:
        subprocess.run([*command, "-c"], stdin=source, stdout=sink, check=True)
    return target
