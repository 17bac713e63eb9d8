"""One read transfer as a state machine, without IO and without a clock: time is passed in, in seconds.

Blocks are numbered absolutely, 1 to `last`; block 0 stands for the OACK, which is acknowledged as block 0
on the wire too. The wire's 16-bit numbers roll over to 0; an ACK is mapped to the only block of the current
window that it can mean. The rules:

    what happens                                what the session does
    ------------------------------------------  ------------------------------------------------------------
    ACK of the last block in flight             sends the next window
    ACK of an earlier block in flight           sends the window that starts after it (RFC 7440 section 4)
    the fourth of these without one of the      sends only the blocks of that window that weren't sent yet:
      first kind between them                     client and server are out of step, see MOST_RESTARTS
    ACK of the file's last block                ends: done
    ACK of anything else (duplicate, stray)     nothing: only the timer sends a block again (RFC 1123 4.2.3.1)
    timer                                       sends the window again, waits twice as long (RFC 1123 4.2.3.2)
    timer, after the last try                   ends: failed
    ERROR 0 or 8, at most block 1 acknowledged  ends: a probe, as EDK2 and the Raspberry Pi do
    ERROR 0 "closed" at any time                ends: a probe, as GRUB does
    any other ERROR                             ends: failed

Until the first ACK came, the peer's address may be forged: what it draws is one OACK or one block of 512
octets, at most four times. A window is only ever sent to a peer that acknowledged our OACK.
"""

from dataclasses import dataclass
from enum import StrEnum

from netbootd.tftp.options import Terms
from netbootd.tftp.wire import ErrorCode, PeerFault

FIRST_WAIT = 1.0
"""Seconds until the first retransmission, before a round trip was measured (RFC 6298 section 2.1)."""
LEAST_WAIT, MOST_WAIT = 0.25, 8.0
LEAST_TRIP = 0.01
"""A round trip below this leaves the wait at its least."""
TRIES_UNVERIFIED = 3
"""Retransmissions to a peer that never acknowledged anything: 4 packets in all."""
MOST_WAIT_UNVERIFIED = 5
"""Seconds: a time-out isn't agreed before the OACK is acknowledged, and a forged 255 would hold a place."""
TRIES = 9
"""Retransmissions of a window to a peer that did: from 0.25 s on that is 47 s; U-Boot's patience is 50."""
MOST_RESTARTS = 3
"""Windows begun anew in a row. A block that was late and not lost arrives twice; a client that answers the
second with an ACK draws the rest of the window again, and so on for the rest of the file: RFC 7440's own
Sorcerer's Apprentice. Restarts are for losses, and so many in a row aren't losses."""
AGREED_PATIENCE = 60
"""Seconds to wait for a peer that set the time-out itself (RFC 2349), but never fewer than three tries."""


class How(StrEnum):
    """How a request ended; the last is the server's, before there is a session."""

    DONE = "ok"
    PROBE = "probe"
    FAILED = "failed"
    REFUSED = "refused"


Blocks = tuple[int, int]
"""Send the blocks from the first to the last, both included, absolute numbers. Block 0 is the OACK."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The transfer is over; `detail` says why, empty when there is nothing to say."""

    how: How
    detail: str = ""


Step = Blocks | Ended | None
"""What to do next; None is nothing."""


