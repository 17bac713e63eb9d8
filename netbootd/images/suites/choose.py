"""From what was asked for (`noble`, `raspios-bookworm`) to the distribution. Pure."""

import re

from netbootd.errors import UserError
from netbootd.images.suites import debian, raspios, ubuntu
from netbootd.images.suites.distribution import Distribution

_SUITE = re.compile(r"[a-z][a-z0-9.-]{1,40}")
_MAKERS = {
    "debian": debian.distribution,
    "ubuntu": ubuntu.distribution,
    "raspios": raspios.distribution,
}


def distribution(suite: str, architecture: str) -> Distribution:
    """What `suite` means: a name of Debian's or Ubuntu's, or one after `debian-`, `ubuntu-`, `raspios-`.

    Raises UserError for what names none, and for an `architecture` (Debian's word) that it isn't made for.
    """
    if not _SUITE.fullmatch(suite):
        raise UserError(
            f"{suite[:60]!r} names no suite", "write bookworm, trixie, jammy, noble, raspios-bookworm …"
        )
    family, _, name = suite.partition("-")
    if family in _MAKERS and name:
        return _MAKERS[family](name, architecture)
    return _MAKERS["ubuntu" if suite in ubuntu.KNOWN else "debian"](suite, architecture)
