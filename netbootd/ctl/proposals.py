"""What `setup` proposes, read off this machine: the interface, addresses, router, keys, NFS server."""

import os
import platform
import pwd
import re
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Interface
from itertools import pairwise
from pathlib import Path

from netbootd.links import Interface
from netbootd.network import AddressRange

ROUTES = Path("/proc/net/route")
FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
RESOLV_CONF = Path("/etc/resolv.conf")


def candidates(links: Sequence[Interface], way_out: str | None) -> list[Interface]:
    """Interfaces that nodes may hang on, the likeliest first: with an address, not the way to the world."""
    wired = [link for link in links if link.mac is not None]
    return sorted(wired, key=lambda link: (link.name == way_out, not link.addresses, not link.up, link.index))


def default_route(text: str) -> tuple[str, IPv4Address] | None:
    """Interface and gateway of the default route, out of /proc/net/route (little-endian hexadecimal)."""
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 7 and fields[1] == "00000000" and fields[7] == "00000000":
            return fields[0], IPv4Address(bytes.fromhex(fields[2])[::-1])
    return None


def ranges(address: IPv4Interface, router: str | None) -> tuple[AddressRange, AddressRange | None]:
    """Addresses for nodes and for a pool: .10 to .99 and .100 to .199 of a /24, the like of other sizes.

    The pool holds neither the head node nor the router; None where there is no room for one.
    """
    subnet = address.network
    size, base = subnet.num_addresses, int(subnet.network_address)
    first, middle, last = (base + size * part // 256 for part in (10, 100, 200))
    if size < 32:
        lowest = base + 2 if int(address.ip) == base + 1 else base + 1
        return _range(lowest, int(subnet.broadcast_address) - 1), None
    taken = sorted(
        int(a) for a in (address.ip, _address(router)) if a is not None and middle <= int(a) < last
    )
    edges = [middle - 1, *taken, last]
    free = max(pairwise(edges), key=lambda gap: gap[1] - gap[0])
    return _range(max(first, base + 1), middle - 1), _range(free[0] + 1, free[1] - 1)


def router(address: IPv4Interface, way_out: tuple[str, IPv4Address] | None) -> IPv4Address | None:
    """The network's own gateway, else this machine where it forwards packets, else none."""
    if way_out and way_out[1] in address.network:
        return way_out[1]
    return address.ip if _read(FORWARDING).strip() == "1" else None


def name_servers(router: str | None) -> list[IPv4Address]:
    """Those of this machine that nodes can reach too: through a router, and not on loopback."""
    found = re.findall(r"^nameserver\s+(\d+\.\d+\.\d+\.\d+)", _read(RESOLV_CONF), re.MULTILINE)
    addresses = [address for text in found if (address := _address(text))]
    return [a for a in addresses if router and not a.is_loopback]


def public_keys() -> list[Path]:
    """root's public keys, and those of who called sudo."""
    homes = [Path.home()]
    if user := os.environ.get("SUDO_USER"):
        with suppress(KeyError):
            homes.append(Path(pwd.getpwnam(user).pw_dir))
    found = [path for home in dict.fromkeys(homes) for path in sorted((home / ".ssh").glob("*.pub"))]
    return [path for path in found if path.is_file()]


def nfs_server() -> str:
    """`kernel` where this kernel has or can load its NFS server, else `ganesha`."""
    if "nfsd" in _read(Path("/proc/filesystems")).split():
        return "kernel"
    modules = Path("/lib/modules") / platform.release()
    listed = _read(modules / "modules.dep") + _read(modules / "modules.builtin")
    return "kernel" if re.search(r"/nfsd\.ko\b", listed) else "ganesha"


def _address(text: str | None) -> IPv4Address | None:
    try:
        return IPv4Address(text) if text else None
    except ValueError:
        return None


def _range(first: int, last: int) -> AddressRange:
    return AddressRange(IPv4Address(first), IPv4Address(last))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
