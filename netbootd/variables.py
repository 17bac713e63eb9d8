"""What templates are given: dataclasses whose fields are the variables, each explained by its docstring.

`netbootctl template vars` shows these docstrings, so that there is one place to say what a variable is.
"""

from dataclasses import fields, is_dataclass


def given(variables: object) -> dict[str, object]:
    """The fields of a dataclass by name, as a template takes them."""
    assert is_dataclass(variables)  # noqa: S101 (mypy can't say it of an argument)
    return {field.name: getattr(variables, field.name) for field in fields(variables)}
