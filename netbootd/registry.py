"""The registry: nodes, profiles and leases in one SQLite file.

One transaction per verb; a verb that returned is on the disk, and one that raised changed nothing. The
daemon and netbootctl open it at the same time: WAL keeps readers and the one writer out of each other's
way, and `version` tells a reader whether what it memoised still holds.

It is longer than most modules on purpose: all that one transaction may have to look at stands in one place.
"""

import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.resources import files
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Self

from netbootd import database, rewriting
from netbootd.contents import Contents, Rewrite
from netbootd.errors import UserError
from netbootd.lease import Lease, LeaseState
from netbootd.network import Network, network_of
from netbootd.node import Booted, Mac, Node, RootMode, same_serial
from netbootd.settings import (
    COLUMNS,
    DEEPEST_PROFILE,
    NOTHING_SET,
    Profile,
    Settings,
    changed_options,
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
        return self._select("ORDER BY node.address, position")

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
        free = self._free_addresses(networks)
        with self._transaction() as db:
            for request in requests:
                self._check_name(request.name, reserved)
                address = request.address
                if address is None:
                    address = next(free)
                self._check_address(address, networks, request.name)
                self._check_profile(request.profile)
                row = db.execute(
                    f"INSERT INTO node (name, address, machine_id, serial, profile, {_SETTINGS})"  # noqa: S608 (our columns)
                    f" VALUES (?, ?, ?, ?, ?{', ?' * len(COLUMNS)})",
                    (
                        request.name,
                        int(address),
                        _machine_id(),
                        self._free_serial(request.serial, request.name),
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
                        self._check_address(value, networks, name)
                        db.execute("UPDATE node SET address = ? WHERE id = ?", (int(value), row))
                    case "serial":
                        db.execute(
                            "UPDATE node SET serial = ? WHERE id = ?", (self._free_serial(value, name), row)
                        )
                    case "profile":
                        self._check_profile(value)
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
            db.execute(
                "UPDATE node SET serial = ? WHERE name = ? AND serial IS NULL",
                (self._free_serial(serial, name), name),
            )
        return True

    def rename_node(self, old: str, new: str, reserved: Mapping[str, str]) -> Node:
        """Give a node another name; its address, machine-id and keys stay. Raises UserError."""
        with self._transaction() as db:
            self.node(old)
            if new != old:
                self._check_name(new, reserved)
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
        rows = self._rows(f"SELECT name, parent, {_SETTINGS} FROM profile ORDER BY name")  # noqa: S608 (our columns)
        return [
            Profile(name=name, parent=parent, settings=Settings.of_row(rest)) for name, parent, *rest in rows
        ]

    def put_profile(self, profile: Profile) -> None:
        """Add a profile, or replace the one of that name. Raises UserError for a parent that can't be one."""
        with self._transaction() as db:
            self._check_profile(profile.parent)
            updates = ", ".join(f"{column} = excluded.{column}" for column in ("parent", *COLUMNS))
            db.execute(
                f"INSERT INTO profile (name, parent, {_SETTINGS}) VALUES (?, ?{', ?' * len(COLUMNS)})"  # noqa: S608 (our columns)
                f" ON CONFLICT (name) DO UPDATE SET {updates}",
                (profile.name, profile.parent, *profile.settings.row),
            )
            parents = dict(db.execute("SELECT name, parent FROM profile").fetchall())
            name: str | None = profile.name
            for _ in range(DEEPEST_PROFILE):
                name = parents.get(name) if name else None
            if name is not None:
                raise UserError(
                    f"profile {profile.name!r} would inherit from itself", "choose another parent"
                )

    def remove_profile(self, name: str) -> None:
        """Remove a profile that nobody uses; raises UserError."""
        with self._transaction() as db:
            self._check_profile(name)
            users = [row[0] for row in db.execute("SELECT name FROM node WHERE profile = ?", (name,))]
            users += [row[0] for row in db.execute("SELECT name FROM profile WHERE parent = ?", (name,))]
            if users:
                raise UserError(
                    f"profile {name!r} is used by {', '.join(users[:5])}", "give them another one first"
                )
            db.execute("DELETE FROM profile WHERE name = ?", (name,))

    # All of it at once

    def contents(self) -> Contents:
        """All nodes and profiles, as they are at one moment."""
        with database.reading("the registry"):
            self._db.execute("BEGIN")
            try:
                return rewriting.read(self._db)
            finally:
                self._db.execute("COMMIT")

    def rewrite(self, change: Rewrite) -> None:
        """Carry out `change`, all or nothing; what it says has to be checked already (exchange/plan.py).

        Raises UserError where the registry doesn't hold what `change` was made from any more.
        """
        with self._transaction() as db:
            if rewriting.read(db) != change.before:
                raise UserError("the registry was changed meanwhile", "run the command again")
            rewriting.write(db, change, _machine_id)

    # Which generation a node boots

    def set_booted(self, node: str, image: str, number: int, root: RootMode, now: float) -> None:
        """Note what a node was told to boot; that generation stays exported until it boots another."""
        query = (
            "SELECT booted.image, generation, booted.root FROM booted"
            " JOIN node ON node.id = booted.node WHERE name = ?"
        )
        if self._rows(query, node) == [(image, number, root)]:
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
        rows = self._rows(
            "SELECT name, booted.image, generation, booted.root"
            " FROM booted JOIN node ON node.id = booted.node"
        )
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

    def _select(self, where: str, *values: str | int) -> list[Node]:
        rows = self._rows(
            f"SELECT node.name, mac, address, machine_id, serial, profile, {_SETTINGS}"  # noqa: S608 (`where` is ours)
            f" FROM node JOIN mac ON mac.node = node.id {where}",
            *values,
        )
        nodes: dict[str, Node] = {}
        for name, mac, address, machine_id, serial, profile, *own in rows:
            if name in nodes:
                nodes[name] = _with_mac(nodes[name], mac)
                continue
            settings = Settings.of_row(own)
            if profile is not None:
                settings = settings.over(self._inherited(profile))
            nodes[name] = Node(
                name=name,
                macs=(Mac(mac),),
                address=IPv4Address(address),
                machine_id=machine_id,
                serial=serial,
                profile=profile,
                image=settings.image,
                root=settings.root or RootMode.OVERLAY,
                kernel_args=settings.kernel_args or "",
                loader=settings.loader,
                eeprom_update=bool(settings.eeprom_update),
                dhcp_options=settings.dhcp_options,
            )
        return list(nodes.values())

    def _inherited(self, profile: str) -> Settings:
        version = self.version
        if self._resolved_at != version:
            self._resolved, self._resolved_at = {}, version
        if profile not in self._resolved:
            found = {p.name: p for p in self.profiles()}
            settings, name = Settings(), profile
            for _ in range(DEEPEST_PROFILE):
                settings = settings.over(found[name].settings)
                parent = found[name].parent
                if parent is None:
                    break
                name = parent
            self._resolved[profile] = settings
        return self._resolved[profile]

    def _check_name(self, name: str, reserved: Mapping[str, str]) -> None:
        if name in reserved:
            raise UserError(f"{name!r} is the name of {reserved[name]}", "choose another name")
        row = self._db.execute(
            "SELECT mac FROM node JOIN mac ON mac.node = node.id WHERE name = ?", (name,)
        ).fetchone()
        if row:
            raise UserError(
                f"there is a node {name!r} already, with MAC {row[0]}",
                "choose another name, or `node set` it",
            )

    def _check_address(self, address: IPv4Address, networks: tuple[Network, ...], name: str) -> None:
        network = network_of(address, networks)
        if network is None:
            known = ", ".join(str(n.subnet) for n in networks) or "no network is configured"
            raise UserError(
                f"{address} lies outside every network served ({known})",
                "choose an address inside, or add the network",
            )
        network.check_node_address(address)
        row = self._db.execute(
            "SELECT name FROM node WHERE address = ? AND name <> ?", (int(address), name)
        ).fetchone()
        if row:
            raise UserError(f"{address} belongs to node {row[0]!r} already", "choose another address")

    def _check_profile(self, profile: str | None) -> None:
        if (
            profile is not None
            and not self._db.execute("SELECT 1 FROM profile WHERE name = ?", (profile,)).fetchone()
        ):
            raise UserError(
                f"there is no profile {profile[:80]!r}",
                "`netbootctl profile list` shows them, `profile set` makes one",
            )

    def _free_serial(self, serial: str | None, name: str) -> str | None:
        if serial is not None:
            rows = self._db.execute(
                "SELECT name, serial FROM node WHERE substr(serial, -8) = ? AND name <> ?",
                (serial[-8:], name),
            ).fetchall()
            for other, taken in rows:
                if same_serial(taken, serial):
                    raise UserError(
                        f"serial {serial} belongs to node {other!r} already", "check the board's label"
                    )
        return serial

    def _put_macs(self, node: int, macs: tuple[Mac, ...], name: str) -> None:
        if not macs:
            raise UserError(f"node {name!r} needs a MAC address", "pass --mac")
        for position, mac in enumerate(macs):
            row = self._db.execute(
                "SELECT name FROM mac JOIN node ON node.id = mac.node WHERE mac = ?", (mac,)
            ).fetchone()
            if row:
                raise UserError(f"MAC {mac} belongs to node {row[0]!r} already", "check the board's label")
            self._db.execute("INSERT INTO mac VALUES (?, ?, ?)", (mac, node, position))

    def _free_addresses(self, networks: tuple[Network, ...]) -> Iterator[IPv4Address]:
        """What is free when it is asked for, upwards; raises UserError when there is no more."""
        ranges = [(n, n.range) for n in networks if n.range]
        if not ranges:
            named = " and ".join(str(network.subnet) for network in networks)
            raise UserError(
                f"there is no range of {named or 'any network'} to take addresses from",
                "pass --ip, or set `range` in netbootd.toml",
            )
        for network, span in ranges:
            for address in span:
                taken = self._db.execute("SELECT 1 FROM node WHERE address = ?", (int(address),)).fetchone()
                if not taken and network.usable(address) and address != network.router:
                    yield address
        raise UserError(
            f"no address is left in {', '.join(str(span) for _, span in ranges)}",
            "pass --ip, or widen `range` in netbootd.toml",
        )


def _with_mac(node: Node, mac: str) -> Node:
    return replace(node, macs=(*node.macs, Mac(mac)))


def _machine_id() -> str:
    """128 random bits as machine-id(5) wants them: a version 4 UUID without hyphens."""
    bits = bytearray(secrets.token_bytes(16))
    bits[6] = bits[6] & 0x0F | 0x40
    bits[8] = bits[8] & 0x3F | 0x80
    return bits.hex()
