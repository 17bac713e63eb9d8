"""Running what unpacks: a process of its own, shut into the directory that it fills (see unpack.py)."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import netbootd
from netbootd.errors import HostError, UserError
from netbootd.images.source import Said, program
from netbootd.images.store import Staging

_LONGEST_WORDS = 200_000


@contextmanager
def shut_in(
    module: str,
    arguments: Sequence[str],
    staging: Staging,
    *,
    stdin: int,
    inherited: Sequence[int] = (),
) -> Iterator[tuple[subprocess.Popen[bytes], Said]]:
    """Run `module` of netbootd, with its standard output to be read; it holds the lock of `staging`."""
    package_home = str(Path(netbootd.__file__).parent.parent)
    environment = {**os.environ, "PYTHONPATH": package_home, "LC_ALL": "C.UTF-8"}
    with program(
        [sys.executable, "-P", "-m", module, *arguments],
        "python3",
        stdin=stdin,
        stdout=subprocess.PIPE,
        inherited=(staging.lock, *inherited),
        environment=environment,
    ) as running:
        yield running


@contextmanager
def unpacked(what: str, root: Path, staging: Staging, *options: str) -> Iterator["Unpacking"]:
    """Unpack a tar stream into `root`: write it to `sink`, close that, then `finish`. `what` is its name."""
    with shut_in("netbootd.images.unpack", [str(root), *options], staging, stdin=subprocess.PIPE) as (
        process,
        said,
    ):
        yield Unpacking(what, process, said)


class Unpacking:
    """A tar archive being unpacked."""

    def __init__(self, what: str, process: subprocess.Popen[bytes], said: Said) -> None:
        assert process.stdin is not None  # noqa: S101 - asked for
        self.sink = process.stdin
        self._what = what
        self._process = process
        self._said = said

    def finish(self) -> tuple[str, ...]:
        """Wait for its end; returns what is to be remarked. Raises what went wrong."""
        assert self._process.stdout is not None  # noqa: S101 - asked for
        words = self._process.stdout.read(_LONGEST_WORDS)
        told = last_words(self._what, words, self._process.wait(), self._said())
        return remarks_on(told)


def last_words(what: str, words: bytes, status: int, complaint: str) -> dict[str, Any]:
    """What such a process said at its end. Raises the error that it is."""
    try:
        told: dict[str, Any] = json.loads(words)
    except ValueError as error:
        raise HostError(f"unpacking {what} ended with status {status}: {complaint}") from error
    if "refused" in told:
        hint = told.get("hint") or "nothing of it was kept"
        raise UserError(f"{what} can't be imported: {told['refused']}", hint)
    if "failed" in told:
        raise HostError(f"unpacking {what} failed: {told['failed']}", "nothing of it was kept")
    return told


def remarks_on(told: dict[str, Any]) -> tuple[str, ...]:
    """What was lost, in words."""
    lost = {
        "acls": "access control lists in words only, which were not kept",
        "attributes": "extended attributes that the file system of the images has no room for",
    }
    return tuple(f"{told[key]} files had {what}" for key, what in lost.items() if told.get(key))
