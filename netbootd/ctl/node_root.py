"""`netbootctl node diff`, `promote`, `reset`: what a node changed in its persistent root, kept or not."""

import os
import re
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from netbootd import events
from netbootd.ctl import echo
from netbootd.ctl.afterwards import bring_up_to_date
from netbootd.ctl.head import Head, complete_images, complete_nodes
from netbootd.ctl.options import Json
from netbootd.ctl.tables import duration, listing, print_json, say, size, warn
from netbootd.errors import HostError, NetbootdError, UserError
from netbootd.image import image_name
from netbootd.images.trees import size as size_of
from netbootd.node import Node, RootMode, expand_names, host_name
from netbootd.roots import keeping

if TYPE_CHECKING:
    from netbootd.roots.changed import Root

Name = Annotated[str, typer.Argument(metavar="NAME", autocompletion=complete_nodes, show_default=False)]
_MACHINE_ID = re.compile(r"[0-9a-f]{32}")


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
    _as_root("promote")
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


def reset(
    ctx: typer.Context,
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME…",
            autocompletion=complete_nodes,
            show_default=False,
            help="Names, ranges as 'n[01-12]'; a machine-id for a root whose node was removed.",
        ),
    ],
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Without asking, and even if it is up.")] = False,
) -> None:
    """Discard what nodes changed in their persistent roots; their next boot gets the current generation."""
    head = Head.of(ctx)
    _as_root("reset")
    nodes, orphans = _meant(head, names)
    bare = [node.name for node in nodes if not head.roots.home(node.machine_id).exists()]
    if bare:
        raise UserError(f"{_some(bare)} {_has(bare)} no persistent root", "there is nothing to reset")
    _confirm(head, nodes, orphans, yes=yes)
    for machine_id in (*(node.machine_id for node in nodes), *orphans):
        keeping.order_reset(head.roots, machine_id)
    done = f"reset {_some([*(node.name for node in nodes), *orphans])}"
    bring_up_to_date(head, done)
    for node in nodes:
        over = head.roots.generation(node.machine_id)
        label = f"{over[0]}@{over[1]}" if over else f"image {node.image or '-'} with root mode {node.root}"
        say(f"{node.name}: changes discarded; its next boot gets {label}")
    for machine_id in orphans:
        say(f"{machine_id}: changes discarded")


# For the other commands on nodes


def root_of(head: Head, name: str) -> "Root":
    """A node's persistent root. Raises UserError where it has none, HostError where it can't be read."""
    from netbootd.roots.changed import Laid, Root  # noqa: PLC0415 (reads trees; listings needn't)

    with head.registry() as registry:
        node = registry.node(host_name(name))
    if os.geteuid() != 0:
        raise HostError(f"what {node.name} changed can be read by root only", "run it as root")
    over = head.roots.generation(node.machine_id)
    if over is None:
        hint = "netbootctl apply makes it" if node.root is RootMode.PERSISTENT else ""
        hint = hint or f"its root mode is {node.root}: netbootctl node set {node.name} --root persistent"
        raise UserError(f"{node.name} has no persistent root yet", hint)
    lower = head.images.generation(*over)
    if lower is None:
        raise UserError(
            f"the changes of {node.name} lie over {over[0]}@{over[1]}, and that isn't there",
            f"put it back, or netbootctl node reset {node.name} discards them",
        )
    machine_id, laid = node.machine_id, Laid(head.config, node)
    return Root(node, lower, head.roots.upper(machine_id), head.roots.mount_point(machine_id), laid)


def to_discard(head: Head, nodes: Sequence[Node], *, discard: bool) -> list[str]:
    """The machine-ids of `nodes` whose roots shall go with them. Raises UserError where that would lose much.

    Logs, and what each boot makes anew, may go; for what else a node changed `discard` has to be said.
    """
    kept = [node for node in nodes if head.roots.home(node.machine_id).exists()]
    if not kept:
        return []
    if os.geteuid() != 0:
        named = _some([node.name for node in kept])
        raise HostError(
            f"{named} {_has([n.name for n in kept])} a persistent root, which is root's", "run it as root"
        )
    if not discard and (losing := [node for node in kept if _has_changed(head, node)]):
        name = losing[0].name
        raise UserError(
            f"{_some([node.name for node in losing])} changed files in a root of {_its(losing)} own",
            f"`netbootctl node diff {name}` shows them, `node promote {name}` keeps them as a generation of"
            " the image; --discard throws them away",
        )
    return [node.machine_id for node in kept]


# Details


def _has_changed(head: Head, node: Node) -> bool:
    """Whether it changed more than what is its own. What can't be read counts."""
    if keeping.is_empty(head.roots, node.machine_id):
        return False
    try:
        return any(not each.why for each in root_of(head, node.name).told())
    except NetbootdError:
        return True


def _meant(head: Head, names: Sequence[str]) -> tuple[list[Node], list[str]]:
    """The nodes, and the machine-ids that no node has; each once."""
    nodes: dict[str, Node] = {}
    orphans: dict[str, None] = {}
    with head.registry() as registry:
        ids = {node.machine_id: node for node in registry.nodes()}
        for text in names:
            if _MACHINE_ID.fullmatch(text) and text in head.roots.machine_ids():
                if text in ids:
                    nodes[ids[text].name] = ids[text]
                else:
                    orphans[text] = None
                continue
            nodes |= {name: registry.node(name) for name in expand_names(text)}
    return list(nodes.values()), list(orphans)


def _confirm(head: Head, nodes: Sequence[Node], orphans: Sequence[str], *, yes: bool) -> None:
    """Ask, or refuse where nobody can be asked and a node seems to be up. Raises UserError, typer.Abort."""
    if yes:
        return
    up = [node for node in nodes if _is_up(head, node)]
    if up and not sys.stdin.isatty():
        named = _some([node.name for node in up])
        raise UserError(
            f"{named} {_seems(up)} to be up, and would lose its root while it runs",
            "switch it off, or pass --yes",
        )
    for node in up:
        warn(
            f"{node.name} seems to be up: it would lose its root while it runs, and has to be restarted then"
        )
    if not sys.stdin.isatty():
        return
    machine_ids = [*(node.machine_id for node in nodes), *orphans]
    octets = sum(size_of(head.roots.upper(machine_id)) for machine_id in machine_ids)
    what = _some([*(node.name for node in nodes), *orphans])
    typer.confirm(f"discard what {what} changed ({size(octets)})?", abort=True)


def _is_up(head: Head, node: Node) -> bool:
    """It runs on its persistent root, as far as we know, and answers at its address."""
    with head.registry() as registry:
        booted = registry.booted().get(node.name)
    return booted is not None and booted.root is RootMode.PERSISTENT and echo.answers(node.address)


def _heard(head: Head, node: Node) -> str:
    """In words that it is up, and when it was last heard of; empty where it doesn't seem to be up."""
    if not _is_up(head, node):
        return ""
    last = max((p.last for p in events.latest(head.config.events_path) if p.mac in node.macs), default=None)
    booted = f", and booted {duration(time.time() - last)} ago" if last is not None else ""
    return f"is up{booted}"


def _as_root(what: str) -> None:
    if os.geteuid() != 0:
        raise HostError(f"`node {what}` is root's", "run it as root")


def _next(node: Node, image: str) -> str:
    return "that" if node.image == image else node.image or "nothing"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _has(names: Sequence[str]) -> str:
    return "has" if len(names) == 1 else "have"


def _its(nodes: Sequence[Node]) -> str:
    return "its" if len(nodes) == 1 else "their"


def _seems(nodes: Sequence[Node]) -> str:
    return "seems" if len(nodes) == 1 else "seem"
