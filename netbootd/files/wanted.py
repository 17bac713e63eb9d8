"""What must be there for the registry's nodes: keys, node files, exports, the head node's own files.

Reads the registry, the image store, the templates and the keys; changes nothing. A key that has yet to be
made stands in what depends on it as PENDING, so that a dry run shows every file that will be written.
"""

import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from netbootd.config import Config
from netbootd.errors import UserError
from netbootd.files import cluster as names
from netbootd.files.cluster import Cluster
from netbootd.files.disk import explained
from netbootd.files.hostkeys import KeyPair, KeyStore
from netbootd.files.templates import rendered, sources
from netbootd.files.tree import Entry, File, Tree
from netbootd.images.store import ImageStore
from netbootd.network import Network
from netbootd.nfs.exports import Export, Generations, desired
from netbootd.node import Node
from netbootd.registry import Registry
from netbootd.render import Renderer

PENDING = KeyPair(b"", "ssh-ed25519 (made by apply)")
HEAD_KEYS = Path("/etc/ssh")
CLUSTER_KEY_COMMENT = "netbootd-cluster"
_PUBLIC_KEY = re.compile(
    r"(?:\S.* )?(?:ssh|ecdsa|sk-ssh|sk-ecdsa)-[a-z0-9@.-]+ [A-Za-z0-9+/]{40,}={0,2}(?: .*)?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What all this is computed from. `head_keys` is the directory with the head node's own host keys."""

    config: Config
    registry: Registry
    store: ImageStore
    networks: tuple[Network, ...]
    renderer: Renderer
    head_name: str = ""
    head_keys: Path = HEAD_KEYS


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """All that must be there. `trees`: by directory below the state directory (`common`, `nodes/n01`)."""

    nodes: tuple[Node, ...]
    keys_to_make: tuple[str, ...]
    """Machine-ids."""
    cluster_key_to_make: bool
    trees: Mapping[str, Tree]
    exports: tuple[Export, ...]
    cluster: Cluster
    warnings: tuple[str, ...]


def wanted(inputs: Inputs) -> Wanted:
    """Compute it. Raises UserError for a fault in a template or key file, HostError for an unreadable one."""
    config = inputs.config
    keys = KeyStore(config.keys_dir)
    nodes = tuple(inputs.registry.nodes())
    host_keys = {node.machine_id: keys.host_key(node.machine_id) for node in nodes}
    cluster_key = keys.cluster_key()
    authorized, warnings = _authorized_keys(config.authorized_keys)
    pairs = {machine_id: pair or PENDING for machine_id, pair in host_keys.items()}
    cluster = Cluster(
        nodes=names.members(
            nodes, inputs.networks, {machine_id: pair.public for machine_id, pair in pairs.items()}
        ),
        head=names.head(
            inputs.head_name or socket.gethostname(), inputs.networks, _head_keys(inputs.head_keys)
        ),
        authorized_keys=(*authorized, f"{(cluster_key or PENDING).public} {CLUSTER_KEY_COMMENT}"),
    )
    generations, missing = _generations(inputs, nodes)
    return Wanted(
        nodes=nodes,
        keys_to_make=tuple(machine_id for machine_id, pair in host_keys.items() if pair is None),
        cluster_key_to_make=cluster_key is None,
        trees=_trees(inputs, cluster, pairs, cluster_key or PENDING),
        exports=desired(nodes, generations, config.nodes_dir, config.common_dir),
        cluster=cluster,
        warnings=(*warnings, *missing, *_networks_away(inputs)),
    )


def _trees(
    inputs: Inputs, cluster: Cluster, host_keys: Mapping[str, KeyPair], cluster_key: KeyPair
) -> dict[str, Tree]:
    """The common tree and one for each node.

    Each node's tree holds the cluster's private key, which every node accepts for root: that is what makes
    ssh from node to node ask nothing, and it means that root of any node is root of all. The nodes of one
    cluster trust each other; nobody else gets the key: the export goes to the node alone, the file is root's.
    """
    config = inputs.config
    common, each = (sources(config.template_dir, part) for part in ("common", "each"))
    trees = {
        _below(config, config.common_dir): rendered(
            common, inputs.renderer, names.common_variables(cluster), {}
        )
    }
    for node in cluster.nodes:
        host_key = host_keys[node.machine_id]
        given: dict[str, Entry] = {
            "etc/ssh/ssh_host_ed25519_key": File(host_key.private, 0o600),
            "etc/ssh/ssh_host_ed25519_key.pub": File(f"{host_key.public} root@{node.name}\n".encode()),
            "root/.ssh/id_ed25519": File(cluster_key.private, 0o600),
            "root/.ssh/id_ed25519.pub": File(f"{cluster_key.public} {CLUSTER_KEY_COMMENT}\n".encode()),
        }
        trees[_below(config, config.nodes_dir / node.name)] = rendered(
            each, inputs.renderer, names.node_variables(cluster, node), given
        )
    return trees


def _below(config: Config, path: Path) -> str:
    return path.relative_to(config.state_dir).as_posix()


def _authorized_keys(paths: Sequence[Path]) -> tuple[list[str], list[str]]:
    """The public keys in those files, each once; and a warning for each file that isn't there."""
    keys: dict[str, None] = {}
    warnings = []
    for path in paths:
        with explained(path):
            text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else None
        if text is None:
            warnings.append(
                f"authorized_keys: there is no {path}; make it with ssh-keygen -t ed25519, then apply again"
                " (root of the head node reaches the nodes without it, by the cluster's own key)"
            )
            continue
        if "PRIVATE KEY" in text[:100]:
            raise UserError(f"authorized_keys: {path} is a private key", f"give the public one: {path}.pub")
        for number, line in enumerate(map(str.strip, text.splitlines()), 1):
            if line and not line.startswith("#"):
                if not line.isprintable() or not _PUBLIC_KEY.fullmatch(line):
                    raise UserError(f"{path}, line {number} isn't a public SSH key", "take that line out")
                keys[line] = None
    return list(keys), warnings


def _head_keys(directory: Path) -> list[str]:
    """Type and key of each of the head node's own host keys."""
    keys = []
    with explained(directory):
        for path in sorted(directory.glob("ssh_host_*_key.pub")):
            words = path.read_text(encoding="utf-8", errors="replace").split()
            if len(words) >= 2:
                keys.append(" ".join(words[:2]))
    return keys


def _generations(inputs: Inputs, nodes: Sequence[Node]) -> tuple[Generations, list[str]]:
    """The root file systems that nodes use, and a warning for each image that has none."""

    def root(image: str, number: int) -> Path | None:
        path = inputs.store.directory / image / str(number) / "root"
        return path if path.is_dir() else None

    current: dict[str, Path] = {}
    warnings = []
    for image in sorted({node.image for node in nodes if node.image}):
        number = inputs.store.current_number(image)
        if number is not None and (path := root(image, number)):
            current[image] = path
            continue
        users = [node.name for node in nodes if node.image == image]
        shown = ", ".join(users[:5]) + (f" and {len(users) - 5} more" if len(users) > 5 else "")
        warnings.append(f"there is no image {image} for {shown}: netbootctl image build {image}")
    booted = {
        node: path
        for node, (image, number) in inputs.registry.booted().items()
        if (path := root(image, number))
    }
    return Generations(current=current, booted=booted), warnings


def _networks_away(inputs: Inputs) -> list[str]:
    here = {network.interface for network in inputs.networks}
    wanted = dict.fromkeys(network.interface for network in inputs.config.network)
    return [
        f"the interface {interface} has no address now: its nodes go without domain and name servers"
        for interface in wanted
        if interface not in here
    ]
