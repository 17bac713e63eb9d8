"""An overlay's two directories, read apart, are what the kernel shows of them mounted together."""

import os
import socket
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from netbootd.errors import UserError
from netbootd.images.layered import Change, changes, merge

pytestmark = [pytest.mark.as_root("overlayfs is mounted, devices are made"), pytest.mark.needs("setcap")]


@contextmanager
def overlay(base: Path, options: str = "redirect_dir=off,metacopy=off") -> Iterator[Path]:
    """base/lower and base/upper as one tree that can be written to."""
    for name in ("upper", "work", "view"):
        (base / name).mkdir(exist_ok=True)
    layers = f"lowerdir={base}/lower,upperdir={base}/upper,workdir={base}/work,{options}"
    subprocess.run(["mount", "-t", "overlay", "-o", layers, "overlay", base / "view"], check=True)
    try:
        yield base / "view"
    finally:
        subprocess.run(["umount", base / "view"], check=True)


def lower(base: Path) -> Path:
    """A tree with everything that a root may have."""
    root = base / "lower"
    for directory in ("etc/init.d", "usr/bin", "usr/share/doc/old", "dev", "srv", "opt/app", "var/log"):
        (root / directory).mkdir(parents=True)
    for name in ("etc/hosts", "etc/motd", "etc/init.d/ssh", "usr/bin/tool", "usr/share/doc/old/README",
                 "opt/app/a", "opt/app/b", "srv/same", "var/log/wtmp", "usr/bin/ping"):  # fmt: skip
        (root / name).write_text(f"{name} as it was\n")
    os.link(root / "usr/bin/tool", root / "usr/bin/tool-too")
    (root / "etc/alias").symlink_to("/etc/hosts")
    os.mknod(root / "dev/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mkfifo(root / "dev/pipe")
    (root / "usr/bin/ping").chmod(0o755)
    subprocess.run(["setcap", "cap_net_raw=ep", root / "usr/bin/ping"], check=True)
    with (root / "srv/sparse").open("wb") as file:
        file.truncate(64 << 20)
        file.seek(32 << 20)
        file.write(b"in the middle")
    (root / "srv/sticky").mkdir()
    (root / "srv/sticky").chmod(0o1777)
    for path in [*root.rglob("*"), root]:
        os.utime(path, ns=(10**18, 10**18 + 5), follow_symlinks=False)
    return root


def work_in(root: Path) -> None:
    """What a node, or an admin in a shell, may do."""
    (root / "etc/hosts").write_text("another\n")
    (root / "etc/motd").unlink()
    (root / "etc/init.d/ssh").chmod(0o700)
    os.chown(root / "srv/same", 1000, 1000)
    (root / "srv/same").chmod(0o4711)
    (root / "etc/alias").unlink()
    (root / "etc/alias").symlink_to("/etc/passwd")
    subprocess.run(["rm", "-r", root / "usr/share/doc/old"], check=True)
    subprocess.run(["rm", "-r", root / "opt/app"], check=True)
    (root / "opt/app").mkdir()
    (root / "opt/app/b").write_text("opt/app/b as it was\n")
    (root / "opt/app/new").mkdir()
    (root / "opt/app/new/file").write_text("new\n")
    os.link(root / "opt/app/new/file", root / "opt/app/twin")
    os.setxattr(root / "opt/app/new/file", "user.colour", b"blue")
    (root / "dev/null").unlink()
    (root / "dev/null").mkdir()
    os.mknod(root / "dev/zero", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(root / "dev/log"))
    with (root / "srv/grown").open("wb") as file:
        file.seek(48 << 20)
        file.write(b"far away")
    with (root / "var/log/wtmp").open("ab"):  # opened for writing is copied up, though nothing is written
        pass
    (root / "srv/sticky").rmdir()
    (root / "srv/sticky").write_text("a file now")
    os.setxattr(root / "var", "user.note", b"kept")
    subprocess.run(["setcap", "cap_net_bind_service=ep", root / "etc/init.d/ssh"], check=True)


def picture(root: Path) -> dict[str, object]:
    """Everything about a tree but the times of its directories' last reading."""
    first: dict[int, str] = {}
    found: dict[str, object] = {}
    for path in [root, *sorted(root.rglob("*"))]:
        status = path.lstat()
        name = str(path.relative_to(root))
        attributes = {
            key: os.getxattr(path, key, follow_symlinks=False)
            for key in os.listxattr(path, follow_symlinks=False)
            if not key.startswith("trusted.overlay.")
        }
        content: object = None
        if stat.S_ISREG(status.st_mode):
            content = (path.read_bytes(), first.setdefault(status.st_ino, name))
        elif stat.S_ISLNK(status.st_mode):
            content = str(path.readlink())
        elif not stat.S_ISDIR(status.st_mode):
            content = status.st_rdev
        found[name] = (status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns, attributes, content)
    return found


@pytest.mark.parametrize(
    "options", ["redirect_dir=off,metacopy=off", "redirect_dir=off,index=on,nfs_export=on"]
)
@pytest.mark.parametrize("consume", [False, True])
def test_merged_is_what_the_kernel_shows(tmp_path: Path, options: str, consume: bool) -> None:
    lower(tmp_path)
    with overlay(tmp_path, options) as view:
        work_in(view)
        shown = picture(view)
    (tmp_path / "target").mkdir()
    before = picture(tmp_path / "lower")
    merge(tmp_path / "lower", tmp_path / "upper", tmp_path / "target", consume=consume)
    assert picture(tmp_path / "target") == shown
    assert picture(tmp_path / "lower") == before
    for path in (tmp_path / "target").rglob("*"):
        assert not [key for key in os.listxattr(path, follow_symlinks=False) if "overlay" in key]


def test_unchanged_files_cost_nothing_and_holes_stay_holes(tmp_path: Path) -> None:
    lower(tmp_path)
    with overlay(tmp_path) as view:
        work_in(view)
    target = tmp_path / "target"
    target.mkdir()
    merge(tmp_path / "lower", tmp_path / "upper", target)
    for name in ("usr/bin/tool", "usr/bin/ping", "srv/sparse", "dev/pipe"):
        assert (target / name).lstat().st_ino == (tmp_path / "lower" / name).lstat().st_ino
    assert (target / "srv/grown").stat().st_size > 48 << 20
    assert (target / "srv/grown").stat().st_blocks * 512 < 1 << 20
    assert (target / "opt/app/twin").stat().st_ino == (target / "opt/app/new/file").stat().st_ino
    assert (target / "opt/app/twin").stat().st_ino != (tmp_path / "upper/opt/app/twin").stat().st_ino


def test_what_changed_is_told_and_nothing_else(tmp_path: Path) -> None:
    lower(tmp_path)
    with overlay(tmp_path) as view:
        work_in(view)
    told = list(changes(tmp_path / "lower", tmp_path / "upper"))
    assert [(change.kind, change.path, change.type, change.what) for change in told] == [
        ("added", "dev/log", "socket", ()),
        ("changed", "dev/null", "directory", ("type",)),
        ("added", "dev/zero", "device", ()),
        ("changed", "etc/alias", "link", ("content",)),
        ("changed", "etc/hosts", "file", ("content",)),
        ("changed", "etc/init.d/ssh", "file", ("mode", "attributes")),
        ("removed", "etc/motd", "file", ()),
        ("removed", "opt/app/a", "file", ()),
        ("changed", "opt/app/b", "file", ("time",)),
        ("added", "opt/app/new", "directory", ()),
        ("added", "opt/app/new/file", "file", ()),
        ("added", "opt/app/twin", "file", ()),
        ("added", "srv/grown", "file", ()),
        ("changed", "srv/same", "file", ("mode", "owner")),
        ("changed", "srv/sticky", "file", ("type",)),
        ("removed", "usr/share/doc/old", "directory", ()),
        ("changed", "var", "directory", ("attributes",)),
    ]
    assert {change.path: change.size for change in told if change.size}["etc/hosts"] == len("another\n")


def test_nothing_done_is_nothing_changed(tmp_path: Path) -> None:
    lower(tmp_path)
    with overlay(tmp_path) as view:
        (view / "etc/new").write_text("")
        (view / "etc/new").unlink()
    assert list(changes(tmp_path / "lower", tmp_path / "upper")) == []


def test_whiteouts_may_be_files_with_an_attribute(tmp_path: Path) -> None:
    """As the kernel writes them since 6.7, where an overlay lies on an overlay."""
    lower(tmp_path)
    etc = tmp_path / "upper/etc"
    etc.mkdir(parents=True)
    os.utime(tmp_path / "upper", ns=(10**18, 10**18))
    os.setxattr(etc, "trusted.overlay.opaque", b"x")
    (etc / "motd").write_bytes(b"")
    os.setxattr(etc / "motd", "trusted.overlay.whiteout", b"")
    (etc / "empty").write_bytes(b"")
    assert list(changes(tmp_path / "lower", tmp_path / "upper")) == [
        Change("etc/empty", "added", "file"),
        Change("etc/motd", "removed", "file"),
    ]
    (tmp_path / "target").mkdir()
    merge(tmp_path / "lower", tmp_path / "upper", tmp_path / "target")
    assert sorted(path.name for path in (tmp_path / "target/etc").iterdir()) == [
        "alias",
        "empty",
        "hosts",
        "init.d",
    ]


def test_links_in_the_upper_directory_lead_nowhere(tmp_path: Path) -> None:
    """A node owns it: it may put a link where a directory was."""
    lower(tmp_path)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("of the head node")
    (tmp_path / "upper").mkdir()
    (tmp_path / "upper/etc").symlink_to(outside)
    assert list(changes(tmp_path / "lower", tmp_path / "upper")) == [
        Change("etc", "changed", "link", ("type",))
    ]
    (tmp_path / "target").mkdir()
    merge(tmp_path / "lower", tmp_path / "upper", tmp_path / "target")
    assert (tmp_path / "target/etc").is_symlink()
    assert [path.name for path in outside.iterdir()] == ["secret"]


@pytest.mark.parametrize("note", ["redirect", "metacopy"])
def test_what_lies_elsewhere_is_refused(tmp_path: Path, note: str) -> None:
    lower(tmp_path)
    (tmp_path / "upper/srv/data").mkdir(parents=True)
    os.setxattr(tmp_path / "upper/srv/data", f"trusted.overlay.{note}", b"/etc")
    with pytest.raises(UserError, match=f"srv/data .*{note}"):
        list(changes(tmp_path / "lower", tmp_path / "upper"))
    (tmp_path / "target").mkdir()
    with pytest.raises(UserError, match=f"srv/data .*{note}"):
        merge(tmp_path / "lower", tmp_path / "upper", tmp_path / "target")


def test_directories_without_end_are_refused(tmp_path: Path) -> None:
    lower(tmp_path)
    script = "mkdir -p upper && cd upper && i=0 && while [ $i -lt 400 ]; do mkdir d; cd d; i=$((i+1)); done"
    subprocess.run(["sh", "-c", script], cwd=tmp_path, check=True)
    with pytest.raises(UserError, match="directories deep"):
        list(changes(tmp_path / "lower", tmp_path / "upper"))
    (tmp_path / "target").mkdir()
    with pytest.raises(UserError, match="directories deep"):
        merge(tmp_path / "lower", tmp_path / "upper", tmp_path / "target")
