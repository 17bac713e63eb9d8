"""Ubuntu's suites. Pure.

Updates come from the archive itself, security updates first from one of their own. What isn't for PCs is
served by ports.ubuntu.com, for arm64 until 25.10.
"""

from netbootd.images.suites.distribution import Archive, Distribution, Keys, Merged, choice

OLDER = ("xenial", "bionic", "focal", "jammy", "lunar", "mantic", "noble", "oracular", "plucky", "questing")
"""Suites whose arm64 is on ports.ubuntu.com."""
KNOWN = frozenset({*OLDER, "resolute", "stonking"})
"""Suites that are known for Ubuntu's without being told so."""
_UNMERGED = frozenset({"xenial", "bionic", "focal", "jammy", "lunar", "mantic"})
"""Suites whose packages leave it to the installer to merge /usr."""
KERNELS = dict.fromkeys(("amd64", "arm64", "armhf", "ppc64el", "riscv64", "s390x"), "linux-image-generic")
_KEYS = Keys(
    ("/usr/share/keyrings/ubuntu-archive-keyring.gpg",),
    "apt install ubuntu-keyring (Ubuntu, Debian 13 and later), or copy the file from a machine that has it "
    "and give it: --keyring ubuntu-archive-keyring.gpg",
)


def distribution(suite: str, architecture: str) -> Distribution:
    """Ubuntu `suite` for `architecture`. Raises UserError for one that it hasn't."""
    kernel = choice(KERNELS, architecture, "Ubuntu")
    ports = architecture not in ("amd64", "arm64") or (architecture == "arm64" and suite in OLDER)
    host, directory = ("ports.ubuntu.com", "ubuntu-ports") if ports else ("archive.ubuntu.com", "ubuntu")
    main = Archive(
        name="ubuntu",
        url=f"http://{host}/{directory}",
        pockets=(suite, f"{suite}-updates"),
        components=("main", "universe"),
        more_components=("restricted", "multiverse"),
        mirrors=rf"(?!security\.).*/{directory}",
        signed="ubuntu",
        keys=_KEYS,
    )
    security = Archive(
        name="security",
        url=main.url if ports else "http://security.ubuntu.com/ubuntu",
        pockets=(f"{suite}-security",),
        components=main.components,
        more_components=main.more_components,
        mirrors=rf".*/{directory}" if ports else r"security\.ubuntu\.com/ubuntu",
        signed="ubuntu",
        keys=_KEYS,
    )
    return Distribution(
        name="Ubuntu",
        suite=suite,
        architecture=architecture,
        archives=(main, security),
        kernel=kernel,
        merged=Merged.BY_LINKS if suite in _UNMERGED else Merged.BY_BASE_FILES,
        sources_file="ubuntu.sources",
    )
