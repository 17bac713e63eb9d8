"""What a node changed over its generation, apart from what netbootd laid there and from who the node is."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from netbootd.config import Config
from netbootd.files.disk import scan
from netbootd.files.templates import COMMON, sources, trees_of
from netbootd.files.tree import Directory, File, parents
from netbootd.image import Generation
from netbootd.images import edit, layered
from netbootd.images.layered import Change
from netbootd.images.rooted import resolve
from netbootd.images.trees import explained
from netbootd.node import Node
from netbootd.roots import accounts, links
from netbootd.roots.identity import made_at_boot, reason

ACCOUNTS = "usr/lib/netbootd/accounts"
MOUNTS = "usr/lib/netbootd/mounts"
_LAID = "netbootd lays it there at each boot"
_TEMPLATE = "netbootd's templates make it: another time, if not now"
_MERGED = "the cluster's accounts, which netbootd puts in at each boot"
_TOUCHED = "only its time"


@dataclass(frozen=True, slots=True)
class Root:
    """A node's persistent root: what it changed, in `upper`, over `lower`; and what netbootd lays there."""

    node: Node
    lower: Generation
    upper: Path
    view: Path
    """Where all is mounted as one."""
    laid: "Laid"

    def told(self) -> Iterator["Told"]:
        """Every change, by path. Raises HostError, and UserError for what can't be read as a whole."""
        found = [*told(self.lower.root, self.upper, self.laid)]
        for name in self.linked():
            change = Change(name.path, "changed", "file", ("content of another name",), name.size)
            found.append(Told(change, self.laid.why_not(name.path, directory=False)))
        return iter(sorted(found, key=lambda each: each.change.path.split("/")))

    def linked(self) -> list[links.Linked]:
        """What changed with another name of its file. Raises HostError."""
        with explained(self.upper):
            return links.changed(self.lower.root, self.upper, self.view)


@dataclass(frozen=True, slots=True)
class Told:
    """A change, and why it isn't the node's own doing or nothing for others; `why` is empty where it is."""

    change: Change
    why: str = ""


class Laid:
    """What netbootd lays over the root of a node: as it stands in the state directory, or may have before.

    A template that comes out empty today, as that for chrony's sources for a node without time servers, may
    have made a file before, which the root still has: so the paths of all templates for this node count.
    `profiles` has each one's parent. `lower` is the image's root: where that has links to directories, as
    /lib to usr/lib, node-init lays what belongs there behind them.
    """

    def __init__(self, config: Config, node: Node, lower: Path, profiles: Mapping[str, str | None]) -> None:
        trees = [
            scan(config.state_dir, directory.relative_to(config.state_dir).as_posix())
            for directory in (config.common_dir, config.nodes_dir / node.name)
        ]
        entries = {path: entry for tree in trees for path, entry in tree.items()}
        directories = {path for path, entry in entries.items() if isinstance(entry, Directory)}
        self.files = frozenset(_behind_links(lower, path) for path in entries.keys() - directories)
        """Relative to the root."""
        templates = sources(config.template_dir, [COMMON, *trees_of(node.profile, profiles)])
        possible = [path for path, source in templates.items() if not isinstance(source.made, Directory)]
        self.possible = frozenset(_behind_links(lower, path) for path in possible)
        """What templates for this node can make; relative to the root."""
        made = [words[1] for words in _lines(entries.get(MOUNTS)) if len(words) > 1]
        made += [words[4] for words in _lines(entries.get(ACCOUNTS)) if words[0] == "user" and len(words) > 4]
        made += directories - {"."}
        made += {parent for path in possible for parent in parents(path)} - {"."}
        self.directories = frozenset(
            part for point in made for part in _upwards(_behind_links(lower, point.strip("/")))
        )
        """Made at each boot where they are missing."""
        self.users, self.groups = accounts.laid(_text(entries.get(ACCOUNTS)))

    def why_not(self, path: str, directory: bool) -> str:
        """Why what is at `path` is nothing for an image; empty where it is."""
        if path in self.files and not directory:
            return _LAID
        if path in self.possible and not directory:
            return _TEMPLATE
        return reason(path, directory=directory)

    def cleaned(self, lower: Path, upper: Path, path: str) -> tuple[str, str] | None:
        """The text of an account file with and without the cluster's accounts; None where there is none."""
        names = self.users if path in accounts.USER_FILES else self.groups
        if not names or path not in accounts.USER_FILES | accounts.GROUP_FILES:
            return None
        text = edit.read(upper, path)
        return None if text is None else (text, accounts.without(text, edit.read(lower, path) or "", names))


def told(lower: Path, upper: Path, laid: Laid) -> Iterator[Told]:
    """Every change, by path. Raises HostError, and UserError for what can't be read as a whole."""
    below = ""
    with explained(upper):
        for change in layered.changes(lower, upper):
            if below and change.path.startswith(below):
                continue  # of a directory that isn't meant as a whole
            directory = change.type == "directory"
            why = laid.why_not(change.path, directory)
            if why and directory:
                below = change.path + "/"
            yield Told(change, why or _why(lower, upper, change, laid))


def _why(lower: Path, upper: Path, change: Change, laid: Laid) -> str:
    if change.type == "directory" and change.kind != "removed" and change.path in laid.directories:
        return _LAID
    if change.type == "directory" and change.kind == "added" and (why := made_at_boot(change.path)):
        return why
    if change.what == ("time",):
        return _TOUCHED
    if change.kind == "changed" and (both := laid.cleaned(lower, upper, change.path)):
        same = both[1] == (edit.read(lower, change.path) or "")
        return _MERGED if same and "mode" not in change.what and "owner" not in change.what else ""
    return ""


def _behind_links(root: Path, path: str) -> str:
    """Where `path` lies in the image when links to directories on the way to it are followed."""
    parts = path.split("/")
    for length in range(len(parts) - 1, 0, -1):
        directory = resolve(root, "/".join(parts[:length]))
        if directory is not None and directory.is_dir():
            return directory.relative_to(root).joinpath(*parts[length:]).as_posix()
    return path


def _upwards(path: str) -> Iterator[str]:
    while path:
        yield path
        path = path.rpartition("/")[0]


def _lines(entry: object) -> list[list[str]]:
    return [words for line in _text(entry).splitlines() if (words := line.split())]


def _text(entry: object) -> str:
    return entry.content.decode(errors="replace") if isinstance(entry, File) else ""
