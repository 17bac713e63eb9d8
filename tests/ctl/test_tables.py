"""How things are shown: for people, for pipes, and safely."""

import pytest

from netbootd.ctl.tables import cell, duration, fits, plain_lines, printable, size


@pytest.mark.parametrize(
    ("octets", "shown"),
    [(0, "0 B"), (999, "999 B"), (74_300, "74 kB"), (8_240_000, "8.2 MB"), (597_000_000, "597 MB"),
     (1_234_567_890, "1.2 GB"), (2_500_000_000_000, "2.5 TB")],
)  # fmt: skip
def test_sizes_are_said_as_people_say_them(octets: int, shown: str) -> None:
    assert size(octets) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.4, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "120 min"), (7200, "2 h"), (200_000, "2 d")],
)
def test_durations_are_in_the_unit_that_tells_most(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


def test_cells_show_nothing_as_a_dash_and_lists_with_commas() -> None:
    assert [cell(value) for value in (None, "", [], True, False, ["a", "b"], 0)] == [
        "-",
        "-",
        "-",
        "yes",
        "no",
        "a, b",
        "0",
    ]


def test_nothing_shown_moves_the_cursor_or_turns_the_text_around() -> None:
    assert printable("a\x1b[2J\x00\x07\u202eb\nc") == "a�[2J���b�c"


def test_a_table_is_shown_where_no_address_has_to_be_parted() -> None:
    records = [{"name": "n01", "address": "10.77.0.10", "text": "a sentence that may go on in the next line"}]
    columns = {"name": "name", "address": "address", "text": "text"}
    wide = len("name") + len("10.77.0.10") + 16 + 2 * 3
    assert fits(records, columns, wide) and not fits(records, columns, wide - 1)


def test_columns_are_as_wide_as_their_widest_cell_and_lines_end_without_spaces() -> None:
    records: list[dict[str, object]] = [{"a": "long one", "b": None, "hidden": 1}, {"a": "x", "b": 12}]
    assert plain_lines(records, {"a": "first", "b": "second"}) == [
        "FIRST     SECOND",
        "long one  -",
        "x         12",
    ]
