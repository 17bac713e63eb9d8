"""`netbootctl why`: a machine's last boot, line by line, and where it stopped."""

import re
import sys
import time
from dataclasses import asdict, replace
from datetime import datetime
from typing import Annotated

import typer

from netbootd import events
from netbootd.ctl.head import Head, complete_nodes, machine_called
from netbootd.ctl.options import Json
from netbootd.ctl.own_roots import advise
from netbootd.ctl.paste import lines_for, show_recipes
from netbootd.ctl.tables import console, duration, listing, print_json, say
from netbootd.ctl.verdict import Advice, State, advice, complaint, state
from netbootd.stage import Event, Level, Stage

app = typer.Typer()
MOST_LINES = 200


@app.command(help="Follow a machine's last boot: where it stopped, and what to check.")
def why(
    ctx: typer.Context,
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME|MAC", autocompletion=complete_nodes, help="A node, or any machine's MAC."
        ),
    ],
    as_json: Json = False,
) -> None:
    """Show the timeline of the last boot and what it means."""
    head = Head.of(ctx)
    with head.registry() as registry:
        node, mac = machine_called(name, registry)
    macs = node.macs if node else (mac,)
    latest = {progress.mac: progress for progress in events.latest(head.config.events_path)}
    progress = max((latest[m] for m in macs if m in latest), key=lambda p: p.last, default=None)
    happened = events.timeline(head.config.events_path, progress.mac) if progress else []
    now = time.time()
    how = state(progress, now)
    beside = head.proxied(node) if node else None
    found, trouble = advice(happened, proxied=beside is not None), complaint(happened)
    pasted = lines_for(head, node, beside, happened) if node and beside and found else ()
    shown = found if found and how is not State.BOOTING else None
    if as_json:
        return print_json(
            {
                "node": node.name if node else None,
                "mac": progress.mac if progress else macs[0],
                "state": how,
                "began": progress.began if progress else None,
                "events": [_record(event, happened[0].time) for event in happened],
                "stopped": shown.stopped if shown else None,
                "trouble": trouble or None,
                "checks": list(shown.checks) if shown else [],
                "paste": [asdict(recipe) for recipe in pasted],
            }
        )
    if pasted:
        trouble = _here(trouble)
        happened = [replace(event, text=_here(event.text)) for event in happened]
    who = f"{node.name} ({progress.mac if progress else node.mac})" if node else f"{mac}, not registered,"
    if happened:
        began = datetime.fromtimestamp(happened[0].time).astimezone()
        say(f"{who} began to boot at {began:%Y-%m-%d %H:%M:%S}, {duration(now - happened[0].time)} ago")
        _show(happened)
    else:
        say(f"{who} {_NOTHING}" if progress else f"{who} {found.stopped if found else ''}")
    if not node:
        say(f"to make it a node: netbootctl node add NAME --mac {mac}")
    if happened:
        say(_outcome(happened, how, found, now))
    if trouble and found:
        say(f"trouble: {trouble}")
    if shown:
        say("check:")
        for check in shown.checks:
            say(f"  - {check.replace('NAME', node.name) if node else check}")
    show_recipes(pasted)
    advise(head, [node] if node else [], say)
    return None


_NOTHING = "was heard, but its last boot's events are gone"


_PRINTS_THEM = re.compile(r"`netbootctl why \S+` prints the lines(?: for it)?")


def _here(text: str) -> str:
    """What the daemon says elsewhere, where the lines that it speaks of follow."""
    return _PRINTS_THEM.sub("the lines for it stand below", text)


def _outcome(happened: list[Event], how: State, found: Advice | None, now: float) -> str:
    """How far it came, in a line."""
    if found is None:
        ready = next(event.time for event in happened if event.stage is Stage.READY)
        return f"it came up in {ready - happened[0].time:.1f} s"
    if how is State.BOOTING:
        return f"it is on its way; last heard {duration(now - happened[-1].time)} ago"
    return f"it {found.stopped}"


def _record(event: Event, began: float) -> dict[str, object]:
    return {
        "seconds": round(event.time - began, 3),
        "time": event.time,
        "stage": event.stage,
        "level": event.level,
        "text": event.text,
    }


def _show(happened: list[Event]) -> None:
    began = happened[0].time
    hidden, happened = max(0, len(happened) - MOST_LINES), happened[-MOST_LINES:]
    if hidden:
        say(f"… {hidden} earlier lines; --json has them all")
    colours = {Level.WARNING: "yellow", Level.ERROR: "bold red"}
    if not sys.stdout.isatty():
        rows = [{**_record(e, began), "seconds": f"{e.time - began:8.1f}"} for e in happened]
        return listing(rows, {"seconds": "seconds", "stage": "stage", "text": "what"})
    from rich.text import Text  # noqa: PLC0415 (a terminal's alone)

    out = console()
    for event in happened:
        line = Text(f"{event.time - began:8.1f} s  ", style="dim")
        line.append(f"{event.stage or '':8}  ", style="bold")
        line.append(event.text, style=colours.get(event.level, ""))
        out.print(line)
    return None
