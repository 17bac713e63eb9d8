"""`image build`: a Debian made here, from Debian's packages, by mmdebstrap.

mmdebstrap runs in a mount and a process namespace of its own, as a child that can't outlive us: when it is
stopped, in whatever way, every process of it and every mount is gone with the namespaces, and then its files
are taken away.
"""

import os
import platform
import re
import shutil
import subprocess
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from netbootd.errors import HostError, UserError
from netbootd.image import Generation, image_name
from netbootd.images import apt, assemble, debian, trees
from netbootd.images.apt import Archives, Source
from netbootd.images.build_log import BuildLog, explanation
from netbootd.images.progress import Progress, silent
from netbootd.images.store import ImageStore, Staging

_SUITE = re.compile(r"[a-z][a-z0-9.-]{1,40}")
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]{1,100}")
_MIRROR = re.compile(r"(https?|ftp|file)://?[!-~]{1,500}")
_SOURCES_DIR = Path("/etc/apt")
_REACHING = re.compile(r'Acquire::((https?|ftp)::\S+|Retries|Check-\S+|ForceIPv[46]|Max-FutureTime) ".+";')
LOG_NAME = "build.log"
_MERGED_USR = Path("/usr/share/mmdebstrap/hooks/maybe-merged-usr")
"""Makes /bin and the like links from the start; else a package does it later, which brings all of Perl."""
_CONTAINED = (
    *("setpriv", "--pdeathsig", "KILL", "--"),
    *("unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc", "--"),
)


def build(
    store: ImageStore,
    name: str,
    suite: str = "bookworm",
    mirror: str | None = None,
    packages: Sequence[str] = (),
    architecture: str | None = None,
    progress: Progress = silent,
) -> Generation:
    """Make a Debian `suite` the next generation of the image `name`, with `packages` beside the usual ones.

    `mirror` is a URL; without it Debian's packages come from where this machine has them from. `architecture`
    is uname's or Debian's word, this machine's own by default. Raises UserError for what can't be built as
    asked (unknown suite, package …), HostError where this machine can't do it. Root only.
    """
    image_name(name)
    debian_architecture = _checked(suite, mirror, packages, architecture)
    _check_host()
    archives = apt.archives(suite, machine_sources(_SOURCES_DIR), mirror)
    with store.staging(name) as staging, trees.explained(store.directory):
        log_path = staging.directory / LOG_NAME
        last = _mmdebstrap(staging, archives, packages, debian_architecture, progress)
        if last is not None:
            kept = _keep_log(log_path, store.directory, name)
            raise explanation(last, archives, str(kept))
        log_path.chmod(0o644)
        progress("setting up", 0, None)
        debian.set_up(staging.root, archives)
        beside = f" with {' '.join(packages)}" if packages else ""
        origin = f"Debian {suite} from {apt.public(archives.mirror)}{beside}"
        return assemble.publish(store, staging, origin=origin, progress=progress)


def machine_sources(directory: Path) -> list[Source]:
    """The package sources of this machine: `directory`/sources.list and sources.list.d."""
    sources: list[Source] = []
    files = [directory / "sources.list", *sorted((directory / "sources.list.d").glob("*"))]
    for path in files:
        if path.suffix in (".list", ".sources") and path.is_file():
            text = path.read_text(encoding="utf-8", errors="replace")
            sources += apt.parse(text) if path.suffix == ".list" else apt.parse_deb822(text)
    return sources


def _checked(suite: str, mirror: str | None, packages: Sequence[str], architecture: str | None) -> str:
    """Debian's name of the architecture. Raises UserError for what no Debian has."""
    if not _SUITE.fullmatch(suite):
        raise UserError(f"{suite[:60]!r} names no Debian suite", "write bookworm, trixie or the like")
    if mirror is not None and not _MIRROR.fullmatch(mirror):
        raise UserError(
            f"{mirror[:100]!r} isn't a mirror's URL", "write http://deb.debian.org/debian or the like"
        )
    for package in packages:
        if not _PACKAGE.fullmatch(package):
            raise UserError(f"{package[:100]!r} can't name a package", "small letters, digits, + - .")
    wanted = architecture or platform.machine()
    known = apt.architecture(wanted)
    if known is None:
        raise UserError(f"Debian has no architecture {wanted[:40]!r}", f"it has {', '.join(apt.KERNELS)}")
    if known != apt.architecture(platform.machine()):
        raise UserError(
            f"this machine ({platform.machine()}) can't build for {wanted}",
            f"build it on such a machine, or import a root file system made for {wanted}",
        )
    return known


def _check_host() -> None:
    if os.geteuid() != 0:
        raise HostError("only root can build an image: its files belong to many users", "run it with sudo")
    for command, package in (
        ("mmdebstrap", "mmdebstrap"),
        ("setpriv", "util-linux"),
        ("unshare", "util-linux"),
    ):
        if shutil.which(command) is None:
            raise HostError(f"{command} is missing", f"apt install {package}")


def _mmdebstrap(
    staging: Staging,
    archives: Archives,
    packages: Sequence[str],
    architecture: str,
    progress: Progress,
) -> deque[str] | None:
    """Fill the staging root. None where that went well, else the last lines of what it said."""
    included = [apt.KERNELS[architecture], *debian.PACKAGES, *packages]
    command = [
        *_CONTAINED,
        *("mmdebstrap", "--verbose", "--mode=root", "--variant=apt", "--format=directory"),
        f"--architectures={architecture}",
        "--skip=output/dev",
        f"--include={','.join(included)}",
        *(f"--aptopt={option}" for option in (*debian.APT_OPTIONS, *_machine_apt_options())),
        *(f"--dpkgopt={option}" for option in debian.DPKG_OPTIONS),
        f"--essential-hook={debian.BEFORE_KERNEL}",
        *([f"--hook-dir={_MERGED_USR}"] if _MERGED_USR.is_dir() else []),
        archives.suite,
        str(staging.root),
        *(apt.one_line(source) for source in archives.sources()),
    ]
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "INITRD": "No", "DEBIAN_FRONTEND": "noninteractive"}
    told = BuildLog(progress)
    last: deque[str] = deque(maxlen=60)
    with (staging.directory / LOG_NAME).open("w", encoding="utf-8", errors="replace") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=environment,
            pass_fds=(staging.lock,),
            start_new_session=True,
        )
        assert process.stdout is not None  # noqa: S101 - asked for
        try:
            for line in process.stdout:
                log.write(line)
                last.append(line)
                told.line(line)
            return last if process.wait() else None
        finally:
            process.kill()
            # The end of its output is the end of every process that it had started.
            for _ in process.stdout:
                pass
            process.wait()


def _machine_apt_options() -> list[str]:
    """How this machine's apt reaches its archives: proxies, retries, passwords, what it thinks of dates."""
    options = [
        f'Dir::Etc::netrc "{_SOURCES_DIR}/auth.conf"',
        f'Dir::Etc::netrcparts "{_SOURCES_DIR}/auth.conf.d"',
    ]
    result = subprocess.run(
        ["apt-config", "dump"], capture_output=True, text=True, errors="replace", check=False
    )
    return options + [line.removesuffix(";") for line in result.stdout.splitlines() if _REACHING.match(line)]


def _keep_log(log: Path, directory: Path, name: str) -> Path:
    kept = directory / ".logs" / f"{name}.log"
    kept.parent.mkdir(exist_ok=True)
    shutil.copyfile(log, kept)
    return kept
