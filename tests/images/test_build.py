"""Building a Debian: what is asked for is checked, failures speak, a real one can be made and is clean."""

import os
import platform
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from netbootd.errors import HostError, NetbootdError, UserError
from netbootd.images import foreign, initrd, kernels
from netbootd.images.build import build, machine_sources
from netbootd.images.build_log import BuildLog, explanation, octets
from netbootd.images.recipe import Order
from netbootd.images.store import ImageStore
from netbootd.images.suites import choose

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: files are made for many users")


@pytest.mark.parametrize(
    ("order", "why"),
    [
        (Order("--help"), "names no suite"),
        (Order("Bookworm Worm"), "names no suite"),
        (Order(mirrors={"": "mirror.example"}), "isn't a mirror's URL"),
        (Order(mirrors={"": "http://mirror.example/ trusted=yes"}), "isn't a mirror's URL"),
        (Order(mirrors={"raspberrypi": "http://mirror.example/"}), "has no archive 'raspberrypi'"),
        (Order(packages=("mpich", "rm -rf")), "can't name a package"),
        (Order(packages=("a,b",)), "can't name a package"),
        (Order(packages=("--purge",)), "can't name a package"),
        (Order(architecture="vax"), "no architecture 'vax'"),
        (Order("raspios-bookworm", "amd64"), "Raspberry Pi OS has nothing for amd64"),
    ],
)
def test_what_can_not_be_built_is_told_before_anything_is_done(
    tmp_path: Path, order: Order, why: str
) -> None:
    store = ImageStore(tmp_path / "images")
    with pytest.raises(UserError, match=why):
        build(store, "debian", order)
    assert not store.directory.exists()


def test_a_name_that_no_image_can_have_is_refused(tmp_path: Path) -> None:
    store = ImageStore(tmp_path / "images")
    with pytest.raises(UserError, match="can't name an image"):
        build(store, "Debian", Order())
    assert not store.directory.exists()


def test_without_root_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(HostError, match="only root"):
        build(ImageStore(tmp_path / "images"), "debian", Order())


def test_the_machines_sources_are_read_from_both_formats(tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list").write_text("deb http://a.example/debian bookworm main\n")
    (tmp_path / "sources.list.d/debian.sources").write_text(
        "Types: deb\nURIs: http://b.example/debian\nSuites: bookworm\nComponents: main\n"
    )
    (tmp_path / "sources.list.d/old.list.save").write_text("deb http://c.example/debian bookworm main\n")
    assert [source.uri for source in machine_sources(tmp_path)] == [
        "http://a.example/debian",
        "http://b.example/debian",
    ]
    assert machine_sources(tmp_path / "missing") == []


@pytest.mark.as_root("only root can build an image")
@pytest.mark.needs("mmdebstrap")
def test_an_architecture_that_does_not_run_here_is_refused_before_anything_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foreign, "runs", lambda _: False)
    other = "arm64" if platform.machine() == "x86_64" else "amd64"
    store = ImageStore(tmp_path / "images")
    with pytest.raises(HostError, match=f"can't run programs for {other}"):
        build(store, "debian", Order(architecture=other))
    assert not store.directory.exists()


@pytest.mark.parametrize("suite", ["noble", "raspios-bookworm"])
def test_an_archive_whose_keys_are_missing_is_refused_with_how_they_come_here(
    tmp_path: Path, suite: str
) -> None:
    distribution = choose.distribution(suite, "arm64")
    lacking = [a for a in distribution.archives if not any(Path(file).exists() for file in a.keys.files)]
    if not lacking:
        pytest.skip(f"this machine has the keys of {distribution.name}")
    store = ImageStore(tmp_path / "images")
    with pytest.raises(HostError, match="has no key to check what") as raised:
        build(store, "new", Order(suite, "arm64"))
    assert raised.value.hint == lacking[0].keys.remedy and "--keyring" in raised.value.hint
    assert not store.directory.exists()


