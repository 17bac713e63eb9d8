"""Debian's archives, as apt is told about them: read from the head node's own sources, written for an image.

Pure: text in, text out. Both formats of sources.list(5) are read, one-line and deb822.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

DEFAULT_MIRROR = "http://deb.debian.org/debian"
DEFAULT_SECURITY = "http://deb.debian.org/debian-security"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
ARCHITECTURES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv7l": "armhf",
    "i686": "i386",
    "ppc64le": "ppc64el",
    "riscv64": "riscv64",
    "s390x": "s390x",
}
"""What uname calls a machine -> what Debian calls it."""
KERNELS = {
    "amd64": "linux-image-amd64",
    "arm64": "linux-image-arm64",
    "armhf": "linux-image-armmp",
    "i386": "linux-image-686-pae",
    "ppc64el": "linux-image-powerpc64le",
    "riscv64": "linux-image-riscv64",
    "s390x": "linux-image-s390x",
}
_COMPONENTS = ("main", "contrib", "non-free", "non-free-firmware")
_ROLLING = frozenset({"sid", "unstable", "experimental"})
"""Suites without updates and security archives of their own."""
_MIRROR_PATHS = ("/debian", "/debian-archive/debian")
_SECURITY_PATHS = ("/debian-security", "/debian-archive/debian-security")
_SECURITY_HOSTS = frozenset({"security.debian.org", "security-cdn.debian.org"})
_OTHERS_HOSTS = re.compile(r"raspberrypi|raspbian|docker|nodesource|proxmox|armbian")
"""Others who serve packages of their own under the path /debian."""


@dataclass(frozen=True, slots=True)
class Source:
    """One line of a sources.list that has binary packages."""

    uri: str
    suite: str
    components: tuple[str, ...]
    signed_by: str = ""


@dataclass(frozen=True, slots=True)
class Archives:
    """Where Debian's packages come from. `security` is empty where the suite has no such archive."""

    mirror: str
    security: str
    suite: str
    components: tuple[str, ...] = ("main",)

    def sources(self) -> tuple[Source, ...]:
        """The sources that apt is to use, the suite itself first."""
        suites = [(self.mirror, self.suite)]
        if self.suite not in _ROLLING:
            suites.append((self.mirror, f"{self.suite}-updates"))
            if self.security:
                suites.append((self.security, f"{self.suite}-security"))
        return tuple(Source(uri, suite, self.components, KEYRING) for uri, suite in suites)


def archives(suite: str, machine: Iterable[Source], mirror: str | None = None) -> Archives:
    """The archives for `suite`, as this `machine` has them; the `mirror` given replaces the main one.

    Of the machine's sources only Debian's own archives count; where it has none, deb.debian.org is asked.
    """
    known = list(machine)
    main = [source for source in known if _is_debian(source, _MIRROR_PATHS)]
    security = [source for source in known if _is_security(source)]
    components = {component for source in main for component in source.components}
    fallback = "" if main else DEFAULT_SECURITY
    return Archives(
        (mirror or (main[0].uri if main else DEFAULT_MIRROR)).rstrip("/"),
        security[0].uri if security else fallback,
        suite,
        tuple(c for c in _COMPONENTS if c in components) or ("main",),
    )


def parse(text: str) -> list[Source]:
    """The sources of a sources.list, one per suite and URI. What can't be understood is passed over."""
    found = []
    for line in text.splitlines():
        match = re.match(r"\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)((?:\s+[^\s#]+)*)", line)
        if match:
            options, uri, suite, components = match.groups()
            signed = re.search(r"signed-by=(\S+)", options or "", re.IGNORECASE)
            found.append(_source(uri, suite, components.split(), signed[1] if signed else ""))
    return found


def parse_deb822(text: str) -> list[Source]:
    """The sources of a *.sources file, one per suite and URI. What can't be understood is passed over."""
    found = []
    for stanza in re.split(r"\n\s*\n", text):
        fields = _fields(stanza)
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() in (
            "no",
            "false",
        ):
            continue
        components, signed = fields.get("components", "").split(), fields.get("signed-by", "")
        found += [
            _source(uri, suite, components, signed)
            for suite in fields.get("suites", "").split()
            for uri in fields.get("uris", "").split()
        ]
    return found


def one_line(source: Source) -> str:
    """`source` as a line of sources.list, as mmdebstrap takes it."""
    return " ".join(("deb", source.uri, source.suite, *source.components))


def deb822(sources: Iterable[Source]) -> str:
    """`sources` as the text of a *.sources file that everybody may read: one stanza for each URI."""
    stanzas: dict[tuple[str, tuple[str, ...], str], list[str]] = {}
    for source in sources:
        stanzas.setdefault((public(source.uri), source.components, source.signed_by), []).append(source.suite)
    return "\n".join(
        f"Types: deb\nURIs: {uri}\nSuites: {' '.join(suites)}\nComponents: {' '.join(components)}\n"
        + (f"Signed-By: {signed}\n" if signed else "")
        for (uri, components, signed), suites in stanzas.items()
    )


def public(uri: str) -> str:
    """`uri` without a user's name and password in it: for what others can read."""
    return re.sub(r"://[^/@]*@", "://", uri)


def architecture(text: str) -> str | None:
    """Debian's name for an architecture given in its words or in uname's; None for an unknown one."""
    return ARCHITECTURES.get(text, text if text in KERNELS else None)


def uname(debian: str) -> str:
    """What uname says on a machine of Debian's architecture `debian`."""
    return next(machine for machine, name in ARCHITECTURES.items() if name == debian)


def _source(uri: str, suite: str, components: list[str], signed_by: str) -> Source:
    return Source(uri.rstrip("/"), suite.rstrip("/"), tuple(components), signed_by)


def _fields(stanza: str) -> dict[str, str]:
    """The fields of one stanza, continuation lines joined, comments left out."""
    fields: dict[str, str] = {}
    key = ""
    for line in stanza.splitlines():
        if line.startswith("#"):
            continue
        if line[:1].isspace():
            fields[key] = f"{fields.get(key, '')} {line.strip()}"
        elif ":" in line:
            key, _, value = line.partition(":")
            key = key.strip().lower()
            fields[key] = value.strip()
    return fields


def _is_debian(source: Source, paths: tuple[str, ...]) -> bool:
    """Whether Debian itself publishes what `source` names, as far as its words tell."""
    address = urlsplit(source.uri)
    return (
        address.scheme in ("http", "https")
        and any(address.path.endswith(path) for path in paths)
        and "main" in source.components
        and not _OTHERS_HOSTS.search(address.netloc)
        and "debian" in (source.signed_by or "debian")
    )


def _is_security(source: Source) -> bool:
    return _is_debian(source, _SECURITY_PATHS) or urlsplit(source.uri).hostname in _SECURITY_HOSTS
