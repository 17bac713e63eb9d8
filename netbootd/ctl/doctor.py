"""`netbootctl doctor`: look for what keeps nodes from booting, and say what mends each."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from netbootd.ctl.checks import CHECKS
from netbootd.ctl.checks.finding import Check, Context, Finding, Level, note, ok, wrong
from netbootd.ctl.head import Head
from netbootd.ctl.options import Json
from netbootd.ctl.tables import console, print_json, say
from netbootd.errors import ConfigError, NetbootdError
from netbootd.links import interfaces

app = typer.Typer()

STYLES = {Level.OK: "green", Level.NOTE: "dim", Level.WARNING: "yellow", Level.WRONG: "bold red"}


@app.command(help="Look for what keeps nodes from booting; each finding with what mends it.")
def doctor(
    ctx: typer.Context,
    *,
    quick: Annotated[
        bool, typer.Option("--quick", help="Don't listen for other DHCP servers, which takes seconds.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run every check, show each finding as it is made; exit status 1 when something is wrong."""
    found: list[tuple[str, Finding]] = []
    head = Head.of(ctx)
    context = _context(head, found)
    if not as_json:
        for name, finding in found:
            _show(name, finding)
    if context is not None:
        for name, check in CHECKS.items():
            if not (quick and name == "dhcp"):
                fresh = [(name, finding) for finding in _checked(name, check, context)]
                found += fresh
                for _, finding in () if as_json else fresh:
                    _show(name, finding)
    bad = sum(finding.level is Level.WRONG for _, finding in found)
    if as_json:
        print_json(
            [{"check": name, "level": f.level, "what": f.what, "mend": f.mend or None} for name, f in found]
        )
    else:
        say("")
        say(f"{bad} to mend" if bad else "nothing is wrong")
    if bad:
        raise typer.Exit(1)


def _context(head: Head, found: list[tuple[str, Finding]]) -> Context | None:
    """What the checks look at; None where netbootd.toml can't be read, with each of its faults in `found`."""
    try:
        config = head.config
    except ConfigError as error:
        lines = error.problems or (error.message,)
        mend = f"mend {head.path}, or netbootctl setup" if error.problems else error.hint
        found += [("config", wrong(line, mend)) for line in lines]
        return None
    found.append(("config", ok(f"{head.path} is in order")))
    try:
        networks = head.networks
    except ConfigError as error:
        found += [("config", wrong(line, f"change {head.path}, or the address")) for line in error.problems]
        networks = ()
    return Context(
        head=head,
        config=config,
        links=interfaces(),
        networks=networks,
        daemon=head.daemon_pid(),
        root=os.geteuid() == 0,
    )


def _checked(name: str, check: Check, context: Context) -> list[Finding]:
    """A check's findings; that it couldn't look is one too."""
    try:
        with _waiting(name):
            return check(context)
    except NetbootdError as error:
        if not context.root:
            return [note(f"couldn't look: {error.message}", "run it as root")]
        return [wrong(error.message, error.hint)]
    except OSError as error:
        return [note(f"couldn't look: {error}", "" if context.root else "run it as root")]


@contextmanager
def _waiting(name: str) -> Iterator[None]:
    """On a terminal, say what takes seconds while it does."""
    if name == "dhcp" and sys.stderr.isatty():
        from rich.console import Console  # noqa: PLC0415 (a terminal's alone)

        with Console(stderr=True).status("listening for other DHCP servers …"):
            yield
    else:
        yield


def _show(name: str, finding: Finding) -> None:
    lines = [f"{finding.level:8}{name:10} {finding.what}"]
    if finding.mend:
        lines.append(f"{'':19}{finding.mend}")
    if not sys.stdout.isatty():
        for line in lines:
            say(line)
        return
    from rich.text import Text  # noqa: PLC0415 (a terminal's alone)

    first = Text(f"{finding.level:8}", style=STYLES[finding.level])
    first.append(f"{name:10} ", style="dim").append(finding.what, style="default")
    console().print(first)
    for line in lines[1:]:
        console().print(Text(line, style="cyan"))
