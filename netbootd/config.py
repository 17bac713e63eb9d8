"""netbootd.toml, read once into a frozen Config.

Every fault in the file is reported at once, each with its key, its line and what would be right. The only
importer of pydantic.
"""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from netbootd import config_values
from netbootd.config_problems import Key, Problem, Table, explain, prune
from netbootd.dhcp import option_table
from netbootd.errors import ConfigError, UserError
from netbootd.network import AddressRange, DhcpMode, Network
from netbootd.toml_lines import key_lines

DEFAULT_PATH = Path("/etc/netbootd/netbootd.toml")
LARGEST_FILE = 1 << 20

Address = Annotated[IPv4Address, BeforeValidator(config_values.address)]
Range = Annotated[AddressRange, BeforeValidator(config_values.address_range)]
AbsolutePath = Annotated[Path, BeforeValidator(config_values.absolute_path)]
ExportedPath = Annotated[Path, BeforeValidator(config_values.exported_path)]
UserName = Annotated[str, BeforeValidator(config_values.user_name)]
SharedPath = Annotated[Path, BeforeValidator(config_values.shared_path)]
Port = Annotated[int, Field(ge=1, le=65_535, strict=True)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class NetworkSettings(_Table):
    """One [[network]]. `address` may be left out: then it is the interface's own.

    `subnet` is given for a network behind a relay agent whose packets come in on `interface`.
    """

    interface: Annotated[str, BeforeValidator(config_values.interface_name)]
    address: Annotated[IPv4Interface, BeforeValidator(config_values.interface_address)] | None = None
    subnet: Annotated[IPv4Network, BeforeValidator(config_values.subnet)] | None = None
    dhcp: DhcpMode = DhcpMode.SERVER
    range: Range | None = None
    pool: Range | None = None
    router: Address | None = None
    dns: tuple[Address, ...] = ()
    domain: Annotated[str, BeforeValidator(config_values.domain)] | None = None
    lease_time: Annotated[int, BeforeValidator(config_values.duration)] = 43_200
    router_advertisement: bool = True
    echo_client_id: bool = True
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        problems: list[tuple[Key, str]] = list(_misfits(self, self.address)) if self.address else []
        if self.dhcp is DhcpMode.PROXY and self.pool:
            problems.append(("pool", "in proxy mode the other DHCP server gives the addresses; leave it out"))
        if self.range and self.pool and self.range.overlaps(self.pool):
            problems.append(("pool", f"{self.pool} overlaps range {self.range}; keep them apart"))
        problems += [(("options", name), text) for name, text in _options(self.options)[1]]
        if problems:
            raise PydanticCustomError("network", "{problems}", {"problems": problems})
        return self


class TftpSettings(_Table):
    """[tftp]: on, unless something else serves it."""

    enabled: bool = True
    port: Port = 69


class HttpSettings(_Table):
    """[http]."""

    port: Port = 80


class NfsSettings(_Table):
    """[nfs]: which server carries the exports, and where its files are."""

    server: Literal["kernel", "ganesha"] = "kernel"
    version: Literal["4.2", "3"] = "4.2"
    exports_file: AbsolutePath = Path("/etc/exports.d/netbootd.exports")
    ganesha_config: AbsolutePath = Path("/etc/ganesha/netbootd.conf")
    ganesha_pid: AbsolutePath = Path("/run/netbootd-ganesha.pid")


class HostsSettings(_Table):
    """[hosts]: the head node's own files that get the block of nodes."""

    hosts_file: AbsolutePath = Path("/etc/hosts")
    known_hosts_file: AbsolutePath = Path("/etc/ssh/ssh_known_hosts")
    ssh_config_file: AbsolutePath = Path("/etc/ssh/ssh_config.d/netbootd.conf")
    chrony_file: AbsolutePath = Path("/etc/chrony/conf.d/netbootd.conf")


class ClusterSettings(_Table):
    """[cluster]: who works on all nodes, and what directory all share."""

    user: UserName | None = None
    shared: SharedPath | None = None


class Config(_Table):
    """netbootd.toml as a whole."""

    path: Path = DEFAULT_PATH
    state_dir: ExportedPath = Path("/var/lib/netbootd")
    template_dir: AbsolutePath = Path("/etc/netbootd/templates")
    authorized_keys: tuple[AbsolutePath, ...] = ()
    network: tuple[NetworkSettings, ...] = Field(min_length=1)
    tftp: TftpSettings = TftpSettings()
    http: HttpSettings = HttpSettings()
    nfs: NfsSettings = NfsSettings()
    hosts: HostsSettings = HostsSettings()
    cluster: ClusterSettings = ClusterSettings()

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        problems: list[tuple[str, str]] = []
        for i, network in enumerate(self.network):
            for j, other in enumerate(self.network[:i]):
                problems += [(f"network.{i}.{key}", text) for key, text in _clash(network, other, j + 1)]
        if (shared := self.cluster.shared) and config_values.overlap(shared, self.state_dir):
            text = (
                f"{shared} and state_dir, {self.state_dir}, lie one in the other; nodes may write to it all"
            )
            problems.append(("cluster.shared", text))
        if problems:
            raise PydanticCustomError("config", "{problems}", {"problems": problems})
        return self

    @property
    def registry_path(self) -> Path:
        """The registry's SQLite file, in a directory that the daemon's user owns."""
        return self.state_dir / "registry" / "registry.db"

    @property
    def events_path(self) -> Path:
        """Where events are kept."""
        return self.state_dir / "registry" / "events.db"

    @property
    def lock_path(self) -> Path:
        """Locked by the daemon as long as it runs."""
        return self.state_dir / "registry" / "netbootd.lock"

    @property
    def images_dir(self) -> Path:
        """Images and their generations."""
        return self.state_dir / "images"

    @property
    def nodes_dir(self) -> Path:
        """Each node's own node files."""
        return self.state_dir / "nodes"

    @property
    def common_dir(self) -> Path:
        """Node files that are the same for all nodes."""
        return self.state_dir / "common"

    @property
    def roots_dir(self) -> Path:
        """What nodes with persistent roots have changed."""
        return self.state_dir / "roots"

    @property
    def ram_dir(self) -> Path:
        """Node files of nodes in memory, packed for HTTP."""
        return self.state_dir / "ram"

    @property
    def keys_dir(self) -> Path:
        """SSH keys: the nodes' host keys, the cluster's own pair."""
        return self.state_dir / "keys"

    def networks_on(self, addresses: Mapping[str, Sequence[IPv4Interface]]) -> tuple[Network, ...]:
        """The networks whose head-node address is known: from the file, else from `addresses` by interface.

        Of several addresses it is the first that range, pool and router fit. Raises ConfigError if none is.
        """
        networks, misfits = self.matched(addresses)
        if misfits:
            raise ConfigError(f"{self.path} doesn't fit the head node's addresses", misfits)
        return networks

    def matched(
        self, addresses: Mapping[str, Sequence[IPv4Interface]]
    ) -> tuple[tuple[Network, ...], tuple[str, ...]]:
        """As networks_on, for who makes do with what fits: those networks, and what is wrong with others."""
        networks, misfits = list[Network](), list[str]()
        for settings in self.network:
            known = self._candidates(settings, addresses)
            fitting = next((address for address in known if not any(_misfits(settings, address))), None)
            if fitting is not None:
                network = _network(settings, fitting, self.http.port)
                # Each has leases of its own: where two overlapped, one address would be given twice.
                other = next((n for n in networks if n.subnet.overlaps(network.subnet)), None)
                if other is None:
                    networks.append(network)
                else:
                    text = f"{network.subnet} overlaps {other.subnet} of {other.interface}"
                    misfits.append(f"network {settings.interface}: {text}; one of them can be served")
            elif known:
                misfits += [
                    f"network {settings.interface}: {k}: {t}" for k, t in _misfits(settings, known[0])
                ]
        return tuple(networks), tuple(misfits)

    def _candidates(
        self, settings: NetworkSettings, addresses: Mapping[str, Sequence[IPv4Interface]]
    ) -> Sequence[IPv4Interface]:
        """The addresses that may be the head node's own for a network, the likeliest first.

        What comes from behind a relay is answered by the address that the interface's own network has.
        """
        if settings.address:
            return (settings.address,)
        there = addresses.get(settings.interface, ())
        if settings.subnet:
            beside = (n for n in self.network if n.interface == settings.interface and n.subnet is None)
            pinned = [n.address for n in beside if n.address]
            own = [address for address in there if address.network == settings.subnet]
            return pinned or [*own, *there]
        return there


_KNOWN: dict[str, tuple[str, ...]] = {
    "": tuple(name for name in Config.model_fields if name != "path"),
    "network": tuple(NetworkSettings.model_fields),
    "tftp": tuple(TftpSettings.model_fields),
    "http": tuple(HttpSettings.model_fields),
    "nfs": tuple(NfsSettings.model_fields),
    "hosts": tuple(HostsSettings.model_fields),
    "cluster": tuple(ClusterSettings.model_fields),
}


def load(path: Path = DEFAULT_PATH) -> Config:
    """Read and check `path`. Raises ConfigError that holds every problem found, one line each.

    What is wrong is taken out and the rest checked again, so that a bad address in one key doesn't hide
    that two others contradict each other.
    """
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise ConfigError(f"{path} is larger than {LARGEST_FILE} octets", hint="is it the right file?")
        text = path.read_text(encoding="utf-8-sig")  # some editors put a mark of the encoding first
        data = tomllib.loads(text)
    except FileNotFoundError:
        raise ConfigError(f"there is no {path}", hint="`netbootctl setup` writes one") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"can't read {path}: {getattr(error, 'strerror', error)}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} isn't TOML", (str(error),), _toml_hint(text)) from None
    except (RecursionError, ValueError):  # brackets a thousand deep, a number of five thousand digits
        raise ConfigError(
            f"{path} isn't TOML", ("it holds what no setting needs",), _toml_hint(text)
        ) from None
    problems, lines = set[Problem](), key_lines(text)
    pruned: Table = {**data, "path": path}
    while True:
        try:
            config = Config.model_validate(pruned)
            break
        except ValidationError as error:
            # What is missing now and wasn't at first is what was taken out.
            details = [dict(d) for d in error.errors() if not problems or d["type"] != "missing"]
            problems |= {p for d in details for p in explain(d, _KNOWN, lines)}
            pruned, removed = prune(pruned, details)
            if not removed:
                break
    if problems:
        count = f"{len(problems)} problems" if len(problems) > 1 else "a problem"
        raise ConfigError(f"{path} has {count}", tuple(p.text for p in sorted(problems)))
    return config


