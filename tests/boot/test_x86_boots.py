"""What a PC can be booted by, each to its login prompt: PXELINUX, undionly.kpxe, GRUB, shim, HTTP Boot.

iPXE from a card's ROM and from UEFI's PXE are in test_first_boot.py. Secure Boot is on where that is said,
with Microsoft's keys: what isn't signed doesn't start there, and the last test shows that.
"""

import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from netbootd.boot.loaders import LOADERS
from netbootd.events import timeline
from netbootd.node import Mac
from netbootd.stage import Event, Stage
from tests.lab.head import IMAGE, HeadNode, borrowed_image
from tests.lab.machine import KINDS, Machine
from tests.lab.namespace import Lab
from tests.lab.process import LabError

pytestmark = [pytest.mark.boot, pytest.mark.slow]

LOGIN = 420.0
"""Seconds to the login prompt: about 45 on two idle cores."""
SIGNED = "signed"
"""An image that brings its distribution's signed chain."""


@dataclass(frozen=True)
class Way:
    """One way to boot. `fetched`: the files by which it can be told from any other, in their order."""

    name: str
    kind: str
    fetched: tuple[str, ...]
    image: str = IMAGE
    loader: str | None = None
    typed: str = ""
    """At the prompt of the iPXE in the card's ROM, which else would boot by itself."""

    @property
    def mac(self) -> str:
        """Its card's."""
        return f"52:54:00:77:09:{WAYS.index(self) + 1:02x}"


WAYS = (
    Way(
        "undionly",
        "bios",
        ("loaders/undionly.kpxe over TFTP", "boot.ipxe over HTTP", "vmlinuz over HTTP"),
        # As a card's ROM of another make would do it; QEMU has none but iPXE.
        typed="dhcp && chain tftp://10.77.0.1/loaders/undionly.kpxe\n",
    ),
    Way(
        "pxelinux",
        "bios",
        (
            "loaders/lpxelinux.0 over TFTP",
            "loaders/ldlinux.c32 over TFTP",
            "loaders/pxelinux.cfg/01-",
            "vmlinuz over HTTP",
        ),
        loader="pxelinux",
    ),
    Way(
        "grub",
        "uefi",
        ("loaders/grubx64.efi over TFTP", "/grub/grub.cfg over TFTP", "vmlinuz over TFTP"),
        loader="grub",
    ),
    Way(
        "secure",
        "uefi-secure",
        (
            "images/signed/1/loaders/shimx64.efi over TFTP",
            "images/signed/1/loaders/grubx64.efi over TFTP",
            "/grub/grub.cfg over TFTP",
            "vmlinuz over TFTP",
        ),
        image=SIGNED,
    ),
    Way(
        "http",
        "uefi-http",
        ("loaders/snponly.efi over HTTP", "boot.ipxe over HTTP", "vmlinuz over HTTP"),
    ),
)
BY_NAME = {way.name: way for way in WAYS}
NEEDED = ("undionly.kpxe", "snponly.efi", "lpxelinux.0", "ldlinux.c32", "grubx64.efi", "shimx64.efi")


def _here(name: str) -> Path | None:
    return next((path for path in LOADERS[name].paths if path.is_file()), None)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HeadNode]:
    """A head node with two images and a node for each way to boot, all powered off."""
    for name in NEEDED:
        if _here(name) is None:
            pytest.skip(f"{name} isn't here; {LOADERS[name].advice}")
    for way in WAYS:
        if reason := KINDS[way.kind].missing():
            pytest.skip(reason)
    with (
        borrowed_image(f"x86-{tmp_path_factory.getbasetemp().name}") as head,
        Lab(directory=head.logs) as lab,
    ):
        head.join(lab)
        _import_signed(head)
        for way in WAYS:
            _register(head, way.name, way.mac, way.image, way.loader)
        _register(head, "unsigned", "52:54:00:77:09:ff", IMAGE, "ipxe")
        head.start()
        yield head
        for machine in head.machines:
            machine.power_off()


