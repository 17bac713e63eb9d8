"""The kernel's command line: all that node-init is told."""

from dataclasses import dataclass
from pathlib import Path

from netbootd.image import Generation
from netbootd.network import Network
from netbootd.node import Node

USUAL_INIT = "/sbin/init"
"""What node-init starts without being told."""
CONSOLES = {"x86_64": "console=ttyS0,115200n8 console=tty0"}
"""Where a machine of this architecture talks to people; the last one becomes /dev/console.

Only where nothing else tells: a board's device tree has stdout-path, and the kernel takes that (ttyAMA0,
ttyAML0, ttyPS0 …) as its console unless a console= is given; a screen, tty0, stays one too (of_console_check,
register_console).
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """Where the head node's NFS server has what a node mounts."""

    nodes_dir: Path
    common_dir: Path
    nfs_version: str


def command_line(node: Node, generation: Generation, network: Network, exported: Exported) -> str:
    """What the kernel is booted with. `network` is the one that the node's address lies in."""
    words = {
        "node": node.name,
        "mac": node.mac,
        "ip": f"{node.address}/{network.subnet.prefixlen}",
        "gw": network.router,
        "server": network.server,
        "root": node.root.value,
        "image": generation.root,
        "files": exported.nodes_dir / node.name,
        "common": exported.common_dir,
        "nfs": exported.nfs_version,
        "http": f"{network.server}:{network.http_port}",
    }
    ours = [f"netbootd.{key}={value}" for key, value in words.items() if value is not None]
    if generation.init != USUAL_INIT:
        ours.append(f"init={generation.init}")
    arguments = [part for part in (generation.kernel_args, node.kernel_args) if part]
    if not any("console=" in part for part in arguments) and generation.architecture in CONSOLES:
        arguments.insert(0, CONSOLES[generation.architecture])
    return " ".join([*ours, *arguments])
