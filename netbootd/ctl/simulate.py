"""`netbootctl simulate`: play a board against the head node of this wire: would it boot?"""

import asyncio
import re
import secrets
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Annotated, Any

import typer

from netbootd.ctl.head import Head
from netbootd.ctl.options import Json
from netbootd.ctl.tables import console, listing, print_json, say
from netbootd.errors import ConfigError, UserError
from netbootd.links import Interface, interfaces
from netbootd.node import Mac, serial_number
from netbootd.simulate.boards import BOARDS, Board, board, machine
from netbootd.simulate.discovers import NO_SERIAL
from netbootd.simulate.play import Step
from netbootd.simulate.port import is_bridge, open_port
from netbootd.simulate.run import Report, play

app = typer.Typer()

MOST_BOARDS = 256
LONGEST = 600.0
"""Seconds that a board gets by default: firmware that nobody answers gives up in about two minutes."""


@app.command(help="Play a board against this network's head node: would it boot?")
def simulate(  # noqa: PLR0913 (each is an option of the command line)
    ctx: typer.Context,
    *,
    firmware: Annotated[
        str | None,
        typer.Option(
            "--firmware", metavar="F", autocompletion=lambda: list(BOARDS), help="Which board; see --list."
        ),
    ] = None,
    macs: Annotated[
        list[str] | None,
        typer.Option("--mac", metavar="MAC", help="Its network card; several for several boards at once."),
    ] = None,
    count: Annotated[
        int,
        typer.Option("--count", metavar="N", min=1, max=MOST_BOARDS, help="So many, their MACs counted up."),
    ] = 1,
    serial: Annotated[
        str | None,
        typer.Option(
            "--serial", metavar="HEX", help="A Raspberry Pi's own serial number: netbootd learns it."
        ),
    ] = None,
    interface: Annotated[
        str | None,
        typer.Option("--interface", metavar="IF", help="The wire; default: the one netbootd serves."),
    ] = None,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", min=1, help="Give up after so long.")
    ] = LONGEST,
    show_list: Annotated[
        bool, typer.Option("--list", help="The boards, and what is known of them from where.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Exit status 0 when every board would boot, 1 when one would not."""
    if show_list:
        return _list(as_json)
    if firmware is None:
        raise UserError("which board?", f"--firmware {'|'.join(BOARDS)}")
    name, kind = board(firmware)
    cards = _cards(macs or [], count, kind)
    head = Head.of(ctx)
    wire = _wire(head, interface, cards)
    serials = _serials(head, cards, serial) if kind.tells_serial else [None] * len(cards)
    reports = [
        Report(name, machine(card, serial=number, seed=secrets.randbits(32)))
        for card, number in zip(cards, serials, strict=True)
    ]
    for report, number in zip(reports, serials, strict=True):
        if kind.tells_serial and number is None:
            report.machine.caution(f"without --serial it says {NO_SERIAL:08x}, which is no board's")
    several = len(reports) > 1
    with open_port(wire) as port:
        boards = [(report, kind.plays(report.machine)) for report in reports]
        told = (lambda _report, _step: None) if as_json else (lambda r, s: _show(r, s, several=several))
        asyncio.run(play(boards, port, told, timeout))
    if as_json:
        print_json([_record(report) for report in reports])
    else:
        for report in reports:
            _verdict(report, several=several)
    if not all(report.booted for report in reports):
        raise typer.Exit(1)
    return None


def _list(as_json: bool) -> None:
    records = [{"firmware": name, "what": b.what, "evidence": b.evidence} for name, b in BOARDS.items()]
    listing(records, {"firmware": "firmware", "what": "board", "evidence": "known from"}, as_json=as_json)


def _cards(macs: list[str], count: int, kind: Board) -> list[Mac]:
    """The cards given, or a made-up one; with --count the first counted up. Raises UserError."""
    cards = [Mac(text) for text in macs] or [Mac.from_octets(kind.vendor + b"\0\0\1")]
    if count > 1:
        if len(cards) > 1:
            raise UserError("--count counts up from one --mac", "give one of them, or every --mac alone")
        first = int.from_bytes(cards[0].octets, "big")
        cards = [Mac.from_octets(((first + i) & 0xFFFFFFFFFFFF).to_bytes(6, "big")) for i in range(count)]
    if len(set(cards)) < len(cards) or len(cards) > MOST_BOARDS:
        raise UserError(f"each board needs a MAC of its own, at most {MOST_BOARDS}")
    return cards


def _serials(head: Head, cards: list[Mac], text: str | None) -> list[int | None]:
    """The serial given for the first board, counted up for others; else what is registered, on a head node.

    None is made up: netbootd would note it, and turn the real board away.
    """
    if text is not None:
        first = _number(serial_number(text))
        if first is None:
            raise UserError(
                f"{text[:40]!r} isn't a Raspberry Pi's serial number", "16 or 8 hexadecimal digits"
            )
        return [(first + number) & 0xFFFFFFFFFFFFFFFF for number in range(len(cards))]
    if not head.path.exists():
        return [None] * len(cards)
    with head.registry() as registry:
        nodes = [registry.node_by_mac(card) for card in cards]
    return [_number(node.serial) if node and node.serial else None for node in nodes]


def _number(serial: str) -> int | None:
    return int(serial, 16) if re.fullmatch("[0-9a-f]{1,16}", serial) else None


def _wire(head: Head, wanted: str | None, cards: list[Mac]) -> str:
    """The interface to play on. Raises UserError where that can't reach who serves it."""
    found = {link.name: link for link in interfaces()}
    served = list(_served(head))
    name = wanted or next((name for name in served if name in found), None) or _only(found)
    link = found.get(name)
    if link is None:
        raise UserError(
            f"there is no interface {name}", f"--interface {'|'.join(n for n in found if n != 'lo')}"
        )
    if link.mac in cards:
        raise UserError(
            f"{link.mac} is {name}'s own address, and this machine would answer too", "another --mac"
        )
    if name in served and not is_bridge(name) and head.daemon_pid() is not None:
        raise UserError(
            f"netbootd runs on this machine, and what is sent out of {name} doesn't come back to it",
            "run it on another machine on the wire, with --interface there; it needs this package alone",
        )
    return name


def _served(head: Head) -> Iterator[str]:
    """The interfaces of netbootd.toml, where this machine has one."""
    with suppress(ConfigError):
        yield from (network.interface for network in head.config.network)


def _only(found: dict[str, Interface]) -> str:
    names = [name for name, link in found.items() if link.mac and link.up]
    if len(names) != 1:
        raise UserError("which wire?", f"--interface {'|'.join(names or found)}")
    return names[0]


def _show(report: Report, step: Step, *, several: bool) -> None:
    who = f"{report.machine.mac}  " if several else ""
    line = f"{step.began:8.3f} s  {who}{step.who}: {step.asked}: {step.came}"
    line += f" ({step.took * 1000:.0f} ms)" if step.took >= 0.0005 else ""
    line += f"; {step.does}" if step.does else ""
    _say(line, "" if step.good else "yellow")


def _verdict(report: Report, *, several: bool) -> None:
    who = f"{report.machine.mac} " if several else ""
    for text in report.machine.cautions:
        _say(f"{who}note: {text}", "yellow")
    booted = report.booted
    if booted:
        initrd = f", initrd {booted.initrd}" if booted.initrd else ", no initrd"
        tree = f", device tree {booted.device_tree}" if booted.device_tree else ""
        line = f"would boot: kernel {booted.kernel}{initrd}{tree}, root {booted.root}"
        return _say(f"{who}{line} ({report.seconds:.1f} s)", "bold green")
    mend = f"; {report.mend}" if report.mend else ""
    return _say(f"{who}would not boot: {report.reason}{mend}", "bold red")


def _record(report: Report) -> dict[str, Any]:
    booted = report.booted
    fields = ("who", "asked", "came", "does", "began", "took", "good")
    return {
        "firmware": report.name,
        "mac": str(report.machine.mac),
        "boots": booted is not None,
        "kernel": booted.kernel if booted else None,
        "initrd": booted.initrd if booted else None,
        "device_tree": booted.device_tree if booted else None,
        "root": booted.root if booted else None,
        "command_line": booted.command_line if booted else None,
        "reason": report.reason or None,
        "mend": report.mend or None,
        "notes": report.machine.cautions,
        "seconds": round(report.seconds, 3),
        "steps": [{name: getattr(step, name) for name in fields} for step in report.steps],
    }


def _say(text: str, style: str) -> None:
    """A line, in a style of its own on a terminal."""
    if sys.stdout.isatty():
        from rich.text import Text  # noqa: PLC0415 (a terminal's alone)

        console().print(Text(text, style=style))
    else:
        say(text)
