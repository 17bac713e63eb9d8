"""Kea's DHCPv4 configuration (kea-dhcp4.conf; Kea ARM, The DHCPv4 Server): its reservations as nodes. Pure.

A reservation's options come with it, and those of the classes that it names, as far as its subnet doesn't
set them: reservation, pool, subnet, shared network, class, all (Kea ARM, Standard DHCPv4 Options). What
stands outside of reservations is about a network, and becomes lines for netbootd.toml.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network

from netbootd.errors import FileError, UserError
from netbootd.exchange import kea_options, toml_advice
from netbootd.exchange.described import Described, Entry, Files, Place, Remark, Setting, joined
from netbootd.exchange.ethers import Hosts, card, first_label, ipv4
from netbootd.exchange.kea_json import Element, parse
from netbootd.node import Mac

_BY_ITSELF = "netbootd does this by itself"
_ANSWERS = "netbootd answers registered nodes, and others where a network has a pool"
_REASONS = {
    "next-server": f"where the files are: {_BY_ITSELF}",
    "server-hostname": f"where the files are: {_BY_ITSELF}",
    "boot-file-name": f"which file a machine boots: {_BY_ITSELF}",
    "hosts-database": "reservations in a database aren't read, only those in the file",
    "hosts-databases": "reservations in a database aren't read, only those in the file",
    "hooks-libraries": "hooks have no place here",
    "dhcp-ddns": "netbootd changes no DNS",
    "client-class": _ANSWERS,
    "client-classes": _ANSWERS,
    "require-client-classes": _ANSWERS,
    "evaluate-additional-classes": _ANSWERS,
    "relay": "a relay agent is known by its address, which lies in the network's own subnet",
    "4o6-interface": "nodes boot by IPv4",
    "4o6-interface-id": "nodes boot by IPv4",
    "4o6-subnet": "nodes boot by IPv4",
}
_SILENT = {
    "allocator", "authoritative", "cache-max-age", "cache-threshold", "calculate-tee-times", "comment",
    "compatibility", "config-control", "config-fetch-wait-time", "control-socket", "control-sockets",
    "decline-probation-period", "dhcp-queue-control", "dhcp4o6-port", "early-global-reservations-lookup",
    "echo-client-id", "expired-leases-processing", "host-reservation-identifiers",
    "hostname-char-replacement", "hostname-char-set", "id", "ip-reservations-unique", "lease-database",
    "loggers", "match-client-id", "max-valid-lifetime", "min-valid-lifetime", "multi-threading", "name",
    "offer-lifetime", "parked-packet-limit", "pool-id", "rebind-timer", "renew-timer", "reservation-mode",
    "reservations-global", "reservations-in-subnet", "reservations-lookup-first",
    "reservations-out-of-pool", "sanity-checks", "server-tag", "stash-agent-options",
    "statistic-default-sample-age", "statistic-default-sample-count", "store-extended-info", "subnet",
    "t1-percent", "t2-percent", "user-context"
}  # fmt: skip
"""What changes nothing for a registered node."""
_READ = ("option-data", "option-def", "shared-networks", "subnet4", "pools", "reservations")
_READ_OF_RESERVATIONS = ("hw-address", "ip-address", "hostname", "option-data", "client-classes")
_IDENTIFIERS = ("client-id", "duid", "circuit-id", "flex-id")
_POOL = re.compile(r"\s*([\d.]+)\s*(?:-\s*([\d.]+)|/\s*(\d+))\s*")


@dataclass(frozen=True, slots=True)
class _Reservation:
    """`above`: the options of its subnet and shared network; of a reservation for all subnets, none."""

    element: Element
    above: Mapping[int, bytes]


@dataclass(slots=True)
class _Found:
    """What the whole file says. `classes`: with their options; `subnets`: with those that hold there."""

    hosts: Hosts
    remarks: list[Remark] = field(default_factory=list)
    settings: list[Setting] = field(default_factory=list)
    defined: dict[str | int, kea_options.Definition] = field(default_factory=dict)
    classes: dict[str, dict[int, bytes]] = field(default_factory=dict)
    class_places: dict[str, Place] = field(default_factory=dict)
    subnets: list[tuple[IPv4Network, Mapping[int, bytes]]] = field(default_factory=list)
    reservations: list[_Reservation] = field(default_factory=list)

    def left_out(self, place: Place, what: str, why: str) -> None:
        """A remark on something that has no place here."""
        self.remarks.append(Remark(place, f"{what[:60]}: {why}"))

    def advise(self, setting: Setting) -> None:
        """A line for netbootd.toml, once."""
        if all(each.text != setting.text for each in self.settings):
            self.settings.append(setting)


def read(text: str, file: str, files: Files, hosts: Hosts) -> Described:
    """The nodes of a configuration. `hosts` has names and addresses of reservations that lack them.

    What doesn't fit is a remark. Raises FileError for text that Kea wouldn't read either.
    """
    found = _Found(hosts)
    whole = parse(text, file, files, found.remarks)
    if (server := whole.members().get("Dhcp4")) is None:
        raise FileError(f"{whole.place}: there is no Dhcp4 in it", (), "kea-dhcp4.conf has it")
    members = server.members()
    _definitions(found, _each(members, "option-def"))
    _classes(found, _each(members, "client-classes"))
    _scope(found, members, {}, everywhere=True)
    entries = [_entry(found, reservation) for reservation in found.reservations]
    _untaken_classes(found)
    return Described(
        nodes=tuple(joined([entry for entry in entries if entry])),
        remarks=tuple(found.remarks),
        settings=tuple(found.settings),
        foreign=True,
    )


def _each(members: Mapping[str, Element], key: str) -> Sequence[Element]:
    return members[key].elements() if key in members else ()


# Networks


def _scope(
    found: _Found, members: Mapping[str, Element], above: Mapping[int, bytes], *, everywhere: bool = False
) -> None:
    """All of Dhcp4, a shared network or a subnet: its options, which hold for what is in it, then that."""
    options = dict(above)
    for element in _each(members, "option-data"):
        if option := _option(found, element):
            found.advise(toml_advice.option(element.place, *option))
            # Those of all networks yield to a class's.
            options |= {} if everywhere else [option]
    if "subnet" in members and (subnet := _network(members["subnet"].text())):
        found.subnets.append((subnet, options))
    for each in (*_each(members, "shared-networks"), *_each(members, "subnet4")):
        _scope(found, each.members(), options)
    for pool in _each(members, "pools"):
        _pool(found, pool)
    found.reservations += [_Reservation(each, options) for each in _each(members, "reservations")]
    for key, element in members.items():
        if key not in _READ and not (everywhere and key == "client-classes"):
            _other(found, key, element)


def _other(found: _Found, key: str, element: Element) -> None:
    """A member that is neither options nor holds anything."""
    match key:
        case "interfaces-config":
            for each in _each(element.members(), "interfaces"):
                if (name := each.text().partition("/")[0]) not in ("", "*"):
                    found.advise(toml_advice.network(each.place, "interface", name))
        case "interface" if element.text():
            found.advise(toml_advice.network(element.place, "interface", element.text()))
        case "valid-lifetime":
            seconds = element.whole_number()
            found.advise(toml_advice.network(element.place, "lease_time", f"{seconds}s"))
        case _ if key in _SILENT or element.value in ("", 0, [], {}, "0.0.0.0"):  # noqa: S104 (Kea's word for none)
            pass
        case _ if key.startswith("ddns-"):
            found.left_out(element.place, key, "netbootd changes no DNS")
        case _:
            found.left_out(element.place, key, _REASONS.get(key, "has no place here"))


def _pool(found: _Found, pool: Element) -> None:
    for key, element in pool.members().items():
        match key:
            case "pool" if (span := _span(element.text())) is not None:
                found.advise(toml_advice.pool(element.place, *span))
            case "pool":
                found.left_out(element.place, "pool", f"{element.text()[:40]!r} isn't a range")
            case "option-data" if element.elements():
                found.left_out(element.place, key, "a pool's machines get what their network's get")
            case "option-data":
                pass
            case _:
                _other(found, key, element)


def _span(text: str) -> tuple[IPv4Address, IPv4Address] | None:
    """A pool's first and last address: `10.77.0.100 - 10.77.0.199`, or 10.77.0.128/26."""
    match = _POOL.fullmatch(text)
    first, last = (ipv4(match[1]), ipv4(match[2] or match[1])) if match else (None, None)
    if match and match[3]:
        block = _network(f"{match[1]}/{match[3]}")
        return (block[0], block[-1]) if block else None
    return (first, last) if first and last and first <= last else None


