"""What a path yields: the second of the two boot decisions. TFTP and HTTP are two doors to it.

loaders/NAME                     a loader from the table
images/NAME/GENERATION/FILE      kernel, initrd and what else lies in a generation's boot directory

Every other path is one that a firmware or loader makes up by itself (`pxelinux.cfg/01-…`,
`SERIAL/config.txt`) or was told of by its family: the families are asked, in their order.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address

from netbootd.boot.answer import Denied, File, Located, NotFound
from netbootd.boot.cmdline import Exported
from netbootd.boot.firmware import FAMILIES
from netbootd.boot.loaders import LOADERS
from netbootd.boot.visit import View, Visit
from netbootd.errors import UserError
from netbootd.image import parse_label
from netbootd.stage import Stage

LONGEST_PATH = 500
STAGES = {"vmlinuz": Stage.KERNEL, "initrd": Stage.INITRD}


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
    parts = tuple(part for part in path.split("/") if part not in ("", "."))
    if ".." in parts:
        return Denied(reason="a path that climbs with ..")
    match parts:
        case ("loaders", name):
            return _loader(name, view)
        case ("images", image, number, *rest) if rest:
            return _of_image(image, number, "/".join(rest), view)
    visit = Visit(parts, request.peer, view, exported)
    for family in FAMILIES:
        if (found := family.locate(visit)) is not None:
            return found
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


def _of_image(image: str, number: str, name: str, view: View) -> Located:
    try:
        image, wanted = parse_label(f"{image}@{number}")
    except UserError:
        return NotFound(reason="no such image")
    generation = view.generation(image, wanted)
    if generation is None:
        return NotFound(reason=f"there is no {image}@{number}", missing=True)
    loader = Stage.LOADER if name.startswith("loaders/") else None
    return File(root=generation.boot, name=name, stage=STAGES.get(name, loader))
