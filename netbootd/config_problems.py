"""What is wrong with netbootd.toml, in words: the validator's findings as lines for the file's author."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from netbootd.errors import did_you_mean
from netbootd.toml_lines import Path, line_of

Table = dict[str, Any]
Key = str | tuple[str, ...]
"""A key within a table, with dots where it lies deeper; or its parts, where they may have dots themselves."""
Detail = Mapping[str, Any]
"""A finding: `type`, `loc`, `input`, `msg`, perhaps `ctx`: there `problems` of our own, as (key, text)."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One fault; `line` is 0 where none can be named."""

    line: int
    complaint: str

    @property
    def text(self) -> str:
        """As it is shown."""
        return f"line {self.line}: {self.complaint}" if self.line else self.complaint


def explain(
    detail: Detail, known: Mapping[str, tuple[str, ...]], lines: dict[Path, int]
) -> Iterator[Problem]:
    """One finding as problems. `known`: the keys of each table, "" for the top."""
    where: Path = detail["loc"]
    problems = detail.get("ctx", {}).get("problems")
    if isinstance(problems, list):
        for key, text in problems:
            path = _place(where, key)
            yield Problem(line_of(path, lines) or 0, f"{_dotted(path)}: {text}")
    elif _is_echo(detail):
        return
    elif detail["type"] == "extra_forbidden":
        table = str(where[0]) if len(where) > 1 else ""
        yield Problem(
            line_of(where, lines) or 0,
            f"{_dotted(where)}: isn't a setting{_did_you_mean(where, known[table])}",
        )
    else:
        words = _WORDS.get(detail["type"], _other)
        yield Problem(line_of(where, lines) or 0, f"{_dotted(where)}: {words(detail)}")


def prune(data: Table, details: Iterable[Detail]) -> tuple[Table, bool]:
    """`data` without what was complained of, and whether that took anything away."""
    removed = False
    pruned = _copy(data)
    for detail in details:
        if not _is_echo(detail):
            for path in _places(detail):
                removed |= _remove(pruned, path)
    return pruned, removed


def shown(value: object) -> str:
    """A value as its author wrote it, more or less, and not at length."""
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


def _is_echo(detail: Detail) -> bool:
    """A list said to be too short because its elements are faulty; they are complained of themselves."""
    return detail["type"] == "too_short" and bool(detail["input"])


def _places(detail: Detail) -> list[Path]:
    problems = detail.get("ctx", {}).get("problems")
    return (
        [_place(detail["loc"], key) for key, _ in problems] if isinstance(problems, list) else [detail["loc"]]
    )


def _place(where: Path, key: Key) -> Path:
    if isinstance(key, tuple):
        return (*where, *key)
    return (*where, *(int(part) if part.isdigit() else part for part in key.split(".")))


def _remove(table: Any, path: Path) -> bool:
    """Take out the key that `path` ends in; of a list's element, the list."""
    for depth, part in enumerate(path):
        last = depth == len(path) - 1
        if isinstance(table, dict) and part in table:
            if last or (isinstance(table[part], list) and not isinstance(table[part][0], dict)):
                del table[part]
                return True
            table = table[part]
        elif isinstance(table, list) and isinstance(part, int) and part < len(table):
            table = table[part]
        else:
            return False
    return False


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(inner) for key, inner in value.items()}
    return [_copy(inner) for inner in value] if isinstance(value, list) else value


def _did_you_mean(where: Path, known: tuple[str, ...]) -> str:
    return "; " + did_you_mean(str(where[-1]), known, f"known here: {', '.join(known)}")


def _dotted(path: Path) -> str:
    """network.0.pool -> network[1].pool; people count from one."""
    return (
        "".join(f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
        or "the file"
    )


def _other(detail: Detail) -> str:
    return f"{shown(detail['input'])}: {detail['msg']}"


def _missing(detail: Detail) -> str:
    if detail["loc"] == ("network",):
        return "is missing; at least one [[network]] with its interface is needed"
    return "is missing"


def _table(detail: Detail) -> str:
    name = ".".join(part for part in detail["loc"] if isinstance(part, str))
    return f"{shown(detail['input'])} has to be a table; write [{name}]"


def _list(detail: Detail) -> str:
    wanted = "a list of tables; write [[network]]" if detail["loc"] == ("network",) else 'a list, as in ["…"]'
    return f"{shown(detail['input'])} has to be {wanted}"


def _port(detail: Detail) -> str:
    return f"{shown(detail['input'])} has to be a whole number from 1 to 65535"


def _switch(detail: Detail) -> str:
    return f"{shown(detail['input'])} has to be true or false"


def _choice(detail: Detail) -> str:
    return f"{shown(detail['input'])} isn't one of {detail['ctx']['expected']}"


_WORDS: dict[str, Callable[[Detail], str]] = {
    "missing": _missing,
    "value_error": lambda detail: str(detail["ctx"]["error"]),
    "too_short": lambda _: "is empty; at least one [[network]] is needed",
    "enum": _choice,
    "literal_error": _choice,
    "bool_type": _switch,
    "bool_parsing": _switch,
    "int_type": _port,
    "int_parsing": _port,
    "greater_than_equal": _port,
    "less_than_equal": _port,
    "tuple_type": _list,
    "dict_type": _table,
    "model_type": _table,
    "model_attributes_type": _table,
}
