"""templates/node/: trees that are laid over a node's /, and the admin's that are laid over the packaged ones.

    node/common/PATH            the same on all nodes: rendered once, whatever their number
    node/each/PATH              rendered for each node
    node/profiles/NAME/PATH     rendered for each node of that profile, or of one that inherits from it

Laid on a node in this order, a profile's parent before the profile: what is more exact wins. In each tree
the admin's file stands in for the packaged one of the same path, or adds one.

A file that ends in .j2 is a template and loses that ending; any other is taken octet by octet. What comes
out empty makes no file: so an empty file takes away what would be there, a file or a whole directory.
(Only common's files can't be taken away for some nodes: they are the same for all.) Symbolic links are taken
as links, directories are made. The admin's keep their modes, without group's and others' right to write.
"""

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from netbootd.errors import HostError, UserError, did_you_mean
from netbootd.files.disk import LARGEST_FILE
from netbootd.files.tree import Directory, Entry, File, Link, Tree, directory, parents, with_directories
from netbootd.render import Renderer, packaged_templates

NODE = "node"
TOPS = frozenset({"boot", "nfs", NODE})
"""What template_dir has at its top."""
VERY_LIKE = 0.85
"""How like a name has to be to one of ours to be taken for a slip."""
COMMON = "common"
EACH = "each"
PROFILES = "profiles"

SUFFIX = ".j2"
_BACKUPS = ("~", ".swp", ".dpkg-old", ".dpkg-dist", ".dpkg-new")
_MODES = {
    "root/.ssh/authorized_keys": 0o600,
    "etc/machine-id": 0o444,
    "usr/lib/netbootd/report-ready": 0o755,
}
"""Of files that need one mode, whoever wrote them; a wheel keeps none."""

