"""Who is in the cluster and by which names, as templates and the head node's own files are told. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

from netbootd.network import Network, network_of
from netbootd.node import RESERVED_NAMES, Mac, Node

NAMES_PER_LINE = 10
NTP_SERVERS = 42
USUAL_IDENTITIES = ("~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """An address and the names that lead to it, the full one first."""

    address: IPv4Address
    """On one of the networks."""
    names: tuple[str, ...]
    """The names that lead to it there, the full one first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The head node."""

    name: str
    """Its host name, without a domain."""
    addresses: tuple[Address, ...] = ()
    """Its addresses on the networks that it serves."""
    host_keys: tuple[str, ...] = ()
    """Its public SSH host keys: type and key of each."""
    serves_time: bool = False
    """Whether its chrony serves time to the nodes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A node as templates see it."""

    name: str
    """Its host name, without a domain."""
    names: tuple[str, ...]
    """Its names, the full one first where the network has a domain."""
    address: IPv4Address
    """Its address."""
    mac: Mac
    """Of the network card that it boots from; `mac.dashed` has hyphens, as in paths."""
    macs: tuple[Mac, ...]
    """Of all its network cards."""
    machine_id: str
    """Its own for ever: /etc/machine-id."""
    host_key: str
    """Its public SSH host key: type and key."""
    image: str | None
    """The image that it boots; None where it has none."""
    root: str
    """How it gets its /: overlay, persistent, ram."""
    profile: str | None
    """The profile that it takes settings from; None without one."""
    serial: str | None
    """Its board's serial number, where that is known."""
    cores: int | None
    """How many processor cores it told of when it was up; None until it was."""
    time_servers: tuple[IPv4Address, ...] | None
    """What DHCP's option ntp-servers (42) tells it; () where it is told none, None where nobody said."""
    network: Network | None
    """The network that it is on, as `network`; None where none is served there."""

    @property
    def host_id(self) -> bytes:
        """What gethostid(3) reads from /etc/hostid: no two nodes have one address, so no two have this.

        Four octets in the order of the machine's own; all that Debian runs on nowadays but s390x begin with
        the lowest. So hostid(1) shows the address in hexadecimal.
        """
        return int(self.address).to_bytes(4, "little")


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """The user who works on all nodes, as the head node knows him."""

    name: str
    """His login name."""
    uid: int
    """His number, the same on all nodes: files over NFS belong to it."""
    group: str
    """The name of his own group."""
    gid: int
    """The group's number."""
    home: str
    """His home directory, which the nodes mount from the head node."""
    shell: str
    """The shell that he logs in with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A directory of the head node's that nodes mount and may write to."""

    source: str
    """The directory on the head node, without links in its path."""
    directory: str
    """Where nodes have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """What templates under node/common are given: all nodes alike."""

    nodes: tuple[Member, ...]
    """All nodes, by their addresses."""
    head: Head
    """The head node."""
    authorized_keys: tuple[str, ...]
    """Who may log in as root: lines as in authorized_keys, the cluster's own key last."""
    user: User | None = None
    """The user who works on all nodes; None where netbootd.toml names none."""
    shared: str | None = None
    """The directory that all nodes share; None where netbootd.toml names none."""
    mounts: tuple[Mount, ...] = ()
    """What all nodes mount from the head node to write to: the user's home, the shared directory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeVariables:
    """What templates under node/each and node/profiles are given.

    Not the other nodes, so that one more changes no file of theirs.
    """

    network: Network | None
    """The network that the node is on; None where none is served there."""
    node: Member
    """Whose file it is."""
    head: Head
    """The head node."""
    authorized_keys: tuple[str, ...]
    """Who may log in as root: lines as in authorized_keys, the cluster's own key last."""
    user: User | None
    """The user who works on all nodes; None where netbootd.toml names none."""
    shared: str | None
    """The directory that all nodes share; None where netbootd.toml names none."""
    mounts: tuple[Mount, ...]
    """What all nodes mount from the head node to write to: the user's home, the shared directory."""


