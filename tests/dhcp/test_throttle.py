"""What is told once isn't told again soon, and a flood of different things isn't told whole."""

from netbootd.dhcp.throttle import MOST_KEYS, Throttle


def test_the_same_matter_is_told_once_in_an_interval_with_the_number_of_those_untold() -> None:
    throttle = Throttle(60)
    assert throttle.admits("a", 100) == 0
    assert [throttle.admits("a", 101), throttle.admits("a", 159)] == [None, None]
    assert throttle.admits("a", 160) == 2
    assert throttle.admits("a", 220) == 0


def test_different_matters_are_told_apart() -> None:
    throttle = Throttle(60)
    assert (throttle.admits("a", 100), throttle.admits("b", 100)) == (0, 0)


def test_a_flood_of_different_matters_is_held_to_so_many_a_second() -> None:
    throttle = Throttle(60, per_second=20)
    told = [throttle.admits(number, 100.5) for number in range(10 * MOST_KEYS)]
    assert told[:20] == [0] * 20
    assert set(told[20:]) == {None}
    assert throttle.admits("later", 101) == 0


def test_a_clock_set_back_silences_nothing() -> None:
    throttle = Throttle(60)
    throttle.admits("a", 1000)
    assert throttle.admits("a", 10) == 0
