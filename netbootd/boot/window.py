"""Whether a node is booting just now, which is when it may fetch its node files over HTTP. Pure.

A node of root mode `ram` has no NFS, so it fetches its files: its SSH host key is among them, and the
cluster's private key, which opens every node to root. A running node must not get at them that way, or any of
its users could. So they are given while the node boots and at no other time: from when its firmware's DHCP
was answered with something to boot, until its node-init says that the root is there. And both requests, by
DHCP and for the files, have to come from a port that only root of a machine can send from: NFS goes by that.

This is kept in memory, so after a restart of the daemon nobody boots: node-init says that, and starts anew.
"""

from netbootd.boot.answer import Decision, NetBoot
from netbootd.boot.client import Client
from netbootd.node import Mac, Node, RootMode
from netbootd.stage import Event, Stage

LONGEST = 1800.0
"""Seconds from the firmware's request on: for slow wires, and switches on which forty nodes start at once."""
PRIVILEGED = 1024
"""The first port that anybody may send from (ip(7))."""


class BootWindow:
    """The nodes that boot. Times are Unix seconds."""

    def __init__(self) -> None:
        self._since: dict[Mac, float] = {}

    def decided(self, client: Client, node: Node | None, decision: Decision, now: float) -> None:
        """A DHCP request of `client` was answered with `decision`: the node's boot begins, or goes on."""
        if node is None or node.root is not RootMode.RAM:
            return
        if isinstance(decision, NetBoot) and client.privileged:
            self._since[node.mac] = now

    def heard(self, event: Event) -> None:
        """A node that has its root boots no more."""
        if event.mac is not None and event.stage in (Stage.ROOT, Stage.READY):
            self._since.pop(event.mac, None)

    def refusal(self, node: Node, port: int | None, now: float) -> str:
        """Why `node`'s files aren't given to a request from its `port`; empty where they are."""
        since = self._since.get(node.mac)
        # Either way: the head node's clock may be set meanwhile.
        if since is None or abs(now - since) > LONGEST:
            return (
                f"{node.name} isn't booting, as far as this head node knows; its files are given from its"
                " firmware's DHCP to its root only, so start it again"
            )
        if port is None or port >= PRIVILEGED:
            return (
                f"the files of {node.name} are for its node-init, which asks over HTTP from a port below 1024"
            )
        return ""
