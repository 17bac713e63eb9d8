"""Suites: whose they are, where their packages come from, and with which kernel."""

import pytest

from netbootd.errors import UserError
from netbootd.images import apt
from netbootd.images.apt import Source
from netbootd.images.suites import choose
from netbootd.images.suites.distribution import Distribution, Merged, is_kernel, used

DEBIAN = [
    Source("http://near.example/debian", "bookworm", ("main", "non-free-firmware")),
    Source("http://near.example/debian-security", "bookworm-security", ("main",)),
]


def lines(
    distribution: Distribution, machine: list[Source] | None = None, mirrors: dict[str, str] | None = None
) -> list[str]:
    return [
        apt.one_line(source)
        for archive in used(distribution, machine or [], mirrors or {})
        for source in archive.sources()
    ]


@pytest.mark.parametrize(
    ("suite", "architecture", "label", "kernel"),
    [
        ("bookworm", "amd64", "Debian bookworm", "linux-image-amd64"),
        ("trixie", "armhf", "Debian trixie", "linux-image-armmp"),
        ("sid", "riscv64", "Debian sid", "linux-image-riscv64"),
        ("noble", "amd64", "Ubuntu noble", "linux-image-generic"),
        ("jammy", "arm64", "Ubuntu jammy", "linux-image-generic"),
        ("ubuntu-zesty", "amd64", "Ubuntu zesty", "linux-image-generic"),
        ("debian-noble", "amd64", "Debian noble", "linux-image-amd64"),
        ("raspios-bookworm", "arm64", "Raspberry Pi OS bookworm", "linux-image-rpi-v8"),
        ("raspios-trixie", "armhf", "Raspberry Pi OS trixie", "linux-image-rpi-v7"),
    ],
)
def test_a_suite_is_known_by_its_name(suite: str, architecture: str, label: str, kernel: str) -> None:
    distribution = choose.distribution(suite, architecture)
    assert (distribution.label, distribution.kernel) == (label, kernel)


@pytest.mark.parametrize(
    ("suite", "architecture", "why"),
    [
        ("raspios-bookworm", "amd64", "nothing for amd64"),
        ("noble", "i386", "Ubuntu has nothing for i386"),
        ("Noble", "amd64", "names no suite"),
        ("../noble", "amd64", "names no suite"),
        ("", "amd64", "names no suite"),
    ],
)
def test_what_no_distribution_has_is_refused(suite: str, architecture: str, why: str) -> None:
    with pytest.raises(UserError, match=why):
        choose.distribution(suite, architecture)


def test_debian_comes_from_where_this_machine_has_it() -> None:
    assert lines(choose.distribution("trixie", "amd64"), DEBIAN) == [
        "deb http://near.example/debian trixie main non-free-firmware",
        "deb http://near.example/debian trixie-updates main non-free-firmware",
        "deb http://near.example/debian-security trixie-security main non-free-firmware",
    ]


def test_a_machine_without_debian_gets_it_from_the_public_archives() -> None:
    others = apt.parse(
        "deb https://download.docker.com/linux/debian bookworm stable\n"
        "deb http://archive.raspberrypi.com/debian bookworm main\n"
        "deb [signed-by=/usr/share/keyrings/acme.gpg] http://acme.example/debian bookworm main\n"
        "deb https://deb.nodesource.com/node_20.x nodistro main\n"
        "deb http://archive.ubuntu.com/ubuntu noble main\n"
        "deb file:/srv/debian bookworm main\n"
    )
    assert lines(choose.distribution("bookworm", "amd64"), others) == [
        "deb http://deb.debian.org/debian bookworm main",
        "deb http://deb.debian.org/debian bookworm-updates main",
        "deb http://deb.debian.org/debian-security bookworm-security main",
    ]


def test_a_machine_without_security_updates_gives_an_image_without_them_unless_told_where() -> None:
    debian = choose.distribution("bookworm", "amd64")
    assert all("security" not in line for line in lines(debian, DEBIAN[:1]))
    told = lines(debian, DEBIAN[:1], {"security": "http://s.example/debian-security"})
    assert told[-1].startswith("deb http://s.example/debian-security bookworm-security")


def test_a_mirror_named_replaces_the_machines_and_leaves_security() -> None:
    found = lines(
        choose.distribution("bookworm", "amd64"), DEBIAN, {"debian": "http://other.example/debian/"}
    )
    assert found[0] == "deb http://other.example/debian bookworm main non-free-firmware"
    assert found[2].startswith("deb http://near.example/debian-security ")


def test_a_mirror_of_what_it_has_not_is_refused_with_what_it_has() -> None:
    with pytest.raises(UserError) as raised:
        lines(choose.distribution("noble", "amd64"), [], {"raspberrypi": "http://x.example/"})
    assert "--mirror ubuntu=URL or --mirror security=URL" in raised.value.hint


