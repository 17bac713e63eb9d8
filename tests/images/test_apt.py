"""What apt is told: sources of both formats read and written back right, without passwords."""

import pytest

from netbootd.images import apt
from netbootd.images.apt import Source

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


def test_what_is_written_is_read_back() -> None:
    keyrings = "/usr/share/keyrings/debian-archive-keyring.gpg /etc/apt/keyrings/ours.gpg"
    sources = [
        Source("http://mirror.example/debian", "bookworm", ("main", "non-free-firmware"), keyrings),
        Source("http://mirror.example/debian", "bookworm-updates", ("main", "non-free-firmware"), keyrings),
        Source("http://other.example/debian", "bookworm", ("main",)),
    ]
    assert apt.parse_deb822(apt.deb822(sources)) == sources


def test_a_line_names_the_keyrings_that_may_sign() -> None:
    source = Source("http://mirror.example/debian", "bookworm", ("main",), "/a.gpg /b.gpg")
    assert apt.one_line(source) == "deb [signed-by=/a.gpg,/b.gpg] http://mirror.example/debian bookworm main"


def test_a_password_for_the_mirror_does_not_get_into_the_image() -> None:
    source = Source("https://user:secret@mirror.example/debian", "bookworm", ("main",))
    assert "secret@mirror" in apt.one_line(source)
    assert "URIs: https://mirror.example/debian\n" in apt.deb822([source])


@pytest.mark.parametrize(
    ("word", "debian"),
    [("x86_64", "amd64"), ("amd64", "amd64"), ("armv7l", "armhf"), ("armv6l", "armhf"), ("vax", None)],
)
def test_architectures_are_known_by_both_names(word: str, debian: str | None) -> None:
    assert apt.architecture(word) == debian


@pytest.mark.parametrize(
    "text", ["", "\n\n", " continued: nothing", "Types deb", "Types: deb", "deb", "deb http://x"]
)
def test_what_is_no_source_is_passed_over(text: str) -> None:
    assert apt.parse(text) == []
    assert apt.parse_deb822(text) == []
