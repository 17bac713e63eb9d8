"""What a distribution is to `image build`: its archives, whose keys sign them, its kernel. Pure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from netbootd.errors import UserError
from netbootd.images import apt
from netbootd.images.apt import Source

_KERNEL = re.compile(r"linux-(image|generic|virtual|lowlatency|raspi)\b(?!.*-(dbg|dbgsym)$).*")


class Merged(Enum):
    """How /bin, /sbin and /lib become links into /usr, without a package that brings all of Perl for it."""

    BY_BASE_FILES = "base-files has them"
    BY_LINKS = "made before the first package"
    BY_PACKAGE = "made before the first package, and usr-is-merged says so to those that ask for it"


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys that sign an archive."""

    files: tuple[str, ...]
    """Where they lie, on this machine and in an image, once their package is installed: any of these."""
    remedy: str
    """How they come onto this machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """A place that packages come from."""

    name: str
    """As in `--mirror NAME=URL`."""
    url: str
    pockets: tuple[str, ...]
    """The suites of it that are used: noble, noble-updates."""
    components: tuple[str, ...] = ("main",)
    """Those that are always used."""
    more_components: tuple[str, ...] = ()
    """Those that are used where this machine uses them."""
    mirrors: str
    """A regular expression for HOST/PATH of its mirrors."""
    signed: str
    """A word in the name of every keyring of its."""
    keys: Keys
    dispensable: bool = False
    """Whether it is left out where this machine does without it, although it has the main archive."""

    def is_mirrored_by(self, source: Source) -> bool:
        """Whether this archive is what `source` of some machine names, as far as its words tell."""
        scheme, _, place = apt.public(source.uri).partition("://")
        return (
            scheme in ("http", "https")
            and re.fullmatch(self.mirrors, place) is not None
            and "main" in source.components
            and self.signed in (source.signed_by or self.signed)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """One suite of a distribution, for one architecture."""

    name: str
    """Debian, Ubuntu, Raspberry Pi OS."""
    suite: str
    """Its name in the archives: bookworm, noble."""
    architecture: str
    """Debian's word."""
    archives: tuple[Archive, ...]
    """The first has the suite itself."""
    kernel: str
    """The package that brings the newest kernel."""
    packages: tuple[str, ...] = ()
    """What it needs beside what every image has."""
    directories: tuple[str, ...] = ()
    """What the packages' scripts expect to find."""
    merged: Merged
    sources_file: str
    """The image's own list of sources, in /etc/apt/sources.list.d."""

    @property
    def label(self) -> str:
        """Debian bookworm."""
        return f"{self.name} {self.suite}"

    def wanted(self, packages: Iterable[str]) -> tuple[str, ...]:
        """What is to be installed where `packages` are asked for: a kernel among them is instead of ours."""
        asked = tuple(packages)
        kernel = () if any(is_kernel(package) for package in asked) else (self.kernel,)
        return (*kernel, *self.packages, *asked)


@dataclass(frozen=True, slots=True)
class Used:
    """An archive as it is used: from which mirror, with which components."""

    archive: Archive
    url: str
    components: tuple[str, ...]

    def sources(self, signed_by: str = "") -> tuple[Source, ...]:
        """For apt, the first pocket first."""
        return tuple(Source(self.url, pocket, self.components, signed_by) for pocket in self.archive.pockets)


def used(
    distribution: Distribution, machine: Iterable[Source], mirrors: Mapping[str, str]
) -> tuple[Used, ...]:
    """The archives of `distribution` as this `machine` has them, or from the `mirrors` given by archive.

    Of the machine's sources only the distribution's own count; where it has none, the public archives are
    asked. Raises UserError for a mirror of what the distribution hasn't.
    """
    known = list(machine)
    names = [archive.name for archive in distribution.archives]
    for name in mirrors:
        if name not in names:
            raise UserError(
                f"{distribution.label} has no archive {name[:40]!r}", f"--mirror URL, or {_choice(names)}"
            )
    of_machine = {a.name: [s for s in known if a.is_mirrored_by(s)] for a in distribution.archives}
    found = []
    for archive in distribution.archives:
        sources = of_machine[archive.name]
        if archive.dispensable and not sources and of_machine[names[0]] and archive.name not in mirrors:
            continue
        url = mirrors.get(archive.name) or (sources[0].uri if sources else archive.url)
        also = {c for source in of_machine[names[0]] for c in source.components}
        components = (*archive.components, *(c for c in archive.more_components if c in also))
        found.append(Used(archive, url.rstrip("/"), components))
    return tuple(found)


def is_kernel(package: str) -> bool:
    """Whether `package` is a kernel, or brings one."""
    return _KERNEL.fullmatch(package) is not None


def choice(table: Mapping[str, str], architecture: str, label: str) -> str:
    """What `table` has for `architecture`. Raises UserError, which says for which there is something."""
    if architecture not in table:
        raise UserError(f"{label} has nothing for {architecture}", f"it is for {' and '.join(table)}")
    return table[architecture]


def _choice(names: Iterable[str]) -> str:
    return " or ".join(f"--mirror {name}=URL" for name in names)
