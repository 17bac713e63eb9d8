"""What export wrote, import reads: the same registry, in YAML and in CSV, whatever it holds."""

import csv
import io
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import yaml
from hypothesis import HealthCheck, given
from hypothesis import settings as with_settings

from netbootd.contents import Contents, NodeRecord
from netbootd.exchange import csv_file, fields, yaml_file
from netbootd.exchange.described import LARGEST, Described
from netbootd.exchange.plan import Cluster, plan
from netbootd.network import Network
from netbootd.node import Mac
from netbootd.registry import Registry
from netbootd.settings import COLUMNS
from tests.exchange.nodes import CLUSTER, registries

FORMATS = [
    pytest.param(yaml_file.write, yaml_file.read, id="yaml"),
    pytest.param(csv_file.write, csv_file.read, id="csv"),
]
Write = Callable[[Contents], str]
Read = Callable[[str, str], Described]


@pytest.mark.parametrize(("write", "read"), FORMATS)
@given(contents=registries())
@with_settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_an_export_imported_into_an_empty_registry_gives_the_same_registry(
    write: Write, read: Read, contents: Contents
) -> None:
    described = read(write(contents), "file")
    with TemporaryDirectory() as directory, Registry.open(Path(directory) / "registry.db") as registry:
        registry.rewrite(plan(registry.contents(), described, CLUSTER).rewrite)
        assert registry.contents() == contents
        assert not plan(registry.contents(), described, CLUSTER, equal=True).changes


@given(contents=registries())
@with_settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_table_saved_again_as_a_spreadsheet_saves_it_says_the_same(contents: Contents) -> None:
    """With semicolons, quotation marks round every cell and a byte order mark, as where 1,5 is a number."""
    rows = list(csv.reader(io.StringIO(csv_file.write(contents), newline="")))
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=";", quoting=csv.QUOTE_ALL, lineterminator="\r\n").writerows(rows)
    described = csv_file.read("\ufeff" + out.getvalue(), "file")
    made = plan(Contents(), described, CLUSTER).rewrite
    assert (tuple(new for _, new in made.nodes), made.profiles) == (contents.nodes, contents.profiles)


@pytest.mark.parametrize(("write", "read"), FORMATS)
@given(first=registries(), second=registries())
@with_settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_registry_replaced_by_an_export_equals_it_whatever_was_in_it(
    write: Write, read: Read, first: Contents, second: Contents
) -> None:
    with TemporaryDirectory() as directory, Registry.open(Path(directory) / "registry.db") as registry:
        for contents in (first, second):
            described = read(write(contents), "file")
            registry.rewrite(plan(registry.contents(), described, CLUSTER, equal=True).rewrite)
        assert registry.contents() == second


@given(contents=registries())
@with_settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_yaml_reader_finds_the_same_texts_in_an_export(contents: Contents) -> None:
    loaded = yaml.safe_load(yaml_file.write(contents))
    assert list(loaded["nodes"] or {}) == [node.name for node in contents.nodes]
    for node in contents.nodes:
        written = loaded["nodes"][node.name]
        assert written["macs"] == list(node.macs) and written["machine_id"] == node.machine_id
        assert written.get("kernel_args") == node.settings.kernel_args
        assert written.get("serial") == node.serial


def test_every_setting_that_there_is_can_be_written_and_read() -> None:
    """A new setting has to be taught to the files too."""
    assert {*fields.READERS, "dhcp_options"} == {*fields.IDENTITY, "parent", *COLUMNS}
    assert {*csv_file.TITLES, "dhcp_options"} == {"kind", "name", *fields.IDENTITY, *COLUMNS}


def test_both_implementations_of_yaml_read_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where PyYAML was installed without libyaml (armv7 without a compiler) it reads by itself."""
    node = NodeRecord(name="no", macs=(Mac("52:54:00:12:34:56"),), address=IPv4Address("10.77.0.10"))
    contents = Contents(nodes=(node,))
    text = yaml_file.write(contents)
    fast = yaml_file.read(text, "file")
    monkeypatch.setattr(yaml_file, "_LOADER", yaml.SafeLoader)
    monkeypatch.setattr(yaml_file, "_DUMPER", yaml.SafeDumper)
    assert yaml_file.write(contents) == text and yaml_file.read(text, "file") == fast


def test_ten_thousand_nodes_are_written_and_read() -> None:
    network = Network(interface="eth1", address=IPv4Interface("10.64.0.1/16"))
    nodes = tuple(
        NodeRecord(
            name=f"n{i:05}",
            macs=(Mac(f"52:54:00:00:{i // 256:02x}:{i % 256:02x}"),),
            address=IPv4Address("10.64.1.0") + i,
            machine_id=f"{i + 1:032x}",
            serial=f"{i:016x}",
        )
        for i in range(10_000)
    )
    contents = Contents(nodes=nodes)
    for write, read in ((yaml_file.write, yaml_file.read), (csv_file.write, csv_file.read)):
        text = write(contents)
        assert len(text) < LARGEST / 4
        found = plan(Contents(), read(text, "file"), Cluster(networks=(network,)))
        assert [new for _, new in found.rewrite.nodes] == list(nodes)
