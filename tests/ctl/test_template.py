"""netbootctl template: what there is, what it is given, what a node gets of it."""

import os
import subprocess
import time
from dataclasses import replace
from ipaddress import IPv4Interface
from pathlib import Path

import pytest

from netbootd.asset import Asset
from netbootd.boot.cmdline import Exported
from netbootd.events import EventLog
from netbootd.images.store import ImageStore
from netbootd.registry import Registry
from netbootd.render import Renderer, packaged_templates
from netbootd.roots.layout import Roots
from netbootd.shelf import HeadNode, Shelf
from netbootd.stage import Event, Stage
from tests.boot.test_policy import NETWORK
from tests.ctl.conftest import MACS, Head

OURS = packaged_templates()


def put(head: Head, path: str, text: str) -> Path:
    file = head.directory / "templates" / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


@pytest.fixture
def two(head: Head, monkeypatch: pytest.MonkeyPatch) -> Head:
    """n01 and n02, of profile gpu, which inherits from base; nothing applied yet."""
    head.image("debian")
    with monkeypatch.context() as patched:
        patched.setattr(os, "geteuid", lambda: 1000)
        head.well("profile", "set", "base", "--image", "debian")
        head.well("profile", "set", "gpu", "--parent", "base")
        head.well("node", "add", "n01", "--mac", MACS[0], "--image", "debian")
        head.well("node", "add", "n02", "--mac", MACS[1], "--profile", "gpu")
    return head


def test_every_variable_is_shown_with_its_value_and_what_it_means(two: Head) -> None:
    records = two.well("template", "vars", "n02", "--json").json
    assert [r for r in records if not r["meaning"]] == []
    found = {(r["for"], r["name"]): r["value"] for r in records}
    assert found["node/each", "node.name"] == "n02"
    assert found["node/each", "node.address"] == "10.77.0.11"
    assert found["node/each", "node.profile"] == "gpu"
    assert found["node/each", "network.server"] == "10.77.0.1"
    assert found["node/common", "nodes"] == "2 of them, the first:"
    assert found["node/common", "nodes[0].mac"] == MACS[0]
    assert found["boot", "generation.label"] == "debian@1"
    assert found["boot", "command_line"].split()[0]
    assert found["boot/raspberrypi", "kernel"] == "vmlinuz-1"
    assert "Its host name, without a domain." in two.well("template", "vars", "n01").out


def test_what_is_shown_can_be_written(two: Head) -> None:
    """Each name, pasted between braces, renders to something."""
    records = two.well("template", "vars", "n01", "--json").json
    for group, path, shown in (
        ("node/each", "node/each/etc/all.j2", "/etc/all"),
        ("node/common", "node/common/etc/all-common.j2", "/etc/all-common"),
        ("boot", "boot/ipxe/boot.ipxe.j2", "boot/ipxe/boot.ipxe.j2"),
        ("boot/raspberrypi", "boot/raspberrypi/config.txt.j2", "boot/raspberrypi/config.txt.j2"),
    ):
        names = [r["name"] for r in records if r["for"] == group]
        assert names
        put(two, path, "".join(f"{name}={{{{ {name} }}}}\n" for name in names))
        out = two.well("template", "show", shown, "--node", "n01").out
        assert [line.partition("=")[0] for line in out.splitlines()] == names


def test_a_node_without_an_image_has_no_boot_variables_and_is_told_why(two: Head) -> None:
    two.well("node", "set", "n01", "--unset", "image")
    done = two.well("template", "vars", "n01")
    assert "node.name" in done.out and "generation" not in done.out
    assert "n01 has no image" in done.err


def test_a_file_is_shown_as_the_node_gets_it_and_where_it_came_from(two: Head) -> None:
    mine = put(two, "node/profiles/base/etc/motd.j2", "{{ node.name }} of {{ node.profile }}\n")
    done = two.well("template", "show", "/etc/motd", "--node", "n02")
    assert done.out == "n02 of gpu\n"
    assert done.err.splitlines() == [
        f"/etc/motd: file 0644, 11 B, from {mine}",
        f"  instead of {OURS}/node/each/etc/motd.j2",
    ]
    done = two.well("template", "show", "etc/motd", "--node", "n01")
    assert done.out.startswith("This is n01 (10.77.0.10)")
    assert done.err == f"/etc/motd: file 0644, {len(done.out)} B, from {OURS}/node/each/etc/motd.j2\n"
    assert "10.77.0.11 n02" in two.well("template", "show", "/etc/hosts").out


