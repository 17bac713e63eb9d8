"""The small initrd as a whole: built, unpacked again by zstd, gzip and cpio, and looked through."""

import subprocess
from pathlib import Path

import pytest

from netbootd.errors import HostError, UserError
from netbootd.images import initrd, node_init
from tests.images import elf_files, kernel
from tests.images.roots import RELEASE, put, small_root

pytestmark = pytest.mark.needs("cpio", "zstd", "busybox")

MIB = 1 << 20


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An image whose kernel has its file systems built in, and three modules of cards."""
    made = small_root(tmp_path / "root")
    put_module(made, "kernel/drivers/net/e1000", ("alias", "pci:v00008086d0000100Esv*sd*bc*sc*i*"))
    put_module(made, "kernel/drivers/net/r8169", ("depends", "realtek"), ("firmware", "rtl_nic/a.fw"))
    put_module(made, "kernel/drivers/net/phy/realtek", ("firmware", "rtl_nic/big.fw"))
    put_module(made, "kernel/drivers/net/bnx2", ("firmware", "bnx2/mips.fw"))
    put_module(made, "kernel/drivers/net/exotic", ("alias", "pci:v0000BEEFd*sv*sd*bc*sc*i*"))
    return made


def put_module(root: Path, path: str, *info: tuple[str, str]) -> None:
    put(root, f"lib/modules/{RELEASE}/{path}.ko", elf_files.module([("name", Path(path).name), *info]))


def unpack(path: Path, where: Path) -> Path:
    """What the kernel would make of it; devices are left out, they need root."""
    where.mkdir()
    command = "zstd" if path.read_bytes().startswith(b"\x28\xb5\x2f\xfd") else "gzip"
    plain = subprocess.run([command, "-dc", path], capture_output=True, check=True).stdout
    subprocess.run(["cpio", "-idm", "--quiet", "-f", "dev/*"], input=plain, cwd=where, check=True)
    return where


def test_it_holds_node_init_a_shell_and_the_modules_that_are_there(root: Path, tmp_path: Path) -> None:
    report = initrd.build(root, RELEASE, tmp_path / "initrd")
    inside = unpack(tmp_path / "initrd", tmp_path / "inside")
    assert (inside / "init").read_bytes() == node_init()
    assert (inside / "init").stat().st_mode & 0o111
    assert (inside / "bin/sh").resolve() == inside / "usr/bin/busybox"
    assert report.modules == ("e1000", "r8169", "realtek")
    assert sorted(path.stem for path in (inside / "lib/modules").iterdir()) == ["e1000", "r8169", "realtek"]
    assert report.size == (tmp_path / "initrd").stat().st_size
    assert report.shell == "busybox"
    assert "bnx2" in " ".join(report.remarks)


def test_the_same_image_gives_the_same_initrd(root: Path, tmp_path: Path) -> None:
    for name in ("one", "other"):
        initrd.build(root, RELEASE, tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


@pytest.mark.parametrize("zstd", [False, True])
def test_what_an_older_one_holds_is_not_compressed_again(root: Path, tmp_path: Path, zstd: bool) -> None:
    if zstd:
        with (root / f"boot/config-{RELEASE}").open("a") as file:
            file.write("CONFIG_RD_ZSTD=y\n")
    one, older, other = (tmp_path / name for name in ("one", "older", "other"))
    initrd.build(root, RELEASE, one)
    tool = "zstd" if zstd else "gzip"
    plain = subprocess.run([tool, "-dc", one], capture_output=True, check=True).stdout
    older.write_bytes(subprocess.run([tool, "-1"], input=plain, capture_output=True, check=True).stdout)
    initrd.build(root, RELEASE, other, older=older)
    assert other.read_bytes() == older.read_bytes() != one.read_bytes()
    for damaged in (older.read_bytes()[:-9], b"", older.read_bytes() + b"more", plain):
        older.write_bytes(damaged)
        initrd.build(root, RELEASE, other, older=older)
        assert other.read_bytes() == one.read_bytes()
    initrd.build(root, RELEASE, other, older=tmp_path / "none")
    assert other.read_bytes() == one.read_bytes()


def test_it_is_gzip_unless_the_kernel_says_that_it_can_zstd(root: Path, tmp_path: Path) -> None:
    assert initrd.build(root, RELEASE, tmp_path / "initrd").compression == "gzip"
    config = root / f"boot/config-{RELEASE}"
    config.write_text(config.read_text() + "CONFIG_RD_ZSTD=y\n")
    assert initrd.build(root, RELEASE, tmp_path / "initrd").compression == "zstd"


def test_it_is_gzip_where_the_head_node_has_no_zstd(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = root / f"boot/config-{RELEASE}"
    config.write_text(config.read_text() + "CONFIG_RD_ZSTD=y\n")
    monkeypatch.setenv("PATH", "/nowhere")
    assert initrd.build(root, RELEASE, tmp_path / "initrd").compression == "gzip"


def test_firmware_comes_along_small_files_first_and_bounded(root: Path, tmp_path: Path) -> None:
    put(root, "lib/firmware/rtl_nic/a.fw.xz", b"a" * 100)
    put(root, "lib/firmware/rtl_nic/big.fw", b"b" * 5000)
    put(root, "lib/firmware/bnx2/mips.fw", b"c" * 200)
    put(root, "lib/firmware/unasked.fw", b"d")
    report = initrd.build(root, RELEASE, tmp_path / "initrd", firmware_limit=1000)
    assert report.firmware == ("bnx2/mips.fw", "rtl_nic/a.fw.xz")
    assert "bnx2" in report.modules
    assert any("rtl_nic/big.fw" in remark for remark in report.remarks)
    assert (
        unpack(tmp_path / "initrd", tmp_path / "inside") / "lib/firmware/rtl_nic/a.fw.xz"
    ).read_bytes() == b"a" * 100


def test_firmware_of_a_kernel_release_stands_before_the_general_one(root: Path, tmp_path: Path) -> None:
    put(root, "lib/firmware/rtl_nic/a.fw", b"general")
    put(root, f"lib/firmware/{RELEASE}/rtl_nic/a.fw", b"special")
    initrd.build(root, RELEASE, tmp_path / "initrd")
    assert (
        unpack(tmp_path / "initrd", tmp_path / "inside") / "lib/firmware/rtl_nic/a.fw"
    ).read_bytes() == b"special"


def test_a_firmware_name_that_leads_out_finds_nothing(root: Path, tmp_path: Path) -> None:
    put(tmp_path, "secret", "x")
    put(root, "secret", "x")
    put_module(
        root, "kernel/drivers/net/e1000", ("firmware", "../../secret"), ("firmware", "../../../secret")
    )
    assert initrd.build(root, RELEASE, tmp_path / "initrd").firmware == ()


def test_more_modules_can_be_asked_for(root: Path, tmp_path: Path) -> None:
    report = initrd.build(root, RELEASE, tmp_path / "initrd", extra_modules=["exotic"])
    assert "exotic" in report.modules
    with pytest.raises(UserError, match="no module nonesuch"):
        initrd.build(root, RELEASE, tmp_path / "initrd", extra_modules=["nonesuch"])


def test_a_driver_that_can_not_be_loaded_is_left_out_with_a_word(root: Path, tmp_path: Path) -> None:
    put_module(root, "kernel/drivers/net/igb", ("depends", "gone"))
    report = initrd.build(root, RELEASE, tmp_path / "initrd")
    assert "igb" not in report.modules
    assert any("igb needs gone" in remark for remark in report.remarks)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ("CONFIG_NFS_FS=y\n", "no overlay"),
        ("CONFIG_OVERLAY_FS=y\nCONFIG_NFS_FS=m\n", "no nfs"),
        ("CONFIG_X=y\n", "no nfs and no overlay"),
    ],
)
def test_a_kernel_without_nfs_or_overlayfs_is_refused(
    root: Path, tmp_path: Path, config: str, says: str
) -> None:
    (root / f"boot/config-{RELEASE}").write_text(config)
    with pytest.raises(UserError, match=says):
        initrd.build(root, RELEASE, tmp_path / "initrd")
    assert not (tmp_path / "initrd").exists()


def test_a_kernel_of_which_nothing_is_known_is_used_with_a_word(root: Path, tmp_path: Path) -> None:
    (root / f"boot/config-{RELEASE}").unlink()
    assert any(
        "nothing tells" in remark for remark in initrd.build(root, RELEASE, tmp_path / "initrd").remarks
    )


@pytest.mark.parametrize(
    ("options", "squashfs", "lacks"),
    [
        ("SQUASHFS SQUASHFS_ZLIB SQUASHFS_XZ SQUASHFS_ZSTD BLK_DEV_LOOP", "zstd", ""),
        ("SQUASHFS SQUASHFS_ZLIB SQUASHFS_XZ BLK_DEV_LOOP", "xz", ""),
        ("SQUASHFS BLK_DEV_LOOP", "gzip", ""),
        ("SQUASHFS SQUASHFS_ZSTD", "", "has no loop"),
        ("", "", "has no squashfs and no loop"),
    ],
)
def test_whether_a_node_can_keep_the_image_in_memory_is_known_and_how_it_is_packed(
    root: Path, tmp_path: Path, options: str, squashfs: str, lacks: str
) -> None:
    built_in = frozenset(("NFS_FS", "OVERLAY_FS", *options.split()))
    report = initrd.build(root, RELEASE, tmp_path / "initrd", built_in=built_in)
    assert report.squashfs == squashfs
    said = [remark for remark in report.remarks if remark.startswith("no root mode ram: ")]
    assert len(said) == bool(lacks)
    assert all(lacks in remark for remark in said)


def test_modules_serve_as_well_as_what_is_built_in(root: Path, tmp_path: Path) -> None:
    for path in ("fs/squashfs/squashfs", "drivers/block/loop"):
        put_module(root, f"kernel/{path}")
    report = initrd.build(root, RELEASE, tmp_path / "initrd")
    assert report.squashfs
    assert {"squashfs", "loop"} <= set(report.modules)


def test_a_kernel_with_everything_built_in_needs_no_modules(tmp_path: Path) -> None:
    report = initrd.build(small_root(tmp_path / "root"), RELEASE, tmp_path / "initrd")
    assert report.modules == ()
    inside = unpack(tmp_path / "initrd", tmp_path / "inside")
    assert not (inside / "usr/bin/modprobe").exists()


def test_where_it_can_not_be_written_the_error_says_so(root: Path, tmp_path: Path) -> None:
    (tmp_path / "initrd").mkdir()
    with pytest.raises(HostError, match="initrd can't be written"):
        initrd.build(root, RELEASE, tmp_path / "initrd")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.slow
@pytest.mark.needs("apt-get", "dpkg-deb", "depmod")
def test_for_debians_kernel_it_stays_small(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    debian, release = kernel.unpacked_kernel(request.config)
    root = small_root(tmp_path / "root")
    (root / "lib/modules").symlink_to("/usr/lib/modules")
    (root / "usr/lib").mkdir(exist_ok=True)
    subprocess.run(["cp", "-a", debian / "lib/modules", root / "usr/lib/modules"], check=True)
    subprocess.run(["cp", debian / f"boot/config-{release}", root / "boot"], check=True)
    report = initrd.build(root, release, tmp_path / "initrd")
    assert report.size < 6.5 * MIB
    assert {"virtio_net", "e1000e", "igb", "r8169", "tg3", "mlx5_core", "nfsv3", "nfsv4"} <= set(
        report.modules
    )