LOG = """\
I: running --setup-hook in shell: sh -c 'set -e
Get:1 http://deb.debian.org/debian bookworm InRelease [151 kB]
I: downloading packages with apt...
0 upgraded, 2 newly installed, 0 to remove and 0 not upgraded.
Need to get 3,100 kB of archives.
Get:1 http://deb.debian.org/debian bookworm/main amd64 libc6 amd64 2.36-9 [2759 kB]
Get:2 http://deb.debian.org/debian bookworm/main amd64 bash amd64 5.2 [341 kB]
I: extracting archives...
Unpacking libc6:amd64 (2.36-9) ...
Unpacking bash (5.2) ...
Setting up libc6:amd64 (2.36-9) ...
Setting up bash (5.2) ...
I: cleaning package lists and apt cache...
"""


def test_the_log_tells_how_far_it_is() -> None:
    calls: list[tuple[str, int, int | None]] = []
    log = BuildLog(lambda *call: calls.append(call))
    for line in LOG.splitlines():
        log.line(line)
    assert calls == [
        ("reading package lists", 0, None),
        ("downloading", 0, 3_100_000),
        ("downloading", 2_759_000, 3_100_000),
        ("downloading", 3_100_000, 3_100_000),
        ("unpacking the base system", 0, None),
        ("installing packages", 0, 4),
        ("installing packages", 1, 4),
        ("installing packages", 2, 4),
        ("installing packages", 3, 4),
        ("installing packages", 4, 4),
        ("cleaning up", 0, None),
    ]


def test_apts_sizes_are_octets() -> None:
    assert (octets("151", "kB"), octets("1,024", "B"), octets("88.9", "MB")) == (151_000, 1024, 88_900_000)


@pytest.mark.parametrize(
    ("log", "kind", "says"),
    [
        ("E: Unable to locate package mpihc", UserError, "Debian bookworm: it has no package mpihc"),
        (
            "E: The repository 'http://mirror.example/debian bookwurm Release' does not have a Release file.",
            UserError,
            "the mirror has no http://mirror.example/debian bookwurm",
        ),
        ("dpkg: error: failed to write: No space left on device", HostError, "the disk is full"),
        ("W: Temporary failure resolving 'mirror.example'", HostError, "mirror.example can't be found"),
        ("Could not connect to 10.0.0.1:3142 (10.0.0.1).", HostError, "can't be reached"),
        (
            "W: GPG error: http://m.example/debian bookworm InRelease: The following signatures couldn't be "
            "verified because the public key is not available: NO_PUBKEY 0E98404D386FA1D9",
            HostError,
            "http://m.example/debian bookworm is signed by no key that is trusted here",
        ),
        (
            "E: Release file for http://m.example/InRelease is expired (invalid since 3d). Updates …",
            HostError,
            "too old, or this machine's clock is wrong",
        ),
        (
            "E: Failed to fetch https://m.example/debian/dists/bookworm/InRelease  401  Unauthorized [IP: …]",
            UserError,
            "the mirror won't serve https://m.example/debian/dists/bookworm/InRelease",
        ),
        ("E: command failed: /x/.incoming-1/hooks/2/farm.sh", UserError, "the hook farm.sh failed: "),
        ("a line\nE: something quite new", HostError, "E: something quite new"),
        ("", HostError, "it said nothing"),
    ],
)
def test_a_failure_is_explained_and_names_the_log(log: str, kind: type[NetbootdError], says: str) -> None:
    error = explanation(
        log.splitlines(),
        "Debian bookworm",
        "http://mirror.example/debian",
        "apt install keys",
        "/var/lib/netbootd/images/.logs/debian.log",
    )
    assert type(error) is kind
    assert says in error.message
    assert "/var/lib/netbootd/images/.logs/debian.log" in error.hint


@needs_root
@pytest.mark.slow
@pytest.mark.needs("mmdebstrap")
def test_a_mirror_that_is_not_there_leaves_a_log_and_nothing_else(tmp_path: Path) -> None:
    store = ImageStore(tmp_path / "images")
    with pytest.raises(NetbootdError, match="can't build Debian bookworm") as raised:
        build(store, "debian", Order(mirrors={"": "http://127.0.0.1:9/debian"}))
    kept = store.directory / ".logs/debian.log"
    assert str(kept) in raised.value.hint
    assert "127.0.0.1" in kept.read_text()
    assert store.names() == []
    assert sorted(path.name for path in store.directory.iterdir()) == [".lock", ".logs"]


