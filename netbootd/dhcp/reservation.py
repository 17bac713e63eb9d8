"""What a DHCP message is answered with: RFC 2131 section 4.3, as an authoritative server. Pure.

A registered node has its address for ever, in each root mode: its root hangs on it, or its home does, and
nobody on it would renew a lease, since node-init sets the address and keeps the image's network services off
that card. Any other machine gets a lease from the pool where there is one, and no answer where there is none.
What is to be booted was decided before (netbootd.boot.policy); here it is put wherever some firmware looks.

`answer` reads the lease book and changes nothing. Its result says what to change: the caller commits
`leases`, puts them into the book, holds `offer`, and only then sends `message`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from types import MappingProxyType

from netbootd.boot.answer import Decision, Ignore, Wait
from netbootd.dhcp import options
from netbootd.dhcp.leasebook import LeaseBook
from netbootd.dhcp.options import INFINITE, MessageType, Option
from netbootd.dhcp.parameters import Parameters, echoed, parameters
from netbootd.dhcp.selection import server_id
from netbootd.dhcp.wire import BOOTREPLY, BROADCAST_FLAG, Message
from netbootd.lease import Lease, LeaseState
from netbootd.network import Network
from netbootd.node import Node
from netbootd.stage import Level, Stage

_NOWHERE = IPv4Address(0)
SHORTEST_LEASE = 60
"""Seconds; a client that asks for less gets this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A message to send, and what has to be kept before it is. `note` is for the event.

    `reason`: why it boots what it is told to, or nothing.
    """

    message: Message
    note: str
    reason: str = ""
    stage: Stage | None = None
    level: Level = Level.INFO
    leases: tuple[Lease, ...] = ()
    offer: tuple[bytes, IPv4Address] | None = None
    """The client's identifier and the address to hold for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """A message that gets no answer by its nature (RELEASE, DECLINE) and was heeded."""

    note: str
    level: Level = Level.INFO
    leases: tuple[Lease, ...] = ()


Answer = Reply | Settled | Ignore


def answer(
    request: Message,
    decision: Decision,
    node: Node | None,
    network: Network,
    leases: LeaseBook,
    now: float,
) -> Answer:
    """Answer a decoded request of `network` (see selection.py); `node` is whose it is, where registered."""
    x = _Exchange(request, decision, node, network, leases, now)
    refused = _not_for_us(x)
    if refused:
        return Ignore(reason=refused)
    if Option.MESSAGE_TYPE not in request.options:
        return _bootp(x)
    handle = _HANDLERS.get(request.type) if request.type else None
    return handle(x) if handle else Ignore(reason="it sends what only servers send")


def other_server(request: Message, network: Network) -> IPv4Address | None:
    """The server that the client chose, where it isn't us."""
    chosen = request.address(Option.SERVER_ID)
    if chosen is None or chosen in (network.server, server_id(request, network)):
        return None
    return chosen


# The messages, in the order of RFC 2131 section 4.3


@dataclass(frozen=True, slots=True)
class _Exchange:
    request: Message
    decision: Decision
    node: Node | None
    network: Network
    leases: LeaseBook
    now: float

    @property
    def relayed(self) -> bool:
        return int(self.request.giaddr) != 0

    @property
    def wanted(self) -> IPv4Address | None:
        """The address that a REQUEST is about: option 50 in SELECTING and INIT-REBOOT, later ciaddr."""
        requested = self.request.address(Option.REQUESTED_ADDRESS)
        return requested or (self.request.ciaddr if int(self.request.ciaddr) else None)

    @property
    def given_up(self) -> tuple[Lease, ...]:
        """What a machine had of the pool before it was registered goes back."""
        return tuple(_released(lease, self.now) for lease in self.leases.bound_to(self.request.chaddr))


def _not_for_us(x: _Exchange) -> str | None:
    """Why this message is nothing to us, whatever its type; None where it is."""
    network, node = x.network, x.node
    if node is None and network.pool is None:
        return f"it isn't registered, and {network.interface} has no pool"
    if node is not None and node.address not in network.subnet:
        return f"{node.name} is on another wire: {node.address} lies outside {network.subnet}"
    chosen = other_server(x.request, network)
    return f"its message is for another DHCP server, {chosen}" if chosen else None


def _discover(x: _Exchange) -> Answer:
    """Section 4.3.1."""
    if isinstance(x.decision, Ignore):
        return x.decision
    if int(x.request.ciaddr):
        return Ignore(reason=f"a DISCOVER that already has an address, {x.request.ciaddr}")
    if x.node is not None:
        return _give(x, MessageType.OFFER, x.node.address, INFINITE)
    client_id = x.request.client_id
    address = x.leases.choose(client_id, x.request.address(Option.REQUESTED_ADDRESS), x.now)
    if address is None:
        return Ignore(reason=f"every address of the pool {x.network.pool} is taken")
    return _give(x, MessageType.OFFER, address, _lease_seconds(x), offer=(client_id, address))


