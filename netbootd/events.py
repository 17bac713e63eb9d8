"""What happened to which machine, and when: to the journal at once, to events.db a moment later.

Events aren't promises, so they are written in batches and not synced: a crash of the machine may cost the
last second of them, a crash of netbootd the last flush. The file is the daemon's; others only read it.
"""

import logging
import sqlite3
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self, TypeVar

from netbootd.boot.progress import Progress, advance
from netbootd.errors import HostError
from netbootd.node import Mac
from netbootd.stage import Event, Level, Stage

KEPT = 200_000
"""Events kept; older ones go."""
MOST_MACHINES = 20_000
"""Machines followed at once; who floods us with made-up MACs makes us forget the ones longest silent."""
MOST_WAITING = 10_000
REPEATED_WITHIN = 30.0
_LEVELS = {Level.INFO: logging.INFO, Level.WARNING: logging.WARNING, Level.ERROR: logging.ERROR}
_SCHEMA = """
CREATE TABLE IF NOT EXISTS event (
    id INTEGER PRIMARY KEY, time REAL NOT NULL, mac TEXT, node TEXT, stage TEXT, level TEXT NOT NULL,
    text TEXT NOT NULL, boot REAL
);
CREATE INDEX IF NOT EXISTS event_mac ON event (mac, boot);
CREATE TABLE IF NOT EXISTS progress (
    mac TEXT PRIMARY KEY, node TEXT, began REAL NOT NULL, last REAL NOT NULL, stage TEXT, text TEXT NOT NULL,
    level TEXT NOT NULL
);
"""

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")
log = logging.getLogger("netbootd.events")


class EventLog:
    """The daemon's side: `record` never blocks and never fails; `flush` writes what has gathered."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._waiting: list[tuple[Event, float | None]] = []
        self._progress: OrderedDict[Mac, Progress] = OrderedDict()
        self._changed: set[Mac] = set()
        self._last: OrderedDict[Mac | None, Event] = OrderedDict()
        self.lost = 0
        """Events thrown away because they came faster than they could be written."""
        for progress in _read_progress(db, "ORDER BY last DESC LIMIT ?", MOST_MACHINES):
            self._progress[progress.mac] = progress
            self._progress.move_to_end(progress.mac, last=False)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open or create events.db; raises HostError."""
        try:
            path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            db = sqlite3.connect(path, timeout=5, isolation_level=None)
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = OFF")
            db.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise HostError(
                f"can't open {path}: {error}", "it holds only history: move it away and start again"
            ) from error
        return cls(db)

    def record(self, event: Event) -> None:
        """Take note of an event. The same one again within 30 seconds is one."""
        last = self._last.get(event.mac)
        if last and _same(last, event) and event.time - last.time < REPEATED_WITHIN:
            return
        _remember(self._last, event.mac, event)
        began = None
        if event.mac is not None:
            progress = advance(self._progress.get(event.mac), event, event.mac)
            _remember(self._progress, event.mac, progress)
            self._changed.add(event.mac)
            began = progress.began
        who = event.node or event.mac or "-"
        log.log(_LEVELS[event.level], "%s: %s%s", who, f"{event.stage}: " if event.stage else "", event.text)
        if len(self._waiting) < MOST_WAITING:
            self._waiting.append((event, began))
        else:
            self.lost += 1

    def flush(self) -> None:
        """Write what has gathered; a full disk costs history, not boots."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        changed, self._changed = self._changed, set()
        try:
            self._db.execute("BEGIN")
            self._db.executemany(
                "INSERT INTO event (time, mac, node, stage, level, text, boot) VALUES (?, ?, ?, ?, ?, ?, ?)",
                [(e.time, e.mac, e.node, e.stage, e.level, e.text, began) for e, began in waiting],
            )
            self._db.executemany(
                "INSERT OR REPLACE INTO progress VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    (p.mac, p.node, p.began, p.last, p.stage, p.text, p.level)
                    for p in (self._progress[mac] for mac in changed if mac in self._progress)
                ],
            )
            newest = self._db.execute("SELECT max(id) FROM event").fetchone()[0]
            self._db.execute("DELETE FROM event WHERE id <= ?", (newest - KEPT,))
            self._db.execute("DELETE FROM progress WHERE last < (SELECT min(time) FROM event)")
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            self.lost += len(waiting)
            log.warning("%d events could not be kept: %s", len(waiting), error)
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def close(self) -> None:
        """Write the rest and close."""
        self.flush()
        self._db.close()


def latest(path: Path) -> list[Progress]:
    """Every machine's latest boot, most recently heard first; empty where nothing was ever recorded."""
    with _reading(path) as db:
        return _read_progress(db, "ORDER BY last DESC LIMIT ?", MOST_MACHINES)


def timeline(path: Path, mac: Mac) -> list[Event]:
    """All events of the machine's latest boot, oldest first."""
    with _reading(path) as db:
        rows = db.execute(
            "SELECT time, mac, node, stage, level, text FROM event"
            " WHERE mac = ?1 AND boot = (SELECT began FROM progress WHERE mac = ?1) ORDER BY id",
            (mac,),
        ).fetchall()
    return [
        Event(
            time=time,
            mac=Mac(m),
            node=node,
            stage=Stage(stage) if stage else None,
            level=Level(level),
            text=text,
        )
        for time, m, node, stage, level, text in rows
    ]


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A read-only connection; an empty database where there is no file yet. Raises HostError."""
    db = sqlite3.connect(":memory:")
    try:
        if path.exists():
            db.close()
            db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5)
            db.execute("SELECT 1 FROM progress LIMIT 1")
        else:
            db.executescript(_SCHEMA)
        yield db
    except (OSError, sqlite3.Error) as error:
        raise HostError(f"can't read {path}: {error}", "run as root, or as the daemon's user") from error
    finally:
        db.close()


def _read_progress(db: sqlite3.Connection, rest: str, *values: int) -> list[Progress]:
    rows = db.execute(f"SELECT mac, node, began, last, stage, text, level FROM progress {rest}", values)  # noqa: S608 (`rest` is ours)
    return [
        Progress(
            mac=Mac(mac),
            node=node,
            began=began,
            last=last,
            stage=Stage(stage) if stage else None,
            text=text,
            level=Level(level),
        )
        for mac, node, began, last, stage, text, level in rows
    ]


def _same(one: Event, other: Event) -> bool:
    return (one.stage, one.text, one.level, one.node) == (other.stage, other.text, other.level, other.node)


def _remember(table: OrderedDict[Key, Value], key: Key, value: Value) -> None:
    table[key] = value
    table.move_to_end(key)
    if len(table) > MOST_MACHINES:
        table.popitem(last=False)
