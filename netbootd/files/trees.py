"""The trees of all nodes: the common one, and for each node what templates and netbootd itself make."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from netbootd.files import cluster as names
from netbootd.files.cluster import Cluster, Member
from netbootd.files.hostkeys import KeyPair
from netbootd.files.templates import (
    COMMON,
    EACH,
    Rendering,
    Source,
    Sources,
    laid,
    rendered,
    sources,
    trees_of,
)
from netbootd.files.tree import Entry, File
from netbootd.render import Renderer
from netbootd.variables import given

CLUSTER_KEY_COMMENT = "netbootd-cluster"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trees:
    """What every node gets. `host_keys` is by machine-id, `parents` by the profile's name.

    The templates are read once, those of profiles once for each profile that a node has.
    """

    template_dir: Path
    renderer: Renderer
    cluster: Cluster
    host_keys: Mapping[str, KeyPair]
    cluster_key: KeyPair
    parents: Mapping[str, str | None]
    _read: dict[str | None, Sources] = field(default_factory=dict)

    def common_sources(self) -> Sources:
        """What the common tree is made from."""
        return sources(self.template_dir, [COMMON])

    def common(self) -> Rendering:
        """The common tree."""
        return rendered(self.common_sources(), self.renderer, given(self.cluster))

    def sources_of(self, node: Member) -> Sources:
        """What a node's own tree is made from."""
        if node.profile not in self._read:
            trees = trees_of(node.profile, self.parents)
            self._read[node.profile] = sources(self.template_dir, trees)
        made = {path: Source(entry, EACH) for path, entry in self._given(node).items()}
        return laid(made, self._read[node.profile])

    def of(self, node: Member) -> Rendering:
        """A node's own tree, which is laid over the common one."""
        return rendered(self.sources_of(node), self.renderer, given(names.node_variables(self.cluster, node)))

    def _given(self, node: Member) -> dict[str, Entry]:
        """What no template can make: keys, octets that aren't text.

        Each node's tree holds the cluster's private key, which every node accepts for root: that is what
        makes ssh from node to node ask nothing, and it means that root of any node is root of all. The nodes
        of one cluster trust each other; nobody else gets the key: the export goes to the node alone, the file
        is root's.
        """
        host_key = self.host_keys[node.machine_id]
        return {
            "etc/hostid": File(node.host_id),
            "etc/ssh/ssh_host_ed25519_key": File(host_key.private, 0o600),
            "etc/ssh/ssh_host_ed25519_key.pub": File(f"{host_key.public} root@{node.name}\n".encode()),
            "root/.ssh/id_ed25519": File(self.cluster_key.private, 0o600),
            "root/.ssh/id_ed25519.pub": File(f"{self.cluster_key.public} {CLUSTER_KEY_COMMENT}\n".encode()),
        }
