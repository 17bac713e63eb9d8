"""The lines for somebody else's DHCP server: a node's address, and its boot file where need be. Pure.

In proxy mode the other server gives the addresses, and a node's has to be the registered one. Firmware that
takes nothing from a proxy (U-Boot, for one) must hear of the boot server from whoever gives the address: in
`siaddr` and `file` of the header, since U-Boot looks at neither 66 nor 67 alone (net/bootp.c).
"""

import json
from dataclasses import dataclass

from netbootd.boot.answer import NetBoot
from netbootd.dhcp.options import Option
from netbootd.node import Node

_IN_THE_HEADER = frozenset(
    {Option.VENDOR_SPECIFIC, Option.VENDOR_CLASS, Option.TFTP_SERVER_NAME, Option.BOOT_FILE_NAME}
)
"""What goes without saying once siaddr and `file` are set, or is a PXE client's alone."""
_FOR_EVER = "infinite"


@dataclass(frozen=True, slots=True)
class Recipe:
    """What to put into a server's configuration; `server` names it for people, `where` the place."""

    server: str
    where: str
    lines: tuple[str, ...]


def recipes(node: Node, boot: NetBoot | None) -> tuple[Recipe, ...]:
    """For each server that people have. `boot` is None where the proxy itself can tell the boot file."""
    return (_dnsmasq(node, boot), _kea(node, boot), _dhcpd(node, boot), _router(node, boot))


def _dnsmasq(node: Node, boot: NetBoot | None) -> Recipe:
    tag = f"netbootd-{node.name}"
    cards = ",".join(node.macs)
    lines = [f"dhcp-host={cards},set:{tag},{node.address},{node.name},{_FOR_EVER}"]
    if boot:
        if boot.bootfile:
            lines.append(f"dhcp-boot=tag:{tag},{_dnsmasq_text(boot.bootfile)},,{boot.server}")
        lines += [
            f"dhcp-option-force=tag:{tag},{code},{_dnsmasq_value(value)}" for code, value in _others(boot)
        ]
    return Recipe("dnsmasq (also Pi-hole, OpenWrt, DD-WRT)", "a file in /etc/dnsmasq.d/", tuple(lines))


def _kea(node: Node, boot: NetBoot | None) -> Recipe:
    entries = []
    for number, mac in enumerate(node.macs):
        pairs = {"hw-address": mac, "ip-address": str(node.address), "hostname": node.name}
        if boot:
            pairs |= {"next-server": str(boot.server), "boot-file-name": boot.bootfile}
        words = ", ".join(f'"{key}": {json.dumps(value)}' for key, value in pairs.items() if value)
        if boot and (options := ", ".join(_kea_option(code, value) for code, value in _others(boot))):
            words += f', "option-data": [ {options} ]'
        comma = "," if number + 1 < len(node.macs) else ""
        entries.append(f"  {{ {words} }}{comma}")
    # Kea refuses its whole configuration where two reservations have one address, unless told otherwise.
    shared = ', and `"ip-reservations-unique": false` into its Dhcp4' if len(node.macs) > 1 else ""
    where = f"the subnet4 of kea-dhcp4.conf{shared}; a reservation{'s' * (len(node.macs) > 1)}"
    return Recipe("Kea", where, ('"reservations": [', *entries, "]"))


def _dhcpd(node: Node, boot: NetBoot | None) -> Recipe:
    others = _others(boot) if boot else []
    lines = [f"option netbootd-{code} code {code} = string;" for code, _ in others]
    for number, mac in enumerate(node.macs, 1):
        name = node.name if number == 1 else f"{node.name}-{number}"
        lines += [f"host {name} {{", f"  hardware ethernet {mac};", f"  fixed-address {node.address};"]
        lines.append(f'  option host-name "{node.name}";')
        if boot:
            lines.append(f"  next-server {boot.server};")
            if boot.bootfile:
                lines.append(f"  filename {json.dumps(boot.bootfile)};")
            lines += [f"  option netbootd-{code} {value.hex(':')};" for code, value in others]
            if others:
                more = ",".join(f"{code:02x}" for code, _ in others)
                lines.append(
                    "  option dhcp-parameter-request-list = "
                    f"concat(option dhcp-parameter-request-list,{more});"
                )
        lines.append("}")
    return Recipe("ISC dhcpd", "dhcpd.conf", tuple(lines))


def _router(node: Node, boot: NetBoot | None) -> Recipe:
    cards = " and ".join(node.macs)
    lines = [f'reserve {node.address} for {cards} ("static lease", "always assign the same address")']
    if boot:
        lines += [
            f"next server (siaddr; some call it TFTP server, DHCP option 66): {boot.server}",
            f"boot file (file; some call it boot file name, DHCP option 67): {boot.bootfile}",
            "where it has no such fields: on the board's own console, once,",
            f"  setenv serverip {boot.server}; setenv autoload no; saveenv",
            "  which holds as long as the router names no server of its own",
        ]
    return Recipe("a home router", "its page of DHCP settings", tuple(lines))


def _others(boot: NetBoot) -> list[tuple[int, bytes]]:
    return sorted((c, v) for c, v in boot.options.items() if v and c not in _IN_THE_HEADER)


def _dnsmasq_text(text: str) -> str:
    """In quotation marks where a comma would end it."""
    return f'"{text}"' if "," in text else text


def _dnsmasq_value(value: bytes) -> str:
    """A text as it is; anything with a character that dnsmasq would read otherwise as octets."""
    text = value.decode("ascii", "replace")
    plain = all(c.isalnum() or c in "./_-" for c in text) and not text.replace(".", "").isdigit()
    return text if plain and any(c.isalpha() for c in text) else value.hex(":")


def _kea_option(code: int, value: bytes) -> str:
    return f'{{ "code": {code}, "csv-format": false, "data": "{value.hex()}" }}'
