"""ISC dhcpd's configuration (dhcpd.conf(5), dhcp-options(5)): its host declarations as nodes. Pure.

What stands in a group around a host holds for it, as for dhcpd. What stands outside of all hosts and groups
is about a network, and becomes lines for netbootd.toml.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from netbootd.dhcp import option_table
from netbootd.dhcp.option_types import HEX, TEXT
from netbootd.errors import UserError
from netbootd.exchange import toml_advice
from netbootd.exchange.described import Described, Entry, Files, Remark, Setting, joined
from netbootd.exchange.dhcpd_statements import Statement, parse
from netbootd.exchange.ethers import Hosts, card, first_label, ipv4
from netbootd.node import Mac

_SCOPES = ("subnet", "shared-network", "pool", "group")
_BY_ITSELF = "netbootd does this by itself"
_REASONS = {
    "filename": f"which file a machine boots: {_BY_ITSELF}",
    "next-server": f"where the files are: {_BY_ITSELF}",
    "server-name": f"where the files are: {_BY_ITSELF}",
    "if": "netbootd knows the firmwares by itself, and evaluates no expressions",
    "elsif": "netbootd knows the firmwares by itself, and evaluates no expressions",
    "else": "netbootd knows the firmwares by itself, and evaluates no expressions",
    "class": "there are no classes; settings that nodes share are a profile",
    "subclass": "there are no classes; settings that nodes share are a profile",
    "max-lease-time": "a pool has one lease_time; a node's lease never ends",
    "min-lease-time": "a pool has one lease_time; a node's lease never ends",
    "deny": "netbootd answers registered nodes, and others where a network has a pool",
    "allow": "netbootd answers registered nodes, and others where a network has a pool",
    "ignore": "netbootd answers registered nodes, and others where a network has a pool",
    "failover": "netbootd has no failover",
    "subnet6": "nodes boot by IPv4",
}
_SILENT = ("use-host-decl-names", "ddns-update-style", "ping-check", "get-lease-hostnames",
           "one-lease-per-client", "server-identifier", "log-facility", "authoritative")  # fmt: skip
"""What changes nothing for a registered node."""


@dataclass(slots=True)
class _Found:
    """What the whole file says. `defined`: option name -> number and type that it declares itself."""

    hosts: Hosts
    nodes: list[Entry] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)
    settings: list[Setting] = field(default_factory=list)
    defined: dict[str, tuple[int, str]] = field(default_factory=dict)

    def left_out(self, statement: Statement, why: str) -> None:
        """A remark on a statement that has no place here."""
        self.remarks.append(Remark(statement.place, f"{statement}: {why}"))


@dataclass(slots=True)
class _Host:
    """A host declaration, as far as it was read."""

    name: str
    options: dict[int, bytes]
    mac: Mac | None = None
    address: IPv4Address | None = None


def read(text: str, file: str, files: Files, hosts: Hosts) -> Described:
    """The nodes of a configuration. `hosts` has the addresses of those that it gives a name instead.

    What doesn't fit is a remark. Raises FileError for text that dhcpd wouldn't read either.
    """
    found = _Found(hosts)
    _scope(found, parse(text, file, files, found.remarks), {}, in_group=False)
    return Described(
        nodes=tuple(joined(found.nodes)),
        remarks=tuple(found.remarks),
        settings=tuple(found.settings),
        foreign=True,
    )


def _scope(
    found: _Found, statements: tuple[Statement, ...], inherited: Mapping[int, bytes], *, in_group: bool
) -> None:
    """All of a scope: first what holds for the hosts in it, wherever it stands, then the hosts."""
    options = dict(inherited)
    for each in statements:
        if each.block is not None:
            continue
        if each.keyword != "option":
            _other(found, each)
        elif (option := _option(found, each)) and in_group:
            options |= [option]
        elif option:
            found.settings.append(toml_advice.option(each.place, *option))
    for each in statements:
        if each.block is None:
            continue
        if each.keyword == "host":
            _host(found, each, options)
        elif each.keyword in _SCOPES:
            _scope(found, each.block, options, in_group=each.keyword == "group" or in_group)
        else:
            found.left_out(each, _REASONS.get(each.keyword, "has no place here"))


def _other(found: _Found, statement: Statement) -> None:
    """A statement that is neither an option's nor a host's."""
    words = [word.text for word in statement.words]
    addresses = [address for word in words[1:] if (address := ipv4(word))]
    match statement.keyword:
        case "range" if addresses:
            found.settings.append(toml_advice.pool(statement.place, addresses[0], addresses[-1]))
        case "default-lease-time" if len(words) == 2 and re.fullmatch(r"[0-9]{1,9}", words[1]):
            found.settings.append(toml_advice.network(statement.place, "lease_time", f"{words[1]}s"))
        case keyword if keyword not in _SILENT:
            found.left_out(statement, _REASONS.get(keyword, "has no place here"))


# Hosts


def _host(found: _Found, statement: Statement, inherited: Mapping[int, bytes]) -> None:
    declared = statement.words[1].text if len(statement.words) > 1 else ""
    host = _Host(declared, dict(inherited))
    try:
        for each in statement.block or ():
            _of_host(found, host, each)
        if host.mac is None:
            raise UserError(f"{host.name[:60]} has no hardware address, by which a node is known")
        label = first_label(host.name, statement.place, found.remarks)
    except UserError as error:
        found.remarks.append(Remark(statement.place, f"host {declared[:60]} isn't carried over: {error}"))
        return
    address = host.address or found.hosts.address(host.name)
    given = {"macs": (host.mac,), "address": address, "dhcp_options": host.options}
    fields = {key: value for key, value in given.items() if value}
    found.nodes.append(Entry(name=label, place=statement.place, fields=fields))


def _of_host(found: _Found, host: _Host, statement: Statement) -> None:
    """One statement of a host. Raises UserError where it keeps the host from being a node."""
    words = [word.text for word in statement.words]
    match statement.keyword:
        case "option" if len(words) == 3 and words[1].lower() == "host-name":
            host.name = words[2]
        case "option":
            host.options |= [option] if (option := _option(found, statement)) else []
        case "hardware" if len(words) == 3 and words[1].lower() == "ethernet":
            host.mac = card(words[2])
        case "hardware":
            raise UserError(f"{statement}: isn't the address of an Ethernet card")
        case "fixed-address":
            host.address = _address(found, statement)
        case keyword if keyword not in _SILENT:
            found.left_out(statement, _REASONS.get(keyword, "has no place here"))


def _address(found: _Found, statement: Statement) -> IPv4Address | None:
    values = statement.values(1)
    if len(values) > 1:
        found.left_out(statement, f"a node has one address; the first is taken, {values[0][:60]}")
    address = ipv4(values[0]) or found.hosts.address(values[0])
    if address is None:
        found.left_out(statement, f"{values[0][:60]!r} isn't in the hosts file; a free address is given")
    return address


# Options


def _option(found: _Found, statement: Statement) -> tuple[int, bytes] | None:
    """Its number and octets; None for a declaration, and for what can't be set, with a remark."""
    words = statement.words
    name = words[1].text.lower() if len(words) > 1 else ""
    try:
        if len(words) > 4 and words[2].text == "code" and words[4].text == "=":
            _declare(found, statement, name)
            return None
        if len(words) > 2 and words[2].text == "=" and not words[2].quoted:
            raise UserError("netbootd evaluates no expressions")
        if name in found.defined:
            code, kind = found.defined[name]
            return option_table.read(f"option-{code}", f"hex:{_encoded(kind, statement.values(2)).hex()}")
        if "." in name:
            raise UserError("options of another space than DHCP's have no place here")
        code = option_table.number(name)
        known = option_table.KNOWN.get(code)
        values = statement.values(2)
        if known and known.type is HEX and len(words) == 3 and words[2].quoted:
            values = ["hex:" + words[2].text.encode("latin-1", "replace").hex()]
        value = values if known and known.type.is_list else ", ".join(values)
        return option_table.read(name, value)
    except UserError as error:
        found.left_out(statement, str(error))
        return None


