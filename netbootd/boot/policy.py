"""What is announced to a client: the first of the two boot decisions."""

from collections.abc import Callable

from netbootd.boot.answer import Decision, Ignore, LocalBoot, Wait
from netbootd.boot.client import Client
from netbootd.boot.firmware import recognise
from netbootd.boot.firmware.family import Booting, Family
from netbootd.image import Generation
from netbootd.network import DhcpMode, Network
from netbootd.node import Node, RootMode


def decide(
    client: Client,
    node: Node | None,
    network: Network,
    generation: Generation | None,
    has_loader: Callable[[str], bool],
    obstacle: Callable[[Node, Generation], str] = lambda *_: "",
) -> Decision:
    """What `client` is told on `network`.

    `generation`: the current one of the node's image, None where there is no image. `has_loader` tells by
    its name (boot.loaders) whether a loader is installed, `obstacle` what the head node has yet to do before
    that node's root can come from that generation, with the remedy; empty where that is nothing.
    """
    if network.dhcp is DhcpMode.OFF:
        return Ignore(reason=f"DHCP is off on {network.interface}")
    family = recognise(client)
    if node is not None:
        return _for_node(client, node, network, generation, family, has_loader, obstacle)
    if network.pool is None:
        return Ignore(reason=f"{client.mac} isn't registered, and {network.interface} has no pool")
    firmware = family.name if family else ""
    return LocalBoot(firmware=firmware, reason="it isn't registered")


def _for_node(
    client: Client,
    node: Node,
    network: Network,
    generation: Generation | None,
    family: Family | None,
    has_loader: Callable[[str], bool],
    obstacle: Callable[[Node, Generation], str],
) -> Decision:
    if node.address not in network.subnet:
        return Ignore(reason=f"{node.name} is on another wire: {node.address} lies outside {network.subnet}")
    rooted = generation is not None and node.root is not RootMode.RAM
    if family is None or not (family.begins_boot or rooted):
        firmware = family.name if family else ""
        reason = "it asks for nothing to boot: an operating system, not a firmware"
        return LocalBoot(firmware=firmware, reason=reason)
    if node.image is None:
        hint = f"`netbootctl node set {node.name} --image NAME`"
        return Wait(firmware=family.name, reason=f"{node.name} has no image; {hint}")
    if generation is None:
        hint = f"`netbootctl image build {node.image}` makes it"
        return Wait(firmware=family.name, reason=f"image {node.image!r} has no generation; {hint}")
    if why := _unable(node, generation) or obstacle(node, generation):
        return Wait(firmware=family.name, reason=why)
    return family.announce(
        Booting(client=client, node=node, network=network, generation=generation, has_loader=has_loader)
    )


def _unable(node: Node, generation: Generation) -> str:
    """Why the generation can never be booted by the node's root mode."""
    if node.root is not RootMode.RAM or (generation.squashfs and not generation.by_itself):
        return ""
    if generation.by_itself:
        what = f"{generation.label} has a kernel that takes no initrd, and root mode ram needs netbootd's"
        return f"{what}; `netbootctl node set {node.name} --root overlay`"
    what = f"{generation.label} can't be kept in memory: its kernel has no squashfs or no loop devices"
    hint = f"`netbootctl node set {node.name} --root overlay`, or make the image anew"
    return f"{what}, or an older netbootd made its initrd; {hint}"
