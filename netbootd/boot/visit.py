"""Who asks for a path, what may be looked up for it, and what every boot configuration is rendered from."""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Protocol

from netbootd.boot.answer import Denied, Located, NotFound, Rendered
from netbootd.boot.cmdline import Exported, command_line, longest, parted
from netbootd.errors import UserError
from netbootd.image import Generation
from netbootd.network import DhcpMode, Network
from netbootd.node import Mac, Node
from netbootd.stage import Stage
from netbootd.variables import given


class View(Protocol):
    """What the boot decisions may look up."""

    def node_by_mac(self, mac: Mac) -> Node | None:
        """The node with this card."""

    def node_by_address(self, address: IPv4Address) -> Node | None:
        """The node with this address."""

    def node_by_serial(self, serial: str) -> Node | None:
        """The node whose board has this serial number."""

    def network_of(self, address: IPv4Address) -> Network | None:
        """The network that an address lies in."""

    def generation(self, image: str, number: int | None) -> Generation | None:
        """A generation of an image, the current one where `number` is None."""

    def generation_of(self, node: Node) -> Generation | None:
        """The generation that a node boots."""

    def loader(self, name: str) -> Path | None:
        """Where this machine has the loader."""

    def withheld(self, node: Node, port: int | None) -> str:
        """Why a node's files aren't given over HTTP to its `port` now (boot.window); empty where they are."""


@dataclass(frozen=True, slots=True)
class Visit:
    """One request for a path. `parts`: the path's, without empty ones; `peer` is the client's address."""

    parts: tuple[str, ...]
    peer: IPv4Address
    view: View
    exported: Exported

    @property
    def node(self) -> Node | None:
        """Who asks, by the address that it has."""
        return self.view.node_by_address(self.peer)


@dataclass(frozen=True, slots=True, kw_only=True)
class BootVariables:
    """What a boot configuration's template is given."""

    network: Network
    """The network that the node is on."""
    node: Node
    """Who boots."""
    generation: Generation
    """What it boots: the current generation of its image, or what its persistent root lies over."""
    path: str
    """Where kernel and initrd are for TFTP and HTTP both, without a slash at either end."""
    files: str
    """The URL of the same, without a slash at its end."""
    command_line: str
    """What the kernel is told: node-init's words, the image's and the node's own arguments."""
    words: tuple[str, ...]
    """The same, parted as the kernel parts it."""


def rendered(visit: Visit, node: Node | None, template: str, number: int | None = None) -> Located:
    """The configuration that `template` makes for `node`: NotFound, with the reason, where it has nothing.

    It is of the current generation of the node's image, or of the one that `number` names.
    """
    if node is None:
        return NotFound(reason="it is nobody's: no node is known by that path or address")
    variables = kernel_of(visit, node, number)
    if isinstance(variables, NotFound):
        return variables
    if (elsewhere := _elsewhere(visit, node, variables["network"])) is not None:
        return elsewhere
    return Rendered(template=template, variables=variables, stage=Stage.CONFIG)


def kernel_of(visit: Visit, node: Node, number: int | None = None) -> Mapping[str, object] | NotFound:
    """What a configuration is made of: BootVariables, by name."""
    network = visit.view.network_of(node.address)
    if network is None:
        return NotFound(
            reason=f"{node.name}'s address {node.address} lies in no network served", missing=True
        )
    if number is not None and node.image:
        generation = visit.view.generation(node.image, number)
    else:
        generation = visit.view.generation_of(node)
    if generation is None:
        what = f"{node.name} has no image"
        if node.image:
            of = f" {number}" if number else ""
            what = f"image {node.image!r} of {node.name} has no generation{of}"
        return NotFound(reason=f"{what}; `netbootctl image list` shows those there are", missing=True)
    line = command_line(node, generation, network, visit.exported)
    if len(line) > (most := longest(generation.architecture)):
        return NotFound(
            reason=f"the command line of {node.name} has {len(line)} octets, and a kernel for"
            f" {generation.architecture} reads {most}: its kernel arguments have to be shorter,"
            f" `netbootctl node set {node.name} --kernel-args ARGS`",
            missing=True,
        )
    path = f"images/{generation.image}/{generation.number}"
    return given(
        BootVariables(
            network=network,
            node=node,
            generation=generation,
            path=path,
            files=f"{network.http}/{path}",
            command_line=line,
            words=tuple(parted(line)),
        )
    )


def _elsewhere(visit: Visit, node: Node, network: object) -> Denied | None:
    """A refusal where another DHCP server gives the addresses, and gave this node another than its own.

    What it boots with would have it take the registered one, which that server may give to any machine.
    """
    proxied = isinstance(network, Network) and network.dhcp is DhcpMode.PROXY
    if not proxied or visit.peer == node.address:
        return None
    return Denied(
        reason=f"{node.name} asks from {visit.peer}, and {node.address} is registered for it: that has to be"
        f" reserved for it in the other DHCP server; `netbootctl why {node.name}` prints the lines"
    )


def mac_in(text: str) -> Mac | None:
    """A MAC address in a path, None for anything else."""
    try:
        return Mac(text)
    except UserError:
        return None
