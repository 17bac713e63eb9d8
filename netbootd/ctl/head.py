"""What a command works on: the head node's configuration, registry, networks and images, each when needed."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from ipaddress import IPv4Interface
from pathlib import Path

import typer

from netbootd.config import Config, load
from netbootd.errors import HostError, NetbootdError, UserError
from netbootd.images.store import ImageStore
from netbootd.network import DhcpMode, Network, network_of
from netbootd.node import Mac, Node, host_name
from netbootd.registry import Registry
from netbootd.roots.layout import Roots


class Head:
    """The head node as `--config FILE` describes it. Raises ConfigError and HostError on first use."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of(cls, ctx: typer.Context) -> "Head":
        """The one that this command line means."""
        return cls(Path(ctx.find_root().obj))

    @cached_property
    def config(self) -> Config:
        """netbootd.toml, checked."""
        return load(self.path)

    @cached_property
    def addresses(self) -> dict[str, tuple[IPv4Interface, ...]]:
        """Interface -> its addresses. The kernel is asked only where netbootd.toml doesn't say."""
        if all(settings.address for settings in self.config.network):
            return {}
        from netbootd.links import interfaces  # noqa: PLC0415 (loads pyroute2; most commands needn't)

        return {link.name: link.addresses for link in interfaces() if link.addresses}

    @cached_property
    def networks(self) -> tuple[Network, ...]:
        """The networks whose head-node address is known."""
        return self.config.networks_on(self.addresses)

    def served(self) -> tuple[Network, ...]:
        """The networks. Raises HostError where there is none: no address could be given."""
        if not self.networks:
            names = [settings.interface for settings in self.config.network]
            raise HostError(
                f"{' and '.join(names)} {'has' if len(names) == 1 else 'have'} no address yet",
                f"`ip address add 10.77.0.1/24 dev {names[0]}`, or set `address` in {self.path}",
            )
        return self.networks

    def proxied(self, node: Node) -> Network | None:
        """The network of a node whose address is another DHCP server's to give; None for any other node."""
        if all(settings.dhcp is not DhcpMode.PROXY for settings in self.config.network):
            return None
        network = network_of(node.address, self.config.matched(self.addresses)[0])
        return network if network and network.dhcp is DhcpMode.PROXY else None

    @cached_property
    def images(self) -> ImageStore:
        """The images."""
        return ImageStore(self.config.images_dir)

    @cached_property
    def roots(self) -> Roots:
        """The nodes' persistent roots."""
        return Roots(self.config.roots_dir)

    @contextmanager
    def registry(self) -> Iterator[Registry]:
        """The registry, closed afterwards."""
        with Registry.open(self.config.registry_path) as registry:
            yield registry

    def daemon_pid(self) -> int | None:
        """The process of the netbootd that runs on this state_dir; None for none, or one that we may not see.

        The daemon writes its process id into the file that it keeps locked. Trying the lock instead would
        now and then keep a daemon from starting that looks at that moment.
        """
        path = self.config.lock_path
        try:
            pid = int(path.read_text(encoding="ascii"))
        except (FileNotFoundError, PermissionError, ValueError):
            return None
        try:
            opened = (entry.stat() for entry in Path(f"/proc/{pid}/fd").iterdir() if entry.exists())
            return pid if any(os.path.samestat(status, path.stat()) for status in opened) else None
        except PermissionError:  # somebody else's process, so there is one
            return pid
        except (FileNotFoundError, ProcessLookupError):
            return None


def machine_called(text: str, registry: Registry) -> tuple[Node | None, Mac]:
    """A node by its name or by a card's address; a machine that isn't registered by its address.

    Raises UserError for a name that no node has, and for what is neither.
    """
    try:
        mac = Mac(text)
    except UserError:
        if ":" in text:  # no name has one, so that what is wrong with it as an address is to be said
            raise
        node = registry.node(host_name(text))
        return node, node.mac
    return registry.node_by_mac(mac), mac


def reserved_names() -> dict[str, str]:
    """Names that no node can have, each with whose it is."""
    return {socket.gethostname().partition(".")[0].lower(): "the head node itself"}


def complete_nodes(ctx: typer.Context, incomplete: str) -> list[str]:
    """Node names for the shell; none where the registry can't be read."""
    try:
        with _from_command_line(ctx).registry() as registry:
            return [node.name for node in registry.nodes() if node.name.startswith(incomplete)]
    except (NetbootdError, OSError):
        return []


def complete_images(ctx: typer.Context, incomplete: str) -> list[str]:
    """Image names for the shell, after `NAME@` the generations."""
    try:
        images = _from_command_line(ctx).images
        name, at, _ = incomplete.partition("@")
        found = [f"{name}@{n}" for n in images.numbers(name)] if at else images.names()
    except (NetbootdError, OSError):
        return []
    return [label for label in found if label.startswith(incomplete)]


def complete_profiles(ctx: typer.Context, incomplete: str) -> list[str]:
    """Profile names for the shell."""
    try:
        with _from_command_line(ctx).registry() as registry:
            return [profile.name for profile in registry.profiles() if profile.name.startswith(incomplete)]
    except (NetbootdError, OSError):
        return []


def _from_command_line(ctx: typer.Context) -> Head:
    """While completing, no callback has run: the option is there, the object isn't."""
    return Head(Path(ctx.find_root().params["config"]))
