"""What a Raspberry Pi needs of an image: found in each distribution's places, in a form that it takes."""

import gzip
from pathlib import Path

import pytest

from netbootd.images import boards, kernels
from netbootd.images.boards import Board
from netbootd.images.kernels import Kernel
from tests.images.roots import put

IMAGE = bytes(56) + b"ARM\x64" + b"Linux version 6.12.25+rpt-rpi-v8 (x@y) #1" + bytes(5000)
ZIMAGE = bytes(36) + b"\x18\x28\x6f\x01" + bytes(500)
TREE = b"\xd0\x0d\xfe\xed"
START = ("bootcode.bin", "start.elf", "start4.elf", "fixup.dat", "fixup4.dat")
RELEASE = "6.12.25+rpt-rpi-v8"


def _kernel(root: Path, name: str = "boot/vmlinuz", content: bytes = IMAGE) -> Kernel:
    return Kernel(put(root, name, content), RELEASE, None, None, None)


def _collect(root: Path, boot: Path, kernel: Kernel | None = None, architecture: str = "aarch64") -> Board:
    """As `assemble` does it: the kernel is in `boot` already."""
    kernel = kernel or _kernel(root)
    put(boot, "vmlinuz", kernel.path.read_bytes())
    return boards.collect(root, kernel, architecture, boot)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def boot(tmp_path: Path) -> Path:
    return tmp_path / "boot"


def _names(boot: Path) -> set[str]:
    firmware = boot / "firmware"
    return {str(path.relative_to(firmware)) for path in firmware.rglob("*") if path.is_file()}


def _raspberry_pi_os(root: Path) -> Kernel:
    for name in START:
        put(root, f"boot/firmware/{name}", name)
    for name in ("bcm2710-rpi-3-b.dtb", "bcm2711-rpi-4-b.dtb", "bcm2712-rpi-5-b.dtb"):
        put(root, f"boot/firmware/{name}", TREE + b"of the partition")
        put(root, f"usr/lib/linux-image-{RELEASE}/broadcom/{name}", TREE + b"of the kernel")
    for name in ("overlay_map.dtb", "vc4-kms-v3d.dtbo", "README"):
        put(root, f"boot/firmware/overlays/{name}", TREE + b"of the partition")
    put(root, f"usr/lib/linux-image-{RELEASE}/overlays/vc4-kms-v3d.dtbo", TREE + b"of the kernel")
    put(root, f"usr/lib/linux-image-{RELEASE}/overlays/overlay_map.dtb", TREE)
    for name in ("kernel8.img", "initramfs8", "kernel_2712.img", "cmdline.txt", "LICENCE.broadcom"):
        put(root, f"boot/firmware/{name}", "other")
    put(root, "boot/firmware/kernel8.img", gzip.compress(IMAGE))
    put(root, f"usr/lib/modules/{RELEASE}/kernel/fs/nfs.ko", "")
    return kernels.find(root)


def test_a_system_of_32_bits_whose_kernel_has_64_tells_which_boards_cannot_start_it(
    root: Path, boot: Path
) -> None:
    board = _collect(root, boot, _raspberry_pi_os(root), "armv7l")
    assert board.config_txt == ("arm_64bit=1",)
    (remark,) = board.remarks
    assert remark.startswith("its newest kernel has 64 bits, which a Pi 1, Zero or 2 can't start")


def test_raspberry_pi_os_has_all_on_its_boot_partition_and_the_kernel_s_trees_win(
    root: Path, boot: Path
) -> None:
    board = _collect(root, boot, _raspberry_pi_os(root))
    assert board == Board(firmware=True, config_txt=("arm_64bit=1",))
    assert _names(boot) == {
        *START,
        *("bcm2710-rpi-3-b.dtb", "bcm2711-rpi-4-b.dtb", "bcm2712-rpi-5-b.dtb", "vmlinuz"),
        *("overlays/overlay_map.dtb", "overlays/vc4-kms-v3d.dtbo"),
    }
    for name in ("bcm2711-rpi-4-b.dtb", "overlays/vc4-kms-v3d.dtbo"):
        assert (boot / "firmware" / name).read_bytes() == TREE + b"of the kernel"
    assert gzip.decompress((boot / "firmware/vmlinuz").read_bytes()) == IMAGE


