"""Where a node's persistent root lies, and which generation it lies over."""

import os
import re
from pathlib import Path

_TARGET = re.compile(r"(?:\.\./)*images/([^/]+)/([1-9][0-9]{0,8})")
_MACHINE_ID = re.compile(r"[0-9a-f]{32}")
RESETTING = "resetting"
"""A file in a root's directory: what the node changed is to be discarded by the next apply."""


class Roots:
    """The persistent roots under `directory` (`Config.roots_dir`). Reading costs one readlink(2)."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def home(self, machine_id: str) -> Path:
        """All that is kept for the node."""
        return self.directory / machine_id

    def mount_point(self, machine_id: str) -> Path:
        """Where its root is mounted on the head node, and what it mounts over NFS."""
        return self.directory / machine_id / "root"

    def upper(self, machine_id: str) -> Path:
        """What it changed, as overlayfs keeps that."""
        return self.directory / machine_id / "changes" / "upper"

    def work(self, machine_id: str) -> Path:
        """Where overlayfs prepares what it moves into `upper` whole."""
        return self.directory / machine_id / "changes" / "work"

    def resetting(self, machine_id: str) -> Path:
        """The file that orders a reset."""
        return self.directory / machine_id / RESETTING

    def generation(self, machine_id: str) -> tuple[str, int] | None:
        """Image and number that its changes lie over; None for a node that has no root yet."""
        try:
            target = os.readlink(f"{self.directory}/{machine_id}/generation")  # noqa: PTH115 - each request
        except OSError:
            return None
        match = _TARGET.fullmatch(target)
        return (match[1], int(match[2])) if match else None

    def machine_ids(self) -> list[str]:
        """Whose roots are kept, sorted; of nodes that are gone, too. Raises PermissionError."""
        try:
            with os.scandir(self.directory) as entries:
                return sorted(e.name for e in entries if _MACHINE_ID.fullmatch(e.name))
        except FileNotFoundError:
            return []

    def users_of_generations(self) -> dict[tuple[str, int], list[str]]:
        """Image and number -> the machine-ids whose changes lie over that generation.

        Without it they are worth nothing: they lack all that wasn't changed, and overlayfs takes no other
        in its place (index=on).
        """
        users: dict[tuple[str, int], list[str]] = {}
        for machine_id in self.machine_ids():
            if (over := self.generation(machine_id)) is not None:
                users.setdefault(over, []).append(machine_id)
        return users
