"""dnsmasq's configuration (dnsmasq(8)): its dhcp-host lines as nodes, their tags' options with them. Pure."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Any

from netbootd.dhcp import option_table
from netbootd.errors import UserError
from netbootd.exchange import toml_advice
from netbootd.exchange.described import (
    DEEPEST_INCLUDE,
    MOST_FILES,
    Described,
    Entry,
    Files,
    Place,
    Remark,
    Setting,
    joined,
)
from netbootd.exchange.dnsmasq_lines import Line, lines, plain, words
from netbootd.exchange.dnsmasq_options import option_value
from netbootd.exchange.ethers import Hosts, card, first_label, ipv4
from netbootd.exchange.ethers import read as read_ethers
from netbootd.node import Mac

_MAC = re.compile(r"(?:0?1-)?([0-9A-Fa-f]{1,2}(?:[:-][0-9A-Fa-f]{1,2}){5})")
_ODD_MAC = re.compile(r"(?:[0-9A-Fa-f]{1,2}-)?(?:[0-9A-Fa-f]{1,2}|\*)(?:[:-](?:[0-9A-Fa-f]{1,2}|\*)){2,}")
_LEASE = re.compile(r"\d+[smhdw]?|infinite")
ETHERS = "/etc/ethers"

_BY_ITSELF = "netbootd does this by itself"
_REASONS = {
    "dhcp-boot": f"which file a machine boots: {_BY_ITSELF}",
    "pxe-service": f"what PXE offers: {_BY_ITSELF}",
    "pxe-prompt": f"what PXE offers: {_BY_ITSELF}",
    "enable-tftp": f"TFTP: {_BY_ITSELF}; switch dnsmasq's off",
    "tftp-root": f"TFTP: {_BY_ITSELF}, from its images",
    "dhcp-authoritative": f'{_BY_ITSELF} on networks with dhcp = "server"',
    "dhcp-leasefile": "leases stay with dnsmasq; netbootd's pool begins anew",
    "dhcp-ignore": "netbootd answers registered nodes, and others where a network has a pool",
    "dhcp-mac": "tags by a card's maker have no place here",
    "dhcp-script": "netbootd runs no script for a lease",
    "dhcp-relay": "netbootd is no relay agent; dhcrelay is one",
    "dhcp-lease-max": "netbootd limits leases by the pool's size",
    "dhcp-sequential-ip": "netbootd gives nodes addresses from `range` upwards already",
}
_TAGS_ONLY = ("dhcp-vendorclass", "dhcp-userclass", "dhcp-match", "dhcp-circuitid", "dhcp-remoteid",
              "dhcp-subscrid", "dhcp-name-match", "tag-if")  # fmt: skip
_NOT_DHCP = "isn't about nodes; let dnsmasq go on with it where you need it"


@dataclass(frozen=True, slots=True)
class _Option:
    tags: frozenset[str]
    code: int
    octets: bytes
    place: Place


@dataclass(slots=True)
class _Host:
    """A dhcp-host line. `tags`: those that it sets, and `known`, which dnsmasq sets for each that has one."""

    line: Line
    macs: list[Mac] = field(default_factory=list)
    tags: set[str] = field(default_factory=lambda: {"known"})
    address: IPv4Address | None = None
    name: str | None = None


@dataclass(slots=True)
class _Found:
    """What all lines together say."""

    files: Files
    hosts: list[_Host] = field(default_factory=list)
    options: list[_Option] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)
    settings: list[Setting] = field(default_factory=list)
    more_hosts: list[str] = field(default_factory=list)
    no_hosts: bool = False
    ethers: list[Place] = field(default_factory=list)
    opened: int = 0


def read(text: str, file: str, files: Files, hosts_file: str | None) -> Described:
    """The nodes of a configuration and of the files that it names.

    `hosts_file` is /etc/hosts of that machine, None for none. What doesn't fit is a remark.
    """
    found = _Found(files)
    for line in lines(text, file):
        _take(found, line, 0)
    hosts = _hosts(found, hosts_file)
    entries = [_entry(found, hosts, host) for host in found.hosts]
    nodes = [entry for entry in entries if entry]
    for place in found.ethers:
        if (ethers := _text(found, ETHERS, place)) is not None:
            more = read_ethers(ethers, ETHERS, hosts)
            nodes += more.nodes
            found.remarks += more.remarks
    _untaken_options(found)
    return Described(
        nodes=tuple(joined(nodes)),
        remarks=tuple(found.remarks),
        settings=tuple(found.settings),
        foreign=True,
    )


def _take(found: _Found, line: Line, depth: int) -> None:
    if line.key in _TAKERS:
        _TAKERS[line.key](found, line)
    elif line.key in ("conf-file", "dhcp-hostsfile", "dhcp-optsfile"):
        _include(found, line, plain(words(line.value)[0]), depth)
    elif line.key in ("conf-dir", "dhcp-hostsdir", "dhcp-optsdir"):
        _include_directory(found, line, depth)
    elif line.key in _TAGS_ONLY:
        found.remarks.append(Remark(line.place, f"{line.key}: only the tags of dhcp-host are carried over"))
    else:
        found.remarks.append(Remark(line.place, f"{line.key[:40]}: {_REASONS.get(line.key, _NOT_DHCP)}"))


# Files in files


def _text(found: _Found, path: str, place: Place) -> str | None:
    found.opened += 1
    if found.opened > MOST_FILES:
        raise UserError(f"{place}: more than {MOST_FILES} files are named", "give them one by one")
    try:
        return found.files.text(path)
    except UserError as error:
        found.remarks.append(Remark(place, str(error)))
        return None


def _include(found: _Found, line: Line, path: str, depth: int) -> None:
    if depth == DEEPEST_INCLUDE:
        raise UserError(f"{line.place}: files name each other more than {DEEPEST_INCLUDE} deep")
    text = _text(found, path, line.place)
    if text is None:
        return
    key = {"dhcp-hostsfile": "dhcp-host", "dhcp-hostsdir": "dhcp-host", "dhcp-optsfile": "dhcp-option",
           "dhcp-optsdir": "dhcp-option"}.get(line.key)  # fmt: skip
    for each in lines(text, path):
        if key is None:
            _take(found, each, depth + 1)
        else:  # whole lines are values, as after `dhcp-host=`
            value = f"{each.key}={each.value}" if each.value else each.key
            _take(found, Line(key, value.removeprefix(f"{key}="), each.place), depth + 1)


def _include_directory(found: _Found, line: Line, depth: int) -> None:
    """`conf-dir=/etc/dnsmasq.d,.bak` is all but those that end so, `…,*.conf` only those."""
    directory, *suffixes = [plain(word) for word in words(line.value)]
    only = tuple(word.removeprefix("*") for word in suffixes if word.startswith("*"))
    but = tuple(word for word in suffixes if word and not word.startswith("*"))
    try:
        names = found.files.names(directory)
    except UserError as error:
        found.remarks.append(Remark(line.place, str(error)))
        return
    for name in names:
        odd = name.startswith((".", "#")) or name.endswith("~")  # dnsmasq passes over those
        if odd or (only and not name.endswith(only)) or (but and name.endswith(but)):
            continue
        _include(found, line, f"{directory.rstrip('/')}/{name}", depth)


def _hosts(found: _Found, hosts_file: str | None) -> Hosts:
    paths = ([hosts_file] if hosts_file and not found.no_hosts else []) + found.more_hosts
    place = Place(hosts_file or "", 1)
    return Hosts.read(text for path in paths if (text := _text(found, path, place)) is not None)


# dhcp-host


def _take_host(found: _Found, line: Line) -> None:
    host = _Host(line)
    try:
        for word in words(line.value):
            _take_word(found, host, word)
        if not host.macs:
            raise UserError(f"{host.name or line.value[:40]} has no MAC address, by which a node is known")
    except UserError as error:
        found.remarks.append(Remark(line.place, f"not carried over: {error}"))
        return
    found.hosts.append(host)


def _take_word(found: _Found, host: _Host, word: str) -> None:
    """One part of a dhcp-host line. Raises UserError where it keeps the whole line from being a node."""
    kind, _, rest = word.partition(":")
    if match := _MAC.fullmatch(word):
        host.macs.append(card(match[1]))
    elif kind in ("set", "net") and rest:
        host.tags.add(rest)
    elif word in ("", "*", "id:*"):
        pass  # whatever identifier the client has: so it is here
    elif kind == "id" and rest:
        text = "the client identifier is left out: a node is known by its MAC address"
        found.remarks.append(Remark(host.line.place, text))
    elif address := ipv4(word):
        host.address = address
    elif why := _unfit(word):
        raise UserError(why)
    elif not _LEASE.fullmatch(word):
        host.name = first_label(plain(word), host.line.place, found.remarks)
    elif word != "infinite":
        text = "the lease time is left out: a node's lease never ends, its root hangs on it"
        found.remarks.append(Remark(host.line.place, text))


def _unfit(word: str) -> str:
    """Why a word of dhcp-host keeps the whole line from being a node; empty where it doesn't."""
    if word == "ignore":
        return "ignore: netbootd doesn't answer a machine that isn't registered, where a network has no pool"
    if word.startswith("["):
        return "it is about IPv6; nodes boot by IPv4"
    if word.startswith("tag:"):
        return f"it holds for clients with the {word[:40]} alone"
    if "*" in word and _ODD_MAC.fullmatch(word):
        return f"{word[:40]} stands for many cards; a node is one machine"
    if _ODD_MAC.fullmatch(word):
        return f"{word[:60]} isn't an Ethernet address"
    return ""