def test_debian_s_package_has_start_files_and_linux_its_own_names_for_trees(root: Path, boot: Path) -> None:
    for name in START:
        put(root, f"usr/lib/raspi-firmware/{name}", name)
    trees = root / "usr/lib/linux-image-6.1.0-50-arm64"
    for name in ("bcm2837-rpi-3-b-plus.dtb", "bcm2711-rpi-4-b.dtb", "bcm2711-rpi-cm4-io.dtb"):
        put(trees, f"broadcom/{name}", TREE + name.encode())
    put(trees, "amlogic/meson-g12b.dtb", TREE)
    kernel = Kernel(put(root, "boot/vmlinuz", IMAGE), RELEASE, None, None, trees)
    board = _collect(root, boot, kernel)
    assert board.firmware
    assert board.config_txt == ("arm_64bit=1", "upstream_kernel=1")
    for asked, theirs in (
        ("bcm2710-rpi-3-b-plus.dtb", "bcm2837-rpi-3-b-plus.dtb"),
        ("bcm2837-rpi-3-b-plus.dtb", "bcm2837-rpi-3-b-plus.dtb"),
        ("bcm2711-rpi-cm4.dtb", "bcm2711-rpi-cm4-io.dtb"),
    ):
        assert (boot / "firmware" / asked).read_bytes() == TREE + theirs.encode()
    assert not any("meson" in name for name in _names(boot))


def test_trees_without_start_files_are_enough_for_a_pi_5_and_said_not_to_be_firmware(
    root: Path, boot: Path
) -> None:
    """Arch Linux ARM's generic kernel."""
    put(root, "boot/dtbs/broadcom/bcm2712-rpi-5-b.dtb", TREE)
    kernel = Kernel(put(root, "boot/Image", IMAGE), RELEASE, None, None, root / "boot/dtbs")
    board = _collect(root, boot, kernel)
    assert (board.firmware, board.config_txt) == (False, ("arm_64bit=1",))
    assert _names(boot) == {"bcm2712-rpi-5-b.dtb", "vmlinuz"}


def test_start_files_are_taken_from_one_place_only(root: Path, boot: Path) -> None:
    put(root, "boot/start4.elf", "new")
    put(root, "usr/lib/raspi-firmware/start4.elf", "old")
    put(root, "usr/lib/raspi-firmware/fixup4.dat", "old")
    _collect(root, boot)
    assert _names(boot) == {"start4.elf", "vmlinuz"}
    assert (boot / "firmware/start4.elf").read_text() == "new"


@pytest.mark.parametrize("architecture", ["x86_64", "riscv64"])
def test_other_machines_get_nothing(root: Path, boot: Path, architecture: str) -> None:
    put(root, "boot/start4.elf", "x")
    assert _collect(root, boot, architecture=architecture) == Board()
    assert not (boot / "firmware").exists()


def test_an_arm_image_for_other_boards_gets_nothing(root: Path, boot: Path) -> None:
    put(root, "boot/dtbs/amlogic/meson-g12b-a311d-khadas-vim3.dtb", TREE)
    assert _collect(root, boot) == Board()
    assert not (boot / "firmware").exists()


def _zboot(payload: bytes, packing: bytes) -> bytes:
    """The header of zboot-header.S: MZ, `zimg`, offset, size, two words, the packing's name."""
    head = b"MZ\0\0zimg" + (64).to_bytes(4, "little") + len(payload).to_bytes(4, "little") + bytes(8)
    return (head + packing).ljust(64, b"\0") + payload + b"a PE program goes on"


@pytest.mark.parametrize(
    ("content", "bits", "becomes"),
    [
        pytest.param(IMAGE, 64, IMAGE, id="an Image is packed"),
        pytest.param(gzip.compress(IMAGE), 64, IMAGE, id="a packed one stays"),
        pytest.param(_zboot(gzip.compress(IMAGE), b"gzip"), 64, IMAGE, id="an EFI zboot is opened"),
        pytest.param(ZIMAGE, 32, ZIMAGE, id="a zImage stays"),
    ],
)
def test_the_kernel_is_given_in_a_form_that_the_loader_takes(
    root: Path, boot: Path, content: bytes, bits: int, becomes: bytes
) -> None:
    put(root, "boot/bcm2711-rpi-4-b.dtb", TREE)
    board = _collect(root, boot, _kernel(root, content=content), "aarch64" if bits == 64 else "armv7l")
    made = (boot / "firmware/vmlinuz").read_bytes()
    assert (gzip.decompress(made) if made[:2] == b"\x1f\x8b" else made) == becomes
    assert board.config_txt == (f"arm_64bit={int(bits == 64)}",)
    assert board.remarks == ()
    assert (boot / "vmlinuz").read_bytes() == content, "UEFI's is another, and signed perhaps"


