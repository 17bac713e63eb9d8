"""The registry: nodes, profiles and leases in one SQLite file.

One transaction per verb; a verb that returned is on the disk, and one that raised changed nothing. The
daemon and netbootctl open it at the same time: WAL keeps readers and the one writer out of each other's
way, and `version` tells a reader whether what it memoised still holds. What a change has to keep to stands
in registry_checks.py.
"""

import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Self

from netbootd import database, registry_rows
from netbootd import registry_checks as checks
from netbootd.contents import Contents, Rewrite
from netbootd.errors import UserError
from netbootd.lease import Lease, LeaseState
from netbootd.network import Network
from netbootd.node import Booted, Mac, Node, RootMode, same_serial
from netbootd.settings import (
    COLUMNS,
    NOTHING_SET,
    Profile,
    Settings,
    changed_options,
    inherited,
    stored,
)

__all__ = ["NodeRequest", "Profile", "Registry", "Settings"]

SCHEMA = 4
UPGRADES = {
    1: "".join(
        f"""
        ALTER TABLE {table} ADD COLUMN loader TEXT;
        ALTER TABLE {table} ADD COLUMN eeprom_update INTEGER CHECK (eeprom_update IN (0, 1));
        ALTER TABLE {table} ADD COLUMN dhcp_options TEXT;
        """
        for table in ("profile", "node")
    )
    + "CREATE INDEX node_serial ON node (substr(serial, -8))",
    2: "CREATE TABLE hardware (node INTEGER PRIMARY KEY REFERENCES node (id) ON DELETE CASCADE,"
    " cores INTEGER NOT NULL CHECK (cores > 0)) STRICT",
    3: "ALTER TABLE booted ADD COLUMN root TEXT NOT NULL DEFAULT 'overlay'"
    " CHECK (root IN ('overlay', 'persistent', 'ram'))",
}
"""How a registry of an older version gets what schema.sql gives a new one."""
_SETTINGS = ", ".join(COLUMNS)
_BOOTED = "SELECT name, b.image, generation, b.root FROM booted AS b JOIN node ON node.id = b.node"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRequest:
    """A node to be registered. Without an address it gets the next free one of a network's range."""

    name: str
    macs: tuple[Mac, ...]
    address: IPv4Address | None = None
    serial: str | None = None
    profile: str | None = None
    settings: Settings = NOTHING_SET


