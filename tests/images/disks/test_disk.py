"""Importing disk images: the card that somebody has, whatever it is packed in and however it is divided."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from netbootd.errors import HostError, UserError
from netbootd.image import Generation
from netbootd.images import trees
from netbootd.images.importer import import_image
from netbootd.images.store import ImageStore
from tests.images.disks import making
from tests.images.disks.making import MEGA
from tests.images.roots import RELEASE, put, small_root
from tests.images.test_importer import (
    assert_nothing_published,
    assert_special_files,
    mounted,
    special_files,
)

pytestmark = [
    pytest.mark.as_root("an image's files belong to many users"),
    pytest.mark.needs("mkfs.ext4", "mkfs.vfat", "mcopy", "sfdisk", "zip", "xz", "zstd", "bzip2"),
]


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path / "images")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """As pi-gen has it: the kernel is on the boot partition, and / and /boot/firmware are in the fstab."""
    root = small_root(tmp_path / "source")
    put(
        root,
        "etc/fstab",
        "proc /proc proc defaults 0 0\n"
        "PARTUUID=5e3da3da-01 /boot/firmware vfat defaults 0 2\n"
        "PARTUUID=5e3da3da-02 / ext4 defaults,noatime 0 1\n",
    )
    (root / "boot/firmware").mkdir()
    put(root, "boot/firmware/hidden", "what a mount hides")
    return root


@pytest.fixture
def boot(tmp_path: Path, root: Path) -> Path:
    boot = tmp_path / "boot"
    put(boot, "config.txt", "arm_64bit=1\n")
    put(boot, "overlays/a quite long name of an overlay.dtbo", b"\xd0\x0d\xfe\xed" + bytes(9000))
    put(boot, "kernel8.img", (root / f"boot/vmlinuz-{RELEASE}").read_bytes())
    put(boot, "UPPER.TXT", "")
    return boot


@pytest.fixture
def card(tmp_path: Path, root: Path, boot: Path) -> Path:
    parts = [
        ("c", making.fat(tmp_path / "p1", boot)),
        ("83", making.ext4(tmp_path / "p2", root)),
    ]
    return making.disk(tmp_path / "card.img", parts)


def assert_is_the_card(generation: Generation) -> None:
    firmware = generation.root / "boot/firmware"
    assert sorted(path.name for path in firmware.iterdir()) == [
        "UPPER.TXT",
        "config.txt",
        "kernel8.img",
        "overlays",
    ]
    assert (firmware / "config.txt").read_text() == "arm_64bit=1\n"
    assert (firmware / "overlays/a quite long name of an overlay.dtbo").stat().st_size == 9004
    assert generation.kernel_release == RELEASE
    assert "partition 1 (fat) is /boot/firmware" in generation.remarks
    assert (generation.root / "bin/sh").readlink() == Path("/bin/busybox")
    assert not (generation.root / "lost+found").exists()
    assert not (generation.directory / "parts").exists()


@pytest.mark.parametrize("suffix", ["", ".gz", ".xz", ".zst", ".bz2", ".zip"])
def test_a_card_becomes_an_image(store: ImageStore, card: Path, suffix: str) -> None:
    source = making.packed(card, suffix) if suffix else card
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    generation = import_image(store, "golden", source, sha256=digest)
    assert_is_the_card(generation)
    assert generation.sha256 == digest
    assert generation.origin == source.name


LAYOUTS = {
    "ext4 as cards have it": ["-b", "4096"],
    "ext4 with inline data": ["-b", "4096", "-O", "inline_data"],
    "ext4 without extents, as ext3 was": ["-O", "^extents,^64bit,^metadata_csum,^flex_bg"],
    "ext4 of small blocks": ["-b", "1024", "-O", "^flex_bg"],
    "ext2": ["-t", "ext2", "-b", "4096", "-I", "256"],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_a_root_consists_of_survives(store: ImageStore, root: Path, tmp_path: Path, layout: str) -> None:
    special_files(root)
    (root / "many").mkdir()
    for number in range(3000):  # a directory of several blocks, with an index
        (root / f"many/a file with a rather long name, number {number}").symlink_to("x" * (number % 90 + 1))
    scattered = root / "scattered"
    with scattered.open("wb") as file:
        for number in range(2000):  # more extents than fit into an inode
            file.seek(number * 16384)
            file.write(bytes([number % 255 + 1]) * 4096)
    if "cards" in layout:
        os.setxattr(root / "srv/plain", "user.block", b"v" * 2500)
    image = tmp_path / "root.ext4"
    making.run("mkfs.ext4", "-q", "-F", *LAYOUTS[layout], making.blank(image, 96 * MEGA))
    generation = import_image(store, "golden", making.by_kernel(image, root))
    assert_special_files(generation.root)
    copied = generation.root / "scattered"
    assert copied.stat().st_blocks <= 2000 * 8 + 64
    making.run("diff", "-r", "--no-dereference", root / "many", generation.root / "many")
    making.run("cmp", scattered, copied)
    for name in os.listxattr(root / "srv/plain"):
        assert os.getxattr(generation.root / "srv/plain", name) == os.getxattr(root / "srv/plain", name)


def test_an_attribute_that_is_too_large_for_the_disk_here_is_told(
    store: ImageStore, root: Path, tmp_path: Path
) -> None:
    image = making.ext4(tmp_path / "root.ext4", root, 24 * MEGA, "-b", "4096", "-O", "ea_inode")
    value = put(tmp_path, "value", b"v" * 9000)
    making.run("debugfs", "-w", "-R", f"ea_set -f {value} /etc/hostname user.large", image)
    generation = import_image(store, "golden", image)
    assert "1 files had extended attributes that the file system of the images has no room for" in (
        generation.remarks
    )


AGED = """
set -e
mount -n -o loop,nodelalloc "$1" "$3"
cp -a "$2/." "$3/"
dd if=/dev/zero of="$3/first" bs=1M count=24 status=none
dd if=/dev/zero of="$3/rest" bs=1M status=none 2>/dev/null || true
rm "$3/first"
sync -f "$3"
for number in 1 2 3 4 5 6 7 8 9 10; do
    mkdir "$3/d$number"
    seq $((number * 1000)) 300000 | head -c 1500000 >"$3/d$number/file"
