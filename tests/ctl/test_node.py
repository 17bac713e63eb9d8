"""netbootctl node: what is registered, what is refused and why, and that a refusal changes nothing."""

import os
import re
import socket
import subprocess
import termios
from pathlib import Path

import pytest

from tests.ctl.conftest import MACS, Head


@pytest.fixture
def two(head: Head) -> Head:
    """A head node with n01 and n02 registered."""
    head.image("debian")
    head.well("node", "add", "n01", "--mac", MACS[0], "--serial", "bd989ae1")
    head.well("node", "add", "n02", "--mac", MACS[1])
    return head


def names(head: Head) -> list[str]:
    return [node["name"] for node in head.well("node", "list", "--json").json]


REFUSED = {
    "a MAC that another node has": (["n03", "--mac", MACS[0]], "MAC 52:54:00:00:00:01 belongs to node 'n01'"),
    "the same MAC twice": (["n[03-04]", "--mac", f"{MACS[2]},{MACS[2]}"], "belongs to node 'n03'"),
    "a name that is taken": (["n01", "--mac", MACS[2]], "there is a node 'n01' already"),
    "an address that is taken": (
        ["n03", "--mac", MACS[2], "--ip", "10.77.0.10"],
        "10.77.0.10 belongs to node 'n01' already",
    ),
    "a serial that is taken": (["n03", "--mac", MACS[2], "--serial", "BD989AE1"], "belongs to node 'n01'"),
    "a serial that no Pi has": (
        ["n03", "--mac", "b8:27:eb:00:00:01", "--serial", "xyz"],
        "'xyz' is no Raspberry Pi's serial number, and b8:27:eb:00:00:01 is a Raspberry Pi's card",
    ),
    "an address with its prefix": (
        ["n03", "--mac", MACS[2], "--ip", "10.77.0.11/24"],
        "10.77.0.11/24 is an address with its prefix length; write 10.77.0.11",
    ),
    "an address outside": (
        ["n03", "--mac", MACS[2], "--ip", "10.78.0.10"],
        "10.78.0.10 lies outside every network served (10.77.0.0/24)",
    ),
    "an address in the pool": (
        ["n03", "--mac", MACS[2], "--ip", "10.77.0.150"],
        "lies in the pool 10.77.0.100-10.77.0.199",
    ),
    "the head node's address": (
        ["n03", "--mac", MACS[2], "--ip", "10.77.0.1"],
        "the head node's own address",
    ),
    "the router's address": (["n03", "--mac", MACS[2], "--ip", "10.77.0.254"], "the router's address"),
    "the broadcast address": (["n03", "--mac", MACS[2], "--ip", "10.77.0.255"], "names the network"),
    "what is no address": (["n03", "--mac", MACS[2], "--ip", "10.77.0"], "isn't an IPv4 address"),
    "an underscore": (["n_3", "--mac", MACS[2]], "RFC 1123"),
    "a hyphen at the end": (["n03-", "--mac", MACS[2]], "RFC 1123"),
    "64 characters": (["n" * 64, "--mac", MACS[2]], "RFC 1123"),
    "a full name": (["n03.cluster", "--mac", MACS[2]], "has a dot"),
    "localhost": (["LocalHost", "--mac", MACS[2]], "always means the machine itself"),
    "a number": (["42", "--mac", MACS[2]], "would be read as an address"),
    "no MAC": (["n03"], "pass --mac"),
    "what is no MAC": (["n03", "--mac", "52:54:00:00:00"], "isn't a MAC address"),
    "a multicast MAC": (["n03", "--mac", "01:00:5e:00:00:01"], "group address"),
    "a profile that isn't there": (
        ["n03", "--mac", MACS[2], "--profile", "big"],
        "there is no profile 'big'",
    ),
    "a root mode that isn't one": (["n03", "--mac", MACS[2], "--root", "disk"], "overlay"),
    "an image's name that can't be one": (
        ["n03", "--mac", MACS[2], "--image", "../x"],
        "can't name an image",
    ),
    "kernel arguments of two lines": (["n03", "--mac", MACS[2], "--kernel-args", "a\nb"], "one line"),
    "a range that counts down": (["n[05-03]", "--mac", MACS[2]], "counts down"),
    "a range that isn't closed": (["n[03-05", "--mac", MACS[2]], "the [ of 'n[03-05' isn't closed"),
    "too few MACs for a range": (["n[03-05]", "--mac", MACS[2]], "names 3 nodes, --mac gave 1"),
    "a serial for a range": (
        ["n[03-04]", "--mac", ",".join(MACS[2:4]), "--serial", "1"],
        "one board's",
    ),
    "a range beyond the last address": (
        ["n[03-04]", "--mac", ",".join(MACS[2:4]), "--ip", "255.255.255.255"],
        "begin lower",
    ),
    "a range that runs into the pool": (
        ["n[03-04]", "--mac", ",".join(MACS[2:4]), "--ip", "10.77.0.99"],
        "lies in the pool",
    ),
    "a million names": (["n[1-1000000]", "--mac", MACS[2]], "at most 10000"),
}


