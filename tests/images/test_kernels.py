"""The kernel of an image, found by what it is, in the layouts of many distributions."""

import gzip
from pathlib import Path

import pytest

from netbootd.errors import UserError
from netbootd.images import kernels
from tests.images.roots import bzimage, put


def modules(root: Path, release: str) -> None:
    put(root, f"lib/modules/{release}/kernel/net/x.ko", b"")


def image(release: str) -> bytes:
    """An arm64 Image: its magic, and the text that every kernel carries."""
    return b"\0" * 0x38 + b"ARM\x64" + b"\0" * 500 + f"Linux version {release} (builder) #1 SMP".encode()


def test_debian_the_newest_kernel_by_number_and_its_initrd(tmp_path: Path) -> None:
    for release in ("6.1.0-9-amd64", "6.1.0-10-amd64"):
        put(tmp_path, f"boot/vmlinuz-{release}", bzimage(release))
        put(tmp_path, f"boot/initrd.img-{release}", b"initrd")
        modules(tmp_path, release)
    (tmp_path / "vmlinuz").symlink_to("boot/vmlinuz-6.1.0-9-amd64")
    found = kernels.find(tmp_path)
    assert found.release == "6.1.0-10-amd64"
    assert found.path == tmp_path / "boot/vmlinuz-6.1.0-10-amd64"
    assert found.initrd == tmp_path / "boot/initrd.img-6.1.0-10-amd64"
    assert found.modules == tmp_path / "lib/modules/6.1.0-10-amd64"


def test_a_kernel_without_its_modules_loses_to_an_older_one_that_has_them(tmp_path: Path) -> None:
    put(tmp_path, "boot/vmlinuz-6.9.0", bzimage("6.9.0"))
    put(tmp_path, "boot/vmlinuz-6.1.0", bzimage("6.1.0"))
    modules(tmp_path, "6.1.0")
    assert kernels.find(tmp_path).release == "6.1.0"


def test_the_plain_flavour_before_the_one_for_clouds(tmp_path: Path) -> None:
    for release in ("6.1.0-10-cloud-amd64", "6.1.0-10-amd64", "6.1.0-10-rt-amd64"):
        put(tmp_path, f"boot/vmlinuz-{release}", bzimage(release))
        modules(tmp_path, release)
    assert kernels.find(tmp_path).release == "6.1.0-10-amd64"


def test_arch_says_its_release_in_the_file_alone(tmp_path: Path) -> None:
    put(tmp_path, "boot/vmlinuz-linux", bzimage("6.7.4-arch1-1"))
    put(tmp_path, "boot/initramfs-linux.img", b"initrd")
    modules(tmp_path, "6.7.4-arch1-1")
    found = kernels.find(tmp_path)
    assert (found.release, found.path.name) == ("6.7.4-arch1-1", "vmlinuz-linux")
    assert found.initrd == tmp_path / "boot/initramfs-linux.img"


def test_fedora_keeps_the_kernel_beside_its_modules(tmp_path: Path) -> None:
    (tmp_path / "lib").symlink_to("usr/lib")
    put(tmp_path, "usr/lib/modules/6.7.4-200.fc39.x86_64/vmlinuz", bzimage("6.7.4-200.fc39.x86_64"))
    put(tmp_path, "usr/lib/modules/6.7.4-200.fc39.x86_64/kernel/x.ko", b"")
    assert kernels.find(tmp_path).release == "6.7.4-200.fc39.x86_64"


def test_raspberry_pi_os_has_several_kernels_and_packs_them(tmp_path: Path) -> None:
    for name, release in (("kernel8.img", "6.6.31+rpt-rpi-v8"), ("kernel_2712.img", "6.6.31+rpt-rpi-2712")):
        put(tmp_path, f"boot/firmware/{name}", gzip.compress(image(release)))
        modules(tmp_path, release)
    put(tmp_path, "boot/firmware/bcm2711-rpi-4-b.dtb", b"tree")
    found = kernels.find(tmp_path)
    assert (found.path.name, found.release) == ("kernel8.img", "6.6.31+rpt-rpi-v8")
    assert found.device_trees == tmp_path / "boot/firmware"


