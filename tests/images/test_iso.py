"""Live ISOs: the system in them, verified by their own checksums."""

import contextlib
import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netbootd.errors import UserError
from netbootd.images import iso9660
from netbootd.images.importer import import_image
from netbootd.images.iso import root_layers
from netbootd.images.iso9660 import Extent, IsoError
from netbootd.images.store import ImageStore
from tests.images.disks import making
from tests.images.roots import RELEASE, put, small_root
from tests.images.test_importer import assert_nothing_published, assert_special_files, special_files

pytestmark = pytest.mark.needs("xorriso", "mksquashfs")
root_only = pytest.mark.as_root("an image's files belong to many users")


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path / "images")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = small_root(tmp_path / "source")
    put(root, f"lib/modules/{RELEASE}/kernel/empty", "")
    return root


def squashfs(root: Path, path: Path, compression: str = "gzip") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    making.run("mksquashfs", root, path, "-quiet", "-no-progress", "-comp", compression)
    return path


def iso(files: Path, path: Path, *options: str) -> Path:
    """An ISO of the directory, as the distributions make theirs, with the list of its checksums."""
    lines = [
        f"{hashlib.md5(each.read_bytes()).hexdigest()}  ./{each.relative_to(files)}\n"
        for each in sorted(files.rglob("*"))
        if each.is_file()
    ]
    put(files, "md5sum.txt", "".join(lines))
    making.run("xorriso", "-as", "mkisofs", "-quiet", *(options or ("-R", "-J")), "-o", path, files)
    return path


@root_only
def test_debian_live_becomes_an_image(store: ImageStore, root: Path, tmp_path: Path) -> None:
    special_files(root)
    squashfs(root, tmp_path / "cd/live/filesystem.squashfs", "xz")
    source = iso(tmp_path / "cd", tmp_path / "live.iso")
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    generation = import_image(store, "golden", source, sha256=digest)
    assert_special_files(generation.root, 1_000_000_000)
    assert generation.sha256 == digest
    assert generation.origin == "live.iso"
    assert "1 files of the ISO have the checksums that it lists" in generation.remarks
    assert not (generation.directory / "mount").exists()


@root_only
def test_ubuntus_layers_are_laid_over_each_other(store: ImageStore, root: Path, tmp_path: Path) -> None:
    """Its kernel lies beside them; the installer's and the languages' layers are left out."""
    cd = tmp_path / "cd"
    put(cd, "casper/vmlinuz", (root / f"boot/vmlinuz-{RELEASE}").read_bytes())
    (root / f"boot/vmlinuz-{RELEASE}").unlink()
    squashfs(root, cd / "casper/minimal.squashfs")
    upper = tmp_path / "upper"
    put(upper, "usr/share/desktop", "x")
    squashfs(upper, cd / "casper/minimal.standard.squashfs", "zstd")
    squashfs(upper, cd / "casper/minimal.standard.live.squashfs")
    sources = (
        "- default: false\n  id: ubuntu-desktop-minimal\n  path: minimal.squashfs\n  type: fsimage-layered\n"
        "- default: true\n  id: ubuntu-desktop\n  path: minimal.standard.squashfs\n  type: fsimage-layered\n"
    )
    put(cd, "casper/install-sources.yaml", sources)
    generation = import_image(store, "golden", iso(cd, tmp_path / "ubuntu.iso"))
    assert (generation.root / "usr/share/desktop").is_file()
    assert (generation.root / "bin/sh").readlink() == Path("/bin/busybox")
    assert generation.kernel_release == RELEASE
    assert f"the kernel {RELEASE} lay beside the live system" in generation.remarks


@root_only
def test_an_iso_that_was_changed_is_found_by_its_own_checksums(
    store: ImageStore, root: Path, tmp_path: Path
) -> None:
    put(tmp_path / "cd", "pool/package.deb", "the package's content")
    squashfs(root, tmp_path / "cd/live/filesystem.squashfs")
    source = iso(tmp_path / "cd", tmp_path / "live.iso")
    content = source.read_bytes()
    source.write_bytes(content.replace(b"the package's content", b"the package's Content"))
    with pytest.raises(UserError, match=r"is damaged: 1 of its files, 'pool/package\.deb' for one"):
        import_image(store, "golden", source)
    assert_nothing_published(store)


