"""netbootctl export and import: all that is registered, in a file and back, and other servers' files."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ctl.conftest import CONFIG, MACS, NETBOOTCTL, Head

OTHER_CONFIG = CONFIG.replace("{directory}/", "{directory}/other/")


@pytest.fixture
def full(head: Head) -> Head:
    """A head node with something of everything."""
    head.image("debian")
    head.well("profile", "set", "base", "--image", "debian", "--root", "ram")
    head.well("profile", "set", "gpu", "--parent", "base", "--dhcp-option", "ntp-servers=10.77.0.1")
    head.well(
        "node", "add", "n01", "--mac", f"{MACS[0]},{MACS[8]}", "--serial", "bd989ae1", "--profile", "gpu"
    )
    head.well("node", "add", "n02", "--mac", MACS[1], "--ip", "10.77.0.20", "--image", "debian",
              "--kernel-args", "quiet a=b,c", "--loader", "grub", "--no-eeprom-update")  # fmt: skip
    return head


def other(head: Head, capsys: pytest.CaptureFixture[str]) -> Head:
    """A second head node, to which the first one's nodes move."""
    directory = head.directory / "other"
    directory.mkdir()
    (directory / "netbootd.toml").write_text(OTHER_CONFIG.format(directory=head.directory))
    return Head(directory, capsys)


def rows(head: Head, *words: str) -> list[tuple[str, str]]:
    """What an import would do: (what, name)."""
    planned = head.well("import", *words, "--dry-run", "--json").json
    return [(change["change"], change["name"]) for change in planned["changes"]]


