"""What happened to which machine, and when: to the journal at once, to events.db a moment later.

Events aren't promises, so they are written in batches and not synced: a power cut may cost the last minutes
of them, a crash of netbootd the last flush. The file is the daemon's; others only read it.

Whoever can send packets can cause events. So each node has an allowance of them, and all machines that
aren't registered have one together: what exceeds it is counted, and neither logged nor kept.
"""

import logging
import sqlite3
import time
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

from netbootd import database
from netbootd.boot.progress import Progress, advance
from netbootd.errors import HostError
from netbootd.node import Mac
from netbootd.stage import Event, Level, Stage

KEPT = 200_000
"""Events kept; older ones go."""
MOST_MACHINES = 20_000
"""Nodes followed at once, and as many other machines: a flood of made-up ones drives out no node."""
MOST_WAITING = 10_000
REPEATED_WITHIN = 30.0
COMPLAIN_EVERY = 60.0
"""Seconds between two lines about events that could not be kept."""
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


@dataclass(frozen=True, slots=True)
class Rate:
    """So many events at once, and so many a second after that."""

    burst: float
    per_second: float


NODE_RATE = Rate(300, 20)
"""Of each node; a boot has about twenty, and firmware that probes for its files two hundred."""
STRANGERS_RATE = Rate(2000, 100)
"""Of all machines together that aren't registered: a rack that powers on, but no flood."""

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")
log = logging.getLogger("netbootd.events")


class EventLog:
    """The daemon's side: `record` never blocks and never fails; `flush` writes what has gathered."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._waiting: list[tuple[Event, float | None]] = []
        self._nodes: OrderedDict[Mac, Progress] = OrderedDict()
        self._strangers: OrderedDict[Mac, Progress] = OrderedDict()
        self._changed: set[Mac] = set()
        self._last: OrderedDict[Mac | None, Event] = OrderedDict()
        self._allowances: OrderedDict[Mac | None, tuple[float, float]] = OrderedDict()
        self._complained = float("-inf")
        self._untold = 0
        self.lost = 0
        """Events thrown away because they came faster than their allowance, or could not be written."""
        for progress in _read_progress(db, "ORDER BY last"):
            self._follow(progress)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open or create events.db; one that is damaged is put aside. Raises HostError."""
        try:
            return cls(_connect(path))
        except sqlite3.OperationalError as error:
            raise HostError(
                f"can't open {path}: {error}", f"is {path.parent} the daemon's, with room?"
            ) from error
        except sqlite3.DatabaseError as error:
            aside = path.with_name(path.name + ".damaged")
            log.warning("%s is damaged (%s); it is kept as %s, and history begins anew", path, error, aside)
        except OSError as error:
            raise HostError(f"can't open {path}: {error}") from error
        try:
            path.rename(aside)
            for rest in ("-wal", "-shm"):
                path.with_name(path.name + rest).unlink(missing_ok=True)
            return cls(_connect(path))
        except (OSError, sqlite3.Error) as error:
            raise HostError(
                f"can't open {path}: {error}", "it holds only history: move it away and start again"
            ) from error

    def record(self, event: Event) -> None:
        """Take note of an event. The same one again within 30 seconds is one."""
        last = self._last.get(event.mac)
        # A clock that was set back must not silence anything for longer than that.
        if last and _same(last, event) and abs(event.time - last.time) < REPEATED_WITHIN:
            return
        if not self._admits(event):
            self._lose(1)
            return
        _remember(self._last, event.mac, event)
        began = None
        if event.mac is not None:
            before = self._nodes.get(event.mac) or self._strangers.get(event.mac)
            progress = advance(before, event, event.mac)
            self._follow(progress)
            self._changed.add(event.mac)
            began = progress.began
        who = event.node or event.mac or "-"
        log.log(_LEVELS[event.level], "%s: %s%s", who, f"{event.stage}: " if event.stage else "", event.text)
        if len(self._waiting) < MOST_WAITING:
            self._waiting.append((event, began))
        else:
            self._lose(1)

    def flush(self) -> None:
        """Write what has gathered; a full disk costs history, not boots."""
        if self._untold:
            self._complain("events came faster than they are kept")
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        changed, self._changed = self._changed, set()
        try:
            self._write(waiting, changed)
        except sqlite3.Error as error:
            self._changed |= changed
            self._lose(len(waiting))
            self._complain(f"events could not be kept: {error}")
            with suppress(sqlite3.Error):
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")

    def close(self) -> None:
        """Write the rest and close."""
        self.flush()
        self._db.close()

    # Details

    def _write(self, waiting: list[tuple[Event, float | None]], changed: set[Mac]) -> None:
        """Every statement here finds its rows by an index: this runs in the event loop."""
        progress = {mac: self._nodes.get(mac) or self._strangers.get(mac) for mac in changed}
        self._db.execute("BEGIN")
        self._db.executemany(
            "INSERT INTO event (time, mac, node, stage, level, text, boot) VALUES (?, ?, ?, ?, ?, ?, ?)",
            [(e.time, e.mac, e.node, e.stage, e.level, e.text, began) for e, began in waiting],
        )
        self._db.executemany(
            "INSERT OR REPLACE INTO progress VALUES (?, ?, ?, ?, ?, ?, ?)",
            [(p.mac, p.node, p.began, p.last, p.stage, p.text, p.level) for p in progress.values() if p],
        )
        self._db.executemany(
            "DELETE FROM progress WHERE mac = ?", [(mac,) for mac, p in progress.items() if p is None]
        )
        newest = self._db.execute("SELECT max(id) FROM event").fetchone()[0]
        self._db.execute("DELETE FROM event WHERE id <= ?", (newest - KEPT,))
        self._db.execute("COMMIT")

    def _follow(self, progress: Progress) -> None:
        table, other = (self._nodes, self._strangers) if progress.node else (self._strangers, self._nodes)
        other.pop(progress.mac, None)
        if (forgotten := _remember(table, progress.mac, progress)) is not None:
            self._changed.add(forgotten)

    def _admits(self, event: Event) -> bool:
        """Whether the allowance lasts; a clock that is set back gives nothing and takes nothing."""
        key, rate = (event.mac, NODE_RATE) if event.node else (None, STRANGERS_RATE)
        left, since = self._allowances.get(key, (rate.burst, event.time))
        left = min(rate.burst, left + max(0.0, event.time - since) * rate.per_second)
        _remember(self._allowances, key, (max(left - 1, 0.0), event.time))
        return left >= 1

    def _lose(self, number: int) -> None:
        self.lost += number
        self._untold += number

    def _complain(self, what: str) -> None:
        now = time.monotonic()
        if now - self._complained >= COMPLAIN_EVERY:
            log.warning("%d %s", self._untold, what)
            self._complained, self._untold = now, 0


