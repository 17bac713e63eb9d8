"""Bounds on what bad input costs: lines in the log, and answers to it."""

import asyncio
import logging
from collections import Counter

log = logging.getLogger(__name__)


class Budget:
    """So many a second, and as many at once after a quiet second."""

    def __init__(self, per_second: int) -> None:
        self._per_second = per_second
        self._left = float(per_second)
        self._at = 0.0

    def spend(self, now: float) -> bool:
        """Whether there is one left at the time `now`, in seconds; it is gone then."""
        self._left = min(self._per_second, self._left + (now - self._at) * self._per_second)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Complaints:
    """At most one line a second in the log, however much goes wrong: how often, and what was the latest.

    Needs a running event loop from the first complaint on.
    """

    def __init__(self, who: str) -> None:
        self._who = who
        self._counts: Counter[str] = Counter()
        self._latest = ""
        self._timer: asyncio.TimerHandle | None = None

    def add(self, kind: str, text: str) -> None:
        """One more of a kind, named in the plural; `text` is safe to show."""
        self._counts[kind] += 1
        self._latest = text
        if self._timer is None:
            self._write()

    def close(self) -> None:
        """Writes what is left."""
        if self._timer:
            self._timer.cancel()
            self._write()
            self._timer = None

    def _write(self) -> None:
        self._timer = None
        if not self._counts:
            return
        many = ", ".join(f"{kind}: {number}" for kind, number in self._counts.items())
        log.warning("%s, %s; the latest: %s", self._who, many, self._latest)
        self._counts.clear()
        self._timer = asyncio.get_running_loop().call_later(1.0, self._write)
