"""What is told when a command has made a generation: what came out, who gets it and who could."""

from netbootd.ctl.afterwards import bring_up_to_date
from netbootd.ctl.head import Head
from netbootd.ctl.progress import took
from netbootd.ctl.tables import say, size, warn
from netbootd.image import Generation


def tell(head: Head, made: Generation, began: float) -> None:
    """Say it of `made`, begun when the monotonic clock said `began`, and bring everything up to date."""
    kernel = f"{made.architecture}, kernel {made.kernel_release}"
    say(f"{made.label} is current: {kernel}, {size(made.size)}, in {took(began)}")
    for remark in made.remarks:
        say(f"  {remark}")
    with head.registry() as registry:
        nodes = registry.nodes()
    if having := [node.name for node in nodes if node.image == made.image]:
        say(f"{_some(having)} get it at their next boot")
    elif not nodes:
        say("next: netbootctl node add n01 --mac MAC")
    if bare := [node.name for node in nodes if node.image is None]:
        warn(f"{_some(bare)} have no image; `netbootctl node set NAME --image {made.image}`")
    bring_up_to_date(head, f"{made.label} is current")


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
