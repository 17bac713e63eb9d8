"""An apt archive of one's own, signed, as a distribution publishes it: real packages, apt-ftparchive and gpg.

`CORE` are Debian's own packages that a chroot needs before anything can be installed in it, few enough that
a whole build takes seconds; the rest of what an image has are small packages made here, which dpkg installs
like any other. Served by HTTP on the loopback interface; `requests` tells what was fetched.
"""

import hashlib
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.lab import arm
from tests.lab.alone import alone_in

COMMANDS = ("apt-ftparchive", "gpg", "dpkg-deb", "mmdebstrap")
"""For `needs`."""
CORE = (
    *(
        "base-files",
        "base-passwd",
        "libdebconfclient0",
        "dash",
        "debianutils",
        "coreutils",
        "mawk",
        "busybox",
    ),
    *("dpkg", "tar", "sed", "grep", "libc6", "libc-bin", "gcc-12-base", "libgcc-s1", "libcrypt1", "libgmp10"),
    *("libacl1", "libattr1", "libselinux1", "libpcre2-8-0", "libbz2-1.0", "liblzma5", "libmd0", "libzstd1"),
    *("zlib1g", "usr-is-merged", "diffutils", "findutils", "bash"),
)
"""With their dependencies, but for what is made here."""


class Archive:
    """An archive in `directory`, with a key of its own. `packages`/*.deb are what `publish` publishes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.packages = directory / "pool"
        self.packages.mkdir(parents=True)
        self._home = Path(tempfile.mkdtemp(prefix="gpg-"))  # short: a socket is made in it
        self.key = new_key(self._home, "Archive of a test")

    def make(
        self,
        name: str,
        architecture: str = "all",
        files: Mapping[str, bytes] | None = None,
        *,
        version: str = "9:1",
        control: str = "",
    ) -> None:
        """A package of `files` (path without leading slash -> content); `control` are more fields."""
        with tempfile.TemporaryDirectory() as temporary:
            tree = Path(temporary)
            for path, content in (files or {f"usr/share/doc/{name}/copyright": b"nobody's\n"}).items():
                (tree / path).parent.mkdir(parents=True, exist_ok=True)
                (tree / path).write_bytes(content)
                (tree / path).chmod(0o755 if content[:2] == b"#!" else 0o644)
            (tree / "DEBIAN").mkdir()
            (tree / "DEBIAN/control").write_text(
                f"Package: {name}\nVersion: {version}\nArchitecture: {architecture}\n"
                f"Maintainer: nobody <nobody@example>\nDescription: made by a test\n{control}"
            )
            command: list[str | Path] = [
                "dpkg-deb",
                "--root-owner-group",
                "-Zgzip",
                "-z1",
                "--build",
                tree,
                self.packages,
            ]
            subprocess.run(command, check=True, capture_output=True)

    def publish(
        self, suite: str, architecture: str, *empty: str, components: tuple[str, ...] = ("main",)
    ) -> None:
        """Write dists/SUITE: Packages, Release, and InRelease signed by `key`; and `empty` suites.

        The first of `components` has all packages.
        """
        packages = self._run("apt-ftparchive", "--arch", architecture, "packages", "pool")
        for name in (suite, *empty):
            self._publish(name, architecture, components, packages if name == suite else "")

    def _publish(self, suite: str, architecture: str, components: tuple[str, ...], packages: str) -> None:
        dist = self.directory / "dists" / suite
        for component in components:
            lists = dist / component / f"binary-{architecture}"
            lists.mkdir(parents=True, exist_ok=True)
            (lists / "Packages").write_text(packages if component == components[0] else "")
        options = {"Origin": "test", "Suite": suite, "Codename": suite}
        options |= {"Architectures": architecture, "Components": " ".join(components)}
        words = [f"-oAPT::FTPArchive::Release::{key}={value}" for key, value in options.items()]
        (dist / "Release").unlink(missing_ok=True)
        (dist / "InRelease").unlink(missing_ok=True)
        (dist / "Release").write_text(self._run("apt-ftparchive", *words, "release", f"dists/{suite}"))
        self.sign(dist)

    def sign(self, dist: Path) -> None:
        """Sign what stands in `dist`/Release."""
        gpg = ["gpg", "--homedir", str(self._home), "--batch", "--yes", "--clearsign"]
        subprocess.run([*gpg, "-o", dist / "InRelease", dist / "Release"], check=True, capture_output=True)

    def close(self) -> None:
        """End what gpg started."""
        forget_keys(self._home)

    @contextmanager
    def served(self) -> Iterator[tuple[str, list[str]]]:
        """Its URL while it is served on the loopback interface, and the paths asked for so far."""
        requests: list[str] = []
        handler = partial(_Handler, requests, directory=str(self.directory))
        with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            try:
                yield f"http://127.0.0.1:{server.server_port}", requests
            finally:
                server.shutdown()
                thread.join()

    def _run(self, *command: str) -> str:
        done = subprocess.run(command, cwd=self.directory, capture_output=True, text=True, check=True)
        return done.stdout


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, requests: list[str], *args: object, **words: object) -> None:
        self._requests = requests
        super().__init__(*args, **words)  # type: ignore[arg-type]

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (its name in the base)
        self._requests.append(self.path)


def new_key(home: Path, name: str) -> bytes:
    """A new key in gpg's `home`; its public half, in binary."""
    gpg = ["gpg", "--homedir", str(home), "--batch", "--pinentry-mode", "loopback", "--passphrase", ""]
    subprocess.run([*gpg, "--quick-gen-key", name, "ed25519", "sign"], check=True, capture_output=True)
    return subprocess.run([*gpg, "--export", name], check=True, capture_output=True).stdout


def forget_keys(home: Path) -> None:
    """End gpg's agent in `home`, and take `home` away."""
    subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False, capture_output=True)
    shutil.rmtree(home, ignore_errors=True)


def put_core(config: pytest.Config, archive: Archive, architecture: str) -> None:
    """Put `CORE` of Debian into `archive`. Fetched once; skips the test where apt can't."""
    assert config.cache is not None
    kept = config.cache.mkdir("debian-core")
    with alone_in(kept):
        recipe = hashlib.sha256(" ".join(CORE).encode()).hexdigest()[:8]
        found = kept / f"{architecture}-{recipe}"
        if not found.is_dir():
            with tempfile.TemporaryDirectory(dir=kept) as temporary:
                arm.download(Path(temporary), architecture, *CORE)
                shutil.copytree(temporary, found, ignore=shutil.ignore_patterns("lock"))
        for package in found.glob("*.deb"):
            (archive.packages / package.name).hardlink_to(package)
