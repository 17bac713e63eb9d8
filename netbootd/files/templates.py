"""templates/node/: two trees that are laid over a node's /, and the admin's that are laid over them.

    node/common/PATH     the same on all nodes: rendered once
    node/each/PATH       rendered for each node

A file that ends in .j2 is a template and loses that ending; any other is taken as it is. The admin's file
stands in for the packaged one of the same path, or adds one. What comes out empty makes no file: so an empty
file takes a packaged one away. Symbolic links are taken as links. In the admin's tree files keep their
modes (without group's and others' right to write), directories too.
"""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from netbootd.errors import HostError, UserError
from netbootd.files.disk import LARGEST_FILE
from netbootd.files.tree import Entry, File, Link, Tree, with_directories
from netbootd.render import Renderer, packaged_templates

Part = Literal["common", "each"]

_SUFFIX = ".j2"
_BACKUPS = ("~", ".swp", ".dpkg-old", ".dpkg-dist", ".dpkg-new")
_MODES = {
    "root/.ssh/authorized_keys": 0o600,
    "etc/machine-id": 0o444,
    "usr/lib/netbootd/report-ready": 0o755,
}
"""Of files that need one mode, whoever wrote them; a wheel keeps none."""

_LINKS: dict[str, Entry] = {
    # Enabled as `systemctl enable` would; and for OpenRC, whose service `local` runs such files.
    "etc/systemd/system/multi-user.target.wants/netbootd-ready.service": Link("../netbootd-ready.service"),
    "etc/local.d/netbootd-ready.start": Link("../../usr/lib/netbootd/report-ready"),
}
"""Of node/common; a wheel can't hold links."""


@dataclass(frozen=True, slots=True)
class Template:
    """A file to be rendered: its name for the Renderer, and the mode of what comes out."""

    name: str
    mode: int


@dataclass(frozen=True, slots=True)
class Sources:
    """What a part of the tree is made from, by path."""

    entries: Mapping[str, Entry | Template]
    modes: Mapping[str, int] = field(default_factory=dict)
    """The modes of the admin's directories."""


def sources(template_dir: Path, part: Part) -> Sources:
    """The templates and files of `part`. Raises UserError for what can't be one, HostError if unreadable."""
    entries: dict[str, Entry | Template] = dict(_LINKS) if part == "common" else {}
    modes: dict[str, int] = {}
    for directory, packaged in ((packaged_templates(), True), (template_dir, False)):
        found: dict[str, Entry | Template] = {}
        top = directory / "node" / part
        try:
            for path in sorted(_files(top)):
                relative = path.relative_to(top).as_posix()
                target = relative.removesuffix(_SUFFIX)
                if target in found:
                    raise UserError(f"{path} and {target} beside it mean the same file", "remove one of them")
                found[target] = _source(path, f"node/{part}/{relative}", target, packaged)
            if not packaged:
                modes = _directory_modes(top)
        except OSError as error:
            raise HostError(f"can't read the templates: {error}") from error
        entries |= found
    return Sources(entries, modes)


def rendered(
    sources: Sources, renderer: Renderer, variables: Mapping[str, object], given: Mapping[str, Entry]
) -> Tree:
    """The tree that `sources` make with `variables`, laid over `given`.

    Raises UserError for a fault in a template.
    """
    entries = dict(given)
    for path, source in sources.entries.items():
        entry: Entry
        if isinstance(source, Template):
            entry = File(renderer.render(source.name, **variables).encode(), source.mode)
        else:
            entry = source
        if isinstance(entry, File) and not entry.content.strip():
            entries.pop(path, None)
        else:
            entries[path] = entry
    return with_directories(entries, sources.modes)


def _files(top: Path) -> list[Path]:
    return [
        Path(directory, name)
        for directory, directories, names in os.walk(top, onerror=_raise)
        for name in (*names, *(d for d in directories if Path(directory, d).is_symlink()))
        if not name.endswith(_BACKUPS)
    ]


def _raise(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _source(path: Path, name: str, target: str, packaged: bool) -> Entry | Template:
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        return Link(str(path.readlink()))
    if not stat.S_ISREG(status.st_mode):
        raise UserError(f"{path} is no file, directory or symbolic link", "remove it from the templates")
    if status.st_size > LARGEST_FILE:
        raise UserError(
            f"{path} is larger than {LARGEST_FILE >> 20} MiB", "put what is that large into the image"
        )
    mode = _MODES.get(target, 0o644 if packaged else status.st_mode & 0o755)
    return Template(name, mode) if name.endswith(_SUFFIX) else File(path.read_bytes(), mode)


def _directory_modes(top: Path) -> dict[str, int]:
    return {
        Path(directory, name).relative_to(top).as_posix(): Path(directory, name).stat().st_mode & 0o7755
        for directory, names, _ in os.walk(top)
        for name in names
        if not Path(directory, name).is_symlink()
    }
