"""Where the directory that all share may lie, as the kernel's list of mounts has it."""

from pathlib import Path

import pytest

from netbootd.files import shares as module
from netbootd.files.shares import has_handles, shares
from tests.files.head import Head

ROOT = "24 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw"
SRV = "31 24 0:52 / /srv rw,relatime shared:2 master:1 - nfs4 10.0.0.9:/srv rw,vers=4.2"
INSIDE = "32 31 254:1 / /srv/my\\040disk rw - xfs /dev/vdb rw"
OVER = "33 24 254:2 / /srv rw - ext4 /dev/vdc rw"


@pytest.mark.parametrize(
    ("mounts", "path", "elsewhere"),
    [
        ((ROOT, SRV), "/srv/shared", "nfs4"),
        ((ROOT, SRV), "/srv", "nfs4"),
        ((ROOT, SRV), "/srvdata", None),
        ((ROOT, SRV, OVER), "/srv/shared", None),
        ((ROOT, SRV.replace("nfs4", "fuse.sshfs")), "/srv/shared", "fuse.sshfs"),
        ((ROOT, SRV.replace("nfs4", "autofs")), "/srv/shared", "autofs"),
        (("nonsense", "", "1 2 3", " - "), "/srv/shared", None),
    ],
)
def test_what_lies_on_another_machine_isnt_served_second_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mounts: tuple[str, ...], path: str, elsewhere: str | None
) -> None:
    (tmp_path / "mountinfo").write_text("\n".join(mounts) + "\n")
    monkeypatch.setattr(module, "MOUNTS", tmp_path / "mountinfo")
    with Head(tmp_path, cluster={"shared": path}) as head:
        told = [str(each) for each in shares(head.config).complaints]
    assert any(f"lies on another machine ({elsewhere})" in each for each in told) == (elsewhere is not None)


def test_a_mount_point_may_have_white_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mountinfo").write_text("\n".join((ROOT, SRV, INSIDE)) + "\n")
    monkeypatch.setattr(module, "MOUNTS", tmp_path / "mountinfo")
    assert module.file_system(Path("/srv/my disk/shared")) == "xfs"
    assert module.file_system(Path("/srv/my")) == "nfs4"


def test_procfs_knows_no_files_by_handles_and_this_disk_does(tmp_path: Path) -> None:
    assert not has_handles(Path("/proc/self"))
    assert has_handles(tmp_path)
