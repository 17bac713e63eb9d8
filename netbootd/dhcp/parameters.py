"""What a reply tells: which options, whose of them win, and in which order. Pure.

From the weakest to the strongest: netbootd's defaults for the network, its [network.options], what the boot
decision sets, an admin's options of the node (which lie over its profile's: netbootd.settings). Over all of
them stands what the protocol needs, which reservation.py adds. An option of no octets isn't sent: whoever
sets it so has decided that.

The boot file and its server are options 67 and 66 and the header's `file` and `siaddr`, because firmwares
look in different places; whoever decides the options decides the header too.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address
from types import MappingProxyType

from netbootd.boot.answer import Decision, NetBoot
from netbootd.dhcp import option_types, options
from netbootd.dhcp.options import Option
from netbootd.dhcp.wire import Message
from netbootd.network import Network
from netbootd.node import Node

LONGEST_FILE = 127
"""Octets in the header's `file`, its NUL not counted; a longer name stands in option 67 alone."""
ALWAYS_SENT = (Option.SUBNET_MASK, Option.ROUTER)
"""Sent unasked: boot ROMs leave them out of option 55 and need them to reach a server."""
ECHOED = (Option.CLIENT_ID, Option.CLIENT_UUID, Option.SUBNET_SELECTION, Option.RELAY_AGENT)
"""Returned as they came: RFC 6842 section 3, RFC 4578 section 2.3, RFC 3011, RFC 3046 section 2.2."""
ROUTES = (Option.CLASSLESS_ROUTES, Option.MS_CLASSLESS_ROUTES)
_NOWHERE = IPv4Address(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """All that may be told. `unasked`: the options that are sent to who doesn't ask for them, in that order.

    `server` and `file` are the header's `siaddr` and `file`. `reason`: why this is booted, or nothing.
    """

    options: Mapping[int, bytes]
    unasked: tuple[int, ...]
    server: IPv4Address
    file: bytes
    bootfile: str
    reason: str

    def ordered(self, asked: bytes | None) -> dict[int, bytes]:
        """Those to be sent, in the order in which they matter: the last go first where room is short.

        What the client asks for in its own order (RFC 2131 section 4.3.1), then the unasked; the subnet mask
        before the router in any case (RFC 2132 section 3.3). `asked` is option 55; without it the client gets
        all.
        """
        order = [*(asked or self.options), *self.unasked]
        router = order.index(Option.ROUTER)
        if Option.SUBNET_MASK not in order[:router]:
            order.insert(router, Option.SUBNET_MASK)
        return {code: value for code in order if (value := self.options.get(code))}


def parameters(decision: Decision, node: Node | None, network: Network) -> Parameters:
    """What a client of `network` may be told; `node` is who it is, where that is registered."""
    boot = _boot_options(decision)
    own = node.dhcp_options if node else {}
    name: dict[int, bytes] = {Option.HOST_NAME: options.text(node.name)} if node else {}
    values: dict[int, bytes] = {**_of_network(network), **name, **boot, **own}
    if values.get(Option.BOOT_FILE_NAME) and Option.TFTP_SERVER_NAME not in values:
        values[Option.TFTP_SERVER_NAME] = options.text(str(network.server))
    _include_router(values)
    bootfile = values.get(Option.BOOT_FILE_NAME, b"")
    return Parameters(
        options=values,
        unasked=(*ALWAYS_SENT, *boot, *own),
        server=_header_server(values, decision) if bootfile or boot else _NOWHERE,
        file=bootfile if len(bootfile) <= LONGEST_FILE else b"",
        bootfile=options.printable(bootfile),
        reason=_reason(decision, boot, node, network, values),
    )


def echoed(request: Message, network: Network) -> dict[int, bytes]:
    """What the client and its relay hear again of what they sent."""
    withheld = () if network.echo_client_id else (Option.CLIENT_ID,)
    return {code: raw for code in ECHOED if code not in withheld and (raw := request.options.get(code))}


# Details


@lru_cache(maxsize=64)
def _of_network(network: Network) -> Mapping[int, bytes]:
    """netbootd's defaults and what [network.options] sets over them; the host name has its place in it."""
    found: dict[int, bytes] = {
        Option.SUBNET_MASK: options.address(network.subnet.netmask),
        Option.BROADCAST_ADDRESS: options.address(network.subnet.broadcast_address),
    }
    if network.router:
        found[Option.ROUTER] = options.address(network.router)
    if network.dns:
        found[Option.DNS] = options.addresses(network.dns)
    found[Option.HOST_NAME] = b""
    if network.domain:
        found[Option.DOMAIN_NAME] = options.text(network.domain)
        found[Option.DOMAIN_SEARCH] = options.domain_search([network.domain])
    return MappingProxyType(found | dict(network.options))


def _boot_options(decision: Decision) -> dict[int, bytes]:
    if not isinstance(decision, NetBoot):
        return {}
    named: dict[int, bytes] = {
        Option.TFTP_SERVER_NAME: options.text(str(decision.server)),
        Option.BOOT_FILE_NAME: options.text(decision.bootfile),
    }
    return {**named, **decision.options}


def _include_router(values: dict[int, bytes]) -> None:
    """A client that takes 121 ignores 3 (RFC 3442): unless a default route is among them, 3's becomes it."""
    router = values.get(Option.ROUTER, b"")[:4]
    for code in ROUTES:
        routes = option_types.routes(values[code]) if router and values.get(code) else None
        if routes and not any(network == option_types.ANYWHERE for network, _ in routes):
            values[code] += option_types.route(option_types.ANYWHERE, router)


def _header_server(values: Mapping[int, bytes], decision: Decision) -> IPv4Address:
    """`siaddr`: the address in option 66; where that has a name, nothing, so that the name counts."""
    named = options.printable(values.get(Option.TFTP_SERVER_NAME, b""))
    try:
        return IPv4Address(named)
    except AddressValueError:
        return decision.server if not named and isinstance(decision, NetBoot) else _NOWHERE


def _reason(
    decision: Decision,
    boot: Mapping[int, bytes],
    node: Node | None,
    network: Network,
    values: Mapping[int, bytes],
) -> str:
    """The decision's, with what an admin set over it, or in its place."""
    own = node.dhcp_options if node else {}
    concerned = [code for code in own if code in boot and own[code] != boot[code]]
    if own.get(Option.BOOT_FILE_NAME) and Option.BOOT_FILE_NAME not in boot:
        concerned.append(Option.BOOT_FILE_NAME)
    if concerned and node:
        names = ", ".join(options.name(code) for code in sorted(concerned))
        return f"{decision.reason}; but {names} {'is' if len(concerned) == 1 else 'are'} set for {node.name}"
    if not boot and values.get(Option.BOOT_FILE_NAME):
        return f"{decision.reason}; bootfile-name is set for the network {network.interface}"
    return decision.reason
