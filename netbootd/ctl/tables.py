"""How anything is shown: a table on a terminal, aligned columns in a pipe, JSON for programs.

A listing is a list of records (flat dictionaries that JSON can hold) and the columns that people see of
them. rich is loaded only for a terminal. Whatever came from the wire is shown as text, never obeyed.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

Record = Mapping[str, Any]

LONG = 60
"""Characters of a list's items from which on each gets a line of its own."""

FOLDED = 16
"""Characters of a table's cell up to which it stands on one line, unless there is no room for its row."""
GAP = 3
"""Between two columns."""

STYLES = {
    "ready": "green", "ok": "green", "running": "green", "up": "green",
    "warning": "yellow", "silent": "dim", "booting": "cyan", "error": "bold red", "stuck": "bold red",
}  # fmt: skip
"""Words that have a colour of their own wherever they fill a cell."""


def print_json(value: object) -> None:
    """Write `value` as JSON for programs."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=str))  # noqa: T201 (this is how it is shown)


def listing(
    records: Sequence[Record], columns: Mapping[str, str], *, as_json: bool = False, empty: str = ""
) -> None:
    """Show records: all of them as JSON, or `columns` (key -> title); `empty` is said if there are none."""
    if as_json:
        print_json(list(records))
    elif not records:
        say(empty)
    elif sys.stdout.isatty() and fits(records, columns, console().width):
        console().print(table(records, columns))
    elif sys.stdout.isatty():
        for number, record in enumerate(records):
            if number:
                say("")
            card(record, columns)
    else:
        for line in plain_lines(records, columns):
            say(line)


def card(record: Record, titles: Mapping[str, str], *, as_json: bool = False) -> None:
    """Show one record, a line for each key of `titles`; all of it as JSON."""
    if as_json:
        print_json(record)
        return
    width = max(len(title) for title in titles.values())
    for key, title in titles.items():
        value = record.get(key)
        # What is told in sentences gets a line for each.
        long = isinstance(value, list) and sum(len(str(item)) for item in value) > LONG
        for i, item in enumerate(value if long and isinstance(value, list) else [value]):
            _card_line("" if i else title, width, item)


def say(text: str) -> None:
    """A line on standard output."""
    print(printable(text))  # noqa: T201 (this is how it is shown)


def warn(text: str) -> None:
    """A line on standard error for what is worth knowing and no failure."""
    print(printable(f"warning: {text}"), file=sys.stderr)  # noqa: T201 (this is how it is shown)


def aside(text: str) -> None:
    """A line on standard error, about what standard output has."""
    print(printable(text), file=sys.stderr)  # noqa: T201 (this is how it is shown)


def console() -> "Console":
    """The terminal: no markup and no guessing of what is a number."""
    from rich.console import Console  # noqa: PLC0415 (a terminal's alone)

    return Console(markup=False, highlight=False, soft_wrap=True, emoji=False)


def plain_lines(records: Sequence[Record], columns: Mapping[str, str]) -> list[str]:
    """Titles and records in aligned columns, for pipes and files."""
    rows = [[title.upper() for title in columns.values()]]
    rows += [[cell(record.get(key)) for key in columns] for record in records]
    widths = [max(len(row[i]) for row in rows) for i in range(len(columns))]
    return ["  ".join(text.ljust(w) for text, w in zip(row, widths, strict=True)).rstrip() for row in rows]


def fits(records: Sequence[Record], columns: Mapping[str, str], width: int) -> bool:
    """Whether a table can be read in a terminal that is so wide: with longer cells on several lines."""
    cells = [max(len(title), *(len(cell(r.get(key))) for r in records)) for key, title in columns.items()]
    return sum(min(each, FOLDED) + GAP for each in cells) - GAP <= width


def cell(value: object) -> str:
    """A value as a person reads it."""
    match value:
        case None | "" | [] | ():
            return "-"
        case bool():
            return "yes" if value else "no"
        case list() | tuple():
            return ", ".join(map(cell, value))
        case _:
            return printable(str(value))


def printable(text: str) -> str:
    """Without what would move the cursor or colour the screen of who reads it."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def local_time(stamp: str) -> str:
    """An ISO 8601 time as a person here reads it: 2026-01-02 04:04."""
    return datetime.fromisoformat(stamp).astimezone().strftime("%Y-%m-%d %H:%M")


def size(octets: int) -> str:
    """1.4 GB, as a person says it."""
    amount = float(octets)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit in ("B", "kB") or amount >= 100 else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def duration(seconds: float) -> str:
    """12 s, 3 min, 2 h, 5 d: to the nearest unit, for `since` and `ago`."""
    for limit, unit, length in ((120, "s", 1), (7200, "min", 60), (172_800, "h", 3600)):
        if seconds < limit:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds / 86_400:.0f} d"


def table(records: Sequence[Record], columns: Mapping[str, str]) -> "Table":
    """The records as a terminal shows them."""
    from rich import box  # noqa: PLC0415 (a terminal's alone)
    from rich.table import Table  # noqa: PLC0415

    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="dim")
    for i, title in enumerate(columns.values()):
        shown.add_column(title, style="bold" if i == 0 else "", overflow="fold")
    for record in records:
        shown.add_row(*(_styled(record.get(key)) for key in columns))
    return shown


def _card_line(title: str, width: int, value: object) -> None:
    if sys.stdout.isatty():
        from rich.text import Text  # noqa: PLC0415 (a terminal's alone)

        console().print(Text(f"{title:{width}}  ", style="dim") + _styled(value))
    else:
        say(f"{title:{width}}  {cell(value)}")


def _styled(value: object) -> "Text":
    from rich.text import Text  # noqa: PLC0415 (a terminal's alone)

    text = cell(value)
    return Text(text, style="dim" if text == "-" else STYLES.get(text.split()[0], ""))
