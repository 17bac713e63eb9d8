"""How long work is shown: a bar on a terminal; elsewhere a line for each step, and one now and then."""

import sys
import time
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


@contextmanager
def shown(title: str) -> Iterator[Progress]:
    """A Progress that shows itself on standard output until the block ends."""
    if sys.stdout.isatty():
        with _bar(title) as progress:
            yield progress
    else:
        yield _Lines()


class _Lines:
    """Says each step when it begins, and how far it is when it takes long."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._step = ""
        self._spoke = 0.0

    def __call__(self, step: str, done: int, total: int | None) -> None:
        now = time.monotonic()
        if step == self._step and now - self._spoke < LINE_EVERY:
            return
        far = f": {_amount(step, done, total)}" if step == self._step else ""
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

    columns = (
        SpinnerColumn(finished_text="[green]✓"),
        TextColumn("{task.description:<40}"),
        BarColumn(bar_width=32),
        TextColumn("{task.fields[far]:24}"),
        TimeElapsedColumn(),
    )
    with RichProgress(*columns, console=console()) as bars:
        console().print(title)
        tasks: dict[str, TaskID] = {}
        current = ""

        def progress(step: str, done: int, total: int | None) -> None:
            nonlocal current
            if step != current:
                _finish(bars, tasks.get(current))
                current = step
            if step not in tasks:
                tasks[step] = bars.add_task(step, total=None, far="")
            bars.update(tasks[step], completed=done, total=total, far=_amount(step, done, total))

        yield progress
        _finish(bars, tasks.get(current))


def _finish(bars: "Bars", task: "TaskID | None") -> None:
    """A step is over when the next one begins, however far its count had come."""
    if task is not None:
        bars.update(task, total=1, completed=1)
        bars.stop_task(task)


def _amount(step: str, done: int, total: int | None) -> str:
    """`12 of 300`, in octets where the step counts those; how far in per cent."""
    if total is None:
        return size(done) if step in OCTET_STEPS else str(done) if done else ""
    share = f"{100 * done // total} %" if total else ""
    if step in OCTET_STEPS:
        return f"{size(done)} of {size(total)}, {share}"
    return f"{done} of {total}, {share}"


def took(began: float) -> str:
    """How long something took since `began`, time.monotonic()'s."""
    return duration(time.monotonic() - began)
