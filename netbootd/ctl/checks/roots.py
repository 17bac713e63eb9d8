"""Persistent roots: whether this machine can mount them, whether they are, and those that nobody uses."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from netbootd.ctl.checks.finding import Context, Finding, note, ok, warning, wrong
from netbootd.ctl.own_roots import lacking
from netbootd.ctl.tables import size
from netbootd.errors import HostError
from netbootd.images import trees
from netbootd.node import Node
from netbootd.roots import applying, keeping, mounting
from netbootd.roots.desired import users

FILE_SYSTEMS = Path("/proc/filesystems")


def roots(context: Context) -> list[Finding]:
    """One finding for each kind of trouble, and for each root that lies idle."""
    with context.head.registry() as registry:
        nodes, booted = registry.nodes(), registry.booted()
    needed = users(nodes, booted)
    if not context.root:
        return [note("persistent roots can be seen by root only")] if needed else []
    found = [*_host(context, needed), *_idle(context, nodes, needed)]
    if needed:
        state = applying.look(context.config, context.head.images, nodes, booted, failed=None)
        found += [wrong(text) for text in state.warnings]
        reasons = {node.name: lacking(context.head, node) for node in needed.values()}
        for reason in dict.fromkeys(filter(None, reasons.values())):
            names = [name for name, why in reasons.items() if why == reason]
            found.append(wrong(f"no persistent root yet for {_some(names)}: {reason[0]}", reason[1]))
        if missing := [n.name for i, n in needed.items() if i not in state.serving and not reasons[n.name]]:
            text = f"not mounted: the persistent root of {_some(missing)}, which can't boot without"
            found.append(wrong(text, "netbootctl apply"))
    return found or ([ok(f"persistent roots mounted: {len(needed)}")] if needed else [])


def _host(context: Context, needed: Mapping[str, Node]) -> Iterator[Finding]:
    """What keeps this machine from mounting any."""
    if not needed:
        return
    if "overlay" not in FILE_SYSTEMS.read_text(encoding="ascii").split():
        yield warning("overlayfs isn't loaded, which persistent roots need", "modprobe overlay")
    directory = context.config.roots_dir
    try:
        mounting.check_place(directory if directory.is_dir() else context.config.state_dir)
    except HostError as error:
        yield wrong(error.message, error.hint)


def _idle(context: Context, nodes: list[Node], needed: Mapping[str, Node]) -> Iterator[Finding]:
    by_id = {node.machine_id: node for node in nodes}
    kept = context.head.roots
    for machine_id in kept.machine_ids():
        if machine_id in needed or keeping.is_empty(kept, machine_id):
            continue
        octets = size(trees.size(kept.upper(machine_id)))
        if (node := by_id.get(machine_id)) is not None:
            text = f"{node.name} has {octets} in a persistent root, and its root mode is {node.root} now"
            yield note(text, f"netbootctl node reset {node.name}   discards them")
        else:
            text = f"{kept.home(machine_id)} has {octets} that a node changed which is no longer registered"
            yield warning(text, f"netbootctl node reset {machine_id}   discards them")


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
