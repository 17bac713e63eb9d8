"""What apt is told about archives: read from the head node's own sources, written for an image.

Pure: text in, text out. Both formats of sources.list(5) are read, one-line and deb822.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

ARCHITECTURES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv7l": "armhf",
    "armv6l": "armhf",
    "i686": "i386",
    "ppc64le": "ppc64el",
    "riscv64": "riscv64",
    "s390x": "s390x",
}
"""What uname calls a machine -> what Debian calls its packages."""


@dataclass(frozen=True, slots=True)
class Source:
    """One line of a sources.list that has binary packages."""

    uri: str
    suite: str
    components: tuple[str, ...]
    signed_by: str = ""
    """Paths of keyrings; several are parted by blanks."""


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
    signed = f"[signed-by={source.signed_by.replace(' ', ',')}]" if source.signed_by else ""
    return " ".join(filter(None, ("deb", signed, source.uri, source.suite, *source.components)))


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
    return ARCHITECTURES.get(text, text if text in ARCHITECTURES.values() else None)


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
