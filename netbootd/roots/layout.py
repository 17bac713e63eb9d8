"""Where a node's persistent root lies, and which generation it lies over."""

import os
import re
from pathlib import Path

_TARGET = re.compile(r"(?:\.\./)*images/([^/]+)/([1-9][0-9]{0,8})")


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

    def generation(self, machine_id: str) -> tuple[str, int] | None:
        """Image and number that its changes lie over; None for a node that has no root yet."""
        try:
            target = os.readlink(f"{self.directory}/{machine_id}/generation")  # noqa: PTH115 - each request
        except OSError:
            return None
        match = _TARGET.fullmatch(target)
        return (match[1], int(match[2])) if match else None
