"""Which format a file is in: by its name, else by what it holds. Pure."""

import re

from netbootd.errors import UserError
from netbootd.exchange import csv_file, dhcpd, dnsmasq, ethers, kea, yaml_file
from netbootd.exchange.described import Described, Files

OURS = ("yaml", "csv")
"""What `export` writes."""
FORMATS = (*OURS, "dnsmasq", "dhcpd", "kea", "ethers")
_SUFFIXES = {"yaml": "yaml", "yml": "yaml", "csv": "csv", "tsv": "csv"}
_IN_NAMES = ("dnsmasq", "dhcpd", "kea", "ethers")
_SIGNS = (
    ("yaml", r"(?m)^(netbootd|nodes|profiles)\s*:"),
    ("kea", r'"Dhcp4"\s*:'),
    ("dhcpd", r"(?m)^\s*(host|subnet|shared-network|group)\b[^\n;=]*(\{|$)"),
    ("dnsmasq", r"(?m)^\s*(dhcp-[a-z]+|conf-(dir|file)|read-ethers|interface|domain)\s*(=|$)"),
    ("ethers", r"(?m)^\s*[0-9A-Fa-f]{1,2}([:-][0-9A-Fa-f]{1,2}){5}[ \t]+[\w.-]+\s*$"),
    ("csv", r"(?i)^(\ufeff)?(sep=.*\n)?[^\n]*\bname\b[^\n]*[,;\t]|^[^\n]*[,;\t][^\n]*\b(host)?name\b"),
)


def by_name(name: str) -> str | None:
    """What a file's name tells; None where it tells nothing."""
    directory, _, base = name.lower().rpartition("/")
    if directory.endswith("/dnsmasq.d"):
        return "dnsmasq"
    return _SUFFIXES.get(base.rpartition(".")[2]) or next((word for word in _IN_NAMES if word in base), None)


def recognise(name: str, text: str) -> str:
    """One of FORMATS. Raises UserError where neither name nor text tell."""
    found = by_name(name) or next((kind for kind, sign in _SIGNS if re.search(sign, text)), None)
    if found is None:
        raise UserError(f"{name[:80]}: can't tell what format this is", f"--format {'|'.join(FORMATS)}")
    return found


def read(kind: str, text: str, name: str, files: Files, hosts_file: str | None) -> Described:
    """What a file of that format says. `hosts_file`: the path of /etc/hosts, None to look at none.

    Raises UserError, FileError with the lines where they are to blame.
    """
    match kind:
        case "yaml":
            return yaml_file.read(text, name)
        case "csv":
            return csv_file.read(text, name)
        case "dnsmasq":
            return dnsmasq.read(text, name, files, hosts_file)
    hosts = ethers.Hosts.read([files.text(hosts_file)] if hosts_file else [])
    match kind:
        case "dhcpd":
            return dhcpd.read(text, name, files, hosts)
        case "kea":
            return kea.read(text, name, files, hosts)
        case _:
            return ethers.read(text, name, hosts)
