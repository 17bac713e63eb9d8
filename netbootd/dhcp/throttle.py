"""How often something may be told: now and then per key, and only so many a second in all. Pure."""

from collections import OrderedDict
from collections.abc import Hashable

MOST_KEYS = 4096


class Throttle:
    """Passes the first of a kind, then none for `interval` seconds, counting what it held back."""

    def __init__(self, interval: float, per_second: int = 20) -> None:
        self._interval = interval
        self._per_second = per_second
        self._told: OrderedDict[Hashable, tuple[float, int]] = OrderedDict()
        self._second = (0, 0)

    def admits(self, key: Hashable, now: float) -> int | None:
        """None if it is too soon to tell of `key` again; else how many went untold since the last time."""
        last, untold = self._told.get(key, (float("-inf"), 0))
        # A clock that was set back must not silence anything for longer than the interval.
        if 0 <= now - last < self._interval or not self._has_room(now):
            self._put(key, last, untold + 1)
            return None
        self._put(key, now, 0)
        return untold

    def _has_room(self, now: float) -> bool:
        second, used = self._second
        if second != int(now):
            second, used = int(now), 0
        self._second = second, used + 1
        return used < self._per_second

    def _put(self, key: Hashable, last: float, untold: int) -> None:
        self._told[key] = last, untold
        self._told.move_to_end(key)
        if len(self._told) > MOST_KEYS:
            self._told.popitem(last=False)