def _network(settings: NetworkSettings, address: IPv4Interface, http_port: int) -> Network:
    return Network(
        interface=settings.interface,
        address=address,
        behind_relay=settings.subnet if settings.subnet != address.network else None,
        dhcp=settings.dhcp,
        range=settings.range,
        pool=settings.pool,
        router=settings.router,
        dns=settings.dns,
        domain=settings.domain,
        lease_time=settings.lease_time,
        http_port=http_port,
        router_advertisement=settings.router_advertisement,
        echo_client_id=settings.echo_client_id,
        options=_options(settings.options)[0],
    )


_KEYS_OF_OPTIONS = {3: "router", 6: "dns", 15: "domain"}
"""What nodes are told in more ways than by DHCP has a key of its own."""


def _options(written: Mapping[str, Any]) -> tuple[dict[int, bytes], list[tuple[str, str]]]:
    """[network.options] by number, encoded; and what is wrong with it, as (key, complaint)."""
    found, problems = dict[int, bytes](), list[tuple[str, str]]()
    for name, value in written.items():
        if name in NetworkSettings.model_fields:
            problems.append((name, f"is a key of the [[network]]: write `{name}` above [network.options]"))
            continue
        try:
            code, octets = option_table.read(name, value)
        except UserError as error:
            problems.append((name, str(error).removeprefix(f"{name}: ")))
            continue
        if code in _KEYS_OF_OPTIONS:
            problems.append((name, f"write `{_KEYS_OF_OPTIONS[code]}` in the [[network]] instead"))
        elif code in found:
            problems.append((name, f"option {code} stands here twice"))
        found[code] = octets
    return found, problems


