"""A shell in an image: published only when it ends well, and nothing of it is left anywhere else."""

import os
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from netbootd.errors import HostError, UserError
from netbootd.image import Generation
from netbootd.images import foreign, layered, trees
from netbootd.images.importer import import_image
from netbootd.images.recipe import CHANGED_BY_HAND
from netbootd.images.shell import Changed, opened
from netbootd.images.store import ImageStore
from tests.images.roots import put, small_root
from tests.images.test_layered import picture
from tests.lab import arm

pytestmark = [
    pytest.mark.as_root("it mounts, and an image's files belong to many users"),
    pytest.mark.needs("unshare", "setpriv", "busybox"),
]

APPLETS = (
    *("cat", "chmod", "chown", "env", "grep", "kill", "ln", "ls", "mkdir", "mknod", "mount"),
    *("rm", "sleep", "touch", "true", "wc"),
)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root that one can work in."""
    root = small_root(tmp_path_factory.mktemp("source") / "root")
    for name in APPLETS:
        (root / "bin" / name).symlink_to("busybox")
    for directory in ("root", "sys/nothing", "usr/sbin"):
        (root / directory).mkdir(parents=True, exist_ok=True)
    (root / "sys/nothing").rmdir()
    put(root, "etc/motd", "welcome\n")
    put(root, "etc/passwd", "root:x:0:0::/root:/bin/sh\n")
    put(root, "usr/lib/large", os.urandom(1 << 20))
    (root / "etc/resolv.conf").symlink_to("../run/systemd/resolve/stub-resolv.conf")
    return root


@pytest.fixture(scope="module")
def published(source: Path) -> Iterator[Path]:
    """Images with one generation, in memory where that can be: publishing waits for the disk."""
    memory = Path("/dev/shm")
    base = memory if os.access(memory, os.W_OK) else None
    directory = Path(tempfile.mkdtemp(prefix="netbootd-shell-", dir=base))
    import_image(ImageStore(directory / "published"), "golden", source)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def images(published: Path) -> Iterator[Path]:
    """A copy of them, for one test."""
    subprocess.run(["cp", "-a", published / "published", published / "images"], check=True)
    yield published / "images"
    shutil.rmtree(published / "images")


@pytest.fixture(params=["container", "namespaces"])
def store(request: pytest.FixtureRequest, images: Path, monkeypatch: pytest.MonkeyPatch) -> ImageStore:
    """Without systemd-nspawn, and with it where it is installed."""
    if request.param == "container" and shutil.which("systemd-nspawn") is None:
        pytest.skip("needs systemd-nspawn")
    if request.param == "namespaces":
        without_nspawn(monkeypatch)
    return ImageStore(images)


def without_nspawn(monkeypatch: pytest.MonkeyPatch) -> None:
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "systemd-nspawn" else which(name))


@pytest.fixture(autouse=True)
def _nothing_stays_mounted(published: Path, tmp_path: Path) -> Iterator[None]:
    yield
    assert trees.mounts_under(published) == trees.mounts_under(tmp_path) == []


def base(store: ImageStore) -> Generation:
    found = store.generation("golden", 1)
    assert found is not None
    return found


def said(store: ImageStore, made: Generation, capfd: pytest.CaptureFixture[str], script: str) -> str:
    """What `script` says in the image, with nothing published."""
    capfd.readouterr()
    with opened(store, made) as session:
        status = session.run(["/bin/sh", "-c", script])
    out = capfd.readouterr()
    assert status == 0, out.err
    return out.out


def worked(store: ImageStore, made: Generation, script: str, note: str = "") -> Generation:
    with opened(store, made) as session:
        assert session.run(["/bin/sh", "-c", script]) == 0
        changed = session.changed()
        assert changed
        return session.publish(changed, note)


def leftovers(store: ImageStore) -> list[str]:
    return [
        path.name for path in store.directory.iterdir() if path.name.startswith((".incoming", ".outgoing"))
    ]


def test_what_is_done_in_it_is_the_next_generation(store: ImageStore) -> None:
    first = base(store)
    before = picture(first.root)
    second = worked(
        store,
        first,
        "echo changed >/etc/motd; rm /etc/passwd; mkdir /srv; echo data >/srv/data; ln -s data /srv/link;"
        "chown 7:8 /srv/data; chmod 4711 /srv/data",
        note="for Anna",
    )
    assert (second.number, second.origin, second.note) == (2, "shell over golden@1", "for Anna")
    assert store.current("golden") == second
    assert second.remarks[0] == "changed by hand: 3 added, 1 changed, 1 removed"
    assert (second.root / "etc/motd").read_text() == "changed\n"
    assert not (second.root / "etc/passwd").exists()
    found = (second.root / "srv/data").stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (7, 8, 0o4711)
    assert picture(first.root) == before
    assert second.own_size < 50_000 < 1 << 20 < second.size
    assert (second.root / "usr/lib/large").stat().st_ino == (first.root / "usr/lib/large").stat().st_ino
    assert (second.boot / "initrd").read_bytes() == (first.boot / "initrd").read_bytes()
    assert sorted(path.name for path in second.directory.iterdir()) == ["boot", "generation.json", "root"]
    assert leftovers(store) == []


def test_nothing_changed_is_nothing_to_publish(store: ImageStore) -> None:
    with opened(store, base(store)) as session:
        assert (
            session.run(["/bin/sh", "-c", "touch /etc/motd; echo x >/tmp/x; echo y >/run/y; rm -f /etc/n"])
            == 0
        )
        assert session.changed() == Changed()
    assert leftovers(store) == []


def test_a_shell_that_ends_badly_says_so_and_leaves_nothing(store: ImageStore) -> None:
    first = base(store)
    with opened(store, first) as session:
        assert session.run(["/bin/sh", "-c", "echo bad >/etc/motd; exit 3"]) == 3
    with opened(store, first) as session:
        assert session.run(["/bin/sh", "-c", "kill -9 $$"]) in (137, 255)
    assert store.numbers("golden") == [1]
    assert leftovers(store) == []


def test_only_the_image_is_to_be_seen_in_it(
    store: ImageStore, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    first = base(store)
    assert said(store, first, capfd, f"ls {tmp_path} /work 2>/dev/null | wc -l").strip() == "0"
    assert len(said(store, first, capfd, "ls /proc | grep '^[0-9]'").split()) < 9, "its own processes"
    outside = "ls -d /proc/1/root/work /proc/1/cwd/guest 2>/dev/null | wc -l"
    assert said(store, first, capfd, outside).strip() == "0", "nor by its first process"
    mounted = said(store, first, capfd, "cat /proc/mounts")
    assert str(tmp_path) not in re.sub(r"^overlay .*", "", mounted, flags=re.M)
    assert re.search(r"^sysfs /sys sysfs ro,", mounted, re.M)
    assert said(store, first, capfd, "mknod /tmp/sda b 8 0 2>/dev/null || echo refused") == "refused\n"
    assert said(store, first, capfd, "mount -t tmpfs x /tmp 2>/dev/null || echo refused") == "refused\n"
    descriptors = said(store, first, capfd, "ls -l /proc/self/fd")
    assert "incoming" not in descriptors and "images" not in descriptors


def test_devices_are_the_harmless_ones(store: ImageStore, capfd: pytest.CaptureFixture[str]) -> None:
    first = base(store)
    assert (
        said(store, first, capfd, "echo x >/dev/null && ls /dev/pts/ptmx /dev/shm -d | wc -l").strip() == "2"
    )
    assert not re.search(r"^b", said(store, first, capfd, "ls -l /dev"), re.M)


def test_names_resolve_in_it_and_how_stays_out_of_the_image(
    store: ImageStore, capfd: pytest.CaptureFixture[str]
) -> None:
    first = base(store)
    assert said(store, first, capfd, "cat /etc/resolv.conf") == Path("/etc/resolv.conf").read_text()
    second = worked(store, first, "chmod 600 /etc/resolv.conf; chmod 644 /etc/resolv.conf; echo 1 >/etc/new")
    assert not (second.root / "etc/resolv.conf").is_symlink(), "mended: the resolver isn't installed"
    assert (second.root / "etc/resolv.conf").read_text() == ""
    third = worked(store, first, "rm /etc/resolv.conf; echo nameserver 10.9.8.7 >/etc/resolv.conf")
    assert (third.root / "etc/resolv.conf").read_text() == "nameserver 10.9.8.7\n", "the admin's own"


def test_no_package_may_start_a_service(store: ImageStore, capfd: pytest.CaptureFixture[str]) -> None:
    first = base(store)
    assert said(store, first, capfd, "/usr/sbin/policy-rc.d; echo $?") == "101\n"
    second = worked(store, first, "chmod 755 /usr/sbin/policy-rc.d; echo 1 >/usr/sbin/new")
    assert [path.name for path in (second.root / "usr/sbin").iterdir()] == ["new"]


def test_package_lists_and_caches_are_left_out(store: ImageStore) -> None:
    """Each generation would have its own, of tens of megabytes."""
    script = (
        "mkdir -p /var/lib/apt/lists/partial /var/cache/apt/archives /etc/more; cd /var/cache/apt;"
        "echo 1 >pkgcache.bin; echo 2 >archives/hello.deb; echo 3 >/var/lib/apt/lists/main;"
        "ln -s /etc/motd /var/lib/apt/lists/link;"
        "echo 4 >/etc/more/kept; echo 5 >archives/kept"
    )
    made = worked(store, base(store), script)
    assert sorted(
        str(p.relative_to(made.root)) for p in (made.root / "var").rglob("*") if not p.is_dir()
    ) == [
        "var/cache/apt/archives/kept",
        "var/lib/apt/lists/link",
    ]
    assert (made.root / "etc/more/kept").exists() and (made.root / "etc/motd").read_text() == "welcome\n"
    assert "0.0 MB of package lists and caches left out" in made.remarks


def test_what_it_started_ends_with_it(store: ImageStore) -> None:
    mark = str(70_000 + os.getpid())
    worked(store, base(store), f"sleep {mark} & echo 1 >/etc/new")
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline")]
    assert not [command for command in commands if mark.encode() in command]


def test_a_command_that_is_not_there_is_told(store: ImageStore) -> None:
    with opened(store, base(store)) as session:
        try:
            assert session.run(["no-such-command"]) != 0  # systemd-nspawn tells it by itself
        except HostError as error:
            assert "no-such-command" in error.message and "no such command" in error.message


def test_the_recipe_of_a_built_image_stays_and_is_marked(
    store: ImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = replace(base(store), recipe={"suite": "bookworm"})
    second = worked(store, first, "echo 1 >/etc/new")
    assert second.recipe == {"suite": "bookworm", CHANGED_BY_HAND: "over golden@1"}
    again = store.generation("golden", 2)
    assert again is not None and again.recipe == second.recipe


def test_an_older_generation_may_be_worked_in(store: ImageStore) -> None:
    first = base(store)
    worked(store, first, "echo two >/etc/two")
    third = worked(store, first, "echo three >/etc/three")
    assert (third.number, third.origin) == (3, "shell over golden@1")
    assert not (third.root / "etc/two").exists()


def test_a_generation_removed_while_it_is_read_is_not_published_by_halves(
    images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_nspawn(monkeypatch)
    store, merge = ImageStore(images), layered.merge
    made = worked(store, base(store), "echo 2 >/etc/motd")

    def merge_while_it_is_removed(lower: Path, upper: Path, target: Path, *, consume: bool) -> None:
        merge(lower, upper, target, consume=consume)
        store.remove("golden", 1, {})

    monkeypatch.setattr(layered, "merge", merge_while_it_is_removed)
    with pytest.raises(HostError, match="golden@1 was removed meanwhile"):
        worked(store, base(store), "echo 3 >/etc/motd")
    assert store.numbers("golden") == [made.number]
    assert leftovers(store) == []


@pytest.mark.parametrize("directory", ["proc", "dev", "tmp"])
def test_an_image_whose_directories_lead_elsewhere_is_refused(images: Path, directory: str) -> None:
    store = ImageStore(images)
    first = base(store)
    (first.root / directory).rmdir()
    (first.root / directory).symlink_to("/etc")
    with pytest.raises(UserError, match=f"/{directory} in the image isn't a directory"), opened(store, first):
        pass
    assert leftovers(store) == []


def test_a_shell_that_cannot_run_is_told(images: Path) -> None:
    store = ImageStore(images)
    first = base(store)
    (first.root / "bin/busybox").write_bytes(b"\x7fELF, but cut off")
    with pytest.raises(HostError, match=r"/bin/sh of golden@1 can't be run here: "), opened(store, first):
        pass


def test_a_root_that_lacks_directories_is_worked_in_all_the_same(store: ImageStore) -> None:
    first = base(store)
    for name in ("proc", "sys", "run", "tmp", "dev"):
        (first.root / name).rmdir()
    with opened(store, first) as session:
        assert session.run(["/bin/sh", "-c", "cat /proc/self/status >/dev/null && echo 1 >/tmp/x"]) == 0
        assert session.changed() == Changed()


def test_where_no_overlay_can_be_made_a_copy_is_worked_in(
    tmp_path: Path, source: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """In a container, the images may themselves lie on an overlay."""
    for name in ("lower", "upper", "work", "disk"):
        (tmp_path / name).mkdir()
    layers = f"lowerdir={tmp_path}/lower,upperdir={tmp_path}/upper,workdir={tmp_path}/work"
    subprocess.run(["mount", "-t", "overlay", "-o", layers, "overlay", tmp_path / "disk"], check=True)
    try:
        store = ImageStore(tmp_path / "disk/images")
        first = import_image(store, "golden", source)
        before = picture(first.root)
        assert said(store, first, capfd, "cat /etc/resolv.conf") == Path("/etc/resolv.conf").read_text()
        with opened(store, first) as session:
            assert "on a copy" in session.means
            assert session.run(["/bin/true"]) == 0
            assert session.changed() == Changed()
        second = worked(store, first, "echo changed >/etc/motd; rm /etc/passwd; echo 1 >/etc/new")
        assert second.remarks[0] == "changed by hand: 1 added, 1 changed, 1 removed"
        assert picture(first.root) == before
        assert (second.root / "etc/resolv.conf").read_text() == ""
        assert (second.root / "etc/motd").read_text() == "changed\n"
        assert (second.root / "usr/lib/large").stat().st_nlink == 2
    finally:
        subprocess.run(["umount", tmp_path / "disk"], check=True)


def test_foreign_architectures_say_what_they_need(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ImageStore(images)
    first = replace(base(store), architecture="s390x")

    def refused(architecture: str) -> None:
        raise HostError(f"can't run {architecture}", "apt install qemu-user-static")

    monkeypatch.setattr(foreign, "check", refused)
    with (
        pytest.raises(HostError, match="can't run s390x; apt install qemu-user-static"),
        opened(store, first),
    ):
        pass
    first = replace(first, architecture="pdp11")
    with pytest.raises(HostError, match="for pdp11, which nothing here can run"), opened(store, first):
        pass
    assert store.numbers("golden") == [1]


@pytest.fixture
def arm_programs(tmp_path: Path) -> Iterator[None]:
    """This machine runs programs for arm64: as it is, or with what qemu-user-static is registered by here.

    Mounted at a place of its own, binfmt_misc is nobody else's to unmount.
    """
    if foreign.runs("arm64"):
        yield
        return
    qemu = shutil.which("qemu-aarch64-static")
    binfmt = tmp_path / "binfmt"
    binfmt.mkdir()
    if qemu is None:
        pytest.skip("not installed: qemu-aarch64-static")
    if subprocess.run(["mount", "-t", "binfmt_misc", "none", binfmt], check=False).returncode:
        pytest.skip("binfmt_misc can't be mounted here")
    entry = f"netbootd-test-{os.getpid()}"
    magic = r"\x7f\x45\x4c\x46\x02\x01\x01" + r"\x00" * 9 + r"\x02\x00\xb7\x00"
    mask = r"\xff" * 7 + r"\x00" + r"\xff" * 8 + r"\xfe\xff\xff\xff"
    try:
        (binfmt / "register").write_text(f":{entry}:M::{magic}:{mask}:{qemu}:F")
        yield
        (binfmt / entry).write_text("-1")
    finally:
        subprocess.run(["umount", binfmt], check=True)


@pytest.mark.slow
@pytest.mark.usefixtures("arm_programs")
def test_an_image_for_another_architecture_is_worked_in_through_qemu(
    store: ImageStore, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Debian's busybox for arm64 alone: it needs no library."""
    arm.fetch(tmp_path, "arm64", "busybox-static")
    busybox = next(path for path in tmp_path.rglob("bin/busybox") if path.is_file())
    with store.staging("arm") as staging:
        put(staging.root, "bin/busybox", busybox.read_bytes(), 0o755)
        for name in ("sh", "uname", "head", "rm"):
            (staging.root / "bin" / name).symlink_to("busybox")
        put(staging.root, "etc/motd", "welcome\n")
        first = store.publish(staging, replace(base(store), architecture="aarch64"))
    assert said(store, first, capfd, "uname -m; head -n 1 /etc/resolv.conf").splitlines()[0] == "aarch64"
    with opened(store, first) as session:
        assert session.run(["sh", "-c", "rm /etc/motd; uname -m >/etc/machine"]) == 0
        assert session.changed() == Changed(added=1, removed=1)
