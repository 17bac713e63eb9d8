"""Who may mount what, as a table; and numbers that stay."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from netbootd.nfs.exports import LARGEST_EXPORT_ID, MOST_BLOCKS, Export, Generations, desired, export_ids
from netbootd.node import Mac, Node, RootMode

NODES = Path("/state/nodes")
COMMON = Path("/state/common")
ONE, TWO = Path("/state/images/debian/1/root"), Path("/state/images/debian/2/root")


def node(number: int, *, image: str | None = "debian", root: RootMode = RootMode.OVERLAY) -> Node:
    return Node(
        name=f"n{number}",
        macs=(Mac.from_octets(bytes([0x52, 0x54, 0, 0, 0, number])),),
        address=IPv4Address("10.77.0.0") + number,
        machine_id=f"{number:032x}",
        image=image,
        root=root,
    )


def exported(nodes: list[Node], booted: dict[str, Path] | None = None) -> dict[str, list[str]]:
    generations = Generations(current={"debian": TWO}, booted=booted or {})
    exports = desired(nodes, generations, NODES, COMMON)
    assert all(e.read_only and not e.root_squash for e in exports)
    return {str(e.path): [str(c) for c in e.clients] for e in exports}


def test_an_image_goes_to_its_nodes_and_node_files_to_their_node_alone() -> None:
    assert exported([node(10), node(20), node(30, image="other")]) == {
        "/state/common": ["10.77.0.10/32", "10.77.0.20/32", "10.77.0.30/32"],
        "/state/images/debian/2/root": ["10.77.0.10/32", "10.77.0.20/32"],
        "/state/nodes/n10": ["10.77.0.10/32"],
        "/state/nodes/n20": ["10.77.0.20/32"],
        "/state/nodes/n30": ["10.77.0.30/32"],
    }


def test_a_node_keeps_the_generation_that_it_runs_and_may_have_the_current_one() -> None:
    found = exported([node(10), node(20)], booted={"n10": ONE})
    assert found[str(ONE)] == ["10.77.0.10/32"]
    assert found[str(TWO)] == ["10.77.0.10/32", "10.77.0.20/32"]


def test_a_node_in_memory_mounts_nothing() -> None:
    assert exported([node(10, root=RootMode.RAM)]) == {}


def test_a_persistent_node_gets_no_bare_image() -> None:
    assert str(TWO) not in exported([node(10, root=RootMode.PERSISTENT)])


STREWN = [node(n) for n in range(2, 252, 2)]
NETWORKS = [IPv4Network("10.77.0.0/24"), IPv4Network("10.78.0.0/24")]


def clients(nodes: list[Node], harmless: frozenset[Path]) -> dict[Path, tuple[IPv4Network, ...]]:
    generations = Generations(current={"debian": TWO}, booted={}, harmless=harmless)
    found = desired(nodes, generations, NODES, COMMON, [Path("/home/ada")], NETWORKS)
    return {export.path: export.clients for export in found}


def test_of_nodes_with_strewn_addresses_a_generation_without_secrets_goes_to_their_network_alone() -> None:
    found = clients(STREWN, frozenset({TWO}))
    assert found.pop(TWO) == (NETWORKS[0],)
    assert {client.prefixlen for clients in found.values() for client in clients} == {32}
    assert len(found[COMMON]) == len(found[Path("/home/ada")]) == len(STREWN)
    assert all(len(clients) == 1 for path, clients in found.items() if path.is_relative_to(NODES))


def test_one_with_secrets_goes_to_its_nodes_and_nobody_else() -> None:
    assert len(clients(STREWN, frozenset({ONE}))[TWO]) == len(STREWN)


def test_a_few_blocks_stay_what_they_are() -> None:
    assert IPv4Network("10.77.0.0/24") not in clients(STREWN[: MOST_BLOCKS - 1], frozenset({TWO}))[TWO]


def test_a_node_outside_of_the_networks_stays_by_itself() -> None:
    stray = replace(node(1), address=IPv4Address("10.99.0.1"))
    assert clients([*STREWN, stray], frozenset({TWO}))[TWO] == (NETWORKS[0], IPv4Network("10.99.0.1"))


def test_what_all_share_is_written_to_by_all_nodes_and_by_nobody_as_root() -> None:
    nodes = [node(1), node(2, root=RootMode.RAM), node(9, root=RootMode.PERSISTENT)]
    found = desired(nodes, Generations(current={}, booted={}), NODES, COMMON, [Path("/home/ada")])
    (home,) = [export for export in found if export.path == Path("/home/ada")]
    assert (home.read_only, home.root_squash) == (False, True)
    assert home.clients == tuple(map(IPv4Network, ("10.77.0.1", "10.77.0.2", "10.77.0.9")))


def test_a_persistent_root_that_is_mounted_goes_to_its_node_alone_to_write_to() -> None:
    root = Path("/state/roots/x/root")
    nodes = [node(10, root=RootMode.PERSISTENT), node(20, root=RootMode.PERSISTENT)]
    generations = Generations(current={"debian": TWO}, booted={}, roots={nodes[0].machine_id: root})
    (export,) = [e for e in desired(nodes, generations, NODES, COMMON) if not e.read_only]
    assert (export.path, export.mounted, export.root_squash) == (root, True, False)
    assert export.clients == (IPv4Network("10.77.0.10"),)
    assert not any(e.mounted for e in desired(nodes, generations, NODES, COMMON) if e.read_only)


def test_without_nodes_nothing_is_exported() -> None:
    assert exported([]) == {}
    assert desired([], Generations(current={}, booted={}), NODES, COMMON, [Path("/home/ada")]) == ()


@pytest.mark.parametrize(
    "numbers", [range(1, 255), [1, 2, 3], [4, 5, 6, 7], [8, 9, 11], range(2, 200, 3)], ids=str
)
def test_blocks_hold_the_nodes_addresses_and_no_other(numbers: list[int]) -> None:
    blocks = exported([node(n) for n in numbers])["/state/common"]
    addresses = [address for block in blocks for address in IPv4Network(block)]
    assert sorted(addresses) == [IPv4Address("10.77.0.0") + n for n in numbers]


def test_neighbours_share_a_block() -> None:
    assert exported([node(n) for n in range(16, 32)])["/state/common"] == ["10.77.0.16/28"]


def test_an_exports_fsid_depends_on_its_path_alone() -> None:
    export = Export(path=ONE, clients=(IPv4Network("10.0.0.1"),))
    assert export.fsid == Export(path=ONE, clients=()).fsid != Export(path=TWO, clients=()).fsid
    # It stands in file handles that running nodes hold: a new release must come to the same.
    assert str(export.fsid) == "67765eaa-0cb6-53dc-bc9d-ea5ca5f4f76a"


def exports(count: int) -> list[Export]:
    return [Export(path=NODES / f"n{i}", clients=()) for i in range(count)]


def test_numbers_are_distinct_even_where_hashes_collide() -> None:
    numbers = export_ids(exports(20_000), {})
    assert len(set(numbers.values())) == 20_000
    assert all(1 <= number <= LARGEST_EXPORT_ID for number in numbers.values())


def test_an_export_keeps_its_number_whatever_comes_and_goes() -> None:
    before = export_ids(exports(3_000), {})
    fewer = exports(3_000)[::2]
    assert export_ids(fewer, before) == {e.path: before[e.path] for e in fewer}
    more = [Export(path=Path(f"/a/{i}"), clients=()) for i in range(3_000)] + exports(3_000)
    after = export_ids(more, before)
    assert {path: after[path] for path in before} == before


def test_a_number_that_becomes_free_is_not_given_away_at_once() -> None:
    (only,) = exports(1)
    number = export_ids([only], {})[only.path]
    assert export_ids([only], {Path("/gone"): number})[only.path] != number


def test_more_exports_than_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="65535"):
        export_ids(exports(1), {Path(f"/{i}"): i for i in range(1, LARGEST_EXPORT_ID + 1)})