class Session:
    """A transfer of `size` octets on `terms`. `deadline` is when `expire` is to be called, unless it moved.

    `acked` is the highest block acknowledged (-1: not even the OACK), `sent` the last block of the window in
    flight, `resent` how many blocks went out more than once.
    """

    __slots__ = (
        "_deviation",
        "_fresh",
        "_highest",
        "_restarts",
        "_sent_at",
        "_smoothed",
        "_tries",
        "_wait",
        "_window",
        "acked",
        "deadline",
        "last",
        "resent",
        "sent",
        "size",
        "terms",
        "verified",
    )

    def __init__(self, size: int, terms: Terms) -> None:
        self.size = size
        self.terms = terms
        # A file of an exact multiple of blksize ends with an empty block, an empty file is one.
        self.last = size // terms.blksize + 1
        self.acked = self.sent = -1 if terms.oack else 0
        self.resent = 0
        self.deadline = 0.0
        self.verified = False
        self._window = terms.windowsize
        self._highest = self.sent
        self._sent_at = 0.0
        self._fresh = False
        self._smoothed = -1.0
        self._deviation = 0.0
        self._wait = min(terms.timeout, MOST_WAIT_UNVERIFIED) if terms.timeout else FIRST_WAIT
        self._tries = 0
        self._restarts = 0

    @property
    def delivered(self) -> int:
        """Octets of the file that the peer acknowledged."""
        return min(max(self.acked, 0) * self.terms.blksize, self.size)

    def begin(self, now: float) -> Blocks:
        """The answer to the request: the OACK, or block 1 if there is nothing to grant."""
        return self._send(1, now)

    def acknowledge(self, wire_block: int, now: float) -> Step:
        """An ACK with the 16-bit block number `wire_block` came."""
        acked = self.acked
        ahead = (wire_block - acked) & 0xFFFF
        if not 0 < ahead <= self.sent - acked:
            return None
        in_step = ahead == self.sent - acked
        acked += ahead
        self.acked = acked
        self._tries = 0
        if acked == self.last:
            return Ended(How.DONE)
        if not self.verified:
            self.verified = True
            if self.terms.timeout is not None:
                self._wait = self.terms.timeout
        # A round trip so short that it can't change the least wait isn't worth the arithmetic.
        if self._fresh and (self._wait > LEAST_WAIT or now - self._sent_at > LEAST_TRIP):
            self._adapt(now)
        left = self.last - acked
        count = self._window if self._window < left else left
        if in_step:
            self._restarts = 0
        elif self._restarts == MOST_RESTARTS:
            return self._extend(acked + count, now)
        else:
            self._restarts += 1
        return self._send(count, now)

    def expire(self, now: float) -> Step:
        """The time is `now`; if the deadline has passed, send again or give up."""
        if now < self.deadline:
            return None
        self._tries += 1
        if self._tries > self._most_tries():
            return Ended(How.FAILED, self._silence())
        if self.terms.timeout is None:
            self._wait = min(self._wait * 2, MOST_WAIT)
        return self._send(self.sent - self.acked, now)

    def fault(self, fault: PeerFault) -> Ended:
        """The client sent an ERROR."""
        # GRUB says "closed" when it read as much of a file as it wanted (net/tftp.c, tftp_close).
        looked = self.acked <= 1 or fault.message == "closed"
        if fault.code in (ErrorCode.UNDEFINED, ErrorCode.OPTIONS_REFUSED) and looked:
            return Ended(How.PROBE, fault.message)
        where = f"the client ended it at block {self.acked} of {self.last}"
        return Ended(How.FAILED, f"{where}: {fault.code} {fault.message}")

    def gone(self) -> Ended:
        """The client's host says that nothing listens at its port any more (ICMP port unreachable)."""
        if self.acked <= 0:
            return Ended(How.PROBE, "the client closed its port")
        return Ended(How.FAILED, f"the client closed its port at block {self.acked} of {self.last}")

    def _send(self, count: int, now: float) -> Blocks:
        acked = self.acked
        self.sent = last = acked + count
        again = self._highest - acked
        if again > 0:
            self.resent += min(again, count)
            self._fresh = False
        else:
            self._fresh = True
        if last > self._highest:  # noqa: PLR1730 - max() costs a call for each block
            self._highest = last
        self._sent_at = now
        self.deadline = now + self._wait
        return acked + 1, last

    def _extend(self, last: int, now: float) -> Step:
        """Lets the window in flight reach to `last`; what of it was sent already is on its way."""
        first = self.sent + 1
        if first > last:
            return None
        self.sent = last
        self._highest = max(self._highest, last)
        self._fresh = False
        self.deadline = now + self._wait
        return first, last

    def _adapt(self, now: float) -> None:
        """RFC 6298 section 2; not called for a flight that held a block sent before (Karn)."""
        if self.terms.timeout is not None:
            return
        trip = now - self._sent_at
        if self._smoothed < 0:
            self._smoothed, self._deviation = trip, trip / 2
        else:
            self._deviation += (abs(self._smoothed - trip) - self._deviation) / 4
            self._smoothed += (trip - self._smoothed) / 8
        self._wait = min(max(self._smoothed + 4 * self._deviation, LEAST_WAIT), MOST_WAIT)

    def _most_tries(self) -> int:
        if not self.verified:
            return TRIES_UNVERIFIED
        if self.terms.timeout is None:
            return TRIES
        return max(3, min(TRIES, AGREED_PATIENCE // self.terms.timeout))

    def _silence(self) -> str:
        if not self.verified:
            return "no answer from the client"
        if self.sent == self.last:
            return f"the client went silent before it acknowledged the last block, {self.last}"
        return f"the client went silent at block {self.acked} of {self.last}"
