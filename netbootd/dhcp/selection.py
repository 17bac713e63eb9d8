"""Which of an interface's networks a DHCP message belongs to, and what the server is called there. Pure.

The first that is there decides: the relay's link selection (RFC 3527), the relay's own address (giaddr,
RFC 2131 section 4.3.1), the client's wish (RFC 3011), the address that the client has (a renewal comes from
behind a router without its relay), and last the wire that it came in on.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address

from netbootd.boot.answer import Ignore
from netbootd.dhcp.options import Option, sub_options
from netbootd.dhcp.wire import Message
from netbootd.network import Network, network_of

_UNKNOWN = IPv4Address(0)
LINK_SELECTION = 5
"""Sub-option of 82 (RFC 3527 section 3): the subnet that the client is on, where giaddr isn't of it."""
SERVER_ID_OVERRIDE = 11
"""Sub-option of 82 (RFC 5107 section 4): what option 54 shall be, so that renewals come by the relay too."""


def select(
    request: Message, networks: Sequence[Network], *, broadcast: bool = True, source: IPv4Address = _UNKNOWN
) -> Network | Ignore:
    """The network of `request`, of those of the interface that it came in on; or why it has none.

    `broadcast`: it was sent to everybody. Then its sender is on this wire, whatever address it says it has.
    `source`: the address that it came from.
    """
    if int(request.giaddr):
        return _relayed(request, networks, source)
    if named := _address(request.options.get(Option.SUBNET_SELECTION)):
        # RFC 3011 section 2: an address of that subnet or none.
        found = network_of(named, tuple(networks))
        return found or Ignore(
            reason=f"it asks for an address of subnet {named}, which isn't configured here"
        )
    if int(request.ciaddr) and not broadcast and (found := network_of(request.ciaddr, tuple(networks))):
        return found
    on_wire = next((network for network in networks if network.behind_relay is None), None)
    if on_wire is None:
        interface = networks[0].interface if networks else "this interface"
        return Ignore(reason=f"it came without a relay, and every network of {interface} is behind one")
    return on_wire


def server_id(request: Message, network: Network) -> IPv4Address:
    """Option 54 of what answers `request`: the head node's address, or what the relay wants it to be."""
    if int(request.giaddr):
        wanted = _address(_relay_agent(request).get(SERVER_ID_OVERRIDE))
        if wanted is not None:
            return wanted
    return network.server


# Details


def _relayed(request: Message, networks: Sequence[Network], source: IPv4Address) -> Network | Ignore:
    link = _address(_relay_agent(request).get(LINK_SELECTION))
    found = network_of(link or request.giaddr, tuple(networks))
    if found is None:
        where = f"for the link {link}, which" if link else "which"
        return Ignore(
            reason=f"it came through the relay {request.giaddr}, {where} is on no network configured"
        )
    if link is None and not found.usable(request.giaddr):
        return Ignore(
            reason=f"it came through the relay {request.giaddr}, which no relay of {found.subnet} has"
        )
    # With a link selected giaddr may be any address of the relay's, a loopback one too (RFC 3527 section 3).
    # The answer goes there: to a network of ours or to who asked, and to nobody whom a third one names.
    if link is not None and request.giaddr != source:
        at = network_of(request.giaddr, tuple(networks))
        if at is None or not at.usable(request.giaddr):
            return Ignore(
                reason=f"it came from {source} and names the relay {request.giaddr}, which is on no network"
                " configured"
            )
    return found


def _relay_agent(request: Message) -> dict[int, bytes]:
    return sub_options(request.options.get(Option.RELAY_AGENT, b""))


def _address(raw: bytes | None) -> IPv4Address | None:
    """An address of four octets that names something; anything else counts as not sent."""
    found = IPv4Address(raw) if raw and len(raw) == 4 else None
    return found if found is not None and int(found) and not found.is_multicast else None
