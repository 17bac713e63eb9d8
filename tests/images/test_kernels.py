"""The kernel of an image, found by what it is, in the layouts of many distributions."""

import gzip
import lzma
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from netbootd.errors import UserError
from netbootd.images import kernel_file, kernels
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


def configured(release: str, *options: str) -> bytes:
    """An Image that carries its configuration, as CONFIG_IKCONFIG has it."""
    text = "".join(f"CONFIG_{option}=y\n" for option in options)
    return image(release) + b"IKCFG_ST" + gzip.compress(text.encode()) + b"IKCFG_ED"


def test_a_gentoo_kernel_with_all_built_in_counts_beside_the_modules_of_an_old_one(tmp_path: Path) -> None:
    put(tmp_path, "boot/vmlinuz-6.6.13-gentoo", configured("6.6.13-gentoo", "NFS_FS", "OVERLAY_FS"))
    put(tmp_path, "boot/vmlinuz-6.6.14-gentoo", configured("6.6.14-gentoo", "EXT4_FS"))
    modules(tmp_path, "5.15.0-gentoo")
    found = kernels.find(tmp_path)
    assert (found.release, found.modules) == ("6.6.13-gentoo", None)
    assert kernels.built_in(tmp_path, found) == {"NFS_FS", "OVERLAY_FS"}


MANY = tuple(f"OPTION_{number}" for number in range(200))
ROOT_ON_NFS = ("NFS_FS", "ROOT_NFS", "IP_PNP", "OVERLAY_FS", "DEVTMPFS", "TMPFS")


@pytest.mark.parametrize(
    ("options", "by_itself"),
    [
        ((*MANY, *ROOT_ON_NFS), True),
        ((*MANY, *ROOT_ON_NFS, "BLK_DEV_INITRD"), False),
        (ROOT_ON_NFS, False),
        ((), False),
    ],
    ids=["takes no initrd", "takes one", "a part of a configuration", "tells nothing"],
)
def test_a_kernel_that_takes_no_initrd_mounts_its_root_by_itself(
    tmp_path: Path, options: tuple[str, ...], by_itself: bool
) -> None:
    put(tmp_path, "boot/vmlinuz-6.6.13-gentoo", configured("6.6.13-gentoo", *options))
    found = kernels.find(tmp_path)
    assert kernels.mounts_its_root(found, kernels.built_in(tmp_path, found)) is by_itself


def test_one_that_can_do_neither_is_told_what_it_lacks(tmp_path: Path) -> None:
    put(tmp_path, "boot/vmlinuz-6.6.13-gentoo", configured("6.6.13-gentoo", *MANY, *ROOT_ON_NFS[:4]))
    found = kernels.find(tmp_path)
    with pytest.raises(UserError, match=r"takes no initrd.* it lacks CONFIG_DEVTMPFS, CONFIG_TMPFS"):
        kernels.mounts_its_root(found, kernels.built_in(tmp_path, found))


def test_gentoos_modules_directory_may_hold_no_modules(tmp_path: Path) -> None:
    put(tmp_path, "boot/kernel-6.6.13-gentoo", bzimage("6.6.13-gentoo"))
    put(tmp_path, "boot/kernel-6.6.13-gentoo.old", bzimage("6.6.13-gentoo"))
    put(tmp_path, "boot/initramfs-genkernel-x86_64-6.6.13-gentoo", b"initrd")
    put(tmp_path, "lib/modules/6.6.13-gentoo/modules.builtin", "kernel/fs/nfs/nfs.ko\n")
    found = kernels.find(tmp_path)
    assert found.path.name == "kernel-6.6.13-gentoo"
    assert found.initrd == tmp_path / "boot/initramfs-genkernel-x86_64-6.6.13-gentoo"


ZIMAGE = b"\0" * 0x24 + b"\x18\x28\x6f\x01" + b"\0" * 100
"""The beginning of a zImage. What follows here is packed in no way that is known."""


def test_raspberry_pi_os_of_32_bits_has_kernels_that_do_not_tell(tmp_path: Path) -> None:
    pairs = {
        "kernel.img": "6.6.31+rpt-rpi-v6",
        "kernel7.img": "6.6.31+rpt-rpi-v7",
        "kernel7l.img": "6.6.31-v7l+",
    }
    for name, release in pairs.items():
        put(tmp_path, f"boot/firmware/{name}", ZIMAGE)
        modules(tmp_path, release)
    put(tmp_path, "boot/firmware/initramfs7", b"initrd")
    found = kernels.find(tmp_path)
    assert pairs[found.path.name] == found.release
    (tmp_path / "boot/firmware/kernel.img").unlink()
    (tmp_path / "boot/firmware/kernel7l.img").unlink()
    found = kernels.find(tmp_path)
    assert (found.release, found.initrd) == ("6.6.31+rpt-rpi-v7", tmp_path / "boot/firmware/initramfs7")


