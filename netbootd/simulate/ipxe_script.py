"""An iPXE script as far as it decides what boots: settings, kernel, initrd, chain, goto, failure. Pure."""

import re
import shlex
from dataclasses import dataclass

MOST_LINES = 2000


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a line, and what joins it to the one before: `||`, `&&`, or nothing."""

    words: tuple[str, ...]
    joined: str = ""


def parse(text: str) -> tuple[list[list[Command]], dict[str, int]]:
    """The lines, each a chain of commands, and where its labels are."""
    lines: list[list[Command]] = []
    labels: dict[str, int] = {}
    for raw in text.replace("\\\n", " ").splitlines()[:MOST_LINES]:
        line = raw.strip()
        if line.startswith(":"):
            labels[line[1:].strip()] = len(lines)
            continue
        if not line or line.startswith("#"):
            continue
        lines.append(_chain(line))
    return lines, labels


def expand(text: str, settings: dict[str, str]) -> str:
    """`${name}` and `${name:format}`; what isn't set is nothing. Twice, for what is nested."""

    def value(match: re.Match[str]) -> str:
        name, _, form = match.group(1).partition(":")
        found = settings.get(name, settings.get(name.rpartition("/")[2], ""))
        return found.replace(":", "-") if form == "hexhyp" else found

    for _ in range(2):
        text = re.sub(r"\$\{([^${}]*)\}", value, text)
    return text


def _chain(line: str) -> list[Command]:
    found: list[Command] = []
    joined = ""
    words: list[str] = []
    for word in _words(line):
        if word in ("||", "&&"):
            found.append(Command(tuple(words), joined))
            joined, words = word, []
        else:
            words.append(word)
    found.append(Command(tuple(words), joined))
    return found


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:
        return line.split()
