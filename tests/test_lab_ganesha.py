"""What the lab's NFS server was measured to do when it is told that its exports have changed."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab.ganesha import Ganesha
from tests.lab.namespace import Lab, Namespace
from tests.lab.process import LabError

pytestmark = [
    pytest.mark.net,
    pytest.mark.needs("ganesha.nfsd", "nfs-cat", "rpcbind"),
    pytest.mark.as_root("NFS-Ganesha opens files by handle"),
]

SERVER = """
NFS_CORE_PARAM { Protocols = PROTOCOLS; Enable_RQUOTA = false;
    Bind_addr = 10.77.0.1; mount_path_pseudo = false; }
NFSv4 { Grace_Period = 5; Lease_Lifetime = 5; RecoveryBackend = fs; Only_Numeric_Owners = true; }
"""


def export(number: int, path: Path, client: str = "10.77.0.9") -> str:
    return (
        f"EXPORT {{ Export_Id = {number}; Path = {path}; Pseudo = {path}; Access_Type = None;"
        f" Squash = No_Root_Squash; SecType = sys; Protocols = PROTOCOLS; Transports = TCP;"
        f" FSAL {{ Name = VFS; }} CLIENT {{ Clients = {client}; Access_Type = RO; }} }}\n"
    )


def reads(client: Namespace, version: int, path: Path) -> bool:
    url = f"nfs://10.77.0.1{path}/file?version={version}"
    done = client.run(["nfs-cat", url], check=False, timeout=20)
    return done.stdout == path.name


def soon(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 15
    while not (true := condition()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return true


@pytest.mark.parametrize("version", [3, 4])
def test_exports_come_and_go_with_sighup(lab: Lab, tmp_path: Path, version: int) -> None:
    directories = one, two = tmp_path / "one", tmp_path / "two"
    for directory in directories:
        directory.mkdir()
        (directory / "file").write_text(directory.name)
    tmp_path.chmod(0o755)
    config = tmp_path / "ganesha.conf"

    def write(*exports: str) -> None:
        text = "".join((SERVER, *exports)).replace("PROTOCOLS", str(version))
        new = tmp_path / "new.conf"
        new.write_text(text)
        new.rename(config)

    write(export(1, one))
    client = lab.client("c1", address="10.77.0.9/24")
    ganesha = Ganesha(lab, config, tmp_path / "ganesha.pid", rpcbind=version == 3)
    ganesha.start()
    assert soon(lambda: reads(client, version, one))
    assert not reads(client, version, two)

    write(export(1, one), export(2, two), export(3, tmp_path / "missing"))
    ganesha.reload()
    assert soon(lambda: reads(client, version, two)), ganesha.last_words()
    assert reads(client, version, one)

    write(export(1, one), export(2, two, client="10.77.0.10"))
    ganesha.reload()
    assert soon(lambda: not reads(client, version, two))
    assert reads(client, version, one)

    write(export(1, one), "EXPORT { it breaks off")
    ganesha.reload()
    assert soon(lambda: not reads(client, version, one))

    write(export(1, one))
    ganesha.reload()
    assert soon(lambda: reads(client, version, one))
    ganesha.stop()


def test_a_configuration_that_it_can_not_read_is_told_with_its_own_words(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "ganesha.conf").write_text("NFS_CORE_PARAM {")
    with pytest.raises(LabError, match=r"(?s)ganesha ended with 2, no port 2049.*syntax error"):
        Ganesha(lab, tmp_path / "ganesha.conf", tmp_path / "ganesha.pid").start()
