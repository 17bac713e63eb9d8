"""config.txt of a Raspberry Pi, as its firmware reads it. Pure.

raspberrypi/documentation, config_txt/conditional.adoc, boot.adoc. A section's filter holds until the next;
[all] ends it. Only settings that decide which files are fetched are looked at by others.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

MODELS: Mapping[str, frozenset[str]] = {
    "pi3": frozenset({"pi3", "board-type=0x08"}),
    "pi3b+": frozenset({"pi3", "pi3+"}),
    "pi4": frozenset({"pi4"}),
    "pi5": frozenset({"pi5"}),
}
_MOST_LINE = 98
"""Characters of a line that old firmware reads; the rest is ignored (config_txt.adoc)."""


@dataclass(slots=True)
class Config:
    """Settings that hold for this board, the last one of a name; overlays in order."""

    settings: dict[str, str] = field(default_factory=dict)
    overlays: list[str] = field(default_factory=list)
    initramfs: str = ""
    long_lines: int = 0

    def get(self, name: str, otherwise: str = "") -> str:
        """A setting."""
        return self.settings.get(name, otherwise)

    def on(self, name: str) -> bool:
        """Whether it is 1."""
        return self.settings.get(name, "0") == "1"


def parse(text: str, model: str, serial: int) -> Config:
    """Read config.txt for a board of this model with this serial."""
    config = Config()
    holds = True
    for raw in text.splitlines():
        line = raw.split("#", 1)[0].strip()
        config.long_lines += len(line) > _MOST_LINE
        if line.startswith("[") and line.endswith("]"):
            holds = _filter(line[1:-1].strip().lower(), model, serial, holds)
            continue
        if not line or not holds:
            continue
        if line.startswith("initramfs "):
            config.initramfs = line.split()[1]
            continue
        name, given, value = line.partition("=")
        if not given:
            continue
        name, value = name.strip(), value.strip()
        if name == "dtoverlay":
            overlay = value.split(",", 1)[0].split(":", 1)[0]
            config.overlays += [overlay] if overlay else []
        config.settings[name] = value
    return config


def _filter(name: str, model: str, serial: int, before: bool) -> bool:
    if name == "all":
        return True
    if name == "none":
        return False
    if name.startswith("0x"):
        return name == f"0x{serial:x}" or name == f"0x{serial & 0xFFFFFFFF:08x}"
    if name.startswith(("pi", "cm")):
        return name in MODELS.get(model, frozenset())
    return before