def test_a_boot_script_is_shown_too(two: Head) -> None:
    mine = put(two, "boot/ipxe/boot.ipxe.j2", "#!ipxe\necho {{ node.name }}\n")
    done = two.well("template", "show", "boot/ipxe/boot.ipxe.j2", "--node", "n02", "--json").json
    assert done["content"] == "#!ipxe\necho n02\n"
    assert (done["from"], done["overrides"]) == (str(mine), [f"{OURS}/boot/ipxe/boot.ipxe.j2"])


@pytest.mark.parametrize("server", ["kernel", "ganesha"])
def test_the_nfs_server_s_template_is_shown_with_what_it_is_given(two: Head, server: str) -> None:
    two.config.write_text(two.config.read_text().replace('server = "ganesha"', f'server = "{server}"'))
    used, unused = ("nfs/exports.j2", "nfs/ganesha.conf.j2")[:: 1 if server == "kernel" else -1]
    records = two.well("template", "vars", "n01", "--json").json
    assert [r for r in records if not r["meaning"]] == []
    found = {r["name"]: r["value"] for r in records if r["for"] == used}
    assert found["exports"] == "4 of them, the first:"
    assert found["exports[0].clients"] == "10.77.0.10/31"
    assert ("exports[0].id" in found) == ("file" in found) == (server == "ganesha")
    assert f"{two.directory}/state/images/debian/1/root" in two.well("template", "show", used).out
    done = two("template", "show", unused)
    assert (done.status, done.err.count("\n")) == (2, 1)
    assert f"{unused} isn't used; [nfs] server is '{server}', made from {used}" in done.err
    put(two, used, "".join(f"{name}={{{{ {name} }}}}\n" for name in found))
    out = two.well("template", "show", used).out
    assert [line.partition("=")[0] for line in out.splitlines()] == list(found)


@pytest.mark.usefixtures("as_root")
def test_what_is_shown_is_what_is_applied(two: Head) -> None:
    put(two, "node/profiles/gpu/etc/gpu.conf.j2", "{{ node.address }}\n")
    two.well("apply")
    tree = two.directory / "state/nodes/n02"
    files = [p for p in tree.rglob("*") if p.is_file() and p.stat().st_mode & 0o044]
    assert tree / "etc/gpu.conf" in files
    for file in files:
        words = ("template", "show", str(file.relative_to(tree)), "--node", "n02")
        done = subprocess.run([*two.command(*words)], capture_output=True, check=True)
        assert done.stdout == file.read_bytes()


@pytest.mark.usefixtures("as_root")
def test_private_keys_arent_shown(two: Head) -> None:
    two.well("apply")
    for path in ("/root/.ssh/id_ed25519", "/etc/ssh/ssh_host_ed25519_key"):
        for words in ((), ("--json",)):
            done = two("template", "show", path, "--node", "n01", *words)
            assert done.status == 2 and "private key" in done.err
            assert "PRIVATE" not in done.out + done.err.upper().replace("A PRIVATE KEY", "")


def test_the_list_says_where_each_path_comes_from_and_what_overrides_it(two: Head) -> None:
    each = put(two, "node/each/etc/motd", "each\n")
    base = put(two, "node/profiles/base/etc/motd", "base\n")
    gpu = put(two, "node/profiles/gpu/etc/motd", "gpu\n")
    records = two.well("template", "list", "--json").json
    motd = {r["from"]: (r["tree"], r["overridden_by"]) for r in records if r["path"] == "/etc/motd"}
    assert motd == {
        str(each): ("node/each", [str(base), str(gpu)]),
        f"{OURS}/node/each/etc/motd.j2": ("node/each", [str(each)]),
        str(base): ("node/profiles/base", [str(gpu)]),
        str(gpu): ("node/profiles/gpu", []),
    }
    boot = {r["path"]: r["overridden_by"] for r in records if r["tree"] == "boot"}
    assert boot["boot/ipxe/boot.ipxe.j2"] == []
    assert "nfs/exports.j2" in two.well("template", "list").out


