"""The registry: one transaction per verb, refusals that change nothing, and nothing acknowledged is lost."""

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

import pytest

from netbootd import database
from netbootd.errors import HostError, UserError
from netbootd.lease import Lease, LeaseState
from netbootd.network import AddressRange, Network
from netbootd.node import Booted, Mac, RootMode
from netbootd.registry import UPGRADES, NodeRequest, Profile, Registry, Settings

NETWORKS = (
    Network(
        interface="eth1",
        address=IPv4Interface("10.77.0.1/24"),
        range=AddressRange.parse("10.77.0.10-10.77.0.12"),
        pool=AddressRange.parse("10.77.0.100-10.77.0.199"),
    ),
)
RESERVED = {"head": "the head node"}


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry.open(tmp_path / "registry" / "registry.db")


def _request(name: str, number: int, **more: object) -> NodeRequest:
    return NodeRequest(name=name, macs=(Mac(f"52:54:00:00:00:{number:02x}"),), **more)  # type: ignore[arg-type]


def _add(registry: Registry, *requests: NodeRequest) -> None:
    registry.add_nodes(requests, NETWORKS, RESERVED)


def test_cores_are_noted_once_go_with_the_node_and_count_as_a_change(registry: Registry) -> None:
    _add(registry, _request("n01", 1), _request("n02", 2))
    before = registry.version
    assert registry.learn_cores("n01", 4)
    assert registry.version != before
    before = registry.version
    assert not registry.learn_cores("n01", 4)
    assert registry.version == before
    assert registry.learn_cores("n01", 8)
    registry.rename_node("n01", "n09", {})
    assert registry.cores() == {"n09": 8}
    assert [node.cores for node in registry.contents().nodes] == [8, None]
    assert (registry.cores("n09"), registry.cores("n02")) == ({"n09": 8}, {})
    registry.remove_nodes(["n09"])
    registry.learn_cores("n09", 4)
    assert registry.cores() == {}


def test_a_node_is_found_by_everything_it_has(registry: Registry) -> None:
    _add(registry, _request("n01", 1, serial="bd989ae1"))
    node = registry.node("n01")
    assert node.address == IPv4Address("10.77.0.10")
    assert registry.node_by_mac(Mac("52:54:00:00:00:01")) == node
    assert registry.node_by_address(node.address) == node
    assert registry.node_by_serial("bd989ae1") == node
    assert registry.node_by_mac(Mac("52:54:00:00:00:02")) is None
    assert len(node.machine_id) == 32
    assert node.machine_id[12] == "4"


