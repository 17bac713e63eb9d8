"""generation.json: what a generation says about itself, beside its files.

The image's name, the number and the directory are not in it: where it lies says that.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from netbootd.errors import HostError, UserError
from netbootd.image import Generation

FILE_NAME = "generation.json"
_MOST_OCTETS = 8 << 20
_LONGEST_NOTE = 500
_FROM_ITS_PLACE = frozenset({"image", "number", "directory"})
_NUMBERS = frozenset({"size", "shared"})
_LISTS = frozenset({"remarks", "loaders", "config_txt"})
_FLAGS = frozenset({"firmware", "by_itself"})
_OBJECTS = frozenset({"recipe"})


def write(path: Path, generation: Generation) -> None:
    """Write `generation` to `path` and bring it to the disk. Raises OSError."""
    _write(path, {key: value for key, value in asdict(generation).items() if key not in _FROM_ITS_PLACE})


def _write(path: Path, facts: Mapping[str, Any]) -> None:
    with path.open("w", encoding="utf-8", errors="backslashreplace") as file:
        json.dump(facts, file, indent=2, ensure_ascii=False)
        file.write("\n")
        os.fchmod(file.fileno(), 0o644)
        file.flush()
        os.fsync(file.fileno())


def amend(path: Path, **changes: str | int) -> None:
    """Change what `path` says of some keys, in one step; what later versions wrote stays.

    Raises OSError, and HostError where it is damaged.
    """
    facts = _facts(path)
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    _write(beside, {**facts, **changes})
    beside.rename(path)


def read(path: Path, *, image: str, number: int) -> Generation:
    """The generation that `path` describes. Keys of later versions are passed over.

    Raises HostError, which names the file, where it can't be read or isn't whole.
    """
    facts = _facts(path)
    wanted = [field for field in fields(Generation) if field.name not in _FROM_ITS_PLACE]
    known: dict[str, Any] = {}
    for field in wanted:
        if field.name in facts:
            known[field.name] = _checked(path, field.name, facts[field.name])
    try:
        return Generation(image=image, number=number, directory=path.parent, **known)
    except TypeError as error:
        missing = ", ".join(f.name for f in wanted if f.name not in facts)
        raise _damaged(path, f"it lacks {missing}") from error


def now() -> str:
    """The time for `Generation.created`: UTC, ISO 8601."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def check_note(text: str) -> str:
    """`text` if it can be a note: a line of words. Raises UserError."""
    if len(text) > _LONGEST_NOTE or not text.isprintable():
        raise UserError(f"a note is one line of at most {_LONGEST_NOTE} letters", "shorten it")
    return text


def _facts(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            facts = json.loads(file.read(_MOST_OCTETS))
    except OSError as error:
        raise HostError(f"can't read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise _damaged(path, "it isn't JSON") from error
    if not isinstance(facts, dict):
        raise _damaged(path, "it isn't an object")
    return facts


def _checked(path: Path, key: str, value: object) -> object:
    if key in _LISTS:
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(value)
    elif key in _NUMBERS:
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    elif key in _FLAGS:
        if isinstance(value, bool):
            return value
    elif key in _OBJECTS:
        if isinstance(value, dict):
            return value
    elif isinstance(value, str):
        return value
    raise _damaged(path, f"{key} is of the wrong kind")


def _damaged(path: Path, why: str) -> HostError:
    return HostError(
        f"{path} is damaged: {why}",
        f"go back to another generation (netbootctl image rollback) and remove {path.parent}",
    )
