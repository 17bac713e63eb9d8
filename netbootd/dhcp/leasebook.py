"""The addresses of one network's pool: who has which, which is offered to whom, which comes next. Pure.

The book is the memory beside the registry's lease table, of which the daemon is the only writer: it is
filled from there at the start, and what is put into it was committed there, or is about to be before any
client hears of it. Times are Unix seconds, given by the caller.

Every address of the pool is in one of four places: bound by a lease whose time runs, held for a client that
was offered it, in a queue of those to be given again, or from `_next` on, never used. Next to be given is
one that was offered and not taken; then one never used; then the one released longest ago; then the one
expired longest ago; then, when nothing else is left, the one whose offer is the oldest: a storm of
DISCOVERs can't make the server deaf.
"""

from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from ipaddress import IPv4Address

from netbootd.lease import Lease, LeaseState
from netbootd.network import Network
from netbootd.node import Mac

OFFER_HELD = 60.0
"""Seconds that an offered address waits for its REQUEST; UEFI takes 4, a PXE ROM up to 12."""
MOST_OFFERS = 4096
"""Offers remembered at a time; the oldest is forgotten first."""
DECLINED_RESTS = 600.0
"""Seconds that a declined address isn't given to anybody."""
DECLINED_SHARE = 4
"""At most one in so many of the pool's addresses rests; a storm of DECLINEs must leave the others."""


@dataclass(frozen=True, slots=True)
class _Offer:
    """What a client was offered. `_held` has who may have an address now, oldest first: it may be another."""

    address: IPv4Address
    until: float


