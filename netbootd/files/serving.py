"""Which generations of which images are to be exported, as the image store and the registry know them."""

import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from netbootd.config import Config
from netbootd.files.cluster import User
from netbootd.files.disk import explained
from netbootd.image import how_to_get
from netbootd.images.rooted import resolve
from netbootd.images.secrets import secret_in
from netbootd.images.store import ImageStore
from netbootd.nfs.exports import MOST_BLOCKS, Generations
from netbootd.node import Booted, Node, RootMode


def served_generations(
    config: Config,
    booted: Mapping[str, Booted],
    store: ImageStore,
    nodes: Sequence[Node],
    roots: Mapping[str, Path],
    user: User | None,
) -> tuple[Generations, list[str]]:
    """The root file systems that nodes use; and what images lack. `roots`: persistent ones, by machine-id."""

    def root(image: str, number: int) -> Path | None:
        path = store.directory / image / str(number) / "root"
        return path if path.is_dir() else None

    current: dict[str, Path] = {}
    warnings = []
    for image in sorted({node.image for node in nodes if node.image}):
        number = store.current_number(image)
        if number is not None and (path := root(image, number)):
            current[image] = path
            continue
        users = [node.name for node in nodes if node.image == image]
        mend = how_to_get(image, store.names())
        warnings.append(f"there is no image {image} for {enumerated(users)}; {mend}")
    running = {
        node: path
        for node, told in booted.items()
        if told.root is RootMode.OVERLAY and (path := root(told.image, told.number))
    }
    # Only the kernel's server sees that a file handle leads to what lies beside an export.
    strewn = config.nfs.server == "kernel" and len(nodes) > MOST_BLOCKS
    generations = Generations(
        current=current,
        booted=running,
        roots=roots,
        harmless=_harmless({*current.values(), *running.values()}) if strewn else frozenset(),
    )
    return generations, [*warnings, *_without_shell(current, user)]


def enumerated(words: Sequence[str]) -> str:
    """The first few of them, and how many more."""
    return ", ".join(words[:5]) + (f" and {len(words) - 5} more" if len(words) > 5 else "")


def _harmless(generations: set[Path]) -> frozenset[Path]:
    with explained(next(iter(sorted(generations)), Path())):
        return frozenset(path for path in generations if secret_in(path) is None)


def _without_shell(current: Mapping[str, Path], user: User | None) -> Iterator[str]:
    """A user whose shell an image lacks gets in by no means, and the reason is in that node's log alone."""
    for image, root in current.items() if user else ():
        assert user is not None  # noqa: S101 (there are no images to look at then)
        path = resolve(root, user.shell)
        if path is None or not path.stat().st_mode & stat.S_IXUSR:
            hint = f"usermod -s /bin/sh {user.name}, or install it into the image"
            yield f"the image {image} has no {user.shell}, the shell of {user.name}, who can't log in; {hint}"