@pytest.mark.parametrize(("words", "reason"), REFUSED.values(), ids=REFUSED)
def test_bad_input_is_refused_with_the_reason_and_changes_nothing(
    two: Head, words: list[str], reason: str
) -> None:
    before = two.dump()
    done = two("node", "add", *words)
    assert done.status == 2
    assert done.err.startswith("error: ") and done.err.count("\n") == 1, done.err
    assert reason in done.err
    assert done.out == ""
    assert two.dump() == before


def test_the_head_nodes_own_name_is_refused_with_whose_it_is(
    two: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "Orion.example.org")
    before = two.dump()
    for words in (["add", "orion", "--mac", MACS[2]], ["rename", "n01", "orion"]):
        done = two("node", *words)
        assert (done.status, done.err) == (
            2,
            "error: 'orion' is the name of the head node itself; choose another name\n",
        )
    assert two.dump() == before


def test_a_range_registers_a_node_for_each_mac_and_counts_addresses_up(head: Head) -> None:
    head.well(
        "node", "add", "n[08-10]", "--mac", MACS[0], "--mac", f"{MACS[1]},{MACS[2]}", "--ip", "10.77.0.20"
    )
    found = [(n["name"], n["address"], n["macs"]) for n in head.well("node", "list", "--json").json]
    assert found == [
        ("n08", "10.77.0.20", [MACS[0]]),
        ("n09", "10.77.0.21", [MACS[1]]),
        ("n10", "10.77.0.22", [MACS[2]]),
    ]


def test_of_several_networks_the_first_gives_the_address_or_the_one_that_is_named(head: Head) -> None:
    text = head.config.read_text()
    far = (
        'interface = "eth9"\nsubnet = "10.78.0.0/24"\nrouter = "10.78.0.1"\nrange = "10.78.0.10-10.78.0.11"\n'
    )
    head.config.write_text(text.replace("[nfs]", f"[[network]]\n{far}\n[nfs]"))
    text = head.config.read_text()
    head.config.write_text(text.replace('range = "10.78', '# range = "10.78'))
    bare = head("node", "add", "a", "--mac", MACS[0], "--ip", "10.78.0.0/24")
    assert "there is no range of 10.78.0.0/24 to take addresses from" in bare.err
    head.config.write_text(text)
    head.well("node", "add", "a", "--mac", MACS[0])
    head.well("node", "add", "f[1-2]", "--mac", ",".join(MACS[1:3]), "--ip", "10.78.0.0/24")
    head.well("node", "add", "g", "--mac", MACS[3], "--ip", "10.78.0.77")
    full = head("node", "add", "h", "--mac", MACS[4], "--ip", "10.78.0.0/24")
    assert "no address is left in 10.78.0.10-10.78.0.11" in full.err
    assert (
        "10.79.0.0/24 is no network served; one of 10.77.0.0/24, 10.78.0.0/24"
        in head("node", "add", "h", "--mac", MACS[4], "--ip", "10.79.0.0/24").err
    )
    listed = {n["name"]: n["address"] for n in head.well("node", "list", "--json").json}
    assert listed == {"a": "10.77.0.10", "f1": "10.78.0.10", "f2": "10.78.0.11", "g": "10.78.0.77"}


def test_without_an_address_the_networks_range_gives_the_next_free_one(head: Head) -> None:
    head.well("node", "add", "a", "--mac", MACS[0], "--ip", "10.77.0.11")
    head.well("node", "add", "n[1-3]", "--mac", ",".join(MACS[1:4]))
    assert [n["address"] for n in head.well("node", "list", "--json").json] == [
        "10.77.0.10",
        "10.77.0.11",
        "10.77.0.12",
        "10.77.0.13",
    ]


def test_a_machine_with_two_cards_is_one_node(head: Head) -> None:
    head.well("node", "add", "n01", "--mac", MACS[0], "--mac", MACS[1])
    assert head.well("node", "show", "n01", "--json").json["macs"] == MACS[:2]