def _declare(found: _Found, statement: Statement, name: str) -> None:
    """`option NAME code NUMBER = TYPE;` (dhcp-options(5), DEFINING NEW OPTIONS)."""
    words = [word.text.lower() for word in statement.words]
    kind = " ".join(words[5:])
    if not re.fullmatch(r"\d{1,3}", words[3], re.ASCII) or int(words[3]) > 254 or "." in name:
        raise UserError("isn't a DHCP option's number")
    if _elements(kind)[0] not in _ENCODERS:
        raise UserError(f"options of the type {kind[:40]!r} can't be carried over")
    found.defined[name] = (int(words[3]), kind)


def _elements(kind: str) -> tuple[str, bool]:
    """The type of one value, and whether there may be several."""
    one = re.sub(r"^(un)?signed ", "", kind.removeprefix("array of "))
    return one, kind.startswith("array of ")


def _encoded(kind: str, values: list[str]) -> bytes:
    one, several = _elements(kind)
    if len(values) > 1 and not several:
        raise UserError(f"{len(values)} values are given, and it has one")
    try:
        return b"".join(_ENCODERS[one](value) for value in values)
    except (ValueError, OverflowError):
        raise UserError(f"{', '.join(values)[:60]!r} isn't of its type, {kind}") from None


def _text(value: str) -> bytes:
    """A string: octets with colons, else the text in quotation marks."""
    if re.fullmatch(r"[0-9A-Fa-f]{1,2}(:[0-9A-Fa-f]{1,2})+", value):
        return bytes(int(part, 16) for part in value.split(":"))
    return value.encode("latin-1")


def _integer(octets: int) -> Callable[[str], bytes]:
    return lambda value: int(value, 0).to_bytes(octets, "big", signed=value.startswith("-"))


_ENCODERS: Mapping[str, Callable[[str], bytes]] = {
    "string": _text,
    "text": lambda value: TEXT.read([value]),
    "ip-address": lambda value: IPv4Address(value).packed,
    "boolean": lambda value: bytes([{"true": 1, "on": 1, "false": 0, "off": 0}.get(value.lower(), 256)]),
    "integer 8": _integer(1),
    "integer 16": _integer(2),
    "integer 32": _integer(4),
}
