"""Module trees: made ones with every oddity, and Debian's own kernel, with depmod and modprobe as judges."""

import gzip
import lzma
import subprocess
from pathlib import Path

import pytest

from netbootd.errors import UserError
from netbootd.images import cards, driver_tables
from netbootd.images.kernel_modules import ModuleTree, builtin_options
from netbootd.images.selection import select
from tests.images import elf_files, kernel
from tests.images.roots import put

RELEASE = "6.1.0-test"


def put_module(root: Path, path: str, *info: tuple[str, str], suffix: str = "") -> None:
    content = elf_files.module([("name", Path(path).name), *info])
    if suffix == ".xz":
        content = lzma.compress(content, check=lzma.CHECK_CRC32)
    elif suffix == ".gz":
        content = gzip.compress(content)
    elif suffix == ".zst":
        content = subprocess.run(["zstd", "-qc"], input=content, capture_output=True, check=True).stdout
    put(root, f"lib/modules/{RELEASE}/{path}.ko{suffix}", content)


@pytest.mark.needs("zstd")
def test_modules_are_read_however_they_are_compressed(tmp_path: Path) -> None:
    for suffix in ("", ".xz", ".gz", ".zst"):
        put_module(
            tmp_path, f"kernel/m{suffix[1:]}", ("depends", "a,b-c"), ("firmware", "f.bin"), suffix=suffix
        )
    tree = ModuleTree.of(tmp_path, RELEASE)
    for name in ("m", "mxz", "mgz", "mzst"):
        assert tree.get(name).depends == ("a", "b_c")
        assert tree.get(name).firmware == ("f.bin",)
        assert tree.get(name).content.startswith(b"\x7fELF")


def test_what_a_module_needs_is_loaded_before_it_and_soft_dependencies_too(tmp_path: Path) -> None:
    put_module(tmp_path, "kernel/top", ("depends", "mid"), ("softdep", "pre: phy-driver post: late"))
    put_module(tmp_path, "kernel/mid", ("depends", "base,fixed"))
    put_module(tmp_path, "kernel/base")
    put_module(tmp_path, "kernel/phy-driver", ("depends", "base"))
    put_module(tmp_path, "kernel/late", ("softdep", "pre: top"))
    put(tmp_path, f"lib/modules/{RELEASE}/modules.builtin", "kernel/x/fixed.ko\n")
    assert ModuleTree.of(tmp_path, RELEASE).order("top") == ["base", "phy_driver", "mid", "top", "late"]


def test_a_soft_dependency_by_alias_is_found_in_modules_alias(tmp_path: Path) -> None:
    put_module(tmp_path, "kernel/libcrc", ("softdep", "pre: crypto-crc32c"))
    put_module(tmp_path, "kernel/crc32c_generic")
    put(
        tmp_path,
        f"lib/modules/{RELEASE}/modules.alias",
        "# x\nalias crypto-crc32c* crc32c_generic\nalias crypto-md5 md5\n",
    )
    assert ModuleTree.of(tmp_path, RELEASE).order("libcrc") == ["crc32c_generic", "libcrc"]


def test_a_dependency_that_is_nowhere_is_named(tmp_path: Path) -> None:
    put_module(tmp_path, "kernel/card", ("depends", "gone"))
    with pytest.raises(UserError, match="card needs gone"):
        ModuleTree.of(tmp_path, RELEASE).order("card")


def test_what_an_administrator_added_stands_before_what_the_kernel_came_with(tmp_path: Path) -> None:
    put_module(tmp_path, "kernel/net/r8168", ("version", "old"))
    put_module(tmp_path, "updates/dkms/r8168", ("depends", "new"))
    assert ModuleTree.of(tmp_path, RELEASE).get("r8168").depends == ("new",)


@pytest.mark.parametrize("content", [b"", b"no elf", b"\xfd7zXZ\x00broken"])
def test_a_damaged_module_is_named_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = put(tmp_path, f"lib/modules/{RELEASE}/kernel/bad.ko.xz", content)
    with pytest.raises(UserError, match=str(path)):
        ModuleTree.of(tmp_path, RELEASE).get("bad")


