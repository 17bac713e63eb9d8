"""Where images live: images/NAME/GENERATION/, and which generation of each is current.

    images/debian/1/{root/, boot/vmlinuz, boot/initrd, generation.json}
    images/debian/current -> 1          switched by rename
    images/.incoming-XXXXXXXX/          a generation being made; gone when its maker is
    images/.outgoing-XXXXXXXX/          a generation being removed

A generation is made under a name that nobody reads, brought to the disk, renamed into its place, and only
then made current, also by rename: whoever looks sees the old or the new one, whole. Numbers are never used
twice, so that a path served once never means anything else.

Who makes or removes something holds a lock (flock) on that directory, and so do the processes it starts,
because they inherit it. A directory whose lock can be had has lost its maker and is cleaned away.
"""

import fcntl
import os
import secrets
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from netbootd.errors import HostError, UserError
from netbootd.image import Generation, image_name
from netbootd.images import record
from netbootd.images.durable import locked, sync, sync_file_system, try_lock, write
from netbootd.images.trees import explained, measure_all, remove_tree

_INCOMING = ".incoming-"
_OUTGOING = ".outgoing-"
_LAST = ".last"


@dataclass(frozen=True, slots=True)
class Staging:
    """A generation being made. `lock` is to be inherited by whatever process works in it."""

    name: str
    directory: Path
    lock: int

    @property
    def root(self) -> Path:
        """The root file system to be filled."""
        return self.directory / "root"

    @property
    def boot(self) -> Path:
        """What will be served: vmlinuz, initrd …"""
        return self.directory / "boot"


