"""A head node's state in a directory of its own: real registry, image store, templates, keys; no network."""

import stat
from ipaddress import IPv4Address
from pathlib import Path

from netbootd.config import Config
from netbootd.files.apply import carry_out, plan
from netbootd.files.change import Plan
from netbootd.files.wanted import Inputs
from netbootd.image import Generation
from netbootd.images.store import ImageStore
from netbootd.node import Mac
from netbootd.registry import NodeRequest, Registry, Settings
from netbootd.render import Renderer

HEAD_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE1YzrFv0S0wyUoYk3yf1d8rC5l2X5v6b5mFQd0b7o9T"
ADMIN_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBk0zS9m4yHn1o4yq9a2m4yqT1x3Q6k9m3m7c6y1d8rC admin@desk"

Snapshot = dict[str, tuple[int, int, bytes]]
"""Path -> inode, mode with the file's type, content or target."""


class Head:
    """Use it as a context manager: the registry is open meanwhile."""

    def __init__(self, directory: Path, **settings: object) -> None:
        self.directory = directory
        self.etc = directory / "etc"
        self.templates = directory / "templates"
        for made in (self.etc / "ssh_config.d", self.etc / "ssh", self.templates):
            made.mkdir(parents=True, exist_ok=True)
        for path, text in (
            (self.etc / "hosts", "127.0.0.1 localhost"),
            (self.etc / "ssh" / "ssh_host_ed25519_key.pub", f"{HEAD_KEY} root@head"),
            (directory / "admin.pub", ADMIN_KEY),
        ):
            if not path.exists():
                path.write_text(f"{text}\n")
        self.config = Config.model_validate(
            {
                "state_dir": str(directory / "state"),
                "template_dir": str(self.templates),
                "authorized_keys": [str(directory / "admin.pub")],
                "network": [
                    {
                        "interface": "eth1",
                        "address": "10.77.0.1/16",
                        "domain": "cluster",
                        "dns": ["10.77.0.1"],
                    }
                ],
                "nfs": {
                    "server": "ganesha",
                    "exports_file": str(self.etc / "netbootd.exports"),
                    "ganesha_config": str(self.etc / "ganesha.conf"),
                    "ganesha_pid": str(directory / "ganesha.pid"),
                },
                "hosts": {
                    "hosts_file": str(self.etc / "hosts"),
                    "known_hosts_file": str(self.etc / "ssh_known_hosts"),
                    "ssh_config_file": str(self.etc / "ssh_config.d" / "netbootd.conf"),
                    "chrony_file": str(self.etc / "chrony" / "netbootd.conf"),
                },
                **settings,
            }
        )
        self.networks = self.config.networks_on({})
        self.images = ImageStore(self.config.images_dir)
        self.registry = Registry.open(self.config.registry_path)

    def __enter__(self) -> "Head":
        return self

    def __exit__(self, *_: object) -> None:
        self.registry.close()

    @property
    def state(self) -> Path:
        """The state directory."""
        return self.config.state_dir

    def add(self, *numbers: int, image: str = "debian") -> None:
        """Register n1, n2 … with 10.77.0.0 + number."""
        requests = [
            NodeRequest(
                name=f"n{number}",
                macs=(Mac.from_octets(b"\x52\x54\0\0" + number.to_bytes(2, "big")),),
                address=IPv4Address("10.77.1.0") + number,
                settings=Settings(image=image),
            )
            for number in numbers
        ]
        self.registry.add_nodes(requests, self.networks, {})

    def publish(self, image: str = "debian", squashfs: str = "") -> Generation:
        """A new generation of an image, current from now on. `squashfs`: how its kernel reads one."""
        with self.images.staging(image) as staging:
            (staging.root / "file").write_text("content")
            facts = Generation(
                image=image,
                number=0,
                directory=staging.directory,
                created="2026-01-01T00:00:00+00:00",
                origin="a test",
                architecture="x86_64",
                kernel_release="6.1",
                size=7,
                squashfs=squashfs,
            )
            return self.images.publish(staging, facts)

    @property
    def inputs(self) -> Inputs:
        """What a plan is computed from."""
        return Inputs(
            config=self.config,
            registry=self.registry,
            store=self.images,
            networks=self.networks,
            renderer=Renderer(self.templates),
            head_name="head.example.org",
            head_keys=self.etc / "ssh",
        )

    def plan(self) -> Plan:
        """What differs."""
        return plan(self.inputs)

    def apply(self) -> Plan:
        """Carry it out."""
        return carry_out(self.plan())

    def text(self, path: str) -> str:
        """What is in a file below the state directory."""
        return (self.state / path).read_text()

    def snapshot(self) -> Snapshot:
        """Every file there is, the registry's own excepted."""
        found: Snapshot = {}
        for path in sorted(self.directory.rglob("*")):
            if path.is_relative_to(self.state / "registry"):
                continue
            status = path.lstat()
            content = b""
            if stat.S_ISLNK(status.st_mode):
                content = str(path.readlink()).encode()
            elif stat.S_ISREG(status.st_mode):
                content = path.read_bytes()
            found[str(path.relative_to(self.directory))] = (status.st_ino, status.st_mode, content)
        return found
