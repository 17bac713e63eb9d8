"""Which persistent roots must be there and mounted, and what that takes: values from values. Pure.

A root is made when its node first needs it, over the current generation of its image, and stays over that
one until it is reset. It is mounted for nodes whose root mode is persistent, and for those that still run
on theirs; what nobody uses any more is unmounted and kept, because it holds what a node changed.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from netbootd.node import Booted, Node, RootMode
from netbootd.roots.mountinfo import Mount, top
from netbootd.roots.overlay import Overlay

Over = tuple[str, int]
"""An image and the number of its generation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A root that is there. `over` is None where its directory is damaged; `empty`: nothing was changed."""

    over: Over | None
    resetting: bool = False
    empty: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Present:
    """What is there. `kept` is by machine-id, `generations` has their root file systems.

    `current` is by image; `defaults` are overlayfs' settings on this kernel where a mount doesn't say them.
    """

    kept: Mapping[str, Kept]
    mounts: tuple[Mount, ...]
    generations: Mapping[Over, Path]
    current: Mapping[str, int]
    defaults: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Make:
    """A root to be made at `path`, over a generation whose root file system is `lower`."""

    path: Path
    machine_id: str
    over: Over
    lower: Path

    def __str__(self) -> str:
        return f"make    {self.path} over {self.over[0]}@{self.over[1]}"


@dataclass(frozen=True, slots=True)
class MountRoot:
    """A root to be mounted."""

    machine_id: str
    overlay: Overlay

    @property
    def path(self) -> Path:
        """Where."""
        return self.overlay.point

    def __str__(self) -> str:
        return f"mount   {self.path}"


@dataclass(frozen=True, slots=True)
class UnmountRoot:
    """What is mounted at a root's place and may not stay."""

    path: Path

    def __str__(self) -> str:
        return f"unmount {self.path}"


@dataclass(frozen=True, slots=True)
class Discard:
    """A root at `path` whose changes are to be thrown away."""

    path: Path

    def __str__(self) -> str:
        return f"discard {self.path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What has to be done. `serving`: machine-ids whose root is mounted, or will be once `before` is done.

    `before` comes before the exports are written, `after` when what it takes away isn't exported any more.
    Where `after` takes something away, what shall be there instead is the difference then.
    """

    before: tuple[Make | MountRoot, ...] = ()
    after: tuple[UnmountRoot | Discard, ...] = ()
    serving: Mapping[str, Path] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def users(nodes: Iterable[Node], booted: Mapping[str, Booted]) -> dict[str, Node]:
    """Machine-id -> the node that needs its persistent root: to boot from it, or because it runs on it."""
    return {
        node.machine_id: node
        for node in nodes
        if node.root is RootMode.PERSISTENT
        or (node.name in booted and booted[node.name].root is RootMode.PERSISTENT)
    }


def difference(
    needed: Mapping[str, Node], present: Present, directory: Path, failed: Collection[str] = ()
) -> Difference:
    """What has to be done for the nodes in `needed`. `directory` is `Config.roots_dir`.

    What is in `failed` (machine-ids) was tried just now and isn't tried again.
    """
    before: list[Make | MountRoot] = []
    serving: dict[str, Path] = {}
    warnings: list[str] = []
    for machine_id, node in sorted(needed.items()):
        kept = present.kept.get(machine_id)
        if kept is not None and kept.resetting:
            continue  # unmounted and discarded below; then made anew
        over = kept.over if kept else _current(node, present)
        if over is None:
            if kept is not None:
                warnings.append(_damaged(node, directory / machine_id))
            continue
        if over not in present.generations:
            warnings.append(_without_generation(node, over))
            continue
        overlay = overlay_of(directory, machine_id, present.generations[over])
        mounted = top(present.mounts, overlay.point)
        if mounted is not None and overlay.is_mounted_as(mounted, present.defaults):
            serving[machine_id] = overlay.point
            continue
        if mounted is not None:
            continue  # something else, or an older netbootd's: it goes first, and its export before it
        if machine_id in failed:
            continue
        if kept is None:
            before.append(Make(directory / machine_id, machine_id, over, overlay.lower))
        before.append(MountRoot(machine_id, overlay))
        serving[machine_id] = overlay.point
    discarded = [
        Discard(directory / machine_id)
        for machine_id, kept in sorted(present.kept.items())
        if kept.resetting or (kept.empty and machine_id not in needed)
    ]
    return Difference(
        before=tuple(before),
        after=(*superfluous(present.mounts, directory, serving.values()), *discarded),
        serving=serving,
        warnings=tuple(warnings),
    )


def superfluous(mounts: Iterable[Mount], directory: Path, needed: Collection[Path]) -> Iterator[UnmountRoot]:
    """What unmounts all that is mounted where roots are, below `directory`, but for what is `needed`.

    Not what an admin mounted beside: a disk that keeps the changes of a node.
    """
    for mount in reversed(list(mounts)):  # what lies on top of another goes first
        if mount.point in needed or not mount.point.is_relative_to(directory):
            continue
        if mount.point.relative_to(directory).parts[1:2] == ("root",):
            yield UnmountRoot(mount.point)


def overlay_of(directory: Path, machine_id: str, lower: Path) -> Overlay:
    """How the root of `machine_id` is mounted over `lower`."""
    home = directory / machine_id
    return Overlay(
        lower=lower,
        upper=home / "changes" / "upper",
        work=home / "changes" / "work",
        point=home / "root",
    )


def _current(node: Node, present: Present) -> Over | None:
    if node.image is None or node.image not in present.current:
        return None
    return node.image, present.current[node.image]


def _damaged(node: Node, home: Path) -> str:
    return (
        f"{home} doesn't say which generation the changes of {node.name} lie over: "
        f"ln -s ../../images/NAME/NUMBER {home}/generation, or netbootctl node reset {node.name} discards all"
    )


def _without_generation(node: Node, over: Over) -> str:
    label = f"{over[0]}@{over[1]}"
    return (
        f"the changes of {node.name} lie over {label}, and that isn't there: without it they can't be used; "
        f"put it back, or netbootctl node reset {node.name} discards them"
    )
