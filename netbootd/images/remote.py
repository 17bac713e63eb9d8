"""A running machine as a source: its root file system, read over SSH by the tar that it has.

    image import sclork ssh://pi@10.0.0.5

What is in memory there (/proc, /sys, /run …), temporary files, swap files and other machines' shares stay
out; its own partitions under /boot, /usr, /var … come along. It runs while it is read: what changes then is
as it happens to be, as in any copy of a running system.
"""

import re
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from netbootd.errors import HostError, UserError
from netbootd.images.source import Said, ended, program

SCHEME = "ssh://"
_HOST = re.compile(r"[0-9A-Za-z_][0-9A-Za-z._:%-]*")
_USER = re.compile(r"[0-9A-Za-z_][0-9A-Za-z._@+-]*")
_NO_ROOT, _NO_TAR, _NO_DIRECTORY = 91, 92, 93
_FAILURES = {
    _NO_ROOT: (
        "{user} may not read all files there, and sudo wants a password",
        "log in as root, or let {user} run sudo without one: {user} ALL=(root) NOPASSWD: ALL",
    ),
    _NO_TAR: ("there is no GNU tar there", "install it there, as in: apk add tar"),
    _NO_DIRECTORY: ("there is no directory {path} there", "give the directory that is its root file system"),
}
_LEFT_OUT = (
    *("./proc/*", "./sys/*", "./dev/*", "./run/*", "./tmp/*", "./var/tmp/*", "./lost+found"),
    *("./swapfile", "./swap.img", "./var/swap", "./var/cache/apt/archives/*.deb"),
)
_LAST_WORDS = 2.0
"""Seconds for ssh to end after its output has ended."""
_OWN_PARTITIONS = "boot boot/firmware boot/efi efi usr var opt srv home"

# Both scripts begin with this. $1 is the directory.
_AS_ROOT = f"""
top=$1 run=
if [ "$(id -u)" != 0 ]; then
    run="sudo -n"
    $run true 2>/dev/null || exit {_NO_ROOT}
fi
"""
_PROBE = (
    _AS_ROOT
    + f"""
$run test -d "$top" || exit {_NO_DIRECTORY}
tar --version 2>/dev/null | grep -q GNU || exit {_NO_TAR}
$run df -Pk "$top"
"""
)
_READ = (
    _AS_ROOT
    + f"""
shift
set -- "$@" .
if [ "$top" = / ]; then
    for part in {_OWN_PARTITIONS}; do
        found=
        while read -r device directory rest; do
            case $device in /dev/*) [ "$directory" != "/$part" ] || found=1 ;; esac
        done </proc/mounts
        [ -z "$found" ] || set -- "$@" "./$part"
    done
fi
exec $run tar --create --format=posix --one-file-system --sparse --numeric-owner --xattrs \
    '--xattrs-include=*' --warning=no-file-changed --warning=no-file-ignored --file=- \
    --directory="$top" "$@"
"""
)


@dataclass(frozen=True, slots=True)
class Machine:
    """Where to read from: `user` is empty where ssh's configuration says it, `port` None likewise."""

    host: str
    user: str = ""
    port: int | None = None
    path: str = "/"

    @classmethod
    def parse(cls, url: str) -> "Machine":
        """From ssh://[USER@]HOST[:PORT][/DIRECTORY]. Raises UserError."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise _bad(url) from None
        user, host, path = parts.username or "", parts.hostname or "", parts.path or "/"
        fits = _HOST.fullmatch(host) and (not user or _USER.fullmatch(user)) and path.isprintable()
        if parts.scheme != "ssh" or not fits or parts.password or parts.query or parts.fragment:
            raise _bad(url)
        return cls(host, user, port, path)

    @property
    def login(self) -> str:
        """As ssh is told it."""
        return f"{self.user}@{self.host}" if self.user else self.host

    @property
    def url(self) -> str:
        """As it is remembered where an image came from."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = f":{self.port}" if self.port else ""
        user = f"{self.user}@" if self.user else ""
        return f"{SCHEME}{user}{host}{port}{self.path.rstrip('/')}"

    def command(self, script: str, *arguments: str) -> list[str]:
        """Have a shell there run `script`. Nobody is there to be asked for a password."""
        port = ["-p", str(self.port)] if self.port else []
        remote = shlex.join(["sh", "-c", script, "sh", self.path, *arguments])
        options = ["-o", "BatchMode=yes", "-o", "ConnectTimeout=20", "-o", "ServerAliveInterval=20"]
        return ["ssh", "-T", *options, *port, "--", self.login, remote]


def size(machine: Machine) -> int | None:
    """About how many octets there are to read; None where it doesn't say. Raises what keeps from reading."""
    command = machine.command(_PROBE)
    with program(command, "openssh-client", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as (ssh, said):
        assert ssh.stdout is not None  # noqa: S101 - asked for
        answer = ssh.stdout.read(10_000).decode("utf-8", "replace")
        _check(machine, ended(ssh), said)
    used = re.search(r"\s\d+\s+(\d+)\s+\d+\s+\d+%\s", answer)
    return int(used[1]) * 1024 if used else None


@contextmanager
def machine_stream(machine: Machine) -> Iterator[subprocess.Popen[bytes]]:
    """The machine's root file system as a tar stream. Raises what keeps from reading it."""
    excludes = ["--anchored", "--wildcards", *(f"--exclude={pattern}" for pattern in _LEFT_OUT)]
    command = machine.command(_READ, *excludes)
    with program(command, "openssh-client", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as (ssh, said):
        try:
            yield ssh
        except UserError:
            with suppress(subprocess.TimeoutExpired):  # still sending: then it's not over there
                ssh.wait(_LAST_WORDS)
                _check(machine, ended(ssh), said)  # an archive cut short is not what is wrong
            raise
        _check(machine, ended(ssh), said)


def _check(machine: Machine, status: int, said: Said) -> None:
    """Raise what went wrong over there or on the way; tar's 1 is for files that changed."""
    if status in (0, 1):
        return
    if status in _FAILURES:
        what, hint = (
            text.format(user=machine.user or "the user", path=repr(machine.path))
            for text in _FAILURES[status]
        )
        raise UserError(f"can't read {machine.url}: {what}", hint)
    if status == 255:
        port = f" -p {machine.port}" if machine.port else ""
        raise HostError(
            f"can't reach {machine.url}: {said()}",
            f"as root, `ssh{port} {machine.login} true` has to work and to ask nothing: ssh-copy-id",
        )
    if status:
        raise HostError(
            f"reading {machine.url} broke off: {said() or 'the connection was lost'}",
            "nothing of it was kept",
        )


def _bad(url: str) -> UserError:
    return UserError(
        f"{url[:200]!r} isn't a machine to read from",
        "write it like this: ssh://USER@HOST, ssh://HOST:PORT/DIRECTORY",
    )
