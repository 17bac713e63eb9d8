"""The shelf: a path from the wire becomes an open file, a rendered script, or a reason; and an event."""

import os
import sqlite3
import time
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from netbootd.asset import Asset, Refusal
from netbootd.boot.cmdline import Exported
from netbootd.boot.loaders import LOADERS
from netbootd.events import EventLog, timeline
from netbootd.image import Generation
from netbootd.images.store import ImageStore
from netbootd.network import AddressRange
from netbootd.node import Booted, Mac, RootMode
from netbootd.registry import NodeRequest, Registry, Settings
from netbootd.render import Renderer
from netbootd.roots.layout import Roots
from netbootd.shelf import HeadNode, Shelf
from netbootd.stage import Level, Stage
from tests.boot.test_policy import GENERATION, MAC, NETWORK

NODE_ADDRESS = IPv4Address("10.77.0.50")
STRANGER = IPv4Address("10.77.0.150")
NETWORK_WITH_RANGE = replace(NETWORK, range=AddressRange.parse("10.77.0.60-10.77.0.69"))


@dataclass
class Head:
    """A head node's state on disk: node n01, an image of one generation."""

    directory: Path
    registry: Registry
    events: EventLog
    shelf: Shelf
    generation: Generation

    def open(self, path: str, peer: IPv4Address = NODE_ADDRESS) -> Asset | Refusal:
        return self.shelf.open(path, peer, NETWORK.server, "HTTP")

    def read(self, path: str) -> bytes:
        asset = self.open(path)
        assert isinstance(asset, Asset), asset
        if asset.content is not None:
            return asset.content
        assert asset.fd is not None
        with os.fdopen(asset.fd, "rb") as file:
            return file.read()

    def told(self) -> list[tuple[Stage | None, Level, str]]:
        self.events.flush()
        return [(e.stage, e.level, e.text) for e in timeline(self.directory / "events.db", MAC)]


@pytest.fixture
def head(tmp_path: Path) -> Head:
    registry = Registry.open(tmp_path / "registry.db")
    request = NodeRequest(name="n01", macs=(MAC,), address=NODE_ADDRESS, settings=Settings(image="debian"))
    registry.add_nodes([request], (NETWORK,), {})
    store = ImageStore(tmp_path / "images")
    with store.staging("debian") as staging:
        (staging.boot / "vmlinuz").write_bytes(b"kernel")
        (staging.boot / "secret").symlink_to("/etc/shadow")
        generation = store.publish(staging, GENERATION)
    events = EventLog.open(tmp_path / "events.db")
    exported = Exported(
        nodes_dir=tmp_path / "nodes",
        common_dir=tmp_path / "common",
        roots_dir=tmp_path / "roots",
        ram_dir=tmp_path / "ram",
        nfs_version="4.2",
    )
    head = HeadNode(registry, store, (NETWORK,), Roots(tmp_path / "roots"))
    shelf = Shelf(head, exported, Renderer(tmp_path / "overrides"), events, time.time)
    return Head(tmp_path, registry, events, shelf, generation)


def test_the_script_is_the_node_s_own_and_what_it_boots_is_noted(head: Head) -> None:
    script = head.read("boot/52-54-00-00-00-01/boot.ipxe").decode()
    assert script.startswith("#!ipxe\n")
    assert "kernel http://10.77.0.1/images/debian/1/vmlinuz " in script
    assert "netbootd.node=n01" in script
    assert f"netbootd.image={head.generation.root}" in script
    assert head.registry.booted() == {"n01": Booted("debian", 1, RootMode.OVERLAY)}
    assert [stage for stage, _, _ in head.told()] == [Stage.CONFIG]


def test_who_looks_at_another_s_script_changes_nothing_of_its_node(head: Head) -> None:
    head.read("boot/52-54-00-00-00-01/boot.ipxe")
    store = ImageStore(head.directory / "images")
    with store.staging("debian") as staging:
        store.publish(staging, GENERATION)
    before = head.told()
    asset = head.open("boot/52-54-00-00-00-01/boot.ipxe", STRANGER)
    assert isinstance(asset, Asset)
    assert b"debian/2" in (asset.content or b"")
    assert head.registry.booted() == {"n01": Booted("debian", 1, RootMode.OVERLAY)}, (
        "its running root must stay exported"
    )
    assert head.told() == before


def test_the_root_mode_that_a_node_boots_with_is_noted_until_it_boots_anew(head: Head) -> None:
    head.registry.set_node("n01", {"root": RootMode.PERSISTENT}, (NETWORK,))
    head.read("boot/52-54-00-00-00-01/boot.ipxe")
    head.registry.set_node("n01", {"root": None}, (NETWORK,))
    assert head.registry.booted()["n01"].root is RootMode.PERSISTENT
    head.read("boot/52-54-00-00-00-01/boot.ipxe")
    assert head.registry.booted()["n01"].root is RootMode.OVERLAY


