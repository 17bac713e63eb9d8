"""The shelf that both doors reach into: a path is located, opened or rendered, and the event recorded.

TFTP and HTTP differ in how they carry octets; what a path yields, to whom, and what is remembered of it is
decided here once.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path

from netbootd.asset import Asset, Refusal
from netbootd.beneath import open_beneath
from netbootd.boot.answer import Denied, File, NotFound, Rendered
from netbootd.boot.assets import Request, locate, serial_told
from netbootd.boot.cmdline import Exported
from netbootd.boot.loaders import BOARD_FIRMWARE, LOADERS
from netbootd.boot.window import BootWindow
from netbootd.config import Config
from netbootd.errors import HostError, NetbootdError
from netbootd.events import EventLog
from netbootd.image import Generation
from netbootd.images import ram
from netbootd.images.store import ImageStore
from netbootd.network import Network, network_of
from netbootd.node import Mac, Node, RootMode
from netbootd.registry import Registry
from netbootd.render import Renderer
from netbootd.roots.layout import Roots
from netbootd.serials import Serials
from netbootd.stage import Event, Level, Stage


@dataclass(slots=True)
class HeadNode:
    """What this head node has, as the boot decisions may look at it (boot.visit.View)."""

    registry: Registry
    store: ImageStore
    networks: tuple[Network, ...]
    roots: Roots
    window: BootWindow = field(default_factory=BootWindow)
    now: Callable[[], float] = time.time

    def node_by_mac(self, mac: Mac) -> Node | None:
        """The node with this card."""
        return self.registry.node_by_mac(mac)

    def node_by_address(self, address: IPv4Address) -> Node | None:
        """The node with this address."""
        return self.registry.node_by_address(address)

    def node_by_serial(self, serial: str) -> Node | None:
        """The node whose board has this serial number."""
        return self.registry.node_by_serial(serial)

    def network_of(self, address: IPv4Address) -> Network | None:
        """The network that an address lies in."""
        return network_of(address, self.networks)

    def generation(self, image: str, number: int | None) -> Generation | None:
        """A generation of an image, the current one where `number` is None."""
        return self.store.current(image) if number is None else self.store.generation(image, number)

    def generation_of(self, node: Node) -> Generation | None:
        """What a node boots: what its persistent root lies over, else the current one of its image."""
        if node.root is RootMode.PERSISTENT and (over := self.roots.generation(node.machine_id)):
            return self.store.generation(*over)
        return self.store.current(node.image) if node.image else None

    def obstacle(self, node: Node, generation: Generation) -> str:
        """What `apply` has yet to do before the node's root can come from there; empty: nothing."""
        if node.root is RootMode.RAM and not ram.is_made(generation):
            return f"{generation.label} isn't packed for nodes in memory yet: `netbootctl apply` does that"
        return ""

    def withheld(self, node: Node, port: int | None) -> str:
        """Why a node's files aren't given over HTTP to its `port` now; empty where they are."""
        return self.window.refusal(node, port, self.now())

    def loader(self, name: str) -> Path | None:
        """Where this machine has the loader: the file itself, for what is served follows no link out.

        Ubuntu's shimx64.efi.signed is a link into /etc/alternatives, and an admin may link to a build.
        """
        paths = (LOADERS | BOARD_FIRMWARE)[name].paths
        return next((path.resolve() for path in paths if path.is_file()), None)

    def has_loader(self, name: str) -> bool:
        """Whether this machine has the loader."""
        return self.loader(name) is not None


def exported_by(config: Config) -> Exported:
    """Where the head node's NFS server has what a node mounts, as netbootd.toml says."""
    return Exported(
        nodes_dir=config.nodes_dir,
        common_dir=config.common_dir,
        roots_dir=config.roots_dir,
        ram_dir=config.ram_dir,
        nfs_version=config.nfs.version,
    )


