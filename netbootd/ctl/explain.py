"""`netbootctl explain`: what a machine would be told and why, without a packet on the wire."""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from netbootd.ctl.capture import Asked, Fetch, requests
from netbootd.ctl.head import Head, complete_nodes
from netbootd.ctl.options import Json
from netbootd.ctl.specimens import SPECIMENS, specimen
from netbootd.ctl.tables import console, print_json, say, size
from netbootd.ctl.trace import Step, Trace, network_for
from netbootd.dhcp.wire import WireError
from netbootd.errors import UserError
from netbootd.network import Network
from netbootd.node import Mac, Node, host_name
from netbootd.shelf import HeadNode

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
            autocompletion=lambda: list(SPECIMENS),
            help=f"What it boots with: {', '.join(SPECIMENS)}.",
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
        trace = Trace(head.config, HeadNode(registry, head.images, networks), time.time())
        if pcap is not None:
            told = [_replayed(trace, at, asked, networks) for at, _, asked in requests(pcap)]
            return print_json(told) if as_json else _show_replay(told)
        node, mac = _machine(name or "", trace)
        if firmware is None:
            raise UserError("which firmware does it boot with?", f"--firmware {'|'.join(SPECIMENS)}")
        kind, _ = specimen(firmware)
        runs = [(network, trace.boot(kind, mac, network)) for network in network_for(node, networks)]
    if not runs and node:
        raise UserError(
            f"{node.name}'s address {node.address} lies in no network served", "`netbootctl node set --ip`"
        )
    if as_json:
        return print_json([{"network": network.interface, "steps": steps} for network, steps in runs])
    for network, steps in runs:
        who = f"{node.name} ({mac})" if node else f"{mac}, not registered,"
        _say(f"{who} on {network.interface} ({network.subnet})", "bold")
        for number, step in enumerate(steps, 1):
            _show(number, step)
    return None


def _machine(text: str, trace: Trace) -> tuple[Node | None, Mac]:
    try:
        mac = Mac(text)
    except UserError:
        node = trace.view.registry.node(host_name(text))
        return node, node.mac
    return trace.view.node_by_mac(mac), mac


def _show(number: int, step: Step) -> None:
    say("")
    match step["kind"]:
        case "dhcp":
            _say(f"{number}. {step['who']} asks by DHCP ({step['asks']})", "bold")
            _say(
                f"   {step['answer'] or 'no answer'}: {step['why']}", "green" if step["answer"] else "yellow"
            )
            if step["answer"]:
                for key in ("yiaddr", "siaddr", "file"):
                    say(f"     {key:28}  {step[key] or '-'}")
                for option in step["options"]:
                    say(f"     {option['code']:3} {option['name']:24}  {option['value']}")
                if step["left_out"]:
                    _say(f"   left out, it takes no more: {', '.join(step['left_out'])}", "yellow")
        case "file" if step["size"] is not None:
            _say(f"{number}. it fetches {step['path']}", "bold")
            say(f"   {step['file']}, {size(step['size'])}")
        case "rendered":
            _say(f"{number}. it fetches {step['path']}, rendered from {step['template']}", "bold")
            for line in step["content"].splitlines():
                say(f"     {line}")
        case _:
            _say(f"{number}. it fetches {step['path']}", "bold")
            _say(f"   not there: {step['why']}", "bold red")


def _replayed(trace: Trace, at: float, asked: Asked, networks: tuple[Network, ...]) -> Step:
    """One request of a capture, as if it had come in on the network that its machine belongs to."""
    match asked:
        case WireError():
            return {"seconds": at, "kind": "nothing", "mac": None, "asks": None, "why": asked.message}
        case Fetch(mac=mac, peer=peer, door=door, path=path):
            # Whatever address it had there, here it is the node that has its card.
            node = trace.view.node_by_mac(mac) if mac else None
            step = trace.file(path, node.address if node else peer)
            return {"seconds": at, "mac": mac, "node": node.name if node else None, "asks": door, **step}
    node = trace.view.node_by_mac(asked.chaddr)
    network = next(iter(network_for(node, networks)), networks[0])
    dhcp, _, _ = trace.dhcp(asked, network)
    return {"seconds": at, "network": network.interface, **dhcp}


def _show_replay(told: list[Step]) -> None:
    for step in told:
        who, asks = step["mac"] or "-", step["asks"] or "malformed"
        say(f"{step['seconds']:9.3f} s  {who:17}  {asks:9} {_told(step)}")


def _told(step: Step) -> str:
    """What it gets, on one line."""
    if step["kind"] == "dhcp":
        file = next((o["value"] for o in step.get("options", []) if o["code"] == 67), "")
        gets = f"{step['answer']} {step['yiaddr']} {file}".strip() if step["answer"] else "no answer"
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