def _entry(found: _Found, hosts: Hosts, host: _Host) -> Entry | None:
    name, place = host.name, host.line.place
    if name is None and host.address and (known := hosts.names.get(host.address)):
        try:
            name = first_label(known, place, found.remarks)
        except UserError as error:
            found.remarks.append(Remark(place, f"not carried over: {error}"))
            return None
    fields: dict[str, Any] = {"macs": tuple(dict.fromkeys(host.macs))}
    if address := host.address or (hosts.address(name) if name else None):
        fields["address"] = address
    # Of several that fit the last line holds, as in option_filter of dnsmasq's rfc2131.c.
    if options := {each.code: each.octets for each in found.options if each.tags <= host.tags}:
        fields["dhcp_options"] = options
    return Entry(name=name, place=place, fields=fields)


# dhcp-option and dhcp-range


def _take_option(found: _Found, line: Line) -> None:
    given = words(line.value)
    tags: set[str] = set()
    try:
        while given and (match := re.match(r"(tag|net|set|vendor|encap|vi-encap|option6):?", given[0])):
            kind, rest = match[1], given[0][match.end() :]
            if kind not in ("tag", "net") or rest.startswith("!"):
                raise UserError(f"options of the kind {given[0][:40]!r} can't be set")
            tags.add(rest)
            given.pop(0)
        if not given or not given[0]:
            raise UserError("names no option")
        code = option_table.number(given[0])
        code, octets = option_table.read(f"option-{code}", option_value(code, given[1:]))
    except UserError as error:
        found.remarks.append(Remark(line.place, f"not carried over: {error}"))
        return
    if tags:
        found.options.append(_Option(frozenset(tags), code, octets, line.place))
    else:
        found.settings.append(toml_advice.option(line.place, code, octets))


