"""The package cache: lent is only what is whole and from the same archives; it stays within its bounds."""

import os
from pathlib import Path

from netbootd.images.package_cache import PackageCache, key


def archives(directory: Path, **packages: bytes) -> Path:
    directory.mkdir()
    for name, content in packages.items():
        (directory / f"{name}_1_all.deb").write_bytes(content)
    return directory


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_what_one_build_fetched_is_lent_to_the_next(tmp_path: Path) -> None:
    cache = PackageCache(tmp_path / "cache")
    cache.take("bookworm", archives(tmp_path / "first", hello=b"hello", bash=b"bash"))
    second = archives(tmp_path / "second")
    assert cache.lend("bookworm", second) == 2
    assert names(second) == ["bash_1_all.deb", "hello_1_all.deb"]
    assert (second / "hello_1_all.deb").read_bytes() == b"hello"


def test_nothing_is_lent_to_a_build_from_other_archives_or_keys(tmp_path: Path) -> None:
    cache = PackageCache(tmp_path / "cache")
    ours = key("bookworm-amd64", ["deb http://a.example/debian bookworm main"], [b"key"])
    cache.take(ours, archives(tmp_path / "first", hello=b"hello"))
    empty = archives(tmp_path / "empty")
    for other in (
        key("bookworm-amd64", ["deb http://b.example/debian bookworm main"], [b"key"]),
        key("bookworm-amd64", ["deb http://a.example/debian bookworm main"], [b"other"]),
        key("bookworm-amd64", ["deb http://a.example/debian bookworm main"], [b"key", b"other"]),
    ):
        assert other != ours
        assert cache.lend(other, empty) == 0


def test_a_package_that_is_no_longer_what_it_was_is_dropped(tmp_path: Path) -> None:
    cache = PackageCache(tmp_path / "cache")
    cache.take("k", archives(tmp_path / "first", hello=b"hello"))
    (kept,) = (tmp_path / "cache/k").iterdir()
    kept.write_bytes(b"jello")
    assert cache.lend("k", archives(tmp_path / "second")) == 0
    assert names(tmp_path / "cache/k") == []


def test_what_is_no_package_is_neither_kept_nor_lent(tmp_path: Path) -> None:
    first = archives(tmp_path / "first")
    (first / "partial").mkdir()
    (first / "lock").touch()
    (first / "secret_1_all.deb").symlink_to("/etc/shadow")
    (first / ("x" * 200 + ".deb")).write_bytes(b"x")
    (first / "a b.deb").write_bytes(b"x")
    cache = PackageCache(tmp_path / "cache")
    cache.take("k", first)
    assert not (tmp_path / "cache/k").exists()
    (tmp_path / "cache/k").mkdir(parents=True)
    (tmp_path / "cache/k/.123.new").write_bytes(b"half")
    assert cache.lend("k", archives(tmp_path / "second")) == 0


def test_what_was_unused_for_longest_makes_room(tmp_path: Path) -> None:
    cache = PackageCache(tmp_path / "cache", most=25)
    cache.take("lent", archives(tmp_path / "first", lent=b"l" * 10))
    cache.take("old", archives(tmp_path / "second", old=b"o" * 10))
    for path in (tmp_path / "cache").glob("*/*"):
        os.utime(path, (1, 1) if "_lent_" in path.name else (2, 2))
    cache.lend("lent", archives(tmp_path / "third"))  # what is lent is used
    cache.take("new", archives(tmp_path / "fourth", new=b"n" * 10))
    assert sorted(path.name[65:] for path in (tmp_path / "cache").glob("*/*")) == [
        "lent_1_all.deb",
        "new_1_all.deb",
    ]
    assert cache.size() == 20


def test_it_can_be_cleared(tmp_path: Path) -> None:
    cache = PackageCache(tmp_path / "cache")
    assert cache.size() == 0
    cache.take("k", archives(tmp_path / "first", hello=b"hello"))
    assert cache.size() == 5
    cache.clear()
    assert not (tmp_path / "cache").exists()
