"""The SQL for reading the whole registry and for changing much of it at once; Registry has the verbs."""

import sqlite3
from collections.abc import Callable
from ipaddress import IPv4Address
from typing import Any

from netbootd.contents import Contents, NodeRecord, Rewrite
from netbootd.node import Mac
from netbootd.settings import COLUMNS, Profile, Settings

_SETTINGS = ", ".join(COLUMNS)
_OWN = ("name", "address", "machine_id", "serial", "profile", *COLUMNS)


def read(db: sqlite3.Connection) -> Contents:
    """All nodes and profiles. Inside a transaction both are of one moment."""
    profiles = db.execute(f"SELECT name, parent, {_SETTINGS} FROM profile ORDER BY name")  # noqa: S608 (our columns)
    nodes = db.execute(f"SELECT id, {', '.join(_OWN)} FROM node ORDER BY address")  # noqa: S608 (our columns)
    cards: dict[int, list[Mac]] = {}
    for node, mac in db.execute("SELECT node, mac FROM mac ORDER BY position"):
        cards.setdefault(node, []).append(Mac(mac))
    return Contents(
        profiles=tuple(
            Profile(name=name, parent=parent, settings=Settings.of_row(own))
            for name, parent, *own in profiles.fetchall()
        ),
        nodes=tuple(
            NodeRecord(
                name=name,
                macs=tuple(cards.get(row, ())),
                address=IPv4Address(address),
                machine_id=machine_id,
                serial=serial,
                profile=profile,
                settings=Settings.of_row(own),
            )
            for row, name, address, machine_id, serial, profile, *own in nodes.fetchall()
        ),
    )


def write(db: sqlite3.Connection, change: Rewrite, machine_id: Callable[[], str]) -> None:
    """Carry it out, inside a transaction of the caller's. `machine_id` makes one where a node has none.

    What two nodes exchange (addresses, names, cards) is taken from both before it is given to either.
    """
    db.execute("PRAGMA defer_foreign_keys = ON")
    _write_profiles(db, change)
    rows = dict(db.execute("SELECT name, id FROM node").fetchall())
    for old, new in change.nodes:
        if old is None:
            continue
        row = rows[old.name]
        if new is None:
            db.execute("DELETE FROM node WHERE id = ?", (row,))
            continue
        db.execute("DELETE FROM mac WHERE node = ?", (row,))
        db.execute(
            "UPDATE node SET name = char(0) || id, address = -id, machine_id = char(0) || id, serial = NULL"
            " WHERE id = ?",
            (row,),
        )
    for old, new in change.nodes:
        if new is None:
            continue
        values = _values(new, machine_id)
        if old is None:
            marks = ", ".join("?" * len(_OWN))
            row = (
                db.execute(
                    f"INSERT INTO node ({', '.join(_OWN)}) VALUES ({marks})",  # noqa: S608 (our columns)
                    values,
                ).lastrowid
                or 0
            )
        else:
            row = rows[old.name]
            sets = ", ".join(f"{column} = ?" for column in _OWN)
            db.execute(f"UPDATE node SET {sets} WHERE id = ?", (*values, row))  # noqa: S608 (our columns)
        db.executemany("INSERT INTO mac VALUES (?, ?, ?)", [(mac, row, i) for i, mac in enumerate(new.macs)])


def _write_profiles(db: sqlite3.Connection, change: Rewrite) -> None:
    before = {profile.name: profile for profile in change.before.profiles}
    after = {profile.name: profile for profile in change.profiles}
    updates = ", ".join(f"{column} = excluded.{column}" for column in ("parent", *COLUMNS))
    for name in before.keys() - after.keys():
        db.execute("DELETE FROM profile WHERE name = ?", (name,))
    for name, profile in after.items():
        if before.get(name) != profile:
            db.execute(
                f"INSERT INTO profile (name, parent, {_SETTINGS}) VALUES (?, ?{', ?' * len(COLUMNS)})"  # noqa: S608 (our columns)
                f" ON CONFLICT (name) DO UPDATE SET {updates}",
                (name, profile.parent, *profile.settings.row),
            )


def _values(node: NodeRecord, machine_id: Callable[[], str]) -> tuple[Any, ...]:
    return (
        node.name,
        int(node.address),
        node.machine_id or machine_id(),
        node.serial,
        node.profile,
        *node.settings.row,
    )