class ImageStore:
    """The images under `images_dir`. Reading asks the disk for a few octets and remembers the rest."""

    def __init__(self, images_dir: Path) -> None:
        self.directory = images_dir
        self._memo: dict[str, tuple[tuple[int, int], Generation]] = {}

    # Reading

    def names(self) -> list[str]:
        """The images that have at least one generation, sorted."""
        return [name for name in self._entries() if self.numbers(name)]

    def numbers(self, name: str) -> list[int]:
        """The numbers of the generations of `name`, ascending; empty for an image that doesn't exist."""
        try:
            with os.scandir(self.directory / image_name(name)) as entries:
                numbers = [
                    int(e.name) for e in entries if _is_number(e.name) and e.is_dir(follow_symlinks=False)
                ]
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(numbers)

    def generations(self, name: str) -> tuple[Generation, ...]:
        """All generations of `name`, oldest first.

        Raises HostError for one that can't be read; `numbers` and `generation` get at the others.
        """
        found = (self.generation(name, number) for number in self.numbers(name))
        return tuple(generation for generation in found if generation)

    def generation(self, name: str, number: int) -> Generation | None:
        """That generation, or None. Raises HostError where its generation.json is damaged."""
        path = f"{self._home(name)}/{number}/{record.FILE_NAME}"
        try:
            status = os.stat(path)  # noqa: PTH116 - see _home
        except (FileNotFoundError, NotADirectoryError):
            self._memo.pop(path, None)
            if Path(path).parent.is_dir():
                raise HostError(f"{path} is missing", f"netbootctl image remove {name}@{number}") from None
            return None
        key = (status.st_ino, status.st_mtime_ns)
        remembered = self._memo.get(path)
        if remembered and remembered[0] == key:
            return remembered[1]
        generation = record.read(Path(path), image=name, number=number)
        self._memo[path] = (key, generation)
        return generation

    def current_number(self, name: str) -> int | None:
        """Which generation new boots of `name` get; None where there is none."""
        try:
            target = os.readlink(f"{self._home(name)}/current")  # noqa: PTH115 - see _home
        except OSError:
            return None
        return int(target) if _is_number(target) else None

    def current(self, name: str) -> Generation | None:
        """The generation that new boots of `name` get; None where there is none. Raises HostError."""
        number = self.current_number(name)
        return None if number is None else self.generation(name, number)

    # Changing: root only

    @contextmanager
    def staging(self, name: str) -> Iterator[Staging]:
        """A place in which to make the next generation of `name`; taken away again unless published.

        Raises UserError for a bad name, HostError where the disk or the permission is missing.
        """
        image_name(name)
        self.clean()
        with explained(self.directory):
            with self._locked():
                directory = self._private(_INCOMING)
                lock = locked(directory)
            try:
                for part in ("root", "boot"):
                    (directory / part).mkdir()
                    (directory / part).chmod(0o755)
                yield Staging(name, directory, lock)
            finally:
                remove_tree(directory)
                os.close(lock)

    def publish(self, staging: Staging, made: Generation) -> Generation:
        """Give what stands in `staging` the next number and make it current. `made` says what it is.

        When this returns, all of it is on the disk. Raises HostError.
        """
        home = self.directory / staging.name
        with explained(self.directory):
            staging.directory.chmod(0o755)
            sync_file_system(staging.directory)
            with self._locked():
                home.mkdir(exist_ok=True)
                home.chmod(0o755)
                sync(self.directory)
                number = self._next_number(staging.name)
                generation = replace(made, image=staging.name, number=number, directory=home / str(number))
                record.write(staging.directory / record.FILE_NAME, generation)
                sync(staging.directory)
                staging.directory.rename(generation.directory)
                sync(home)
                self._point(home, number)
        return generation

    def use(self, name: str, number: int) -> Generation:
        """Make generation `number` of `name` the current one. Raises UserError where it doesn't exist."""
        with explained(self.directory), self._locked():
            generation = self._existing(name, number)
            self._point(self.directory / name, number)
        return generation

    def rollback(self, name: str) -> Generation:
        """Make the newest generation older than the current one current. Raises UserError if none is."""
        with explained(self.directory), self._locked():
            numbers = self._numbers_of_existing(name)
            current = self.current_number(name)
            older = [number for number in numbers if current is None or number < current]
            if not older:
                others = [number for number in numbers if number != current]
                raise UserError(
                    f"{name} has no generation older than {current}",
                    f"it has {_listed(others)} besides: netbootctl image use {name}@NUMBER"
                    if others
                    else "it is the only one; `netbootctl image build`, `import` and `shell` make another",
                )
            generation = self._existing(name, older[-1])
            self._point(self.directory / name, generation.number)
        return generation

    def remove(self, name: str, number: int | None, in_use: Mapping[int, Collection[str]]) -> None:
        """Remove generation `number` of `name`, or all of the image where it is None.

        `in_use` has the nodes that use each generation, by its number. Raises UserError where that, or
        being current, forbids it.
        """
        with explained(self.directory):
            with self._locked():
                numbers = self._numbers_of_existing(name, number)
                if number is not None:
                    self._refuse_current(name, number)
                # A number used again would be another thing under a path that an NFS server knows.
                last = str(self._next_number(name) - 1)
                _refuse_used(name, numbers if number is None else [number], in_use)
                outgoing = self._private(_OUTGOING)
                lock = locked(outgoing)
                doomed = self.directory / name
                doomed = doomed if number is None else doomed / str(number)
                write(self.directory / name / _LAST, last)
                doomed.rename(outgoing / doomed.name)
                if number is None:
                    doomed.mkdir(mode=0o755)
                    write(doomed / _LAST, last)
                sync(doomed.parent)
            try:
                remove_tree(outgoing)
            finally:
                os.close(lock)
            self._measure_anew(name)

    def note(self, name: str, number: int, text: str) -> Generation:
        """Let a generation's note be `text`; all else that is recorded of it stays. Raises UserError."""
        record.check_note(text)
        with explained(self.directory), self._locked():
            self._existing(name, number)
            directory = self.directory / name / str(number)
            record.amend(directory / record.FILE_NAME, note=text)
            sync(directory)
            return self._existing(name, number)

    def clean(self) -> list[Path]:
        """Take away what makers that died left behind; returns what it was. Safe at any time."""
        removed: list[Path] = []
        if not self.directory.is_dir():
            return removed
        with explained(self.directory):
            with self._locked():
                abandoned = [
                    (path, lock) for path in self._leftovers() if (lock := try_lock(path)) is not None
                ]
            for path, lock in abandoned:
                try:
                    remove_tree(path)
                finally:
                    os.close(lock)
                removed.append(path)
        return removed

    # Details

    def _measure_anew(self, name: str) -> None:
        """What the generations shared with one that is gone is the next one's own by now."""
        numbers = self.numbers(name)
        sizes = measure_all([self.directory / name / str(number) / "root" for number in numbers])
        with self._locked():
            for number, size in zip(numbers, sizes, strict=True):
                path = self.directory / name / str(number) / record.FILE_NAME
                shared = size.whole - size.own
                with suppress(HostError, FileNotFoundError):  # damaged, or removed meanwhile
                    if record.read(path, image=name, number=number).shared > shared:
                        record.amend(path, shared=shared)

    def _home(self, name: str) -> str:
        """The image's directory, as text: a Path costs more than the system call, at each request."""
        return f"{self.directory}/{image_name(name)}"

    def _entries(self) -> list[str]:
        try:
            with os.scandir(self.directory) as entries:
                names = [
                    e.name for e in entries if not e.name.startswith(".") and e.is_dir(follow_symlinks=False)
                ]
        except FileNotFoundError:
            return []
        return sorted(name for name in names if _is_image_name(name))

    def _leftovers(self) -> list[Path]:
        return [p for p in self.directory.iterdir() if p.name.startswith((_INCOMING, _OUTGOING))]

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One change at a time, among all processes."""
        if not self.directory.is_dir():
            self.directory.mkdir(parents=True, exist_ok=True)
            self.directory.chmod(0o755)
        lock = os.open(self.directory / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _private(self, prefix: str) -> Path:
        directory = self.directory / f"{prefix}{secrets.token_hex(4)}"
        directory.mkdir(mode=0o700)
        return directory

    def _next_number(self, name: str) -> int:
        try:
            last = int((self.directory / name / _LAST).read_text(encoding="ascii"))
        except (FileNotFoundError, ValueError):
            last = 0
        return max([last, *self.numbers(name)]) + 1

    def _numbers_of_existing(self, name: str, number: int | None = None) -> list[int]:
        """The numbers that `name` has. Raises UserError where it has none, or not that `number`."""
        numbers = self.numbers(name)
        if not numbers:
            raise UserError(f"there is no image {name}", f"there {_are(self.names())}")
        if number is not None and number not in numbers:
            raise UserError(f"{name} has no generation {number}", f"it has {_listed(numbers)}")
        return numbers

    def _existing(self, name: str, number: int) -> Generation:
        self._numbers_of_existing(name, number)
        generation = self.generation(name, number)
        assert generation is not None, "its directory was just seen, under the lock"  # noqa: S101
        return generation

    def _point(self, home: Path, number: int) -> None:
        """Switch `current` in one step, and bring that to the disk."""
        link = home / ".current"
        link.unlink(missing_ok=True)
        link.symlink_to(str(number))
        link.rename(home / "current")
        sync(home)

    def _refuse_current(self, name: str, number: int) -> None:
        if number == self.current_number(name):
            raise UserError(
                f"{name}@{number} is the current generation",
                f"make another current first (netbootctl image use {name}@NUMBER), or remove all of {name}",
            )


def _refuse_used(name: str, numbers: list[int], in_use: Mapping[int, Collection[str]]) -> None:
    for number in numbers:
        if nodes := sorted(in_use.get(number, ())):
            shown = ", ".join(nodes[:5]) + (f" and {len(nodes) - 5} more" if len(nodes) > 5 else "")
            reset = "; `netbootctl node reset NAME` for a persistent root" if "persistent" in shown else ""
            raise UserError(
                f"{name}@{number} is used by {shown}", f"give them another image, and boot them, first{reset}"
            )


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and not text.startswith("0") and len(text) < 10


def _is_image_name(text: str) -> bool:
    try:
        image_name(text)
    except UserError:
        return False
    return True


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))


def _are(names: list[str]) -> str:
    return "are " + ", ".join(names) if names else "are none yet: netbootctl image build NAME"
