"""What somebody may have made a disk say: whatever it is, only a DiskError comes."""

import contextlib
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netbootd.images.disks import ext4, fat, filesystems, journal, partitions
from netbootd.images.disks.elevator import DiskError, Elevator
from netbootd.images.disks.ext4_reader import Ext4
from netbootd.images.disks.extract import is_bomb
from netbootd.images.disks.fat import Fat
from netbootd.images.disks.partitions import Partition
from netbootd.images.disks.parts import Part, mounts
from tests.images.disks import making
from tests.images.roots import put


class Taken:
    """A receiver that remembers, and is never given more than the disk has."""

    def __init__(self) -> None:
        self.files: dict[int | str, bytearray] = {}
        self.octets = 0

    def expect(self, octets: int) -> None:
        assert octets >= 0

    def directory(self, path: str, time: float) -> None:
        assert ".." not in path.split("/") and not path.startswith("/")

    def file(self, path: str, size: int, time: float) -> None:
        assert ".." not in path.split("/") and not path.startswith("/")
        self.files.setdefault(path, bytearray())

    def data(self, name: int | str, offset: int, octets: memoryview) -> None:
        assert offset >= 0
        self.octets += len(octets)


def run(elevator: Elevator, content: bytes, chunk: int = 65536, *, seekable: bool = True) -> int:
    """Feed the disk until nothing is wanted any more; returns how many passes that took."""
    at: int | None = 0
    passes = 0
    while at is not None:
        passes += 1
        for begin in range(at, len(content), chunk):
            elevator.feed(content[begin : begin + chunk])
        at = elevator.rewind(seekable=seekable)
    return passes


# The elevator


@given(
    st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 700), st.integers(0, 6)), max_size=30),
    st.integers(1, 900),
    st.booleans(),
)
def test_whoever_wants_octets_gets_them_in_whatever_order_they_ask(
    wants: list[tuple[int, int, int]], chunk: int, seekable: bool
) -> None:
    """Each want may be asked for only when an earlier one has come, before it or behind it."""
    content = random.Random(1).randbytes(6000)
    elevator = Elevator()
    got: dict[int, bytes] = {}

    def ask(number: int) -> None:
        offset, size, _ = wants[number]

        def deliver(octets: bytes) -> None:
            got[number] = octets
            for later in range(number + 1, len(wants)):
                if later - max(wants[later][2], 1) == number:
                    ask(later)

        elevator.read(offset, size, deliver)

    for number, (_, _, after) in enumerate(wants):
        if number - max(after, 1) < 0:
            ask(number)
    run(elevator, content, chunk, seekable=seekable)
    assert got == {number: content[offset : offset + size] for number, (offset, size, _) in enumerate(wants)}


def test_what_lies_far_behind_is_read_in_another_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netbootd.images.disks.elevator._LOOK_BACK", 100)
    content = random.Random(1).randbytes(6000)
    for seekable in (True, False):
        elevator = Elevator()
        got: list[bytes] = []
        elevator.read(5000, 10, lambda _, e=elevator, g=got: e.read(20, 300, g.append))  # type: ignore[misc]
        assert run(elevator, content, 64, seekable=seekable) == 2
        assert got == [content[20:320]]


def test_what_points_back_and_forth_ends() -> None:
    elevator = Elevator()

    def back(_: bytes) -> None:
        elevator.read(0, 1, forth)

    def forth(_: bytes) -> None:
        elevator.read((40 << 20) - 1, 1, back)

    forth(b"")
    with pytest.raises(DiskError, match="back and forth without end"):
        run(elevator, bytes(40 << 20), 4 << 20, seekable=False)


# Partition tables


def found_in(content: bytes) -> list[Partition]:
    elevator = Elevator()
    found: list[Partition] = []
    partitions.find(elevator.read, found.append)
    run(elevator, content)
    return found


@pytest.mark.needs("sfdisk")
@pytest.mark.parametrize("label", ["dos", "gpt"])
def test_the_partitions_are_those_that_sfdisk_made(tmp_path: Path, label: str) -> None:
    disk = making.blank(tmp_path / "disk", 40 << 20)
    script = f"label: {label}\nsize=3MiB, name=one\nsize=5MiB\n" + (
        "type=5, size=20MiB\nsize=2MiB\nsize=4MiB\nsize=1MiB\n"
        if label == "dos"
        else "size=1MiB, name=drei\n"
    )
    making.run(
        "sfdisk",
        "--quiet",
        disk,
        input_text=script.replace(", name=one", "" if label == "dos" else ", name=one"),
    )
    dump = making.run("sfdisk", "--dump", disk)
    told = [
        (int(line.split()[0].removeprefix(str(disk))), {
            key.strip(): value.strip().strip('"')
            for key, _, value in (word.partition("=") for word in line.partition(":")[2].split(","))
        })
        for line in dump.splitlines() if line.startswith(str(disk))
    ]  # fmt: skip
    identifier = next(line for line in dump.splitlines() if line.startswith("label-id")).split()[1]
    expected = [
        Partition(
            number,
            int(facts["start"]) * 512,
            int(facts["size"]) * 512,
            facts["uuid"].lower() if label == "gpt" else f"{identifier.removeprefix('0x')}-{number:02x}",
            facts.get("name", ""),
        )
        for number, facts in told
        if facts["type"] != "5"
    ]
    assert sorted(found_in(disk.read_bytes()), key=lambda each: each.number) == expected
    assert partitions.is_partitioned(disk.read_bytes()[:512])


