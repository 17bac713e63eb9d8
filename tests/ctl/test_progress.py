"""How far work has come, as people read it: octets, their rate, and the time that is left."""

import os
import pty
import re
import subprocess
import sys

import pytest

from netbootd.ctl.progress import WINDOW, Rate, amount


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("reading", 1_200_000_000, 2_600_000_000, 85_000_000.0),
            "1.2 GB of 2.6 GB, 46 %, 85.0 MB/s, 16 s left",
        ),
        (("reading", 1_200_000_000, 2_600_000_000, None), "1.2 GB of 2.6 GB, 46 %"),
        (("reading", 5_000_000, 5_000_000, 1e6), "5.0 MB of 5.0 MB, 100 %, 1.0 MB/s"),
        (("reading", 5_000_000, None, 1e6), "5.0 MB, 1.0 MB/s"),
        (
            ("unpacking layers", 500_000_000, 1_000_000_000, 1e6),
            "500 MB of 1.0 GB, 50 %, 1.0 MB/s, 8 min left",
        ),
        (("unpacking", 12, 300, 5.0), "12 of 300, 4 %"),
        (("counting", 0, None, None), ""),
        (("reading", 0, 0, None), "0 B of 0 B"),
    ],
)
def test_how_far_it_is(arguments: tuple[str, int, int | None, float | None], words: str) -> None:
    assert amount(*arguments) == words


def test_the_rate_is_that_of_now() -> None:
    rate = Rate()
    assert rate.at("reading", 0, 100.0) is None
    for second in range(1, 61):
        slow = rate.at("reading", second * 10, 100.0 + second)
    assert slow == pytest.approx(10)
    for second in range(1, 61):
        fast = rate.at("reading", 600 + second * 1000, 160.0 + second)
    assert fast == pytest.approx(1000)
    assert rate.at("reading", 60_600, 220.0 + WINDOW * 3) is None, "it stands still"


def test_a_step_that_begins_anew_has_no_rate_yet() -> None:
    rate = Rate()
    rate.at("reading", 0, 0.0)
    assert rate.at("reading", 100, 10.0) == pytest.approx(10)
    assert rate.at("checking", 100, 11.0) is None
    rate.at("checking", 300, 13.0)
    assert rate.at("checking", 0, 14.0) is None


LONGEST = "mending what keeps it from network booting"
STEPS = f"""
from netbootd.ctl.progress import shown
with shown("making it") as progress:
    progress("downloading", 1_200_000_000, 2_600_000_000)
    progress({LONGEST!r}, 0, None)
    progress("comparing", 552_000_000, 552_000_000)
"""


@pytest.mark.parametrize(("width", "bar"), [(80, False), (150, True)])
def test_no_step_is_cut_at_a_terminal(width: int, bar: bool) -> None:
    screen, inner = pty.openpty()
    settings = {**os.environ, "TERM": "xterm", "COLUMNS": str(width), "LINES": "40"}
    with subprocess.Popen([sys.executable, "-c", STEPS], stdout=inner, stderr=inner, env=settings) as process:
        os.close(inner)
        seen = b""
        try:
            while octets := os.read(screen, 4096):
                seen += octets
        except OSError:  # how a terminal ends when nobody has it open any more: EIO
            pass
        os.close(screen)
    assert process.returncode == 0
    lines = [line.rstrip() for line in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.decode()).splitlines()]
    for step in ("downloading", LONGEST, "comparing"):
        (line, *_) = [line for line in reversed(lines) if step in line]
        assert (
            len(line) <= width
            and "\N{HORIZONTAL ELLIPSIS}" not in line
            and re.search(r" \d:\d\d:\d\d$", line)
        )
        assert ("\N{BOX DRAWINGS HEAVY HORIZONTAL}" in line) == bar
    assert any("1.2 GB of 2.6 GB, 46 %" in line for line in lines)
    assert any("552 MB of 552 MB, 100 %" in line for line in lines)
