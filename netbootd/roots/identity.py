"""What in a node's root is who that node is, or of this boot alone, and belongs in no image. Pure.

`node diff` doesn't show it unless it is asked to, `node promote` leaves it out: the generation keeps what it
had there. What netbootd lays over the root at each boot is left out as well; that isn't a list, but whatever
the node's trees have (see changed.py).
"""

from dataclasses import dataclass
from fnmatch import fnmatchcase

_ITS_OWN = "each node has its own"
_MADE_UP = "random numbers and secrets, which no two machines may share"
_SECRET = "a private key made on this node"  # noqa: S105 (a reason, no password)
_LOG = "what happened on this node"
_PASSING = "of one boot"
_ADDRESS = "an address that it was given"
_CLOCK = "this machine's clock"
_TYPED = "what somebody typed there"
_FETCHED = "packages as they were downloaded, installed since"
_BEFORE = "what a file was before its last change"
_AT_BOOT = "a directory that systemd makes at boot"
_REMOVED = "removed while it was open: NFS keeps it under this name until it is closed"


@dataclass(frozen=True, slots=True)
class Rule:
    """`pattern` matches a path part by part, as a shell does; then all below it is meant, too.

    One that begins with `**/` matches at any depth: where a user's home is, only /etc/passwd knows.
    `keep_directories`: directories aren't meant, because programs that were installed expect theirs.
    """

    pattern: str
    why: str
    keep_directories: bool = False


RULES = (
    Rule("etc/hostname", _ITS_OWN),
    Rule("etc/hostid", _ITS_OWN),
    Rule("etc/machine-id", _ITS_OWN),
    Rule("var/lib/dbus/machine-id", _ITS_OWN),
    Rule("etc/ssh/ssh_host_*", _ITS_OWN),
    # Not etc/munge/munge.key: that one all machines have to share.
    Rule("etc/dropbear/*_host_key", _ITS_OWN),
    Rule("**/.ssh/id_*", _SECRET),
    Rule("var/lib/systemd/random-seed", _MADE_UP),
    Rule("var/lib/systemd/credential.secret", _MADE_UP),
    Rule("var/lib/urandom/random-seed", _MADE_UP),
    Rule("var/lib/seedrng", _MADE_UP),
    Rule("etc/adjtime", _CLOCK),
    Rule("var/lib/systemd/timesync", _CLOCK, keep_directories=True),
    Rule("var/lib/systemd/timers", _CLOCK, keep_directories=True),
    Rule("var/lib/chrony", _CLOCK, keep_directories=True),
    Rule("var/lib/ntpsec", _CLOCK, keep_directories=True),
    Rule("etc/resolv.conf", _ADDRESS),
    Rule("var/lib/dhcp", _ADDRESS, keep_directories=True),
    Rule("var/lib/dhcpcd", _ADDRESS, keep_directories=True),
    Rule("var/lib/NetworkManager", _ADDRESS, keep_directories=True),
    Rule("var/log/journal/*", _LOG),
    Rule("var/log", _LOG, keep_directories=True),
    Rule("var/lib/systemd/coredump", _LOG, keep_directories=True),
    Rule("var/lib/logrotate", _LOG, keep_directories=True),
    Rule("var/crash", _LOG, keep_directories=True),
    Rule("tmp/*", _PASSING),
    Rule("tmp/.*", _PASSING),
    Rule("var/tmp/*", _PASSING),
    Rule("var/tmp/.*", _PASSING),
    Rule("run/*", _PASSING),
    Rule("etc/.pwd.lock", _PASSING),
    # Of shadow(5)'s tools, dpkg and debconf; and Debian's daily copies of the same files.
    *(Rule(f"etc/{name}-", _BEFORE) for name in ("passwd", "group", "shadow", "gshadow", "subuid", "subgid")),
    Rule("var/lib/dpkg/*-old", _BEFORE),
    Rule("var/cache/debconf/*-old", _BEFORE),
    Rule("var/backups", _BEFORE, keep_directories=True),
    Rule("root/.*_history", _TYPED),
    Rule("home/*/.*_history", _TYPED),
    Rule("var/cache/apt/archives", _FETCHED, keep_directories=True),
    Rule("var/cache/pacman/pkg", _FETCHED, keep_directories=True),
    Rule("var/cache/distfiles", _FETCHED, keep_directories=True),
)
"""Path by path, with the reason."""

# StateDirectory= and LogsDirectory= of systemd's and chrony's units; what lies in them is another matter.
_MADE_AT_BOOT = frozenset({"var/lib/systemd/linger", "var/log/chrony"})


def made_at_boot(path: str) -> str:
    """Why a directory that is new at `path` is nobody's doing; empty where it isn't so. Not what it has."""
    return _AT_BOOT if path in _MADE_AT_BOOT else ""


def reason(path: str, *, directory: bool) -> str:
    """Why `path` (relative to the root) belongs to the node alone; empty where it doesn't."""
    parts = path.split("/")
    # fs/nfs/unlink.c, nfs_sillyrename: .nfs, 16 digits of the file's number, 8 of a counter.
    if len(parts[-1]) == len(".nfs") + 24 and parts[-1].startswith(".nfs"):
        return _REMOVED
    for rule in RULES:
        if not (rule.keep_directories and directory) and _matches(parts, rule.pattern.split("/")):
            return rule.why
    return ""


def _matches(parts: list[str], patterns: list[str]) -> bool:
    if patterns[0] == "**":
        return any(_matches(parts[depth:], patterns[1:]) for depth in range(len(parts)))
    return len(patterns) <= len(parts) and all(map(fnmatchcase, parts, patterns))