def _request(x: _Exchange) -> Answer:
    """Section 4.3.2."""
    if isinstance(x.decision, Ignore):
        return x.decision
    wanted = x.wanted
    if wanted is None:
        return Ignore(reason="a REQUEST that names no address")
    if int(x.request.ciaddr) and x.request.ciaddr != wanted:
        # Table 4 has one or the other. The ACK would go to ciaddr, wherever that is.
        return Ignore(reason=f"it asks for {wanted}, but from {x.request.ciaddr}")
    if x.node is None:
        return _request_of_pool(x, wanted)
    if wanted != x.node.address:
        return _refuse(x, f"{x.node.name} has {x.node.address}, not {wanted}", x.given_up)
    return _give(x, MessageType.ACK, wanted, INFINITE, leases=x.given_up)


def _request_of_pool(x: _Exchange, wanted: IPv4Address) -> Answer:
    """A REQUEST for an address of the pool, by what the client's state must be (table 4)."""
    client_id, lease = x.request.client_id, x.leases.lease_of(x.request.client_id)
    selecting = Option.SERVER_ID in x.request.options
    renewing = int(x.request.ciaddr) != 0
    in_pool = x.network.pool is not None and wanted in x.network.pool
    if wanted not in x.network.subnet:
        return _refuse(x, f"{wanted} lies outside {x.network.subnet}")
    if lease is not None and lease.address != wanted and not selecting:
        return _refuse(x, f"it has {lease.address}, not {wanted}")
    if lease is None and not selecting and not (renewing and in_pool):
        # Another server's client, for all we know: section 4.3.2 demands silence.
        return Ignore(reason=f"it asks for {wanted}, of which nothing is recorded")
    if not x.leases.free_for(client_id, wanted, x.now):
        return _refuse(x, f"{wanted} isn't free")
    seconds = _lease_seconds(x)
    granted = Lease(
        address=wanted,
        mac=x.request.chaddr,
        client_id=client_id,
        host_name=options.printable(x.request.options.get(Option.HOST_NAME, b""), longest=63),
        expires=x.now + seconds,
    )
    moved = (_released(lease, x.now),) if lease and lease.address != wanted else ()
    return _give(x, MessageType.ACK, wanted, seconds, leases=(*moved, granted))


def _decline(x: _Exchange) -> Answer:
    """Section 4.3.3. Anyone can send a DECLINE: only the client that was given the address is believed."""
    address = x.request.address(Option.REQUESTED_ADDRESS)
    if x.node is not None:
        return Settled(
            note=f"declined {address}: another machine answers there; {x.node.name} keeps {x.node.address}",
            level=Level.WARNING,
        )
    lease = x.leases.lease_of(x.request.client_id)
    if lease is None or not _holds(x, lease, address):
        return Ignore(reason=f"it declines {address}, which isn't its own")
    return Settled(
        note=f"declined {address}: another machine answers there",
        level=Level.WARNING,
        leases=x.leases.after_decline(lease, x.now),
    )


def _release(x: _Exchange) -> Answer:
    """Section 4.3.4."""
    if x.node is not None:
        return Settled(note=f"released {x.request.ciaddr}; it stays {x.node.name}'s")
    lease = x.leases.lease_of(x.request.client_id)
    if lease is None or not _holds(x, lease, x.request.ciaddr):
        return Ignore(reason=f"it releases {x.request.ciaddr}, which isn't its own")
    return Settled(note=f"released {lease.address}", leases=(_released(lease, x.now),))


def _inform(x: _Exchange) -> Answer:
    """Section 4.3.5: parameters only, for a client that has an address."""
    if isinstance(x.decision, Ignore):
        return x.decision
    if not x.network.usable(x.request.ciaddr):
        return Ignore(
            reason=f"an INFORM from {x.request.ciaddr}, which isn't an address of {x.network.subnet}"
        )
    return _give(x, MessageType.ACK, None, 0)


_HANDLERS = {
    MessageType.DISCOVER: _discover,
    MessageType.REQUEST: _request,
    MessageType.DECLINE: _decline,
    MessageType.RELEASE: _release,
    MessageType.INFORM: _inform,
}


# Replies: RFC 2131 table 3


def _give(
    x: _Exchange,
    kind: MessageType,
    address: IPv4Address | None,
    seconds: int,
    *,
    leases: tuple[Lease, ...] = (),
    offer: tuple[bytes, IPv4Address] | None = None,
) -> Reply:
    """An OFFER or ACK of `address`, or the ACK of an INFORM where that is None."""
    request, told = x.request, parameters(x.decision, x.node, x.network)
    head: dict[int, bytes] = {
        Option.MESSAGE_TYPE: bytes([kind]),
        Option.SERVER_ID: options.address(server_id(request, x.network)),
    }
    if address is not None:
        head |= _times(seconds)
    message = Message(
        op=BOOTREPLY,
        xid=request.xid,
        flags=request.flags,
        ciaddr=request.ciaddr if kind is MessageType.ACK else _NOWHERE,
        yiaddr=address or _NOWHERE,
        siaddr=told.server,
        giaddr=request.giaddr,
        chaddr=request.chaddr,
        file=told.file,
        options=MappingProxyType(_options(x, head, told)),
    )
    verb = "offered" if kind is MessageType.OFFER else "given" if address else "told the parameters for"
    return Reply(
        message=message,
        note=f"{verb} {address or request.ciaddr}, {_boots(told)}",
        reason=told.reason,
        stage=Stage.OFFER if kind is MessageType.OFFER else Stage.ACK if address else None,
        level=Level.WARNING if isinstance(x.decision, Wait) and not told.bootfile else Level.INFO,
        leases=leases,
        offer=offer,
    )