_LINKS = {
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
class Source:
    """What a path is made from; a UserError where that can't be."""

    made: Entry | Template | UserError
    tree: str
    """common, each, profiles/NAME."""
    file: Path | None = None
    """Where it came from; None for what netbootd makes itself."""
    overrides: tuple["Source", ...] = ()
    """What it stands in for, the nearest first."""


Sources = Mapping[str, Source]
"""By path, relative to /."""


@dataclass(frozen=True, slots=True)
class Rendering:
    """What came out; `broken` has the paths for which nothing did, what should have made it, and why not."""

    tree: Tree
    broken: Mapping[str, tuple[Source, UserError]]


def sources(template_dir: Path, trees: Sequence[str]) -> Sources:
    """What `trees` are made from, each laid over the one before. Raises HostError for what can't be read."""
    found: Sources = {}
    for tree in trees:
        if tree == COMMON:
            found = laid(found, {path: Source(link, tree) for path, link in _LINKS.items()})
        for top, packaged in ((packaged_templates(), True), (template_dir, False)):
            found = laid(found, _read(top, tree, packaged))
    return found


def trees_of(profile: str | None, profiles: Mapping[str, str | None]) -> list[str]:
    """A node's own trees, in the order that they are laid in. `profiles` has each one's parent."""
    line: list[str] = []
    while profile is not None and profile not in line:
        line.insert(0, profile)
        profile = profiles.get(profile)
    return [EACH, *(f"{PROFILES}/{name}" for name in line)]


def laid(lower: Sources, upper: Sources) -> Sources:
    """`upper` over `lower`. Where one has a file and the other a directory, `upper` wins."""
    merged = dict(lower)
    for path, source in upper.items():
        covered = [merged.pop(path)] if path in merged else []
        if not isinstance(source.made, Directory):
            covered += [merged.pop(below) for below in list(merged) if below.startswith(f"{path}/")]
        for parent in parents(path):
            if parent in merged and not isinstance(merged[parent].made, Directory):
                covered.append(merged.pop(parent))
        below = (inner for each in covered for inner in (replace(each, overrides=()), *each.overrides))
        merged[path] = replace(source, overrides=(*source.overrides, *below))
    return merged


def rendered(sources: Sources, renderer: Renderer, variables: Mapping[str, object]) -> Rendering:
    """The tree that `sources` make with `variables`."""
    entries: dict[str, Entry] = {}
    broken: dict[str, tuple[Source, UserError]] = {}
    for path, source in sources.items():
        try:
            entry = made(source, renderer, variables)
        except UserError as error:
            broken[path] = (source, error)
            continue
        if entry is not None:
            entries[path] = entry
    return Rendering(with_directories(entries), broken)


def made(source: Source, renderer: Renderer, variables: Mapping[str, object]) -> Entry | None:
    """What one source makes, None for nothing. Raises UserError for a fault in it."""
    entry = source.made
    if isinstance(entry, UserError):
        raise entry
    if isinstance(entry, Template):
        entry = File(renderer.render(entry.name, **variables).encode(), entry.mode)
    # What netbootd makes itself counts as it is: a hostid may consist of octets that are white space.
    empty = isinstance(entry, File) and source.file is not None and not entry.content.strip()
    return None if empty else entry


def strays(template_dir: Path, profiles: Sequence[str]) -> list[str]:
    """A warning for each thing of the admin's under node/ that is laid over no node, and for slips of names.

    What else lies in template_dir may be there for templates that include it.
    """
    warnings = list(_misspelt(template_dir))
    top = template_dir / "node"
    for path in (*_below(top), *_below(top / PROFILES)):
        if path.name.startswith(".") or path.name.endswith(_BACKUPS):
            continue
        if path.parent == top and path.name not in (COMMON, EACH, PROFILES):
            warnings.append(
                f"{path} is on no node: put it below node/{COMMON}/, node/{EACH}/ or node/{PROFILES}/NAME/"
            )
        elif path.parent != top and path.name not in profiles:
            warnings.append(
                f"{path} is on no node: there is no profile {path.name!r}; `netbootctl profile set` makes one"
            )
    return warnings


def _misspelt(template_dir: Path) -> Iterator[str]:
    for path in _below(template_dir):
        if path.name not in TOPS and (meant := did_you_mean(path.name.lower(), TOPS, likeness=VERY_LIKE)):
            yield f"{path} is used by nothing; {meant}"
    packaged = packaged_templates()
    for top in ("boot", "nfs"):
        known = [str(file.relative_to(packaged)) for file in (packaged / top).rglob("*") if file.is_file()]
        for name in sorted(str(file.relative_to(template_dir)) for file in (template_dir / top).rglob("*")):
            kept = name in known or name.endswith(_BACKUPS) or (template_dir / name).is_dir()
            if not kept and (meant := did_you_mean(name, known, likeness=VERY_LIKE)):
                yield f"{template_dir / name} is used by nothing; {meant}"


def _below(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise HostError(f"can't read the templates: {error}") from error


def _read(directory: Path, tree: str, packaged: bool) -> Sources:
    """One of the two halves of a tree: the packaged, or the admin's."""
    top = directory / "node" / tree
    found: dict[str, Source] = {}
    try:
        for path in _walk(top):
            relative = path.relative_to(top).as_posix()
            entry = _source(path, tree, relative, packaged)
            if isinstance(entry, Directory):
                if not packaged:
                    found.setdefault(relative, Source(entry, tree, path))
                continue
            target = relative.removesuffix(SUFFIX)
            if target != relative and os.path.lexists(top / target):
                entry = UserError(f"{path} and {target} beside it mean the same file", "remove one of them")
                target = relative if (top / target).is_dir() else target
            found[target] = Source(entry, tree, path)
    except OSError as error:
        raise HostError(f"can't read the templates: {error}") from error
    return found


def _walk(top: Path) -> Iterator[Path]:
    """All below `top`, a directory before what lies in it; links aren't followed."""
    for where, directories, names in os.walk(top, onerror=_raise):
        directories.sort()
        for name in sorted((*names, *directories)):
            if not name.endswith(_BACKUPS):
                yield Path(where, name)


def _raise(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _source(path: Path, tree: str, relative: str, packaged: bool) -> Entry | Template | UserError:
    status = path.lstat()
    target = relative.removesuffix(SUFFIX)
    mode = _MODES.get(target, 0o644 if packaged else status.st_mode & 0o755)
    match stat.S_IFMT(status.st_mode):
        case stat.S_IFDIR:
            return directory(target, status.st_mode & 0o7755)
        case stat.S_IFLNK:
            return Link(str(path.readlink()))
        case stat.S_IFREG if status.st_size > LARGEST_FILE:
            most = LARGEST_FILE >> 20
            return UserError(f"{path} is larger than {most} MiB", "put what is that large into the image")
        case stat.S_IFREG if relative.endswith(SUFFIX):
            return Template(f"node/{tree}/{relative}", mode)
        case stat.S_IFREG:
            return File(path.read_bytes(), mode)
        case _:
            return UserError(f"{path} is no file, directory or symbolic link", "remove it from the templates")
