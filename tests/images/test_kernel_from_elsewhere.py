"""Systems without a kernel or modules of their own: containers, stage3 archives, Alpine's modloop."""

import os
import subprocess
from pathlib import Path

import pytest

from netbootd.errors import UserError
from netbootd.images import borrowed_kernel
from netbootd.images.importer import import_image
from netbootd.images.store import ImageStore
from tests.images.roots import RELEASE, bzimage, put, small_root

pytestmark = pytest.mark.as_root("images belong to root")

WITH_LOOP = pytest.mark.needs("mksquashfs")


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path / "images")


def without_kernel(root: Path) -> Path:
    made = small_root(root)
    (made / f"boot/vmlinuz-{RELEASE}").unlink()
    (made / f"boot/config-{RELEASE}").unlink()
    return made


def test_a_system_without_a_kernel_gets_another_images(store: ImageStore, tmp_path: Path) -> None:
    lender = small_root(tmp_path / "lender")
    put(lender, f"lib/modules/{RELEASE}/kernel/fs/readme", "modules")
    put(lender, f"lib/modules/{RELEASE}/modules.builtin", "kernel/fs/nfs/nfs.ko\nkernel/fs/overlay.ko\n")
    put(lender, "lib/firmware/card.bin", "firmware")
    whole = import_image(store, "debian", lender)
    bare = without_kernel(tmp_path / "bare")
    put(bare, f"lib/modules/{RELEASE}/kernel/a_few/readme", "an installer's")
    made = import_image(store, "app", bare, kernel=whole)
    assert made.kernel_release == RELEASE
    assert not (made.root / f"lib/modules/{RELEASE}/kernel/a_few").exists()
    assert f"the kernel {RELEASE} is that of debian@1" in made.remarks
    assert (made.root / f"lib/modules/{RELEASE}/kernel/fs/readme").read_text() == "modules"
    assert (made.root / "lib/firmware/card.bin").read_text() == "firmware"
    assert (made.boot / "vmlinuz").read_bytes() == (whole.boot / "vmlinuz").read_bytes()
    with pytest.raises(UserError, match=r"no kernel found") as raised:
        import_image(store, "other", bare)
    assert "take another image's: --kernel IMAGE" in raised.value.hint
    assert store.numbers("other") == []


def test_a_kernel_for_another_processor_is_refused(store: ImageStore, tmp_path: Path) -> None:
    whole = import_image(store, "debian", small_root(tmp_path / "lender"))
    arm = small_root(tmp_path / "arm")
    header = bytearray((arm / "bin/busybox").read_bytes())
    header[18:20] = (183).to_bytes(2, "little")
    (arm / "bin/busybox").write_bytes(header)
    with pytest.raises(UserError, match=r"debian@1 is for .*, and this system for aarch64"):
        import_image(store, "app", arm, kernel=whole)
    assert store.numbers("app") == []


def test_links_in_the_system_do_not_lead_the_copy_out(store: ImageStore, tmp_path: Path) -> None:
    lender = small_root(tmp_path / "lender")
    put(lender, f"lib/modules/{RELEASE}/kernel/fs/readme", "modules")
    put(lender, f"lib/modules/{RELEASE}/modules.builtin", "kernel/fs/nfs/nfs.ko\nkernel/fs/overlay.ko\n")
    whole = import_image(store, "debian", lender)
    outside = tmp_path / "outside"
    outside.mkdir()
    bare = without_kernel(tmp_path / "bare")
    (bare / "boot").rmdir()
    (bare / "boot").symlink_to(outside)
    (bare / "lib/modules").symlink_to(outside)
    with pytest.raises(UserError, match="is a link that leads nowhere"):
        borrowed_kernel.lay(whole, bare)
    assert list(outside.iterdir()) == []


def alpine(root: Path, tmp_path: Path) -> Path:
    """As Alpine's setup-bootable leaves it: the kernel's modules are in a squashfs beside it."""
    made = without_kernel(root)
    release = "6.6.31-0-lts"
    put(made, "etc/os-release", "ID=alpine\nVERSION_ID=3.20.0\n")
    put(made, "boot/vmlinuz-lts", bzimage(release))
    put(made, "boot/initramfs-lts", b"initrd")
    loop = tmp_path / "loop"
    put(loop, f"modules/{release}/modules.builtin", "kernel/fs/nfs/nfs.ko\nkernel/fs/overlay.ko\n")
    put(loop, f"modules/{release}/kernel/net/readme", "modules")
    put(loop, "modules/firmware/card.bin", "firmware")
    command = ["mksquashfs", str(loop), str(made / "boot/modloop-lts"), "-quiet", "-no-progress"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return made


@WITH_LOOP
def test_alpines_modloop_becomes_plain_modules(store: ImageStore, tmp_path: Path) -> None:
    root = alpine(tmp_path / "root", tmp_path)
    (root / "lib").mkdir(exist_ok=True)
    (root / "lib/modules").symlink_to("/.modloop/modules")
    put(root, "etc/init.d/modloop", "#!/sbin/openrc-run\n", 0o755)
    (root / "etc/runlevels/sysinit").mkdir(parents=True)
    (root / "etc/runlevels/sysinit/modloop").symlink_to("/etc/init.d/modloop")
    made = import_image(store, "alpine", root)
    assert made.kernel_release == "6.6.31-0-lts"
    assert not os.path.lexists(made.root / "etc/runlevels/sysinit/modloop")
    remark = "/boot/modloop-lts: the modules of 6.6.31-0-lts unpacked into /lib/modules"
    assert remark in made.remarks
    assert (made.root / "lib/modules/6.6.31-0-lts/kernel/net/readme").read_text() == "modules"
    assert (made.root / "lib/firmware/card.bin").read_text() == "firmware"
    assert (made.boot / "initrd.distribution").read_bytes() == b"initrd"
    assert sorted(path.name for path in made.directory.iterdir()) == ["boot", "generation.json", "root"]


@WITH_LOOP
def test_a_damaged_modloop_is_told_and_nothing_published(store: ImageStore, tmp_path: Path) -> None:
    root = alpine(tmp_path / "root", tmp_path)
    loop = root / "boot/modloop-lts"
    os.truncate(loop, 512)
    with pytest.raises(UserError, match=r"the squashfs in it can't be mounted: can't read superblock"):
        import_image(store, "alpine", root)
    assert store.numbers("alpine") == []
    assert [path.name for path in store.directory.iterdir() if path.name != ".lock"] == []