def test_links_in_the_tree_lead_nowhere(tmp_path: Path) -> None:
    """`build` and `source` are links out of it; a module that is a link isn't followed."""
    put(tmp_path, "elsewhere/evil.ko", elf_files.module([]))
    put_module(tmp_path / "root", "kernel/good")
    (tmp_path / f"root/lib/modules/{RELEASE}/kernel/evil.ko").symlink_to(tmp_path / "elsewhere/evil.ko")
    (tmp_path / f"root/lib/modules/{RELEASE}/build").symlink_to(tmp_path / "elsewhere")
    tree = ModuleTree.of(tmp_path / "root", RELEASE)
    assert "good" in tree
    assert "evil" not in tree


@pytest.mark.parametrize("packer", ["xz", "gz", "zst"])
@pytest.mark.needs("zstd")
def test_a_module_that_unpacks_to_gigabytes_is_refused(tmp_path: Path, packer: str) -> None:
    zeros = bytes(80 << 20)
    path = tmp_path / f"lib/modules/{RELEASE}/kernel/bomb.ko.{packer}"
    path.parent.mkdir(parents=True)
    if packer == "zst":
        path.write_bytes(
            subprocess.run(["zstd", "-qc1"], input=zeros, capture_output=True, check=True).stdout
        )
    else:
        path.write_bytes(gzip.compress(zeros, 1) if packer == "gz" else lzma.compress(zeros, preset=0))
    with pytest.raises(UserError, match="can't be read"):
        ModuleTree.of(tmp_path, RELEASE).get("bomb")


def test_a_file_with_an_odd_name_is_no_module(tmp_path: Path) -> None:
    put_module(tmp_path, "kernel/drivers/clk/$(reboot)")
    put_module(tmp_path, "kernel/drivers/clk/clk-good")
    assert ModuleTree.of(tmp_path, RELEASE).under(("kernel/drivers/clk/",)) == ["clk_good"]


def test_lists_that_are_no_ordinary_files_are_passed_over(tmp_path: Path) -> None:
    """A link to /dev/zero would be read for ever."""
    put_module(tmp_path, "kernel/m", ("softdep", "pre: crypto-x"))
    for name in ("modules.alias", "modules.builtin"):
        (tmp_path / f"lib/modules/{RELEASE}" / name).symlink_to("/dev/zero")
    (tmp_path / "boot").mkdir()
    (tmp_path / f"boot/config-{RELEASE}").symlink_to("/dev/zero")
    assert ModuleTree.of(tmp_path, RELEASE).order("m") == ["m"]
    assert builtin_options(tmp_path, RELEASE) == frozenset()


def test_a_kernel_without_modules_has_an_empty_tree(tmp_path: Path) -> None:
    tree = ModuleTree.of(tmp_path, RELEASE)
    assert tree.machine is None
    assert tree.present(["nfs"]) == []


def test_only_what_is_y_counts_as_built_in(tmp_path: Path) -> None:
    put(
        tmp_path,
        f"boot/config-{RELEASE}",
        "CONFIG_NFS_FS=y\nCONFIG_OVERLAY_FS=m\n# CONFIG_RD_ZSTD is not set\n",
    )
    assert builtin_options(tmp_path, RELEASE) == {"NFS_FS"}


# ---- Debian's kernel: real modules, judged by kmod


@pytest.fixture(scope="module")
def debian(request: pytest.FixtureRequest) -> tuple[Path, str]:
    return kernel.unpacked_kernel(request.config)


@pytest.mark.slow
@pytest.mark.needs("depmod", "modprobe", "apt-get", "dpkg-deb")
def test_the_orders_of_a_real_kernel_agree_with_modules_dep(debian: tuple[Path, str]) -> None:
    root, release = debian
    tree = ModuleTree.of(root, release)
    needed = {}
    for line in (root / f"lib/modules/{release}/modules.dep").read_text().splitlines():
        path, _, rest = line.partition(":")
        needed[_name(path)] = {_name(word) for word in rest.split()}
    selection = select(root, release, tree, [], fast_cards=True, options=builtin_options(root, release))
    assert {"virtio_net", "e1000e", "r8169", "mlx5_core", "nfsv4", "overlay"} <= set(selection.names)
    for name, order in selection.orders.items():
        assert needed[name] <= set(order), name
        for position, module in enumerate(order):
            assert needed[module] <= set(order[:position]), f"{module} in the order of {name}"


