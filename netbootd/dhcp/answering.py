"""Who answers a DHCP message: the server, the proxy beside another one, or the boot server at 4011. Pure."""

from netbootd.boot.answer import Decision
from netbootd.boot.client import Client
from netbootd.dhcp import proxy, reservation
from netbootd.dhcp.leasebook import LeaseBook
from netbootd.dhcp.reservation import Answer
from netbootd.dhcp.wire import Message
from netbootd.network import DhcpMode, Network
from netbootd.node import Node


def answer(  # noqa: PLR0913 (each is a fact that the answer depends on)
    request: Message,
    client: Client,
    decision: Decision,
    node: Node | None,
    network: Network,
    leases: LeaseBook,
    now: float,
    *,
    boot_server: bool = False,
) -> Answer:
    """The answer to `request` on `network`; `boot_server`: it came in at port 4011. `now`: Unix seconds."""
    if boot_server:
        return proxy.answer_boot_server(request, client, decision, node, network)
    if network.dhcp is DhcpMode.PROXY:
        return proxy.answer(request, client, decision, node, network)
    return reservation.answer(request, decision, node, network, leases, now)
