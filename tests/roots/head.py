"""A head node with a small image, whose persistent roots are really mounted: in a lab's mount namespace."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

from netbootd.image import Generation
from netbootd.images.store import ImageStore
from netbootd.node import Node, RootMode
from netbootd.registry import Registry
from netbootd.roots.layout import Roots
from tests.lab.namespace import Lab

_CONFIG = """\
state_dir = "{directory}/state"
template_dir = "{directory}/templates"

[[network]]
interface = "br0"
address = "10.77.0.1/24"
range = "10.77.0.10-10.77.0.99"

[nfs]
server = "ganesha"
exports_file = "{directory}/exports"
ganesha_config = "{directory}/ganesha.conf"
ganesha_pid = "{directory}/ganesha.pid"
"""
NETBOOTCTL = Path(sys.executable).parent / "netbootctl"

Fill = Callable[[Path], None]


class RootsHead:
    """Commands run in `lab`, whose mounts are its own; what is on the disk is seen from everywhere."""

    def __init__(self, lab: Lab, directory: Path) -> None:
        self.lab = lab
        self.directory = directory
        self.config = directory / "netbootd.toml"
        self.state = directory / "state"
        directory.chmod(0o755)
        self.config.write_text(_CONFIG.format(directory=directory))
        self.images = ImageStore(self.state / "images")
        self.roots = Roots(self.state / "roots")

    def publish(self, fill: Fill, image: str = "debian") -> Generation:
        """A new generation, whose root file system `fill` makes; current from now on."""
        with self.images.staging(image) as staging:
            fill(staging.root)
            facts = Generation(
                image=image,
                number=0,
                directory=staging.directory,
                created="2026-01-01T00:00:00Z",
                origin="a test",
                architecture="x86_64",
                kernel_release="6.1",
                size=7,
            )
            return self.images.publish(staging, facts)

    def attempt(self, *words: str) -> CompletedProcess[str]:
        """Netbootctl, however it ends."""
        return self.lab.run([NETBOOTCTL, "--config", self.config, *words], check=False)

    def ctl(self, *words: str) -> str:
        """Netbootctl; what it said."""
        return self.lab.run([NETBOOTCTL, "--config", self.config, *words]).stdout

    def json(self, *words: str) -> Any:
        """The same, as JSON."""
        return json.loads(self.ctl(*words, "--json"))

    def shell(self, script: str) -> str:
        """A shell's script where the mounts are."""
        return self.lab.run(["sh", "-euc", script]).stdout

    def add(self, number: int, *words: str) -> Node:
        """Register n1, n2 … with persistent roots, and apply."""
        name = f"n{number}"
        mac = f"52:54:00:00:00:{number:02x}"
        self.ctl("node", "add", name, "--mac", mac, "--root", "persistent", *words)
        return self.node(name)

    def node(self, name: str) -> Node:
        """The node called that."""
        with self.registry() as registry:
            return registry.node(name)

    def registry(self) -> Registry:
        """The registry; to be closed."""
        return Registry.open(self.state / "registry" / "registry.db")

    def boots(self, name: str, label: str, root: RootMode) -> None:
        """As if the node had fetched its boot script."""
        image, _, number = label.partition("@")
        with self.registry() as registry:
            registry.set_booted(name, image, int(number), root, 0.0)

    def root_of(self, node: Node) -> Path:
        """Where its root is mounted, in the lab."""
        return self.roots.mount_point(node.machine_id)

    def mounted(self) -> list[str]:
        """Machine-ids whose roots are mounted, of this head node's."""
        lines = self.shell("cat /proc/self/mountinfo").splitlines()
        points = [Path(line.split(" ")[4]) for line in lines if " - overlay netbootd-root " in line]
        return sorted(point.parent.name for point in points if point.is_relative_to(self.directory))

    def unmount_all(self) -> None:
        """Nothing below `directory` stays mounted in the lab."""
        self.shell(
            f"cut -d' ' -f5 /proc/self/mountinfo | grep '^{self.directory}/' | tac | xargs -r umount --lazy"
        )

    def exports(self) -> str:
        """What the NFS server is told."""
        path = self.directory / "ganesha.conf"
        return path.read_text() if path.exists() else ""


def small_image(root: Path) -> None:
    """A few files of every kind."""
    root.chmod(0o755)
    for directory in ("etc", "usr/bin", "var/log", "root", "tmp", "srv/data/deep"):
        (root / directory).mkdir(parents=True)
    (root / "tmp").chmod(0o1777)
    (root / "etc/motd").write_text("from the image\n")
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (root / "usr/bin/tool").write_text("#!/bin/sh\n")
    (root / "usr/bin/tool").chmod(0o4755)
    os.link(root / "usr/bin/tool", root / "usr/bin/tool-too")
    (root / "usr/bin/link").symlink_to("tool")
    (root / "srv/data/one").write_text("1\n")
    (root / "srv/data/deep/two").write_text("2\n")
