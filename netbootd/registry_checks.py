"""What a change of the registry has to keep to, looked up inside the transaction that makes it.

Each takes the registry's connection and raises UserError for what can't be. Checked here is what the nodes
and profiles that are registered forbid; what a value has to be in itself, its own type says.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address

from netbootd.errors import UserError, did_you_mean
from netbootd.network import Network, network_of
from netbootd.node import Mac, same_serial
from netbootd.settings import DEEPEST_PROFILE


def name_is_free(db: sqlite3.Connection, name: str, reserved: Mapping[str, str]) -> None:
    """No node has the name. `reserved`: names that no node can have, each with whose it is."""
    if name in reserved:
        raise UserError(f"{name!r} is the name of {reserved[name]}", "choose another name")
    row = db.execute("SELECT mac FROM node JOIN mac ON mac.node = node.id WHERE name = ?", (name,)).fetchone()
    if row:
        raise UserError(
            f"there is a node {name!r} already, with MAC {row[0]}", "choose another name, or `node set` it"
        )


def address_is_free(
    db: sqlite3.Connection, address: IPv4Address, networks: tuple[Network, ...], name: str
) -> None:
    """A node of a network can have the address, and none but the one called `name` does."""
    network = network_of(address, networks)
    if network is None:
        known = ", ".join(str(n.subnet) for n in networks) or "no network is configured"
        raise UserError(
            f"{address} lies outside every network served ({known})",
            "choose an address inside, or add the network",
        )
    network.check_node_address(address)
    row = db.execute("SELECT name FROM node WHERE address = ? AND name <> ?", (int(address), name)).fetchone()
    if row:
        raise UserError(f"{address} belongs to node {row[0]!r} already", "choose another address")


def free_addresses(db: sqlite3.Connection, networks: tuple[Network, ...]) -> Iterator[IPv4Address]:
    """What is free when it is asked for, upwards through the ranges; raises when there is no more."""
    ranges = [(n, n.range) for n in networks if n.range]
    if not ranges:
        named = " and ".join(str(network.subnet) for network in networks)
        raise UserError(
            f"there is no range of {named or 'any network'} to take addresses from",
            "pass --ip, or set `range` in netbootd.toml",
        )
    for network, span in ranges:
        for address in span:
            taken = db.execute("SELECT 1 FROM node WHERE address = ?", (int(address),)).fetchone()
            if not taken and network.usable(address) and address != network.router:
                yield address
    raise UserError(
        f"no address is left in {', '.join(str(span) for _, span in ranges)}",
        "pass --ip, or widen `range` in netbootd.toml",
    )


def card_is_free(db: sqlite3.Connection, mac: Mac) -> None:
    """No node has the card."""
    row = db.execute("SELECT name FROM mac JOIN node ON node.id = mac.node WHERE mac = ?", (mac,)).fetchone()
    if row:
        raise UserError(f"MAC {mac} belongs to node {row[0]!r} already", "check the board's label")


def serial_is_free(db: sqlite3.Connection, serial: str | None, name: str) -> None:
    """No board but that of the node called `name` has the serial number, be it written long or short."""
    if serial is None:
        return
    rows = db.execute(
        "SELECT name, serial FROM node WHERE substr(serial, -8) = ? AND name <> ?", (serial[-8:], name)
    ).fetchall()
    for other, taken in rows:
        if same_serial(taken, serial):
            raise UserError(f"serial {serial} belongs to node {other!r} already", "check the board's label")


def profile_exists(db: sqlite3.Connection, profile: str | None) -> None:
    """The profile is there; None always is."""
    if profile is None or db.execute("SELECT 1 FROM profile WHERE name = ?", (profile,)).fetchone():
        return
    known = [row[0] for row in db.execute("SELECT name FROM profile")]
    raise UserError(
        f"there is no profile {profile[:80]!r}",
        did_you_mean(profile, known, "`netbootctl profile list` shows them, `profile set` makes one"),
    )


def profile_is_unused(db: sqlite3.Connection, profile: str) -> None:
    """No node has the profile, and none inherits from it."""
    users = [row[0] for row in db.execute("SELECT name FROM node WHERE profile = ?", (profile,))]
    users += [row[0] for row in db.execute("SELECT name FROM profile WHERE parent = ?", (profile,))]
    if users:
        raise UserError(
            f"profile {profile!r} is used by {', '.join(users[:5])}", "give them another one first"
        )


def inheritance_ends(db: sqlite3.Connection, profile: str) -> None:
    """Who the profile inherits from doesn't inherit from it, and isn't DEEPEST_PROFILE above it."""
    parents = dict(db.execute("SELECT name, parent FROM profile").fetchall())
    name: str | None = profile
    for _ in range(DEEPEST_PROFILE):
        name = parents.get(name) if name else None
    if name is not None:
        raise UserError(f"profile {profile!r} would inherit from itself", "choose another parent")
