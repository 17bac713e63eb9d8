"""Importing archives and directories: a root file system survives whole, what is hostile is refused whole."""

import gzip
import hashlib
import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from netbootd.errors import HostError, UserError
from netbootd.images import checksums
from netbootd.images.importer import import_image
from netbootd.images.store import ImageStore
from tests.images.roots import RELEASE, put, small_root

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: files are made for many users")


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path / "images")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return small_root(tmp_path / "source")


def tar_of(root: Path, archive: Path, *options: str) -> Path:
    """What GNU tar makes of a directory."""
    command = ["tar", "--create", f"--file={archive}", f"--directory={root}", *options, "."]
    subprocess.run(command, check=True)
    return archive


def assert_nothing_published(store: ImageStore) -> None:
    assert store.names() == []
    assert [path.name for path in store.directory.iterdir() if path.name != ".lock"] == []


@contextmanager
def mounted(kind: str, directory: Path, options: str) -> Iterator[Path]:
    """A file system in memory."""
    directory.mkdir()
    command = ["mount", "-t", kind, "-o", options, kind, str(directory)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        pytest.skip(f"can't mount a {kind} here: {result.stderr.strip()}")
    try:
        yield directory
    finally:
        subprocess.run(["umount", str(directory)], check=True)


PACKERS = {
    ".tar": [],
    ".tar.gz": ["--gzip"],
    ".tar.xz": ["--xz"],
    ".tar.zst": ["--zstd"],
    ".tar.bz2": ["--bzip2"],
    ".tar.lz4": ["--use-compress-program=lz4"],
}


@pytest.mark.parametrize("suffix", PACKERS)
def test_an_archive_becomes_an_image(store: ImageStore, root: Path, tmp_path: Path, suffix: str) -> None:
    archive = tar_of(root, tmp_path / f"golden{suffix}", *PACKERS[suffix])
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    generation = import_image(store, "golden", archive, sha256=digest.upper())
    assert store.current("golden") == generation
    assert generation.label == "golden@1"
    assert generation.origin == f"golden{suffix}"
    assert generation.sha256 == digest
    assert generation.kernel_release == RELEASE
    assert generation.architecture == os.uname().machine
    assert (generation.boot / "vmlinuz").read_bytes() == (root / f"boot/vmlinuz-{RELEASE}").read_bytes()
    assert (generation.boot / "initrd").stat().st_size > 10_000
    assert "host name 'golden' removed: each node gets its own" in generation.remarks
    assert (generation.root / "bin/sh").readlink() == Path("/bin/busybox")
    assert {path.stat().st_mode & 0o777 for path in generation.boot.iterdir()} == {0o644}
    assert generation.root.stat().st_mode & 0o777 == 0o755


def test_a_name_says_nothing_about_how_a_file_is_packed(
    store: ImageStore, root: Path, tmp_path: Path
) -> None:
    archive = tar_of(root, tmp_path / "golden.tar", "--gzip")
    assert import_image(store, "golden", archive).number == 1


def special_files(root: Path) -> None:
    """All that a root file system may hold beside plain files."""
    srv = root / "srv"
    srv.mkdir()
    (srv / "plain").write_text("plain")
    os.chown(srv / "plain", 1234, 4_000_000_000)
    (srv / "plain").chmod(0o4750)
    os.utime(srv / "plain", (1_000_000_000.25, 1_000_000_000.25))
    os.setxattr(srv / "plain", "user.note", b"a\0b\xff\n=")
    (srv / "one").write_text("linked")
    os.link(srv / "one", srv / "other")
    (srv / "absolute").symlink_to("/etc/hostname")
    (srv / "relative").symlink_to("../etc/hostname")
    os.chown(srv / "relative", 12, 34, follow_symlinks=False)
    with (srv / "sparse").open("wb") as file:
        file.truncate(64 << 20)
        file.seek(10 << 20)
        file.write(b"in the middle")
    os.mkfifo(srv / "pipe")
    os.mknod(root / "dev/null", 0o20666, os.makedev(1, 3))
    (root / "dev/null").chmod(0o666)
    os.mknod(root / "dev/sda", 0o60660, os.makedev(8, 0))
    (srv / "sticky").mkdir()
    (srv / "sticky").chmod(0o3777)
    (srv / "ümläut \n").write_text("odd name")
    (srv / "capable").write_bytes(b"x")
    # cap_net_raw+ep: VFS_CAP_REVISION_2 with the effective bit, linux/capability.h.
    os.setxattr(srv / "capable", "security.capability", bytes.fromhex("0100000200200000" + "00" * 12))
    os.utime(srv, (1_100_000_000, 1_100_000_000))


def assert_special_files(root: Path, time: float = 1_000_000_000.25, *, holes: bool = True) -> None:
    srv = root / "srv"
    plain = (srv / "plain").stat()
    assert (plain.st_uid, plain.st_gid, plain.st_mode & 0o7777) == (1234, 4_000_000_000, 0o4750)
    assert plain.st_mtime == time
    assert os.getxattr(srv / "plain", "user.note") == b"a\0b\xff\n="
    assert (srv / "one").stat().st_ino == (srv / "other").stat().st_ino
    assert (srv / "absolute").readlink() == Path("/etc/hostname")
    assert (srv / "relative").readlink() == Path("../etc/hostname")
    assert ((srv / "relative").lstat().st_uid, (srv / "relative").lstat().st_gid) == (12, 34)
    sparse = (srv / "sparse").stat()
    assert (sparse.st_size, sparse.st_blocks * 512 < 1 << 20) == (64 << 20, holes)
    assert (srv / "sparse").read_bytes()[10 << 20 :].startswith(b"in the middle")
    assert (srv / "pipe").is_fifo()
    assert (root / "dev/null").stat().st_rdev == os.makedev(1, 3)
    assert (root / "dev/null").stat().st_mode == 0o20666
    assert (root / "dev/sda").is_block_device()
    assert (srv / "sticky").stat().st_mode & 0o7777 == 0o3777
    assert (srv / "ümläut \n").read_text() == "odd name"
    assert os.getxattr(srv / "capable", "security.capability").hex() == "0100000200200000" + "00" * 12
    assert srv.stat().st_mtime == 1_100_000_000


def test_what_a_root_consists_of_survives_a_directory(store: ImageStore, root: Path) -> None:
    special_files(root)
    assert_special_files(root)
    generation = import_image(store, "golden", root)
    assert_special_files(generation.root)
    assert generation.origin == f"directory {root}"


@pytest.mark.parametrize(
    "options", [["--format=posix", "--sparse-version=1.0"], ["--format=posix", "--sparse-version=0.1"]]
)
def test_what_a_root_consists_of_survives_gnu_tar(
    store: ImageStore, root: Path, tmp_path: Path, options: list[str]
) -> None:
    special_files(root)
    archive = tar_of(root, tmp_path / "a.tar.gz", "-z", "-S", "--xattrs", "--xattrs-include=*", *options)
    assert_special_files(import_image(store, "golden", archive).root)


def test_holes_in_gnus_own_format_stay_holes(store: ImageStore, root: Path, tmp_path: Path) -> None:
    with (root / "sparse").open("wb") as file:
        file.truncate(300 << 20)
        for position in range(0, 300, 7):  # more pieces than fit into the first header
            file.seek(position << 20)
            file.write(bytes([position % 251]) * 4096)
    generation = import_image(store, "golden", tar_of(root, tmp_path / "a.tar", "-S", "--format=gnu"))
    copy = generation.root / "sparse"
    assert copy.stat().st_blocks * 512 < 2 << 20
    subprocess.run(["cmp", root / "sparse", copy], check=True)


def test_access_lists_survive_a_directory(store: ImageStore, root: Path) -> None:
    # ACL_USER_OBJ rwx, ACL_USER 1000 r-x, ACL_GROUP_OBJ r-x, ACL_MASK r-x, ACL_OTHER ---; version 2
    entries = [(1, 7, 0xFFFFFFFF), (2, 5, 1000), (4, 5, 0xFFFFFFFF), (16, 5, 0xFFFFFFFF), (32, 0, 0xFFFFFFFF)]
    acl = (2).to_bytes(4, "little") + b"".join(
        tag.to_bytes(2, "little") + rights.to_bytes(2, "little") + who.to_bytes(4, "little")
        for tag, rights, who in entries
    )
    (root / "srv").mkdir()
    try:
        os.setxattr(root / "srv", "system.posix_acl_access", acl)
    except OSError:
        pytest.skip("the file system here has no access control lists")
    generation = import_image(store, "golden", root)
    assert os.getxattr(generation.root / "srv", "system.posix_acl_access") == acl


def test_importing_does_not_take_in_the_images_themselves(root: Path) -> None:
    store = ImageStore(root / "var/lib/netbootd/images")
    import_image(store, "golden", root)
    generation = import_image(store, "golden", root)
    assert not (generation.root / "var/lib/netbootd/images").exists()


def test_attributes_that_the_disk_does_not_know_are_told(root: Path, tmp_path: Path) -> None:
    os.setxattr(root / "etc/hostname", "user.note", b"x")
    with mounted("ramfs", tmp_path / "ramfs", "mode=755") as disk:
        generation = import_image(ImageStore(disk / "images"), "golden", root)
        assert "1 files had extended attributes" in generation.remarks[0]


def test_overlayfs_own_notes_are_not_taken_over(store: ImageStore, root: Path, tmp_path: Path) -> None:
    (root / "srv").mkdir()
    os.setxattr(root / "srv", "trusted.overlay.opaque", b"y")
    archive = tar_of(root, tmp_path / "a.tar", "--format=posix", "--xattrs", "--xattrs-include=*")
    assert b"trusted.overlay.opaque" in archive.read_bytes()
    generation = import_image(store, "golden", archive)
    assert os.listxattr(generation.root / "srv") == []


# What somebody may send


def member(name: str, kind: bytes = tarfile.REGTYPE, **values: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    for key, value in values.items():
        setattr(info, key, value)
    return info


EVIL = {
    "an absolute path": ([member("/etc/cron.d/evil")], "/etc/cron.d/evil has an absolute path"),
    "a path that climbs": ([member("a/../../evil")], "climbs with .."),
    "a path that is only dots": ([member("..", tarfile.DIRTYPE)], "climbs with .."),
    "a link that climbs": (
        [member("etc/link", tarfile.SYMTYPE, linkname="../../outside")],
        "etc/link is a link that leaves the root: '../../outside'",
    ),
    "a link that climbs late": (
        [member("link", tarfile.SYMTYPE, linkname="usr/../../outside")],
        "a link that leaves the root",
    ),
    "a hard link to an absolute path": (
        [member("link", tarfile.LNKTYPE, linkname="/etc/passwd")],
        "link is a hard link, and its target has an absolute path",
    ),
    "a hard link that climbs": (
        [member("link", tarfile.LNKTYPE, linkname="../../etc/passwd")],
        "its target has a path that climbs",
    ),
    "a hard link to nothing": (
        [member("link", tarfile.LNKTYPE, linkname="etc/passwd")],
        "a hard link to what the archive lacks",
    ),
    "a disk's device node outside of /dev": (
        [member("home/disk", tarfile.BLKTYPE, devmajor=8, devminor=0, mode=0o666)],
        "home/disk is a device node outside of /dev",
    ),
    "a file where a directory is": (
        [member("etc", tarfile.DIRTYPE, mode=0o755), member("etc")],
        "etc can't be unpacked",
    ),
    "a file below a file": ([member("etc"), member("etc/passwd")], "etc/passwd can't be unpacked"),
    "a kind that nobody knows": ([member("what", b"Q")], "unknown kind"),
    "a path deeper than any": ([member("/".join(["d"] * 300))], "lies too deep"),
    "a path that could rewrite the terminal": (
        [member("\x1b[2J/../x")],
        "\\x1b[2J/../x has a path that climbs",
    ),
}


def archive_of(path: Path, members: list[tarfile.TarInfo]) -> Path:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for info in members:
            tar.addfile(info, io.BytesIO(b"x" * info.size))
    return path


@pytest.mark.parametrize("what", EVIL)
def test_refused_as_a_whole(store: ImageStore, tmp_path: Path, what: str) -> None:
    members, why = EVIL[what]
    good = [member("good", size=5)]
    with pytest.raises(UserError) as raised:
        import_image(store, "golden", archive_of(tmp_path / "evil.tar", [*good, *members, *good]))
    assert why in raised.value.message
    assert_nothing_published(store)


def test_writing_through_a_link_stays_in_the_image(store: ImageStore, tmp_path: Path) -> None:
    target = tmp_path / "head"
    target.mkdir()
    through = [member("etc", tarfile.SYMTYPE, linkname=str(target)), member("etc/evil", size=3)]
    with pytest.raises(UserError, match="etc/evil can't be unpacked"):
        import_image(store, "golden", archive_of(tmp_path / "evil.tar", through))
    # The same where the image has a directory of that name, which is then the one that is written to.
    own = member(str(target).lstrip("/"), tarfile.DIRTYPE, mode=0o755)
    with pytest.raises(UserError, match="no /bin/sh"):
        import_image(store, "golden", archive_of(tmp_path / "evil.tar", [own, *through]))
    assert list(target.iterdir()) == []
    assert_nothing_published(store)


def test_a_link_replaced_by_a_file_is_not_written_through(
    store: ImageStore, root: Path, tmp_path: Path
) -> None:
    archive = tar_of(root, tmp_path / "a.tar")
    with tarfile.open(archive, "a") as tar:
        tar.addfile(member("./srv/kept", size=4), io.BytesIO(b"kept"))
        tar.addfile(member("./srv/link", tarfile.SYMTYPE, linkname="kept"))
        tar.addfile(member("./srv/link", size=3), io.BytesIO(b"new"))
    generation = import_image(store, "golden", archive)
    assert (generation.root / "srv/kept").read_text() == "kept"
    assert (generation.root / "srv/link").read_text() == "new"


def truncated(root: Path, tmp_path: Path) -> Iterator[tuple[str, bytes]]:
    whole = tar_of(root, tmp_path / "whole.tar").read_bytes()
    packed = tar_of(root, tmp_path / "whole.tar.gz", "-z").read_bytes()
    end = len(whole.rstrip(b"\0"))
    with tarfile.open(tmp_path / "whole.tar") as tar:
        header = tar.getmembers()[5].offset
    yield "in a file's data", whole[: len(whole) // 2]
    yield "before its end mark", whole[: -(-end // 512) * 512]
    yield "in a packed file", packed[: len(packed) // 2]
    yield "with a header overwritten", whole[:header] + b"\xee" * 512 + whole[header + 512 :]
    yield (
        "packed, with octets changed",
        packed[: len(packed) // 2] + b"\0" * 64 + packed[len(packed) // 2 + 64 :],
    )
    yield "empty", b""
    yield "text", b"<html>404 Not Found</html>"
    yield "packed text", gzip.compress(b"<html>404 Not Found</html>")


def test_a_damaged_archive_publishes_nothing(store: ImageStore, root: Path, tmp_path: Path) -> None:
    for what, content in truncated(root, tmp_path):
        path = tmp_path / "damaged"
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"cut short|damaged|isn't a tar archive"):
            import_image(store, "golden", path)
            pytest.fail(f"an archive cut {what} was accepted")
        assert_nothing_published(store)


def test_the_wrong_checksum_publishes_nothing(store: ImageStore, root: Path, tmp_path: Path) -> None:
    archive = tar_of(root, tmp_path / "golden.tar")
    with pytest.raises(UserError, match=f"SHA-256 is {hashlib.sha256(archive.read_bytes()).hexdigest()}"):
        import_image(store, "golden", archive, sha256="0" * 64)
    assert_nothing_published(store)


def test_an_md5_checksum_counts_as_well(store: ImageStore, root: Path, tmp_path: Path) -> None:
    archive = tar_of(root, tmp_path / "golden.tar")
    right = hashlib.md5(archive.read_bytes()).hexdigest()
    with pytest.raises(UserError, match=f"its MD5 is {right}"):
        import_image(store, "golden", archive, checksum=checksums.of("0" * 32))
    assert_nothing_published(store)
    generation = import_image(store, "golden", archive, checksum=checksums.of(right))
    assert generation.sha256 == hashlib.sha256(archive.read_bytes()).hexdigest()


def test_a_damaged_download_is_told_by_its_checksum(store: ImageStore, root: Path, tmp_path: Path) -> None:
    archive = tar_of(root, tmp_path / "golden.tar.gz", "-z")
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    archive.write_bytes(archive.read_bytes()[:-5000])
    with pytest.raises(UserError, match="isn't the file that the checksum is of"):
        import_image(store, "golden", archive, sha256=digest)
    assert_nothing_published(store)


@pytest.mark.parametrize(
    ("head", "what"),
    [
        (b"QFI\xfb", "a qcow2 disk image; qemu-img convert"),
        (b"KDMV", "a VMware disk image; qemu-img convert"),
        (b"vhdxfile", "a Hyper-V disk image; qemu-img convert"),
        (b"conectix", "a Virtual PC disk image; qemu-img convert"),
        (b"<<< Oracle VM VirtualBox Disk Image >>>", "a VirtualBox disk image; qemu-img convert"),
        (b"\x3a\xff\x26\xed", "an Android sparse image; simg2img"),
        (b"<!DOCTYPE html>\n<title>404", "a web page; what was downloaded isn't the file itself"),
        (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
        (b"PK\x03\x04", "can't be unpacked: File is not a zip file"),
        (b"!<arch>\ndebian-binary", "a Debian package"),
    ],
)
def test_what_is_known_to_be_something_else_is_named(
    store: ImageStore, tmp_path: Path, head: bytes, what: str
) -> None:
    path = tmp_path / "download"
    path.write_bytes(head + b"\0" * 1000)
    with pytest.raises(UserError, match=what):
        import_image(store, "golden", path)
    assert not store.directory.exists()


def test_bad_arguments_are_told_before_anything_is_done(
    store: ImageStore, root: Path, tmp_path: Path
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for arguments, why in (
        (("Golden", root), "can't name an image"),
        (("golden", tmp_path / "missing.tar"), "there is no file"),
        (("golden", "https://example.org/golden.tar.xz"), "isn't on this machine"),
        (("golden", pipe), "neither a file nor a directory"),
        (("golden", root, "12ab"), "isn't a SHA-256 checksum"),
        (("golden", root, "0" * 64), "is a directory and has no checksum"),
    ):
        with pytest.raises(UserError, match=why):
            import_image(store, *arguments)
    assert not store.directory.exists()


def test_a_system_without_a_kernel_publishes_nothing(store: ImageStore, root: Path) -> None:
    (root / f"boot/vmlinuz-{RELEASE}").unlink()
    with pytest.raises(UserError, match="no kernel found"):
        import_image(store, "golden", root)
    assert_nothing_published(store)


# A small disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 100 MiB: 64 of them stay free for the registry."""
    with mounted("tmpfs", tmp_path / "disk", "size=100m") as disk:
        yield disk


def test_a_full_disk_is_told_and_its_space_given_back(small_disk: Path, root: Path, tmp_path: Path) -> None:
    (root / "big").write_bytes(os.urandom(50 << 20))
    store = ImageStore(small_disk / "images")
    before = shutil.disk_usage(small_disk).free
    for source in (root, tar_of(root, tmp_path / "big.tar.gz", "-z")):
        with pytest.raises(HostError, match="don't fit on the disk"):
            import_image(store, "golden", source)
        assert_nothing_published(store)
        assert before - shutil.disk_usage(small_disk).free < 1 << 20


def test_a_bomb_of_many_files_is_stopped_by_the_disk(small_disk: Path, tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.tar.gz"
    with tarfile.open(bomb, "w:gz", compresslevel=1) as tar:
        for number in range(200):
            tar.addfile(member(f"f{number}", size=1 << 20), io.BytesIO(b"\0" * (1 << 20)))
    store = ImageStore(small_disk / "images")
    with pytest.raises(HostError, match="don't fit on the disk"):
        import_image(store, "golden", bomb)
    assert_nothing_published(store)


def test_a_header_can_not_claim_all_memory(store: ImageStore, tmp_path: Path) -> None:
    info = member("././@LongLink", tarfile.GNUTYPE_LONGNAME, size=8 << 30)
    path = tmp_path / "greedy.tar"
    path.write_bytes(info.tobuf(format=tarfile.GNU_FORMAT) + b"\0" * 10_240)
    with pytest.raises(UserError, match="has a header of 8589934592 octets"):
        import_image(store, "golden", path)
    assert_nothing_published(store)


@pytest.mark.parametrize("size", [8 << 60, 4 << 60, -1])
def test_a_sparse_file_can_not_claim_to_be_larger_than_any_disk(
    store: ImageStore, tmp_path: Path, size: int
) -> None:
    data = b"0\n".ljust(512, b"\0")
    info = member("huge", size=len(data))
    info.pax_headers = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": "huge",
        "GNU.sparse.realsize": str(size),
    }
    path = tmp_path / "sparse.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(info, io.BytesIO(data))
    with pytest.raises(UserError, match=r"huge (can't be unpacked|has a size below zero)"):
        import_image(store, "golden", path)
    assert_nothing_published(store)


def test_headers_of_headers_without_end_are_refused(store: ImageStore, tmp_path: Path) -> None:
    info = member("././@LongLink", tarfile.GNUTYPE_LONGNAME, size=5)
    path = tmp_path / "nested.tar"
    path.write_bytes((info.tobuf(format=tarfile.GNU_FORMAT) + b"name\0".ljust(512, b"\0")) * 20_000)
    with pytest.raises(UserError, match="one of its headers is damaged"):
        import_image(store, "golden", path)
    assert_nothing_published(store)


def test_two_archives_in_one_file_are_not_taken_for_one(
    store: ImageStore, root: Path, tmp_path: Path
) -> None:
    archive = tar_of(root, tmp_path / "golden.tar")
    archive.write_bytes(archive.read_bytes() * 2)
    with pytest.raises(UserError, match="goes on after its end mark"):
        import_image(store, "golden", archive)
    assert_nothing_published(store)


def test_stopping_it_leaves_no_process_and_no_file(store: ImageStore, root: Path, tmp_path: Path) -> None:
    (root / "big").write_bytes(os.urandom(20 << 20))
    archive = tar_of(root, tmp_path / "golden.tar.gz", "-z")
    before, started = set(children_of_this_process()), set[int]()

    def stop(step: str, done: int, total: int | None) -> None:
        if step == "reading" and done > 5 << 20:
            started.update(set(children_of_this_process()) - before)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_image(store, "golden", archive, progress=stop)
    assert len(started) == 2, "gzip and the unpacker were at work"
    assert not started & set(children_of_this_process())
    assert_nothing_published(store)


def children_of_this_process() -> list[int]:
    text = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    return [int(word) for word in text.split()]


def test_progress_counts_the_source_to_its_end(store: ImageStore, root: Path, tmp_path: Path) -> None:
    archive = tar_of(root, tmp_path / "golden.tar.gz", "-z")
    calls: list[tuple[str, int, int | None]] = []
    import_image(store, "golden", archive, progress=lambda *call: calls.append(call))
    reading = [call for call in calls if call[0] == "reading"]
    assert reading[-1] == ("reading", archive.stat().st_size, archive.stat().st_size)
    assert [done for _, done, _ in reading] == sorted(done for _, done, _ in reading)
    assert calls[-1][0] == "bringing it to the disk"


def test_without_root_it_says_so(store: ImageStore, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(HostError, match="only root"):
        import_image(store, "golden", root)
    assert not store.directory.exists()


@pytest.mark.parametrize(("mode", "served"), [(0o644, True), (0o600, False)])
def test_an_initrd_that_only_root_may_read_has_keys_in_it_and_is_not_served(
    store: ImageStore, root: Path, mode: int, served: bool
) -> None:
    put(root, f"boot/initrd.img-{RELEASE}", b"initrd", mode)
    made = import_image(store, "golden", root)
    assert (made.boot / "initrd.distribution").exists() == served