def _network(text: str) -> IPv4Network | None:
    try:
        return IPv4Network(text.strip(), strict=False)
    except ValueError:
        return None


# Options and classes


def _option(found: _Found, element: Element) -> tuple[int, bytes] | None:
    """Its number and octets; None for what can't be set, with a remark."""
    try:
        return kea_options.read(element, found.defined)
    except FileError:
        raise
    except UserError as error:
        members = element.members()
        shown = next((members[key].value for key in ("name", "code") if key in members), "")
        found.left_out(element.place, f"option {shown}", str(error))
        return None


def _definitions(found: _Found, declared: Sequence[Element]) -> None:
    for element in declared:
        try:
            name, made = kea_options.definition(element)
        except FileError:
            raise
        except UserError as error:
            found.left_out(element.place, "option-def", str(error))
            continue
        found.defined |= {name: made, made.code: made}


def _classes(found: _Found, declared: Sequence[Element]) -> None:
    for element in declared:
        members = element.members()
        name = members["name"].text() if "name" in members else ""
        found.classes[name] = dict(
            option for each in _each(members, "option-data") if (option := _option(found, each))
        )
        found.class_places[name] = element.place


def _untaken_classes(found: _Found) -> None:
    """Classes that no reservation names: which machines are in them an expression says."""
    named = {
        each.text()
        for reservation in found.reservations
        for each in _each(reservation.element.members(), "client-classes")
    }
    for name in found.classes.keys() - named:
        why = "netbootd evaluates no expressions; settings that nodes share are a profile"
        found.left_out(found.class_places[name], f"client class {name}", why)


