"""Running mmdebstrap, so that nothing of it can outlive us.

It runs in a mount and a process namespace of its own: when it is stopped, in whatever way, every process of
it and every mount is gone with the namespaces. A persistent root's overlay that stayed mounted in it would be
busy: those that are there are unmounted in it at once, and where the machine's mounts are shared, as systemd
has them, what comes and goes meanwhile comes and goes in it too (slave).
"""

import os
import re
import subprocess
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from netbootd.images import debian
from netbootd.images.build_log import BuildLog
from netbootd.images.progress import Progress
from netbootd.images.suites.distribution import Merged

APT_DIR = Path("/etc/apt")
_REACHING = re.compile(r'Acquire::((https?|ftp)::\S+|Retries|Check-\S+|ForceIPv[46]|Max-FutureTime) ".+";')
_HOOKS = Path("/usr/share/mmdebstrap/hooks")
_CONTAINED = (
    *("setpriv", "--pdeathsig", "KILL", "--"),
    *("unshare", "--mount", "--propagation", "slave", "--pid", "--fork", "--kill-child=KILL"),
    *("--mount-proc", "--"),
)
_DETACHING = 'while [ "$1" != -- ]; do umount --lazy -- "$1"; shift; done; shift; exec "$@"'
_CHECK = """set -e
export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
cd "$1"
apt-get update --error-on=any
said=$(apt-get install --simulate --yes -q -- {packages} 2>&1) || {{ echo "$said"; exit 1; }}
"""
"""Whether all can be had and goes together is seen in the lists, before anything else is downloaded."""
_KEPT_LINES = 80


@dataclass(frozen=True, slots=True)
class Job:
    """A root file system to be made."""

    root: Path
    """Where; nothing is in it but packages that apt needn't fetch, in var/cache/apt/archives."""
    suite: str
    architecture: str
    """Debian's word."""
    sources: tuple[str, ...]
    """Lines of sources.list, those of the suite itself first."""
    packages: tuple[str, ...]
    merged: Merged
    directories: tuple[str, ...]
    """What the packages' scripts expect to find."""
    hooks: tuple[Path, ...]
    """Programs that are run with the root as their argument when all is installed."""
    others: tuple[Path, ...] = ()
    """Mount points that it has no business with: persistent roots."""


def run(job: Job, log_path: Path, lock: int, progress: Progress) -> list[str] | None:
    """Fill `job.root`. None where that went well, else the last lines of what was said, as in `log_path`.

    `lock` is a file descriptor that every process of it holds. Raises OSError.
    """
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "INITRD": "No", "DEBIAN_FRONTEND": "noninteractive"}
    told = BuildLog(progress)
    last: deque[str] = deque(maxlen=_KEPT_LINES)
    with log_path.open("w", encoding="utf-8", errors="replace") as log:
        process = subprocess.Popen(
            [*_CONTAINED, "sh", "-c", _DETACHING, "sh", *map(str, job.others), "--", *_command(job)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=environment,
            pass_fds=(lock,),
            start_new_session=True,
        )
        assert process.stdout is not None  # noqa: S101 - asked for
        try:
            for line in process.stdout:
                log.write(line)
                last.append(line)
                told.line(line)
            return [*last] if process.wait() else None
        finally:
            process.kill()
            # The end of its output is the end of every process that it had started.
            for _ in process.stdout:
                pass
            process.wait()


def _command(job: Job) -> list[str]:
    hook_dirs = []
    links = ""
    if job.merged is Merged.BY_PACKAGE and (_HOOKS / "merged-usr").is_dir():
        hook_dirs.append(_HOOKS / "merged-usr")
    elif job.merged is Merged.BY_LINKS:
        links = "".join(f'mkdir -p "$1/usr/{name}"\nln -s usr/{name} "$1/{name}"\n' for name in _linked(job))
    if any("file:" in source for source in job.sources):
        hook_dirs.append(_HOOKS / "file-mirror-automount")
    before = [f'mkdir -p "$1{directory}"' for directory in job.directories]
    return [
        *("mmdebstrap", "--verbose", "--mode=root", "--variant=apt", "--format=directory"),
        f"--architectures={job.architecture}",
        # Ours are lent to it (check/empty) and kept (unlink, cache); who runs foreign programs was seen to.
        "--skip=output/dev,check/empty,check/qemu,essential/unlink,cleanup/apt/cache",
        f"--include={','.join(job.packages)}",
        *(f"--aptopt={option}" for option in (*debian.APT_OPTIONS, *_machine_apt_options())),
        *(f"--dpkgopt={option}" for option in debian.DPKG_OPTIONS),
        f"--essential-hook={debian.BEFORE_KERNEL}{_lines(before)}",
        f"--setup-hook={_CHECK.format(packages=' '.join(job.packages))}{links}",
        *(f"--hook-dir={directory}" for directory in hook_dirs),
        *(f"--customize-hook={hook}" for hook in job.hooks),
        job.suite,
        str(job.root),
        *job.sources,
    ]


def _linked(job: Job) -> tuple[str, ...]:
    """The directories that are links into a merged /usr."""
    wide = {"amd64": ("lib32", "lib64", "libx32"), "ppc64el": ("lib64",), "s390x": ("lib32",)}
    return ("bin", "sbin", "lib", *wide.get(job.architecture, ()))


def _lines(commands: Sequence[str]) -> str:
    return "".join(f"{command}\n" for command in commands)


def _machine_apt_options() -> Iterable[str]:
    """How this machine's apt reaches its archives: proxies, retries, passwords, what it thinks of dates."""
    yield f'Dir::Etc::netrc "{APT_DIR}/auth.conf"'
    yield f'Dir::Etc::netrcparts "{APT_DIR}/auth.conf.d"'
    result = subprocess.run(
        ["apt-config", "dump"], capture_output=True, text=True, errors="replace", check=False
    )
    yield from (line.removesuffix(";") for line in result.stdout.splitlines() if _REACHING.match(line))
