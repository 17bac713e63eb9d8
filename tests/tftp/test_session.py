"""One transfer, on links that lose, repeat, delay and reorder, in a time that the tests make up."""

import heapq
from collections.abc import Iterator
from functools import cache
from itertools import count, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netbootd.tftp import session as rules
from netbootd.tftp.options import Terms
from netbootd.tftp.session import Blocks, Ended, How, Session, Step
from netbootd.tftp.wire import PeerFault
from tests.tftp.reader import Reader

PLAIN = Terms()
GRANTED = Terms(oack=(("tsize", "5"),))


def window(size: int, blksize: int = 512) -> Terms:
    return Terms(blksize=blksize, windowsize=size, oack=(("windowsize", str(size)),))


@cache
def octets(size: int) -> bytes:
    """Content in which no two blocks are alike."""
    return b"".join(n.to_bytes(4, "big") for n in range(size // 4 + 1))[:size]


# --------------------------------------------------------------------------- the rules, one by one


@pytest.mark.parametrize(
    ("terms", "size", "acks", "steps"),
    [
        (PLAIN, 0, [1], [(1, 1), Ended(How.DONE)]),
        (PLAIN, 511, [1], [(1, 1), Ended(How.DONE)]),
        (PLAIN, 512, [1, 2], [(1, 1), (2, 2), Ended(How.DONE)]),
        (PLAIN, 513, [1, 2], [(1, 1), (2, 2), Ended(How.DONE)]),
        (GRANTED, 5, [0, 1], [(0, 0), (1, 1), Ended(How.DONE)]),
        (
            window(4),
            6 * 512,
            [0, 4, 7],
            [(0, 0), (1, 4), (5, 7), Ended(How.DONE)],
        ),
        (
            window(4),
            9 * 512,
            [0, 2, 6, 10],
            [(0, 0), (1, 4), (3, 6), (7, 10), Ended(How.DONE)],
        ),
        # what moves nothing: a duplicate, an old block, one never sent, ACK 0 where there was no OACK
        (PLAIN, 9999, [0], [(1, 1), None]),
        (PLAIN, 9999, [1, 1, 1, 2], [(1, 1), (2, 2), None, None, (3, 3)]),
        (PLAIN, 9999, [2, 65535], [(1, 1), None, None]),
        (GRANTED, 9999, [1, 0], [(0, 0), None, (1, 1)]),
        (
            window(4),
            9999,
            [0, 0, 4, 4, 3, 0, 9, 8],
            [(0, 0), (1, 4), None, (5, 8), None, None, None, None, (9, 12)],
        ),
    ],
)
def test_each_ack_draws_what_the_rules_say(
    terms: Terms, size: int, acks: list[int], steps: list[Step]
) -> None:
    session = Session(size, terms)
    assert [session.begin(0.0), *(session.acknowledge(block, 0.1) for block in acks)] == steps


@pytest.mark.parametrize(
    ("acked", "code", "how"),
    [
        ([], 0, How.PROBE),
        ([], 8, How.PROBE),
        ([0], 0, How.PROBE),
        ([0, 1], 0, How.PROBE),
        ([0, 1, 2], 0, How.FAILED),
        ([], 3, How.FAILED),
        ([], 5, How.FAILED),
        ([0, 1, 2], 8, How.FAILED),
    ],
)
def test_a_client_that_only_looks_is_a_probe_and_not_a_failure(acked: list[int], code: int, how: How) -> None:
    session = Session(5000, GRANTED)
    session.begin(0.0)
    for block in acked:
        session.acknowledge(block, 0.0)
    ended = session.fault(PeerFault(code, "User aborted the transfer"))
    assert ended.how is how
    assert "User aborted" in ended.detail


def test_grub_that_read_enough_is_no_failure() -> None:
    session = Session(5000, PLAIN)
    session.begin(0.0)
    for block in (1, 2, 3):
        session.acknowledge(block, 0.0)
    assert session.fault(PeerFault(0, "closed")) == Ended(How.PROBE, "closed")


def timers(session: Session, until: float = 1e6) -> Iterator[tuple[float, Step]]:
    """What the timer alone makes of a session: (time, step), up to its end."""
    while session.deadline < until:
        now = session.deadline
        step = session.expire(now)
        yield now, step
        if isinstance(step, Ended):
            return


def test_a_client_that_never_answered_draws_four_packets_and_is_given_up() -> None:
    for terms in (PLAIN, GRANTED, window(16)):
        session = Session(10**6, terms)
        first = session.begin(0.0)
        steps = list(timers(session))
        assert [step for _, step in steps[:-1]] == [first] * 3
        assert first[0] == first[1], "never a window before the first ACK"
        assert [now for now, _ in steps] == [1, 3, 7, 15]
        assert steps[-1][1] == Ended(How.FAILED, "no answer from the client")


def test_a_silent_client_is_waited_for_longer_and_longer_and_as_long_as_uboot_waits() -> None:
    session = Session(10**6, window(4))
    session.begin(0.0)
    session.acknowledge(0, 0.001)
    steps = list(timers(session))
    times = [now for now, _ in steps]
    waits = [round(late - early, 6) for early, late in pairwise(times)]
    assert all(step == (1, 4) for _, step in steps[:-1])
    assert waits == sorted(waits)
    assert max(waits) == rules.MOST_WAIT
    assert 40 < times[-1] < 60
    assert isinstance(steps[-1][1], Ended)
    assert session.resent == 4 * (len(steps) - 1)


@pytest.mark.parametrize(("asked", "tries"), [(1, 9), (5, 9), (10, 6), (60, 3), (255, 3)])
def test_an_agreed_timeout_is_kept_to_the_second(asked: int, tries: int) -> None:
    session = Session(10**6, Terms(timeout=asked, oack=(("timeout", str(asked)),)))
    session.begin(0.0)
    session.acknowledge(0, 0.0)
    assert [now for now, _ in timers(session)] == [asked * n for n in range(1, tries + 2)]


@pytest.mark.parametrize(("asked", "waited"), [(1, 1), (5, 5), (6, 5), (255, 5)])
def test_a_timeout_that_nobody_confirmed_holds_no_place_for_long(asked: int, waited: int) -> None:
    session = Session(10**6, Terms(timeout=asked, oack=(("timeout", str(asked)),)))
    session.begin(0.0)
    assert [now for now, _ in timers(session)] == [waited, 2 * waited, 3 * waited, 4 * waited]


def test_the_wait_follows_the_round_trips() -> None:
    def wait_after(trip: float, blocks: int = 40) -> float:
        session, now = Session(10**6, PLAIN), 0.0
        session.begin(now)
        for block in range(1, blocks):
            now += trip
            session.acknowledge(block, now)
        return session.deadline - now

    assert wait_after(0.0001) == rules.LEAST_WAIT
    assert 0.7 <= wait_after(0.7) < 1.0
    assert wait_after(9.0) == rules.MOST_WAIT


def test_a_block_sent_twice_isnt_measured() -> None:
    session = Session(10**6, PLAIN)
    session.begin(0.0)
    session.acknowledge(1, 0.5)
    wait = session.deadline - 0.5
    session.expire(session.deadline)
    late = session.deadline - 0.001
    session.acknowledge(2, late)  # of which of the two?
    assert session.deadline - late == pytest.approx(2 * wait), "the longer wait stays (Karn)"


def test_a_timer_that_comes_early_does_nothing() -> None:
    session = Session(10**6, PLAIN)
    session.begin(0.0)
    assert session.expire(0.99) is None
    assert session.resent == 0


@pytest.mark.parametrize("windowsize", [1, 16, 64])
def test_block_numbers_roll_over_to_zero_as_often_as_the_file_needs(windowsize: int) -> None:
    blocks = 2 * 65536 + 10
    session = Session((blocks - 1) * 8, window(windowsize, blksize=8))
    step: Step = session.begin(0.0)
    step = session.acknowledge(0, 0.0)
    sent = 0
    while isinstance(step, tuple):
        assert step[0] == sent + 1
        sent = step[1]
        step = session.acknowledge(step[1] & 0xFFFF, 0.0)
    assert step == Ended(How.DONE)
    assert sent == blocks
    assert session.resent == 0
    assert session.delivered == session.size


def test_what_was_delivered_is_counted_in_octets() -> None:
    session = Session(1000, GRANTED)
    session.begin(0.0)
    assert session.delivered == 0
    session.acknowledge(0, 0.0)
    session.acknowledge(1, 0.0)
    assert session.delivered == 512
    session.acknowledge(2, 0.0)
    assert session.delivered == 1000


# --------------------------------------------------------------------------- whole transfers on a bad link


class Link:
    """Carries packets between a Session and a Reader in made-up time, each after the fate it is dealt.

    A fate is a delay in seconds for each copy that arrives: () is lost, (0.01, 0.5) arrives twice. When the
    fates are used up all goes well; and after three losses without an advance the next ones get through,
    for a link on which nothing ever passes fails by right.
    """

    PATIENCE = 3.0
    """Seconds after which the reader repeats its ACK."""

    def __init__(
        self, session: Session, reader: Reader, content: bytes, fates: list[tuple[float, ...]]
    ) -> None:
        self.session, self.reader, self.content = session, reader, content
        self._fates = iter(fates)
        self._losses = 0
        self._order = count()
        self._way: list[tuple[float, int, str, int, bytes]] = []
        self.data_packets = 0

    def run(self, step: Step = None) -> Ended:
        """The transfer from its beginning, or from `step` on; the session's end."""
        now = reader_heard = 0.0
        step = step or self.session.begin(now)
        while not isinstance(step, Ended):
            if step:
                self._send_blocks(step, now)
            alarm = min(self.session.deadline, reader_heard + self.PATIENCE)
            if self._way and self._way[0][0] <= alarm:
                now, _, to, block, payload = heapq.heappop(self._way)
                if to == "reader":
                    reader_heard = now
                    ack = 0 if payload == b"OACK" else self.reader.receive(block, payload)
                    if ack is not None:
                        self._carry(now, "session", ack, b"")
                    step = None
                else:
                    step = self._acknowledge(block, now)
            elif alarm == self.session.deadline:
                now = alarm
                step = self.session.expire(now)
            else:
                now = reader_heard = alarm
                self._carry(now, "session", self.reader.acked, b"")
                step = None
        return step

    def _acknowledge(self, block: int, now: float) -> Step:
        duplicate = block == self.session.acked & 0xFFFF
        before, resent = self.session.acked, self.session.resent
        step = self.session.acknowledge(block, now)
        assert not (duplicate and step), "a duplicate ACK never sends anything (RFC 1123 4.2.3.1)"
        if self.session.acked > before:
            self._losses = 0
        else:
            assert self.session.resent == resent
        return step

    def _send_blocks(self, blocks: Blocks, now: float) -> None:
        first, last = blocks
        assert last - first < self.session.terms.windowsize
        size = self.session.terms.blksize
        for block in range(first, last + 1):
            payload = b"OACK" if block == 0 else self.content[(block - 1) * size : block * size]
            self.data_packets += block > 0
            self._carry(now, "reader", block & 0xFFFF, payload)

    def _carry(self, now: float, to: str, block: int, payload: bytes) -> None:
        fate = next(self._fates, (0.001,))
        if not fate and self._losses >= 3:
            fate = (0.001,)
        self._losses += not fate
        for delay in fate:
            heapq.heappush(self._way, (now + delay, next(self._order), to, block, payload))


FATES = st.lists(
    st.one_of(
        st.just(()),
        st.just((0.001,)),
        st.lists(st.floats(0.0005, 2.5), min_size=1, max_size=3).map(tuple),
    ),
    max_size=120,
)


@settings(max_examples=300, deadline=None)
@given(
    size=st.integers(0, 700),
    blksize=st.sampled_from([8, 9, 64, 512]),
    windowsize=st.sampled_from([1, 2, 4, 16]),
    with_oack=st.booleans(),
    eager=st.booleans(),
    fates=FATES,
)
def test_the_same_octets_arrive_whatever_the_link_does(
    size: int, blksize: int, windowsize: int, with_oack: bool, eager: bool, fates: list[tuple[float, ...]]
) -> None:
    content = octets(size)
    terms = window(windowsize, blksize) if with_oack or windowsize > 1 or blksize != 512 else PLAIN
    reader = Reader(terms.blksize, terms.windowsize, eager)
    session = Session(size, terms)
    ended = Link(session, reader, content, fates).run()
    assert ended == Ended(How.DONE)
    assert b"".join(reader.content) == content


@settings(max_examples=25, deadline=None)
@given(windowsize=st.sampled_from([1, 4, 64]), start=st.integers(65_300, 65_540), fates=FATES)
def test_the_same_octets_arrive_across_the_rollover(
    windowsize: int, start: int, fates: list[tuple[float, ...]]
) -> None:
    content = octets(66_000 * 8 + 3)
    terms = window(windowsize, blksize=8)
    session = Session(len(content), terms)
    reader = Reader(8, windowsize)
    step: Step = session.begin(0.0)
    step = session.acknowledge(0, 0.0)
    while isinstance(step, tuple) and session.acked < start:
        step = session.acknowledge(step[1] & 0xFFFF, 0.0)
    reader.expected = session.acked + 1
    reader.content.append(content[: session.acked * 8])
    assert Link(session, reader, content, fates).run(step) == Ended(How.DONE)
    assert b"".join(reader.content) == content


def test_a_perfect_link_carries_each_block_once() -> None:
    content = octets(100_000)
    for windowsize in (1, 7, 64):
        terms = window(windowsize)
        link = Link(Session(len(content), terms), Reader(512, windowsize), content, [])
        link.run()
        assert link.data_packets == link.session.last
        assert link.session.resent == 0


def test_a_delayed_block_doesnt_make_the_rest_of_the_file_go_out_twice() -> None:
    """The Sorcerer's Apprentice: one premature retransmission must not double everything after it."""
    content = octets(200 * 512)
    late: list[tuple[float, ...]] = [(1.5,), (0.001,)]
    link = Link(Session(len(content), PLAIN), Reader(512, 1), content, late)
    assert link.run() == Ended(How.DONE)
    assert link.session.resent == 1
    assert link.data_packets == link.session.last + 1


@settings(max_examples=200, deadline=None)
@given(
    windowsize=st.sampled_from([2, 4, 16, 64]),
    eager=st.booleans(),
    start=st.integers(0, 40),
    fates=st.lists(st.sampled_from([(), (0.004,), (0.2,), (0.001, 0.003), (0.001, 0.1)]), max_size=6),
)
def test_trouble_costs_windows_and_not_the_rest_of_the_file(
    windowsize: int, eager: bool, start: int, fates: list[tuple[float, ...]]
) -> None:
    """The same for windows: what is sent again depends on how much went wrong, not on the file's length."""
    content = octets(1500 * 512)
    link = Link(
        Session(len(content), window(windowsize)),
        Reader(512, windowsize, eager),
        content,
        [(0.001,)] * start + fates,
    )
    assert link.run() == Ended(How.DONE)
    assert b"".join(link.reader.content) == content
    assert link.session.resent <= 4 * windowsize * len(fates)
