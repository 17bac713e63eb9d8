"""What a machine would be told, step by step, by the functions that tell real ones.

A boot is followed as far as the head node can see it: the DHCP answer, the loader, what that loader asks
for in turn, the rendered script and the files that it names.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any

from netbootd.boot.answer import Decision, File, NetBoot, Rendered
from netbootd.boot.assets import Request, locate
from netbootd.boot.client import from_dhcp
from netbootd.boot.cmdline import Exported
from netbootd.boot.loaders import LOADERS
from netbootd.boot.policy import decide
from netbootd.config import Config
from netbootd.ctl.specimens import IPXE_AFTER, SPECIMENS
from netbootd.dhcp import options
from netbootd.dhcp.leasebook import LeaseBook
from netbootd.dhcp.options import MessageType
from netbootd.dhcp.reservation import Reply, Settled, answer
from netbootd.dhcp.wire import Message, fit
from netbootd.network import Network
from netbootd.node import Mac, Node
from netbootd.render import Renderer
from netbootd.shelf import HeadNode

Step = dict[str, Any]
"""One step, as JSON can hold it; `kind` is dhcp, file, rendered or nothing."""


@dataclass(frozen=True, slots=True)
class Trace:
    """Follows boots against this head node. `now` is Unix seconds."""

    config: Config
    view: HeadNode
    now: float

    def boot(self, firmware: str, mac: Mac, network: Network) -> list[Step]:
        """All steps of a machine with this firmware on `network`."""
        step, decision, peer = self.dhcp(SPECIMENS[firmware].discover(mac), network)
        steps = [step | {"who": SPECIMENS[firmware].what}]
        if not isinstance(decision, NetBoot) or peer is None:
            return steps
        path = path_of(decision.bootfile)
        steps += self.fetch(path, peer)
        loader = LOADERS.get(path.rpartition("/")[2])
        if loader and loader.package == "ipxe" and not firmware.startswith("ipxe"):
            steps += self.boot(IPXE_AFTER.get(firmware, "ipxe"), mac, network)
        return steps

    def dhcp(self, request: Message, network: Network) -> tuple[Step, Decision, IPv4Address | None]:
        """The answer to a DHCP message: as a step, what was decided, and the address that the client gets."""
        client = from_dhcp(request.chaddr, request.options)
        node = self.view.node_by_mac(client.mac)
        generation = self.view.generation(node.image, None) if node and node.image else None
        decision = decide(client, node, network, generation, self.view.has_loader)
        found = answer(request, decision, node, network, self._leases(network), self.now)
        asked = request.type.name if request.type else "BOOTP"
        step: Step = {"kind": "dhcp", "asks": asked, "mac": client.mac, "node": node.name if node else None}
        step |= {"firmware": getattr(decision, "firmware", "") or None}
        if not isinstance(found, Reply):
            why = found.note if isinstance(found, Settled) else found.reason
            return step | {"answer": None, "why": why}, decision, None
        return step | _shown(request, found), decision, found.message.yiaddr

    def fetch(self, path: str, peer: IPv4Address) -> Iterator[Step]:
        """What `path` yields for the client at `peer`; of a script, what it names in turn, too."""
        step = self.file(path, peer)
        yield step
        for url in dict.fromkeys(re.findall(r"http://\S+", step.get("content", ""))):
            if path_of(url) != path:
                yield from self.fetch(path_of(url), peer)

    def file(self, path: str, peer: IPv4Address) -> Step:
        """What `path` yields for the client at `peer`."""
        exported = Exported(
            nodes_dir=self.config.nodes_dir,
            common_dir=self.config.common_dir,
            nfs_version=self.config.nfs.version,
        )
        found = locate(Request(path=path, peer=peer), self.view, exported)
        match found:
            case File(root=root, name=name):
                file = root / name
                size = file.stat().st_size if file.is_file() else None
                why = "" if size is not None else "there is no such file"
                return {"kind": "file", "path": path, "file": str(file), "size": size, "why": why}
            case Rendered(template=template, variables=variables):
                content = Renderer(self.config.template_dir).render(template, **variables)
                return {"kind": "rendered", "path": path, "template": template, "content": content}
        return {"kind": "nothing", "path": path, "why": found.reason}

    def _leases(self, network: Network) -> LeaseBook:
        registry = self.view.registry
        return LeaseBook(network, registry.leases(), lambda a: registry.node_by_address(a) is not None)


def path_of(bootfile: str) -> str:
    """The path of a boot file, be it a URL or what TFTP takes."""
    return re.sub(r"^[a-z]+://[^/]*/", "", bootfile).lstrip("/")


def network_for(node: Node | None, networks: tuple[Network, ...]) -> list[Network]:
    """The networks on which a machine may ask: a node's own, all of them for others."""
    return [n for n in networks if node is None or node.address in n.subnet]


def _shown(request: Message, reply: Reply) -> Step:
    message, left_out = fit(reply.message, request.limit)
    return {
        "answer": message.type.name if message.type else "BOOTP reply",
        "why": reply.note if message.type is MessageType.NAK else reply.reason,
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