done
rm "$3/rest"
umount -n "$3"
"""


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_disk_whose_files_lie_before_their_inodes_is_read_in_another_pass(
    store: ImageStore, root: Path, tmp_path: Path, suffix: str
) -> None:
    """As disks get that were full once: the inodes in late groups, the room in early ones."""
    image = tmp_path / "root.ext4"
    making.run("mkfs.ext4", "-q", "-F", "-b", "1024", "-O", "^flex_bg", making.blank(image, 80 * MEGA))
    (tmp_path / "mnt").mkdir()
    script = ["unshare", "--mount", "--propagation=private", "sh", "-c", AGED, "sh"]
    command = [*script, str(image), str(root), str(tmp_path / "mnt")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"can't mount by a loop device here: {done.stderr.strip()}")
    steps = []
    source = making.packed(image, suffix) if suffix else image
    generation = import_image(store, "golden", source, progress=lambda *call: steps.append(call))
    assert "reading again" in {step for step, _, _ in steps}
    for number in range(1, 11):
        whole = "".join(f"{line}\n" for line in range(number * 1000, 300_000))[:1_500_000]
        assert (generation.root / f"d{number}/file").read_text() == whole


# Other file systems, other tables


def filled(kind: str, path: Path, root: Path) -> Path:
    """A file system of that kind that holds `root`."""
    if kind == "squashfs":
        making.run("mksquashfs", root, path, "-quiet", "-no-progress", "-comp", "gzip")
    elif kind == "erofs":
        making.run("mkfs.erofs", "--quiet", "-U", "7e3b8f4c-0000-4000-8000-000000000001", path, root)
    elif kind == "btrfs":
        making.run("mkfs.btrfs", "--quiet", making.blank(path, 128 * MEGA))
        making.by_kernel(path, root)
    else:
        making.run(f"mkfs.{kind}", making.blank(path, 330 * MEGA))
        making.by_kernel(path, root)
    return path


@pytest.mark.needs("mksquashfs", "mkfs.btrfs", "mkfs.xfs", "mkfs.erofs")
@pytest.mark.parametrize(
    ("kind", "suffix"),
    [("squashfs", ".zst"), ("btrfs", ""), ("btrfs", ".zst"), ("xfs", ""), ("erofs", ""), ("erofs", ".xz")],
)
def test_other_root_file_systems_are_read_by_the_kernel(
    store: ImageStore, root: Path, tmp_path: Path, kind: str, suffix: str
) -> None:
    special_files(root)
    image = filled(kind, tmp_path / "p1", root)
    source = making.disk(tmp_path / "card.img", [("linux", image)], label="gpt")
    source = making.packed(source, suffix) if suffix else source
    before = making.run("losetup", "--list")
    if kind not in Path("/proc/filesystems").read_text().split():
        pytest.skip(f"the kernel here doesn't know {kind}")
    generation = import_image(store, "golden", source)
    time = 1_000_000_000 if kind == "squashfs" else 1_000_000_000.25
    assert_special_files(generation.root, time, holes=kind != "erofs")  # erofs keeps none
    assert making.run("losetup", "--list") == before


@pytest.mark.needs("mksquashfs", "mkfs.erofs")
@pytest.mark.parametrize(("kind", "suffix"), [("squashfs", ""), ("squashfs", ".xz"), ("erofs", ".zst")])
def test_a_file_system_without_a_disk_around_it_is_read_as_well(
    store: ImageStore, root: Path, tmp_path: Path, kind: str, suffix: str
) -> None:
    image = filled(kind, tmp_path / "root.img", root)
    generation = import_image(store, "golden", making.packed(image, suffix) if suffix else image)
    assert (generation.root / "bin/sh").readlink() == Path("/bin/busybox")


@pytest.mark.needs("losetup")
def test_a_card_in_its_reader_is_read(store: ImageStore, card: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A block device, as /dev/sdb is; not while somebody may change what is on it."""
    command: list[str | Path] = ["losetup", "--find", "--show", "--read-only", card]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.skip(f"no loop device here: {found.stderr.strip()}")
    device = found.stdout.strip()
    try:
        monkeypatch.setattr(trees, "mounted_devices", lambda: [f"{device}p2"])
        with pytest.raises(UserError, match=f"{device}p2 is mounted; umount {device}p2"):
            import_image(store, "golden", device)
        monkeypatch.undo()
        generation = import_image(store, "golden", device)
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)
    assert_is_the_card(generation)
    assert generation.sha256 == hashlib.sha256(card.read_bytes()).hexdigest()