@pytest.mark.slow
@pytest.mark.needs("depmod", "modprobe", "apt-get", "dpkg-deb", "dash")
def test_real_devices_get_the_drivers_that_modprobe_would_give_them(
    debian: tuple[Path, str], tmp_path: Path
) -> None:
    root, release = debian
    tree = ModuleTree.of(root, release)
    names = select(root, release, tree, [], fast_cards=True, options=builtin_options(root, release)).names
    tables = driver_tables.alias_tables({n: tree.get(n).aliases for n in names}, frozenset(cards.USB_HOSTS))
    script = "".join(tables.values()) + (
        'for each; do drivers= later=; bus=${each%%:*}; "match_$bus" "$each"; echo "$drivers $later"; done'
    )
    devices = REAL_DEVICES.split()
    answers = subprocess.run(
        ["dash", "-c", script, "sh", *devices], capture_output=True, text=True, check=True
    )
    for device, answer in zip(devices, answers.stdout.split("\n"), strict=False):
        command = ["modprobe", "-d", str(root), "-S", release, "--resolve-alias", device]
        resolved = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
        assert set(answer.split()) == {name.replace("-", "_") for name in resolved} & set(names), device
        assert answer.strip(), f"no driver for {device}"


@pytest.mark.slow
@pytest.mark.needs("modinfo", "apt-get", "dpkg-deb", "depmod")
@pytest.mark.parametrize("name", ["r8169", "tg3", "overlay"])
def test_a_real_module_says_what_modinfo_says(debian: tuple[Path, str], name: str) -> None:
    root, release = debian
    module = ModuleTree.of(root, release).get(name)
    for field, value in (("firmware", module.firmware), ("alias", module.aliases)):
        command = ["modinfo", "-b", str(root), "-k", release, "-F", field, name]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert list(value) == said.splitlines()


def _name(path: str) -> str:
    return Path(path).name.removesuffix(".ko").replace("-", "_")


REAL_DEVICES = """
pci:v00001AF4d00001000sv00001AF4sd00000001bc02sc00i00
virtio:d00000001v00001AF4
pci:v00008086d0000100Esv00001AF4sd00001100bc02sc00i00
pci:v00008086d000010D3sv00008086sd00000000bc02sc00i00
pci:v00008086d00001533sv000015D9sd00001533bc02sc00i00
pci:v00008086d000015F3sv00001043sd000087D2bc02sc00i00
pci:v00008086d00001563sv000015D9sd00001563bc02sc00i00
pci:v00008086d00001572sv00008086sd00000002bc02sc00i00
pci:v000010ECd00008168sv00001043sd00008505bc02sc00i00
pci:v000010ECd00008125sv00001849sd00008125bc02sc00i00
pci:v000010ECd00008139sv00001AF4sd00001100bc02sc00i00
pci:v000014E4d00001657sv0000103Csd0000169Dbc02sc00i00
pci:v000015B3d00001017sv000015B3sd00000020bc02sc00i00
pci:v000015B3d00001003sv000015B3sd00000055bc02sc00i00
pci:v000014E4d000016D7sv000014E4sd00001402bc02sc00i00
pci:v000019A2d00000700sv000010DFsd0000E602bc02sc00i00
pci:v000015ADd000007B0sv000015ADsd000007B0bc02sc00i00
pci:v000010DEd00000373sv000010DEsd0000CB84bc02sc00i00
pci:v000011ABd00004364sv000011ABsd00000110bc02sc00i00
pci:v00001D6Ad000007B1sv00001849sd000007B1bc02sc00i00
pci:v00008086d0000A36Dsv00001849sd0000A36Dbc0Csc03i30
usb:v0424pEC00d0200dcFFdsc00dp01icFFisc00ipFFin00
usb:v0424p7800d0300dcFFdsc00dpFFicFFisc00ipFFin00
usb:v0B95p1790d0100dcFFdscFFdp00icFFiscFFip00in00
usb:v0BDAp8153d3100dc00dsc00dp00icFFiscFFip00in00
mdio:00000000000111001100100100010110
"""
"""As in /sys of: QEMU, e1000, 82574L, I210, I225, X550, X710, RTL8168, RTL8125, RTL8139, BCM5719, ConnectX-5
and -3, BCM57414, OneConnect, vmxnet3, nForce, Yukon, AQC107, an xHCI host; Raspberry Pi 1 and 3+, AX88179,
RTL8153, a PHY."""