def test_arch_linux_arm_has_an_image_without_a_name(tmp_path: Path) -> None:
    put(tmp_path, "boot/Image", image("6.2.10-1-aarch64-ARCH"))
    put(tmp_path, "boot/dtbs/rockchip/rk3399.dtb", b"tree")
    modules(tmp_path, "6.2.10-1-aarch64-ARCH")
    found = kernels.find(tmp_path)
    assert found.path == tmp_path / "boot/Image"
    assert found.device_trees == tmp_path / "boot/dtbs"


def test_a_gentoo_kernel_with_everything_built_in_needs_no_modules(tmp_path: Path) -> None:
    put(tmp_path, "boot/kernel-6.6.13-gentoo", bzimage("6.6.13-gentoo"))
    found = kernels.find(tmp_path)
    assert (found.release, found.modules, found.initrd) == ("6.6.13-gentoo", None, None)


def test_an_arm_zimage_is_known_by_its_magic_and_named_release(tmp_path: Path) -> None:
    packed = b"\0" * 0x24 + b"\x18\x28\x6f\x01" + b"\0" * 100
    put(tmp_path, "boot/zImage-6.1.0-armmp", packed)
    put(tmp_path, "boot/zImage-6.2.0-fake", b"no kernel at all")
    modules(tmp_path, "6.1.0-armmp")
    assert kernels.find(tmp_path).release == "6.1.0-armmp"


def test_links_are_followed_as_in_the_image_and_not_out_of_it(tmp_path: Path) -> None:
    root = tmp_path / "root"
    put(tmp_path, "vmlinuz-9.9.9", bzimage("9.9.9"))
    put(root, "boot/kernels/k", bzimage("6.1.0"))
    (root / "boot/vmlinuz-6.1.0").symlink_to("/boot/kernels/k")
    (root / "boot/vmlinuz-9.9.9").symlink_to(tmp_path / "vmlinuz-9.9.9")
    (root / "boot/vmlinuz-9.9.8").symlink_to("../../vmlinuz-9.9.9")
    found = kernels.find(root)
    assert (found.path, found.release) == (root / "boot/kernels/k", "6.1.0")


def test_no_kernel_says_where_it_was_looked_for(tmp_path: Path) -> None:
    put(tmp_path, "boot/vmlinuz-6.1.0", b"")
    with pytest.raises(
        UserError, match=r"no kernel found.*/boot/vmlinuz\*.*/boot/firmware/kernel\*\.img"
    ) as raised:
        kernels.find(tmp_path)
    assert "apt install linux-image" in raised.value.hint


def test_a_kernel_with_the_modules_of_another_is_told(tmp_path: Path) -> None:
    put(tmp_path, "boot/vmlinuz-6.1.0", bzimage("6.1.0"))
    modules(tmp_path, "5.10.0")
    with pytest.raises(UserError, match=r"the kernel 6\.1\.0 has no modules.*those of 5\.10\.0"):
        kernels.find(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"HdrS",
        b"\0" * 0x202 + b"HdrS",
        b"\x1f\x8b",
        b"\x1f\x8bdamaged",
        gzip.compress(b"x" * 99, mtime=0)[:-9],
    ],
)
def test_what_is_no_kernel_has_no_release(content: bytes) -> None:
    assert kernels.release_of(content) is None


def test_a_release_is_text_fit_for_a_path() -> None:
    assert kernels.release_of(bzimage("../../etc")) is None
    assert kernels.release_of(bzimage("6.1/../..")) is None


def test_a_small_file_that_unpacks_to_gigabytes_is_not_read_to_its_end() -> None:
    bomb = gzip.compress(b"\0" * (300 << 20), 1)
    assert len(bomb) < 2 << 20
    assert kernels.release_of(bomb) is None
