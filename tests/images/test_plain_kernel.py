"""An Image for U-Boot, whatever form the distribution ships its kernel in."""

import gzip
from pathlib import Path

import pytest

from netbootd.images import plain_kernel


def image(magic: bytes) -> bytes:
    """The header of an Image, as far as it is looked at, and something to pack."""
    return bytes(56) + magic + b"Linux " * 2000


ARM64 = image(b"ARM\x64")


def zboot(packed: bytes, packing: bytes = b"gzip") -> bytes:
    """An EFI program that carries a kernel: where, how long, how it is packed."""
    head = b"MZ\0\0zimg" + (64).to_bytes(4, "little") + len(packed).to_bytes(4, "little") + bytes(8)
    return (head + packing).ljust(64, b"\0") + packed + b"the unpacking program"


def served(directory: Path, content: bytes, architecture: str = "aarch64") -> tuple[bytes | None, str]:
    kernel = directory / "vmlinuz"
    kernel.write_bytes(content)
    remarks = plain_kernel.put(kernel, architecture)
    assert kernel.read_bytes() == content
    made = directory / "Image"
    return (made.read_bytes() if made.exists() else None), " ".join(remarks)


@pytest.mark.parametrize(
    "content", [ARM64, gzip.compress(ARM64), zboot(gzip.compress(ARM64))], ids=["plain", "gzip", "EFI zboot"]
)
def test_a_64_bit_arm_kernel_is_served_unpacked(tmp_path: Path, content: bytes) -> None:
    assert served(tmp_path, content) == (ARM64, "")


def test_one_that_is_plain_already_takes_no_room(tmp_path: Path) -> None:
    served(tmp_path, ARM64)
    assert (tmp_path / "Image").samefile(tmp_path / "vmlinuz")


def test_risc_v_has_another_mark(tmp_path: Path) -> None:
    plain = image(b"RSC\x05")
    assert served(tmp_path, gzip.compress(plain, mtime=0), "riscv64") == (plain, "")


@pytest.mark.parametrize("architecture", ["armv7l", "x86_64"])
def test_others_need_none(tmp_path: Path, architecture: str) -> None:
    assert served(tmp_path, b"a zImage", architecture) == (None, "")


@pytest.mark.parametrize(
    "content",
    [
        zboot(b"\x28\xb5\x2f\xfd", b"zstd"),
        gzip.compress(ARM64, mtime=0)[:40],
        gzip.compress(b"no kernel", mtime=0),
        b"",
        b"zimg",
    ],
)
def test_what_can_not_be_unpacked_is_remarked_on(tmp_path: Path, content: bytes) -> None:
    made, remark = served(tmp_path, content)
    assert made is None
    assert "U-Boot" in remark
