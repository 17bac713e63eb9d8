"""The kernel modules of an image, and what each needs: read from the modules themselves, nothing run.

Every module carries what depmod and modinfo would say in its `.modinfo` section, so an image whose depmod was
never run serves as well as any other, and a stale modules.dep does no harm. Only `modules.alias` is
consulted, for soft dependencies that are named by an alias (`crypto-crc32c`).
"""

import gzip
import lzma
import re
import subprocess
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from netbootd.errors import HostError, UserError
from netbootd.images.elf import ElfError, read_machine, read_modinfo
from netbootd.images.rooted import resolve

_SUFFIXES = (".ko", ".ko.xz", ".ko.gz", ".ko.zst")
_PLACES = ("updates", "extra", "")
"""Where depmod looks first: what an administrator added stands before what the kernel came with."""
_LARGEST = 64 * 1024 * 1024
"""Octets of a module; what unpacks to more is no module."""
_LARGEST_LIST = 32 * 1024 * 1024
_NAME = re.compile(r"[A-Za-z0-9_]{1,64}")


@dataclass(frozen=True, slots=True)
class Module:
    """One module, decompressed. Names have underscores, whatever the file's name has."""

    name: str
    content: bytes
    depends: tuple[str, ...]
    before: tuple[str, ...]
    """Soft dependencies (softdep … pre:), modules or aliases."""
    after: tuple[str, ...]
    aliases: tuple[str, ...]
    firmware: tuple[str, ...]


@dataclass(slots=True)
class ModuleTree:
    """`/lib/modules/RELEASE` of an image. Use `ModuleTree.of`."""

    directory: Path | None
    _files: dict[str, Path]
    builtin: frozenset[str]
    _read: dict[str, Module] = field(default_factory=dict)

    @classmethod
    def of(cls, root: Path, release: str) -> "ModuleTree":
        """Look what is there; without that directory the tree is empty (a kernel with all built in)."""
        directory = resolve(root, f"/lib/modules/{release}") or resolve(root, f"/usr/lib/modules/{release}")
        if directory is None:
            return cls(None, {}, frozenset())
        files: dict[str, Path] = {}
        for place in reversed(_PLACES):
            files |= dict(_module_files(directory / place))
        return cls(
            directory,
            files,
            frozenset(_normal(Path(line).stem) for line in _lines(directory, "modules.builtin")),
        )

    @property
    def machine(self) -> int | None:
        """e_machine of the modules; None where there are none."""
        return read_machine(self.get(min(self._files)).content) if self._files else None

    def __contains__(self, name: str) -> bool:
        return _normal(name) in self._files

    def get(self, name: str) -> Module:
        """One module, read. Raises UserError naming the file when it can't be (HostError: no zstd here)."""
        name = _normal(name)
        if name not in self._read:
            self._read[name] = _read_module(name, self._files[name])
        return self._read[name]

    def present(self, names: Iterable[str]) -> list[str]:
        """Those of `names` that are loadable modules here, in the kernel's spelling, each once, in order."""
        return list(dict.fromkeys(_normal(name) for name in names if name in self))

    def under(self, directories: tuple[str, ...]) -> list[str]:
        """The modules in these directories of the tree (kernel/drivers/clk/ …), sorted."""
        if self.directory is None:
            return []
        paths = ((name, str(path.relative_to(self.directory))) for name, path in self._files.items())
        return sorted(name for name, path in paths if path.startswith(directories))

    def named(self, names: Iterable[str]) -> list[str]:
        """The loadable modules that these names or aliases stand for, each once, in order."""
        found: dict[str, None] = {}
        for name in names:
            matches = [_normal(name)] if name in self else self._by_alias(name)
            found.update(dict.fromkeys(matches))
        return list(found)

    def order(self, name: str) -> list[str]:
        """What is to be loaded for `name`, itself included, in that order.

        Raises UserError when a dependency is neither there nor built in: the module could never be loaded.
        """
        sequence: dict[str, None] = {}
        self._visit(_normal(name), sequence, ())
        return list(sequence)

    def _visit(self, name: str, sequence: dict[str, None], path: tuple[str, ...]) -> None:
        if name in sequence or name in path:  # soft dependencies may go round in circles
            return
        module = self.get(name)
        for before in self.named(module.before):
            self._visit(before, sequence, (*path, name))
        for needed in module.depends:
            if needed not in self:
                if needed in self.builtin:
                    continue
                raise UserError(f"the kernel module {name} needs {needed}, which the image hasn't")
            self._visit(needed, sequence, (*path, name))
        sequence[name] = None
        for after in self.named(module.after):
            self._visit(after, sequence, (*path, name))

    def _by_alias(self, alias: str) -> list[str]:
        if self.directory is None:
            return []
        matches: dict[str, None] = {}
        for line in _lines(self.directory, "modules.alias"):
            word, _, rest = line.partition(" ")
            pattern, _, name = rest.rpartition(" ")
            if word == "alias" and fnmatchcase(alias, pattern) and name in self:
                matches[_normal(name)] = None
        return list(matches)


