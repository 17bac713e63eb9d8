"""`netbootctl status`: how far each node has come, since when, and what is missing for the next to boot."""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from netbootd import events
from netbootd.boot.progress import Progress
from netbootd.ctl import wanted_loaders
from netbootd.ctl.head import Head
from netbootd.ctl.options import Json
from netbootd.ctl.own_roots import said, standing
from netbootd.ctl.tables import cell, duration, listing, print_json, say, table
from netbootd.ctl.verdict import ADVICE, State, state, stopped_at
from netbootd.image import how_to_get
from netbootd.node import Booted, Mac, Node
from netbootd.stage import Level

app = typer.Typer()

COLUMNS = {"name": "node", "address": "address", "state": "state", "stage": "stage", "ago": "last heard",
           "boots": "image", "remark": "remark"}  # fmt: skip
REFRESH = 1.0
"""Seconds between two looks with --watch."""
MOST_STRANGERS = 20


@dataclass(frozen=True, slots=True)
class Overview:
    """All that `status` shows, as JSON can hold it."""

    daemon: int | None
    nodes: list[dict[str, Any]]
    strangers: list[dict[str, Any]]
    missing: list[str]


@app.command(help="How far each node has come, and what is missing.")
def status(
    ctx: typer.Context,
    as_json: Json = False,
    watch: Annotated[bool, typer.Option("--watch", help="Keep looking, until Ctrl-C.")] = False,
) -> None:
    """Show each node's stage, since when, its image and address, and what is missing."""
    head = Head.of(ctx)
    if watch:
        return _watch(head, as_json=as_json)
    overview = look(head)
    if as_json:
        return print_json(_record(overview))
    listing(overview.nodes, COLUMNS, empty="no node is registered yet")
    for line in _below(overview):
        say(line)
    return None


def look(head: Head) -> Overview:
    """Read everything once."""
    now = time.time()
    with head.registry() as registry:
        nodes, booted = registry.nodes(), registry.booted()
        profile_images = {profile.settings.image for profile in registry.profiles() if profile.settings.image}
    latest = {progress.mac: progress for progress in events.latest(head.config.events_path)}
    known = {mac for node in nodes for mac in node.macs}
    return Overview(
        daemon=head.daemon_pid(),
        nodes=[_node(node, latest, booted.get(node.name), head, now) for node in nodes],
        strangers=[
            {
                "mac": p.mac,
                "stage": p.stage,
                "last": p.last,
                "ago": f"{duration(now - p.last)} ago",
                "text": p.text,
            }
            for p in latest.values()
            if p.mac not in known
        ],
        missing=list(_missing(head, nodes, profile_images, latest)),
    )


def _node(
    node: Node, latest: dict[Mac, Progress], booted: Booted | None, head: Head, now: float
) -> dict[str, Any]:
    progress = max((latest[mac] for mac in node.macs if mac in latest), key=lambda p: p.last, default=None)
    how = state(progress, now)
    current = head.images.current_number(node.image) if node.image else None
    boots = f"{node.image}@{current}" if current else node.image
    own = standing(head, node)
    if own and own.used:
        boots = own.over
    told = booted.label if booted else None
    shown = said(boots, node.root) if boots else None
    if booted and (booted.label, booted.root) != (boots, node.root):
        following = said(boots, node.root, usual=booted.root is not node.root) if boots else "-"
        shown = f"{said(booted.label, booted.root)}; next {following}"
    if own and own.used and own.newer:
        shown = f"{shown}; {own.newer} is current"
    return {
        "name": node.name,
        "address": str(node.address),
        "state": how,
        "stage": progress.stage if progress else None,
        "since": progress.last if progress else None,
        "ago": f"{duration(now - progress.last)} ago" if progress else None,
        "image": node.image,
        "root": node.root.value,
        "booted": told,
        "booted_root": booted.root.value if booted else None,
        "next": boots if current or (own and own.used) else None,
        "persistent_root": own.record if own else None,
        "boots": shown,
        "remark": _remark(progress, proxied=head.proxied(node) is not None)
        if progress and how is State.STUCK
        else None,
        "text": progress.text if progress else None,
        "level": progress.level if progress else None,
    }