def test_a_rolling_suite_is_one_source() -> None:
    assert lines(choose.distribution("sid", "amd64")) == ["deb http://deb.debian.org/debian sid main"]


def test_ubuntu_for_pcs_and_for_others_comes_from_different_archives() -> None:
    assert lines(choose.distribution("noble", "amd64")) == [
        "deb http://archive.ubuntu.com/ubuntu noble main universe",
        "deb http://archive.ubuntu.com/ubuntu noble-updates main universe",
        "deb http://security.ubuntu.com/ubuntu noble-security main universe",
    ]
    assert lines(choose.distribution("noble", "arm64")) == [
        "deb http://ports.ubuntu.com/ubuntu-ports noble main universe",
        "deb http://ports.ubuntu.com/ubuntu-ports noble-updates main universe",
        "deb http://ports.ubuntu.com/ubuntu-ports noble-security main universe",
    ]
    # From 26.04 on arm64 is in the archive itself.
    assert "http://archive.ubuntu.com/ubuntu " in lines(choose.distribution("resolute", "arm64"))[0]


def test_a_machine_that_runs_ubuntu_has_its_own_mirror() -> None:
    machine = apt.parse(
        "deb http://de.archive.ubuntu.com/ubuntu noble main restricted universe multiverse\n"
        "deb http://security.ubuntu.com/ubuntu noble-security main restricted\n"
    )
    found = lines(choose.distribution("jammy", "amd64"), machine)
    assert found[0] == "deb http://de.archive.ubuntu.com/ubuntu jammy main universe restricted multiverse"
    assert found[2].startswith("deb http://security.ubuntu.com/ubuntu jammy-security ")
    # A mirror of the PCs' archive has nothing for others.
    assert "ports.ubuntu.com" in lines(choose.distribution("jammy", "arm64"), machine)[0]


def test_raspberry_pi_os_for_64_bits_is_debian_with_an_archive_beside_it() -> None:
    distribution = choose.distribution("raspios-bookworm", "arm64")
    assert lines(distribution, DEBIAN) == [
        "deb http://near.example/debian bookworm main contrib non-free non-free-firmware",
        "deb http://near.example/debian bookworm-updates main contrib non-free non-free-firmware",
        "deb http://near.example/debian-security bookworm-security main contrib non-free non-free-firmware",
        "deb http://archive.raspberrypi.com/debian bookworm main",
    ]
    assert "firmware-brcm80211" in distribution.packages


def test_raspberry_pi_os_for_32_bits_is_raspbian_with_an_archive_beside_it() -> None:
    machine = apt.parse(
        "deb [ arch=armhf ] http://raspbian.near.example/raspbian/ bookworm main contrib non-free rpi\n"
    )
    distribution = choose.distribution("raspios-bookworm", "armhf")
    assert lines(distribution, machine) == [
        "deb http://raspbian.near.example/raspbian bookworm main contrib non-free rpi",
        "deb http://archive.raspberrypi.com/debian bookworm main",
    ]
    mirrors = {"raspbian": "http://a.example/raspbian", "raspberrypi": "http://a.example/raspi"}
    assert [line.split()[1] for line in lines(distribution, machine, mirrors)] == [*mirrors.values()]


def test_a_kernel_that_is_asked_for_is_instead_of_the_usual_one() -> None:
    pi = choose.distribution("raspios-bookworm", "arm64")
    assert "linux-image-rpi-v8" in pi.wanted(["mpich"])
    assert "linux-image-rpi-v8" not in pi.wanted(["linux-image-rpi-2712"])


@pytest.mark.parametrize(
    ("package", "kernel"),
    [
        ("linux-image-rpi-v6", True),
        ("linux-image-cloud-amd64", True),
        ("linux-generic", True),
        ("linux-generic-hwe-24.04", True),
        ("linux-image-6.1.0-40-amd64", True),
        ("linux-image-6.1.0-40-amd64-dbg", False),
        ("linux-headers-generic", False),
        ("linux-libc-dev", False),
        ("linux-firmware", False),
    ],
)
def test_kernels_are_told_from_what_is_named_like_them(package: str, kernel: bool) -> None:
    assert is_kernel(package) is kernel


def test_every_suite_gets_its_links_into_usr_once() -> None:
    merged = {
        suite: choose.distribution(suite, "amd64").merged
        for suite in ("bullseye", "bookworm", "trixie", "jammy", "noble")
    }
    assert merged == {
        "bullseye": Merged.BY_LINKS,
        "bookworm": Merged.BY_PACKAGE,
        "trixie": Merged.BY_BASE_FILES,
        "jammy": Merged.BY_LINKS,
        "noble": Merged.BY_BASE_FILES,
    }