class Registry:
    """An open registry. Use it from one thread, and close it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self._writes = 0
        self._resolved: dict[str | None, Settings] = {}
        self._resolved_at: tuple[int, int] | None = None

    @classmethod
    def open(cls, path: Path, patience: float = database.PATIENCE) -> Self:
        """Open or create the registry at `path`; raises HostError where that fails.

        `patience`: seconds that a verb waits while somebody else writes, before it raises HostError.
        """
        schema = files("netbootd").joinpath("schema.sql").read_text()
        return cls(database.open_durable(path, SCHEMA, schema, UPGRADES, patience))

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def version(self) -> tuple[int, int]:
        """Changes whenever another connection, or this one, changed the registry. About 2 microseconds."""
        return self._rows("PRAGMA data_version")[0][0], self._writes

    # Nodes

    def nodes(self) -> list[Node]:
        """All nodes, in the order of their addresses."""
        return self._select()

    def node(self, name: str) -> Node:
        """The node called `name`; raises UserError where there is none."""
        found = self._select("WHERE node.name = ? ORDER BY position", name)
        if not found:
            raise UserError(
                f"there is no node {name[:80]!r}", "`netbootctl node list` shows those registered"
            )
        return found[0]

    def node_by_mac(self, mac: Mac) -> Node | None:
        """The node that has this network card."""
        where = "WHERE node.id = (SELECT node FROM mac WHERE mac = ?) ORDER BY position"
        return next(iter(self._select(where, mac)), None)

    def node_by_address(self, address: IPv4Address) -> Node | None:
        """The node with this address."""
        return next(iter(self._select("WHERE node.address = ? ORDER BY position", int(address))), None)

    def node_by_serial(self, serial: str) -> Node | None:
        """The node whose board has this serial number, or its last eight digits (see same_serial)."""
        where = "WHERE substr(node.serial, -8) = ? ORDER BY position"
        return next((n for n in self._select(where, serial[-8:]) if same_serial(n.serial, serial)), None)

    def own_settings(self, name: str) -> Settings:
        """What the node says itself, without its profile's."""
        self.node(name)
        query = f"SELECT {_SETTINGS} FROM node WHERE name = ?"  # noqa: S608 (our columns)
        return Settings.of_row(self._rows(query, name)[0])

    def add_nodes(
        self, requests: Sequence[NodeRequest], networks: tuple[Network, ...], reserved: Mapping[str, str]
    ) -> list[Node]:
        """Register nodes, all or none. `reserved`: names that no node can have, each with whose it is.

        Raises UserError for a name, MAC, address or serial that is taken, an address that no node can have,
        a range that has none left, or a profile that isn't there.
        """
        free = checks.free_addresses(self._db, networks)
        with self._transaction() as db:
            for request in requests:
                checks.name_is_free(db, request.name, reserved)
                address = request.address
                if address is None:
                    address = next(free)
                checks.address_is_free(db, address, networks, request.name)
                checks.profile_exists(db, request.profile)
                checks.serial_is_free(db, request.serial, request.name)
                row = db.execute(
                    f"INSERT INTO node (name, address, machine_id, serial, profile, {_SETTINGS})"  # noqa: S608 (our columns)
                    f" VALUES (?, ?, ?, ?, ?{', ?' * len(COLUMNS)})",
                    (
                        request.name,
                        int(address),
                        _machine_id(),
                        request.serial,
                        request.profile,
                        *request.settings.row,
                    ),
                )
                assert row.lastrowid is not None  # noqa: S101 (an INSERT into a rowid table always has one)
                self._put_macs(row.lastrowid, request.macs, request.name)
        return [self.node(request.name) for request in requests]

    def set_node(self, name: str, changes: Mapping[str, Any], networks: tuple[Network, ...]) -> Node:
        """Change a node. Keys: `macs`, `address`, `serial`, `profile`, and the settings' names.

        None takes the node's own value away: its profile's holds again. `dhcp_options` are laid over those
        that it has, and None in the place of an option's octets takes that one away. Raises UserError as
        add_nodes.
        """
        with self._transaction() as db:
            self.node(name)
            row = db.execute("SELECT id FROM node WHERE name = ?", (name,)).fetchone()[0]
            for key, value in changes.items():
                match key:
                    case "macs":
                        db.execute("DELETE FROM mac WHERE node = ?", (row,))
                        self._put_macs(row, value, name)
                    case "address":
                        checks.address_is_free(db, value, networks, name)
                        db.execute("UPDATE node SET address = ? WHERE id = ?", (int(value), row))
                    case "serial":
                        checks.serial_is_free(db, value, name)
                        db.execute("UPDATE node SET serial = ? WHERE id = ?", (value, row))
                    case "profile":
                        checks.profile_exists(db, value)
                        db.execute("UPDATE node SET profile = ? WHERE id = ?", (value, row))
                    case _ if key in COLUMNS:
                        given = value
                        if key == "dhcp_options" and value is not None:
                            given = changed_options(self.own_settings(name).dhcp_options, value)
                        db.execute(f"UPDATE node SET {key} = ? WHERE id = ?", (stored(key, given), row))  # noqa: S608 (key is a column of ours)
                    case _:
                        raise UserError(f"a node has no setting {key!r}")
        return self.node(name)

    def learn_serial(self, name: str, serial: str) -> bool:
        """Note the serial number that a node's board told of itself; returns whether it was news.

        Cheap, and without a transaction, where it is known. Raises UserError, and changes nothing, where the
        node's board should have another serial number, or another node has this one.
        """
        rows = self._rows("SELECT serial FROM node WHERE name = ?", name)
        if not rows or same_serial(rows[0][0], serial):
            return False
        if rows[0][0] is not None:
            raise UserError(
                f"{name} has serial {rows[0][0]}, and its board says {serial}",
                f"if that is right: `netbootctl node set {name} --serial {serial}`",
            )
        with self._transaction() as db:
            checks.serial_is_free(db, serial, name)
            db.execute("UPDATE node SET serial = ? WHERE name = ? AND serial IS NULL", (serial, name))
        return True

    def rename_node(self, old: str, new: str, reserved: Mapping[str, str]) -> Node:
        """Give a node another name; its address, machine-id and keys stay. Raises UserError."""
        with self._transaction() as db:
            self.node(old)
            if new != old:
                checks.name_is_free(db, new, reserved)
                db.execute("UPDATE node SET name = ? WHERE name = ?", (new, old))
        return self.node(new)

    def remove_nodes(self, names: Iterable[str]) -> None:
        """Forget nodes, all or none; raises UserError where one isn't registered."""
        with self._transaction() as db:
            for name in names:
                self.node(name)
                db.execute("DELETE FROM node WHERE name = ?", (name,))

    # Profiles

    def profiles(self) -> list[Profile]:
        """All profiles by name."""
        with database.reading("the registry"):
            return registry_rows.profiles(self._db)

    def put_profile(self, profile: Profile) -> None:
        """Add a profile, or replace the one of that name. Raises UserError for a parent that can't be one."""
        with self._transaction() as db:
            checks.profile_exists(db, profile.parent)
            registry_rows.put_profile(db, profile)
            checks.inheritance_ends(db, profile.name)

    def remove_profile(self, name: str) -> None:
        """Remove a profile that nobody uses; raises UserError."""
        with self._transaction() as db:
            checks.profile_exists(db, name)
            checks.profile_is_unused(db, name)
            db.execute("DELETE FROM profile WHERE name = ?", (name,))

    # All of it at once

    def contents(self) -> Contents:
        """All nodes and profiles, as they are at one moment."""
        with database.reading("the registry"):
            self._db.execute("BEGIN")
            try:
                return registry_rows.contents(self._db)
            finally:
                self._db.execute("COMMIT")

    def rewrite(self, change: Rewrite) -> None:
        """Carry out `change`, all or nothing; what it says has to be checked already (exchange/plan.py).

        Raises UserError where the registry doesn't hold what `change` was made from any more.
        """
        with self._transaction() as db:
            if registry_rows.contents(db) != change.before:
                raise UserError("the registry was changed meanwhile", "run the command again")
            registry_rows.rewrite(db, change, _machine_id)

    # Which generation a node boots

    def set_booted(self, node: str, image: str, number: int, root: RootMode, now: float) -> None:
        """Note what a node was told to boot; that generation stays exported until it boots another."""
        if self._rows(f"{_BOOTED} WHERE name = ?", node) == [(node, image, number, root)]:
            return
        with self._transaction() as db:
            db.execute(
                "INSERT INTO booted (node, image, generation, root, time)"
                " SELECT id, ?, ?, ?, ? FROM node WHERE name = ?"
                " ON CONFLICT (node) DO UPDATE SET image = excluded.image,"
                " generation = excluded.generation, root = excluded.root, time = excluded.time",
                (image, number, root, now, node),
            )

    def booted(self) -> dict[str, Booted]:
        """Node name -> what it was last told to boot."""
        rows = self._rows(_BOOTED)
        return {name: Booted(image, number, RootMode(root)) for name, image, number, root in rows}

    # What nodes tell of themselves

    def learn_cores(self, name: str, cores: int) -> bool:
        """Note how many processor cores a node says it has; returns whether it was news."""
        if self.cores(name).get(name) == cores:
            return False
        with self._transaction() as db:
            db.execute(
                "INSERT INTO hardware SELECT id, ? FROM node WHERE name = ?"
                " ON CONFLICT (node) DO UPDATE SET cores = excluded.cores",
                (cores, name),
            )
        return True

    def cores(self, name: str | None = None) -> dict[str, int]:
        """Node name -> processor cores, of all that told, or of the one called `name` alone."""
        query = "SELECT name, cores FROM hardware JOIN node ON node.id = hardware.node"
        return dict(self._rows(f"{query} WHERE name = ?", name) if name else self._rows(query))

    # Leases

    def leases(self) -> list[Lease]:
        """All leases of the pools, expired ones too, by address."""
        rows = self._rows(
            "SELECT address, mac, client_id, host_name, expires, state FROM lease ORDER BY address"
        )
        return [
            Lease(
                address=IPv4Address(address),
                mac=Mac(mac),
                client_id=client_id,
                host_name=host,
                expires=expires,
                state=LeaseState(state),
            )
            for address, mac, client_id, host, expires, state in rows
        ]

    def commit_leases(self, leases: Sequence[Lease]) -> None:
        """Write leases, each in place of the one of its address. On the disk when this returns."""
        if not leases:
            return
        with self._transaction(counts=False) as db:
            db.executemany(
                "INSERT OR REPLACE INTO lease VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (int(le.address), le.mac, le.client_id, le.host_name, le.expires, le.state)
                    for le in leases
                ],
            )

    # Details

    @contextmanager
    def _transaction(self, *, counts: bool = True) -> Iterator[sqlite3.Connection]:
        with database.transaction(self._db, "the registry"):
            yield self._db
            if counts:
                self._db.execute("UPDATE version SET number = number + 1")
        self._writes += counts

    def _rows(self, query: str, *values: str | int) -> list[tuple[Any, ...]]:
        with database.reading("the registry"):
            return self._db.execute(query, values).fetchall()

    def _select(self, where: str = registry_rows.BY_ADDRESS, *values: str | int) -> list[Node]:
        with database.reading("the registry"):
            records = registry_rows.nodes(self._db, where, *values)
        return [each.resolved(self._inherited(each.profile)) for each in records]

    def _inherited(self, profile: str | None) -> Settings:
        if profile is None:
            return NOTHING_SET
        version = self.version
        if self._resolved_at != version:
            self._resolved, self._resolved_at = {}, version
        if profile not in self._resolved:
            self._resolved[profile] = inherited(profile, {p.name: p for p in self.profiles()})
        return self._resolved[profile]

    def _put_macs(self, node: int, macs: tuple[Mac, ...], name: str) -> None:
        if not macs:
            raise UserError(f"node {name!r} needs a MAC address", "pass --mac")
        for position, mac in enumerate(macs):
            checks.card_is_free(self._db, mac)
            self._db.execute("INSERT INTO mac VALUES (?, ?, ?)", (mac, node, position))


def _machine_id() -> str:
    """128 random bits as machine-id(5) wants them: a version 4 UUID without hyphens."""
    bits = bytearray(secrets.token_bytes(16))
    bits[6] = bits[6] & 0x0F | 0x40
    bits[8] = bits[8] & 0x3F | 0x80
    return bits.hex()
