"""What is said of a node's persistent root: what it lies over, what is newer, how much was changed."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from netbootd.ctl.head import Head
from netbootd.ctl.tables import size
from netbootd.image import how_to_get
from netbootd.images import trees
from netbootd.node import Node, RootMode


@dataclass(frozen=True, slots=True)
class Standing:
    """`over`: what the node's changes lie over, `newer`: what it would boot without them, where that differs.

    Both as debian@3. `octets` it changed or added; None where we may not look.
    """

    node: Node
    over: str
    newer: str | None
    octets: int | None

    @property
    def used(self) -> bool:
        """Whether the node boots from it."""
        return self.node.root is RootMode.PERSISTENT

    @property
    def record(self) -> dict[str, Any]:
        """For programs."""
        return {"generation": self.over, "newer": self.newer, "size": self.octets}

    def __str__(self) -> str:
        octets = f"{size(self.octets)} " if self.octets is not None else ""
        newer = f"; {self.newer} is current" if self.newer else ""
        return f"{octets}over {self.over}{newer if self.used else '; not in use'}"

    @property
    def advice(self) -> str:
        """Why the node doesn't boot what is current, and what to do for it to; empty where it does."""
        if not self.used or not self.newer:
            return ""
        name = self.node.name
        return (
            f"{name} goes on with its own root, over {self.over}: {self.newer} isn't in it; `netbootctl node"
            f" reset {name}` discards its changes and gives it that (see `node diff`, `node promote` first)"
        )


def advise(head: Head, nodes: Iterable[Node], tell: Callable[[str], None]) -> None:
    """Tell of nodes that go on with what their own root lies over, though something newer is current."""
    for node in nodes:
        if (own := standing(head, node)) and own.advice:
            tell(own.advice)


_MODES = {RootMode.OVERLAY: "overlay", RootMode.PERSISTENT: "own root", RootMode.RAM: "in memory"}


def said(label: str, root: RootMode, *, usual: bool = False) -> str:
    """What a node boots and how it has it: `debian@3, own root`. Overlay is said only if `usual` is set."""
    return label if root is RootMode.OVERLAY and not usual else f"{label}, {_MODES[root]}"


def lacking(head: Head, node: Node) -> tuple[str, str] | None:
    """Why `apply` can't make the node's root, and what to do first; None where it can, or needn't."""
    if head.roots.generation(node.machine_id) is not None:
        return None
    if node.image is None:
        return "no image is set", "netbootctl node set NAME --image IMAGE"
    if head.images.current_number(node.image) is not None:
        return None
    if node.image in head.images.names() and head.images.numbers(node.image):
        return f"image {node.image} has no current generation", f"netbootctl image use {node.image}@NUMBER"
    return f"image {node.image} has no generation", how_to_get(node.image, head.images.names())


def leaves_kept(head: Head, old: Node, new: Node) -> str:
    """What becomes of the changes of a node that leaves its persistent root; empty where it leaves none."""
    left = old.root is RootMode.PERSISTENT and new.root is not RootMode.PERSISTENT
    if not left or head.roots.generation(new.machine_id) is None:
        return ""
    name = new.name
    return (
        f"what {name} changed in its own root is kept: `netbootctl node diff {name}` shows it, `node set"
        f" {name} --root persistent` brings it back, `node reset {name}` throws it away"
    )


def standing(head: Head, node: Node, *, measured: bool = False) -> Standing | None:
    """How the node's persistent root stands; None where it has none. `measured` looks at every file."""
    over = head.roots.generation(node.machine_id)
    if over is None:
        return None
    current = head.images.current_number(node.image) if node.image else None
    newer = f"{node.image}@{current}" if current is not None else None
    label = f"{over[0]}@{over[1]}"
    octets = trees.size(head.roots.upper(node.machine_id)) if measured and os.geteuid() == 0 else None
    return Standing(node, label, newer if newer != label else None, octets)
