"""How an image was built, so that it can be built again: kept in its generation, as JSON.

Pure: what was read from files is in it whole, because the files may be gone by the next time.
"""

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from netbootd.errors import UserError
from netbootd.images import openpgp

CHANGED_BY_HAND = "changed_by_hand"
"""The key in a recipe that says, in words, that the image isn't what the recipe alone would make of it."""
LARGEST_HOOK = 64 << 10
LARGEST_KEYRING = 256 << 10
_MOST_HOOKS = _MOST_KEYRINGS = 8
"""So that what says of a generation how it was built is never larger than what is read (record.py)."""
_SAFE = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class Hook:
    """A script that is run when the packages are installed, with the image's root directory as its $1."""

    name: str
    """Its file's name."""
    text: str

    @property
    def sha256(self) -> str:
        """Of the file, as sha256sum prints it."""
        return hashlib.sha256(self.text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Keyring:
    """OpenPGP keys by which an archive may be signed, in binary as apt and gpgv take them."""

    name: str
    content: bytes

    @property
    def sha256(self) -> str:
        """Of the content."""
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be built."""

    suite: str = "bookworm"
    """bookworm, noble, raspios-bookworm."""
    architecture: str = ""
    """uname's or Debian's word; empty for this machine's own."""
    mirrors: Mapping[str, str] = field(default_factory=dict)
    """Archive -> URL, where another than the usual one is meant; the main archive's name may be empty."""
    packages: tuple[str, ...] = ()
    """Beside those that every image has."""
    hooks: tuple[Hook, ...] = ()
    keyrings: tuple[Keyring, ...] = ()


@dataclass(frozen=True, slots=True)
class Recipe:
    """What was ordered, and what came of it."""

    order: Order
    """Its architecture is Debian's word, its mirrors have no names and passwords."""
    sources: tuple[str, ...] = ()
    """Where its packages came from: lines of sources.list."""
    tools: Mapping[str, str] = field(default_factory=dict)
    """What built it -> its version: netbootd, mmdebstrap, apt."""
    seconds: int = 0
    """How long that took."""
    installed: Mapping[str, str] = field(default_factory=dict)
    """Every package that is in it -> its version."""

    def to_json(self) -> dict[str, Any]:
        """For Generation.recipe."""
        order = self.order
        return {
            "suite": order.suite,
            "architecture": order.architecture,
            "mirrors": dict(order.mirrors),
            "packages": list(order.packages),
            "hooks": [{"name": h.name, "sha256": h.sha256, "text": h.text} for h in order.hooks],
            "keyrings": [
                {"name": k.name, "sha256": k.sha256, "base64": base64.b64encode(k.content).decode()}
                for k in order.keyrings
            ],
            "sources": list(self.sources),
            "tools": dict(self.tools),
            "seconds": self.seconds,
            "installed": dict(self.installed),
        }

    @classmethod
    def from_json(cls, recipe: Mapping[str, Any]) -> "Recipe":
        """The recipe of a generation. Raises UserError where it has none, or one that isn't whole."""
        if not recipe:
            raise UserError("it wasn't built here and has no recipe", "`netbootctl image build` makes one")
        try:
            order = Order(
                suite=_text(recipe["suite"]),
                architecture=_text(recipe["architecture"]),
                mirrors=_texts(recipe["mirrors"]),
                packages=tuple(_text(p) for p in _list(recipe["packages"])),
                hooks=tuple(Hook(_name(h["name"]), _text(h["text"])) for h in _list(recipe["hooks"])),
                keyrings=tuple(
                    Keyring(_name(k["name"]), base64.b64decode(k["base64"], validate=True))
                    for k in _list(recipe["keyrings"])
                ),
            )
            sums = [kept["sha256"] for kept in (*recipe["hooks"], *recipe["keyrings"])]
            made = cls(
                order,
                sources=tuple(_text(s) for s in _list(recipe["sources"])),
                tools=_texts(recipe["tools"]),
                seconds=int(recipe["seconds"]),
                installed=_texts(recipe["installed"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _damaged(f"{error!r}") from error
        files: tuple[Hook | Keyring, ...] = (*order.hooks, *order.keyrings)
        for kept, digest in zip(files, sums, strict=True):
            if kept.sha256 != digest:
                raise _damaged(f"{kept.name} isn't what its checksum says")
        return made


def hook(name: str, content: bytes) -> Hook:
    """The hook in a file called `name` that holds `content`. Raises UserError for what can't be one."""
    if len(content) > LARGEST_HOOK:
        raise UserError(
            f"the hook {name} has {len(content)} octets; {LARGEST_HOOK} are the most",
            "a hook is kept in the image's recipe: let it fetch what is large",
        )
    if not content.startswith(b"#!"):
        raise UserError(f"the hook {name} is no script", "its first line names who runs it, as in #!/bin/sh")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise UserError(f"the hook {name} is no script: it isn't UTF-8 text") from error
    return Hook(_SAFE.sub("-", name).strip("-.") or "hook", text)


def hooks(found: list[Hook]) -> tuple[Hook, ...]:
    """`found`, unless they are too many. Raises UserError."""
    if len(found) > _MOST_HOOKS:
        raise UserError(f"{len(found)} hooks; {_MOST_HOOKS} are the most", "let one do the work of several")
    return tuple(found)


def keyrings(found: list[Keyring]) -> tuple[Keyring, ...]:
    """`found`, unless they are too many. Raises UserError."""
    if len(found) > _MOST_KEYRINGS:
        raise UserError(
            f"{len(found)} keyrings; {_MOST_KEYRINGS} are the most", "one file may hold the keys of several"
        )
    return tuple(found)


def keyring(name: str, content: bytes) -> Keyring:
    """The keys in a file called `name` that holds `content`, armored or not. Raises UserError."""
    if len(content) > LARGEST_KEYRING:
        raise UserError(f"{name} is too large for a keyring: {LARGEST_KEYRING} octets are the most")
    try:
        binary = openpgp.binary(content)
    except ValueError as error:
        raise UserError(f"{name} is damaged: its keys can't be decoded", "download it again") from error
    # RFC 9580, section 4.2: every packet's first bit is set; a keyring begins with a public key (6).
    tag = binary[:1] and (binary[0] & 0x3F if binary[0] & 0x40 else binary[0] >> 2 & 0xF)
    if not binary or not binary[0] & 0x80 or tag != 6:
        raise UserError(
            f"{name} is no keyring", "give OpenPGP public keys, as in /usr/share/keyrings/*.gpg or *.asc"
        )
    stem = re.sub(r"\.(gpg|pgp|asc|key)$", "", name)
    return Keyring(_SAFE.sub("-", stem).strip("-.") or "keyring", binary)


def installed(status: str) -> dict[str, str]:
    """The packages that dpkg's `status` file (/var/lib/dpkg/status) says are installed -> their versions."""
    packages = {}
    for stanza in status.split("\n\n"):
        fields = dict(re.findall(r"^(Package|Status|Version): (.+)$", stanza, re.MULTILINE))
        if fields.get("Status", "").endswith(" installed") and {"Package", "Version"} <= fields.keys():
            packages[fields["Package"]] = fields["Version"]
    return dict(sorted(packages.items()))


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """What another build brought, one line for each package: `+ hello 2.10-3`, `- …`, `bash 5.2 -> 5.3`."""
    lines = []
    for package in sorted(before.keys() | after.keys()):
        old, new = before.get(package), after.get(package)
        if old is None:
            lines.append(f"+ {package} {new}")
        elif new is None:
            lines.append(f"- {package} {old}")
        elif old != new:
            lines.append(f"{package} {old} -> {new}")
    return lines


def _texts(value: Mapping[object, object]) -> dict[str, str]:
    return {_text(key): _text(text) for key, text in value.items()}


def _name(value: object) -> str:
    name = _text(value)
    if _SAFE.search(name) or name.strip("-.") != name or not name:
        raise ValueError(f"{name[:40]!r} names no file")
    return name


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"{str(value)[:40]!r} should be a list")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{str(value)[:40]!r} should be text")
    return value


def _damaged(why: str) -> UserError:
    return UserError(f"its recipe is damaged: {why}", "build it with `netbootctl image build`")
