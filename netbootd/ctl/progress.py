"""How long work is shown: a bar on a terminal; elsewhere a line for each step, and one now and then."""

import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from netbootd.ctl.tables import console, duration, say, size
from netbootd.images.progress import OCTET_STEPS, Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

LINE_EVERY = 10.0
"""Seconds between two lines of one step where there is no terminal."""
WINDOW = 15.0
"""Seconds over which a rate is taken: long enough to be steady, short enough to be of now."""

WIDE = 140
"""Characters of a terminal from which on there is room for a bar beside the texts."""


@contextmanager
def shown(title: str) -> Iterator[Progress]:
    """A Progress that shows itself on standard output until the block ends."""
    if sys.stdout.isatty():
        with _bar(title) as progress:
            yield progress
    else:
        yield _Lines()


class Rate:
    """How fast a step goes, in what it counts, a second; None until that can be told."""

    def __init__(self) -> None:
        self._step = ""
        self._seen: deque[tuple[float, int]] = deque()

    def at(self, step: str, done: int, now: float) -> float | None:
        """It has come to `done` at the time `now`, in seconds of any clock that only goes forward."""
        if step != self._step or (self._seen and done < self._seen[-1][1]):
            self._step = step
            self._seen.clear()
        if not self._seen or now - self._seen[-1][0] >= WINDOW / 30:
            self._seen.append((now, done))
        while now - self._seen[0][0] > WINDOW and len(self._seen) > 2:
            self._seen.popleft()
        began, had = self._seen[0]
        return (done - had) / (now - began) if now - began >= 1 and done > had else None


class _Lines:
    """Says each step when it begins, and how far it is when it takes long."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._step = ""
        self._spoke = 0.0
        self._rate = Rate()

    def __call__(self, step: str, done: int, total: int | None) -> None:
        now = time.monotonic()
        rate = self._rate.at(step, done, now)
        if step == self._step and now - self._spoke < LINE_EVERY:
            return
        far = f": {amount(step, done, total, rate)}" if step == self._step else ""
        self._step, self._spoke = step, now
        say(f"{now - self._began:6.0f} s  {step}{far}")
        sys.stdout.flush()


@contextmanager
def _bar(title: str) -> Iterator[Progress]:
    """rich's bar: the step, how far, since when."""
    from rich.progress import (  # noqa: PLC0415 (a terminal's alone)
        BarColumn,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
    )
    from rich.progress import Progress as RichProgress  # noqa: PLC0415

    shown = (
        (
            TextColumn("{task.description:<42}"),
            BarColumn(bar_width=32),
            TextColumn("{task.fields[far]:52}"),
        )
        if console().width >= WIDE
        # One column: of two, each would be as wide as its longest text, and what is beside that empty.
        else (TextColumn("{task.description}  {task.fields[far]}"),)
    )
    columns = (SpinnerColumn(finished_text="[green]✓"), *shown, TimeElapsedColumn())
    with RichProgress(*columns, console=console()) as bars:
        console().print(title)
        tasks: dict[str, TaskID] = {}
        current = ""
        rates = Rate()

        def progress(step: str, done: int, total: int | None) -> None:
            nonlocal current
            if step != current:
                _finish(bars, tasks.get(current))
                current = step
            if step not in tasks:
                tasks[step] = bars.add_task(step, total=None, far="")
            far = amount(step, done, total, rates.at(step, done, time.monotonic()))
            bars.update(tasks[step], completed=done, total=total, far=far)

        yield progress
        _finish(bars, tasks.get(current))


def _finish(bars: "Bars", task: "TaskID | None") -> None:
    """A step is over when the next one begins, however far its count had come."""
    if task is not None:
        bars.update(task, total=1, completed=1)
        bars.stop_task(task)


def amount(step: str, done: int, total: int | None, rate: float | None = None) -> str:
    """`12 of 300, 4 %`; of octets `1.2 GB of 2.6 GB, 46 %, 85.0 MB/s, 16 s left`, by `rate`."""
    octets = step in OCTET_STEPS
    if total is None:
        parts = [size(done) if octets else str(done)] if octets or done else []
    else:
        parts = [f"{size(done)} of {size(total)}" if octets else f"{done} of {total}"]
        parts += [f"{100 * done // total} %"] if total else []
    if octets and rate:
        parts.append(f"{size(round(rate))}/s")
        if total is not None and done < total:
            parts.append(f"{duration((total - done) / rate)} left")
    return ", ".join(parts)


def took(began: float) -> str:
    """How long something took since `began`, time.monotonic()'s."""
    return duration(time.monotonic() - began)
