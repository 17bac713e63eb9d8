"""Building from an archive made here, from the first list to the published image, by mmdebstrap.

Debian's own packages make the least of a system; the rest, the kernel too, are small packages that dpkg
installs like any other. What goes wrong is told in one line, and leaves nothing but its log.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from netbootd.errors import HostError, NetbootdError, UserError
from netbootd.images import debian, mmdebstrap
from netbootd.images.build import build
from netbootd.images.package_cache import PackageCache
from netbootd.images.recipe import Order, Recipe, hook, keyring
from netbootd.images.store import ImageStore
from netbootd.images.suites.debian import KEYS
from tests.ctl.conftest import CONFIG, NETBOOTCTL
from tests.images import roots
from tests.lab import archive
from tests.lab.archive import Archive

pytestmark = [
    pytest.mark.slow,
    pytest.mark.as_root("an image's files belong to many users"),
    pytest.mark.needs(*archive.COMMANDS),
]
KERNEL = {
    f"boot/vmlinuz-{roots.RELEASE}": roots.bzimage(roots.RELEASE),
    f"boot/config-{roots.RELEASE}": b"CONFIG_NFS_FS=y\nCONFIG_OVERLAY_FS=y\n",
}
HOOK = hook(
    "render.sh",
    b"""#!/bin/sh
set -e
chroot "$1" sh -c 'echo "as $(id -u) in a system with $(ls /proc/self/exe)"; echo hooked >/etc/hooked'
test ! -e "$1/etc/resolv.conf" -o -s "$1/etc/resolv.conf"
""",
)


class Mirror:
    """The archive while it is served."""

    def __init__(self, made: Archive, url: str, requests: list[str]) -> None:
        self.archive = made
        self.url = url
        self.requests = requests

    def order(self, **more: object) -> Order:
        keys = keyring("test.gpg", self.archive.key)
        mirrors = {"": self.url, "security": self.url}
        return Order(**{"mirrors": mirrors, "keyrings": (keys,), **more})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def mirror(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mirror]:
    made = Archive(tmp_path_factory.mktemp("archive") / "debian")
    try:
        archive.put_core(pytestconfig, made, "amd64")
        for name in {*debian.PACKAGES, "apt", "usrmerge"} - {"busybox"}:
            made.make(name)
        made.make("linux-image-amd64", "amd64", KERNEL)
        made.make("greeter", files={"usr/bin/greet": b"#!/bin/sh\necho hello\n"})
        made.make("rude", control="Conflicts: greeter\n")
        made.publish("bookworm", "amd64", "bookworm-updates", "bookworm-security")
        with made.served() as (url, requests):
            yield Mirror(made, url, requests)
    finally:
        made.close()


def nothing_left(store: ImageStore, name: str) -> None:
    """But the log."""
    assert store.names() == []
    assert {path.name for path in store.directory.iterdir()} <= {".lock", ".logs"}
    assert not any(name in line for line in Path("/proc/self/mountinfo").read_text().splitlines())


@contextmanager
def mounted(directory: Path) -> Iterator[None]:
    """A file system of its own there, as a persistent node's root is."""
    directory.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", directory], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", directory], check=True)


def mounts_of_builders(images: Path) -> str:
    """What the processes that work below `images` have mounted."""
    found = ""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0")
            if words[0].endswith(b"perl") and any(bytes(images) in word for word in words):
                found += (process / "mountinfo").read_text()
    return found


