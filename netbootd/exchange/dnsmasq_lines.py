"""A line of dnsmasq's configuration: its key, its value, and what quotation marks hid in it. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from netbootd.exchange.described import Place

_ESCAPES = {"t": "\t", "n": "\n", "b": "\b", "r": "\r", "e": "\x1b"}
_BLANKS = " \t\r"
"""Around words; a line break that stood in quotation marks as \\n isn't one."""
_HIDDEN = {",": "\ue000", "#": "\ue001", ":": "\ue002", "=": "\ue003", "[": "\ue004"}
_SHOWN = {hidden: plain for plain, hidden in _HIDDEN.items()}


@dataclass(frozen=True, slots=True)
class Line:
    """`dhcp-host=…` in its place."""

    key: str
    value: str
    """Commas, colons and the like that stood in quotation marks are hidden in it; see `plain`."""
    place: Place


def plain(text: str) -> str:
    """A word as it was meant, with what was hidden."""
    return "".join(_SHOWN.get(c, c) for c in text).strip(_BLANKS)


def lines(text: str, file: str) -> Iterator[Line]:
    """Those that say something. A comment begins with a `#` after white space (read_file of option.c)."""
    for number, raw in enumerate(text.split("\n"), 1):
        line = _unquoted(raw).strip(_BLANKS)
        if line:
            key, _, value = line.partition("=")
            yield Line(plain(key).removeprefix("--"), value.strip(_BLANKS), Place(file, number))


def _unquoted(raw: str) -> str:
    """A line without its comment; what stands in quotation marks keeps its meaning, hidden."""
    out: list[str] = []
    quoted = False
    characters = iter(raw)
    for c in characters:
        if c == '"':
            quoted = not quoted
        elif quoted and c == "\\":
            following = next(characters, "")
            out.append(_HIDDEN.get(following, _ESCAPES.get(following, following)))
        elif quoted:
            out.append(_HIDDEN.get(c, c))
        elif c == "#" and (not out or out[-1].isspace()):
            break
        else:
            out.append(c)
    return "".join(out)


def words(value: str) -> list[str]:
    """The parts of a value between its commas; `plain` makes texts of them."""
    return [word.strip(_BLANKS) for word in value.split(",")]
