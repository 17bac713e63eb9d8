"""SQLite files that keep what was acknowledged: how they are opened, created and written."""

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from netbootd.errors import HostError

PATIENCE = 10.0
"""Seconds that a writer waits for another one; each verb takes milliseconds."""


def open_durable(
    path: Path, version: int, schema: str, upgrades: Mapping[int, str], patience: float = PATIENCE
) -> sqlite3.Connection:
    """Open or create the file so that a transaction that returned is on the disk.

    `schema` makes a new file's tables, its statements ended by `;` and a line break; `version` (1 and up) is
    kept in the file. A file of an older version is brought to ours by `upgrades`, in one transaction: from
    version n to n + 1 by the statements at n. Raises HostError for a file that can't be opened, is no
    database, or is newer than us.
    """
    try:
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        with as_owner_of(path.parent):
            db = sqlite3.connect(path, timeout=patience, isolation_level=None)
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA foreign_keys = ON")
            found = _ensure_schema(db, version, schema, upgrades)
    except (PermissionError, sqlite3.OperationalError) as error:
        raise HostError(f"can't open {path}: {error}", _remedy(path.parent)) from error
    except (OSError, sqlite3.DatabaseError) as error:
        raise HostError(f"can't use {path}: {error}", "restore it from a backup, or move it away") from error
    if found > version:
        db.close()
        raise HostError(f"{path} was written by a newer netbootd (schema {found})", "install that version")
    return db


@contextmanager
def transaction(db: sqlite3.Connection, what: str) -> Iterator[None]:
    """All that happens inside, or nothing; on the disk when it ends. Raises HostError where writing fails."""
    try:
        db.execute("BEGIN IMMEDIATE")
        yield
        db.execute("COMMIT")
    except sqlite3.Error as error:
        raise HostError(
            f"can't write {what}: {error}", "is the disk full, or do you lack the right?"
        ) from error
    finally:
        with suppress(sqlite3.Error):  # a disk that fails may have undone it already
            if db.in_transaction:
                db.execute("ROLLBACK")


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Raises HostError where reading inside fails."""
    try:
        yield
    except sqlite3.Error as error:
        raise HostError(f"can't read {what}: {error}", "is its disk in order?") from error


@contextmanager
def as_owner_of(directory: Path) -> Iterator[None]:
    """Let root open files in the daemon's directory with the daemon's rights.

    What root makes there is then the daemon's, and a link that somebody who got hold of the daemon planted
    there leads root nowhere. SQLite keeps the files open that it opens at the first transaction.
    """
    owner = directory.stat().st_uid
    if os.geteuid() != 0 or owner == 0:
        yield
        return
    os.seteuid(owner)
    try:
        yield
    finally:
        os.seteuid(0)


def _remedy(directory: Path) -> str:
    """What helps where a file in `directory` can't be opened."""
    with suppress(OSError):
        if os.statvfs(directory).f_flag & os.ST_RDONLY:
            return f"{directory} is mounted read-only: mount it read-write"
    if os.geteuid() == 0:
        return f"give it to the owner of {directory}"
    return "run as root, or as the daemon's user"


def _ensure_schema(db: sqlite3.Connection, version: int, schema: str, upgrades: Mapping[int, str]) -> int:
    """Make or upgrade the tables; returns the version that they have then."""
    if (there := db.execute("PRAGMA user_version").fetchone()[0]) >= version:
        return int(there)  # without waiting for anybody who is writing
    db.execute("BEGIN IMMEDIATE")
    try:
        found: int = db.execute("PRAGMA user_version").fetchone()[0]
        steps = [upgrades[n] for n in range(found, version)] if found else [schema]
        for statement in (each for step in steps for each in step.split(";\n")):
            if statement.strip():
                db.execute(statement)
        if steps:
            db.execute(f"PRAGMA user_version = {version:d}")
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")
    return max(found, version)