def _bootp(x: _Exchange) -> Answer:
    """RFC 951, as RFC 1534 has a DHCP server answer it: no type, no times, no more than 300 octets.

    Such an address can't be taken back, so that none of the pool is given. The boot file stands in the
    header, where a BOOTP client looks for it, and the 64 octets for options are left to the others.
    """
    if isinstance(x.decision, Ignore):
        return x.decision
    if x.node is None:
        return Ignore(reason="it speaks BOOTP and isn't registered: its lease would never end")
    request = x.request
    if int(request.ciaddr) and request.ciaddr != x.node.address:
        return Ignore(reason=f"{x.node.name} has {x.node.address}, and it says by BOOTP {request.ciaddr}")
    told = parameters(x.decision, x.node, x.network)
    sent = _options(x, {}, told)
    if told.file:
        sent = {k: v for k, v in sent.items() if k not in (Option.TFTP_SERVER_NAME, Option.BOOT_FILE_NAME)}
    message = Message(
        op=BOOTREPLY,
        xid=request.xid,
        flags=request.flags,
        ciaddr=request.ciaddr,
        yiaddr=x.node.address,
        siaddr=told.server,
        giaddr=request.giaddr,
        chaddr=request.chaddr,
        file=told.file,
        options=MappingProxyType(sent),
    )
    return Reply(
        message=message,
        note=f"given {x.node.address} by BOOTP, {_boots(told)}",
        reason=told.reason,
        stage=Stage.ACK,
        leases=x.given_up,
    )


def _boots(told: Parameters) -> str:
    if told.bootfile:
        return f"boot file {told.bootfile} ({told.reason})"
    return (
        f"files of its own choice ({told.reason})" if int(told.server) else f"nothing to boot: {told.reason}"
    )


def _refuse(x: _Exchange, reason: str, leases: tuple[Lease, ...] = ()) -> Reply:
    """A NAK. Through a relay it must be broadcast, or the client wouldn't take it (section 4.3.2)."""
    request = x.request
    values: dict[int, bytes] = {
        Option.MESSAGE_TYPE: bytes([MessageType.NAK]),
        Option.SERVER_ID: options.address(server_id(request, x.network)),
        Option.MESSAGE: options.text(reason),
        **echoed(request, x.network),
    }
    message = Message(
        op=BOOTREPLY,
        xid=request.xid,
        flags=request.flags | (BROADCAST_FLAG if x.relayed else 0),
        giaddr=request.giaddr,
        chaddr=request.chaddr,
        options=MappingProxyType(values),
    )
    return Reply(message=message, note=f"refused: {reason}", level=Level.WARNING, leases=leases)


def _times(seconds: int) -> dict[int, bytes]:
    """Options 51, 58 and 59. A lease without end isn't renewed: Linux's ip=dhcp never does (ipconfig.c)."""
    times: dict[int, bytes] = {Option.LEASE_TIME: options.seconds(seconds)}
    if seconds != INFINITE:
        times[Option.RENEWAL_TIME] = options.seconds(seconds // 2)
        times[Option.REBINDING_TIME] = options.seconds(seconds * 7 // 8)
    return times


def _options(x: _Exchange, head: Mapping[int, bytes], told: Parameters) -> dict[int, bytes]:
    """`head`, which the protocol needs, then what there is to tell, then what is returned to the client."""
    order = told.ordered(x.request.options.get(Option.PARAMETER_REQUEST_LIST))
    sent = {code: value for code, value in order.items() if code not in head}
    return {**head, **sent, **echoed(x.request, x.network)}


def _lease_seconds(x: _Exchange) -> int:
    raw = x.request.options.get(Option.LEASE_TIME)
    asked = int.from_bytes(raw, "big") if raw else x.network.lease_time
    return min(max(asked, SHORTEST_LEASE), x.network.lease_time)


def _holds(x: _Exchange, lease: Lease, address: IPv4Address | None) -> bool:
    return (
        lease.state is LeaseState.BOUND
        and lease.expires > x.now
        and lease.address == address
        and lease.mac == x.request.chaddr
    )


def _released(lease: Lease, now: float) -> Lease:
    return replace(lease, state=LeaseState.RELEASED, expires=now)
