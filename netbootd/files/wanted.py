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
from netbootd.files.serving import enumerated, served_generations
from netbootd.files.shares import Shares, shares
from netbootd.files.templates import Rendering, strays
from netbootd.files.tree import Tree
from netbootd.files.trees import CLUSTER_KEY_COMMENT, Trees
from netbootd.images.store import ImageStore
from netbootd.network import Network
from netbootd.nfs.exports import Export, desired
from netbootd.node import Node
from netbootd.registry import Registry
from netbootd.render import Renderer
from netbootd.roots.applying import look
from netbootd.roots.desired import Difference

PENDING = KeyPair(b"(made by apply)\n", "ssh-ed25519 (made by apply)")
HEAD_KEYS = Path("/etc/ssh")
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
    unmountable: frozenset[str] | None = frozenset()
    """Machine-ids whose persistent roots were tried in vain; None: nothing can be mounted from here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """All that must be there. `trees`: by directory below the state directory (`common`, `nodes/n01`)."""

    nodes: tuple[Node, ...]
    keys_to_make: tuple[str, ...]
    """Machine-ids."""
    cluster_key_to_make: bool
    trees: Mapping[str, Tree]
    kept: Mapping[str, tuple[str, ...]]
    """By the same directories: what stays as it is, because its template is broken."""
    exports: tuple[Export, ...]
    roots: Difference
    cluster: Cluster
    shares: Shares
    warnings: tuple[str, ...]
    faults: tuple[str, ...]
    """A line for each broken template."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What all trees are made from: the registry's nodes, the keys that there are, whom nodes let in."""

    nodes: tuple[Node, ...]
    host_keys: Mapping[str, KeyPair | None]
    cluster_key: KeyPair | None
    trees: Trees
    shares: Shares
    warnings: tuple[str, ...]


def wanted(inputs: Inputs) -> Wanted:
    """Compute it. Raises UserError for a fault in a key file, HostError for what can't be read."""
    config = inputs.config
    known = what_is_known(inputs)
    roots = look(config, inputs.store, known.nodes, inputs.registry.booted(), inputs.unmountable)
    served, missing = served_generations(
        config, inputs.registry.booted(), inputs.store, known.nodes, roots.serving, known.shares.user
    )
    renderings = _renderings(config, known.trees)
    profiles = tuple(known.trees.parents)
    return Wanted(
        nodes=known.nodes,
        keys_to_make=tuple(machine_id for machine_id, pair in known.host_keys.items() if pair is None),
        cluster_key_to_make=known.cluster_key is None,
        trees={name: rendering.tree for name, rendering in renderings.items()},
        kept={name: tuple(rendering.broken) for name, rendering in renderings.items() if rendering.broken},
        exports=desired(
            known.nodes,
            served,
            config.nodes_dir,
            config.common_dir,
            known.shares.exported,
            [network.subnet for network in inputs.networks],
        ),
        roots=roots,
        cluster=known.trees.cluster,
        shares=known.shares,
        warnings=(
            *known.warnings,
            *missing,
            *roots.warnings,
            *_networks_away(inputs),
            *strays(config.template_dir, profiles),
        ),
        faults=_faults(renderings),
    )


def what_is_known(inputs: Inputs) -> Known:
    """Read the registry and the keys. Raises UserError for a fault in a key file, HostError."""
    keys = KeyStore(inputs.config.keys_dir)
    nodes = tuple(inputs.registry.nodes())
    host_keys = {node.machine_id: keys.host_key(node.machine_id) for node in nodes}
    cluster_key = keys.cluster_key()
    authorized, warnings = _authorized_keys(inputs.config.authorized_keys)
    pairs = {machine_id: pair or PENDING for machine_id, pair in host_keys.items()}
    shared = shares(inputs.config)
    cluster = Cluster(
        nodes=names.members(
            nodes,
            inputs.networks,
            {machine_id: pair.public for machine_id, pair in pairs.items()},
            inputs.registry.cores(),
        ),
        head=names.head(
            inputs.head_name or socket.gethostname(),
            inputs.networks,
            _head_keys(inputs.head_keys),
            serves_time=inputs.config.hosts.chrony_file.parent.is_dir(),
        ),
        authorized_keys=(*authorized, f"{(cluster_key or PENDING).public} {CLUSTER_KEY_COMMENT}"),
        user=shared.user,
        shared=str(inputs.config.cluster.shared) if inputs.config.cluster.shared else None,
        mounts=shared.mounts,
    )
    trees = Trees(
        template_dir=inputs.config.template_dir,
        renderer=inputs.renderer,
        cluster=cluster,
        host_keys=pairs,
        cluster_key=cluster_key or PENDING,
        parents={profile.name: profile.parent for profile in inputs.registry.profiles()},
    )
    return Known(
        nodes=nodes,
        host_keys=host_keys,
        cluster_key=cluster_key,
        trees=trees,
        shares=shared,
        warnings=(*warnings, *map(str, shared.complaints)),
    )


def _renderings(config: Config, trees: Trees) -> dict[str, Rendering]:
    """The common tree and one for each node."""
    renderings = {_below(config, config.common_dir): trees.common()}
    for node in trees.cluster.nodes:
        renderings[_below(config, config.nodes_dir / node.name)] = trees.of(node)
    return renderings


def _faults(renderings: Mapping[str, Rendering]) -> tuple[str, ...]:
    """A line for each broken template, not for each node; the nodes are named where it works for others."""
    first: dict[Path | None, UserError] = {}
    where: dict[Path | None, list[str]] = {}
    for name, rendering in renderings.items():
        for source, error in rendering.broken.values():
            first.setdefault(source.file, error)
            where.setdefault(source.file, []).append(name.rpartition("/")[2])
    lines = []
    for file, names_ in where.items():
        everywhere = names_ == ["common"] or len(names_) == len(renderings) - 1 > 1
        lines.append(f"{'' if everywhere else enumerated(names_) + ': '}{first[file]}")
    return tuple(lines)


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


def _networks_away(inputs: Inputs) -> list[str]:
    here = {network.interface for network in inputs.networks}
    wanted = dict.fromkeys(network.interface for network in inputs.config.network)
    return [
        f"the interface {interface} has no address now: its nodes go without domain and name servers"
        for interface in wanted
        if interface not in here
    ]
