"""What commands have to know and to do before they touch images: who uses which, and what was left behind."""

import os
from collections import defaultdict
from collections.abc import Mapping

from netbootd.ctl.head import Head
from netbootd.ctl.tables import warn
from netbootd.errors import HostError
from netbootd.images.store import ImageStore
from netbootd.node import RootMode
from netbootd.registry import Registry


def tended(head: Head) -> ImageStore:
    """The images, freed of what interrupted imports, builds and shells left; only root can do that."""
    if os.geteuid() == 0:
        try:
            for path in head.images.clean():
                warn(f"{path} was left by a command that was interrupted: removed")
        except HostError as error:
            warn(f"what interrupted commands left can't be removed: {error}")
    return head.images


def users(head: Head, registry: Registry, image: str) -> Mapping[int, list[str]]:
    """Who uses each generation of `image`, in words, by its number.

    Nodes that run on it, that would boot it, or whose persistent root lies over it; and profiles.
    """
    current = head.images.current_number(image)
    using: dict[int, set[str]] = defaultdict(set)
    for name, booted in registry.booted().items():
        if booted.image == image:
            using[booted.number].add(name)
    names: dict[str, str] = {}
    for node in registry.nodes():
        names[node.machine_id] = node.name
        over = head.roots.generation(node.machine_id) if node.root is RootMode.PERSISTENT else None
        if over is None and node.image == image and current is not None:
            using[current].add(node.name)
    for (name, number), machine_ids in head.roots.users_of_generations().items():
        if name == image:
            using[number] -= {names[i] for i in machine_ids if i in names}  # each is named once
            using[number] |= {
                f"{names[i]}'s persistent root" if i in names else f"{head.roots.home(i)}, of no node"
                for i in machine_ids
            }
    if current is not None:
        using[current] |= {f"profile {p.name}" for p in registry.profiles() if p.settings.image == image}
    return {number: sorted(words) for number, words in using.items()}