class LeaseBook:
    """The pool of `network`. `taken` tells of addresses that must not be given: those of registered nodes."""

    def __init__(
        self,
        network: Network,
        leases: Iterable[Lease] = (),
        taken: Callable[[IPv4Address], bool] = lambda _: False,
    ) -> None:
        self.network = network
        self._taken = taken
        self._leases: dict[IPv4Address, Lease] = {}
        self._of_client: dict[bytes, IPv4Address] = {}
        self._of_mac: dict[Mac, set[IPv4Address]] = {}
        self._offers: OrderedDict[bytes, _Offer] = OrderedDict()
        self._held: OrderedDict[IPv4Address, bytes] = OrderedDict()
        self._spare: OrderedDict[IPv4Address, None] = OrderedDict()
        self._released: list[tuple[float, IPv4Address]] = []
        self._ending: list[tuple[float, IPv4Address]] = []
        self._resting: set[IPv4Address] = set()
        self._next = int(network.pool.first) if network.pool else 0
        for lease in sorted(leases, key=lambda lease: lease.expires):
            if lease.address in network.subnet:
                self.put(lease)

    # Asking

    def lease_of(self, client_id: bytes) -> Lease | None:
        """The client's lease: bound, expired or released, also one that the pool no longer contains."""
        address = self._of_client.get(client_id)
        return self._leases[address] if address is not None else None

    def bound_to(self, mac: Mac) -> tuple[Lease, ...]:
        """The bound leases of a network card; its firmware and its system may call themselves differently."""
        leases = (self._leases[address] for address in sorted(self._of_mac.get(mac, ())))
        return tuple(lease for lease in leases if lease.state is LeaseState.BOUND)

    def free_for(self, client_id: bytes, address: IPv4Address, now: float) -> bool:
        """Whether the client may have this address: in the pool, nobody else's, not held for another.

        An address that was offered to this client and, for want of others, to a second one since, goes to
        whoever asks first.
        """
        if not self._gives(address):
            return False
        lease = self._leases.get(address)
        if lease and _active(lease, now) and lease.client_id != client_id:
            return False
        holder = self._held.get(address)
        if holder is None or holder == client_id or self._offers[holder].until <= now:
            return True
        own = self._offers.get(client_id)
        return own is not None and own.address == address

    def choose(self, client_id: bytes, wanted: IPv4Address | None, now: float) -> IPv4Address | None:
        """An address to offer (RFC 2131 section 4.3.1): its own or last one, the one it wants, a free one.

        None where every address is bound.
        """
        self._forget_offers(now)
        lease, offer = self.lease_of(client_id), self._offers.get(client_id)
        preferred = (lease.address if lease else None, offer.address if offer else None, wanted)
        for address in preferred:
            if address is not None and self.free_for(client_id, address, now):
                return address
        return self._spare_one() or self._unused() or self._used(now) or self._oldest_offered(now)

    def after_decline(self, lease: Lease, now: float) -> tuple[Lease, ...]:
        """What is to be put when the client of `lease` found another machine at its address.

        The address rests; where too many do already, the one that has rested longest is free again.
        """
        size = len(self.network.pool) if self.network.pool else 0
        most = min(max(1, size // DECLINED_SHARE), size - 1)
        if most < 1:
            return (replace(lease, client_id=b"", expires=now, state=LeaseState.RELEASED),)
        resting = [
            self._leases[a] for a in self._resting if self._leases[a].expires > now and a != lease.address
        ]
        resting.sort(key=lambda other: other.expires)
        freed = resting[: max(0, len(resting) + 1 - most)]
        declined = replace(lease, client_id=b"", expires=now + DECLINED_RESTS, state=LeaseState.DECLINED)
        return (*(replace(other, expires=now, state=LeaseState.RELEASED) for other in freed), declined)

    # Changing

    def hold(self, client_id: bytes, address: IPv4Address, now: float) -> None:
        """Keep `address` for the client until OFFER_HELD has passed, or its REQUEST came."""
        self._forget_offers(now)
        self._drop_offer(client_id)
        self._unqueue(address)
        self._held[address] = client_id
        self._held.move_to_end(address)
        self._offers[client_id] = _Offer(address, now + OFFER_HELD)
        while len(self._offers) > MOST_OFFERS:
            self._drop_offer(next(iter(self._offers)))

    def put(self, lease: Lease) -> None:
        """Take in a lease, in place of the one at its address."""
        before = self._leases.get(lease.address)
        self._unqueue(lease.address)
        if before:
            if self._of_client.get(before.client_id) == lease.address:
                del self._of_client[before.client_id]
            self._of_mac[before.mac].discard(lease.address)
            if not self._of_mac[before.mac]:
                del self._of_mac[before.mac]
        self._leases[lease.address] = lease
        self._of_mac.setdefault(lease.mac, set()).add(lease.address)
        self._resting.discard(lease.address)
        if lease.state is LeaseState.DECLINED:
            self._resting.add(lease.address)
        self._of_client[lease.client_id] = lease.address
        holder = self._held.pop(lease.address, None)
        if holder is not None:
            del self._offers[holder]
        self._drop_offer(lease.client_id)
        self._queue(lease.address)

    # Details

    def _gives(self, address: IPv4Address) -> bool:
        network = self.network
        return (
            network.pool is not None
            and address in network.pool
            and network.usable(address)
            and address != network.router
            and not self._taken(address)
        )

    def _spare_one(self) -> IPv4Address | None:
        return next((address for address in self._spare if self._gives(address)), None)

    def _unused(self) -> IPv4Address | None:
        last = int(self.network.pool.last) if self.network.pool else -1
        while self._next <= last:
            address = IPv4Address(self._next)
            self._next += 1
            if address not in self._leases and address not in self._held:
                # Among the spare ones at once: choosing isn't taking, and a node at it may be removed.
                self._spare[address] = None
                if self._gives(address):
                    return address
        return None

    def _used(self, now: float) -> IPv4Address | None:
        for since, address in self._released:
            if since <= now and self._gives(address):
                return address
        for expires, address in self._ending:
            if expires > now:
                return None
            if self._gives(address):
                return address
        return None

    def _oldest_offered(self, now: float) -> IPv4Address | None:
        for address in self._held:
            lease = self._leases.get(address)
            if not (lease and _active(lease, now)) and self._gives(address):
                return address
        return None

    def _forget_offers(self, now: float) -> None:
        while self._offers:
            client_id, offer = next(iter(self._offers.items()))
            if offer.until > now:
                return
            self._drop_offer(client_id)

    def _drop_offer(self, client_id: bytes) -> None:
        offer = self._offers.pop(client_id, None)
        if offer and self._held.get(offer.address) == client_id:
            del self._held[offer.address]
            self._queue(offer.address)

    def _queue(self, address: IPv4Address) -> None:
        """Put an address that nobody holds where it will be found when it is its turn."""
        lease = self._leases.get(address)
        if self.network.pool is None or address not in self.network.pool:
            return
        if lease is None:
            self._spare[address] = None
        else:
            queue = self._released if lease.state is LeaseState.RELEASED else self._ending
            insort(queue, (lease.expires, address))

    def _unqueue(self, address: IPv4Address) -> None:
        self._spare.pop(address, None)
        lease = self._leases.get(address)
        if lease is not None:
            queue = self._released if lease.state is LeaseState.RELEASED else self._ending
            entry = (lease.expires, address)
            at = bisect_left(queue, entry)
            if at < len(queue) and queue[at] == entry:
                del queue[at]


def _active(lease: Lease, now: float) -> bool:
    """Whether the lease keeps others away from its address."""
    return lease.state is not LeaseState.RELEASED and lease.expires > now
