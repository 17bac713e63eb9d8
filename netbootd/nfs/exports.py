"""Which directories must be exported, to whom, and how: computed as values from the registry. Pure.

Every export goes to the exact addresses of the nodes that need it, collapsed into blocks that hold no
other address; nothing goes to everyone. A generation goes to the nodes that boot it and to those still
running on it, node files to their own node, the common ones to all nodes (an admin may put a munge key
there), a persistent root to its node, the user's home and what all share to all nodes.

One thing goes by network: a generation that nobody could learn a secret from, where its nodes' addresses
are strewn over more than MOST_BLOCKS blocks. Thousands of lines for what all of them may read anyway would
cost each mount and each reload; see `generation_clients`.

What this protects from, and what not: NFS with AUTH_SYS believes addresses, so whoever can take a node's
address on the wire can read what that node reads. And a client that forges file handles can reach what
lies beside an export on the same file system; the kernel's server is told to check that (subtree_check),
NFS-Ganesha can't, nor the kernel's where nodes may write: files that are renamed while they are open
couldn't stand it. There root is nobody at least. Give the state directory a file system of its own where
nodes aren't trusted, and what they write to another.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, collapse_addresses
from pathlib import Path
from uuid import UUID, uuid5

from netbootd.node import Node, RootMode

_NAMESPACE = UUID("6d4f4a0e-6a0f-5c58-9d5e-2f1a7c3b8e10")
LARGEST_EXPORT_ID = 65_535
MOST_BLOCKS = 64
"""Of addresses that a generation is exported to, before it is exported to networks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """A directory and the addresses that may mount it.

    `root_squash` is off for all that a node's root comes from: the node's uid 0 has to read /etc/shadow,
    /root and its own host key as they are, and to set owners in a root that it writes to.
    """

    path: Path
    clients: tuple[IPv4Network, ...]
    read_only: bool = True
    root_squash: bool = False
    mounted: bool = False
    """Whether something is mounted at `path`, and nothing is to be exported while it isn't."""

    @property
    def fsid(self) -> UUID:
        """What names this export in file handles: of the path alone, so that it outlives any restart."""
        return uuid5(_NAMESPACE, str(self.path))

    def variables(self, path: str) -> "ExportVariables":
        """What a template is given of it; `path` is as that server's syntax wants it written."""
        return ExportVariables(
            path=path,
            clients=tuple(
                str(client.network_address if client.prefixlen == client.max_prefixlen else client)
                for client in self.clients
            ),
            read_only=self.read_only,
            root_squash=self.root_squash,
            mounted=self.mounted,
            fsid=self.fsid,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportVariables:
    """What an NFS server's template is given of each export."""

    path: str
    """The directory, as the server's own syntax has it written."""
    clients: tuple[str, ...]
    """Who may mount it: addresses, and blocks of them as 10.77.0.8/29."""
    read_only: bool
    """Whether they may read only."""
    root_squash: bool
    """Whether their root is nobody here; for what a root file system comes from it can't be."""
    mounted: bool
    """Whether something is mounted there, and nothing is to be exported while it isn't."""
    fsid: UUID
    """What names the export in file handles, the same for ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Generations:
    """The root file systems that nodes use, as the image store and the registry know them.

    `current`: image -> what a boot now gets. `booted`: node -> what it was last told to boot, so that a
    node keeps its root until it boots anew, whatever has become current meanwhile. `roots`: machine-id ->
    where its persistent root is mounted. `harmless`: those of them that hold no secret.
    """

    current: Mapping[str, Path]
    booted: Mapping[str, Path]
    roots: Mapping[str, Path] = field(default_factory=dict)
    harmless: frozenset[Path] = frozenset()


def desired(
    nodes: Iterable[Node],
    generations: Generations,
    nodes_dir: Path,
    common_dir: Path,
    shared: Iterable[Path] = (),
    networks: Iterable[IPv4Network] = (),
) -> tuple[Export, ...]:
    """All exports that `nodes` need, by path.

    `shared` are directories that all of them may write to, `networks` those that are served.
    """
    users: dict[Path, set[IPv4Address]] = defaultdict(set)
    everybody: set[IPv4Address] = set()
    own: dict[str, IPv4Address] = {}
    for node in nodes:
        everybody.add(node.address)
        own[node.machine_id] = node.address
        for path in _needed(node, generations, nodes_dir, common_dir):
            users[path].add(node.address)
    served = tuple(networks)
    exports = [
        Export(
            path=path,
            clients=generation_clients(clients, served) if path in generations.harmless else _blocks(clients),
        )
        for path, clients in users.items()
    ]
    exports += [
        Export(path=root, clients=_blocks([address]), read_only=False, mounted=True)
        for machine_id, address in own.items()
        if (root := generations.roots.get(machine_id))
    ]
    if everybody:
        blocks = _blocks(everybody)
        exports += [Export(path=path, clients=blocks, read_only=False, root_squash=True) for path in shared]
    return tuple(sorted(exports, key=lambda export: export.path))


def generation_clients(
    addresses: Iterable[IPv4Address], networks: Iterable[IPv4Network]
) -> tuple[IPv4Network, ...]:
    """Whom a generation without secrets is exported to: these addresses; if too strewn, their networks.

    An address on none of the networks stays by itself.
    """
    exact = _blocks(addresses)
    if len(exact) <= MOST_BLOCKS:
        return exact
    served = [network for network in networks if any(block.subnet_of(network) for block in exact)]
    return tuple(collapse_addresses((*exact, *served)))


def export_ids(exports: Iterable[Export], present: Mapping[Path, int]) -> dict[Path, int]:
    """A number from 1 to 65535 for each export; NFS-Ganesha puts it into its file handles.

    An export keeps the number that it has in `present`. A new one gets a number by the hash of its path,
    the next free one where that is taken; and a number that `present` has for another path counts as taken
    even if that export is going, because Ganesha 4.3 gives up all exports when a number changes its path.
    Raises ValueError where there are more exports than numbers.
    """
    taken = set(present.values())
    numbers: dict[Path, int] = {}
    for export in exports:
        if export.path in present:
            numbers[export.path] = present[export.path]
            continue
        if len(taken) >= LARGEST_EXPORT_ID:
            raise ValueError(f"more than {LARGEST_EXPORT_ID} exports")
        digest = hashlib.sha256(str(export.path).encode()).digest()
        number = int.from_bytes(digest[:8], "big") % LARGEST_EXPORT_ID + 1
        while number in taken:
            number = number % LARGEST_EXPORT_ID + 1
        numbers[export.path] = number
        taken.add(number)
    return numbers


def _blocks(addresses: Iterable[IPv4Address]) -> tuple[IPv4Network, ...]:
    """The least number of blocks that hold these addresses and no other."""
    return tuple(collapse_addresses(map(IPv4Network, sorted(addresses))))


def _needed(node: Node, generations: Generations, nodes_dir: Path, common_dir: Path) -> list[Path]:
    needed = []
    if node.name in generations.booted:
        needed.append(generations.booted[node.name])
    if node.root is RootMode.OVERLAY and node.image and node.image in generations.current:
        needed.append(generations.current[node.image])
    if node.root is not RootMode.RAM:  # it fetches its files over HTTP
        needed += [nodes_dir / node.name, common_dir]
    return needed