class Shelf:
    """Opens what booting clients ask for. `now` gives Unix seconds."""

    def __init__(
        self,
        head: HeadNode,
        exported: Exported,
        renderer: Renderer,
        events: EventLog,
        now: Callable[[], float],
    ) -> None:
        self._head = head
        self._exported = exported
        self._renderer = renderer
        self._events = events
        self._now = now
        self._serials = Serials(head.registry, events.record, now)

    def open(
        self, path: str, peer: IPv4Address, local: IPv4Address, door: str, port: int | None = None
    ) -> Asset | Refusal:
        """What `path` yields for the client at `peer`, which reached us at `local` through `door`.

        `port` is the client's, where the door is HTTP. Never raises for what a client can ask; a fault of
        ours is a Refusal and an event.
        """
        request = Request(path=path, peer=peer, port=port)
        node: Node | None = None
        try:
            node = self._head.registry.node_by_address(peer)
            found = locate(request, self._head, self._exported)
            if node is not None and node.serial is None and (serial := serial_told(path)) is not None:
                self._serials.learn(node, serial, node.mac)
            if isinstance(found, NotFound | Denied):
                return self._refused(found, request, node, door)
            asset = self._opened(found, request, node)
        except (NetbootdError, OSError) as error:
            self._record(request, node, None, f"{shown(path)} over {door} failed: {error}", Level.ERROR)
            return Refusal("the head node has a problem; its log says which")
        if isinstance(asset, NotFound | Denied):
            return self._refused(asset, request, node, door)
        stage = found.stage if _is_own(found, node) else None
        self._record(request, node, stage, f"{shown(path)} over {door}, {_octets(asset.size)}", Level.INFO)
        return asset

    def _opened(
        self, found: File | Rendered, request: Request, node: Node | None
    ) -> Asset | NotFound | Denied:
        if isinstance(found, Rendered):
            if node is not None and _is_own(found, node):
                self._note_booted(request, node, found)
            return self._rendered(found, request, node)
        try:
            return _file(found)
        except FileNotFoundError:
            return found.absent or NotFound(reason="no such file", missing=found.stage is not None)
        except PermissionError:
            return Denied(reason="the path leads out of what is served, or the file can't be read")

    def _rendered(self, found: Rendered, request: Request, node: Node | None) -> Asset:
        """What the admin's template makes; while it is broken, what it made before, or the packaged one."""
        served = self._renderer.serve(found.template, found.variables, found.packing)
        if served.fault:
            self._record(request, node, None, f"{shown(request.path)}: {served.fault}", Level.ERROR)
        size = len(served.content)
        return Asset(name=request.path, size=size, fd=None, content=served.content, key=(0, 0, 0))

    def _note_booted(self, request: Request, node: Node, found: Rendered) -> None:
        """A full disk must not keep a node from booting; what it boots is current, and so exported anyway."""
        generation = found.variables.get("generation")
        if not isinstance(generation, Generation):
            return
        try:
            self._head.registry.set_booted(
                node.name, generation.image, generation.number, node.root, self._now()
            )
        except HostError as error:
            text = f"that it boots {generation.label} could not be noted: {error}"
            self._record(request, node, None, text, Level.WARNING)

    def _refused(self, found: NotFound | Denied, request: Request, node: Node | None, door: str) -> Refusal:
        """A missing loader or image is somebody's to mend; that a firmware probes for files is its way."""
        if isinstance(found, NotFound) and found.probe:
            return Refusal(found.reason)
        missing = isinstance(found, NotFound) and found.missing
        level = Level.ERROR if missing else Level.WARNING if isinstance(found, Denied) else Level.INFO
        self._record(request, node, None, f"{shown(request.path)} over {door}: {found.reason}", level)
        if isinstance(found, Denied) and not found.told:
            return Refusal(found.reason, denied=True)
        # TFTP's "not found" is the one error that every firmware takes for an answer and goes on from.
        return Refusal(found.told if isinstance(found, Denied) else found.reason)

    def _record(
        self, request: Request, node: Node | None, stage: Stage | None, text: str, level: Level
    ) -> None:
        mac, name = (node.mac, node.name) if node else (None, None)
        told = text if node else f"{request.peer}: {text}"
        self._events.record(Event(time=self._now(), mac=mac, node=name, stage=stage, text=told, level=level))


def _is_own(found: File | Rendered, node: Node | None) -> bool:
    """False for the script of another: whoever looks at it boots nothing, and its node boots on as it was."""
    return isinstance(found, File) or (node is not None and found.variables.get("node") == node)


def _file(found: File) -> Asset:
    descriptor = open_beneath(found.root, found.name)
    status = os.fstat(descriptor)
    return Asset(
        name=found.name,
        size=status.st_size,
        fd=descriptor,
        content=None,
        key=(status.st_dev, status.st_ino, status.st_mtime_ns),
    )


def shown(path: str) -> str:
    """A path from the wire as text, bounded, nothing unprintable."""
    text = "".join(c if c.isprintable() else "?" for c in path[:200])
    return text if len(path) <= 200 else text + "…"


def _octets(size: int) -> str:
    """In the units that nodes tell sizes in, too: node_memory.sh."""
    if size < 1_000_000:
        return f"{size} B" if size < 10_000 else f"{size / 1e3:.0f} kB"
    return f"{size / 1e6:.1f} MB"