@needs_root
@pytest.mark.slow
@pytest.mark.needs("mmdebstrap")
def test_the_machines_proxy_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = tmp_path / "apt.conf"
    settings.write_text('Acquire::http::Proxy "http://127.0.0.1:9";\nAcquire::Retries "0";\n')
    monkeypatch.setenv("APT_CONFIG", str(settings))
    store = ImageStore(tmp_path / "images")
    with pytest.raises(NetbootdError, match="can't be reached"):
        build(store, "debian", Order(mirrors={"": "http://mirror.invalid/debian"}))
    assert "connect to 127.0.0.1:9" in (store.directory / ".logs/debian.log").read_text()


@needs_root
@pytest.mark.slow
@pytest.mark.needs("mmdebstrap")
def test_killed_in_the_middle_nothing_of_it_runs_on_and_its_place_is_cleaned(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from netbootd.images import build, recipe, store\n"
        "told = lambda step, done, total: print(step, flush=True)\n"
        "build.build(store.ImageStore(Path(sys.argv[1])), 'debian', recipe.Order(), progress=told)\n"
    )
    images = tmp_path / "images"
    for signal_number in (signal.SIGKILL, signal.SIGINT):
        with subprocess.Popen(
            [sys.executable, "-c", program, str(images)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            assert process.stdout
            for line in process.stdout:
                if "unpacking the base system" in line:
                    break
            process.send_signal(signal_number)
            process.communicate()
        store = ImageStore(images)
        if signal_number == signal.SIGKILL:
            deadline = time.monotonic() + 60
            while not store.clean():
                assert time.monotonic() < deadline, "its children still hold the lock"
                time.sleep(0.05)
        assert [path.name for path in images.iterdir()] == [".lock"]
        assert str(images) not in Path("/proc/self/mountinfo").read_text()
        assert store.names() == []


@needs_root
@pytest.mark.slow
@pytest.mark.needs("mmdebstrap", "chroot")
def test_a_real_debian_is_built_clean_and_bootable(tmp_path: Path) -> None:
    store = ImageStore(tmp_path / "images")
    steps: list[str] = []
    generation = build(
        store, "debian", Order(packages=("hello",)), progress=lambda step, *_: steps.append(step)
    )
    root = generation.root
    assert store.current("debian") == generation
    assert generation.origin.endswith("with hello")
    assert list(dict.fromkeys(steps))[-1] == "bringing it to the disk"

    # What a node needs is there.
    for name in ("usr/sbin/sshd", "usr/sbin/ip", "usr/bin/hello", "usr/bin/busybox", "sbin/init"):
        assert os.path.lexists(root / name), name
    assert kernels.find(root).release == generation.kernel_release
    assert (generation.boot / "vmlinuz").stat().st_size > 1 << 20
    assert initrd.build(root, generation.kernel_release, tmp_path / "again").size < 12 << 20
    enabled = root / "etc/systemd/system/multi-user.target.wants"
    assert "ssh.service" in {path.name for path in enabled.iterdir()}

    # Nothing is there that would be the same on every node, or the head node's.
    assert list((root / "etc/ssh").glob("ssh_host_*")) == []
    assert (root / "etc/machine-id").read_text() == ""
    assert (root / "etc/resolv.conf").read_text() == ""
    for name in (
        "etc/hostname",
        "etc/apt/apt.conf.d/99mmdebstrap",
        "etc/apt/sources.list",
    ):
        assert not os.path.lexists(root / name), name
    assert (root / "etc/shadow").read_text().splitlines()[0].split(":")[1] in ("*", "!*", "!")
    assert list(root.glob("boot/initrd*")) == [], "no time was spent on an initrd that no node uses"
    assert list(root.glob("var/cache/apt/archives/*.deb")) == []

    # Its own tools find it in order.
    audit = subprocess.run(["chroot", root, "dpkg", "--audit"], capture_output=True, text=True, check=True)
    assert audit.stdout == ""
    sshd = subprocess.run(
        ["chroot", root, "/usr/sbin/sshd", "-T", "-h", "/dev/null"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "usedns no" in sshd.stdout or "host key" in sshd.stderr
    assert (root / "etc/apt/sources.list.d/debian.sources").read_text().count("Types: deb") >= 1
    assert stat.S_IMODE((generation.directory / "build.log").stat().st_mode) == 0o644