def builtin_options(root: Path, release: str) -> frozenset[str]:
    """The options that are `=y` in /boot/config-RELEASE of the image, without CONFIG_; empty if unknown."""
    lines = _lines(root, f"/boot/config-{release}") or _lines(root, f"/lib/modules/{release}/config")
    settings = (line.partition("=") for line in lines)
    return frozenset(key.removeprefix("CONFIG_") for key, _, value in settings if value == "y")


def _module_files(directory: Path) -> Iterator[tuple[str, Path]]:
    """Name and path. Names become words of shell scripts and paths: other than the kernel's are left out."""
    for path in sorted(directory.rglob("*.ko*")):
        name = _normal(path.name.partition(".ko")[0])
        if (
            path.name.endswith(_SUFFIXES)
            and _NAME.fullmatch(name)
            and not path.is_symlink()
            and path.is_file()
        ):
            yield name, path


def _read_module(name: str, path: Path) -> Module:
    try:
        content = _decompressed(path)
        info = read_modinfo(content)
    except (ElfError, lzma.LZMAError, zlib.error, EOFError, OSError) as error:
        raise UserError(
            f"the kernel module {path} can't be read: {error}", "install the image's kernel again"
        ) from error
    before, after = _soft_dependencies(info.get("softdep", []))
    return Module(
        name=name,
        content=content,
        depends=tuple(
            _normal(part) for value in info.get("depends", []) for part in value.split(",") if part
        ),
        before=before,
        after=after,
        aliases=tuple(info.get("alias", [])),
        firmware=tuple(info.get("firmware", [])),
    )


def _decompressed(path: Path) -> bytes:
    """At most _LARGEST octets: what is longer is cut, and no module."""
    if path.suffix == ".zst":
        return _unzstd(path)
    if path.suffix == ".gz":
        with gzip.open(path) as packed:
            return packed.read(_LARGEST)
    with path.open("rb") as stream:
        data = stream.read(_LARGEST)
    return lzma.LZMADecompressor().decompress(data, _LARGEST) if path.suffix == ".xz" else data


def _unzstd(path: Path) -> bytes:
    try:
        zstd = subprocess.Popen(
            ["zstd", "-dcq", path], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
    except FileNotFoundError as error:
        raise HostError(
            "zstd isn't installed, and the image's modules need it", "apt install zstd"
        ) from error
    with zstd:
        plain = zstd.stdout.read(_LARGEST) if zstd.stdout else b""
        zstd.kill()
    return plain


def _soft_dependencies(values: list[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    before: list[str] = []
    after: list[str] = []
    for value in values:
        side = before
        for word in value.split():
            if word in ("pre:", "post:"):
                side = before if word == "pre:" else after
            else:
                side.append(word)
    return tuple(before), tuple(after)


def _lines(root: Path, name: str) -> list[str]:
    """The lines of a text file of the image; none where it isn't an ordinary file of a sensible size."""
    path = resolve(root, name)
    if path is None or not path.is_file() or path.stat().st_size > _LARGEST_LIST:
        return []
    return path.read_text(errors="replace").splitlines()


def _normal(name: str) -> str:
    return name.replace("-", "_")
