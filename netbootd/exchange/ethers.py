"""/etc/ethers (ethers(5)) and the names that /etc/hosts has for it (hosts(5)). Pure.

08:00:20:00:61:ca  pal           or an address in the place of the name
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Any

from netbootd.errors import UserError
from netbootd.exchange.described import Described, Entry, Place, Remark, joined
from netbootd.node import Mac, host_name

_NO_NAME = "{} has no name in the hosts file; add it there, or register it with `netbootctl node add`"


@dataclass(frozen=True, slots=True)
class Hosts:
    """What hosts files say: of two lines for a name or an address the first holds, as in the C library."""

    addresses: Mapping[str, IPv4Address] = field(default_factory=dict)
    names: Mapping[IPv4Address, str] = field(default_factory=dict)

    @classmethod
    def read(cls, texts: Iterable[str]) -> "Hosts":
        """From the texts of hosts files; lines that aren't IPv4, or the machine's own, are passed over."""
        addresses: dict[str, IPv4Address] = {}
        names: dict[IPv4Address, str] = {}
        for text in texts:
            for line in text.splitlines():
                first, *words = line.partition("#")[0].split() or [""]
                address = ipv4(first)
                if address is None or address.is_loopback:
                    continue
                for word in words:
                    addresses.setdefault(word.lower(), address)
                    names.setdefault(address, word)
        return cls(addresses, names)

    def address(self, name: str) -> IPv4Address | None:
        """Of a host, by its whole name or by the first part."""
        return self.addresses.get(name.lower()) or self.addresses.get(name.partition(".")[0].lower())


def read(text: str, file: str, hosts: Hosts) -> Described:
    """The nodes of an ethers file. What doesn't fit is a remark."""
    entries: list[Entry] = []
    remarks: list[Remark] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        place = Place(file, number)
        if not words:
            continue
        if len(words) != 2:
            remarks.append(Remark(place, "isn't a MAC address and a name"))
            continue
        try:
            found: dict[str, Any] = {"macs": (card(words[0]),)}
            address = ipv4(words[1])
            name = hosts.names.get(address) if address else words[1]
            if name is None:
                remarks.append(Remark(place, _NO_NAME.format(words[1])))
                continue
            if known := address or hosts.address(name):
                found["address"] = known
            entries.append(Entry(name=first_label(name, place, remarks), place=place, fields=found))
        except UserError as error:
            remarks.append(Remark(place, str(error)))
    return Described(nodes=tuple(joined(entries)), remarks=tuple(remarks), foreign=True)


def card(text: str) -> Mac:
    """A MAC address, also with octets of one digit: 8:0:20:0:61:ca. Raises UserError."""
    parts = re.split("[:-]", text)
    if len(parts) == 6 and all(re.fullmatch("[0-9A-Fa-f]{1,2}", part) for part in parts):
        return Mac(":".join(part.zfill(2) for part in parts))
    return Mac(text)


def ipv4(text: str) -> IPv4Address | None:
    """The address that a word is, or None."""
    try:
        return IPv4Address(text)
    except ValueError:
        return None


def first_label(name: str, place: Place, remarks: list[Remark]) -> str:
    """The host name of a name with a domain, which is the network's here. Raises UserError."""
    label, dot, domain = name.partition(".")
    checked = host_name(label)
    if dot and domain:
        text = f"the domain of {name[:80]!r} is left out: nodes have the one of their [[network]]"
        remarks.append(Remark(place, text))
    return checked
