"""The exports file, read by the real exportfs."""

import re
import sys
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from netbootd.errors import HostError
from netbootd.nfs import exportfs
from netbootd.nfs.exports import Export
from netbootd.render import Renderer
from tests.lab.namespace import Lab

ETAB = "/var/lib/nfs/etab"


def told(lab: Lab, exports: list[Export]) -> tuple[int, str, dict[str, dict[str, set[str]]]]:
    """exportfs -ra: its status, what it said, what the kernel shall export: path, client, options."""
    lab.run(["mkdir", "-p", "/etc/exports.d"])
    text = exportfs.render(Renderer(), exportfs.variables(exports)).decode()
    lab.run(["tee", "/etc/exports.d/netbootd.exports"], input=text)
    done = lab.run(["exportfs", "-ra"], check=False)
    found: dict[str, dict[str, set[str]]] = {}
    for line in lab.run(["cat", ETAB]).stdout.splitlines():
        path, _, client = line.partition("\t")
        who, _, options = client.rstrip(")").partition("(")
        found.setdefault(path, {})[who] = set(options.split(","))
    return done.returncode, done.stderr, found


@pytest.mark.net
@pytest.mark.needs("exportfs")
def test_exportfs_takes_every_client_with_its_options(lab: Lab, tmp_path: Path) -> None:
    image, files = tmp_path / "root", tmp_path / "n1"
    image.mkdir()
    files.mkdir()
    # Every second address: nothing to collapse, the longest line that so many nodes can make.
    many = tuple(IPv4Network(int(IPv4Network("10.77.0.0/16")[0]) + 2 * i) for i in range(1, 1001))
    exports = [
        Export(path=image, clients=(*many, IPv4Network("10.78.0.16/28"))),
        Export(path=files, clients=(IPv4Network("10.77.0.2"),), read_only=False, root_squash=True),
    ]
    status, said, found = told(lab, exports)
    assert (status, said) == (0, "")
    assert set(found[str(image)]) == {*(str(c[0]) for c in many), "10.78.0.16/28"}
    options = {"ro", "no_root_squash", "subtree_check", "secure", f"fsid={exports[0].fsid}", "sec=sys"}
    assert all(options <= given for given in found[str(image)].values())
    assert set(found[str(files)]) == {"10.77.0.2"}
    assert {"rw", "root_squash", "no_subtree_check"} <= found[str(files)]["10.77.0.2"]


@pytest.mark.net
@pytest.mark.needs("exportfs")
def test_what_has_to_be_mounted_is_exported_as_a_mount_point_only(lab: Lab, tmp_path: Path) -> None:
    """rpc.mountd then refuses it while nothing is mounted there: exports(5), mountpoint."""
    client = (IPv4Network("10.77.0.10"),)
    status, said, found = told(
        lab,
        [
            Export(path=tmp_path, clients=client, read_only=False, mounted=True),
            Export(path=tmp_path / "..", clients=client),
        ],
    )
    assert (status, said) == (0, "")
    options = [options for clients in found.values() for options in clients.values()]
    assert [("mountpoint" in each, "rw" in each) for each in options].count((True, True)) == 1
    assert [("mountpoint" in each, "rw" in each) for each in options].count((False, False)) == 1


@pytest.mark.net
@pytest.mark.needs("exportfs")
def test_any_path_can_be_exported(lab: Lab, tmp_path: Path) -> None:
    odd = tmp_path / 'a "b" (c) #d \\e é'
    odd.mkdir()
    status, said, found = told(lab, [Export(path=odd, clients=(IPv4Network("10.77.0.2"),))])
    assert (status, said) == (0, "")
    ((path, clients),) = found.items()
    plain = re.sub(rb"\\([0-7]{3})", lambda octal: bytes([int(octal[1], 8)]), path.encode())
    assert plain.decode() == str(odd)
    assert list(clients) == ["10.77.0.2"]


@pytest.mark.net
@pytest.mark.needs("exportfs")
def test_an_export_that_is_dropped_is_dropped_at_the_next_reload(lab: Lab, tmp_path: Path) -> None:
    one, two = (Export(path=tmp_path / name, clients=(IPv4Network("10.77.0.2"),)) for name in ("one", "two"))
    for export in (one, two):
        export.path.mkdir()
    assert set(told(lab, [one, two])[2]) == {str(one.path), str(two.path)}
    assert set(told(lab, [two])[2]) == {str(two.path)}


@pytest.mark.net
@pytest.mark.needs("exportfs")
def test_exportfs_is_found_outside_of_path_and_a_missing_one_said_with_its_package(
    lab: Lab, tmp_path: Path
) -> None:
    program = "from netbootd.nfs import exportfs; print(exportfs.reload())"

    def reload() -> str:
        done = lab.run([sys.executable, "-c", program], check=False, env={"PATH": "/usr/bin:/bin"})
        return done.stdout + done.stderr

    assert "()" in reload()
    nothing = tmp_path / "nothing"
    nothing.touch(mode=0o644)
    lab.run(["sh", "-c", f"mount --bind {nothing} $(readlink -f $(command -v exportfs))"])
    assert "apt-get install nfs-kernel-server" in reload()


def test_what_exportfs_complains_of_is_passed_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    command = tmp_path / "exportfs"
    command.write_text("#!/bin/sh\necho 'exportfs: No such directory /nowhere' >&2\nexit 1\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(HostError, match="No such directory /nowhere"):
        exportfs.reload()
