"""Which address comes next, and what a storm can't do to a pool."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface

from netbootd.dhcp.leasebook import DECLINED_RESTS, DECLINED_SHARE, MOST_OFFERS, OFFER_HELD, LeaseBook
from netbootd.lease import Lease, LeaseState
from netbootd.network import AddressRange
from netbootd.node import Mac
from tests.dhcp.packets import NETWORK, NOW


def at(number: int) -> IPv4Address:
    """The pool's address that ends in `number`."""
    return IPv4Address("10.77.0.0") + number


def mac(number: int) -> Mac:
    return Mac.from_octets(b"\x52\x54" + number.to_bytes(4, "big"))


def lease(number: int, client: bytes, *, ends: float = 3600, state: LeaseState = LeaseState.BOUND) -> Lease:
    return Lease(address=at(number), mac=mac(number), client_id=client, expires=NOW + ends, state=state)


def full() -> LeaseBook:
    """A book whose ten addresses are all bound, to clients b"100" to b"109"."""
    return LeaseBook(NETWORK, [lease(n, str(n).encode()) for n in range(100, 110)])


def test_two_clients_are_never_offered_the_same_address() -> None:
    book = LeaseBook(NETWORK)
    offered = []
    for number in range(10):
        client = bytes([number])
        address = book.choose(client, None, NOW)
        assert address is not None
        book.hold(client, address, NOW)
        offered.append(address)
    assert sorted(offered) == list(NETWORK.pool or [])


def test_choosing_is_not_taking() -> None:
    book = LeaseBook(NETWORK)
    assert {book.choose(b"a", None, NOW) for _ in range(20)} == {at(100)}


def test_a_client_gets_the_address_it_has_then_the_one_it_was_offered_then_the_one_it_wants() -> None:
    book = LeaseBook(NETWORK, [lease(105, b"a")])
    assert book.choose(b"a", at(101), NOW) == at(105)
    book.hold(b"b", at(103), NOW)
    assert book.choose(b"b", at(101), NOW) == at(103)
    assert book.choose(b"c", at(101), NOW) == at(101)
    assert book.choose(b"c", at(105), NOW) == at(100), "what it wants is another's"


def test_a_client_keeps_its_address_after_its_lease_expired_or_was_released() -> None:
    book = LeaseBook(NETWORK, [lease(105, b"a", ends=-1), lease(106, b"b", state=LeaseState.RELEASED)])
    assert book.choose(b"a", None, NOW) == at(105)
    assert book.choose(b"b", None, NOW) == at(106)


def test_addresses_that_no_client_can_have_are_never_given() -> None:
    network = replace(
        NETWORK,
        address=IPv4Interface("10.77.0.253/24"),
        pool=AddressRange.parse("10.77.0.251-10.77.0.255"),
        router=at(254),
    )
    book = LeaseBook(network, taken=lambda address: address == at(251))
    assert book.choose(b"a", None, NOW) == at(252)
    book.hold(b"a", at(252), NOW)
    for wanted in (251, 253, 254, 255, 7):
        assert not book.free_for(b"b", at(wanted), NOW)
    book.put(lease(252, b"a"))
    assert book.choose(b"b", None, NOW) is None


def test_an_offer_that_nobody_takes_comes_back() -> None:
    book = LeaseBook(NETWORK)
    for number in range(10):
        book.hold(bytes([number]), at(100 + number), NOW + number)
    later = NOW + OFFER_HELD + 2
    assert book.free_for(b"new", at(102), later)
    assert not book.free_for(b"new", at(103), later)
    assert book.choose(b"new", None, later) == at(100)


def test_who_takes_another_address_than_offered_gives_the_offered_one_back() -> None:
    book = LeaseBook(NETWORK)
    book.hold(b"a", at(100), NOW)
    book.put(lease(101, b"a"))
    assert book.free_for(b"b", at(100), NOW)
    assert book.choose(b"b", None, NOW) == at(100)


def test_a_full_pool_gives_out_the_longest_released_then_the_longest_expired_and_then_nothing() -> None:
    book = full()
    book.put(lease(104, b"104", ends=-10))
    book.put(lease(103, b"103", ends=-20))
    book.put(lease(108, b"108", ends=-1, state=LeaseState.RELEASED))
    book.put(lease(107, b"107", ends=-2, state=LeaseState.RELEASED))
    given = []
    for client in (b"a", b"b", b"c", b"d"):
        address = book.choose(client, None, NOW)
        assert address is not None
        given.append(address)
        book.put(replace(lease(100, client), address=address))
    assert given == [at(107), at(108), at(103), at(104)]
    assert book.choose(b"e", None, NOW) is None


def test_a_lease_that_expires_makes_room_by_itself() -> None:
    book = full()
    assert book.choose(b"new", None, NOW + 3599) is None
    assert book.choose(b"new", None, NOW + 3600) == at(100)


