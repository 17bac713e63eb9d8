"""Reading a disk in any order from a stream that only goes forward.

Whoever needs octets says where they lie and what to do with them; they get them as the stream passes there,
and may then want more. What is wanted too late waits for the next pass: like a lift, which takes those in
its way and comes back for the others. Pure.
"""

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from netbootd.errors import UserError

_LOOK_BACK = 16 << 20
"""Octets that are kept after they passed: index blocks often follow closely on what they tell of."""
_MOST_PASSES = 40


class DiskError(UserError):
    """What the disk image is or holds can't be accepted; says why, in words."""


@dataclass(slots=True)
class _Want:
    offset: int
    end: int
    sink: Callable[[int, memoryview], None]
    begin: int


class Elevator:
    """Wants, served as the stream passes by. `feed` it; at the end of a pass ask it where to `rewind` to."""

    def __init__(self) -> None:
        self._waiting: list[tuple[int, int, _Want]] = []
        self._late: list[_Want] = []
        self._active: list[_Want] = []
        self._past: deque[tuple[int, bytes]] = deque()
        self._position = 0
        self._count = 0
        self._passes = 1

    def copy(self, offset: int, size: int, sink: Callable[[int, memoryview], None]) -> None:
        """Have `sink(begin, octets)` called for each piece of the range; `begin` counts from its start."""
        if offset < 0 or size <= 0:
            if size:
                raise DiskError("its sizes don't add up: something lies before its beginning")
            return
        self._place(_Want(offset, offset + size, sink, offset))

    def expect_end(self, end: int) -> None:
        """Want nothing but that the stream has `end` octets at least: one cut short is never half right."""
        self.copy(end - 1, 1, lambda _begin, _octets: None)

    def read(self, offset: int, size: int, deliver: Callable[[bytes], None]) -> None:
        """Have `deliver(octets)` called with the whole range. It is for what fits into memory."""
        gathered = bytearray()

        def gather(_: int, piece: memoryview) -> None:
            gathered.extend(piece)
            if len(gathered) == size:
                deliver(bytes(gathered))

        self.copy(offset, size, gather)

    def feed(self, chunk: bytes) -> None:
        """Take the next octets of the stream, and hand them to those who wait for them."""
        start, end = self._position, self._position + len(chunk)
        self._past.append((start, chunk))
        self._position = end
        while self._past[0][0] + len(self._past[0][1]) < end - _LOOK_BACK:
            self._past.popleft()
        active, self._active = self._active, []
        for want in active:
            self._serve(want, start, chunk)
        while self._waiting and self._waiting[0][0] < end:
            self._serve(heapq.heappop(self._waiting)[2], start, chunk)

    def rewind(self, *, seekable: bool) -> int | None:
        """The stream is over: where the next pass has to begin; None where none is needed.

        That is 0 unless the stream is `seekable`.

        Raises DiskError where the stream ended before something that is wanted.
        """
        if self._active or self._waiting:
            missing = max([want.end for want in self._active] + [want.end for _, _, want in self._waiting])
            raise DiskError(f"it is cut short: it ends after {self._position} octets, of at least {missing}")
        if not self._late:
            return None
        self._passes += 1
        if self._passes > _MOST_PASSES:
            raise DiskError("its tables point back and forth without end")
        late, self._late = self._late, []
        self._past.clear()
        self._position = min(want.offset for want in late) if seekable else 0
        for want in late:
            self._place(want)
        return self._position

    def _place(self, want: _Want) -> None:
        kept_from = self._past[0][0] if self._past else self._position
        if want.offset >= self._position:
            self._count += 1
            heapq.heappush(self._waiting, (want.offset, self._count, want))
        elif want.offset < kept_from:
            self._late.append(want)
        else:
            self._serve_from_past(want)

    def _serve_from_past(self, want: _Want) -> None:
        for start, chunk in list(self._past):
            if start < want.end and start + len(chunk) > want.offset:
                self._deliver(want, start, chunk)
        if want.offset < want.end:
            self._active.append(want)

    def _serve(self, want: _Want, start: int, chunk: bytes) -> None:
        self._deliver(want, start, chunk)
        if want.offset < want.end:
            self._active.append(want)

    def _deliver(self, want: _Want, start: int, chunk: bytes) -> None:
        piece = memoryview(chunk)[want.offset - start : min(want.end - start, len(chunk))]
        begin = want.offset - want.begin
        want.offset += len(piece)
        want.sink(begin, piece)
