"""`netbootctl explain`: what a machine would be told and why, without a packet on the wire."""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from netbootd.boot.answer import Ignore
from netbootd.ctl.capture import PXE_PORT, Asked, Fetch, requests
from netbootd.ctl.head import Head, complete_nodes, machine_called
from netbootd.ctl.options import Json
from netbootd.ctl.rehearsal import Rehearsal
from netbootd.ctl.tables import console, print_json, say, size
from netbootd.ctl.trace import Step, Trace, network_for
from netbootd.dhcp.options import Option
from netbootd.dhcp.selection import select
from netbootd.dhcp.wire import Message, WireError
from netbootd.errors import UserError
from netbootd.network import DhcpMode, Network
from netbootd.shelf import HeadNode
from netbootd.simulate.boards import BOARDS, board, machine

app = typer.Typer()


@app.command(help="What a machine would be told, file by file, without a packet on the wire.")
def explain(
    ctx: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(metavar="MAC|NAME", autocompletion=complete_nodes, help="A node, or any machine."),
    ] = None,
    firmware: Annotated[
        str | None,
        typer.Option(
            "--firmware",
            metavar="F",
            autocompletion=lambda: list(BOARDS),
            help=f"What it boots with: {', '.join(BOARDS)}.",
        ),
    ] = None,
    pcap: Annotated[
        Path | None, typer.Option("--pcap", metavar="FILE", help="Answer what machines ask in a capture.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Put a made-up machine, or those of a capture, to the functions that answer real ones."""
    head = Head.of(ctx)
    networks = head.served()
    if (name is None) == (pcap is None):
        raise UserError("explain takes a machine and its --firmware, or --pcap FILE")
    with head.registry() as registry:
        trace = Trace(head.config, HeadNode(registry, head.images, networks, head.roots), time.time())
        if pcap is not None:
            told = [_replayed(trace, at, port, asked, networks) for at, port, asked in requests(pcap)]
            return print_json(told) if as_json else _show_replay(told)
        node, mac = machine_called(name or "", registry)
        if firmware is None:
            raise UserError("which firmware does it boot with?", f"--firmware {'|'.join(BOARDS)}")
        _, kind = board(firmware)
        serial = int(node.serial, 16) if node and node.serial and _is_number(node.serial) else None
        runs = [
            Rehearsal(trace, network, machine(mac, serial=serial)) for network in network_for(node, networks)
        ]
        for run in runs:
            run.play(kind.plays(run.machine))
    if not runs and node:
        raise UserError(
            f"{node.name}'s address {node.address} lies in no network served", "`netbootctl node set --ip`"
        )
    if as_json:
        return print_json([_record(run) for run in runs])
    for run in runs:
        who = f"{node.name} ({mac})" if node else f"{mac}, not registered"
        _say(f"{who}: {kind.what}, on {run.network.interface} ({run.network.subnet})", "bold")
        before: Step = {}
        for number, step in enumerate((step for step in run.steps if not step.get("probe")), 1):
            _show(number, step, before)
            before = step
        say("")
        _say(_verdict(run), "bold green" if run.booted else "bold red")
    if not node:
        say(f"to make it a node: netbootctl node add NAME --mac {mac}")
    return None


def _record(run: Rehearsal) -> dict[str, object]:
    return {
        "network": run.network.interface,
        "boots": run.booted is not None,
        "reason": run.reason or None,
        "hint": run.hint or None,
        "command_line": run.booted.command_line if run.booted else None,
        "steps": run.steps,
    }


def _verdict(run: Rehearsal) -> str:
    if run.booted is None:
        return f"it would not boot: {'; '.join(_reasons(run))}"
    initrd = f", initrd {run.booted.initrd}" if run.booted.initrd else ""
    return f"it would boot: kernel {run.booted.kernel}{initrd}, root {run.booted.root}"


def _reasons(run: Rehearsal) -> list[str]:
    """Why it would not boot: where it was told nothing, the head node knows more of that than the board."""
    asked = [step for step in run.steps if step["kind"] != "other"]
    last = asked[-1] if asked else {}
    if run.network.dhcp is DhcpMode.PROXY and last.get("kind") == "dhcp" and last["port"] != PXE_PORT:
        # Its REQUEST is the other server's to answer.
        last = next((step for step in reversed(asked) if step.get("asks") == "DISCOVER"), last)
    if last.get("kind") == "dhcp" and not _boot_file(last):
        return [last["why"]]
    return [text for text in (run.reason, run.hint) if text]


def _boot_file(step: Step) -> str:
    return str(next((o["value"] for o in step.get("options", []) if o["code"] == Option.BOOT_FILE_NAME), ""))


def _is_number(serial: str) -> bool:
    return all(digit in "0123456789abcdef" for digit in serial)


def _show(number: int, step: Step, before: Step) -> None:
    say("")
    match step["kind"]:
        case "dhcp":
            _show_dhcp(number, step, before)
        case "other":
            _say(f"{number}. {step['why']}", "bold")
        case "file" if step["size"] is not None:
            _say(f"{number}. {step['who']} fetches {step['path']} by {step['door']}", "bold")
            say(f"   {step['file']}, {size(step['size'])}")
        case "rendered":
            what = f"{step['path']} by {step['door']}, rendered from {step['template']}"
            _say(f"{number}. {step['who']} fetches {what}", "bold")
            if step["fault"]:
                _say(f"   {step['fault']}", "red")
            for line in step["content"].splitlines():
                say(f"     {line}")
        case _:
            _say(f"{number}. {step['who']} fetches {step['path']} by {step['door']}", "bold")
            _say(f"   not there: {step['why']}", "yellow")


def _show_dhcp(number: int, step: Step, before: Step) -> None:
    where = " at port 4011" if step["port"] == PXE_PORT else ""
    _say(f"{number}. {step['who']} asks by DHCP ({step['asks']}){where}", "bold")
    _say(f"   {step['answer'] or 'no answer'}: {step['why']}", "green" if step["answer"] else "yellow")
    if step["answer"] and _told_the_same(step, before):
        say("     as before")
    elif step["answer"]:
        for key in ("yiaddr", "siaddr", "file"):
            say(f"     {key:28}  {step[key] or '-'}")
        for option in step["options"]:
            say(f"     {option['code']:3} {option['name']:24}  {option['value']}")
        if step["left_out"]:
            _say(f"   left out, it takes no more: {', '.join(step['left_out'])}", "yellow")


def _told_the_same(step: Step, before: Step) -> bool:
    """An ACK mostly repeats the OFFER."""
    if before.get("kind") != "dhcp" or not before.get("answer"):
        return False
    first, second = ([o for o in s["options"] if o["code"] != Option.MESSAGE_TYPE] for s in (before, step))
    return first == second and all(before[key] == step[key] for key in ("yiaddr", "siaddr", "file"))


def _replayed(trace: Trace, at: float, port: int, asked: Asked, networks: tuple[Network, ...]) -> Step:
    """One request of a capture, as if it had come in on the network that its machine belongs to."""
    match asked:
        case WireError():
            return {"seconds": at, "kind": "nothing", "mac": None, "asks": None, "why": asked.message}
        case Fetch(mac=mac, peer=peer, door=door, path=path):
            # Whatever address it had there, here it is the node that has its card.
            node = trace.view.node_by_mac(mac) if mac else None
            step, _ = trace.file(path, node.address if node else peer)
            return {"seconds": at, "mac": mac, "node": node.name if node else None, "asks": door, **step}
    network = _network(trace, asked, networks)
    if isinstance(network, Ignore):
        said = {"asks": asked.type.name if asked.type else "BOOTP", "answer": None, "why": network.reason}
        return {"seconds": at, "kind": "dhcp", "mac": asked.chaddr, **said}
    dhcp, _ = trace.dhcp(asked, network, boot_server=port == PXE_PORT)
    return {"seconds": at, "network": network.interface, **dhcp}


def _network(trace: Trace, request: Message, networks: tuple[Network, ...]) -> Network | Ignore:
    """Where it came in: by its relay, else where its node belongs, else the first network."""
    if int(request.giaddr):
        return select(request, networks, source=request.giaddr)  # a capture may be of the client's wire
    node = trace.view.node_by_mac(request.chaddr)
    return next(iter(network_for(node, networks)), networks[0])


def _show_replay(told: list[Step]) -> None:
    if not told:
        say("nobody asks for anything in it: no DHCP, TFTP or HTTP request")
    for step in told:
        who, asks = step["mac"] or "-", step["asks"] or "malformed"
        say(f"{step['seconds']:9.3f} s  {who:17}  {asks:9} {_told(step)}")


def _told(step: Step) -> str:
    """What it gets, on one line."""
    if step["kind"] == "dhcp":
        gets = (
            f"{step['answer']} {step['yiaddr']} {_boot_file(step)}".strip() if step["answer"] else "no answer"
        )
        return f"{gets}  ({step['why']})"
    path = step.get("path", "")
    match step["kind"]:
        case "file" if step["size"] is not None:
            return f"{path}  {size(step['size'])}"
        case "rendered":
            return f"{path}  rendered from {step['template']}"
    return f"{path}  not there ({step['why']})".lstrip()


def _say(text: str, style: str) -> None:
    """A line, in a style of its own on a terminal."""
    if sys.stdout.isatty():
        from rich.text import Text  # noqa: PLC0415 (a terminal's alone)

        console().print(Text(text, style=style))
    else:
        say(text)