def test_a_registry_that_cannot_be_written_keeps_no_node_from_its_script(head: Head) -> None:
    writer = sqlite3.connect(head.directory / "registry.db", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    head.registry._db.execute("PRAGMA busy_timeout = 1")
    assert head.read("boot/52-54-00-00-00-01/boot.ipxe").startswith(b"#!ipxe")
    writer.close()
    (_, level, text), config = head.told()
    assert (level, config[0]) == (Level.WARNING, Stage.CONFIG)
    assert "debian@1 could not be noted: can't write the registry" in text


def test_an_override_that_was_just_written_counts(head: Head) -> None:
    head.read("boot/52-54-00-00-00-01/boot.ipxe")
    override = head.directory / "overrides" / "boot" / "ipxe" / "boot.ipxe.j2"
    override.parent.mkdir(parents=True)
    override.write_text("#!ipxe\necho {{ node.name }} of mine\n")
    assert head.read("boot/52-54-00-00-00-01/boot.ipxe") == b"#!ipxe\necho n01 of mine\n"


def test_a_broken_override_is_an_event_that_names_file_and_line_and_the_node_boots(head: Head) -> None:
    ours = head.read("boot/52-54-00-00-00-01/boot.ipxe")
    head.told()
    override = head.directory / "overrides" / "boot" / "ipxe" / "boot.ipxe.j2"
    override.parent.mkdir(parents=True)
    override.write_text("#!ipxe\necho {{ nodes.name }}\n")
    assert head.read("boot/52-54-00-00-00-01/boot.ipxe") == ours
    *_, (_, level, text), (stage, _, _) = head.told()
    assert level is Level.ERROR
    assert f"{override}, line 2: 'nodes' is undefined" in text
    assert text.endswith("until then it is served as it was when it was last whole")
    assert stage is Stage.CONFIG


def test_the_kernel_is_opened_and_its_stage_reached(head: Head) -> None:
    assert head.read("/images/debian/1/vmlinuz") == b"kernel"
    ((stage, _, text),) = head.told()
    assert (stage, text) == (Stage.KERNEL, "/images/debian/1/vmlinuz over HTTP, 6 B")


@pytest.mark.parametrize(
    ("size", "said"), [(9_999, "9999 B"), (10_240, "10 kB"), (999_000, "999 kB"), (141_300_000, "141.3 MB")]
)
def test_a_size_is_told_in_a_unit_that_shows_it(head: Head, size: int, said: str) -> None:
    os.truncate(head.generation.boot / "vmlinuz", size)
    asset = head.open("/images/debian/1/vmlinuz")
    assert isinstance(asset, Asset) and asset.fd is not None
    os.close(asset.fd)
    ((_, _, text),) = head.told()
    assert text.endswith(f"over HTTP, {said}")


def test_a_link_out_of_the_image_is_denied(head: Head) -> None:
    refusal = head.open("images/debian/1/secret")
    assert isinstance(refusal, Refusal)
    assert refusal.denied


@pytest.mark.parametrize("path", ["images/debian/9/vmlinuz", "images/debian/1/initrd"])
def test_what_an_admin_has_to_mend_is_an_error_of_that_node(head: Head, path: str) -> None:
    assert isinstance(head.open(path), Refusal)
    ((_, level, _),) = head.told()
    assert level is Level.ERROR


def test_a_missing_loader_is_one_too(head: Head, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = replace(LOADERS["undionly.kpxe"], paths=(head.directory / "nowhere",))
    monkeypatch.setitem(LOADERS, "undionly.kpxe", gone)
    refusal = head.open("loaders/undionly.kpxe")
    assert isinstance(refusal, Refusal)
    assert "apt install ipxe" in refusal.reason
    ((_, level, _),) = head.told()
    assert level is Level.ERROR


def test_a_loader_behind_a_link_is_served(head: Head, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Ubuntu's shimx64.efi.signed is one, into /etc/alternatives."""
    link, build = head.directory / "lib" / "undionly.kpxe", head.directory / "builds" / "mine.kpxe"
    for path in (link, build):
        path.parent.mkdir()
    build.write_bytes(b"a loader")
    link.symlink_to(build)
    linked = replace(LOADERS["undionly.kpxe"], paths=(link,))
    monkeypatch.setitem(LOADERS, "undionly.kpxe", linked)
    asset = head.open("loaders/undionly.kpxe")
    assert isinstance(asset, Asset)
    assert asset.size == 8
    assert asset.fd is not None
    os.close(asset.fd)


def test_what_firmware_merely_probes_for_is_no_event_and_other_strange_paths_are(head: Head) -> None:
    for _ in range(20):
        assert isinstance(head.open("recovery.elf"), Refusal)
    assert head.told() == []
    assert isinstance(head.open("whatever.cfg"), Refusal)
    assert [level for _, level, _ in head.told()] == [Level.INFO]


SERIAL = "5564247d"


def test_a_board_s_serial_number_is_learned_from_its_first_request_and_noted_once(head: Head) -> None:
    for _ in range(3):
        head.read(f"{SERIAL}/config.txt")
    node = head.registry.node("n01")
    assert node.serial == SERIAL
    version = head.registry.version
    head.read(f"{SERIAL}/config.txt")
    assert head.registry.version == version
    assert [text for _, _, text in head.told()].count(f"its board's serial number is {SERIAL}: noted") == 1


def test_a_serial_number_that_another_node_has_is_an_error_in_words_and_nothing_is_changed(
    head: Head,
) -> None:
    other = NodeRequest(name="n02", macs=(Mac("52:54:00:00:00:02"),), serial=f"00000000{SERIAL}")
    head.registry.add_nodes([other], (NETWORK_WITH_RANGE,), {})
    refusal = head.open(f"{SERIAL}/start4.elf")
    assert isinstance(refusal, Refusal)
    assert not refusal.denied, "TFTP says that there is no such file: what every Pi goes on from"
    assert "n02" not in refusal.reason, "the board is told nothing of another"
    assert head.registry.node("n01").serial is None
    told = [(level, text) for _, level, text in head.told()]
    assert told[0] == (Level.ERROR, f"serial {SERIAL} belongs to node 'n02' already; check the board's label")
    assert told[1][0] is Level.WARNING
    assert "is n02's, and n01 asks" in told[1][1]


def test_the_registry_s_full_disk_keeps_no_board_from_booting(head: Head) -> None:
    writer = sqlite3.connect(head.directory / "registry.db", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    head.registry._db.execute("PRAGMA busy_timeout = 1")
    assert b"kernel=vmlinuz-1" in head.read(f"{SERIAL}/config.txt")
    writer.close()
    assert any("could not be noted" in text and level is Level.WARNING for _, level, text in head.told())


def test_a_pi_3_that_never_sends_a_request_passes_the_stages_by_what_it_fetches(head: Head) -> None:
    firmware = head.generation.boot / "firmware"
    firmware.mkdir()
    for name in ("bootcode.bin", "start.elf", "vmlinuz"):
        (firmware / name).write_bytes(b"x")
    (head.generation.boot / "initrd").write_bytes(b"x")
    (head.generation.directory / "generation.json").write_text(
        (head.generation.directory / "generation.json")
        .read_text()
        .replace('"firmware": false', '"firmware": true')
    )
    for name in ("bootcode.bin", "bootsig.bin", f"{SERIAL}/start.elf", f"{SERIAL}/autoboot.txt"):
        head.open(name)
    for name in ("config.txt", "recovery.elf", "cmdline.txt", "vmlinuz-1", "initrd-1", "armstub8.bin"):
        head.open(f"{SERIAL}/{name}")
    stages = [stage for stage, _, _ in head.told() if stage]
    assert stages == [*(Stage.LOADER,) * 2, *(Stage.CONFIG,) * 2, Stage.KERNEL, Stage.INITRD]
    assert all("recovery" not in text and "armstub" not in text for _, _, text in head.told())


def test_a_template_that_renders_to_more_than_ascii_is_an_error_that_names_the_line(head: Head) -> None:
    override = head.directory / "overrides" / "boot" / "raspberrypi" / "config.txt.j2"
    override.parent.mkdir(parents=True)
    override.write_text("kernel={{ kernel }}\n# für {{ node.name }}\n", encoding="utf-8")
    assert head.read("config.txt").isascii()
    (_, level, text), _ = head.told()
    assert level is Level.ERROR
    assert "template boot/raspberrypi/config.txt.j2 renders to 'ü' in line 2" in text
    assert "ASCII only" in text and text.endswith("until then the packaged template is served")


def test_a_damaged_generation_stops_nobody_else(head: Head) -> None:
    (head.generation.directory / "generation.json").write_text("{")
    refusal = head.open("images/debian/1/vmlinuz")
    assert isinstance(refusal, Refusal)
    ((_, level, text),) = head.told()
    assert level is Level.ERROR
    assert "generation.json" in text
    assert isinstance(head.open("loaders/none", STRANGER), Refusal)


@pytest.mark.parametrize("path", ["a\x1b[2Jb", "x" * 3000, "\udcff", "%2e%2e/%2e%2e", "boot/\0/boot.ipxe"])
def test_a_path_from_the_wire_is_shown_as_text(head: Head, path: str) -> None:
    assert isinstance(head.open(path), Refusal)
    for _, _, text in head.told():
        assert text.isprintable()
        assert len(text) < 400
