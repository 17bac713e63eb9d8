"""What mmdebstrap and apt say while they work: how far they are, and why they failed. Pure."""

import re
from collections.abc import Iterable

from netbootd.errors import HostError, NetbootdError, UserError
from netbootd.images.progress import Progress

_UNITS = {"B": 1, "kB": 1000, "MB": 1000**2, "GB": 1000**3}
_NEEDED = re.compile(r"Need to get ([\d.,]+) ([kMG]?B)(?:/[\d.,]+ [kMG]?B)? of archives")
"""Of what is there already, apt tells only after the slash."""
_NEW = re.compile(r"\d+ upgraded, (\d+) newly installed")
_GOT = re.compile(r"Get:\d+ .*\[([\d.,]+) ([kMG]?B)\]")
_PHASES = {
    "I: running --setup-hook": "reading package lists",
    "I: extracting archives": "unpacking the base system",
    "I: cleaning package lists": "cleaning up",
}
_HOOK = re.compile(r"I: running --customize-hook.*/hooks/\d+/([\w.-]+)")
_INSTALLED = re.compile(r"(Unpacking|Setting up) (?!usr-is-merged)")

_ERROR = re.compile(r"E:|dpkg: error|mmdebstrap: ")

_FAULTS: tuple[tuple[str, type[NetbootdError], str, str], ...] = (
    (
        r"E: command failed: .*/hooks/\d+/(?P<it>[\w.-]+)",
        UserError,
        "the hook {it} failed: {last}",
        "mend the script",
    ),
    (
        r"Failed to fetch (?P<it>\S+) +(?:Hash Sum mismatch|File has unexpected size)",
        HostError,
        "{it} isn't what the archive's signed lists say",
        "it was damaged or changed on the way: try again later, or another mirror (--mirror URL)",
    ),
    (
        r"GPG error: (?P<it>\S+ \S+) .*BADSIG|Clearsigned file isn't valid",
        HostError,
        "the signature of {it} isn't good",
        "it was damaged or changed on the way: try again later, or another mirror (--mirror URL)",
    ),
    (
        r"GPG error: (?P<it>\S+ \S+) .*(?:NO_PUBKEY|EXPKEYSIG|KEYEXPIRED|REVKEYSIG)",
        HostError,
        "{it} is signed by no key that is trusted here and valid",
        "bring the keys up to date, or give the right ones (--keyring FILE): {remedy}",
    ),
    (
        r"E: The repository '(?P<it>\S+ \S+) \S+' is not signed",
        HostError,
        "{it} isn't signed",
        "give another mirror (--mirror URL); what nobody vouches for isn't installed",
    ),
    (
        r"Release file for (?P<it>\S+) is (?:expired|not valid yet)",
        HostError,
        "{it} is too old, or this machine's clock is wrong",
        "look at `date`, or give another mirror (--mirror URL)",
    ),
    (
        r"E: The repository '(?P<it>\S+ \S+)\S* Release' does not have a Release file",
        UserError,
        "the mirror has no {it}",
        "check --suite and --mirror, or the sources in /etc/apt",
    ),
    (
        r"Failed to fetch (?P<it>\S+) +40[137] ",
        UserError,
        "the mirror won't serve {it}",
        "where it wants a name and a password, write them into /etc/apt/auth.conf.d/, as apt has them",
    ),
    (
        r"(?:E|Err).*404 .*Not Found",
        UserError,
        "the mirror lacks something of {suite}",
        "check --suite and --mirror, or the sources in /etc/apt",
    ),
    (
        r"E: Unable to locate package (?P<it>\S+)",
        UserError,
        "it has no package {it}",
        "check --package",
    ),
    (
        r"E: Package '(?P<it>[^']+)' has no installation candidate",
        UserError,
        "it has no package {it}",
        "check --package",
    ),
    (
        r"^(?P<it>[\w.+:-]+ : (?:Pre)?(?:Depends|Conflicts|Breaks): .*)",
        UserError,
        "the packages asked for can't be installed together: {it}",
        "leave some out, or look whether the mirror has all of the suite",
    ),
    (
        r"Unable to correct problems, you have held broken packages",
        UserError,
        "the packages asked for can't be installed together",
        "leave some out",
    ),
    (
        r"No space left on device",
        HostError,
        "the disk is full",
        "make room; an image takes about 1 GB while it is built",
    ),
    (
        r"(?:Temporary failure resolving|Could not resolve) '?(?P<it>[^' ]+)'?",
        HostError,
        "{it} can't be found",
        "check the DNS server and the network, or give another mirror (--mirror URL)",
    ),
    (
        r"Could not connect to|Unable to connect to|Connection failed|Connection timed out",
        HostError,
        "the mirror {mirror} can't be reached",
        "check the network and apt's proxy, or give another mirror (--mirror URL)",
    ),
)
"""How the log says it -> whose fault it is, what is wrong, what mends it. The first that fits counts."""


class BuildLog:
    """Turns the log's lines, one by one, into calls of `progress`."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._step = "starting"
        self._done = 0
        self._total: int | None = None
        self._packages = 0

    def line(self, line: str) -> None:
        """Take in the next line."""
        if step := next((step for start, step in _PHASES.items() if line.startswith(start)), None):
            self._begin(step, None)
        elif match := _HOOK.match(line):
            self._begin(f"running {match[1]}", None)
        elif match := _NEW.match(line):
            self._packages = int(match[1])
        elif match := _NEEDED.match(line):
            if needed := octets(*match.groups()):
                self._begin("downloading", needed)
        elif match := _GOT.match(line):
            if self._step == "downloading":
                self._advance(octets(*match.groups()))
        elif _INSTALLED.match(line):
            if self._step != "installing packages":
                # Each is unpacked, then set up.
                self._begin("installing packages", 2 * self._packages or None)
            self._advance(1)

    def _begin(self, step: str, total: int | None) -> None:
        self._step, self._done, self._total = step, 0, total
        self._progress(step, 0, total)

    def _advance(self, by: int) -> None:
        self._done += by
        if self._total is not None:
            self._done = min(self._done, self._total)
        self._progress(self._step, self._done, self._total)


def octets(number: str, unit: str) -> int:
    """apt's `8,790` and `kB` as a number of octets."""
    return int(float(number.replace(",", "")) * _UNITS[unit])


def explanation(lines: Iterable[str], suite: str, mirror: str, remedy: str, log: str) -> NetbootdError:
    """Why the build of `suite` (Debian bookworm) failed, from the last lines of its log, kept at `log`.

    `mirror` is where its packages come from, `remedy` how its keys come onto this machine.
    """
    said = [line.strip() for line in lines if line.strip()]
    for pattern, kind, message, hint in _FAULTS:
        for line in said:
            if match := re.search(pattern, line):
                it = next((group for group in match.groupdict().values() if group), "")
                words = message.format(it=it, suite=suite, mirror=mirror, last=_last_words(said))
                mend = hint.format(remedy=remedy)
                return kind(f"can't build {suite}: {words}", f"{mend} (the log: {log})")
    errors = [line for line in said if _ERROR.match(line)] or said
    last = "; ".join(errors[-3:])[:400] or "it said nothing"
    return HostError(f"can't build {suite}: {last}", f"the whole log: {log}")


def _last_words(said: list[str]) -> str:
    """The last that somebody else than mmdebstrap said."""
    return next((line for line in reversed(said) if not re.match(r"[EIW]: |mmdebstrap", line)), "")[:200]