def _untaken_options(found: _Found) -> None:
    """Options for tags that no dhcp-host sets."""
    every = [host.tags for host in found.hosts]
    for option in found.options:
        if not any(option.tags <= tags for tags in every):
            names = ", ".join(sorted(option.tags))
            found.remarks.append(Remark(option.place, f"no dhcp-host that is carried over sets {names[:80]}"))


def _take_range(found: _Found, line: Line) -> None:
    given = [word for word in words(line.value) if not re.match(r"(set|tag|net):", word)]
    if given and re.match(r"interface:", given[0]):
        found.settings.append(toml_advice.network(line.place, "interface", plain(given.pop(0)[10:])))
    first = ipv4(given[0]) if given else None
    if first is None:
        text = "isn't a range of IPv4 addresses; netbootd's nodes boot by IPv4"
        found.remarks.append(Remark(line.place, f"dhcp-range: {text}"))
        return
    last = ipv4(given[1]) if len(given) > 1 else None
    if last is not None and int(last) >= int(first):
        found.settings.append(toml_advice.pool(line.place, first, last))
        if _LEASE.fullmatch(given[-1]) and given[-1] != "infinite":
            found.settings.append(toml_advice.network(line.place, "lease_time", given[-1]))
    elif "proxy" in given:
        found.settings.append(toml_advice.network(line.place, "dhcp", "proxy"))
    elif "static" in given:
        found.remarks.append(Remark(line.place, f"dhcp-range: the [[network]] with {first} needs no pool"))
    else:
        found.remarks.append(Remark(line.place, f"dhcp-range: {line.value[:60]!r} isn't a range"))


_TAKERS: Mapping[str, Callable[[_Found, Line], None]] = {
    "dhcp-host": _take_host,
    "dhcp-option": _take_option,
    "dhcp-option-force": _take_option,
    "dhcp-range": _take_range,
    "addn-hosts": lambda found, line: found.more_hosts.append(plain(line.value)),
    "no-hosts": lambda found, _: setattr(found, "no_hosts", True),
    "read-ethers": lambda found, line: found.ethers.append(line.place),
    "domain": lambda found, line: _set(found, line, "domain"),
    "interface": lambda found, line: _set(found, line, "interface"),
}


def _set(found: _Found, line: Line, key: str) -> None:
    found.settings.append(toml_advice.network(line.place, key, plain(words(line.value)[0])))
