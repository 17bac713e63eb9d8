"""Raspberry Pi OS, as pi-gen makes it. Pure.

For 64 bits it is Debian with Raspberry Pi's own archive beside it; for 32 bits Raspbian takes Debian's place,
which is Debian compiled for ARMv6, so that the first models can run it.
"""

from netbootd.images.suites import debian
from netbootd.images.suites.distribution import Archive, Distribution, Keys, choice

KERNELS = {"arm64": "linux-image-rpi-v8", "armhf": "linux-image-rpi-v7"}
"""v8 runs the Pi 3, 4, 5 and Zero 2, v7 the Pi 2 and 3; others by --package: -rpi-2712 (Pi 5), -rpi-v6 …"""
_COMPONENTS = ("main", "contrib", "non-free", "non-free-firmware")
_KEYS = Keys(
    (
        "/usr/share/keyrings/raspberrypi-archive-keyring.pgp",
        "/usr/share/keyrings/raspberrypi-archive-keyring.gpg",
        "/etc/apt/trusted.gpg.d/raspberrypi-archive-stable.gpg",
    ),
    "copy one of these files from a machine that runs Raspberry Pi OS, or give the key that Raspberry Pi "
    "publishes as https://archive.raspberrypi.com/debian/raspberrypi.gpg.key: --keyring FILE",
)
_RASPBIAN_KEYS = Keys(
    (
        "/usr/share/keyrings/raspbian-archive-keyring.gpg",
        "/etc/apt/trusted.gpg.d/raspbian-archive-keyring.gpg",
    ),
    "copy the file from a machine that runs Raspberry Pi OS, or give the key that Raspbian publishes as "
    "https://archive.raspbian.org/raspbian.public.key: --keyring FILE",
)


def distribution(suite: str, architecture: str) -> Distribution:
    """Raspberry Pi OS on `suite` for `architecture`. Raises UserError for one that it hasn't."""
    kernel = choice(KERNELS, architecture, "Raspberry Pi OS")
    base = debian.archives(suite, _COMPONENTS) if architecture == "arm64" else (_raspbian(suite),)
    keyring = "debian-archive-keyring" if architecture == "arm64" else "raspbian-archive-keyring"
    return Distribution(
        name="Raspberry Pi OS",
        suite=suite,
        architecture=architecture,
        archives=(*base, _own(suite)),
        kernel=kernel,
        packages=("raspi-firmware", "firmware-brcm80211", "raspberrypi-archive-keyring", keyring),
        directories=("/boot/firmware",),
        merged=debian.merged(suite),
        sources_file="raspi.sources",
    )


def _raspbian(suite: str) -> Archive:
    return Archive(
        name="raspbian",
        url="http://raspbian.raspberrypi.com/raspbian",
        pockets=(suite,),
        components=("main", "contrib", "non-free", "rpi"),
        mirrors=r".*/raspbian",
        signed="raspbian",
        keys=_RASPBIAN_KEYS,
    )


def _own(suite: str) -> Archive:
    return Archive(
        name="raspberrypi",
        url="http://archive.raspberrypi.com/debian",
        pockets=(suite,),
        mirrors=r"archive\.raspberrypi\.(com|org)/debian",
        signed="raspberrypi",
        keys=_KEYS,
    )
