"""The block in somebody else's file: the rest of it stays, octet for octet."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netbootd.errors import UserError
from netbootd.files.block import outside, replaced

BLOCK = b"# netbootd: begin\n10.0.0.1 a\n# netbootd: end\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", BLOCK),
        (b"x\n", b"x\n" + BLOCK),
        (b"x\n\n", b"x\n\n" + BLOCK),
        (b"no end", BLOCK + b"no end"),
        (b"x\n# netbootd: begin\nold\nold\n# netbootd: end\ny\n", b"x\n" + BLOCK + b"y\n"),
        (b"# netbootd: begin\n# netbootd: end\nno end", BLOCK + b"no end"),
        (b"\xff\xfe\r\n", b"\xff\xfe\r\n" + BLOCK),
        (b" # netbootd: begin \r\nold\r\n# netbootd: end\r\nx\r\n", BLOCK + b"x\r\n"),
        (BLOCK + b"x\n" + BLOCK, BLOCK + b"x\n"),
        (BLOCK, BLOCK),
    ],
)
def test_the_block_is_put_in_its_place(before: bytes, after: bytes) -> None:
    assert replaced(before, ["10.0.0.1 a"], "hosts") == after


@given(
    st.lists(st.sampled_from([b"a", b"# netbootd", b" ", b"\xff", b"\n", b"\r\n", b"\x0b", b"\x1c", b"#"]))
)
def test_put_in_changed_and_taken_out_leaves_the_file_as_it_was(pieces: list[bytes]) -> None:
    text = b"".join(pieces)
    once = replaced(text, ["one"], "hosts")
    assert replaced(once, ["one"], "hosts") == once
    twice = replaced(once, ["one", "two"], "hosts")
    assert outside(twice, "hosts") == text
    assert replaced(twice, [], "hosts") == text


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (b"x\n# netbootd: begin\nleft over\n", 2),
        (b"x\ny\n# netbootd: end\n", 3),
        (b"# netbootd: begin\n# netbootd: begin\n# netbootd: end\n", 1),
        (b"# netbootd: begin\n# netbootd: end\n# netbootd: end\n", 3),
    ],
)
def test_a_torn_block_is_refused_with_its_line_rather_than_guessed_at(text: bytes, line: int) -> None:
    with pytest.raises(UserError, match=f"/etc/hosts, line {line}:"):
        replaced(text, ["x"], "/etc/hosts")
