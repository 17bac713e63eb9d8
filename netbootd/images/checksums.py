"""Lists of checksums, as md5sum, sha256sum and their like write them, and as BSD does. Pure."""

import hashlib
import re
from collections.abc import Iterator
from typing import NamedTuple, Protocol

_GNU = re.compile(r"\\?([0-9a-fA-F]{32,128}) [ *](.+)")
_BSD = re.compile(r"(MD5|SHA1|SHA256|SHA512) \((.+)\) = ([0-9a-fA-F]{32,128})")
_BY_LENGTH = {32: "md5", 40: "sha1", 64: "sha256", 96: "sha384", 128: "sha512"}
NAMES = {"md5": "MD5", "sha1": "SHA-1", "sha256": "SHA-256", "sha384": "SHA-384", "sha512": "SHA-512"}


class Checksum(NamedTuple):
    """What a file's checksum has to be: `algorithm` as hashlib names it, `digits` small."""

    algorithm: str
    digits: str

    @property
    def words(self) -> str:
        """What kind of checksum it is, to be told."""
        return NAMES[self.algorithm]


def of(digits: str) -> Checksum | None:
    """A checksum from its hexadecimal digits; how many they are says which. None for what is none."""
    algorithm = _BY_LENGTH.get(len(digits)) if re.fullmatch(r"[0-9a-fA-F]+", digits) else None
    return Checksum(algorithm, digits.lower()) if algorithm else None


def listed(text: str) -> Iterator[tuple[str, Checksum]]:
    """Name and checksum of each file in a list."""
    for line in text.splitlines():
        if match := _GNU.fullmatch(line.strip()):
            name, checksum = match[2], of(match[1])
        elif match := _BSD.fullmatch(line.strip()):
            name, checksum = match[2], of(match[3])
        else:
            continue
        if checksum is not None:
            yield name.removeprefix("./"), checksum


def of_file(text: str, name: str) -> Checksum | None:
    """The strongest checksum that a list has of a file called `name`, wherever that lies; None for none."""
    found = [checksum for path, checksum in listed(text) if path.rpartition("/")[2] == name]
    return max(found, key=lambda checksum: len(checksum.digits), default=None)


class Hasher(Protocol):
    """What hashlib makes."""

    def update(self, data: bytes | memoryview, /) -> None:
        """Take more octets."""

    def hexdigest(self) -> str:
        """The checksum of all so far."""


def hasher(algorithm: str) -> Hasher:
    """A hash to feed; MD5 is for what was damaged on its way, not for what somebody changed on purpose."""
    return hashlib.new(algorithm, usedforsecurity=False)
