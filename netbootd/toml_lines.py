"""Which line of a TOML text a key stands on: tomllib doesn't say, and an author looks for the line."""

import re

Path = tuple[str | int, ...]

_KEY = r"""(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')"""
_DOTTED = rf"{_KEY}(?:\s*\.\s*{_KEY})*"
_TABLE = re.compile(rf"\s*\[\s*({_DOTTED})\s*\]\s*(?:#.*)?")
_ARRAY = re.compile(rf"\s*\[\[\s*({_DOTTED})\s*\]\]\s*(?:#.*)?")
_ASSIGNMENT = re.compile(rf"\s*({_DOTTED})\s*=(.*)", re.DOTALL)
_MARK = re.compile(
    r'"""|' + r"'''|" + r'"(?:\\.|[^"\\\n])*"|' + r"'[^'\n]*'|" + r"#.*|[\[\]{}]", re.MULTILINE
)


def key_lines(text: str) -> dict[Path, int]:
    """Key path -> line number, counted from 1. Tables and each element of an array of tables have one too.

    `text` is valid TOML. Keys inside an inline table get the line on which it begins.
    """
    lines: dict[Path, int] = {}
    counts: dict[Path, int] = {}
    table: Path = ()
    open_brackets = 0
    closing: str | None = None
    for number, line in enumerate(text.split("\n"), 1):
        rest = line
        if closing is None and open_brackets == 0:
            if match := _ARRAY.fullmatch(line):
                name = _within(_path(match[1])[:-1], counts) + _path(match[1])[-1:]
                index = counts[name] = counts.get(name, -1) + 1
                table = (*name, index)
                lines.setdefault(name, number)
                lines[table] = number
                continue
            if match := _TABLE.fullmatch(line):
                table = _within(_path(match[1]), counts)
                lines[table] = number
                continue
            if match := _ASSIGNMENT.match(line):
                lines[(*table, *_path(match[1]))] = number
                rest = match[2]
        open_brackets, closing = _scan(rest, open_brackets, closing)
    return lines


def line_of(path: Path, lines: dict[Path, int]) -> int | None:
    """The line of `path`, or of the nearest thing around it that has one."""
    for end in range(len(path), 0, -1):
        if path[:end] in lines:
            return lines[path[:end]]
    return None


def _path(dotted: str) -> Path:
    return tuple(part.strip("\"'") for part in re.findall(_KEY, dotted))


def _within(path: Path, counts: dict[Path, int]) -> Path:
    """`path` with the numbers of the elements that it means: the last ones of their arrays of tables."""
    found: Path = ()
    for part in path:
        found = (*found, part)
        if found in counts:
            found = (*found, counts[found])
    return found


def _scan(line: str, open_brackets: int, closing: str | None) -> tuple[int, str | None]:
    """Follow brackets and multi-line strings over the end of a line."""
    while line:
        if closing is not None:
            _, found, line = line.partition(closing)
            if not found:
                return open_brackets, closing
            closing = None
            continue
        match = _MARK.search(line)
        if match is None:
            break
        mark, line = match[0], line[match.end() :]
        if mark in ('"""', "'''"):
            closing = mark
        elif mark in "[{":
            open_brackets += 1
        elif mark in "]}":
            open_brackets -= 1
        elif mark.startswith("#"):
            break
    return open_brackets, closing