def _remark(progress: Progress, *, proxied: bool) -> str:
    """Of a boot that stopped: the trouble that was told of, else where it stopped."""
    if progress.level is not Level.INFO or progress.stage not in ADVICE:
        return progress.text
    return stopped_at(progress.stage, proxied=proxied).stopped


def _missing(
    head: Head, nodes: list[Node], profile_images: set[str], latest: dict[Mac, Progress]
) -> Iterator[str]:
    unpinned = dict.fromkeys(n.interface for n in head.config.network if n.address is None)
    for interface in unpinned:
        if interface not in head.addresses:
            yield f"network {interface} has no address; `netbootctl doctor` says how to give it one"
    for image in sorted({node.image for node in nodes if node.image} | profile_images):
        if head.images.current_number(image) is None:
            yield f"image {image} has no current generation; {how_to_get(image, head.images.names())}"
    if bare := [node.name for node in nodes if not node.image]:
        more = f" and {len(bare) - 5} more" if len(bare) > 5 else ""
        yield f"{', '.join(bare[:5])}{more}: no image; `netbootctl node set NAME --image IMAGE`"
    unheard = {node.image for node in nodes if node.image and not any(mac in latest for mac in node.macs)}
    current = [head.images.current(image) for image in unheard]
    told = [latest[mac].text for node in nodes for mac in node.macs if mac in latest]
    for loader in wanted_loaders.missing(told, [made.architecture for made in current if made]):
        yield f"the loader {loader.name} isn't installed; {loader.advice}"


def _below(overview: Overview) -> Iterator[str]:
    """What stands under the table."""
    if overview.strangers:
        yield ""
        yield "heard, and not registered:"
        for stranger in overview.strangers[:MOST_STRANGERS]:
            yield f"  {stranger['mac']}  {stranger['stage'] or '-'}  {stranger['ago']}  {stranger['text']}"
        if len(overview.strangers) > MOST_STRANGERS:
            yield f"  … and {len(overview.strangers) - MOST_STRANGERS} more; --json has them all"
    if overview.daemon is None or overview.missing:
        yield ""
    if overview.daemon is None:
        yield "missing: netbootd doesn't run; `systemctl start netbootd`"
    for line in overview.missing:
        yield f"missing: {line}"


def _record(overview: Overview) -> dict[str, Any]:
    return {
        "daemon": overview.daemon,
        "nodes": overview.nodes,
        "unregistered": overview.strangers,
        "missing": overview.missing,
    }


def _watch(head: Head, *, as_json: bool) -> None:
    """A live table on a terminal; in a pipe a line, or a JSON object, for each change."""
    if sys.stdout.isatty() and not as_json:
        return _watch_live(head)
    seen: dict[str, tuple[object, object, object]] = {}
    while True:
        for node in look(head).nodes:
            now = (node["state"], node["stage"], node["text"])
            if seen.get(node["name"]) != now:
                seen[node["name"]] = now
                if as_json:
                    print_json(node)
                else:
                    say("  ".join([time.strftime("%H:%M:%S"), node["name"], *map(cell, now)]))
        sys.stdout.flush()
        time.sleep(REFRESH)


def _watch_live(head: Head) -> None:
    from rich.console import Group  # noqa: PLC0415 (a terminal's alone)
    from rich.live import Live  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    def view() -> Group:
        overview = look(head)
        rows = table(overview.nodes, COLUMNS) if overview.nodes else Text("no node is registered yet")
        return Group(rows, *(Text(line) for line in _below(overview)))

    with Live(view(), screen=True, auto_refresh=False) as live:
        while True:
            time.sleep(REFRESH)
            live.update(view(), refresh=True)