def _clash(network: NetworkSettings, other: NetworkSettings, number: int) -> Iterator[tuple[str, str]]:
    """Why two networks can't both be, as (key, complaint); `number` is the other's place in the file."""
    mine, others = (n.subnet or (n.address.network if n.address else None) for n in (network, other))
    if network.interface == other.interface and network.subnet is None and other.subnet is None:
        yield (
            "interface",
            f"{network.interface!r} stands in [[network]] {number} too; "
            "one behind a relay agent names its `subnet`",
        )
    if mine and others and mine.overlaps(others):
        key = "subnet" if network.subnet else "address"
        yield key, f"overlaps {others} of {other.interface}"


def _misfits(settings: NetworkSettings, address: IPv4Interface) -> Iterator[tuple[str, str]]:
    """What doesn't fit the network, given the head node's own address; as (key, complaint)."""
    wire = address.network
    subnet: IPv4Network = settings.subnet or wire
    if wire.prefixlen > 30:
        yield "address", f"{address} leaves no room for nodes; use a prefix length of 30 or less"
    elif address.ip in (wire.network_address, wire.broadcast_address):
        yield "address", f"{address} names the network itself; write the head node's own, such as {wire[1]}"
    if subnet != wire:
        yield from _relay_misfits(settings, subnet, wire)
    yield from _span_misfits(settings, address.ip, subnet)
    if settings.router is not None and settings.router not in subnet:
        yield "router", f"{settings.router} lies outside {subnet}; nodes couldn't reach it"
    elif settings.router in (subnet.network_address, subnet.broadcast_address):
        yield "router", f"{settings.router} names the network {subnet} itself; write the router's own address"


