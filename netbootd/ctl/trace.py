"""What a machine would be told, request by request, by the functions that tell real ones."""

from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from netbootd.boot.answer import Denied, File, NotFound, Rendered
from netbootd.boot.assets import Request, locate
from netbootd.boot.client import from_dhcp
from netbootd.boot.policy import decide
from netbootd.config import Config
from netbootd.dhcp import options
from netbootd.dhcp.answering import answer
from netbootd.dhcp.leasebook import LeaseBook
from netbootd.dhcp.options import MessageType
from netbootd.dhcp.reservation import Reply, Settled
from netbootd.dhcp.wire import Message, fit
from netbootd.network import Network
from netbootd.node import Node
from netbootd.render import Renderer
from netbootd.shelf import HeadNode, exported_by

Step = dict[str, Any]
"""One step, as JSON can hold it; `kind` is dhcp, file, rendered or nothing."""


@dataclass(frozen=True, slots=True)
class Trace:
    """Answers for this head node without changing anything. `now` is Unix seconds."""

    config: Config
    view: HeadNode
    now: float

    def dhcp(
        self, request: Message, network: Network, *, boot_server: bool = False
    ) -> tuple[Step, Message | None]:
        """The answer to a DHCP message on `network`, as a step and, where there is one, as it would be sent.

        `boot_server`: it asks at port 4011.
        """
        client = from_dhcp(request.chaddr, request.options)
        node = self.view.node_by_mac(client.mac)
        generation = self.view.generation_of(node) if node else None
        decision = decide(client, node, network, generation, self.view.has_loader, self.view.obstacle)
        found = answer(
            *(request, client, decision, node, network, self._leases(network), self.now),
            boot_server=boot_server,
        )
        asked = request.type.name if request.type else "BOOTP"
        step: Step = {"kind": "dhcp", "asks": asked, "mac": client.mac, "node": node.name if node else None}
        step |= {"firmware": getattr(decision, "firmware", "") or None}
        if not isinstance(found, Reply):
            why = found.note if isinstance(found, Settled) else found.reason
            return step | {"answer": None, "why": why}, None
        message, left_out = fit(found.message, request.limit)
        return step | _shown(found, message, left_out), message

    def file(self, path: str, peer: IPv4Address) -> tuple[Step, bytes | Path | None]:
        """What `path` yields for the client at `peer`, as a step and as octets or the file that has them."""
        found = locate(Request(path=path, peer=peer), self.view, exported_by(self.config))
        match found:
            case File(root=root, name=name):
                file = root / name
                step: Step = {"kind": "file", "path": path, "file": str(file)}
                if file.is_file():
                    return step | {"size": file.stat().st_size, "why": ""}, file
                why = found.absent.reason if found.absent else "there is no such file"
                probe = found.absent is not None and found.absent.probe
                return step | {"size": None, "why": why, "probe": probe}, None
            case Rendered(template=template, variables=variables, packing=packing):
                served = Renderer(self.config.template_dir).serve(template, variables, packing)
                step = {"kind": "rendered", "path": path, "template": template, "fault": served.fault or None}
                return step | {"content": served.text}, served.content
            case NotFound(reason=reason, probe=probe):
                return {"kind": "nothing", "path": path, "why": reason, "probe": probe}, None
            case Denied(reason=reason):
                return {"kind": "nothing", "path": path, "why": reason, "probe": False}, None

    def _leases(self, network: Network) -> LeaseBook:
        registry = self.view.registry
        return LeaseBook(network, registry.leases(), lambda a: registry.node_by_address(a) is not None)


def network_for(node: Node | None, networks: tuple[Network, ...]) -> list[Network]:
    """The networks on which a machine may ask: a node's own, all of them for others."""
    return [n for n in networks if node is None or node.address in n.subnet]


def _shown(reply: Reply, message: Message, left_out: tuple[int, ...]) -> Step:
    return {
        "answer": message.type.name if message.type else "BOOTP reply",
        "why": reply.note if message.type is MessageType.NAK else reply.reason or reply.note,
        "yiaddr": str(message.yiaddr),
        "siaddr": str(message.siaddr),
        "file": message.file.decode("ascii", "replace"),
        "options": [
            {
                "code": code,
                "name": options.name(code),
                "value": options.describe(code, value),
                "hex": value.hex(),
            }
            for code, value in message.options.items()
        ],
        "left_out": [options.name(code) for code in left_out],
    }
