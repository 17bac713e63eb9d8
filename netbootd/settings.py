"""What a node or a profile says of how nodes boot, and how one set of settings lies over another. Pure."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Self

from netbootd.errors import UserError
from netbootd.node import RootMode


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a node or a profile says itself; None leaves it to the profile above, then to the default."""

    image: str | None = None
    root: RootMode | None = None
    kernel_args: str | None = None
    loader: str | None = None
    eeprom_update: bool | None = None
    dhcp_options: Mapping[int, bytes] = field(default_factory=dict, hash=False)
    """By option number, encoded; each option is inherited by itself. No octets: it isn't sent at all."""

    def over(self, other: "Settings") -> "Settings":
        """These settings, with what they leave open taken from `other`."""
        merged = {name: mine if (mine := getattr(self, name)) is not None else getattr(other, name)
                  for name in COLUMNS}  # fmt: skip
        return Settings(**merged | {"dhcp_options": {**other.dhcp_options, **self.dhcp_options}})

    @classmethod
    def of_row(cls, row: Sequence[Any]) -> Self:
        """From the values of COLUMNS, as the registry keeps them."""
        image, root, kernel_args, loader, eeprom_update, dhcp_options = row
        return cls(
            image=image,
            root=RootMode(root) if root else None,
            kernel_args=kernel_args,
            loader=loader,
            eeprom_update=bool(eeprom_update) if eeprom_update is not None else None,
            dhcp_options={int(code): bytes.fromhex(raw) for code, raw in json.loads(dhcp_options).items()}
            if dhcp_options
            else {},
        )

    @property
    def row(self) -> tuple[Any, ...]:
        """The values of COLUMNS, as the registry keeps them."""
        return tuple(stored(name, getattr(self, name)) for name in COLUMNS)


NOTHING_SET = Settings()
COLUMNS = tuple(each.name for each in fields(Settings))
"""The names of the settings, which are also the registry's columns."""
DEEPEST_PROFILE = 16
"""The most profiles that may stand one above the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Settings that nodes share; what it leaves open comes from `parent`."""

    name: str
    parent: str | None = None
    settings: Settings = NOTHING_SET


def inherited(profile: str, profiles: Mapping[str, Profile]) -> Settings:
    """What a profile gives: its own settings over those of the profiles that it inherits from."""
    settings, name = NOTHING_SET, profile
    for _ in range(DEEPEST_PROFILE):
        settings = settings.over(profiles[name].settings)
        parent = profiles[name].parent
        if parent is None:
            break
        name = parent
    return settings


def stored(name: str, value: Any) -> Any:
    """A setting's value as SQLite takes it."""
    if name == "dhcp_options":
        return json.dumps({str(code): raw.hex() for code, raw in sorted(value.items())}) if value else None
    return value


def changed_options(options: Mapping[int, bytes], changes: Mapping[int, bytes | None]) -> dict[int, bytes]:
    """`options` with `changes` laid over them; None takes one away."""
    merged = {**options, **changes}
    return {code: value for code, value in merged.items() if value is not None}


def profile_name(text: str) -> str:
    """`text` if it can name a profile; else UserError."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,62}", text):
        raise UserError(
            f"{text[:80]!r} can't name a profile",
            "use 1 to 63 lower-case letters, digits, dots, hyphens and underscores, a letter or digit first",
        )
    return text


_CHANGED = {
    "\\": "GRUB would double it, and U-Boot leave it out",
    "'": "GRUB would put a backslash before it, and U-Boot leave it out",
    "$(": "U-Boot would take it for a variable of its own",
}
"""What doesn't come to the kernel as it is written (GRUB: lib/cmdline.c; U-Boot: cli_simple.c, its hush)."""


def kernel_arguments(text: str | None) -> str | None:
    """One line of printable ASCII: what a boot script can carry to the kernel unchanged. Raises UserError."""
    if text is None:
        return None
    if not text.isascii() or not text.isprintable() or len(text) > 1000:
        raise UserError("kernel arguments are one line of at most 1000 printable ASCII characters")
    for mark, why in _CHANGED.items():
        if mark in text:
            raise UserError(f"kernel arguments can't have {mark}: {why}")
    if text.count('"') % 2:
        raise UserError('kernel arguments have a " that is never closed', 'write both, as in a="b c"')
    words = text.split()
    # iPXE takes these for the end of its command (core/exec.c), a comment, and a setting of its own.
    for word in words:
        if word in ("||", "&&", ";") or word.startswith("#") or "${" in word:
            raise UserError(f"kernel arguments can't have {word[:80]!r}: iPXE would take it for its own")
    return " ".join(words)
