"""`netbootctl simulate`: play a board against the head node of this wire: would it boot?"""

import asyncio
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
from netbootd.node import Mac
from netbootd.simulate.boards import BOARDS, Board, board, machine
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
        str | None, typer.Option("--serial", metavar="HEX", help="A Raspberry Pi's serial number.")
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
    wire = _wire(Head.of(ctx), interface, cards)
    reports = [
        Report(name, machine(card, serial=_serial(serial, number), seed=secrets.randbits(32)))
        for number, card in enumerate(cards)
    ]
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


def _serial(text: str | None, number: int) -> int | None:
    """The serial given, for the first board; those after it count up."""
    if text is None:
        return None
    with suppress(ValueError):
        value = int(text, 16)
        if 0 <= value < 1 << 64 and text.strip() == text:
            return value + number
    raise UserError(f"{text[:40]!r} isn't a serial number", "hexadecimal, as /proc/cpuinfo has it")


def _wire(head: Head, wanted: str | None, cards: list[Mac]) -> str:
    """The interface to play on. Raises UserError where that can't reach who serves it."""
    found = {link.name: link for link in interfaces()}
    served = list(_served(head))
    name = wanted or next((name for name in served if name in found), None) or _only(found)
    link = found.get(name)
    if link is None:
        raise UserError(f"there is no interface {name}", f"--interface {'|'.join(found)}")
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