@pytest.mark.needs("mkfs.f2fs")
def test_a_file_system_that_the_kernel_does_not_know_is_named(
    store: ImageStore, root: Path, tmp_path: Path
) -> None:
    if "f2fs" in Path("/proc/filesystems").read_text():
        pytest.skip("the kernel here knows f2fs")
    image = making.blank(tmp_path / "f2fs", 64 * MEGA)
    making.run("mkfs.f2fs", "-q", image)
    with pytest.raises(HostError, match="kernel can't read f2fs"):
        import_image(store, "golden", making.disk(tmp_path / "card.img", [("83", image)]))
    assert_nothing_published(store)


NO_LOOP = """
set -e
mount -n -t tmpfs tmpfs /dev
mknod /dev/null c 1 3
mknod /dev/urandom c 1 9
exec "$@"
"""


@pytest.mark.needs("mksquashfs")
def test_without_loop_devices_it_says_what_to_do(tmp_path: Path, root: Path) -> None:
    """As in a container; ext4 and FAT need none."""
    store = ImageStore(tmp_path / "images")
    code = (
        "import sys; from pathlib import Path; from netbootd.errors import NetbootdError\n"
        "from netbootd.images.importer import import_image; from netbootd.images.store import ImageStore\n"
        "try: import_image(ImageStore(Path(sys.argv[1])), 'golden', sys.argv[2])\n"
        "except NetbootdError as error: sys.exit(str(error))"
    )
    said = []
    for image in (filled("squashfs", tmp_path / "a", root), making.ext4(tmp_path / "b", root)):
        script = ["unshare", "--mount", "--propagation=private", "sh", "-c", NO_LOOP, "sh", sys.executable]
        command = [*script, "-c", code, str(store.directory), str(image)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        said.append((done.returncode, done.stderr))
    assert said[0][0] == 1 and "in a container without loop devices, mount it outside" in said[0][1]
    assert said[1] == (0, "")
    assert store.numbers("golden") == [1]


def test_a_debian_server_of_many_partitions(store: ImageStore, root: Path, tmp_path: Path) -> None:
    """GPT; /boot, /boot/efi and /home of their own, in every way in which an fstab names them."""
    put(
        root,
        "etc/fstab",
        "LABEL=home /home ext4 defaults 0 2\n"
        "UUID=1234-ABCD /boot/efi vfat umask=0077 0 1\n"
        "/dev/nvme0n1p2 /boot ext2 defaults 0 2\n"
        "/dev/nvme0n1p5 none swap sw 0 0\n",
    )
    kernel = tmp_path / "boot.d"
    (kernel / "efi").mkdir(parents=True)
    for name in (root / "boot").glob("*-*"):
        name.rename(kernel / name.name)
    esp, home = tmp_path / "esp.d", tmp_path / "home.d"
    put(esp, "EFI/BOOT/BOOTX64.EFI", "MZ")
    put(home, "pi/.bashrc", "")
    parts = [
        ("uefi", making.fat(tmp_path / "p1", esp, 34 * MEGA, 32)),
        ("linux", making.ext4(tmp_path / "p2", kernel, 8 * MEGA, "-t", "ext2")),
        ("linux", making.ext4(tmp_path / "p3", root)),
        ("linux", making.ext4(tmp_path / "p4", home, 8 * MEGA, "-L", "home")),
        ("swap", making.blank(tmp_path / "p5", 2 * MEGA)),
    ]
    generation = import_image(store, "golden", making.disk(tmp_path / "server.img", parts, label="gpt"))
    assert (generation.root / "boot/efi/EFI/BOOT/BOOTX64.EFI").read_text() == "MZ"
    assert (generation.root / f"boot/vmlinuz-{RELEASE}").is_file()
    assert (generation.root / "home/pi/.bashrc").is_file()
    assert not any("left out" in remark for remark in generation.remarks)


def test_logical_partitions_are_found(store: ImageStore, root: Path, tmp_path: Path) -> None:
    put(root, "etc/fstab", "/dev/sda6 /home ext4 defaults 0 2\n")
    home = tmp_path / "home.d"
    put(home, "pi/.bashrc", "")
    path = making.blank(tmp_path / "card.img", 90 * MEGA)
    table = (
        "label: dos\nstart=1MiB, type=5\nstart=2MiB, size=64MiB, type=83\nstart=70MiB, size=8MiB, type=83\n"
    )
    making.run("sfdisk", "--quiet", path, input_text=table)
    for image, at in (
        (making.ext4(tmp_path / "p5", root, 64 * MEGA), 2),
        (making.ext4(tmp_path / "p6", home, 8 * MEGA), 70),
    ):
        making.run("dd", f"if={image}", f"of={path}", "bs=1M", f"seek={at}", "conv=notrunc", "status=none")
    generation = import_image(store, "golden", path)
    assert (generation.root / "home/pi/.bashrc").is_file()


# What is wrong with it


def test_a_card_that_is_cut_short_publishes_nothing(store: ImageStore, card: Path, tmp_path: Path) -> None:
    whole = card.read_bytes()
    for source, size in (
        (card, len(whole) // 2),
        (making.packed(card, ".xz"), 0),
        (making.packed(card, ".zip"), 0),
    ):
        content = source.read_bytes()
        source.write_bytes(content[: size or len(content) // 2])
        with pytest.raises(UserError, match=r"cut short|can't be unpacked|damaged"):
            import_image(store, "golden", source)
        assert_nothing_published(store)


def test_a_zip_archive_that_was_changed_is_found_by_its_own_checksum(store: ImageStore, card: Path) -> None:
    source = card.with_suffix(".zip")
    making.run("zip", "-q", "-0", "-j", source, card)
    content = bytearray(source.read_bytes())
    content[len(content) // 2] ^= 1
    source.write_bytes(content)
    with pytest.raises(UserError, match="Bad CRC-32"):
        import_image(store, "golden", source)
    assert_nothing_published(store)


def test_the_wrong_checksum_publishes_nothing(store: ImageStore, card: Path) -> None:
    for suffix in (".zip", ".gz"):
        with pytest.raises(UserError, match="isn't the file that the checksum is of"):
            import_image(store, "golden", making.packed(card, suffix), sha256="0" * 64)
        assert_nothing_published(store)


def test_a_disk_without_a_root_says_what_is_on_it(store: ImageStore, boot: Path, tmp_path: Path) -> None:
    source = making.disk(tmp_path / "card.img", [("c", making.fat(tmp_path / "p1", boot))])
    with pytest.raises(UserError, match=r"no root file system is on it, only partition 1 \(fat\)"):
        import_image(store, "golden", source)
    assert_nothing_published(store)


def test_a_device_node_where_none_belongs_is_refused(store: ImageStore, root: Path, tmp_path: Path) -> None:
    os.mknod(root / "usr/disk", 0o60666, os.makedev(8, 0))
    with pytest.raises(UserError, match="usr/disk is a device node outside of /dev"):
        import_image(store, "golden", making.ext4(tmp_path / "root.ext4", root))
    assert_nothing_published(store)


def test_a_card_that_does_not_fit_is_told_before_it_is_read(root: Path, tmp_path: Path) -> None:
    (root / "big").write_bytes(os.urandom(50 * MEGA))
    source = making.ext4(tmp_path / "root.ext4", root, 96 * MEGA)
    with mounted("tmpfs", tmp_path / "disk", "size=100m") as disk:
        store = ImageStore(disk / "images")
        with pytest.raises(HostError, match="don't fit on the disk"):
            import_image(store, "golden", source)
        assert_nothing_published(store)


# What was not unmounted

UNFINISHED = """
set -e
mount -n -o loop,nodelalloc "$1" "$3"
cp -a "$2/." "$3/"
sync -f "$3"
# Blocks of directories freed and used again for data: the journal has to revoke them.
rm -r "$3/gone"
mkdir "$3/new" && cp -a "$2/gone" "$3/new/copied"
echo changed >"$3/etc/hostname"
ln "$3/etc/hostname" "$3/new/linked"
setfattr -n user.late -v late "$3/etc/hostname" 2>/dev/null || true
# One file's fsync commits to the journal; the tables themselves are written later.
sync "$3/etc/hostname"
cp --sparse=always "$1" "$4"
umount -n "$3"
"""


@pytest.mark.parametrize("options", [(), ("-O", "^metadata_csum,^64bit"), ("-O", "^metadata_csum")])
@pytest.mark.parametrize("suffix", ["", ".zst"])
def test_a_card_that_lost_its_power_has_what_its_journal_says(
    store: ImageStore, root: Path, tmp_path: Path, options: tuple[str, ...], suffix: str
) -> None:
    for number in range(60):
        put(root, f"gone/d{number}/file", f"{number} " * 500)
    image, dirty = tmp_path / "root.ext4", tmp_path / "dirty.ext4"
    making.run("mkfs.ext4", "-q", "-F", "-b", "4096", *options, making.blank(image, 48 * MEGA))
    (tmp_path / "mnt").mkdir()
    script = ["unshare", "--mount", "--propagation=private", "sh", "-c", UNFINISHED, "sh"]
    command = [*script, str(image), str(root), str(tmp_path / "mnt"), str(dirty)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"can't mount by a loop device here: {done.stderr.strip()}")
    assert "needs_recovery" in making.run("dumpe2fs", "-h", dirty)
    before = dirty.read_bytes()
    listing = making.run("debugfs", "-R", "ls -p /", dirty)
    assert "/gone/" in listing and "/new/" not in listing, "only the journal knows"
    generation = import_image(store, "golden", making.packed(dirty, suffix) if suffix else dirty)
    assert dirty.read_bytes() == before
    assert "it had not been unmounted; the changes in its journal are in the image" in generation.remarks
    assert not (generation.root / "gone").exists()
    making.run("diff", "-r", root / "gone", generation.root / "new/copied")
    assert (generation.root / "new/linked").read_text() == "changed\n"
    assert os.getxattr(generation.root / "new/linked", "user.late") == b"late"
    making.run("diff", "-r", "--no-dereference", root / "bin", generation.root / "bin")


def test_a_journal_that_is_damaged_is_told(store: ImageStore, root: Path, tmp_path: Path) -> None:
    image = making.ext4(tmp_path / "root.ext4", root)
    making.run("debugfs", "-w", "-R", "feature needs_recovery", image)
    content = image.read_bytes()
    image.write_bytes(content.replace(b"\xc0\x3b\x39\x98", b"\xc0\x3b\x39\x99"))
    with pytest.raises(UserError, match=r"wasn't unmounted, and its journal is damaged; e2fsck"):
        import_image(store, "golden", image)
    assert_nothing_published(store)
