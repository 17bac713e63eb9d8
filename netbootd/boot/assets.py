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
STAGES = {"vmlinuz": Stage.KERNEL, "Image": Stage.KERNEL, "initrd": Stage.INITRD}


@dataclass(frozen=True, slots=True)
class Request:
    """`path` as the client wrote it; `peer` is its address."""

    path: str
    peer: IPv4Address


def locate(request: Request, view: View, exported: Exported) -> Located:
    """Find what `request` asks for; no file is touched."""
    if len(request.path) > LONGEST_PATH or not request.path.isprintable():
        return Denied(reason="a path longer than 500 characters, or with control characters")
    parts = _parts(request.path)
    if ".." in parts:
        return Denied(reason="a path that climbs with ..")
    match parts:
        case ("loaders", name) if name in LOADERS:
            return _loader(name, view)
        case ("images", image, number, *rest) if rest:
            if (brought := _of_image(image, number, "/".join(rest), view)) is not None:
                return brought
    visit = Visit(parts, request.peer, view, exported)
    for family in FAMILIES:
        if (found := family.locate(visit)) is not None:
            return found
    return NotFound(reason="no such path")


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


def _of_image(image: str, number: str, name: str, view: View) -> Located | None:
    """None where a loader that the image brought asks beside itself for what it didn't bring."""
    try:
        image, wanted = parse_label(f"{image}@{number}")
    except UserError:
        return NotFound(reason="no such image")
    generation = view.generation(image, wanted)
    if generation is None:
        return NotFound(reason=f"there is no {image}@{number}", missing=True)
    loader = name.removeprefix("loaders/") if name.startswith("loaders/") else None
    if loader and loader not in generation.loaders:
        return None
    stage = Stage.LOADER if loader else STAGES.get(name)
    return File(root=generation.boot, name=name, stage=stage)
