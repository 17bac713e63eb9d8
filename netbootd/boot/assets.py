"""What a path yields: the second of the two boot decisions. TFTP and HTTP are two doors to it.

loaders/NAME                     a loader from the table
boot/MAC/boot.ipxe               the node's script, rendered
images/NAME/GENERATION/FILE      kernel, initrd and what else lies in a generation's boot directory
"""

from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Protocol

from netbootd.boot.answer import Denied, File, Located, NotFound, Rendered
from netbootd.boot.cmdline import Exported, command_line
from netbootd.boot.loaders import LOADERS
from netbootd.errors import UserError
from netbootd.image import Generation, parse_label
from netbootd.network import Network
from netbootd.node import Mac, Node
from netbootd.stage import Stage

LONGEST_PATH = 500
STAGES = {"vmlinuz": Stage.KERNEL, "initrd": Stage.INITRD}


class View(Protocol):
    """What `locate` may look up."""

    def node_by_mac(self, mac: Mac) -> Node | None:
        """The node with this card."""

    def network_of(self, address: IPv4Address) -> Network | None:
        """The network that an address lies in."""

    def generation(self, image: str, number: int | None) -> Generation | None:
        """A generation of an image, the current one where `number` is None."""

    def loader(self, name: str) -> Path | None:
        """Where this machine has the loader."""


@dataclass(frozen=True, slots=True)
class Request:
    """`path` as the client wrote it; `peer` is its address."""

    path: str
    peer: IPv4Address


def locate(request: Request, view: View, exported: Exported) -> Located:
    """Find what `request` asks for; no file is touched."""
    path = request.path.replace("\\", "/")
    if len(path) > LONGEST_PATH or not path.isprintable():
        return Denied(reason="a path longer than 500 characters, or with control characters")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        return Denied(reason="a path that climbs with ..")
    match parts:
        case ["loaders", name]:
            return _loader(name, view)
        case ["boot", mac, "boot.ipxe"]:
            return _script(mac, view, exported)
        case ["images", image, number, *rest] if rest:
            return _of_image(image, number, "/".join(rest), view)
    return NotFound(reason="no such path")


def _loader(name: str, view: View) -> Located:
    if name not in LOADERS:
        return NotFound(reason="no such loader")
    path = view.loader(name)
    if path is None:
        package = LOADERS[name].package
        return NotFound(
            reason=f"loader {name} isn't installed; `apt install {package}` brings it", missing=True
        )
    return File(root=path.parent, name=path.name, stage=Stage.LOADER)


def _script(text: str, view: View, exported: Exported) -> Located:
    mac = _mac(text)
    node = view.node_by_mac(mac) if mac else None
    if node is None:
        return NotFound(reason="no node has this MAC address")
    network = view.network_of(node.address)
    if network is None:
        return NotFound(
            reason=f"{node.name}'s address {node.address} lies in no network served", missing=True
        )
    generation = view.generation(node.image, None) if node.image else None
    if generation is None:
        what = (
            f"image {node.image!r} of {node.name} has no generation"
            if node.image
            else f"{node.name} has no image"
        )
        return NotFound(reason=f"{what}; `netbootctl image list` shows those there are", missing=True)
    variables = {
        "node": node,
        "network": network,
        "generation": generation,
        "files": f"{network.http}/images/{generation.image}/{generation.number}",
        "command_line": command_line(node, generation, network, exported),
    }
    return Rendered(template="boot/ipxe/boot.ipxe.j2", variables=variables, stage=Stage.CONFIG)


def _of_image(image: str, number: str, name: str, view: View) -> Located:
    try:
        image, wanted = parse_label(f"{image}@{number}")
    except UserError:
        return NotFound(reason="no such image")
    generation = view.generation(image, wanted)
    if generation is None:
        return NotFound(reason=f"there is no {image}@{number}", missing=True)
    return File(root=generation.boot, name=name, stage=STAGES.get(name))


def _mac(text: str) -> Mac | None:
    try:
        return Mac(text)
    except UserError:
        return None