def test_arch_names_its_kernels_by_their_package(tmp_path: Path) -> None:
    for package, release in (("linux-custom", "6.9.0-custom"), ("linux-other", "6.8.0-other")):
        put(tmp_path, f"boot/vmlinuz-{package}", ZIMAGE)
        put(tmp_path, f"usr/lib/modules/{release}/pkgbase", f"{package}\n")
        put(tmp_path, f"usr/lib/modules/{release}/kernel/x.ko", b"")
    found = kernels.find(tmp_path)
    assert (found.path.name, found.release) == ("vmlinuz-linux-custom", "6.9.0-custom")


def test_arch_linux_arm_of_32_bits_has_a_zimage_and_one_set_of_modules(tmp_path: Path) -> None:
    put(tmp_path, "boot/zImage", ZIMAGE)
    put(tmp_path, "boot/initramfs-linux.img", b"initrd")
    modules(tmp_path, "6.2.10-1-armv7-ARCH")
    assert kernels.find(tmp_path).release == "6.2.10-1-armv7-ARCH"


def test_alpine_names_its_kernels_by_their_flavour(tmp_path: Path) -> None:
    put(tmp_path, "boot/vmlinuz-lts", bzimage("6.6.31-0-lts"))
    put(tmp_path, "boot/initramfs-lts", b"initrd")
    put(tmp_path, "boot/dtbs-lts/rockchip/rk3399.dtb", b"tree")
    modules(tmp_path, "6.6.31-0-lts")
    found = kernels.find(tmp_path)
    assert (found.release, found.initrd) == ("6.6.31-0-lts", tmp_path / "boot/initramfs-lts")
    assert found.device_trees == tmp_path / "boot/dtbs-lts"


def test_opensuse_names_its_initrd_without_img(tmp_path: Path) -> None:
    release = "6.4.0-150600.23-default"
    put(tmp_path, f"usr/lib/modules/{release}/vmlinuz", bzimage(release))
    put(tmp_path, f"usr/lib/modules/{release}/kernel/x.ko", b"")
    (tmp_path / "boot").mkdir()
    (tmp_path / f"boot/vmlinuz-{release}").symlink_to(f"../usr/lib/modules/{release}/vmlinuz")
    put(tmp_path, f"boot/initrd-{release}", b"initrd")
    put(tmp_path, f"boot/.vmlinuz-{release}.hmac", b"0")
    found = kernels.find(tmp_path)
    assert (found.release, found.initrd) == (release, tmp_path / f"boot/initrd-{release}")


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress], ids=["gzip", "xz"])
def test_a_zimage_tells_its_release_once_it_is_unpacked(
    tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    put(tmp_path, "boot/zImage", ZIMAGE + gzip.compress(b"chance") + pack(image("6.1.0-armmp")) + b"tail")
    modules(tmp_path, "6.1.0-armmp")
    modules(tmp_path, "6.2.0-other")
    assert kernels.find(tmp_path).release == "6.1.0-armmp"


@pytest.mark.needs("zstd")
def test_an_efi_program_that_zstd_packed_is_read(tmp_path: Path) -> None:
    packed = subprocess.run(["zstd", "-q"], input=image("6.11.0"), capture_output=True, check=True).stdout
    head = b"MZ\0\0zimg" + (64).to_bytes(4, "little") + (len(packed) + 4).to_bytes(4, "little")
    content = head.ljust(24, b"\0") + b"zstd22".ljust(40, b"\0") + packed + b"size"
    assert kernel_file.release_of(content) == "6.11.0"
    assert kernel_file.is_image(kernel_file.unwrapped(content), "aarch64")


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("ID=arch\n", "pacman -S linux"),
        ('ID="opensuse-leap"\n', "zypper install kernel-default"),
        ("ID=alpine\n", "apk add linux-lts"),
        ("ID=linuxmint\nID_LIKE=ubuntu\n", "apt install linux-image-generic"),
        ('ID="gentoo"\n', "emerge sys-kernel/gentoo-kernel-bin"),
        ("ID=unheard-of\n", "apt install linux-image-amd64"),
    ],
)
def test_without_a_kernel_the_distributions_own_way_to_one_is_told(
    tmp_path: Path, text: str, command: str
) -> None:
    put(tmp_path, "etc/os-release", text)
    with pytest.raises(UserError) as raised:
        kernels.find(tmp_path)
    assert (
        raised.value.hint
        == f"install one in it, as in: chroot ROOT {command}; or take another image's: --kernel IMAGE"
    )


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
        UserError, match=r"no kernel found.* no vmlinuz\*.* kernel\*.* in /boot, /boot/firmware"
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
    assert kernel_file.release_of(content) is None


def test_a_release_is_text_fit_for_a_path() -> None:
    assert kernel_file.release_of(bzimage("../../etc")) is None
    assert kernel_file.release_of(bzimage("6.1/../..")) is None


def test_a_small_file_that_unpacks_to_gigabytes_is_not_read_to_its_end() -> None:
    bomb = gzip.compress(b"\0" * (300 << 20), 1)
    assert len(bomb) < 2 << 20
    assert kernel_file.release_of(bomb) is None