def _register(head: HeadNode, name: str, mac: str, image: str, loader: str | None) -> None:
    chosen = ("--loader", loader) if loader else ()
    head.run("netbootctl", "node", "add", name, "--mac", mac, "--image", image, *chosen)


def _import_signed(head: HeadNode) -> None:
    """The same system with shim-signed and grub-efi-amd64-signed, whose files are this machine's.

    By hard links: what is added is new, and nothing that is there is changed.
    """
    tree = head.directory / "with-shim"
    root = next((head.state / "images" / IMAGE).glob("[0-9]*/root"))
    subprocess.run(["cp", "-al", root, tree], check=True)
    for name in ("shimx64.efi", "grubx64.efi"):
        found = _here(name)
        assert found is not None
        target = tree / found.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            shutil.copy(found, target)
    head.run("netbootctl", "image", "import", SIGNED, str(tree), timeout=600)


def _power_on(head: HeadNode, way: Way) -> Machine:
    """Its machine, started; the same one if it was started before."""
    if (started := next((m for m in head.machines if m.name == way.name), None)) is not None:
        return started
    machine = head.machine(way.name, way.kind, way.mac)
    machine.power_on()
    if way.typed:
        machine.wait_for("Press Ctrl-B for the iPXE command line", 120)
        machine.type("\x02")
        machine.wait_for("iPXE> ", 60)
        machine.type(way.typed)
    return machine


@pytest.fixture(params=BY_NAME)
def booted(request: pytest.FixtureRequest, cluster: HeadNode) -> Iterator[tuple[Way, Machine]]:
    """Each at its login prompt, while the next one boots already."""
    way = BY_NAME[request.param]
    machine = _power_on(cluster, way)
    chosen = {
        item.callspec.params.get("booted") for item in request.session.items if hasattr(item, "callspec")
    }
    later = [other for other in WAYS[WAYS.index(way) + 1 :] if other.name in chosen]
    if later:
        _power_on(cluster, later[0])
    try:
        machine.wait_for(rf"^{way.name} login:", LOGIN)
    except LabError as error:
        pytest.fail(f"{error}\n{cluster.what_happened()}")
    print(f"{way.name}: login after {machine.elapsed:.0f} s")
    yield way, machine
    machine.power_off()


def _events(head: HeadNode, machine: Machine, last: Stage) -> list[Event]:
    """What the head node noted of its boot, once it has come to `last`."""
    deadline = time.monotonic() + 90
    while True:
        events = timeline(head.state / "registry" / "events.db", Mac(machine.mac))
        if any(event.stage is last for event in events) or time.monotonic() > deadline:
            return events
        time.sleep(0.5)


def test_it_comes_to_a_login_prompt_by_its_own_way(cluster: HeadNode, booted: tuple[Way, Machine]) -> None:
    way, machine = booted
    events = _events(cluster, machine, Stage.READY)
    told = "\n".join(event.text for event in events)
    place = 0
    for file in way.fetched:
        place = told.find(file, place)
        assert place >= 0, f"{file} not after the others in:\n{told}"
    assert set(Stage) == {event.stage for event in events if event.stage}
    said = cluster.run("netbootctl", "why", way.name)
    assert "it came up in" in said
    if way.kind == "uefi-secure":
        assert "secureboot: Secure boot enabled" in machine.output()


def test_with_secure_boot_on_nothing_unsigned_starts_and_why_says_so(cluster: HeadNode) -> None:
    machine = cluster.machine("unsigned", "uefi-secure", "52:54:00:77:09:ff")
    machine.power_on()
    try:
        machine.wait_for("Access Denied|Security Violation", 120)
    except LabError as error:
        pytest.fail(f"{error}\n{cluster.what_happened()}")
    machine.power_off()
    events = _events(cluster, machine, Stage.LOADER)
    assert "loaders/snponly.efi over TFTP" in "\n".join(event.text for event in events)
    assert Stage.CONFIG not in {event.stage for event in events}
