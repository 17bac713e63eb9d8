"""What is told when a command has made a generation: what came out, who gets it and who could."""

from collections.abc import Sequence

from netbootd.ctl.afterwards import bring_up_to_date
from netbootd.ctl.head import Head
from netbootd.ctl.progress import took
from netbootd.ctl.tables import say, size, warn
from netbootd.image import Generation
from netbootd.node import Node, RootMode


def tell(head: Head, made: Generation, began: float) -> None:
    """Say it of `made`, begun when the monotonic clock said `began`, and bring everything up to date."""
    kernel = f"{made.architecture}, kernel {made.kernel_release}"
    say(f"{made.label} is current: {kernel}, {size(made.size)}, in {took(began)}")
    for remark in made.remarks:
        say(f"  {remark}")
    with head.registry() as registry:
        nodes = registry.nodes()
    bare = [node.name for node in nodes if node.image is None]
    if not nodes:
        say("next: netbootctl node add n01 --mac MAC")
    elif not tell_nodes(head, made, nodes) and not bare:
        say(f"next: netbootctl node set NAME --image {made.image}")
    if bare:
        have = "has" if len(bare) == 1 else "have"
        warn(f"{_some(bare)} {have} no image; `netbootctl node set NAME --image {made.image}`")
    bring_up_to_date(head, f"{made.label} is current")


def tell_nodes(head: Head, made: Generation, nodes: Sequence[Node]) -> bool:
    """Say which of `nodes` get `made`, which is current, and which go on with a root of their own.

    Whether any of them has the image at all.
    """
    getting: list[str] = []
    staying: dict[tuple[str, int], list[str]] = {}
    for node in nodes:
        if node.image != made.image:
            continue
        over = head.roots.generation(node.machine_id) if node.root is RootMode.PERSISTENT else None
        if over is None or over == (made.image, made.number):
            getting.append(node.name)
        else:
            staying.setdefault(over, []).append(node.name)
    if getting:
        get = "gets it at its" if len(getting) == 1 else "get it at their"
        say(f"{_some(getting)} {get} next boot")
    for (image, number), names in sorted(staying.items()):
        stay, name = (
            ("stays on its own root", names[0]) if len(names) == 1 else ("stay on their own roots", "NAME")
        )
        say(f"{_some(names)} {stay} over {image}@{number} until `netbootctl node reset {name}`")
    return bool(getting or staying)


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
