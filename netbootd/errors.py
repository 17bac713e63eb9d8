"""The error tree: whose fault it is, what is wrong, what mends it.

Three branches. `UserError` is for the person at the keyboard or the author of netbootd.toml; `PeerError`
is for whoever sent us bytes; `HostError` is for the machine we run on (a missing package, a full disk).
Every error carries one line that says what is wrong and, where we know it, a hint: what to do about it.
"""

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(word: str, known: Iterable[str], otherwise: str = "", likeness: float = 0.6) -> str:
    """A hint for a word that isn't known: the one that it nearly is, from `likeness` on, else `otherwise`."""
    close = get_close_matches(word, list(known), 1, likeness)
    return f"did you mean {close[0]}?" if close else otherwise


class NetbootdError(Exception):
    """Anything netbootd reports by itself; never shown with a traceback."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        end = "" if self.message.endswith("?") else ";"
        return f"{self.message}{end} {self.hint}" if self.hint else self.message


class UserError(NetbootdError):
    """A command or a value that can't be accepted; nothing was changed."""

    exit_code = 2


class ConfigError(UserError):
    """netbootd.toml can't be used. `problems` holds every fault found, one line each."""

    exit_code = 3

    def __init__(self, message: str, problems: tuple[str, ...] = (), hint: str = "") -> None:
        super().__init__(message, hint)
        self.problems = problems


class BrokenTemplateError(UserError):
    """Templates can't be rendered; all else was done. `problems` holds a line for each of them."""

    def __init__(self, message: str, problems: tuple[str, ...]) -> None:
        super().__init__(message)
        self.problems = problems


class FileError(UserError):
    """A file that somebody gave can't be accepted. `problems`: its faults, a line each, if it has several."""

    def __init__(self, message: str, problems: tuple[str, ...] = (), hint: str = "") -> None:
        super().__init__(message, hint)
        self.problems = problems


class PeerError(NetbootdError):
    """What came over the wire is not what the protocol allows; counted, never fatal."""


class HostError(NetbootdError):
    """The head node lacks something: a package, a permission, space, an interface."""

    exit_code = 4
