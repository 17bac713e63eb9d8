"""The interfaces that netbootd.toml names: there, up, with the address, with a cable; and the ways out."""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from socket import AF_INET, SOCK_DGRAM, socket

from netbootd.ctl.checks.finding import Context, Finding, ok, warning, wrong
from netbootd.errors import did_you_mean
from netbootd.links import Interface

FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")


def interfaces(context: Context) -> list[Finding]:
    """Each network's interface."""
    by_name = {link.name: link for link in context.links}
    found: list[Finding] = []
    for name in dict.fromkeys(network.interface for network in context.config.network):
        link = by_name.get(name)
        if link is None:
            found.append(_missing(name, by_name))
            continue
        # Networks behind relays share the interface with its own network.
        named = dict.fromkeys(n.address for n in context.config.network if n.interface == name)
        wanted: list[IPv4Interface | None] = [each for each in named if each is not None] or [None]
        worse = [*_of_link(link), *(each for address in wanted for each in _of_address(link, address))]
        found += worse or [_fine(link, address) for address in wanted]
    return found


def forwarding(context: Context) -> list[Finding]:
    """A head node that nodes are told to go through has to let them through."""
    if FORWARDING.read_text(encoding="ascii").strip() == "1":
        return []
    mend = "sysctl -w net.ipv4.ip_forward=1   (and in /etc/sysctl.d/ to keep it)"
    return [
        warning(f"this machine is the router of {network.interface}, and doesn't forward packets", mend)
        for network in context.networks
        if network.router == network.server
    ]


def relays(context: Context) -> list[Finding]:
    """The head node needs a route to each network behind a relay agent: its answers go there by unicast."""
    found = []
    for network in context.networks:
        if not network.behind_relay or network.router is None:
            continue
        source = _route_to(network.router)
        if source is None:
            mend = f"ip route add {network.subnet} via RELAY dev {network.interface}   (RELAY's address here)"
            found.append(wrong(f"there is no route to {network.subnet}, which is behind a relay", mend))
        elif source != network.server:
            text = f"the way to {network.subnet} begins at {source} and not at {network.server}"
            mend = f"ip route add {network.subnet} via RELAY dev {network.interface} src {network.server}"
            found.append(warning(f"{text}, where its nodes are told to find the head node", mend))
        else:
            found.append(ok(f"there is a route to {network.subnet}, behind a relay of {network.interface}"))
    return found


def _route_to(address: IPv4Address) -> IPv4Address | None:
    """The own address with which the kernel would send there; nothing is sent."""
    try:
        with socket(AF_INET, SOCK_DGRAM) as trial:
            trial.connect((str(address), 67))
            return IPv4Address(trial.getsockname()[0])
    except OSError:
        return None


def _missing(name: str, by_name: dict[str, Interface]) -> Finding:
    wired = [n for n, link in by_name.items() if link.mac is not None]
    there = did_you_mean(name, wired, f"this machine has {', '.join(wired) or 'none'}")
    return wrong(
        f"there is no interface {name}; {there}", "netbootctl setup, or set `interface` in netbootd.toml"
    )


def _of_link(link: Interface) -> Iterator[Finding]:
    name = link.name
    if not link.up:
        yield wrong(f"{name} is down", f"ip link set {name} up")
    elif not link.carrier:
        yield wrong(
            f"{name} has no link: no cable, or nothing powered at its other end", "plug it into the switch"
        )


def _of_address(link: Interface, wanted: IPv4Interface | None) -> Iterator[Finding]:
    """`wanted`: what netbootd.toml says, None where it leaves it to the interface."""
    name = link.name
    if wanted is None and not link.addresses:
        yield wrong(f"{name} has no IPv4 address", f"ip address add 10.77.0.1/24 dev {name}   (or another)")
    elif wanted is not None and wanted not in link.addresses:
        has = ", ".join(map(str, link.addresses)) or "none"
        yield wrong(f"{name} lacks its address {wanted}; it has {has}", f"ip address add {wanted} dev {name}")


def _fine(link: Interface, wanted: IPv4Interface | None) -> Finding:
    return ok(f"{link.name} is up with {wanted or link.addresses[0]}")
