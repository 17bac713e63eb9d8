"""ISC dhcpd's configuration as statements and blocks (dhcpd.conf(5)), included files in their place. Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from netbootd.errors import FileError, UserError
from netbootd.exchange.described import DEEPEST_INCLUDE, MOST_FILES, Files, Place, Remark

DEEPEST = 32
"""Braces in braces; a real file has five."""
_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\f\v]+|\#[^\n]*)|(?P<line>\n)|"(?P<text>(?:[^"\\]|\\.)*)"|(?P<mark>[{};,])"""
    r"""|(?P<word>[^\s{};,"\#][^\s{};,"]*)""",
    re.DOTALL,
)
_ESCAPED = re.compile(r"\\([0-7]{3}|x[0-9A-Fa-f]{2}|.)", re.DOTALL)
_LETTERS = {"t": "\t", "n": "\n", "b": "\b", "r": "\r"}


@dataclass(frozen=True, slots=True)
class Token:
    """A word, a `,` or a text that stood in quotation marks."""

    text: str
    place: Place
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Statement:
    """The words up to a `;`, or those before the braces of a block and what stands in it."""

    words: tuple[Token, ...]
    place: Place
    block: tuple["Statement", ...] | None = None

    @property
    def keyword(self) -> str:
        """What it begins with, in lower case: dhcpd doesn't care."""
        return self.words[0].text.lower() if self.words else ""

    def values(self, first: int) -> list[str]:
        """What stands between its commas, from a word on; white space as one space."""
        parts: list[list[str]] = [[]]
        for word in self.words[first:]:
            if word.text == "," and not word.quoted:
                parts.append([])
            else:
                parts[-1].append(word.text)
        return [" ".join(part) for part in parts]

    def __str__(self) -> str:
        return " ".join(word.text for word in self.words[:4]).replace(" ,", ",").rstrip(",")[:60]


@dataclass(slots=True)
class _Open:
    """A block whose `}` hasn't come yet."""

    words: tuple[Token, ...]
    place: Place
    inside: list[Statement] = field(default_factory=list)


@dataclass(slots=True)
class _Reading:
    files: Files
    remarks: list[Remark]
    opened: int = 0


def parse(text: str, file: str, files: Files, remarks: list[Remark]) -> tuple[Statement, ...]:
    """The statements of a file, those of included files in their place.

    A file that can't be read is a remark. Raises FileError for text that dhcpd wouldn't read either.
    """
    return tuple(_parse(text, file, _Reading(files, remarks), 0))


def _parse(text: str, file: str, reading: _Reading, depth: int) -> list[Statement]:
    whole = _Open((), Place(file, 1))
    open_ = [whole]
    words: list[Token] = []
    for token in _tokens(text, file):
        if token.quoted or token.text not in ("{", "}", ";"):
            words.append(token)
            continue
        if token.text == "{":
            open_.append(_Open(tuple(words), words[0].place if words else token.place))
        elif token.text == ";" and words:
            open_[-1].inside += _statement(tuple(words), reading, depth)
        elif token.text == "}":
            _close(open_, words, token.place)
        if len(open_) > DEEPEST:
            raise FileError(f"{token.place}: more than {DEEPEST} braces deep")
        words = []
    if words:
        raise FileError(f"{words[0].place}: {words[0].text[:40]!r} isn't ended by a semicolon")
    if len(open_) > 1:
        raise FileError(f"{open_[-1].place}: this block isn't closed by a }}")
    return whole.inside


def _close(open_: list[_Open], words: list[Token], place: Place) -> None:
    if words:
        raise FileError(f"{place}: a semicolon is missing before this }}")
    if len(open_) == 1:
        raise FileError(f"{place}: this }} closes nothing")
    done = open_.pop()
    open_[-1].inside.append(Statement(done.words, done.place, tuple(done.inside)))


def _statement(words: tuple[Token, ...], reading: _Reading, depth: int) -> list[Statement]:
    """The statement, or those of the file that it includes."""
    made = Statement(words, words[0].place)
    if made.keyword != "include" or len(words) != 2:
        return [made]
    reading.opened += 1
    if depth == DEEPEST_INCLUDE or reading.opened > MOST_FILES:
        raise FileError(f"{made.place}: files include each other without end")
    path = words[1].text
    try:
        text = reading.files.text(path)
    except UserError as error:
        reading.remarks.append(Remark(made.place, str(error)))
        return []
    return _parse(text, path, reading, depth + 1)


def _tokens(text: str, file: str) -> Iterator[Token]:
    line, at = 1, 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            what = "this quotation mark isn't closed" if text[at] == '"' else f"{text[at]!r} can't be read"
            raise FileError(f"{file}:{line}: {what}")
        if (quoted := match["text"]) is not None:
            yield Token(_ESCAPED.sub(_unescaped, quoted), Place(file, line), quoted=True)
        elif word := match["word"] or match["mark"]:
            yield Token(word, Place(file, line))
        line += match[0].count("\n")
        at = match.end()


def _unescaped(match: re.Match[str]) -> str:
    code = match[1]
    if len(code) == 3:
        return chr(int(code, 8) & 0xFF) if code[0] != "x" else chr(int(code[1:], 16))
    return _LETTERS.get(code, code)