@given(st.binary(min_size=64, max_size=64), st.binary(max_size=4096))
def test_whatever_is_in_an_mbr_only_a_disk_error_comes(entries: bytes, rest: bytes) -> None:
    content = bytes(446) + entries + b"\x55\xaa" + rest + bytes(4096)
    partitions.is_partitioned(content[:512])
    with contextlib.suppress(DiskError):
        for partition in found_in(content):
            assert partition.start >= 0 and partition.size >= 0


@given(st.binary(min_size=92, max_size=92), st.binary(max_size=4096), st.booleans())
def test_whatever_is_in_a_gpt_only_a_disk_error_comes(header: bytes, table: bytes, right: bool) -> None:
    """Also where its checksums are right."""
    raw = bytearray(b"EFI PART" + header[8:])
    if right:
        struct.pack_into("<I", raw, 12, 92)
        struct.pack_into(
            "<QIII", raw, 72, 2, len(table) // 128, 128, zlib.crc32(table[: len(table) // 128 * 128])
        )
        raw[16:20] = bytes(4)
        struct.pack_into("<I", raw, 16, zlib.crc32(raw[:92]))
    mbr = bytes(446) + struct.pack("<B3xB3xII", 0, 0xEE, 1, 9) + bytes(48) + b"\x55\xaa"
    with contextlib.suppress(DiskError):
        found_in(mbr + bytes(raw).ljust(512, b"\0") + table + bytes(4096))


@given(st.binary(max_size=3000), st.sampled_from([0, 1024, 1080, 65_600]), st.binary(max_size=900))
def test_whatever_begins_a_partition_it_is_told_or_not(head: bytes, at: int, more: bytes) -> None:
    filesystems.recognise(head)
    for _, magic, _ in filesystems._BY_MAGIC:
        filesystems.recognise((head.ljust(at, b"\0") + magic + more)[: filesystems.HEAD])


# File systems that are right, with some octets changed


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree = tmp_path_factory.mktemp("tree")
    for number in range(30):
        put(
            tree,
            f"d{number % 4}/a file with a long name {number}",
            random.Random(number).randbytes(number * 700),
        )
    (tree / "d1/link").symlink_to("x" * 100)
    return tree


