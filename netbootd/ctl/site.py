"""What templates are rendered with: for `netbootctl template` to show, for `doctor` to try."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from netbootd.boot.answer import NotFound
from netbootd.boot.firmware.raspberrypi_files import own_variables
from netbootd.boot.visit import BootVariables, Visit, kernel_of
from netbootd.config import Config
from netbootd.ctl.apply import inputs_of
from netbootd.ctl.head import Head
from netbootd.files import exporting
from netbootd.files.cluster import Member, node_variables
from netbootd.files.templates import COMMON, Source, Sources, laid, made
from netbootd.files.tree import Entry
from netbootd.files.trees import Trees
from netbootd.files.wanted import Inputs, wanted, what_is_known
from netbootd.node import Node, host_name
from netbootd.shelf import HeadNode, exported_by
from netbootd.variables import given

_PI = "boot/raspberrypi/"


@dataclass(frozen=True, slots=True)
class Site:
    """All that a template can be rendered with."""

    inputs: Inputs
    view: HeadNode
    trees: Trees

    @property
    def config(self) -> Config:
        """netbootd.toml."""
        return self.inputs.config

    def nfs(self) -> tuple[str, exporting.Variables]:
        """The NFS server's template, and what it is given. Raises UserError for what can't be exported."""
        name = exporting.template(self.config.nfs.server)
        return name, exporting.variables(self.inputs, wanted(self.inputs).exports)

    def node(self, name: str) -> tuple[Node, Member]:
        """A node, as boot scripts and as node files know it. Raises UserError."""
        node = self.view.registry.node(host_name(name))
        return node, next(member for member in self.trees.cluster.nodes if member.name == node.name)

    def boot(self, node: Node) -> BootVariables | NotFound:
        """What its boot scripts are given."""
        visit = Visit(parts=(), peer=node.address, view=self.view, exported=exported_by(self.config))
        found = kernel_of(visit, node)
        return found if isinstance(found, NotFound) else BootVariables(**found)  # type: ignore[arg-type]

    def boot_script(self, name: str, boot: BootVariables) -> str:
        """What a boot template makes. Raises UserError for a fault in it."""
        more = given(own_variables(boot.node, boot.generation)) if name.startswith(_PI) else {}
        return self.trees.renderer.render(name, **given(boot), **more)

    def sources(self, member: Member) -> Sources:
        """What all of a node's files are made from, the common ones included."""
        return laid(self.trees.common_sources(), self.trees.sources_of(member))

    def made(self, source: Source, member: Member | None) -> tuple[Source, Entry | None]:
        """What a node gets by `source`. Nothing of its own leaves the common file where that is."""
        entry = made(source, self.trees.renderer, self._given(source, member))
        common = next((each for each in source.overrides if each.tree == COMMON), None)
        if entry is None and source.tree != COMMON and common is not None:
            return common, made(common, self.trees.renderer, self._given(common, member))
        return source, entry

    def _given(self, source: Source, member: Member | None) -> Mapping[str, object]:
        cluster = self.trees.cluster
        if source.tree == COMMON or member is None:
            return given(cluster)
        return given(node_variables(cluster, member))


@contextmanager
def site_of(head: Head) -> Iterator[Site]:
    """With the registry open until the block ends. Raises NetbootdError."""
    with head.registry() as registry:
        inputs = inputs_of(head, registry)
        view = HeadNode(registry, head.images, head.networks, head.roots)
        yield Site(inputs, view, what_is_known(inputs).trees)
