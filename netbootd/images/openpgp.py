"""OpenPGP's ASCII armor taken off, as gpgv and apt want keys. Pure."""

import base64
import re

_ARMOR = re.compile(rb"-----BEGIN PGP PUBLIC KEY BLOCK-----\r?\n(.*?)-----END", re.DOTALL)


def binary(keyring: bytes) -> bytes:
    """The keys in `keyring`, armored or not, in binary. Raises ValueError where its armor is damaged."""
    blocks = _ARMOR.findall(keyring)
    return b"".join(_dearmored(block) for block in blocks) if blocks else keyring


def _dearmored(block: bytes) -> bytes:
    """RFC 9580, section 6.2: headers, an empty line, base64, a checksum that begins with =."""
    lines = [line.strip() for line in block.splitlines()]
    begin = lines.index(b"") + 1 if b"" in lines else 0
    return base64.b64decode(
        b"".join(line for line in lines[begin:] if not line.startswith(b"=")), validate=True
    )