def test_addresses_come_from_the_range_until_it_is_empty(registry: Registry) -> None:
    _add(registry, *(_request(f"n{i}", i) for i in (1, 2, 3)))
    assert [str(node.address) for node in registry.nodes()] == ["10.77.0.10", "10.77.0.11", "10.77.0.12"]
    with pytest.raises(UserError, match="no address is left"):
        _add(registry, _request("n4", 4))
    registry.remove_nodes(["n2"])
    _add(registry, _request("n4", 4))
    assert str(registry.node("n4").address) == "10.77.0.11"


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (_request("n01", 9), "already, with MAC 52:54:00:00:00:01"),
        (_request("n09", 1), "belongs to node 'n01'"),
        (_request("head", 9), "the head node"),
        (_request("n09", 9, address=IPv4Address("10.77.0.10")), "belongs to node 'n01'"),
        (_request("n09", 9, address=IPv4Address("10.78.0.10")), "outside every network"),
        (_request("n09", 9, address=IPv4Address("10.77.0.100")), "pool"),
        (_request("n09", 9, address=IPv4Address("10.77.0.1")), "head node's own"),
        (_request("n09", 9, serial="abc"), "serial abc belongs to node 'n01'"),
        (_request("n09", 9, profile="none"), "no profile"),
        (NodeRequest(name="n09", macs=()), "needs a MAC"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(
    registry: Registry, request_: NodeRequest, reason: str
) -> None:
    _add(registry, _request("n01", 1, serial="abc"))
    before, version = registry.nodes(), registry.version
    with pytest.raises(UserError, match=reason):
        _add(registry, _request("n08", 8), request_)
    assert registry.nodes() == before
    assert registry.version == version


def test_a_node_can_be_changed_and_renamed_and_keeps_who_it_is(registry: Registry) -> None:
    _add(registry, _request("n01", 1), _request("n02", 2))
    identity = registry.node("n01").machine_id
    registry.set_node(
        "n01", {"image": "debian", "root": RootMode.RAM, "address": IPv4Address("10.77.0.50")}, NETWORKS
    )
    node = registry.rename_node("n01", "orion", RESERVED)
    assert (node.name, node.image, node.root, node.machine_id) == ("orion", "debian", RootMode.RAM, identity)
    with pytest.raises(UserError, match="already"):
        registry.rename_node("orion", "n02", RESERVED)
    with pytest.raises(UserError, match="no node 'n01'"):
        registry.node("n01")
    with pytest.raises(UserError, match="belongs to node 'n02'"):
        registry.set_node("orion", {"image": "x", "macs": (Mac("52:54:00:00:00:02"),)}, NETWORKS)
    assert registry.node("orion").image == "debian"


def test_a_node_takes_from_its_profile_what_it_leaves_open(registry: Registry) -> None:
    registry.put_profile(Profile(name="all", settings=Settings(image="debian", kernel_args="quiet")))
    registry.put_profile(Profile(name="render", parent="all", settings=Settings(root=RootMode.RAM)))
    _add(registry, _request("n01", 1, profile="render", settings=Settings(kernel_args="debug")))
    node = registry.node("n01")
    assert (node.image, node.root, node.kernel_args) == ("debian", RootMode.RAM, "debug")
    registry.put_profile(Profile(name="all", settings=Settings(image="ubuntu")))
    assert registry.node("n01").image == "ubuntu"
    registry.set_node("n01", {"kernel_args": None}, NETWORKS)
    assert registry.node("n01").kernel_args == ""
    with pytest.raises(UserError, match="used by n01"):
        registry.remove_profile("render")
    with pytest.raises(UserError, match="inherit from itself"):
        registry.put_profile(Profile(name="all", parent="render"))
    assert registry.profiles()[0].parent is None


def test_another_connection_s_change_is_seen_at_once(tmp_path: Path) -> None:
    one = Registry.open(tmp_path / "r" / "registry.db")
    other = Registry.open(tmp_path / "r" / "registry.db")
    one.put_profile(Profile(name="p", settings=Settings(image="a")))
    _add(one, _request("n01", 1, profile="p"))
    version = other.version
    assert other.node("n01").image == "a"
    one.put_profile(Profile(name="p", settings=Settings(image="b")))
    assert other.version != version
    assert other.node("n01").image == "b"


def test_what_a_node_booted_is_remembered_until_it_boots_another(registry: Registry) -> None:
    _add(registry, _request("n01", 1))
    registry.set_booted("n01", "debian", 1, RootMode.OVERLAY, 100.0)
    registry.set_booted("n01", "debian", 2, RootMode.OVERLAY, 200.0)
    registry.set_booted("gone", "debian", 2, RootMode.OVERLAY, 200.0)
    assert registry.booted() == {"n01": Booted("debian", 2, RootMode.OVERLAY)}
    registry.set_booted("n01", "debian", 2, RootMode.PERSISTENT, 300.0)
    registry.set_node("n01", {"root": RootMode.RAM}, NETWORKS)
    assert registry.booted() == {"n01": Booted("debian", 2, RootMode.PERSISTENT)}, "it still runs with that"
    assert registry.booted()["n01"].label == "debian@2"
    registry.remove_nodes(["n01"])
    assert registry.booted() == {}


def test_a_lease_takes_the_place_of_its_address_s_former_one(registry: Registry) -> None:
    lease = Lease(
        address=IPv4Address("10.77.0.100"),
        mac=Mac("52:54:00:00:00:01"),
        client_id=b"\1abc",
        host_name="x",
        expires=5.0,
    )
    registry.commit_leases([lease])
    released = Lease(
        address=lease.address, mac=lease.mac, client_id=b"", expires=9.0, state=LeaseState.DECLINED
    )
    registry.commit_leases([released])
    assert registry.leases() == [released]


def test_a_file_that_is_no_registry_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    path.write_bytes(b"not a database, but something dear to somebody" * 100)
    before = path.read_bytes()
    with pytest.raises(HostError, match=r"registry\.db"):
        Registry.open(path)
    assert path.read_bytes() == before


def test_a_file_that_goes_bad_later_is_an_error_in_words(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    registry = Registry.open(path)
    _add(registry, _request("n01", 1))
    registry.close()
    registry = Registry.open(path)
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 30_000)
    with pytest.raises(HostError, match="can't read the registry"):
        registry.nodes()


def test_a_newer_registry_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    Registry.open(path).close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.commit()
    db.close()
    with pytest.raises(HostError, match="newer netbootd"):
        Registry.open(path)


_WRITER = """
import sys
from pathlib import Path
from tests.test_registry import _add, _request
from netbootd.registry import NodeRequest, Registry
from netbootd.node import Mac
from netbootd.network import AddressRange, Network
from ipaddress import IPv4Interface
span = AddressRange.parse("10.1.0.0-10.9.0.0")
wide = (Network(interface="eth1", address=IPv4Interface("10.0.0.1/8"), range=span),)
registry = Registry.open(Path(sys.argv[1]))
number = int(sys.argv[2])
while True:
    number += 1
    mac = Mac.from_octets(b"\\x52\\x54" + number.to_bytes(4, "big"))
    registry.add_nodes([NodeRequest(name=f"n{number}", macs=(mac,))], wide, {})
    print(f"n{number}", flush=True)
"""


def test_a_kill_at_any_moment_loses_no_acknowledged_registration(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    acknowledged: list[str] = []
    for round_ in range(6):
        child = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(path), str(round_ * 100_000)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None
        acknowledged.append(child.stdout.readline().strip())
        time.sleep(random.uniform(0.0, 0.15))
        os.kill(child.pid, signal.SIGKILL)
        acknowledged += [
            line.strip() for line in child.stdout.read().splitlines(keepends=True) if line.endswith("\n")
        ]
        child.wait()
        child.stdout.close()
    registry = Registry.open(path)
    assert len(acknowledged) > 6
    assert set(acknowledged) <= {node.name for node in registry.nodes()}


@pytest.fixture
def daemons_directory() -> Iterator[Path]:
    """A directory as the daemon's user has it, where that user can get to."""
    if os.geteuid() != 0:
        pytest.skip("needs root: two users")
    with tempfile.TemporaryDirectory(prefix="netbootd-registry-") as base:
        Path(base).chmod(0o755)
        directory = Path(base, "registry")
        directory.mkdir(mode=0o750)
        os.chown(directory, 65534, 65534)
        yield directory


def test_what_root_makes_in_the_daemons_directory_is_the_daemons(daemons_directory: Path) -> None:
    with Registry.open(daemons_directory / "registry.db") as registry:
        registry.add_nodes([_request("n01", 1)], NETWORKS, RESERVED)
        found = {path.name: path.stat().st_uid for path in daemons_directory.iterdir()}
        assert found == {"registry.db": 65534, "registry.db-wal": 65534, "registry.db-shm": 65534}
        assert os.geteuid() == 0


@pytest.mark.parametrize("name", ["registry.db", "registry.db-wal", "registry.db-shm"])
def test_a_link_planted_in_the_daemons_directory_leads_root_nowhere(
    daemons_directory: Path, name: str
) -> None:
    """Else whoever gets hold of the daemon has root make or change a file wherever they like."""
    target = daemons_directory.parent / "not-yours"
    (daemons_directory / name).symlink_to(target)
    with pytest.raises(HostError, match="can't"):
        Registry.open(daemons_directory / "registry.db").close()
    assert not target.exists()
    target.write_text("secret")
    target.chmod(0o600)
    with pytest.raises(HostError, match="can't"):
        Registry.open(daemons_directory / "registry.db").close()
    assert target.read_text() == "secret"
    assert target.stat().st_uid == 0


def test_a_registry_that_somebody_writes_to_opens_at_once_and_is_read(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    registry = Registry.open(path)
    _add(registry, _request("n01", 1))
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    other = Registry.open(path, patience=0.01)
    assert [node.name for node in other.nodes()] == ["n01"]
    with pytest.raises(HostError, match="database is locked"):
        other.set_booted("n01", "debian", 1, RootMode.OVERLAY, 0.0)
    writer.execute("ROLLBACK")
    other.set_booted("n01", "debian", 1, RootMode.OVERLAY, 0.0)
    assert registry.booted() == {"n01": Booted("debian", 1, RootMode.OVERLAY)}


def test_a_file_damaged_while_it_is_open_is_an_error_in_words(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    registry = Registry.open(path)
    _add(registry, _request("n01", 1))
    registry._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    registry.close()
    registry = Registry.open(path)
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    for read in (registry.nodes, registry.leases, registry.booted, registry.profiles):
        with pytest.raises(HostError, match="can't read the registry"):
            read()
    with pytest.raises(HostError, match="can't write the registry"):
        registry.commit_leases(
            [
                Lease(
                    address=IPv4Address("10.77.0.100"),
                    mac=Mac("52:54:00:00:00:01"),
                    client_id=b"x",
                    expires=1.0,
                )
            ]
        )


def test_given_and_chosen_addresses_of_one_command_keep_clear_of_each_other(registry: Registry) -> None:
    _add(
        registry,
        _request("n1", 1, address=IPv4Address("10.77.0.10")),
        _request("n2", 2),
        _request("n3", 3, address=IPv4Address("10.77.0.12")),
    )
    assert [str(node.address) for node in registry.nodes()] == ["10.77.0.10", "10.77.0.11", "10.77.0.12"]


# A registry written by netbootd's first version


@pytest.fixture
def first_version_s(tmp_path: Path) -> Path:
    path = tmp_path / "registry.db"
    shutil.copyfile(Path(__file__).parent / "registries" / "schema-1.db", path)
    return path


def test_a_registry_of_the_first_version_is_upgraded_and_keeps_all_it_held(first_version_s: Path) -> None:
    with Registry.open(first_version_s) as registry:
        n01, n02 = registry.nodes()
        assert (n01.name, n01.serial, n01.image, n01.root) == ("n01", "bd989ae1", "debian", RootMode.RAM)
        assert (n01.kernel_args, len(n01.macs)) == ("debug", 2)
        assert (n01.loader, n01.eeprom_update, dict(n01.dhcp_options)) == (None, False, {})
        assert (n02.image, n02.profile) == ("ubuntu", None)
        assert registry.booted() == {"n01": Booted("debian", 3, RootMode.OVERLAY)}
        assert [lease.host_name for lease in registry.leases()] == ["x"]
        registry.put_profile(Profile(name="gpu", parent="base", settings=Settings(loader="grub")))
        registry.set_node("n02", {"eeprom_update": True, "dhcp_options": {42: b"\1\2\3\4"}}, NETWORKS)
    with Registry.open(first_version_s) as registry:
        assert registry.node("n01").loader == "grub"
        n02 = registry.node("n02")
        assert (n02.eeprom_update, dict(n02.dhcp_options)) == (True, {42: b"\1\2\3\4"})


def test_an_upgraded_registry_has_what_a_new_one_has(first_version_s: Path, tmp_path: Path) -> None:
    Registry.open(first_version_s).close()
    Registry.open(tmp_path / "new" / "registry.db").close()
    seen = []
    for path in (first_version_s, tmp_path / "new" / "registry.db"):
        db = sqlite3.connect(path)
        tables = [row[0] for row in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        columns = {table: db.execute(f"PRAGMA table_info({table})").fetchall() for table in tables}
        indexes = [tuple(row) for row in db.execute("SELECT name FROM sqlite_schema WHERE type = 'index'")]
        seen.append((columns, sorted(indexes), db.execute("PRAGMA user_version").fetchone()))
        with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
            db.execute("INSERT INTO profile (name, eeprom_update) VALUES ('x', 2)")
        db.close()
    assert seen[0] == seen[1]


def test_an_upgrade_that_is_broken_off_changes_nothing(first_version_s: Path) -> None:
    spoilt = UPGRADES[1] + ";\n ALTER TABLE no_such_table ADD COLUMN x TEXT"
    with pytest.raises(HostError, match="no_such_table"):
        database.open_durable(first_version_s, 2, "", {1: spoilt})
    db = sqlite3.connect(first_version_s)
    assert db.execute("PRAGMA user_version").fetchone() == (1,)
    assert "loader" not in [row[1] for row in db.execute("PRAGMA table_info(node)")]
    db.close()
    Registry.open(first_version_s).close()


def test_two_that_open_an_old_registry_at_once_upgrade_it_once(first_version_s: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: Registry.open(first_version_s).close(), range(4)))
    with Registry.open(first_version_s) as registry:
        assert len(registry.nodes()) == 2


# Settings of later versions


def test_each_dhcp_option_is_inherited_by_itself(registry: Registry) -> None:
    registry.put_profile(
        Profile(name="all", settings=Settings(dhcp_options={42: b"\1\1\1\1", 2: b"\0\0\0\0"}))
    )
    registry.put_profile(Profile(name="pi", parent="all", settings=Settings(dhcp_options={66: b"a"})))
    own = Settings(dhcp_options={42: b"\2\2\2\2"})
    _add(registry, _request("n01", 1, profile="pi", settings=own))
    assert registry.node("n01").dhcp_options == {42: b"\2\2\2\2", 2: b"\0\0\0\0", 66: b"a"}
    assert registry.own_settings("n01") == own
    registry.set_node("n01", {"dhcp_options": {2: b"", 42: None}}, NETWORKS)
    assert registry.node("n01").dhcp_options == {42: b"\1\1\1\1", 2: b"", 66: b"a"}
    registry.set_node("n01", {"dhcp_options": None}, NETWORKS)
    assert registry.own_settings("n01").dhcp_options == {}


def test_a_node_s_no_goes_before_its_profile_s_yes(registry: Registry) -> None:
    registry.put_profile(Profile(name="p", settings=Settings(eeprom_update=True, loader="grub")))
    _add(registry, _request("n01", 1, profile="p"), _request("n02", 2, profile="p"))
    registry.set_node("n02", {"eeprom_update": False, "loader": "ipxe"}, NETWORKS)
    assert [(n.eeprom_update, n.loader) for n in registry.nodes()] == [(True, "grub"), (False, "ipxe")]


def test_a_serial_number_is_learned_once_and_costs_nothing_after(registry: Registry) -> None:
    _add(registry, _request("n01", 1), _request("n02", 2))
    assert registry.learn_serial("n01", "bd989ae1")
    version = registry.version
    assert not registry.learn_serial("n01", "bd989ae1")
    assert not registry.learn_serial("gone", "bd989ae1")
    with pytest.raises(UserError, match="serial bd989ae1 belongs to node 'n01'"):
        registry.learn_serial("n02", "bd989ae1")
    with pytest.raises(UserError, match="n01 has serial bd989ae1, and its board says 91cdf03d"):
        registry.learn_serial("n01", "91cdf03d")
    assert registry.version == version
    assert [node.serial for node in registry.nodes()] == ["bd989ae1", None]


def test_a_pi_s_long_serial_number_and_its_last_eight_digits_are_one(registry: Registry) -> None:
    _add(registry, _request("n01", 1, serial="0c8f7e5cbd989ae1"), _request("n02", 2))
    found = registry.node_by_serial("bd989ae1")
    assert found is not None and found.name == "n01"
    assert not registry.learn_serial("n01", "bd989ae1")
    with pytest.raises(UserError, match="belongs to node 'n01'"):
        registry.set_node("n02", {"serial": "bd989ae1"}, NETWORKS)
    registry.set_node("n02", {"serial": "zm15as-bd989ae1".replace("-", "")}, NETWORKS)
    assert registry.node_by_serial("989ae1") is None