def _span_misfits(
    settings: NetworkSettings, own: IPv4Address, subnet: IPv4Network
) -> Iterator[tuple[str, str]]:
    for key in ("range", "pool"):
        span: AddressRange | None = getattr(settings, key)
        if span is None:
            continue
        if span.first not in subnet or span.last not in subnet:
            yield key, f"{span} lies outside {subnet}, the network of {settings.interface}"
        elif key == "pool":
            for other, what in ((own, "the head node's own address"), (settings.router, "the router")):
                if other is not None and other in span:
                    yield key, f"{span} holds {other}, {what}; leave it out"


def _relay_misfits(
    settings: NetworkSettings, subnet: IPv4Network, wire: IPv4Network
) -> Iterator[tuple[str, str]]:
    """What is wrong with a network behind a relay agent, which isn't the interface's own, `wire`."""
    if subnet.overlaps(wire):
        yield "subnet", f"{subnet} overlaps {wire}, {settings.interface}'s own network; leave `subnet` out"
    elif subnet.prefixlen > 30:
        yield "subnet", f"{subnet} leaves no room for nodes; use a prefix length of 30 or less"
    elif settings.router is None:
        text = f"is missing; the nodes of {subnet} reach the head node only through one"
        yield "router", f"{text}. Name it as in {subnet[1]}"


def _toml_hint(text: str) -> str:
    return (
        "strings need quotation marks, and each key stands on a line of its own"
        if text.strip()
        else "it is empty"
    )
