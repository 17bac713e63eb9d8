"""GRUB's script language as far as a configuration for booting goes, read into a tree. Pure.

Commands with their words, `if`, `for`, `while` and `until`, functions, menu entries. Words keep their quotes'
meaning: each is a list of pieces, and what stood in single quotes isn't expanded (grub manual, 6.2 and 6.3).
"""

import re
from dataclasses import dataclass, field

MOST_TOKENS = 50_000
Word = tuple[tuple[str, bool], ...]
"""Pieces of a word, each with whether variables in it are expanded."""

_SPACE = " \t\r"
_NAME = re.compile(r"\$\{(\w+|[?@#*])\}|\$(\w+|[?@#*])")


class GrubSyntaxError(ValueError):
    """GRUB would refuse the file."""


@dataclass(slots=True)
class Command:
    """A command, or the call of a function."""

    words: list[Word]


@dataclass(slots=True)
class If:
    """Conditions with what they lead to, in order; the last may be without one."""

    branches: list[tuple[list["Node"], list["Node"]]]


@dataclass(slots=True)
class Loop:
    """`for name in words`, or (without a name) `while` the condition holds, `until` it does."""

    body: list["Node"]
    name: str = ""
    words: list[Word] = field(default_factory=list)
    condition: list["Node"] = field(default_factory=list)
    until: bool = False


@dataclass(slots=True)
class Block:
    """`function`, `menuentry` or `submenu`, with its words and body."""

    kind: str
    words: list[Word]
    body: list["Node"]


Node = Command | If | Loop | Block


def parse(text: str) -> list[Node]:
    """Read a configuration. Raises GrubSyntaxError."""
    reader = _Reader(_tokens(text))
    nodes = reader.nodes(())
    if not reader.over:
        raise GrubSyntaxError(f"unexpected {reader.keyword}")
    return nodes


def expand(word: Word, variables: dict[str, str]) -> str:
    """A word's text; a variable that isn't set is nothing."""
    return "".join(
        _NAME.sub(lambda m: variables.get(m.group(1) or m.group(2), ""), piece) if live else piece
        for piece, live in word
    )


# Details

_END = ((";", False),)


def _tokens(text: str) -> list[Word]:
    """Words; line ends and semicolons as `;`, unquoted braces as words of their own."""
    found: list[Word] = []
    at, size = 0, len(text)
    while at < size:
        char = text[at]
        if char in _SPACE:
            at += 1
        elif text.startswith("\\\n", at):
            at += 2
        elif char in "\n;":
            found.append(_END)
            at += 1
        elif char == "#":
            at = text.find("\n", at) if "\n" in text[at:] else size
        else:
            word, at = _word(text, at)
            found.append(word)
        if len(found) > MOST_TOKENS:
            raise GrubSyntaxError("too long")
    return [*found, _END]


def _word(text: str, at: int) -> tuple[Word, int]:
    pieces: list[tuple[str, bool]] = []
    while at < len(text) and text[at] not in f"{_SPACE}\n;":
        char = text[at]
        if char == "'":
            end = text.find("'", at + 1)
            if end < 0:
                raise GrubSyntaxError("a quote isn't closed")
            pieces.append((text[at + 1 : end], False))
            at = end + 1
        elif char == '"':
            piece, at = _double(text, at + 1)
            pieces += piece
        elif char == "\\" and at + 1 < len(text):
            pieces.append((text[at + 1], False))
            at += 2
        else:
            end = at + 1
            while end < len(text) and text[end] not in f"{_SPACE}\n;'\"\\":
                end += 1
            pieces.append((text[at:end], True))
            at = end
    return tuple(pieces), at


def _double(text: str, at: int) -> tuple[list[tuple[str, bool]], int]:
    pieces: list[tuple[str, bool]] = [("", False)]
    while at < len(text) and text[at] != '"':
        if text[at] == "\\" and text[at + 1 : at + 2] in ('"', "\\", "$"):
            pieces.append((text[at + 1], False))
            at += 2
            continue
        end = at + 1
        while end < len(text) and text[end] not in '"\\':
            end += 1
        pieces.append((text[at:end], True))
        at = end
    if at >= len(text):
        raise GrubSyntaxError("a quote isn't closed")
    return pieces, at + 1


class _Reader:
    def __init__(self, tokens: list[Word]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0

    @property
    def over(self) -> bool:
        return self._at >= len(self._tokens)

    @property
    def keyword(self) -> str:
        """The next token where it could be a keyword: a single piece without quotes."""
        token = self._tokens[self._at] if not self.over else ()
        return token[0][0] if len(token) == 1 and (token[0][1] or token == _END) else ""

    def nodes(self, until: tuple[str, ...]) -> list[Node]:
        """What comes before one of the keywords `until`, which is left there."""
        found: list[Node] = []
        self._depth += 1
        if self._depth > 50:
            raise GrubSyntaxError("nested too deep")
        while not self.over and self.keyword not in until:
            if self.keyword == ";":
                self._at += 1
                continue
            if self.keyword in ("then", "else", "elif", "fi", "do", "done", "}"):
                raise GrubSyntaxError(f"unexpected {self.keyword}")
            found.append(self._node())
        if until and self.over:
            raise GrubSyntaxError(f"{' or '.join(until)} is missing")
        self._depth -= 1
        return found

    def _node(self) -> Node:
        match self.keyword:
            case "if":
                return self._if()
            case "for" | "while" | "until":
                return self._loop()
            case "function" | "menuentry" | "submenu":
                return self._block()
        words = []
        while self.keyword != ";":
            words.append(self._next())
        return Command(words)

    def _if(self) -> If:
        branches: list[tuple[list[Node], list[Node]]] = []
        while self.keyword in ("if", "elif"):
            self._at += 1
            condition = self.nodes(("then",))
            self._at += 1
            branches.append((condition, self.nodes(("elif", "else", "fi"))))
        if self.keyword == "else":
            self._at += 1
            branches.append(([], self.nodes(("fi",))))
        self._at += 1
        return If(branches)

    def _loop(self) -> Loop:
        kind = self.keyword
        self._at += 1
        if kind == "for":
            name = expand(self._next(), {})
            self._at += 1  # in
            words = []
            while self.keyword != ";":
                words.append(self._next())
            self.nodes(("do",))
            loop = Loop([], name=name, words=words)
        else:
            loop = Loop([], condition=self.nodes(("do",)), until=kind == "until")
        self._at += 1
        loop.body = self.nodes(("done",))
        self._at += 1
        return loop

    def _block(self) -> Block:
        kind = self.keyword
        self._at += 1
        words = []
        while self.keyword != "{":
            if self.keyword == ";":
                raise GrubSyntaxError(f"{kind} without {{")
            words.append(self._next())
        self._at += 1
        body = self.nodes(("}",))
        self._at += 1
        return Block(kind, words, body)

    def _next(self) -> Word:
        if self.over:
            raise GrubSyntaxError("it ends too early")
        self._at += 1
        return self._tokens[self._at - 1]