@pytest.fixture(scope="module")
def an_ext4(trees: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return making.ext4(
        tmp_path_factory.mktemp("e") / "e", trees, 2 << 20, "-b", "1024", "-N", "64"
    ).read_bytes()


@pytest.fixture(scope="module")
def an_ext2(trees: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    options = ("-t", "ext2", "-b", "1024", "-N", "64")
    return making.ext4(tmp_path_factory.mktemp("e") / "e", trees, 2 << 20, *options).read_bytes()


@pytest.fixture(scope="module")
def a_fat(trees: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    directory = tmp_path_factory.mktemp("f")
    (directory / "t").mkdir()
    for each in trees.iterdir():
        making.run("cp", "-rL", "--no-preserve=all", each, directory / "t") if each.name != "d1" else None
    return making.fat(directory / "f", directory / "t", 1 << 20, 12).read_bytes()


def read_ext(content: bytes) -> Ext4:
    elevator, taken = Elevator(), Taken()
    system = Ext4(elevator, 0, len(content), taken)
    system.begin()
    run(elevator, content)
    system.finish()
    for number in system.inodes:
        system.attributes(number)
    assert taken.octets <= len(content)
    return system


def read_fat(content: bytes) -> Taken:
    elevator, taken = Elevator(), Taken()
    Fat(elevator, 0, len(content), taken).begin()
    run(elevator, content)
    assert taken.octets <= len(content)
    return taken


changes = st.lists(st.tuples(st.integers(0, (1 << 31) - 1), st.integers(0, 255)), min_size=1, max_size=12)
quietly = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def changed(content: bytes, places: list[tuple[int, int]], within: int) -> bytes:
    """With some octets of the first `within` changed: there the tables are."""
    raw = bytearray(content)
    for at, value in places:
        raw[at % within] = value
    return bytes(raw)


@pytest.mark.needs("mkfs.ext4")
@quietly
@given(places=changes, where=st.sampled_from([1200, 4096, 40_000, 300_000]), old=st.booleans())
def test_an_ext_that_was_changed_is_read_or_refused(
    an_ext4: bytes, an_ext2: bytes, places: list[tuple[int, int]], where: int, old: bool
) -> None:
    whole = an_ext2 if old else an_ext4
    tables = changed(whole[1024:], places, where)
    with contextlib.suppress(DiskError):
        read_ext(whole[:1024] + tables)


@pytest.mark.needs("mkfs.vfat", "mcopy")
@quietly
@given(places=changes, where=st.sampled_from([64, 2048, 8192, 40_000]))
def test_a_fat_that_was_changed_is_read_or_refused(
    a_fat: bytes, places: list[tuple[int, int]], where: int
) -> None:
    with contextlib.suppress(DiskError):
        read_fat(changed(a_fat, places, where))


@pytest.mark.needs("mkfs.ext4", "mkfs.vfat")
@pytest.mark.parametrize(
    ("unpacked", "packed", "bomb"),
    [
        (16 << 30, 1, False),
        (17 << 30, 8 << 20, True),
        (65 << 30, 80 << 20, False),
        (8 << 40, 8 << 30, True),
        (8 << 40, 0, False),
    ],
    ids=["small enough", "a bomb", "a card nearly empty", "a larger bomb", "not packed"],
)
def test_a_bomb_is_known_by_how_much_more_it_becomes(unpacked: int, packed: int, bomb: bool) -> None:
    assert is_bomb(unpacked, packed) is bomb


def test_what_is_cut_short_anywhere_is_refused(an_ext4: bytes, an_ext2: bytes, a_fat: bytes) -> None:
    reads: list[tuple[Callable[[bytes], object], bytes]] = [
        (read_ext, an_ext4), (read_ext, an_ext2), (read_fat, a_fat)
    ]  # fmt: skip
    for read, whole in reads:
        read(whole)
        for size in (0, 100, 1500, 5000, 100_000, len(whole) - 9000, len(whole) - 5000):
            with pytest.raises(DiskError):
                read(whole[:size])


@given(st.binary(max_size=2000))
def test_structures_of_anything_are_read_or_refused(raw: bytes) -> None:
    padded = raw.ljust(256, b"\0")
    for read in (
        lambda: ext4.extents(raw[:60].ljust(60, b"\0")),
        lambda: list(ext4.names(raw)),
        lambda: list(ext4.inode_attributes(padded[:256])),
        lambda: list(ext4.block_attributes(b"\0\0\2\xea" + padded)),
        lambda: list(fat.entries(raw)),
        lambda: ext4.Inode.parse(padded[:128]),
        lambda: ext4.Superblock.parse(padded.ljust(1024, b"\0"), 0),
        lambda: fat.Geometry.of(padded.ljust(512, b"\0"), 0),
    ):
        with contextlib.suppress(DiskError):
            read()


@given(
    st.lists(st.tuples(st.sampled_from([1, 2, 5, 9]), st.integers(0, 3), st.binary(max_size=90)), max_size=12)
)
def test_a_journal_of_anything_is_replayed_or_refused(blocks: list[tuple[int, int, bytes]]) -> None:
    head = b"\xc0\x3b\x39\x98" + struct.pack(">IIIIIIIIII", 4, 0, 1024, len(blocks) + 2, 1, 1, 1, 0, 0, 0x12)
    body = b"".join(
        (b"\xc0\x3b\x39\x98" + struct.pack(">II", kind, sequence) + tail).ljust(1024, b"\0")
        for kind, sequence, tail in blocks
    )
    with contextlib.suppress(DiskError):
        for content in journal.replayed(head.ljust(1024, b"\0") + body + bytes(1024), 1024).values():
            assert len(content) == 1024


# fstab


def test_an_fstab_names_partitions_in_all_the_ways_there_are() -> None:
    part = Part(
        2, 0, 0, "ext4", "0b7fa9a5-3c8f-4cf1-a2f1-0d0d0f4d2f31", "rootfs", "5e3da3da-02", "linux root"
    )
    uuid = part.uuid
    for device in (
        *(f"UUID={uuid.upper()}", f'UUID="{uuid}"', f"/dev/disk/by-uuid/{uuid}"),
        *("LABEL=rootfs", "PARTUUID=5e3da3da-02", "PARTLABEL=linux root", "/dev/disk/by-label/rootfs"),
        *("/dev/mmcblk0p2", "/dev/sda2", "/dev/nvme0n1p2", "/dev/vdb2"),
    ):
        assert part.is_meant_by(device), device
    for device in ("LABEL=", "LABEL=ROOTFS", "/dev/sda1", "/dev/sda", "UUID=x", "tmpfs", "ROOT=rootfs"):
        assert not part.is_meant_by(device), device


@given(st.text(max_size=300))
def test_whatever_is_in_an_fstab_its_directories_lie_below_the_root(text: str) -> None:
    for _, directory in mounts(text):
        assert directory.startswith("/") and directory.strip("/")
