"""`netbootctl node reset`: changes in persistent roots thrown away; and what else goes with a node."""

import os
import re
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from netbootd.ctl.afterwards import bring_up_to_date
from netbootd.ctl.head import Head, complete_nodes
from netbootd.ctl.node_root import only_root, root_of, seeming_up
from netbootd.ctl.tables import say, size, warn
from netbootd.errors import HostError, NetbootdError, UserError
from netbootd.images.trees import size as size_of
from netbootd.node import Node, expand_names
from netbootd.roots import keeping

_STUCK = "without its root it can't even log you in or reboot"
_MACHINE_ID = re.compile(r"[0-9a-f]{32}")


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
    only_root("node reset")
    nodes, orphans = _meant(head, names)
    bare = [node.name for node in nodes if not head.roots.home(node.machine_id).exists()]
    if bare:
        raise UserError(f"{_some(bare)} {_has(bare)} no persistent root", "there is nothing to reset")
    up = seeming_up(head, nodes)
    _confirm(head, nodes, orphans, up, yes=yes)
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
    for node in up:
        warn(f"{node.name} runs on what is gone now: switch it off and on by hand; {_STUCK}")


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


def _confirm(
    head: Head, nodes: Sequence[Node], orphans: Sequence[str], up: Sequence[Node], *, yes: bool
) -> None:
    """Ask, or refuse where nobody can be asked and a node seems to be up. Raises UserError, typer.Abort."""
    if yes:
        return
    if up and not sys.stdin.isatty():
        named = _some([node.name for node in up])
        raise UserError(
            f"{named} {_seems(up)} to be up, and would lose its root while it runs",
            f"switch it off first: `ssh {up[0].name if len(up) == 1 else 'NAME'} poweroff`; --yes resets it"
            f" all the same, and then it has to be switched off and on by hand: {_STUCK}",
        )
    for node in up:
        warn(
            f"{node.name} seems to be up, and would lose its root while it runs: `ssh {node.name} poweroff`"
            f" first, or switch it off and on by hand afterwards; {_STUCK}"
        )
    if not sys.stdin.isatty():
        return
    machine_ids = [*(node.machine_id for node in nodes), *orphans]
    octets = sum(size_of(head.roots.upper(machine_id)) for machine_id in machine_ids)
    what = _some([*(node.name for node in nodes), *orphans])
    typer.confirm(f"discard what {what} changed ({size(octets)})?", abort=True)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _has(names: Sequence[str]) -> str:
    return "has" if len(names) == 1 else "have"


def _its(nodes: Sequence[Node]) -> str:
    return "its" if len(nodes) == 1 else "their"


def _seems(nodes: Sequence[Node]) -> str:
    return "seems" if len(nodes) == 1 else "seem"
