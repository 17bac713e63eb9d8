"""What a template's variables are: name, value, and the sentence that stands beside it in our source."""

import ast
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from textwrap import dedent


@dataclass(frozen=True, slots=True)
class Variable:
    """One that a template can write between {{ and }}."""

    name: str
    value: str
    meaning: str


def variables(given: object) -> list[Variable]:
    """The fields of the dataclass `given` and, below them, those of dataclasses that they hold.

    Of several alike the first is shown; what has been shown isn't shown again.
    """
    return list(_below("", given, {}))


def meanings(kind: type) -> Mapping[str, str]:
    """The docstrings of a dataclass's fields and properties, the first sentence of each.

    Those that it inherits come first.
    """
    found: dict[str, str] = {}
    for each in (one for one in reversed(kind.__mro__) if is_dataclass(one)):
        found |= _own_meanings(each)
    return found


def _own_meanings(kind: type) -> dict[str, str]:
    (body,) = ast.parse(dedent(inspect.getsource(kind))).body
    assert isinstance(body, ast.ClassDef)  # noqa: S101 (the source of a class is one)
    found = {}
    for statement, following in zip(body.body, [*body.body[1:], None], strict=True):
        if isinstance(statement, ast.FunctionDef) and _is_property(statement):
            found[statement.name] = ast.get_docstring(statement) or ""
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            told = following.value if isinstance(following, ast.Expr) else None
            text = told.value if isinstance(told, ast.Constant) else ""
            found[statement.target.id] = inspect.cleandoc(text) if isinstance(text, str) else ""
    return {name: _first(text) for name, text in found.items()}


def _below(prefix: str, holder: object, shown: dict[int, str]) -> Iterator[Variable]:
    told = meanings(type(holder))
    for name, meaning in told.items():
        value = getattr(holder, name)
        path = f"{prefix}{name}"
        many = isinstance(value, tuple)
        one = value[0] if isinstance(value, tuple) and value else value
        if not _has_fields(one):
            yield Variable(path, _text(value), meaning)
        elif id(one) in shown:
            yield Variable(path, f"the same as {shown[id(one)]}", meaning)
        else:
            shown[id(one)] = path
            yield Variable(path, f"{len(value)} of them, the first:" if many else "", meaning)
            yield from _below(f"{path}[0]." if many else f"{path}.", one, shown)


def _has_fields(value: object) -> bool:
    """Whether a template is more likely to want its parts than itself."""
    return is_dataclass(value) and type(value).__str__ is object.__str__ and bool(fields(value))


def _text(value: object) -> str:
    """As a template would print it, but for lists."""
    if isinstance(value, bytes):
        return value.hex(" ")
    if isinstance(value, tuple):
        return ", ".join(map(_text, value)) or "()"
    return str(value) if value != "" else '""'


def _is_property(function: ast.FunctionDef) -> bool:
    return any(isinstance(each, ast.Name) and each.id == "property" for each in function.decorator_list)


def _first(text: str) -> str:
    """The first paragraph, on one line."""
    return " ".join(text.partition("\n\n")[0].split())
