"""What to put into the DHCP server beside which netbootd is a proxy, for one node."""

from collections.abc import Sequence
from dataclasses import replace

from netbootd.boot.answer import NetBoot
from netbootd.boot.client import from_dhcp
from netbootd.boot.firmware import recognise
from netbootd.boot.firmware.choice import ASKS_THE_DHCP_SERVER
from netbootd.boot.policy import decide
from netbootd.ctl.head import Head
from netbootd.ctl.specimens import SPECIMENS
from netbootd.ctl.tables import say
from netbootd.dhcp.parameters import parameters
from netbootd.dhcp.paste import Recipe, recipes
from netbootd.dhcp.proxy import BOOT_OPTIONS, REGISTERED_ELSEWHERE, TAKES_NO_PROXY
from netbootd.network import Network
from netbootd.node import Node
from netbootd.shelf import HeadNode
from netbootd.stage import Event


def lines_for(head: Head, node: Node, network: Network, happened: Sequence[Event]) -> tuple[Recipe, ...]:
    """The recipes that help a node on, by what happened at its last boot.

    With its boot file where its firmware takes nothing from a proxy, else with its address alone; none where
    it asked for the right address and has no need of more.
    """
    texts = [event.text for event in happened]
    for words in (TAKES_NO_PROXY, ASKS_THE_DHCP_SERVER):
        if any(words in text for text in texts):
            return recipes(node, _boot_by_the_other(head, node, network, words))
    asked_well = any(f"for {node.address}, its own address" in text for text in texts)
    if asked_well and not any(REGISTERED_ELSEWHERE in text for text in texts):
        return ()
    return recipes(node, None)


def _as_set(boot: NetBoot, node: Node, network: Network) -> NetBoot:
    """The decision with what an admin set over it, as netbootd itself would send it."""
    told = parameters(boot, node, network)
    concerned = {*boot.options, *node.dhcp_options} & BOOT_OPTIONS
    values = {code: value for code, value in told.options.items() if code in concerned}
    return replace(boot, server=told.server, bootfile=told.bootfile, options=values)


def show_recipes(several: Sequence[Recipe]) -> None:
    """Each under its title."""
    if several:
        say(
            "the other DHCP server gives this node its address; what it has to know, for each kind of server:"
        )
    for recipe in several:
        say("")
        say(f"{recipe.server}, in {recipe.where}:")
        for line in recipe.lines:
            say(f"    {line}")


def _boot_by_the_other(head: Head, node: Node, network: Network, words: str) -> NetBoot | None:
    """What the node is told where the proxy's word isn't enough, for the reason that `words` stand for."""
    with head.registry() as registry:
        view = HeadNode(registry, head.images, (network,), head.roots)
        generation = view.generation_of(node)
        for specimen in SPECIMENS.values():
            request = specimen.discover(node.mac)
            client = from_dhcp(request.chaddr, request.options)
            family = recognise(client)
            decision = decide(client, node, network, generation, view.has_loader, view.obstacle)
            if family is None or not isinstance(decision, NetBoot):
                continue
            if words in decision.reason or (words == TAKES_NO_PROXY and not family.behind_proxy):
                return _as_set(decision, node, network)
    return None