def test_the_list_of_a_node_says_what_it_gets(two: Head) -> None:
    gpu = put(two, "node/profiles/gpu/etc/motd", "gpu\n")
    put(two, "node/profiles/gpu/etc/hosts", "")
    broken = put(two, "node/profiles/gpu/etc/issue.j2", "{{ x }}")
    put(two, "node/profiles/gpu/etc/resolv.conf", "")
    (two.directory / "templates/node/profiles/gpu/etc/localtime").symlink_to("/usr/share/zoneinfo/UTC")
    found = {r["path"]: r for r in two.well("template", "list", "--node", "n02", "--json").json}
    assert found["/etc/motd"]["what"] == "file 0644, 4 B"
    assert (found["/etc/motd"]["from"], found["/etc/motd"]["overrides"]) == (
        str(gpu),
        [f"{OURS}/node/each/etc/motd.j2"],
    )
    assert found["/etc/hosts"]["from"] == f"{OURS}/node/common/etc/hosts.j2", "it is the same for all"
    assert found["/etc/issue"]["what"].startswith(f"error: template {broken}, line 1: 'x' is undefined")
    assert found["/etc/resolv.conf"]["what"] == "nothing: it renders empty"
    assert found["/etc/localtime"]["what"] == "link to /usr/share/zoneinfo/UTC"
    assert found["/root/.ssh/id_ed25519"]["from"] == "netbootd itself"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("show", "/etc/nothing", "--node", "n01"), "no template makes /etc/nothing on n01"),
        (("show", "/etc/motd"), "--node NODE shows it"),
        (("show", "boot/ipxe/boot.ipxe.j2"), "add --node NODE"),
        (("show", "/etc/motd", "--node", "n99"), "there is no node 'n99'"),
        (("vars", "n99"), "there is no node 'n99'"),
    ],
)
def test_what_isnt_there_is_said(two: Head, words: tuple[str, ...], reason: str) -> None:
    done = two("template", *words)
    assert done.status == 2 and reason in done.err and done.out == ""


def test_a_broken_template_is_said_with_file_line_and_variable(two: Head) -> None:
    broken = put(two, "node/each/etc/motd.j2", "Welcome to\n{{ node.nmae }}\n")
    done = two("template", "show", "/etc/motd", "--node", "n01")
    assert done.status == 2
    assert f"template {broken}, line 2: a member has no 'nmae'; did you mean 'name'?" in done.err


@pytest.mark.parametrize("ready", [False, True])
def test_why_tells_of_a_broken_boot_template(two: Head, ready: bool) -> None:
    broken = put(two, "boot/ipxe/boot.ipxe.j2", "#!ipxe\n{{ nothing }}\n")
    state = two.directory / "state"
    log = EventLog.open(state / "registry" / "events.db")
    with Registry.open(state / "registry" / "registry.db") as registry:
        images = ImageStore(state / "images")
        node = registry.node("n01")
        network = replace(NETWORK, address=IPv4Interface("10.77.0.1/24"))
        exported = Exported(
            nodes_dir=state / "nodes",
            common_dir=state / "common",
            roots_dir=state / "roots",
            ram_dir=state / "ram",
            nfs_version="4.2",
        )
        head = HeadNode(registry, images, (network,), Roots(state / "roots"))
        shelf = Shelf(head, exported, Renderer(two.directory / "templates"), log, time.time)
        asset = shelf.open(f"boot/{node.mac.dashed}/boot.ipxe", node.address, network.server, "HTTP")
        assert isinstance(asset, Asset) and b"n01 boots debian@1" in (asset.content or b"")
    if ready:
        log.record(Event(time=time.time(), mac=node.mac, node="n01", stage=Stage.READY, text="up"))
    log.close()
    told = two.well("why", "n01").out
    assert f"template {broken}, line 2: 'nothing' is undefined" in told
    assert "until then the packaged template is served" in told
