"""YAML by hand: what is read of it, and what is refused with its line."""

from typing import Any

import pytest
import yaml

from netbootd.errors import FileError
from netbootd.exchange import yaml_file

BY_HAND = """\
nodes:
  no:                      # a name, not a truth value
    macs: 52-54-00-12-34-56
    serial: 0012
    eeprom_update: yes
    image: ~
    dhcp_options: {ntp-servers: [10.77.0.1, 10.77.0.2], 26: 9000, wpad: null, tftp-server-name: "null"}
  n02: {macs: [52:54:00:12:34:57, 52:54:00:12:34:58], root: RAM}
"""


@pytest.fixture(params=["libyaml", "python"], autouse=True)
def implementation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyYAML with libyaml, and by itself, as it is where there was no compiler."""
    loader: Any = yaml.SafeLoader if request.param == "python" else getattr(yaml, "CSafeLoader", None)
    if loader is None:
        pytest.skip("PyYAML was built without libyaml")
    monkeypatch.setattr(yaml_file, "_LOADER", loader)


def test_what_stands_there_is_text() -> None:
    first, second = yaml_file.read(BY_HAND, "x.yaml").nodes
    assert first.name == "no" and first.place.line == 2
    assert first.fields == {
        "macs": ("52:54:00:12:34:56",), "serial": "0012", "eeprom_update": True, "image": None,
        "dhcp_options": {42: bytes([10, 77, 0, 1, 10, 77, 0, 2]), 26: b"\x23\x28", 252: None, 66: b"null"},
    }  # fmt: skip
    assert second.fields == {"macs": ("52:54:00:12:34:57", "52:54:00:12:34:58"), "root": "ram"}


REFUSED = {
    "an alias": ("nodes:\n  a: &x {}\n  b: *x\n", "x.yaml:2: anchors and aliases"),
    "a bomb": ("a: &a [x]\nb: &b [*a, *a]\n", "x.yaml:1: anchors"),
    "a tag": ("nodes: !!python/object/apply:os.system ['true']\n", "x.yaml:1: tags"),
    "a name twice": ("nodes:\n  n01: {}\n  n01: {}\n", "x.yaml:3: 'n01' stands in line 2 already"),
    "a misspelt key": (
        "nodes:\n  n01:\n    mac: 1\n", "x.yaml:3: 'mac' isn't known here; did you mean macs?",
    ),
    "a misspelt section": ("node: {}\n", "x.yaml:1: 'node' isn't known here; did you mean nodes?"),
    "depth": ("[" * 9 + "]" * 9, "x.yaml:1: more than 8 levels deep"),
    "two documents": ("nodes: {}\n---\nnodes: {}\n", "x.yaml:2: a second document"),
    "a tab": ("nodes:\n\tn01: {}\n", "x.yaml:2: isn't YAML"),
    "a control character": ("nodes:\n  n01: \x07\n", "isn't YAML"),
    "a character that there is not": ('nodes: "\\UFFFFFFFF"\n', "isn't YAML"),
    "a list": ("- n01\n", "x.yaml:1: the file has to be `name: value` lines"),
    "a list of nodes": ("nodes:\n  - n01\n", "x.yaml:2: nodes has to be `name: value` lines"),
    "a list in place of a value": (
        "nodes:\n  a1:\n    image: [x, y]\n", "x.yaml:3: a1: image has to be one value",
    ),
    "a name that is none": ("nodes:\n  a_b: {}\n", "x.yaml:2: 'a_b' can't be a host name"),
    "a key that is a list": ("nodes:\n  ? [a]\n  : {}\n", "a name has to be one word"),
    "an option that can't be set": (
        "profiles:\n  p:\n    dhcp_options:\n      lease-time: 12h\n",
        "x.yaml:4: option 51 (lease-time) can't be set",
    ),
    "a newer format": ("netbootd: 2\nnodes: {}\n", "x.yaml:1: this is format '2', made by a newer netbootd"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_with_its_line(case: str) -> None:
    text, why = REFUSED[case]
    with pytest.raises(FileError) as refused:
        yaml_file.read(text, "x.yaml")
    assert why in str(refused.value)


def test_every_fault_is_told_at_once() -> None:
    with pytest.raises(FileError) as refused:
        yaml_file.read("nodes:\n  n01:\n    macs: x\n    address: y\n    root: z\n", "x.yaml")
    assert [line.partition(": ")[0] for line in refused.value.problems] == [
        "x.yaml:3",
        "x.yaml:4",
        "x.yaml:5",
    ]


@pytest.mark.parametrize("text", ["", "# nothing\n", "nodes:\n", "---\n", "nodes: {}\nprofiles: null\n"])
def test_a_file_that_says_nothing_is_fine(text: str) -> None:
    found = yaml_file.read(text, "x.yaml")
    assert not found.nodes and not found.profiles
