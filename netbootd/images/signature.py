"""Detached OpenPGP signatures, by gpgv: of the image itself, or of the list that has its checksum."""

import re
import subprocess
import tempfile
from pathlib import Path

from netbootd.errors import HostError, UserError
from netbootd.images import openpgp

_LARGEST_KEYRING = 64 << 20


def verify(signed: Path, signature: Path, keyring: Path) -> str:
    """Who signed the file `signed`, in words, as one of the keys in `keyring` (armored or not) says.

    Raises UserError where nobody of them did, HostError where gpgv is missing.
    """
    for path in (signed, signature, keyring):
        if not path.is_file():
            raise UserError(f"there is no file {path}", "give the paths of the signature and of the keyring")
    with tempfile.TemporaryDirectory() as home:
        keys = Path(home, "keyring.gpg")
        keys.write_bytes(_binary(keyring))
        command = ["gpgv", "--homedir", home, "--status-fd", "1", "--keyring", str(keys), "--"]
        try:
            result = subprocess.run(
                [*command, str(signature), str(signed)],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
            )
        except FileNotFoundError as error:
            raise HostError("gpgv is missing", "apt install gpgv") from error
    good = re.search(r"^\[GNUPG:\] GOODSIG [0-9A-F]+ (.+)$", result.stdout, re.MULTILINE)
    valid = re.search(r"^\[GNUPG:\] VALIDSIG ([0-9A-F]+)", result.stdout, re.MULTILINE)
    if result.returncode or not good or not valid:
        raise UserError(f"{signed} isn't signed as it should be: {_why(result.stdout)}", _hint(result.stdout))
    name = "".join(c if c.isprintable() else "?" for c in good[1])[:100]
    return f"{signed.name} is signed by {name}, key {valid[1]}"


def _binary(keyring: Path) -> bytes:
    """The keys as gpgv wants them. Raises UserError."""
    if keyring.stat().st_size > _LARGEST_KEYRING:
        raise UserError(f"{keyring} is too large for a keyring")
    try:
        return openpgp.binary(keyring.read_bytes())
    except ValueError as error:
        raise UserError(f"{keyring} is damaged: its keys can't be decoded", "download it again") from error


def _why(status: str) -> str:
    words = {
        "BADSIG": "the signature is of another content",
        "EXPKEYSIG": "its key has expired",
        "REVKEYSIG": "its key was revoked",
        "EXPSIG": "the signature has expired",
        "NO_PUBKEY": "the keyring hasn't the key that signed it",
        "NODATA": "that is no signature",
    }
    return next((text for word, text in words.items() if f"[GNUPG:] {word}" in status), "gpgv rejects it")


def _hint(status: str) -> str:
    if missing := re.search(r"NO_PUBKEY ([0-9A-F]+)", status):
        return f"it was made with key {missing[1]}: is that who should have signed it?"
    return "download both again, from where they were published"