def test_the_only_image_is_taken_and_that_is_said(head: Head) -> None:
    head.image("debian")
    done = head.well("node", "add", "n01", "--mac", MACS[0])
    assert "image debian is the only one there is" in done.out
    assert head.well("node", "show", "n01", "--json").json["image"] == "debian"


def test_of_several_images_none_is_taken_and_that_is_said(head: Head) -> None:
    head.image("debian")
    head.image("arch")
    done = head.well("node", "add", "n01", "--mac", MACS[0])
    assert "no --image was given; `netbootctl node set n01 --image arch|debian`" in done.err
    assert head.well("node", "show", "n01", "--json").json["image"] is None


def test_a_profiles_image_goes_before_the_only_one(head: Head) -> None:
    head.image("debian")
    head.well("profile", "set", "base", "--image", "arch")
    head.well("profile", "set", "leaf", "--parent", "base")
    head.well("node", "add", "n01", "--mac", MACS[0], "--profile", "leaf")
    shown = head.well("node", "show", "n01", "--json").json
    assert (shown["image"], shown["from"]["image"]) == ("arch", "profile base")


def test_an_image_that_is_not_there_yet_is_a_warning(head: Head) -> None:
    done = head.well("node", "add", "n01", "--mac", MACS[0], "--image", "later")
    assert "there is no image later" in done.err and "netbootctl image build later" in done.err
    assert names(head) == ["n01"]


def test_a_misspelt_image_or_profile_is_told_which_was_meant(head: Head) -> None:
    head.image("debian")
    for words in (
        ["node", "add", "n01", "--mac", MACS[0], "--image", "debain"],
        ["node", "set", "n01", "--image", "debain"],
        ["profile", "set", "base", "--image", "debain"],
    ):
        done = head.well(*words)
        assert "there is no image debain" in done.err and "did you mean debian?" in done.err, words
        assert "image build debain" not in done.err
    done = head("node", "set", "n01", "--profile", "bsae")
    assert done.err == "error: there is no profile 'bsae'; did you mean base?\n"
    done = head.well("profile", "set", "base", "--image", "later")
    assert "there is no image later yet; `netbootctl image build later` makes one" in done.err


def test_set_changes_what_is_said_and_nothing_else(two: Head) -> None:
    before = two.well("node", "show", "n01", "--json").json
    two.well("node", "set", "n01", "--ip", "10.77.0.50", "--root", "ram", "--kernel-args", "quiet  nomodeset")
    after = two.well("node", "show", "n01", "--json").json
    assert after["address"] == "10.77.0.50" and after["root"] == "ram"
    assert after["kernel_args"] == "quiet nomodeset"
    for key in ("name", "macs", "serial", "image", "profile", "machine_id"):
        assert after[key] == before[key]


def test_set_changes_several_at_once(two: Head) -> None:
    two.well("node", "set", "n[01-02]", "--image", "arch")
    assert [n["image"] for n in two.well("node", "list", "--json").json] == ["arch", "arch"]


def test_an_own_image_that_goes_before_the_profiles_is_told_of(two: Head) -> None:
    two.well("profile", "set", "p", "--image", "blender")
    two.well("node", "set", "n01", "--image", "debian")
    done = two.well("node", "set", "n01", "--profile", "p")
    assert "before the profile's: debian; `netbootctl node set n01 --unset image`" in done.err
    done = two.well("node", "set", "n01", "--profile", "p", "--unset", "image")
    assert "goes before" not in done.err
    assert two.well("node", "show", "n01", "--json").json["image"] == "blender"


def test_unset_gives_a_setting_back_to_the_profile(two: Head) -> None:
    two.well("profile", "set", "p", "--root", "ram")
    two.well("node", "set", "n01", "--profile", "p", "--root", "overlay")
    assert two.well("node", "show", "n01", "--json").json["root"] == "overlay"
    two.well("node", "set", "n01", "--unset", "root")
    shown = two.well("node", "show", "n01", "--json").json
    assert (shown["root"], shown["from"]["root"]) == ("ram", "profile p")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["n01"], "nothing to set"),
        (["n01", "--unset", "name"], "can't be unset"),
        (["n01", "--mac", MACS[1]], "belongs to node 'n02'"),
        (["n01", "--ip", "10.77.0.11"], "belongs to node 'n02'"),
        (["n01", "--ip", "10.77.0.120"], "lies in the pool"),
        (["n[01-02]", "--ip", "10.77.0.50"], "no two nodes share it"),
        (["n[01-03]", "--root", "ram"], "there is no node 'n03'"),
        (["n01", "--profile", "none"], "there is no profile 'none'"),
    ],
)
def test_set_refuses_with_the_reason_and_changes_nothing(two: Head, words: list[str], reason: str) -> None:
    before = two.dump()
    done = two("node", "set", *words)
    assert done.status == 2 and reason in done.err and done.err.count("\n") == 1
    assert two.dump() == before


