"""Which persistent roots must be mounted and aren't, or the other way round; and that difference carried out.

For `netbootctl apply`: see files/apply.py for the order in which all is done.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from netbootd.config import Config
from netbootd.images.store import ImageStore
from netbootd.node import Booted, Node
from netbootd.roots import keeping, mounting
from netbootd.roots.desired import (
    Difference,
    Discard,
    Make,
    MountRoot,
    Over,
    Present,
    UnmountRoot,
    difference,
    superfluous,
    users,
)
from netbootd.roots.layout import Roots
from netbootd.roots.mountinfo import Mount

RootChange = Make | MountRoot | UnmountRoot | Discard


def look(
    config: Config,
    store: ImageStore,
    nodes: Iterable[Node],
    booted: Mapping[str, Booted],
    failed: Collection[str] | None = (),
) -> Difference:
    """What has to be done for the registry's nodes. Changes nothing. Raises HostError.

    What is in `failed` (machine-ids) isn't mounted, and isn't served unless it is mounted already. Where
    `failed` is None nothing can be done about any of them from here, and nothing is to be done.
    """
    roots = Roots(config.roots_dir)
    needed = users(nodes, booted)
    kept = keeping.kept(roots)
    mounts = _as_configured(mounting.mounts(), config.roots_dir)
    images = {node.image for node in needed.values() if node.image}
    current = {image: number for image in images if (number := store.current_number(image)) is not None}
    overs: set[Over] = {*current.items(), *(root.over for root in kept.values() if root.over)}
    found = difference(
        needed,
        Present(
            kept=kept,
            mounts=mounts,
            generations={over: path for over in overs if (path := _root(store, over)).is_dir()},
            current=current,
            defaults=mounting.defaults(),
        ),
        config.roots_dir,
        needed if failed is None else failed,
    )
    return replace(found, after=()) if failed is None else found


def carry_out(change: RootChange, config: Config) -> tuple[str, ...]:
    """Do it; returns warnings. Raises HostError."""
    roots = Roots(config.roots_dir)
    match change:
        case Make(_, machine_id, over, lower):
            group = config.registry_path.parent.stat().st_gid  # the daemon's
            keeping.make(roots, machine_id, over, lower, group)
        case MountRoot(_, overlay):
            mounting.mount(overlay)
        case UnmountRoot(point):
            warning = mounting.unmount(point)
            return (warning,) if warning else ()
        case Discard(path):
            keeping.discard(roots, path.name)
    return ()


def unmounts(config: Config) -> list[UnmountRoot]:
    """What unmounts all roots, whoever needs them."""
    mounts = _as_configured(mounting.mounts(), config.roots_dir)
    return list(superfluous(mounts, config.roots_dir, ()))


def clean(config: Config) -> None:
    """Take away what was left behind by one that was killed. Raises HostError."""
    keeping.clean(Roots(config.roots_dir))


def _as_configured(mounts: Iterable[Mount], directory: Path) -> tuple[Mount, ...]:
    """With the mount points as netbootd.toml has them: the kernel shows them without symbolic links."""
    real = directory.resolve()
    return tuple(
        replace(mount, point=directory / mount.point.relative_to(real))
        if mount.point.is_relative_to(real)
        else mount
        for mount in mounts
    )


def _root(store: ImageStore, over: Over) -> Path:
    return store.directory / over[0] / str(over[1]) / "root"
