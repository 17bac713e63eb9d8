-- The registry: what the head node knows of its nodes, and the leases that it gave.
-- One file, opened with journal_mode=WAL and synchronous=FULL: a transaction that returned is on the disk.

CREATE TABLE profile (
    name        TEXT PRIMARY KEY,
    parent      TEXT REFERENCES profile (name) ON UPDATE CASCADE,
    image       TEXT,
    root        TEXT CHECK (root IN ('overlay', 'persistent', 'ram')),
    kernel_args TEXT,
    loader      TEXT,
    eeprom_update INTEGER CHECK (eeprom_update IN (0, 1)),
    dhcp_options  TEXT                            -- JSON: option number -> its octets in hexadecimal
) STRICT;

-- A setting that is NULL comes from the profile, then from the default.
CREATE TABLE node (
    id          INTEGER PRIMARY KEY,
    name        TEXT NOT NULL UNIQUE,
    address     INTEGER NOT NULL UNIQUE,          -- IPv4, as a number: ranges compare
    machine_id  TEXT NOT NULL UNIQUE,
    serial      TEXT UNIQUE,
    profile     TEXT REFERENCES profile (name) ON UPDATE CASCADE,
    image       TEXT,
    root        TEXT CHECK (root IN ('overlay', 'persistent', 'ram')),
    kernel_args TEXT,
    loader      TEXT,
    eeprom_update INTEGER CHECK (eeprom_update IN (0, 1)),
    dhcp_options  TEXT                            -- JSON: option number -> its octets in hexadecimal
) STRICT;

-- By the last eight digits: a Raspberry Pi tells no more of its serial number when it boots.
CREATE INDEX node_serial ON node (substr(serial, -8));

CREATE TABLE mac (
    mac         TEXT PRIMARY KEY,
    node        INTEGER NOT NULL REFERENCES node (id) ON DELETE CASCADE,
    position    INTEGER NOT NULL,                 -- 0: the card that it boots from
    UNIQUE (node, position)
) STRICT, WITHOUT ROWID;

-- The generation that a node was last told to boot, and its root mode: exported so until it boots another.
CREATE TABLE booted (
    node        INTEGER PRIMARY KEY REFERENCES node (id) ON DELETE CASCADE,
    image       TEXT NOT NULL,
    generation  INTEGER NOT NULL,
    time        REAL NOT NULL,
    root        TEXT NOT NULL DEFAULT 'overlay' CHECK (root IN ('overlay', 'persistent', 'ram'))
) STRICT;

-- What a node told of itself when it was up.
CREATE TABLE hardware (
    node        INTEGER PRIMARY KEY REFERENCES node (id) ON DELETE CASCADE,
    cores       INTEGER NOT NULL CHECK (cores > 0)
) STRICT;

-- Leases of the pool. A declined address has no client (client_id '') until `expires`.
CREATE TABLE lease (
    address     INTEGER PRIMARY KEY,
    mac         TEXT NOT NULL,
    client_id   BLOB NOT NULL,                    -- option 61, else htype and chaddr
    host_name   TEXT NOT NULL,
    expires     REAL NOT NULL,                    -- Unix seconds
    state       TEXT NOT NULL CHECK (state IN ('bound', 'released', 'declined'))
) STRICT;
CREATE INDEX lease_client ON lease (client_id);

-- Counts the changes that matter to rendered files and exports; memos are keyed by it.
CREATE TABLE version (number INTEGER NOT NULL) STRICT;
INSERT INTO version VALUES (0);
