"""Files that a person names on the command line: read whole and bounded, written whole or not at all."""

import os
import stat
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from netbootd.errors import HostError, UserError
from netbootd.exchange.described import LARGEST, MOST_FILES

STANDARD = "-"
"""What stands for standard input and output."""


def read(name: str) -> str:
    """The text of a file, or of standard input. Raises UserError."""
    if name == STANDARD:
        return _text("standard input", sys.stdin.buffer.read(LARGEST + 1))
    return _Beside(Path()).text(name)


def beside(name: str) -> "_Beside":
    """The files that the one called `name` may name; relative paths begin where it lies."""
    return _Beside(Path() if name == STANDARD else Path(name).parent)


def write(name: str, text: str) -> None:
    """Write a file, or standard output. Raises HostError."""
    if name == STANDARD:
        sys.stdout.write(text)
        return
    path = Path(os.path.realpath(name))  # a link stays one
    try:
        if path.exists() and not path.is_file():
            path.write_text(text, encoding="utf-8", newline="")
            return
        with tempfile.NamedTemporaryFile("wb", dir=path.parent, prefix=".netbootd-", delete=False) as beside:
            try:
                beside.write(text.encode())
                beside.flush()
                os.fsync(beside.fileno())
                os.fchmod(beside.fileno(), _mode(path))
                Path(beside.name).replace(path)
            except BaseException:
                Path(beside.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise HostError(f"can't write {name}: {error.strerror}") from error


def _mode(path: Path) -> int:
    """What an editor would leave: the file's own, or a new one's."""
    if path.exists():
        return stat.S_IMODE(path.stat().st_mode)
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


class _Beside:
    """Files as netbootd.exchange.described.Files has them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def text(self, path: str) -> str:
        """A file's text. Raises UserError."""
        try:
            # Not to wait for a writer, should it be a pipe that an included line names.
            descriptor = os.open(self.directory / path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    os.set_blocking(descriptor, True)
                with os.fdopen(descriptor, "rb", closefd=False) as opened:
                    return _text(path, opened.read(LARGEST + 1))
            finally:
                os.close(descriptor)
        except OSError as error:
            raise UserError(f"can't read {path}: {error.strerror}") from None
        except ValueError:  # a NUL in the path
            raise UserError(f"can't read {path[:80]!r}: no file can have that name") from None

    def names(self, directory: str) -> Sequence[str]:
        """The names of the files in a directory. Raises UserError."""
        try:
            names = sorted(each.name for each in (self.directory / directory).iterdir() if each.is_file())
        except OSError as error:
            raise UserError(f"can't read {directory}: {error.strerror}") from None
        except ValueError:
            raise UserError(f"can't read {directory[:80]!r}: no directory can have that name") from None
        if len(names) > MOST_FILES:
            raise UserError(f"{directory} has more than {MOST_FILES} files")
        return names


def _text(name: str, octets: bytes) -> str:
    """Text in UTF-8, in UTF-16 where a mark says so (a spreadsheet's), else Latin-1. Raises UserError."""
    if len(octets) > LARGEST:
        raise UserError(f"{name} is larger than {LARGEST >> 20} MiB", "is it the right file?")
    if octets.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = octets.decode("utf-16", "replace")
    else:
        try:
            text = octets.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = octets.decode("latin-1")
    if "\0" in text:
        raise UserError(f"{name} isn't a text file", "is it the right file?")
    return text