@pytest.mark.parametrize("suffix", ["yaml", "csv"])
def test_a_replaced_head_node_knows_the_same_nodes(
    full: Head, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    file = str(full.directory / f"cluster.{suffix}")
    said = full.well("export", file).out
    assert "wrote 2 nodes and 2 profiles" in said and "rsync -a" in said
    new = other(full, capsys)
    new.image("debian")
    done = new.well("import", file)
    if os.geteuid() == 0:
        assert "no SSH host key came with n01, n02" in done.err and "rsync -a OLD-HEAD:" in done.err
    for words in (
        ["node", "list", "--json"],
        ["node", "list", "--all", "--json"],
        ["profile", "list", "--json"],
    ):
        assert new.well(*words).json == full.well(*words).json
    assert "nothing to change" in new.well("import", file).out
    assert "nothing to change" in new.well("import", file, "--replace").out


def test_an_export_can_be_piped_into_an_import(
    full: Head, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = full.well("export", "-").out
    new = other(full, capsys)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    new.well("import", "-")
    assert new.well("export", "-").out == text


def test_a_dry_run_shows_what_would_be_and_changes_nothing(head: Head) -> None:
    (head.directory / "more.csv").write_text(f"name,mac\nn01,{MACS[0]}\n")
    before = head.dump()
    done = head.well("import", str(head.directory / "more.csv"), "--dry-run")
    assert "added" in done.out and "address 10.77.0.10" in done.out and "more.csv:2" in done.out
    assert "nothing was changed" in done.out
    assert [line for line in head.dump() if "INSERT INTO" in line and "version" not in line] == []
    assert before == [] and head.well("node", "list", "--json").json == []


@pytest.mark.parametrize("encoding", ["utf-8-sig", "cp1252", "utf-16"])
def test_a_spreadsheet_users_file_works_as_it_is(full: Head, encoding: str) -> None:
    file = full.directory / "Cluster.csv"
    lines = [
        "IP Address;Standort;MAC;Hostname",
        ";Büro;52-54-00-00-00-0A;N05",
        "10.77.0.31;;5254.0000.000B;n06",
    ]
    file.write_bytes("\r\n".join(lines).encode(encoding))
    done = full.well("import", str(file))
    assert "Cluster.csv:1: the column 'Standort' has no place here" in done.err
    nodes = {node["name"]: node for node in full.well("node", "list", "--json").json}
    assert nodes["n05"]["macs"] == ["52:54:00:00:00:0a"] and nodes["n05"]["address"] == "10.77.0.11"
    assert nodes["n06"]["macs"] == ["52:54:00:00:00:0b"] and nodes["n06"]["address"] == "10.77.0.31"
    assert nodes["n01"]["profile"] == "gpu", "who isn't in the file stays as it is"


def test_what_is_not_in_the_file_goes_only_with_replace_and_leave(full: Head) -> None:
    file = full.directory / "one.yaml"
    file.write_text(f"nodes:\n  n02:\n    macs: {MACS[1]}\n    address: 10.77.0.21\n")
    assert rows(full, str(file)) == [("changed", "n02")]
    assert rows(full, str(file), "--replace") == [
        ("removed", "base"), ("removed", "gpu"), ("removed", "n01"), ("changed", "n02"),
    ]  # fmt: skip
    before = full.dump()
    refused = full.apart("import", str(file), "--replace")
    assert refused.returncode == 2 and "1 node and 2 profiles to be removed; pass --yes" in refused.stderr
    assert full.dump() == before
    full.well("import", str(file), "--replace", "--yes")
    (node,) = full.well("node", "list", "--json").json
    assert (node["name"], node["address"], node["image"], node["loader"]) == ("n02", "10.77.0.21", None, None)
    assert full.well("profile", "list", "--json").json == []


@pytest.mark.parametrize(("answer", "left"), [(b"n\n", 2), (b"y\n", 0)])
def test_on_a_terminal_the_removal_is_asked_for(full: Head, answer: bytes, left: int) -> None:
    file = full.directory / "none.yaml"
    file.write_text("nodes: {}\n")
    terminal, inside = os.openpty()
    try:
        os.write(terminal, answer)
        words = [str(NETBOOTCTL), "--config", str(full.config), "import", str(file), "--replace"]
        done = subprocess.run(words, stdin=inside, capture_output=True, text=True, check=False, timeout=60)
    finally:
        os.close(terminal)
        os.close(inside)
    assert "2 nodes and 2 profiles to be removed: go on?" in done.stdout
    assert done.stdout.index("removed") < done.stdout.index("go on?"), "they are shown before"
    assert (done.returncode, "nothing was done" in done.stderr) == ((0, False) if left == 0 else (2, True))
    assert len(full.well("node", "list", "--json").json) == left


def test_a_name_changed_in_an_export_renames_the_node(full: Head) -> None:
    before = {node["machine_id"]: node["name"] for node in full.well("node", "list", "--json").json}
    text = full.well("export", "-", "--format", "csv").out
    file = full.directory / "renamed.csv"
    swapped = text.replace("node,n01,", "node,-,").replace("node,n02,", "node,n01,")
    file.write_text(swapped.replace("node,-,", "node,n02,"))
    assert rows(full, str(file)) == [("renamed", "n02"), ("renamed", "n01")]
    full.well("import", str(file))
    after = {node["machine_id"]: node["name"] for node in full.well("node", "list", "--json").json}
    assert after == {key: {"n01": "n02", "n02": "n01"}[name] for key, name in before.items()}


CONFLICTS = {
    "a MAC twice": (
        f"name,mac\nn05,{MACS[5]}\nn06,{MACS[5]}\n",
        f"c.csv:3: MAC {MACS[5]} belongs to node 'n05' in ",
    ),
    "a MAC that is registered": (
        f"name,mac\nn05,{MACS[0]}\n",
        "c.csv:2: MAC 52:54:00:00:00:01 belongs to node 'n01', registered already",
    ),
    "an address twice": (
        f"name,mac,ip\nn05,{MACS[5]},10.77.0.30\nn06,{MACS[6]},10.77.0.30\n",
        "c.csv:3: address 10.77.0.30 belongs to node 'n05' in ",
    ),
    "a name twice": (f"name,mac\nn05,{MACS[5]}\nN05,{MACS[6]}\n", "c.csv:3: n05 stands in "),
    "a serial in its short form": (
        f"name,mac,serial\nn05,{MACS[5]},10000000bd989ae1\n", "serial 10000000bd989ae1 belongs to node 'n01'",
    ),
    "an address elsewhere": (f"name,mac,ip\nn05,{MACS[5]},10.99.0.1\n", "lies outside every network served"),
    "an address of the pool": (f"name,mac,ip\nn05,{MACS[5]},10.77.0.150\n", "lies in the pool"),
    "no MAC": ("name,ip\nn05,10.77.0.30\n", "c.csv:2: n05 isn't registered, and has no MAC address here"),
    "a profile that isn't there": (f"name,mac,profile\nn05,{MACS[5]},big\n", "there is no profile 'big'"),
    "profiles in a circle": (
        "kind,name,profile\nprofile,base,gpu\n",
        "profile 'base' would inherit from itself, by base > gpu > base",
    ),
    "no name": ("mac\n52:54:00:00:00:07\n", "no column is called `name`"),
    "what is no MAC": ("name,mac\nn05,52:54\n", "c.csv:2: '52:54' isn't a MAC address"),
    "several faults": ("name,mac\nn05,52:54\nn_6,52:54:00:00:00:08\n", "2 lines can't be accepted"),
}  # fmt: skip


@pytest.mark.parametrize("case", CONFLICTS)
def test_a_file_that_cannot_be_is_refused_with_its_line_and_changes_nothing(full: Head, case: str) -> None:
    text, reason = CONFLICTS[case]
    file = full.directory / "c.csv"
    file.write_text(text)
    before = full.dump()
    done = full("import", str(file))
    assert done.status == 2 and reason in done.err and "Traceback" not in done.err
    assert full.dump() == before


def test_two_nodes_can_exchange_their_addresses(full: Head) -> None:
    file = full.directory / "swap.csv"
    file.write_text("name,address\nn01,10.77.0.20\nn02,10.77.0.10\n")
    full.well("import", str(file))
    found = {node["name"]: node["address"] for node in full.well("node", "list", "--json").json}
    assert found == {"n01": "10.77.0.20", "n02": "10.77.0.10"}


def test_a_dnsmasq_configuration_is_carried_over_with_what_could_not_be(head: Head) -> None:
    file = head.directory / "dnsmasq.conf"
    file.write_text(
        "dhcp-range=10.77.0.100,10.77.0.199,12h\n"
        "dhcp-host=52:54:00:00:00:01,n01,10.77.0.11,set:pi\n"
        "dhcp-host=id:marjorie,10.77.0.60\n"
        "dhcp-option=tag:pi,option:ntp-server,10.77.0.1\n"
        "dhcp-host=52:54:00:00:00:02,far,192.168.0.9\n"
        "enable-tftp\n"
    )
    done = head.well("import", str(file), "--hosts", os.devnull)
    assert 'pool = "10.77.0.100-10.77.0.199"   # ' in done.out
    for line, why in (
        (3, "has no MAC address"),
        (5, "lies outside every network"),
        (6, "TFTP: netbootd does this"),
    ):
        assert f"dnsmasq.conf:{line}: " in done.err and why in done.err
    (node,) = head.well("node", "list", "--json").json
    assert (node["name"], node["address"], node["dhcp_options"]) == (
        "n01", "10.77.0.11", {"ntp-servers": "10.77.0.1"},
    )  # fmt: skip
    assert "nothing to change" in head.well("import", str(file), "--hosts", os.devnull).out
    refused = head("import", str(file), "--replace")
    assert refused.status == 2 and "without --replace" in refused.err


def test_new_nodes_boot_the_image_that_is_meant(head: Head) -> None:
    file = head.directory / "ethers"
    file.write_text(f"{MACS[0]} n01\n{MACS[1]} n02\n")
    done = head.well("import", str(file), "--hosts", os.devnull)
    assert "n01, n02: no image yet; `netbootctl node set n01 --image IMAGE`" in done.err
    head.image("debian")
    file.write_text(f"{MACS[0]} n01\n{MACS[2]} n03\n")
    head.well("import", str(file), "--hosts", os.devnull)
    (head.directory / "more.csv").write_text(f"name,mac,image\nn04,{MACS[3]},\nn05,{MACS[4]},arch\n")
    head.well("import", str(head.directory / "more.csv"), "--image", "gentoo")
    images = {node["name"]: node["image"] for node in head.well("node", "list", "--json").json}
    assert images == {"n01": None, "n02": None, "n03": "debian", "n04": "gentoo", "n05": "arch"}


def test_names_come_from_the_hosts_file_that_is_named(
    head: Head, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--hosts` begins where one types it, an included file beside the one that names it."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "dhcpd.conf").write_text('include "more.conf";\n')
    (tmp_path / "etc" / "more.conf").write_text(f"host n01 {{ hardware ethernet {MACS[0]}; }}\n")
    (tmp_path / "names").write_text("10.77.0.44 n01\n")
    monkeypatch.chdir(tmp_path)
    head.well("import", "etc/dhcpd.conf", "--hosts", "names")
    (node,) = head.well("node", "list", "--json").json
    assert (node["name"], node["address"]) == ("n01", "10.77.0.44")


def test_kea_s_reservations_become_nodes_and_the_rest_is_told(head: Head) -> None:
    file = head.directory / "kea-dhcp4.conf"
    file.write_text(
        '{ "Dhcp4": { "valid-lifetime": 600, "hooks-libraries": [ { "library": "x.so" } ], // ours\n'
        '"reservations": [\n'
        f'{{ "hw-address": "{MACS[0]}", "ip-address": "10.77.0.44", "hostname": "n01",\n'
        '  "option-data": [ { "name": "ntp-servers", "data": "10.77.0.9" } ] },\n'
        '{ "duid": "01:02:03:04", "ip-address": "10.77.0.45", "hostname": "n02" }\n] } }\n'
    )
    done = head.well("import", str(file), "--hosts", os.devnull)
    assert f"{file}:1: hooks-libraries: hooks have no place here" in done.err
    assert f"{file}:5: reservation n02: isn't carried over: duid is given" in done.err
    assert 'lease_time = "600s"' in done.out
    (node,) = head.well("node", "list", "--json").json
    assert (node["name"], node["address"]) == ("n01", "10.77.0.44")
    assert node["dhcp_options"] == {"ntp-servers": "10.77.0.9"}


@pytest.mark.parametrize(
    ("words", "status", "reason"),
    [
        (["import", "/nonexistent/x.yaml"], 2, "can't read /nonexistent/x.yaml: No such file"),
        (["import", "/"], 2, "can't read /: Is a directory"),
        (["import", os.devnull], 2, "can't tell what format this is"),
        (["import", os.devnull, "--format", "toml"], 2, "there is no format 'toml'"),
        (["import", os.devnull, "--json"], 2, "pass --dry-run too"),
        (["export", "cluster.txt"], 2, "could be YAML or CSV"),
        (["export", "/nonexistent/x.yaml"], 4, "can't write /nonexistent/x.yaml: No such file"),
        (["export", "-", "--format", "ethers"], 2, "isn't YAML or CSV"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(
    head: Head, words: list[str], status: int, reason: str
) -> None:
    done = head(*words)
    assert done.status == status and reason in done.err and done.err.count("\n") == 1


def test_an_export_takes_the_place_of_an_older_one_as_a_whole(full: Head) -> None:
    file = full.directory / "cluster.yaml"
    link = full.directory / "link.yaml"
    file.write_text("old")
    file.chmod(0o600)
    link.symlink_to(file)
    full.well("export", str(link))
    assert link.is_symlink() and "n01" in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    assert not list(full.directory.glob(".netbootd-*"))


def test_a_file_too_large_is_refused(head: Head, tmp_path: Path) -> None:
    file = tmp_path / "large.yaml"
    with file.open("wb") as opened:
        opened.truncate((16 << 20) + 1)
    done = head("import", str(file))
    assert done.status == 2 and "is larger than 16 MiB" in done.err


def test_a_registry_that_changed_meanwhile_is_left_alone(full: Head) -> None:
    """The question whether to remove is asked without holding the registry."""
    file = full.directory / "none.yaml"
    file.write_text("nodes: {}\n")
    script = (
        "import sys; from netbootd.ctl import import_; from netbootd.ctl.app import run;"
        "import subprocess;"
        "import_._confirm = lambda *_: subprocess.run([sys.argv[1], '--config', sys.argv[2], 'node', 'add',"
        " 'n09', '--mac', '52:54:00:00:00:99'], check=True);"
        "run(['--config', sys.argv[2], 'import', sys.argv[3], '--replace'])"
    )
    words = [
        sys.executable,
        "-c",
        script,
        str(NETBOOTCTL),
        str(full.config),
        str(file),
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert "the registry was changed meanwhile" in done.stderr
    assert len(full.well("node", "list", "--json").json) == 3