def test_an_image_is_built_hooked_kept_and_built_again(tmp_path: Path, mirror: Mirror) -> None:
    (tmp_path / "netbootd.toml").write_text(CONFIG.format(directory=tmp_path))
    state = tmp_path / "state"
    store = ImageStore(state / "images")
    cache = PackageCache(state / "cache/apt")
    order = mirror.order(packages=("greeter",), hooks=(HOOK,))
    steps: list[str] = []
    seen: list[str] = []

    def told(step: str, done: int, total: int | None) -> None:
        steps.append(step)
        if step == "unpacking the base system":
            seen.extend((mounts_of_builders(store.directory), Path("/proc/self/mountinfo").read_text()))

    with mounted(state / "roots" / "a node's"):
        first = build(store, "golden", order, note="the first", cache=cache, progress=told)
    # A root that stayed mounted in the build's namespace would be busy when the node's is mounted anew.
    there, here = seen
    assert f"{state}/roots/" in here
    assert there and f"{state}/roots/" not in there
    assert "running render.sh" in steps
    assert (first.root / "etc/hooked").read_text() == "hooked\n"
    assert (first.root / "usr/bin/greet").is_file()
    assert (first.kernel_release, first.note) == (roots.RELEASE, "the first")
    log = (first.directory / "build.log").read_text()
    assert "as 0 in a system with /proc/self/exe" in log

    # What it was built from is remembered whole, and its sources trust the same keys.
    recipe = Recipe.from_json(first.recipe)
    assert (recipe.order.suite, recipe.order.architecture, recipe.order.hooks) == (
        "bookworm",
        "amd64",
        (HOOK,),
    )
    assert recipe.installed["greeter"] == "9:1"
    assert {"netbootd", "mmdebstrap"} <= recipe.tools.keys()
    sources = (first.root / "etc/apt/sources.list.d/debian.sources").read_text()
    assert "Signed-By: /etc/apt/keyrings/test.gpg" in sources
    assert (first.root / "etc/apt/keyrings/test.gpg").read_bytes() == mirror.archive.key
    assert sorted(path.name for path in first.directory.iterdir()) == [
        "boot",
        "build.log",
        "generation.json",
        "root",
    ]
    assert [path.name for path in first.root.glob("var/cache/apt/**/*")] == ["archives", "partial"]

    # Again, from what is remembered alone: no package is fetched twice.
    del mirror.requests[:]
    command: list[str | Path] = [
        NETBOOTCTL,
        "--config",
        tmp_path / "netbootd.toml",
        "image",
        "rebuild",
        "golden",
    ]
    done = subprocess.run([*command, "--note", "again"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "golden@2 is current" in done.stdout
    assert "since golden@1: the same packages" in done.stdout
    second = store.current("golden")
    assert second is not None and second.note == "again"
    assert Recipe.from_json(second.recipe).installed == recipe.installed
    assert [request for request in mirror.requests if request.endswith(".deb")] == []
    assert (second.root / "etc/hooked").read_text() == "hooked\n"


def test_a_failing_hook_is_named_with_what_it_said(tmp_path: Path, mirror: Mirror) -> None:
    store = ImageStore(tmp_path / "images")
    failing = hook("farm.sh", b"#!/bin/sh\necho no povray here >&2\nexit 3\n")
    with pytest.raises(UserError, match=r"the hook farm\.sh failed: no povray here"):
        build(store, "golden", mirror.order(hooks=(failing,)))
    nothing_left(store, str(tmp_path))


@pytest.mark.parametrize(
    ("packages", "why"),
    [
        (("greter",), "it has no package greter"),
        (("greeter", "rude"), "can't be installed together: rude : Conflicts: greeter"),
    ],
)
def test_packages_that_cannot_be_had_are_told_before_anything_is_fetched(
    tmp_path: Path, mirror: Mirror, packages: tuple[str, ...], why: str
) -> None:
    store = ImageStore(tmp_path / "images")
    del mirror.requests[:]
    with pytest.raises(UserError, match=why):
        build(store, "golden", mirror.order(packages=packages))
    assert [request for request in mirror.requests if request.endswith(".deb")] == []
    nothing_left(store, str(tmp_path))


def test_an_archive_signed_by_somebody_else_is_not_trusted(tmp_path: Path, mirror: Mirror) -> None:
    store = ImageStore(tmp_path / "images")
    home = tmp_path / "gpg"
    home.mkdir(mode=0o700)
    try:
        other = keyring("other.gpg", archive.new_key(home, "Somebody else"))
    finally:
        archive.forget_keys(home)
    with pytest.raises(HostError, match="is signed by no key that is trusted here"):
        build(store, "golden", mirror.order(keyrings=(other,)))
    nothing_left(store, str(tmp_path))


def test_a_key_given_for_one_archive_does_not_vouch_for_another(
    tmp_path: Path, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not any(Path(file).exists() for file in KEYS.files):
        pytest.skip("this machine has no key of Debian's")
    copy = copy_of(mirror, tmp_path)
    for name in ("debian", "debian-security"):
        (copy.directory / name).symlink_to(".")
    with copy.served() as (url, _):
        apt_dir = tmp_path / "apt"
        apt_dir.mkdir()
        (apt_dir / "sources.list").write_text(
            f"deb {url}/debian bookworm main\ndeb {url}/debian-security bookworm-security main\n"
        )
        monkeypatch.setattr(mmdebstrap, "APT_DIR", apt_dir)
        with pytest.raises(HostError, match="debian-security bookworm-security is signed by no key"):
            build(ImageStore(tmp_path / "images"), "golden", mirror.order(mirrors={"": f"{url}/debian"}))


def copy_of(mirror: Mirror, directory: Path) -> Archive:
    """An archive with the same files and key, that may be spoiled."""
    copy = object.__new__(Archive)
    copy.__dict__.update(mirror.archive.__dict__, directory=directory / "copy")
    shutil.copytree(mirror.archive.directory, copy.directory, copy_function=os.link)
    return copy


def spoil_list(copy: Path) -> None:
    packages = copy / "dists/bookworm/main/binary-amd64/Packages"
    text = packages.read_text()
    packages.unlink()
    packages.write_text(text.replace("Package: greeter", "Package: gretter"))


def spoil_signature(copy: Path) -> None:
    release = copy / "dists/bookworm/InRelease"
    text = release.read_text()
    release.unlink()
    release.write_text(text.replace("Codename: bookworm", "Codename: bookwurm"))


def remove_signature(copy: Path) -> None:
    (copy / "dists/bookworm/InRelease").unlink()


def spoil_package(copy: Path) -> None:
    package = next(copy.glob("pool/apt_*.deb"))
    content = bytearray(package.read_bytes())
    package.unlink()
    content[-1] ^= 0xFF
    package.write_bytes(content)


def cut_package(copy: Path) -> None:
    package = next(copy.glob("pool/apt_*.deb"))
    content = package.read_bytes()
    package.unlink()
    package.write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (spoil_list, "isn't what the archive's signed lists say"),
        (spoil_signature, "the signature of .* isn't good"),
        (remove_signature, "isn't signed"),
        (spoil_package, "isn't what the archive's signed lists say"),
        (cut_package, "isn't what the archive's signed lists say"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_was_changed_on_the_way_is_not_installed(
    tmp_path: Path, mirror: Mirror, spoil: object, why: str
) -> None:
    assert callable(spoil)
    copy = copy_of(mirror, tmp_path)
    spoil(copy.directory)
    store = ImageStore(tmp_path / "images")
    cache = PackageCache(tmp_path / "cache")
    with copy.served() as (url, _):
        order = mirror.order(packages=("greeter",), mirrors={"": url, "security": url})
        with pytest.raises(NetbootdError, match=why):
            build(store, "golden", order, cache=cache)
    nothing_left(store, str(tmp_path))
    assert not [*tmp_path.glob("cache/*/*_apt_*")], "nor is it kept for the next build"


def test_a_full_disk_is_told_and_its_space_given_back(tmp_path: Path, mirror: Mirror) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m,mode=0755", "tmpfs", small], check=True)
    try:
        store = ImageStore(small / "images")
        with pytest.raises(HostError, match=r"disk is full|No space left"):
            build(store, "golden", mirror.order())
        assert store.names() == []
        assert {path.name for path in store.directory.iterdir()} <= {".lock", ".logs"}
    finally:
        subprocess.run(["umount", small], check=True)