def test_rename_keeps_the_address_the_machine_id_and_the_cards(two: Head) -> None:
    before = two.well("node", "show", "n01", "--json").json
    two.well("node", "rename", "n01", "orion")
    after = two.well("node", "show", "orion", "--json").json
    assert {**before, "name": "orion"} == after
    assert two("node", "show", "n01").status == 2


def test_rename_to_a_taken_name_changes_nothing(two: Head) -> None:
    before = two.dump()
    assert "there is a node 'n02' already" in two("node", "rename", "n01", "n02").err
    assert two.dump() == before


def test_remove_takes_all_of_a_range_or_none(two: Head) -> None:
    before = two.dump()
    assert "there is no node 'n03'" in two("node", "remove", "n[01-03]").err
    assert two.dump() == before
    two.well("node", "remove", "n[01-02]")
    assert names(two) == []


def test_list_says_for_every_setting_where_it_comes_from(two: Head) -> None:
    two.well("profile", "set", "p", "--kernel-args", "quiet")
    two.well("node", "set", "n01", "--profile", "p")
    rows = [line.split() for line in two.well("node", "list", "--all").out.splitlines()]
    assert ["n01", "kernel", "arguments", "quiet", "profile", "p"] in rows
    assert ["n01", "image", "debian", "node"] in rows
    assert ["n02", "root", "overlay", "default"] in rows


def test_in_a_pipe_the_columns_are_aligned_and_plain(two: Head) -> None:
    lines = two.well("node", "list").out.splitlines()
    assert lines[0].split() == ["NAME", "ADDRESS", "MAC", "IMAGE", "ROOT", "SERIAL"]
    assert len({line.index("10.77.0.1") for line in lines[1:]}) == 1
    assert "\x1b" not in "".join(lines)


def test_a_pi_s_serial_is_checked_whenever_it_or_the_card_is_given(two: Head) -> None:
    pi = "dc:a6:32:00:00:01"
    two.well("node", "set", "n01", "--mac", pi, "--serial", "10000000bd989ae1")
    assert "is no Raspberry Pi's serial number" in two("node", "set", "n01", "--serial", "1234567").err
    two.well("node", "set", "n02", "--serial", "SGH1234XYZ")
    assert "'sgh1234xyz' is no Raspberry" in two("node", "set", "n02", "--mac", f"{pi[:-1]}2").err
    (two.directory / "x.csv").write_text(f"name,mac,serial\nn03,{pi[:-1]}3,12345\n")
    done = two("import", str(two.directory / "x.csv"))
    assert "x.csv:2: n03: '12345' is no Raspberry Pi's serial number" in done.err


def test_the_list_shows_serial_numbers_once_there_are_any(two: Head) -> None:
    assert "bd989ae1" in two.well("node", "list").out
    two.well("node", "set", "n01", "--unset", "serial")
    assert "SERIAL" not in two.well("node", "list").out.upper()


def test_an_empty_list_says_what_to_do(head: Head) -> None:
    assert "netbootctl node add" in head.well("node", "list").out
    assert head.well("node", "list", "--json").json == []


@pytest.mark.usefixtures("as_root")
def test_registering_ends_with_apply(head: Head) -> None:
    head.image("debian")
    head.well("node", "add", "n01", "--mac", MACS[0])
    assert "10.77.0.10 n01" in (head.directory / "hosts").read_text()
    assert (head.directory / "state/nodes/n01/etc/hostname").read_text() == "n01\n"
    assert "nothing to apply" in head.well("apply").out
    head.well("node", "remove", "n01")
    assert not (head.directory / "state/nodes/n01").exists()


@pytest.mark.usefixtures("as_root")
def test_a_node_stays_registered_though_apply_fails_and_that_is_said(head: Head) -> None:
    (head.directory / "hosts").write_text("# netbootd: begin\n127.0.0.1 localhost\n")
    done = head("node", "add", "n01", "--mac", MACS[0])
    assert done.status == 4
    assert "n01 registered, and that is kept; but it wasn't applied" in done.err
    assert "then netbootctl apply" in done.err and done.err.count("\n") == 1
    assert names(head) == ["n01"]


