"""The registry's rows as nodes and profiles, and nodes and profiles as its rows; Registry has the verbs."""

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

from netbootd.contents import Contents, NodeRecord, Rewrite
from netbootd.node import Mac
from netbootd.settings import COLUMNS, Profile, Settings

_SETTINGS = ", ".join(COLUMNS)
BY_ADDRESS = "ORDER BY node.address, position"
_OWN = ("name", "address", "machine_id", "serial", "profile", *COLUMNS)


def profiles(db: sqlite3.Connection) -> list[Profile]:
    """All profiles by name."""
    rows = db.execute(f"SELECT name, parent, {_SETTINGS} FROM profile ORDER BY name")  # noqa: S608 (our columns)
    return [Profile(name=name, parent=parent, settings=Settings.of_row(own)) for name, parent, *own in rows]


def nodes(db: sqlite3.Connection, where: str = BY_ADDRESS, *values: str | int) -> list[NodeRecord]:
    """The nodes that `where` picks, each with its own settings; ordered by `position` within a node."""
    columns = ", ".join(f"node.{column}" for column in _OWN)
    found: dict[str, NodeRecord] = {}
    for mac, cores, name, address, machine_id, serial, profile, *own in db.execute(
        f"SELECT mac, cores, {columns} FROM node JOIN mac ON mac.node = node.id"  # noqa: S608 (`where` is ours)
        f" LEFT JOIN hardware ON hardware.node = node.id {where}",
        values,
    ):
        if name in found:
            found[name] = replace(found[name], macs=(*found[name].macs, Mac(mac)))
            continue
        found[name] = NodeRecord(
            name=name,
            macs=(Mac(mac),),
            address=IPv4Address(address),
            machine_id=machine_id,
            serial=serial,
            profile=profile,
            cores=cores,
            settings=Settings.of_row(own),
        )
    return list(found.values())


def contents(db: sqlite3.Connection) -> Contents:
    """All nodes and profiles. Inside a transaction both are of one moment."""
    return Contents(profiles=tuple(profiles(db)), nodes=tuple(nodes(db)))


def put_profile(db: sqlite3.Connection, profile: Profile) -> None:
    """Add a profile, or replace the one of that name, inside a transaction of the caller's."""
    updates = ", ".join(f"{column} = excluded.{column}" for column in ("parent", *COLUMNS))
    db.execute(
        f"INSERT INTO profile (name, parent, {_SETTINGS}) VALUES (?, ?{', ?' * len(COLUMNS)})"  # noqa: S608 (our columns)
        f" ON CONFLICT (name) DO UPDATE SET {updates}",
        (profile.name, profile.parent, *profile.settings.row),
    )


def rewrite(db: sqlite3.Connection, change: Rewrite, machine_id: Callable[[], str]) -> None:
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
        db.execute("DELETE FROM hardware WHERE node = ?", (row,))
        if new.cores is not None:
            db.execute("INSERT INTO hardware (node, cores) VALUES (?, ?)", (row, new.cores))


def _write_profiles(db: sqlite3.Connection, change: Rewrite) -> None:
    before = {profile.name: profile for profile in change.before.profiles}
    after = {profile.name: profile for profile in change.profiles}
    for name in before.keys() - after.keys():
        db.execute("DELETE FROM profile WHERE name = ?", (name,))
    for name, profile in after.items():
        if before.get(name) != profile:
            put_profile(db, profile)


def _values(node: NodeRecord, machine_id: Callable[[], str]) -> tuple[Any, ...]:
    return (
        node.name,
        int(node.address),
        node.machine_id or machine_id(),
        node.serial,
        node.profile,
        *node.settings.row,
    )