def test_a_kernel_that_no_pi_can_start_is_remarked_on(root: Path, boot: Path) -> None:
    put(root, "boot/bcm2711-rpi-4-b.dtb", TREE)
    board = _collect(root, boot, _kernel(root, content=_zboot(b"\x28\xb5\x2f\xfd...", b"zstd22")))
    assert board.remarks == (
        "a Raspberry Pi can't boot this kernel: it is an EFI program packed by 'zstd22'",
    )


CONFIG = """\
# For more options and information see
dtparam=audio=on
camera_auto_detect=1
auto_initramfs=1
dtoverlay=vc4-kms-v3d
max_framebuffers=2
arm_64bit=1
kernel=kernel8.img
initramfs initramfs8 followkernel
include extra.txt
os_prefix=new/

[cm4]
otg_mode=1
[cm5]
dtoverlay=dwc2,dr_mode=host
[pi4]
kernel=other.img
[all]
hdmi_edid_filename=größe
"""


def test_the_image_s_own_config_txt_keeps_what_isn_t_netbootd_s_to_say(root: Path, boot: Path) -> None:
    put(root, "boot/start4.elf", "x")
    put(root, "boot/config.txt", "DO NOT EDIT THIS FILE\n")
    put(root, "boot/firmware/config.txt", CONFIG + f"dtparam={'x' * 100}\n")
    board = _collect(root, boot)
    assert board.config_txt == (
        *("arm_64bit=1", "dtparam=audio=on", "camera_auto_detect=1", "dtoverlay=vc4-kms-v3d"),
        *("max_framebuffers=2", "[cm4]", "otg_mode=1", "[cm5]", "dtoverlay=dwc2,dr_mode=host"),
    )
    assert len(board.remarks) == 2
    assert "ASCII" in board.remarks[0]
    assert "98 characters" in board.remarks[1]


def test_a_config_txt_without_end_is_cut(root: Path, boot: Path) -> None:
    put(root, "boot/start4.elf", "x")
    put(root, "boot/config.txt", "dtparam=audio=on\n" * 5000)
    board = _collect(root, boot)
    assert len(board.config_txt) == 1 + boards.MOST_LINES
    assert board.remarks == (f"config.txt: {5000 - boards.MOST_LINES} lines left out: more than 200",)


def test_eeprom_files_are_kept_only_from_the_boot_partition(root: Path, boot: Path) -> None:
    """rpi-eeprom's own, as packaged, have BOOT_ORDER without the network: a board that took one were lost."""
    put(root, "boot/start4.elf", "x")
    for name in ("pieeprom.upd", "pieeprom.sig", "recovery.bin"):
        put(root, f"boot/firmware/{name}", "made with rpi-eeprom-config")
    put(root, "usr/lib/firmware/raspberrypi/bootloader-2711/default/pieeprom-2024-01-01.bin", "stock")
    _collect(root, boot)
    assert _names(boot) == {"start4.elf", "vmlinuz", "pieeprom.upd", "pieeprom.sig", "recovery.bin"}


def test_links_lead_nowhere_but_into_the_image(root: Path, boot: Path, tmp_path: Path) -> None:
    secret = put(tmp_path, "secret", "of the head node")
    put(root, "boot/start4.elf", "x")
    (root / "boot/start.elf").symlink_to(secret)
    (root / "boot/bcm2711-rpi-4-b.dtb").symlink_to("../../secret")
    (root / "boot/overlays").symlink_to(tmp_path)
    (root / "boot/firmware").mkdir()
    (root / "boot/firmware/config.txt").symlink_to(secret)
    (root / "boot/dt-blob.bin").symlink_to("/boot/start4.elf")
    board = _collect(root, boot)
    assert _names(boot) == {"start4.elf", "vmlinuz", "dt-blob.bin"}
    assert (boot / "firmware/dt-blob.bin").read_text() == "x"
    assert board.config_txt == ("arm_64bit=1",)
