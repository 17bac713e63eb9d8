"""Signatures: who signed what is imported, by real keys of gpg's."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from netbootd.errors import UserError
from netbootd.images.signature import verify
from tests.ctl.conftest import CONFIG, Head
from tests.images.roots import put

pytestmark = pytest.mark.needs("gpg", "gpgv")


@dataclass(frozen=True)
class Signer:
    """Somebody with a key."""

    home: Path
    name: str

    def gpg(self, *words: str | Path) -> bytes:
        command = ["gpg", "--homedir", self.home, "--batch", "--yes", *words]
        return subprocess.run(command, check=True, capture_output=True).stdout

    def keyring(self, path: Path, *, armored: bool = False) -> Path:
        path.write_bytes(self.gpg(*(["--armor"] if armored else []), "--export"))
        return path

    def sign(self, file: Path, suffix: str = ".sig") -> Path:
        signature = file.with_name(file.name + suffix)
        armor = ["--armor"] if suffix == ".asc" else []
        self.gpg(*armor, "--detach-sign", "--output", signature, file)
        return signature


@contextmanager
def signer(name: str) -> Iterator[Signer]:
    """A key of its own; gpg's agent ends with it. Its socket's path may not be long."""
    with tempfile.TemporaryDirectory() as home:
        made = Signer(Path(home), name)
        words = ["--quick-generate-key", f"{name} <{name}@example.org>", "ed25519", "sign", "0"]
        made.gpg("--passphrase", "", *words)
        yield made
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=True)


@pytest.fixture(scope="module")
def alice() -> Iterator[Signer]:
    with signer("alice") as made:
        yield made


@pytest.fixture(scope="module")
def mallory() -> Iterator[Signer]:
    with signer("mallory") as made:
        yield made


@pytest.mark.parametrize("suffix", [".sig", ".asc"])
@pytest.mark.parametrize("armored", [False, True])
def test_who_signed_it_is_told(alice: Signer, tmp_path: Path, suffix: str, armored: bool) -> None:
    signed = tmp_path / "golden.img"
    signed.write_bytes(b"image")
    words = verify(signed, alice.sign(signed, suffix), alice.keyring(tmp_path / "keys", armored=armored))
    assert words.startswith("golden.img is signed by alice <alice@example.org>, key ")


def test_what_nobody_trusted_signed_is_refused(alice: Signer, mallory: Signer, tmp_path: Path) -> None:
    signed = tmp_path / "golden.img"
    signed.write_bytes(b"image")
    keys = alice.keyring(tmp_path / "keys")
    signature = mallory.sign(signed)
    with pytest.raises(
        UserError, match=r"the keyring hasn't the key that signed it; it was made with key [0-9A-F]"
    ):
        verify(signed, signature, keys)
    signature = alice.sign(signed)
    signed.write_bytes(b"imagE")
    with pytest.raises(UserError, match="the signature is of another content"):
        verify(signed, signature, keys)
    signature.write_text("<html>404</html>")
    with pytest.raises(UserError, match="that is no signature"):
        verify(signed, signature, keys)
    (tmp_path / "empty").touch()
    with pytest.raises(UserError, match="isn't signed as it should be"):
        verify(signed, alice.sign(signed), tmp_path / "empty")
    with pytest.raises(UserError, match="there is no file"):
        verify(signed, tmp_path / "nothing", keys)


def test_a_keyring_that_is_damaged_is_named(alice: Signer, tmp_path: Path) -> None:
    signed = tmp_path / "golden.img"
    signed.write_bytes(b"image")
    keys = tmp_path / "keys.asc"
    keys.write_text(
        "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nnot base64!\n-----END PGP PUBLIC KEY BLOCK-----\n"
    )
    with pytest.raises(UserError, match="its keys can't be decoded"):
        verify(signed, alice.sign(signed), keys)


def test_an_import_asks_for_the_signature_first(
    alice: Signer,
    mallory: Signer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of the list, where there is one: so publish those who publish many images."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # main() sets its own
    put(tmp_path, "netbootd.toml", CONFIG.format(directory=tmp_path))
    head = Head(tmp_path, capsys)
    image, listed = tmp_path / "golden.img", tmp_path / "SHA256SUMS"
    image.write_bytes(b"image")
    listed.write_text("0" * 64 + "  golden.img\n")
    keys = str(alice.keyring(tmp_path / "keys"))
    words = ["image", "import", "golden", str(image), "--checksums", str(listed)]
    done = head(*words, "--signature", str(mallory.sign(listed)), "--keyring", keys)
    assert done.status == 2 and f"{listed} isn't signed as it should be" in done.err
    done = head(*words, "--signature", str(alice.sign(listed)))
    assert done.status == 2 and "give both" in done.err
    assert head.well("image", "list", "--json").json == []