def latest(path: Path) -> list[Progress]:
    """Every machine's latest boot, most recently heard first; empty where nothing was ever recorded."""
    with _reading(path) as db:
        return _read_progress(db, "ORDER BY last DESC")


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


def offers(path: Path) -> dict[Mac, str]:
    """What each machine was last offered, in words."""
    with _reading(path) as db:
        rows = db.execute(
            "SELECT mac, text, max(id) FROM event WHERE stage = 'offer' GROUP BY mac"
        ).fetchall()
    return {Mac(mac): text for mac, text, _ in rows}


def _connect(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    with database.as_owner_of(path.parent):
        db = sqlite3.connect(path, timeout=1, isolation_level=None)
        db.execute("PRAGMA journal_mode = WAL")
        # Not OFF, with which a power cut can leave a file that is no database any more.
        db.execute("PRAGMA synchronous = NORMAL")
        db.executescript(_SCHEMA)
    return db


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


def _read_progress(db: sqlite3.Connection, order: str) -> list[Progress]:
    rows = db.execute(f"SELECT mac, node, began, last, stage, text, level FROM progress {order}")  # noqa: S608 (`order` is ours)
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


def _remember(table: OrderedDict[Key, Value], key: Key, value: Value) -> Key | None:
    """Put it in as the latest; returns the key that had to go."""
    table[key] = value
    table.move_to_end(key)
    return table.popitem(last=False)[0] if len(table) > MOST_MACHINES else None
