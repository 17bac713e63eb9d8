"""`netbootctl node diff` and `promote`: what a node changed in its persistent root, shown and kept."""

import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from netbootd import events
from netbootd.ctl import echo
from netbootd.ctl.afterwards import bring_up_to_date
from netbootd.ctl.head import Head, complete_images, complete_nodes
from netbootd.ctl.options import Json
from netbootd.ctl.own_roots import lacking
from netbootd.ctl.tables import duration, listing, print_json, say, size, warn
from netbootd.errors import HostError, UserError
from netbootd.image import image_name
from netbootd.node import Node, RootMode, host_name

if TYPE_CHECKING:
    from netbootd.roots.changed import Root

Name = Annotated[str, typer.Argument(metavar="NAME", autocompletion=complete_nodes, show_default=False)]


def diff(
    ctx: typer.Context,
    name: Name,
    *,
    as_json: Json = False,
    every: Annotated[
        bool, typer.Option("--all", help="Every entry; also what netbootd lays there, logs and the like.")
    ] = False,
) -> None:
    """Show what a node changed in its persistent root, over the image."""
    from netbootd.roots import summary  # noqa: PLC0415 (the other commands needn't)

    root = root_of(Head.of(ctx), name)
    told = [each for each in root.told() if every or not each.why]
    if as_json:
        records = [
            {
                "path": f"/{each.change.path}" if each.change.path != "." else "/",
                "change": each.change.kind,
                "type": each.change.type,
                "what": list(each.change.what),
                "size": each.change.size,
                **({"left_out": each.why or None} if every else {}),
            }
            for each in told
        ]
        return print_json({"node": root.node.name, "generation": root.lower.label, "changes": records})
    if every:
        rows = [
            {
                "change": each.change.kind,
                "path": f"/{each.change.path}" if each.change.path != "." else "/",
                "what": ", ".join(each.change.what) or each.change.type,
                "size": size(each.change.size) if each.change.size else "",
                "why": each.why,
            }
            for each in told
        ]
        columns = {"change": "change", "path": "path", "what": "what", "size": "size", "why": "left out"}
        return listing(rows, columns, empty=f"{root.node.name} has changed nothing of {root.lower.label}")
    rows = [
        {
            "change": line.change,
            "path": line.path,
            "what": line.what,
            "size": size(line.size) if line.size else "",
        }
        for line in summary.lines(each.change for each in told)
    ]
    empty = f"{root.node.name} has changed nothing of {root.lower.label}; --all shows what it has of its own"
    listing(rows, {"change": "change", "path": "path", "what": "what", "size": "size"}, empty=empty)
    if told:
        octets = sum(each.change.size for each in told)
        say(f"{len(told)} changes over {root.lower.label}, {size(octets)}; --all shows every one")
    return None


def promote(
    ctx: typer.Context,
    name: Name,
    image: Annotated[
        str | None,
        typer.Argument(
            metavar="[IMAGE]",
            autocompletion=complete_images,
            show_default=False,
            help="Another image than the node's own; made where there is none of that name.",
        ),
    ] = None,
    note: Annotated[str, typer.Option("--note", metavar="TEXT", help="Your words about it.")] = "",
) -> None:
    """Make what a node changed the next generation of its image. The node stays as it is."""
    from netbootd.ctl.progress import shown  # noqa: PLC0415 (the other commands needn't)
    from netbootd.roots import promote as promoting  # noqa: PLC0415 (loads all that makes images)

    head = Head.of(ctx)
    only_root("node promote")
    root = root_of(head, name)
    node, over = root.node, root.lower
    image = image_name(image) if image else over.image
    if heard := _heard(head, node):
        warn(f"{node.name} {heard}: its files are copied as they stand at this moment")
    current = head.images.current_number(image)
    if image == over.image and current != over.number:
        warn(f"{image}@{current} is current and isn't in it: {node.name} made its changes over {over.label}")
    with shown(f"making {image} of {node.name}") as progress:
        made = promoting.promote(head.images, root, image=image, note=note, progress=progress)
    say(f"{made.label} is current: {over.label} with what {node.name} changed")
    after = f"after `netbootctl node reset {node.name}` it boots {_next(node, image)}"
    say(f"{node.name} stays on its root; {after}")
    bring_up_to_date(head, f"{made.label} made")


def root_of(head: Head, name: str) -> "Root":
    """A node's persistent root. Raises UserError where it has none, HostError where it can't be read."""
    from netbootd.roots.changed import Laid, Root  # noqa: PLC0415 (reads trees; listings needn't)

    with head.registry() as registry:
        node = registry.node(host_name(name))
        profiles = {profile.name: profile.parent for profile in registry.profiles()}
    if os.geteuid() != 0:
        raise HostError(f"what {node.name} changed can be read by root only", "run it as root")
    over = head.roots.generation(node.machine_id)
    if over is None:
        none = f"{node.name} has no persistent root yet"
        if node.root is not RootMode.PERSISTENT:
            hint = f"its root mode is {node.root}: netbootctl node set {node.name} --root persistent"
            raise UserError(none, hint)
        if reason := lacking(head, node):
            raise UserError(f"{none}: {reason[0]}", reason[1])
        raise UserError(none, "netbootctl apply makes it")
    lower = head.images.generation(*over)
    if lower is None:
        raise UserError(
            f"the changes of {node.name} lie over {over[0]}@{over[1]}, and that isn't there",
            f"put it back, or netbootctl node reset {node.name} discards them",
        )
    machine_id, laid = node.machine_id, Laid(head.config, node, lower.root, profiles)
    return Root(node, lower, head.roots.upper(machine_id), head.roots.mount_point(machine_id), laid)


def only_root(command: str) -> None:
    """Raise HostError where we aren't root."""
    if os.geteuid() != 0:
        raise HostError(f"`{command}` is root's", "run it as root")


def seeming_up(head: Head, nodes: Sequence[Node]) -> list[Node]:
    """Those that run on their persistent root, as far as we know, and answer at their address. Root only."""
    with head.registry() as registry:
        booted = registry.booted()
    running = [
        node for node in nodes if node.name in booted and booted[node.name].root is RootMode.PERSISTENT
    ]
    found = echo.answering([node.address for node in running]) if running else set()
    return [node for node in running if node.address in found]


# Details


def _heard(head: Head, node: Node) -> str:
    """In words that it is up, and when it was last heard of; empty where it doesn't seem to be up."""
    if not seeming_up(head, [node]):
        return ""
    last = max((p.last for p in events.latest(head.config.events_path) if p.mac in node.macs), default=None)
    booted = f", and booted {duration(time.time() - last)} ago" if last is not None else ""
    return f"is up{booted}"


def _next(node: Node, image: str) -> str:
    return "that" if node.image == image else node.image or "nothing"
