"""Kea's JSON (Kea Administrator Reference Manual, JSON Configuration), each value with its line. Pure.

It has comments (#, //, /* */), may have a comma after the last of several, and <?include "FILE"?> stands
for that file's text.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Never

from netbootd.errors import FileError, UserError
from netbootd.exchange.described import DEEPEST_INCLUDE, MOST_FILES, Files, Place, Remark

DEEPEST = 64
"""Braces and brackets in each other; a real file has ten."""
_TOKEN = re.compile(
    r"""(?P<space>\s+|\#[^\n]*|//[^\n]*|/\*.*?\*/)|<\?include\s*"(?P<file>[^"\n]*)"\s*\?>"""
    r"""|(?P<text>"(?:[^"\\\x00-\x1f]|\\.)*")|(?P<mark>[{}\[\],:])"""
    r"""|(?P<word>true|false|null|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)(?![\w.])""",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Element:
    """An object's members, an array's elements, a text, a number, true, false or null."""

    value: "Mapping[str, Element] | Sequence[Element] | str | int | float | bool | None"
    place: Place

    def members(self) -> "Mapping[str, Element]":
        """Of an object. Raises FileError for anything else, as the others do."""
        return self.value if isinstance(self.value, Mapping) else self._isnt("an object, in { }")

    def elements(self) -> "Sequence[Element]":
        """Of an array."""
        array = isinstance(self.value, Sequence) and not isinstance(self.value, str)
        return self.value if array else self._isnt("an array, in [ ]")  # type: ignore[return-value]  # narrowed above

    def text(self) -> str:
        """What stands in quotation marks."""
        return self.value if isinstance(self.value, str) else self._isnt("a text, in quotation marks")

    def whole_number(self) -> int:
        """A number without a fraction."""
        number = isinstance(self.value, int) and not isinstance(self.value, bool)
        return self.value if number else self._isnt("a whole number")  # type: ignore[return-value]  # narrowed above

    def _isnt(self, what: str) -> Never:
        raise FileError(f"{self.place}: this has to be {what}")


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    place: Place


@dataclass(slots=True)
class _Reading:
    files: Files
    remarks: list[Remark]
    opened: int = 0


def parse(text: str, file: str, files: Files, remarks: list[Remark]) -> Element:
    """The file's one value.

    An included file that can't be read is a remark. Raises FileError for text that Kea wouldn't read either.
    """
    tokens = _Tokens(_tokens(text, file, _Reading(files, remarks), 0))
    whole = _value(tokens, 0)
    if tokens.next.kind:
        raise FileError(f"{tokens.next.place}: {tokens.next.text[:40]!r} stands after the end")
    return whole


class _Tokens:
    """The tokens, one looked at ahead; one of no kind at the end."""

    def __init__(self, tokens: Iterator[_Token]) -> None:
        self._rest = tokens
        self.next = _Token("", "the end of the file", Place("", 0))
        self.take()

    def take(self) -> _Token:
        taken = self.next
        self.next = next(self._rest, _Token("", "the end of the file", taken.place))
        return taken

    def expect(self, marks: str) -> _Token:
        if self.next.kind != "mark" or self.next.text not in marks:
            wanted = " or ".join(marks)
            raise FileError(f"{self.next.place}: {wanted} has to stand before {self.next.text[:40]}")
        return self.take()


def _value(tokens: _Tokens, depth: int) -> Element:
    token = tokens.take()
    if depth > DEEPEST:
        raise FileError(f"{token.place}: more than {DEEPEST} braces deep")
    match token:
        case _Token(kind="mark", text="{"):
            return Element(_members(tokens, depth, token.place), token.place)
        case _Token(kind="mark", text="["):
            return Element(_elements(tokens, depth, token.place), token.place)
        case _Token(kind="text" | "word"):
            return Element(_plain(token), token.place)
    raise FileError(f"{token.place}: a value has to stand before {token.text[:40]}")


def _members(tokens: _Tokens, depth: int, opened: Place) -> dict[str, Element]:
    found: dict[str, Element] = {}
    while not _closes(tokens, "}", opened):
        if tokens.next.kind != "text":
            raise FileError(f"{tokens.next.place}: {tokens.next.text[:40]} isn't a name in quotation marks")
        name = tokens.take()
        key = str(_plain(name))
        tokens.expect(":")
        if key in found:
            raise FileError(f"{name.place}: {key[:40]!r} stands in line {found[key].place.line} already")
        found[key] = _value(tokens, depth + 1)
        _separates(tokens, "}", opened)
    tokens.take()
    return found


def _elements(tokens: _Tokens, depth: int, opened: Place) -> list[Element]:
    found: list[Element] = []
    while not _closes(tokens, "]", opened):
        found.append(_value(tokens, depth + 1))
        _separates(tokens, "]", opened)
    tokens.take()
    return found


def _closes(tokens: _Tokens, end: str, opened: Place) -> bool:
    """Whether `end` comes next. Raises FileError, for what was opened, where nothing does."""
    if not tokens.next.kind:
        raise FileError(f"{opened}: nothing closes this {'{' if end == '}' else '['}")
    return tokens.next.kind == "mark" and tokens.next.text == end


def _separates(tokens: _Tokens, end: str, opened: Place) -> None:
    if not _closes(tokens, end, opened):
        tokens.expect("," + end)


def _plain(token: _Token) -> str | int | float | bool | None:
    try:
        found: str | int | float | bool | None = json.loads(token.text)
    except (ValueError, RecursionError):  # an escape that there isn't, a number of thousands of digits
        raise FileError(f"{token.place}: {token.text[:40]} can't be read") from None
    return found


def _tokens(text: str, file: str, reading: _Reading, depth: int) -> Iterator[_Token]:
    line, at = 1, 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        place = Place(file, line)
        if match is None:
            what = {'"': "this quotation mark isn't closed", "/": "this comment isn't closed"}.get(text[at])
            raise FileError(f"{place}: {what or f'{text[at : at + 20]!r} is no JSON'}")
        if (path := match["file"]) is not None:
            yield from _included(path, place, reading, depth)
        elif (kind := match.lastgroup) and kind != "space":
            yield _Token(kind, match[0], place)
        line += match[0].count("\n")
        at = match.end()


def _included(path: str, place: Place, reading: _Reading, depth: int) -> Iterator[_Token]:
    reading.opened += 1
    if depth == DEEPEST_INCLUDE or reading.opened > MOST_FILES:
        raise FileError(f"{place}: files include each other without end")
    try:
        text = reading.files.text(path)
    except UserError as error:
        reading.remarks.append(Remark(place, str(error)))
        return
    yield from _tokens(text, path, reading, depth + 1)
