"""Debian's suites. Pure."""

from netbootd.images.suites.distribution import Archive, Distribution, Keys, Merged, choice

KERNELS = {
    "amd64": "linux-image-amd64",
    "arm64": "linux-image-arm64",
    "armhf": "linux-image-armmp",
    "i386": "linux-image-686-pae",
    "ppc64el": "linux-image-powerpc64le",
    "riscv64": "linux-image-riscv64",
    "s390x": "linux-image-s390x",
}
KEYS = Keys(
    (
        "/usr/share/keyrings/debian-archive-keyring.gpg",
        "/usr/share/keyrings/debian-archive-keyring.pgp",
    ),
    "apt install debian-archive-keyring",
)
_ROLLING = frozenset({"sid", "unstable", "experimental"})
"""Suites without updates and security archives of their own."""
_OLDER = frozenset({"stretch", "buster", "bullseye"})
"""Suites whose packages leave it to the installer to merge /usr; since trixie base-files does it."""
_OTHERS = r"(?![^/]*(?:raspberrypi|raspbian|docker|nodesource|proxmox|armbian))"
"""Others who serve packages of their own under the path /debian."""


def distribution(suite: str, architecture: str) -> Distribution:
    """Debian `suite` for `architecture`. Raises UserError for one that it hasn't."""
    return Distribution(
        name="Debian",
        suite=suite,
        architecture=architecture,
        archives=archives(suite),
        kernel=choice(KERNELS, architecture, "Debian"),
        merged=merged(suite),
        sources_file="debian.sources",
    )


def merged(suite: str) -> Merged:
    """How a suite of Debian's merges /usr."""
    if suite == "bookworm":
        return Merged.BY_PACKAGE
    return Merged.BY_LINKS if suite in _OLDER else Merged.BY_BASE_FILES


def archives(suite: str, components: tuple[str, ...] = ("main",)) -> tuple[Archive, ...]:
    """Debian's archives, with at least these `components`."""
    more = tuple(c for c in ("contrib", "non-free", "non-free-firmware") if c not in components)
    main = Archive(
        name="debian",
        url="http://deb.debian.org/debian",
        pockets=(suite,) if suite in _ROLLING else (suite, f"{suite}-updates"),
        components=components,
        more_components=more,
        mirrors=_OTHERS + r".*/debian(-archive/debian)?",
        signed="debian",
        keys=KEYS,
    )
    security = Archive(
        name="security",
        url="http://deb.debian.org/debian-security",
        pockets=(f"{suite}-security",),
        components=components,
        more_components=more,
        mirrors=_OTHERS
        + r"(.*/debian-security|.*/debian-archive/debian-security|security(-cdn)?\.debian\.org(/.*)?)",
        signed="debian",
        keys=KEYS,
        dispensable=True,
    )
    return (main,) if suite in _ROLLING else (main, security)
