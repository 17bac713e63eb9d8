"""What a path yields: the second of the two boot decisions. TFTP and HTTP are two doors to it.

loaders/NAME                     a loader from the table
images/NAME/GENERATION/FILE      kernel, initrd and what else lies in a generation's boot directory
images/NAME/GENERATION/root.squashfs    the root with its password hashes: for root of a node that boots it
ram/common.tar, ram/nodes/NAME.tar      node files of a node in memory, while it boots

Every other path is one that a firmware or loader makes up by itself (`pxelinux.cfg/01-…`,
`SERIAL/config.txt`) or was told of by its family: the families are asked, in their order.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address

from netbootd.boot import cmdline
from netbootd.boot.answer import Denied, File, Located, NotFound
from netbootd.boot.cmdline import Exported
from netbootd.boot.firmware import FAMILIES
from netbootd.boot.loaders import LOADERS
from netbootd.boot.visit import View, Visit
from netbootd.boot.window import PRIVILEGED
from netbootd.errors import UserError
from netbootd.image import Generation, parse_label
from netbootd.node import RootMode
from netbootd.stage import Stage

LONGEST_PATH = 500
STAGES = {"vmlinuz": Stage.KERNEL, "Image": Stage.KERNEL, "initrd": Stage.INITRD}


@dataclass(frozen=True, slots=True)
class Request:
    """`path` as the client wrote it; `peer` is its address, `port` its TCP port where it came over HTTP."""

    path: str
    peer: IPv4Address
    port: int | None = None


def locate(request: Request, view: View, exported: Exported) -> Located:
    """Find what `request` asks for; no file is touched."""
    if len(request.path) > LONGEST_PATH or not request.path.isprintable():
        return Denied(reason="a path longer than 500 characters, or with control characters")
    parts = _parts(request.path)
    if ".." in parts:
        return Denied(reason="a path that climbs with ..")
    if (ours := _ours(parts, request, view, exported)) is not None:
        return ours
    visit = Visit(parts, request.peer, view, exported)
    for family in FAMILIES:
        if (found := family.locate(visit)) is not None:
            return found
    return NotFound(reason="no such path")


def _ours(parts: tuple[str, ...], request: Request, view: View, exported: Exported) -> Located | None:
    """What a path of netbootd's own making yields; None where a firmware made it."""
    match parts:
        case ("loaders", name) if name in LOADERS:
            return _loader(name, view)
        case ("images", image, number, *rest) if rest:
            return _of_image(image, number, "/".join(rest), request, view)
        case (cmdline.RAM, *rest):
            return _node_files(tuple(rest), request, view, exported)
    return None


def serial_told(path: str) -> str | None:
    """The serial number of the board that asks for `path`, where its firmware puts that into its paths."""
    parts = _parts(path[:LONGEST_PATH])
    return next((serial for family in FAMILIES if (serial := family.serial_in(parts))), None)


def _parts(path: str) -> tuple[str, ...]:
    return tuple(part for part in path.replace("\\", "/").split("/") if part not in ("", "."))


def _loader(name: str, view: View) -> Located:
    path = view.loader(name)
    if path is None:
        reason = f"the loader {name} isn't installed; {LOADERS[name].advice}"
        return NotFound(reason=reason, missing=True)
    return File(root=path.parent, name=path.name, stage=Stage.LOADER)


def _of_image(image: str, number: str, name: str, request: Request, view: View) -> Located | None:
    """None where a loader that the image brought asks beside itself for what it didn't bring."""
    try:
        image, wanted = parse_label(f"{image}@{number}")
    except UserError:
        return NotFound(reason="no such image")
    generation = view.generation(image, wanted)
    if generation is None:
        return NotFound(reason=f"there is no {image}@{number}", missing=True)
    if name == cmdline.SQUASHFS and (why := _keeps_root(generation, request, view)):
        return Denied(reason=why)
    loader = name.removeprefix("loaders/") if name.startswith("loaders/") else None
    if loader and loader not in generation.loaders:
        return None
    stage = Stage.LOADER if loader else STAGES.get(name)
    return File(root=generation.boot, name=name, stage=stage)


def _keeps_root(generation: Generation, request: Request, view: View) -> str:
    """Why a root in one file isn't given to who asks, empty where it is: as NFS has it, for /etc/shadow.

    Not bound to the time of a boot: what a slow wire brings late has to be asked for again.
    """
    node = view.node_by_address(request.peer)
    if node is None or node.root is not RootMode.RAM or node.image != generation.image:
        return f"{generation.label} as one file is given to nodes that keep it in memory, and to nobody else"
    if request.port is None or request.port >= PRIVILEGED:
        return f"{generation.label} as one file is for node-init, which asks over HTTP from a port below 1024"
    return ""


def _node_files(parts: tuple[str, ...], request: Request, view: View, exported: Exported) -> Located:
    """For the node that has the address, and only while it boots: there are private keys among them."""
    node = view.node_by_address(request.peer)
    if node is None:
        return Denied(reason="node files are given to nodes, and none has this address")
    if parts not in (("common.tar",), ("nodes", f"{node.name}.tar")):
        return Denied(reason=f"node files are given to their own node, and this is {node.name}")
    if node.root is not RootMode.RAM:
        return Denied(reason=f"{node.name} has root mode {node.root}, so it mounts its files")
    if why := view.withheld(node, request.port):
        return Denied(reason=why)
    absent = NotFound(
        reason=f"the files of {node.name} aren't made; `netbootctl apply` does that", missing=True
    )
    return File(root=exported.ram_dir, name="/".join(parts), stage=None, absent=absent)