def head(
    name: str, networks: Iterable[Network], host_keys: Sequence[str], *, serves_time: bool = False
) -> Head:
    """The head node; `name` may be a full one, as gethostname gives it."""
    label = name.partition(".")[0].lower()
    own = () if label in RESERVED_NAMES else (label,)
    domains: dict[IPv4Address, str | None] = {}
    for network in networks:
        # Networks behind a relay share the address, and each node has the names of the first alone.
        domains.setdefault(network.server, network.domain)
    return Head(
        name=label,
        addresses=tuple(Address(address=a, names=_names(own, domain)) for a, domain in domains.items()),
        host_keys=tuple(host_keys),
        serves_time=serves_time,
    )


def members(
    nodes: Iterable[Node],
    networks: tuple[Network, ...],
    host_keys: Mapping[str, str],
    cores: Mapping[str, int],
) -> tuple[Member, ...]:
    """The nodes by address; `host_keys` is by machine-id, `cores` by name."""
    found = []
    for node in sorted(nodes, key=lambda node: node.address):
        network = network_of(node.address, networks)
        found.append(
            Member(
                name=node.name,
                names=_names((node.name,), network.domain if network else None),
                address=node.address,
                mac=node.mac,
                macs=node.macs,
                machine_id=node.machine_id,
                host_key=host_keys[node.machine_id],
                image=node.image,
                root=node.root.value,
                profile=node.profile,
                serial=node.serial,
                cores=cores.get(node.name),
                time_servers=_time_servers(node, network),
                network=network,
            )
        )
    return tuple(found)


def node_variables(cluster: Cluster, node: Member) -> NodeVariables:
    """What templates of one node's own files are given."""
    return NodeVariables(
        network=node.network,
        node=node,
        head=cluster.head,
        authorized_keys=cluster.authorized_keys,
        user=cluster.user,
        shared=cluster.shared,
        mounts=cluster.mounts,
    )


def hosts_lines(cluster: Cluster) -> list[str]:
    """The nodes for the head node's /etc/hosts; itself it knows."""
    return [f"{node.address} {' '.join(node.names)}" for node in cluster.nodes]


def known_hosts_lines(cluster: Cluster) -> list[str]:
    """The nodes' host keys for the head node's ssh_known_hosts, sshd(8)."""
    return [f"{','.join(node.names)},{node.address} {node.host_key}" for node in cluster.nodes]


def ssh_config(cluster: Cluster, identity: str) -> str:
    """For ssh_config.d on the head node: its root reaches every node with the cluster's key, asked nothing.

    Only for root (`localuser`): nobody else may read that key, and ssh would complain to them.
    """
    names = [word for node in cluster.nodes for word in (*node.names, str(node.address))]
    identity = identity.replace("%", "%%")  # ssh_config(5), TOKENS
    lines = ["# Written by `netbootctl apply`, which replaces it."]
    for start in range(0, len(names), NAMES_PER_LINE):
        lines.append(f'Match localuser root originalhost "{",".join(names[start : start + NAMES_PER_LINE])}"')
        # ssh tries its usual keys only where it is told of none.
        lines += [f'    IdentityFile "{file}"' for file in (identity, *USUAL_IDENTITIES)]
    return "\n".join(lines) + "\n"


def contradictions(hosts: bytes, cluster: Cluster, name: str) -> list[str]:
    """What the hosts file called `name` says against us of the nodes' IPv4 names: a warning for each."""
    addresses = {word: str(node.address) for node in cluster.nodes for word in node.names}
    return [
        f"{name}, line {number}: it says that {word} is {words[0]}, but the node has {addresses[word]}"
        for number, line in enumerate(hosts.decode(errors="replace").splitlines(), 1)
        if (words := line.partition("#")[0].lower().split()) and ":" not in words[0]
        for word in words[1:]
        if addresses.get(word, words[0]) != words[0]
    ]


def _time_servers(node: Node, network: Network | None) -> tuple[IPv4Address, ...] | None:
    """The node's own option 42, its profile's or its network's; RFC 2132 section 8.3, addresses in a row."""
    options = {**(network.options if network else {}), **node.dhcp_options}
    encoded = options.get(NTP_SERVERS)
    if encoded is None:
        return None
    return tuple(IPv4Address(encoded[at : at + 4]) for at in range(0, len(encoded) - 3, 4))


def _names(own: tuple[str, ...], domain: str | None) -> tuple[str, ...]:
    return (*(f"{name}.{domain}" for name in own if domain), *own)