# Reservations


def _entry(found: _Found, reservation: _Reservation) -> Entry | None:
    place, members = reservation.element.place, reservation.element.members()
    try:
        mac = _card(found, members, place)
        address = _address(members)
        name = members["hostname"].text() if "hostname" in members else ""
        name = name or (found.hosts.names.get(address, "") if address else "")
        label = first_label(name.rstrip("."), place, found.remarks) if name else None
    except FileError:
        raise
    except UserError as error:
        shown = next((members[key].value for key in ("hostname", "ip-address") if key in members), "")
        found.left_out(place, f"reservation {shown}".strip(), f"isn't carried over: {error}")
        return None
    address = address or (found.hosts.address(name) if name else None)
    options = _class_options(found, reservation, members, address)
    for element in _each(members, "option-data"):
        options |= [option] if (option := _option(found, element)) else []
    for key, element in members.items():
        if key not in (*_READ_OF_RESERVATIONS, *_IDENTIFIERS):
            _other(found, key, element)
    given = {"macs": (mac,), "address": address, "dhcp_options": options}
    fields = {key: value for key, value in given.items() if value}
    return Entry(name=label, place=place, fields=fields)


def _card(found: _Found, members: Mapping[str, Element], place: Place) -> Mac:
    """Raises UserError where the machine isn't known by its network card."""
    if "hw-address" in members:
        return card(members["hw-address"].text())
    # An Ethernet card's address is what most clients make theirs of (RFC 2132 section 9.14).
    if "client-id" in members and (match := re.fullmatch(r"0?1[: ](.+)", members["client-id"].text())):
        mac = card(match[1].replace(" ", ":"))
        found.left_out(place, "client-id", f"taken for that of the card {mac}, by which a node is known")
        return mac
    given = next((key for key in _IDENTIFIERS if key in members), "nothing")
    raise UserError(f"{given} is given, and a node is known by its hw-address")


def _address(members: Mapping[str, Element]) -> IPv4Address | None:
    text = members["ip-address"].text() if "ip-address" in members else ""
    address = ipv4(text)
    if text and address is None:
        raise UserError(f"{text[:40]!r} isn't an IPv4 address")
    return address if address and not address.is_unspecified else None


def _class_options(
    found: _Found, reservation: _Reservation, members: Mapping[str, Element], address: IPv4Address | None
) -> dict[int, bytes]:
    """Of two classes that set the same option the first named holds."""
    above = reservation.above
    if address and not above:
        above = next((options for subnet, options in found.subnets if address in subnet), {})
    options: dict[int, bytes] = {}
    for each in _each(members, "client-classes"):
        if (name := each.text()) not in found.classes:
            found.left_out(each.place, f"client class {name}", "isn't defined in the file")
            continue
        options = {code: value for code, value in found.classes[name].items() if code not in above} | options
    return options
