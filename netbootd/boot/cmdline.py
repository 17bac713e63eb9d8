"""The kernel's command line: all that node-init is told."""

from dataclasses import dataclass
from pathlib import Path

from netbootd.image import Generation
from netbootd.network import Network
from netbootd.node import Node, RootMode

USUAL_INIT = "/sbin/init"
"""What node-init starts without being told."""
NODE_INIT = "/usr/lib/netbootd/node-init"
"""Where every image has it; images.NODE_INIT_PATH is the same (boot may not import images)."""
CONSOLES = {"x86_64": "console=ttyS0,115200n8 console=tty0"}
"""Where a machine of this architecture talks to people; the last one becomes /dev/console.

Only where nothing else tells: a board's device tree has stdout-path, and the kernel takes that (ttyAMA0,
ttyAML0, ttyPS0 …) as its console unless a console= is given; a screen, tty0, stays one too (of_console_check,
register_console).
"""

RAM = "ram"
"""Under which HTTP has the node files of nodes in memory, and the state directory too."""
SQUASHFS = "root.squashfs"
"""What those nodes' roots are, beside the kernel."""
LONGEST = {"armv6l": 1023, "armv7l": 1023, "riscv64": 1023}
"""Octets that a kernel keeps where they are fewer than LONGEST_USUALLY; the rest is cut off without a word.

COMMAND_LINE_SIZE less its NUL (arch/*/include/uapi/asm/setup.h).
"""
LONGEST_USUALLY = 2047


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """Where the head node's NFS server has what a node mounts."""

    nodes_dir: Path
    common_dir: Path
    roots_dir: Path
    nfs_version: str
    ram_dir: Path


def command_line(node: Node, generation: Generation, network: Network, exported: Exported) -> str:
    """What the kernel is booted with. `network` is the one that the node's address lies in."""
    words = {
        "node": node.name,
        "mac": node.mac,
        "ip": f"{node.address}/{network.subnet.prefixlen}",
        "gw": network.router,
        "server": network.server,
        "root": node.root.value,
        **_sources(node, generation, exported),
        "nfs": exported.nfs_version,
        "http": f"{network.server}:{network.http_port}",
    }
    ours = [f"netbootd.{key}={value}" for key, value in words.items() if value is not None]
    if generation.init != USUAL_INIT:
        ours.append(f"init={generation.init}")
    arguments = [part for part in (generation.kernel_args, node.kernel_args) if part]
    if not has_console(node, generation) and generation.architecture in CONSOLES:
        arguments.insert(0, CONSOLES[generation.architecture])
    if generation.by_itself:
        arguments += _nfs_root(node, network, words["image"], exported.nfs_version)
    return " ".join([*ours, *arguments])


def _nfs_root(node: Node, network: Network, image: object, version: str) -> list[str]:
    """For a kernel that mounts its root by itself (Documentation/admin-guide/nfs/nfsroot.rst).

    Of several init= it takes the last, node-init the last that isn't itself.
    """
    router = network.router or ""
    writable = "rw" if node.root is RootMode.PERSISTENT else "ro"
    return [
        "root=/dev/nfs",
        f"nfsroot={network.server}:{image},vers={version},proto=tcp,nolock",
        writable,
        f"ip={node.address}:{network.server}:{router}:{network.subnet.netmask}:{node.name}::off",
        f"init={NODE_INIT}",
    ]


def _sources(node: Node, generation: Generation, exported: Exported) -> dict[str, Path | str]:
    """Where its root and its node files come from: paths of NFS exports, or of HTTP."""
    if node.root is RootMode.RAM:
        return {
            "image": f"/images/{generation.image}/{generation.number}/{SQUASHFS}",
            "files": f"/{RAM}/nodes/{node.name}.tar",
            "common": f"/{RAM}/common.tar",
        }
    kept = exported.roots_dir / node.machine_id / "root"
    return {
        "image": kept if node.root is RootMode.PERSISTENT else generation.root,
        "files": exported.nodes_dir / node.name,
        "common": exported.common_dir,
    }


def has_console(node: Node, generation: Generation) -> bool:
    """Whether the image or an admin says where the console is; netconsole= is another thing."""
    words = f"{generation.kernel_args} {node.kernel_args}".split()
    return any(word.startswith("console=") for word in words)


def longest(architecture: str) -> int:
    """Octets of a command line that a kernel for `architecture` reads."""
    return LONGEST.get(architecture, LONGEST_USUALLY)


def parted(line: str) -> list[str]:
    """The arguments of `line` as the kernel parts them (lib/cmdline.c): a quoted space parts nothing.

    Without the quotes, which stand around a value (`dyndbg="file nfs +p"`) or around all of it: that is the
    same to the kernel, and a loader that puts them back puts them around all.
    """
    found, quoted = [""], False
    for c in line:
        if c == '"':
            quoted = not quoted
        elif c == " " and not quoted:
            found.append("")
        else:
            found[-1] += c
    return [word for word in found if word]