def test_who_is_not_root_is_told_what_is_left_to_do(head: Head, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "left to do, as root: netbootctl apply" in head.well("node", "add", "n01", "--mac", MACS[0]).out
    assert not Path(head.directory / "hosts").exists()


def test_loaders_eeprom_updates_and_dhcp_options_are_shown_with_whose_they_are(head: Head) -> None:
    head.well("profile", "set", "base", "--dhcp-option", "log-servers=10.77.0.9", "--loader", "ipxe")
    head.well(
        "profile",
        "set",
        "pi",
        "--parent",
        "base",
        "--eeprom-update",
        "--dhcp-option",
        "ntp-servers=10.77.0.9",
    )
    routes = "classless-static-routes=10.8.0.0/16 via 10.77.0.2, default via 10.77.0.1"
    head.well("node", "add", "n01", "--mac", MACS[0], "--profile", "pi", "--dhcp-option", "ntp=10.77.0.1",
              "--dhcp-option", routes)  # fmt: skip
    record = head.well("node", "show", "n01", "--json").json
    assert record["dhcp_options"] == {
        "log-servers": "10.77.0.9",
        "ntp-servers": "10.77.0.1",
        "classless-static-routes": "10.8.0.0/16 via 10.77.0.2, 0.0.0.0/0 via 10.77.0.1",
    }
    assert record["from"]["dhcp_options"] == {
        "log-servers": "profile base", "ntp-servers": "node", "classless-static-routes": "node",
    }  # fmt: skip
    assert (record["loader"], record["eeprom_update"]) == ("ipxe", True)
    shown = head.well("node", "show", "n01").out
    assert re.search(r"EEPROM update +yes +\(profile pi\)", shown)
    assert re.search(r"DHCP log-servers +10\.77\.0\.9 +\(profile base\)", shown)
    assert re.search(r"DHCP ntp-servers +10\.77\.0\.1 +node", head.well("node", "list", "--all").out)
    said = head.well(
        "node", "set", "n01", "--dhcp-option", "ntp-servers=", "--no-eeprom-update", "--loader", "grub"
    ).out
    assert "EEPROM update no" in said and "ntp-servers=10.77.0.9" in said
    head.well(
        "node", "set", "n01", "--unset", "dhcp-options", "--unset", "eeprom-update", "--unset", "loader"
    )
    record = head.well("node", "show", "n01", "--json").json
    assert (record["dhcp_options"], record["eeprom_update"], record["loader"]) == (
        {"log-servers": "10.77.0.9", "ntp-servers": "10.77.0.9"}, True, "ipxe",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--loader", "lilo"], "there is no loader 'lilo'; one of ipxe"),
        (["--dhcp-option", "ntp-servers"], "has no value"),
        (["--dhcp-option", "ntp-serverz=1"], "did you mean ntp-servers?"),
        (["--dhcp-option", "ntp-servers=10.77.0"], "'10.77.0' isn't an IPv4 address; write it as 10.77.0.1"),
        (["--dhcp-option", "lease-time=1h"], "a node's lease never ends"),
        (["--dhcp-option", "host-name=x"], "node rename"),
        (["--unset", "dhcp-option"], "can't be unset"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_and_changes_nothing(
    head: Head, words: list[str], reason: str
) -> None:
    head.well("node", "add", "n01", "--mac", MACS[0])
    before = head.dump()
    done = head("node", "set", "n01", *words)
    assert done.status == 2 and reason in done.err and done.err.count("\n") == 1
    assert head.dump() == before


def test_a_narrow_terminal_gets_a_line_for_each_setting(two: Head) -> None:
    shown = {}
    for columns in (100, 40):
        terminal, inside = os.openpty()
        termios.tcsetwinsize(inside, (24, columns))
        terminals = {key: value for key, value in os.environ.items() if key != "COLUMNS"} | {"TERM": "xterm"}
        process = subprocess.Popen(two.command("node", "list"), stdin=inside, stdout=inside, env=terminals)
        os.close(inside)
        assert process.wait(60) == 0
        said = re.sub(r"\x1b\[[0-9;]*m", "", os.read(terminal, 65536).decode())
        shown[columns] = [line.rstrip() for line in said.splitlines()]
        os.close(terminal)
    assert [line.split()[:2] for line in shown[100][2:]] == [["n01", "10.77.0.10"], ["n02", "10.77.0.11"]]
    assert shown[40][:3] == ["name     n01", "address  10.77.0.10", f"mac      {MACS[0]}"]
    assert "" in shown[40], "with an empty line between the nodes"
