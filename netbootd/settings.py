"""What a node or a profile says of how nodes boot, and how one set of settings lies over another. Pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Self

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


def stored(name: str, value: Any) -> Any:
    """A setting's value as SQLite takes it."""
    if name == "dhcp_options":
        return json.dumps({str(code): raw.hex() for code, raw in sorted(value.items())}) if value else None
    return value


def changed_options(options: Mapping[int, bytes], changes: Mapping[int, bytes | None]) -> dict[int, bytes]:
    """`options` with `changes` laid over them; None takes one away."""
    merged = {**options, **changes}
    return {code: value for code, value in merged.items() if value is not None}
