"""A block of lines of ours in somebody else's file: put in, replaced, taken out, the rest untouched. Pure."""

from collections.abc import Sequence

from netbootd.errors import UserError

BEGIN = b"# netbootd: begin"
END = b"# netbootd: end"


def replaced(text: bytes, lines: Sequence[str], name: str) -> bytes:
    """`text` with the block holding `lines`, without a block where there are none.

    The block stays where it is; a new one goes to the end, or to the beginning where the file's last line
    has no end, so that not one octet of the rest changes and taking the block out gives the old file back.
    Raises UserError, with the line, for markers that don't pair up; `name` is the file's, for that.
    """
    before, block_seen, after = _split(text, name)
    block = b"".join(b"%s\n" % line.encode() for line in (BEGIN.decode(), *lines, END.decode()))
    if not lines:
        return before + after
    if not block_seen and text and not text.endswith(b"\n"):
        return block + text
    return before + block + after


def outside(text: bytes, name: str) -> bytes:
    """What of `text` isn't ours. Raises UserError as `replaced`."""
    before, _, after = _split(text, name)
    return before + after


def _split(text: bytes, name: str) -> tuple[bytes, bool, bytes]:
    """What stands before the first block, whether there is one, what follows (without further blocks)."""
    parts: list[list[bytes]] = [[], []]
    seen = False
    opened = 0
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        match line.strip():
            case mark if mark == BEGIN and not opened:
                seen, opened = True, number
            case mark if mark == BEGIN:
                raise _unpaired(name, opened, BEGIN)
            case mark if mark == END and not opened:
                raise _unpaired(name, number, END)
            case mark if mark == END:
                opened = 0
            case _ if not opened:
                parts[seen].append(line)
    if opened:
        raise _unpaired(name, opened, BEGIN)
    return b"".join(parts[0]), seen, b"".join(parts[1])


def _unpaired(name: str, line: int, mark: bytes) -> UserError:
    other = END if mark == BEGIN else BEGIN
    return UserError(
        f"{name}, line {line}: {mark.decode()!r} without its {other.decode()!r}",
        "remove what is left of the block, then apply again",
    )