@root_only
def test_an_iso_that_is_cut_short_publishes_nothing(store: ImageStore, root: Path, tmp_path: Path) -> None:
    squashfs(root, tmp_path / "cd/live/filesystem.squashfs")
    source = iso(tmp_path / "cd", tmp_path / "live.iso")
    source.write_bytes(source.read_bytes()[:-600_000])
    with pytest.raises(UserError, match="cut short"):
        import_image(store, "golden", source)
    assert_nothing_published(store)


@root_only
def test_an_installers_iso_says_that_it_is_none(store: ImageStore, tmp_path: Path) -> None:
    put(tmp_path / "cd", "pool/package.deb", "x")
    with pytest.raises(UserError, match=r"no live system on it.*an installer's ISO holds packages"):
        import_image(store, "golden", iso(tmp_path / "cd", tmp_path / "netinst.iso"))
    assert_nothing_published(store)


@pytest.mark.parametrize("options", [("-R",), ("-J",), ("-R", "-J"), ("-iso-level", "3")])
def test_the_files_of_an_iso_are_where_it_says(tmp_path: Path, options: tuple[str, ...]) -> None:
    long = "a_rather_long_name_" * 4 + ".squashfs"
    names = {"live/filesystem.squashfs", "a.txt", "deep/er/and/deeper/b.txt"}
    if "-R" in options:
        names |= {f"live/{long}", f"many/{'n' * 240}"}
    for name in names | {f"many/{number}" for number in range(200)}:
        put(tmp_path / "cd", name, f"content of {name}")
    content = iso(tmp_path / "cd", tmp_path / "a.iso", *options).read_bytes()
    found = iso9660.files(lambda offset, size: content[offset : offset + size])
    assert len(found) == len(names) + 201  # and the list of checksums
    for name in names if options != ("-iso-level", "3") else ["a.txt"]:
        extent = found[name]
        assert content[extent.start : extent.start + extent.size].decode() == f"content of {name}"


def test_which_layers_are_the_system() -> None:
    def there(*names: str) -> dict[str, Extent]:
        return dict.fromkeys(names, Extent(0, 1))

    assert root_layers(there("casper/filesystem.squashfs"), "") == ["casper/filesystem.squashfs"]
    assert root_layers(there("arch/x86_64/airootfs.sfs", "x"), "") == ["arch/x86_64/airootfs.sfs"]
    server = "- default: true\n  path: ubuntu-server-minimal.ubuntu-server.squashfs\n"
    layers = ["casper/ubuntu-server-minimal.squashfs", "casper/ubuntu-server-minimal.ubuntu-server.squashfs"]
    assert (
        root_layers(there(*layers, "casper/ubuntu-server-minimal.ubuntu-server.installer.squashfs"), server)
        == layers
    )
    with pytest.raises(IsoError, match="several live systems: live/a"):
        root_layers(there("live/a.squashfs", "live/b.squashfs"), "")


@given(
    st.binary(min_size=0, max_size=4096),
    st.lists(st.tuples(st.integers(0, 3), st.binary(max_size=255)), max_size=6),
)
def test_whatever_an_iso_holds_only_an_iso_error_comes(junk: bytes, records: list[tuple[int, bytes]]) -> None:
    """Descriptors that are right, and directories of anything."""
    directory = b"".join(bytes([len(tail) + 1 + 33 & 0xFF]) + b"\0" * kind + tail for kind, tail in records)
    root = bytes([34, 0]) + (18).to_bytes(4, "little") + b"\0" * 4 + (2048).to_bytes(4, "little") + bytes(20)
    primary = (b"\1CD001\1" + bytes(149) + root).ljust(2048, b"\0")
    content = (
        bytes(16 * 2048) + primary + b"\xffCD001".ljust(2048, b"\0") + (directory + junk).ljust(2048, b"\0")
    )
    with contextlib.suppress(IsoError):
        iso9660.files(lambda offset, size: content[offset : offset + size])