def test_a_storm_of_discovers_never_makes_the_pool_deaf() -> None:
    book = LeaseBook(NETWORK)
    book.hold(b"first", at(100), NOW)
    for number in range(5 * MOST_OFFERS):
        client = number.to_bytes(4, "big")
        address = book.choose(client, None, NOW)
        assert address is not None
        book.hold(client, address, NOW)
    assert not book.free_for(b"first", at(100), NOW), "more offers are remembered than MOST_OFFERS"


def test_whoever_asks_first_gets_an_address_that_was_offered_twice() -> None:
    """Else a storm of DISCOVERs would starve those who do send a REQUEST."""
    book = LeaseBook(NETWORK)
    book.hold(b"honest", at(100), NOW)
    for number in range(10):
        address = book.choose(bytes([number]), None, NOW + 1)
        assert address is not None
        book.hold(bytes([number]), address, NOW + 1)
    assert book.free_for(b"honest", at(100), NOW + 2)
    book.put(lease(100, b"honest"))
    assert not book.free_for(bytes([9]), at(100), NOW + 2)


def test_where_all_is_offered_the_newcomers_share_the_oldest_offers() -> None:
    book = LeaseBook(NETWORK)
    for number in range(10):
        book.hold(bytes([number]), at(100 + number), NOW)
    shared = []
    for client in (b"a", b"b", b"c"):
        address = book.choose(client, None, NOW)
        assert address is not None
        book.hold(client, address, NOW)
        shared.append(address)
    assert shared == [at(100), at(101), at(102)]


def test_a_bound_address_that_is_offered_to_its_own_client_again_is_not_up_for_others() -> None:
    book = full()
    book.hold(b"104", at(104), NOW)
    assert book.choose(b"new", None, NOW) is None


def test_an_offer_is_nobody_elses_to_take() -> None:
    book = LeaseBook(NETWORK)
    book.hold(b"a", at(100), NOW)
    assert not book.free_for(b"b", at(100), NOW + 1)


def test_a_storm_of_declines_leaves_most_of_the_pool() -> None:
    book = LeaseBook(NETWORK)
    now = NOW
    for number in range(100):
        client = bytes([number])
        address = book.choose(client, None, now)
        assert address is not None
        given = Lease(address=address, mac=mac(number), client_id=client, expires=now + 3600)
        book.put(given)
        for changed in book.after_decline(given, now):
            book.put(changed)
        now += 1
    free = [address for address in NETWORK.pool or [] if book.free_for(b"honest", address, now)]
    assert len(free) == 10 - max(1, 10 // DECLINED_SHARE)


def test_a_declined_address_rests_and_comes_back() -> None:
    book = full()
    for changed in book.after_decline(lease(104, b"104"), NOW):
        book.put(changed)
    assert book.lease_of(b"104") is None
    assert book.choose(b"104", at(104), NOW + DECLINED_RESTS - 1) is None
    assert book.choose(b"104", at(104), NOW + DECLINED_RESTS) == at(104)


def test_an_address_that_rested_and_is_leased_again_is_not_taken_from_its_new_client() -> None:
    book = full()
    for changed in book.after_decline(lease(104, b"104"), NOW):
        book.put(changed)
    later = NOW + DECLINED_RESTS
    new = lease(104, b"new", ends=DECLINED_RESTS + 10)
    book.put(new)
    for number in (105, 106, 107):
        for changed in book.after_decline(lease(number, str(number).encode()), later):
            book.put(changed)
    assert book.lease_of(b"new") == new


def test_the_only_address_of_a_pool_is_not_taken_out_of_use() -> None:
    network = replace(NETWORK, pool=AddressRange(at(100), at(100)))
    book = LeaseBook(network, [lease(100, b"a")])
    for changed in book.after_decline(lease(100, b"a"), NOW):
        book.put(changed)
    assert book.choose(b"b", None, NOW) == at(100)


def test_a_book_read_back_knows_what_it_knew() -> None:
    leases = [lease(100, b"a", ends=-5), lease(101, b"a"), lease(102, b"", state=LeaseState.DECLINED)]
    book = LeaseBook(NETWORK, leases)
    assert book.lease_of(b"a") == leases[1]
    assert not book.free_for(b"b", at(102), NOW)
    assert book.bound_to(mac(101)) == (leases[1],)


def test_leases_of_other_networks_are_not_this_books() -> None:
    elsewhere = replace(lease(100, b"a"), address=IPv4Address("10.78.0.100"))
    assert LeaseBook(NETWORK, [elsewhere]).lease_of(b"a") is None


def test_a_lease_outside_the_pool_is_remembered_but_not_free() -> None:
    book = LeaseBook(NETWORK, [lease(50, b"a")])
    assert book.lease_of(b"a") == lease(50, b"a")
    assert not book.free_for(b"a", at(50), NOW)
    assert book.choose(b"a", None, NOW) == at(100)
