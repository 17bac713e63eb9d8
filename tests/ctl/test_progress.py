"""How far work has come, as people read it: octets, their rate, and the time that is left."""

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
