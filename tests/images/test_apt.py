"""Debian's archives: the head node's own where it has them, nobody else's, and written back right."""

import pytest

from netbootd.images import apt
from netbootd.images.apt import Archives, Source

DEB822 = """
# Debian's
Types: deb deb-src
URIs: http://mirror.example/debian/
Suites: bookworm
 bookworm-updates
Components: main non-free-firmware
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
Enabled: no
URIs: http://off.example/debian
Suites: bookworm
Components: main

Types: deb-src
URIs: http://src.example/debian
Suites: bookworm
Components: main

Types: deb
URIs: http://mirror.example/debian-security/
Suites: bookworm-security
Components: main
"""


def test_deb822_sources_are_read() -> None:
    keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    assert apt.parse_deb822(DEB822) == [
        Source("http://mirror.example/debian", "bookworm", ("main", "non-free-firmware"), keyring),
        Source("http://mirror.example/debian", "bookworm-updates", ("main", "non-free-firmware"), keyring),
        Source("http://mirror.example/debian-security", "bookworm-security", ("main",)),
    ]


def test_one_line_sources_are_read() -> None:
    text = """
# deb http://off.example/debian bookworm main
deb-src http://mirror.example/debian bookworm main
deb [arch=amd64 signed-by=/k.gpg] https://mirror.example/debian bookworm main contrib # ours
deb http://security.debian.org/ bookworm-security main
not a source at all
"""
    assert apt.parse(text) == [
        Source("https://mirror.example/debian", "bookworm", ("main", "contrib"), "/k.gpg"),
        Source("http://security.debian.org", "bookworm-security", ("main",)),
    ]


def test_the_machines_own_mirror_is_used_for_another_suite() -> None:
    archives = apt.archives("trixie", apt.parse_deb822(DEB822))
    assert [apt.one_line(source) for source in archives.sources()] == [
        "deb http://mirror.example/debian trixie main non-free-firmware",
        "deb http://mirror.example/debian trixie-updates main non-free-firmware",
        "deb http://mirror.example/debian-security trixie-security main non-free-firmware",
    ]


def test_others_packages_are_left_out() -> None:
    others = apt.parse(
        "deb https://download.docker.com/linux/debian bookworm stable\n"
        "deb http://archive.raspberrypi.com/debian bookworm main\n"
        "deb [signed-by=/usr/share/keyrings/acme.gpg] http://acme.example/debian bookworm main\n"
        "deb https://deb.nodesource.com/node_20.x nodistro main\n"
        "deb file:/srv/debian bookworm main\n"
    )
    assert apt.archives("bookworm", others) == Archives(apt.DEFAULT_MIRROR, apt.DEFAULT_SECURITY, "bookworm")


def test_a_machine_without_security_updates_gives_an_image_without_them() -> None:
    archives = apt.archives("bookworm", apt.parse("deb http://mirror.example/debian bookworm main"))
    assert [source.suite for source in archives.sources()] == ["bookworm", "bookworm-updates"]


def test_a_mirror_named_replaces_the_machines_and_leaves_security() -> None:
    archives = apt.archives("bookworm", apt.parse_deb822(DEB822), "http://near.example/debian/")
    assert archives.mirror == "http://near.example/debian"
    assert archives.security == "http://mirror.example/debian-security"


def test_a_rolling_suite_is_one_source() -> None:
    assert [source.suite for source in apt.archives("sid", []).sources()] == ["sid"]


def test_what_is_written_is_read_back() -> None:
    sources = apt.archives("bookworm", apt.parse_deb822(DEB822)).sources()
    assert apt.parse_deb822(apt.deb822(sources)) == list(sources)


def test_a_password_for_the_mirror_does_not_get_into_the_image() -> None:
    archives = apt.archives("bookworm", [], "https://user:secret@mirror.example/debian")
    assert "secret@mirror" in apt.one_line(archives.sources()[0])
    assert "URIs: https://mirror.example/debian\n" in apt.deb822(archives.sources())


@pytest.mark.parametrize(
    ("word", "debian"), [("x86_64", "amd64"), ("amd64", "amd64"), ("armv7l", "armhf"), ("vax", None)]
)
def test_architectures_are_known_by_both_names(word: str, debian: str | None) -> None:
    assert apt.architecture(word) == debian


@pytest.mark.parametrize(
    "text", ["", "\n\n", " continued: nothing", "Types deb", "Types: deb", "deb", "deb http://x"]
)
def test_what_is_no_source_is_passed_over(text: str) -> None:
    assert apt.parse(text) == []
    assert apt.parse_deb822(text) == []
