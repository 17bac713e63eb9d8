"""Recipes: an order comes back whole from what a generation remembers, or is said to be damaged."""

import base64
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from netbootd.errors import UserError
from netbootd.images import record
from netbootd.images.recipe import (
    LARGEST_HOOK,
    LARGEST_KEYRING,
    Keyring,
    Order,
    Recipe,
    differences,
    hook,
    hooks,
    installed,
    keyring,
    keyrings,
)
from tests.boot.test_policy import GENERATION

KEY = bytes([0x98, 0x33, 4]) + b"a public key's packet"
RECIPE = Recipe(
    Order(
        "raspios-bookworm",
        "arm64",
        {"": "http://near.example/debian"},
        ("mpich", "linux-image-rpi-2712"),
        (hook("render.sh", b"#!/bin/sh\necho '\xc3\xa9' >\"$1/etc/motd\"\n"),),
        (keyring("archive.gpg", KEY),),
    ),
    ("deb http://near.example/debian bookworm main",),
    {"mmdebstrap": "1.3.5"},
    73,
    {"bash": "5.2.15-2+b7"},
)


def test_a_recipe_comes_back_whole() -> None:
    assert Recipe.from_json(json.loads(json.dumps(RECIPE.to_json()))) == RECIPE


@pytest.mark.parametrize("key", [*RECIPE.to_json()])
@pytest.mark.parametrize("value", [None, 7, [7], "x", {"x": 7}])
def test_a_damaged_recipe_is_told_from_a_whole_one(key: str, value: object) -> None:
    damaged: dict[str, Any] = RECIPE.to_json() | {key: value}
    try:
        found = Recipe.from_json(damaged)
    except UserError as error:
        assert "its recipe is damaged" in error.message
    else:
        assert found.to_json() == damaged, "what is taken is what stands there"


def test_a_hook_that_was_changed_in_the_recipe_is_not_run_as_if_it_were_the_one() -> None:
    changed = RECIPE.to_json()
    changed["hooks"][0]["text"] += "rm -rf /\n"
    with pytest.raises(UserError, match=r"render\.sh isn't what its checksum says"):
        Recipe.from_json(changed)


@pytest.mark.parametrize("name", ["../../etc/cron.d/x", "a/b", "", "..", "a b"])
def test_a_name_in_a_recipe_leads_nowhere_else(name: str) -> None:
    for part in ("hooks", "keyrings"):
        changed = RECIPE.to_json()
        changed[part][0]["name"] = name
        with pytest.raises(UserError, match="its recipe is damaged"):
            Recipe.from_json(changed)


def test_an_image_that_was_not_built_has_no_recipe() -> None:
    with pytest.raises(UserError, match="has no recipe"):
        Recipe.from_json({})


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"echo hello\n", "is no script"),
        (b"\x7fELF\2\1\1", "is no script"),
        (b"", "is no script"),
        (b"#!/bin/sh\n\xff\n", "isn't UTF-8"),
        (b"#!/bin/sh\n" + b"#" * (64 << 10), "are the most"),
    ],
)
def test_what_is_no_script_is_no_hook(content: bytes, why: str) -> None:
    with pytest.raises(UserError, match=why):
        hook("h", content)


def test_a_hooks_name_is_safe_and_its_checksum_is_the_files() -> None:
    made = hook("../a b;c.sh", b"#!/bin/sh\n")
    assert made.name == "a-b-c.sh"
    assert made.sha256 == hashlib.sha256(b"#!/bin/sh\n").hexdigest()


def test_there_are_not_too_many_hooks() -> None:
    with pytest.raises(UserError, match="are the most"):
        hooks([hook(f"{n}.sh", b"#!/bin/sh\n") for n in range(9)])


def test_the_largest_recipe_is_read_back(tmp_path: Path) -> None:
    largest_hook = b"#!/bin/sh\n".ljust(LARGEST_HOOK, b"\1")
    order = Order(
        hooks=hooks([hook(f"{n}.sh", largest_hook) for n in range(8)]),
        keyrings=keyrings([keyring(f"{n}.gpg", KEY.ljust(LARGEST_KEYRING, b"\1")) for n in range(8)]),
    )
    made = replace(GENERATION, recipe=Recipe(order).to_json())
    record.write(tmp_path / record.FILE_NAME, made)
    assert Recipe.from_json(record.read(tmp_path / record.FILE_NAME, image="x", number=1).recipe) == Recipe(
        order
    )
    with pytest.raises(UserError, match="9 keyrings; 8 are the most"):
        keyrings([*order.keyrings, order.keyrings[0]])


def test_keys_are_taken_armored_or_not() -> None:
    armored = (
        b"-----BEGIN PGP PUBLIC KEY BLOCK-----\nComment: a key\n\n"
        + base64.b64encode(KEY)
        + b"\n=abcd\n-----END PGP PUBLIC KEY BLOCK-----\n"
    )
    assert keyring("archive.asc", armored) == keyring("archive.gpg", KEY) == Keyring("archive", KEY)


@pytest.mark.parametrize(
    "content", [b"", b"<html>404</html>", b"\xff" * 64, b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n"]
)
def test_what_is_no_keyring_is_refused(content: bytes) -> None:
    with pytest.raises(UserError, match="is no keyring"):
        keyring("page.gpg", content)


STATUS = """\
Package: bash
Essential: yes
Status: install ok installed
Version: 5.2.15-2+b7
Description: GNU Bourne Again SHell
 Status: not this

Package: gone
Status: deinstall ok config-files
Version: 1

Package: adduser
Status: install ok installed
Version: 3.134
"""


def test_installed_packages_are_read_from_dpkgs_status() -> None:
    assert installed(STATUS) == {"adduser": "3.134", "bash": "5.2.15-2+b7"}
    assert installed("") == {}
    assert installed("Package: x\n\n\n\x00") == {}


def test_what_another_build_brought_is_told_package_by_package() -> None:
    before = {"bash": "5.1", "dash": "1", "old": "1"}
    after = {"bash": "5.2", "dash": "1", "new": "2"}
    assert differences(before, after) == ["bash 5.1 -> 5.2", "+ new 2", "- old 1"]
    assert differences(after, after) == []
