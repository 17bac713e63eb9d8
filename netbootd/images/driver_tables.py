"""The tables that drivers.sh reads in the node: what drives a device, what is loaded before what.

PURE. They are shell `case` statements, since modalias patterns are shell patterns. A vendor's patterns stand
behind a test for that vendor, so that a device is compared with some dozens, not with all two thousand.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

_SAFE = re.compile(r"[A-Za-z0-9_:,.*?\[\]/+-]")
_VENDOR = {"pci": re.compile(r"pci:v[0-9A-F]{8}"), "usb": re.compile(r"usb:v[0-9A-F]{4}")}
_PCI_ANY_TAIL = "sv*sd*bc*sc*i*"
_BUS = re.compile(r"[A-Za-z0-9_]+")


def order_table(orders: Mapping[str, Sequence[str]]) -> str:
    """Module -> what is loaded for it, in order, as the shell function order_of, which sets `sequence`."""
    lines = [f'{_name_pattern(name)}) sequence="{" ".join(orders[name])}" ;;' for name in sorted(orders)]
    return "\n".join(["order_of() {", "case $1 in", *lines, "esac", "}", ""])


def alias_tables(aliases: Mapping[str, Iterable[str]], later: frozenset[str]) -> dict[str, str]:
    """Module -> its aliases, one shell function match_BUS per bus: it adds to `drivers`, or to `later`.

    Keys of the answer are buses (pci, usb, virtio, of …), `other` for aliases that belong to none.
    """
    by_bus: dict[str, dict[str, list[str]]] = {}
    for module in sorted(aliases):
        for alias in aliases[module]:
            head, colon, _ = alias.partition(":")
            head = head.rstrip("*")  # acpi*:LNRO0005:*
            bus = head if colon and _BUS.fullmatch(head) else "other"
            by_bus.setdefault(bus, {}).setdefault(module, []).append(alias)
    return {bus: _function(bus, modules, later) for bus, modules in sorted(by_bus.items())}


def _function(bus: str, modules: Mapping[str, list[str]], later: frozenset[str]) -> str:
    vendors: dict[str, dict[str, list[str]]] = {}
    anyone: dict[str, list[str]] = {}
    for module, aliases in modules.items():
        for alias in aliases:
            vendor = _VENDOR[bus].match(alias) if bus in _VENDOR else None
            group = vendors.setdefault(vendor[0], {}) if vendor else anyone
            group.setdefault(module, []).append(alias)
    lines = [f"match_{bus}() {{"]
    if vendors:
        lines.append("case $1 in")
        for vendor_prefix in sorted(vendors):
            lines += [f"{vendor_prefix}*)", *_cases(vendors[vendor_prefix], later), ";;"]
        lines.append("esac")
    return "\n".join([*lines, *_cases(anyone, later), "return 0", "}", ""])


def _cases(modules: Mapping[str, list[str]], later: frozenset[str]) -> list[str]:
    return [
        f"case $1 in {_patterns(aliases)}) {_add(module, module in later)} ;; esac"
        for module, aliases in sorted(modules.items())
    ]


def _add(module: str, late: bool) -> str:
    return f'later="$later {module}"' if late else f'drivers="$drivers {module}"'


def _patterns(aliases: Iterable[str]) -> str:
    return "|".join(sorted({_pattern(alias) for alias in aliases}))


def _pattern(alias: str) -> str:
    if alias.startswith("pci:"):
        alias = alias.removesuffix(_PCI_ANY_TAIL) + "*" if alias.endswith(_PCI_ANY_TAIL) else alias
    return "".join(char if _SAFE.match(char) else "\\" + char for char in alias)


def _name_pattern(name: str) -> str:
    return name.replace("_", "[-_]")
