"""What `apply` may do, as values that can be shown before anything is done."""

from dataclasses import dataclass, field
from pathlib import Path

from netbootd.config import Config
from netbootd.files.cluster import User
from netbootd.files.tree import Step
from netbootd.files.wanted import Inputs
from netbootd.image import Generation
from netbootd.roots.desired import Discard, Make, MountRoot, UnmountRoot


@dataclass(frozen=True, slots=True)
class MakeKey:
    """A key pair to be made: a node's host key, or the cluster's where `machine_id` is None."""

    path: Path
    machine_id: str | None

    def __str__(self) -> str:
        return f"make    {self.path}"


@dataclass(frozen=True, slots=True)
class RemoveKey:
    """The host key of a node that is gone."""

    path: Path
    machine_id: str

    def __str__(self) -> str:
        return f"remove  {self.path}"


@dataclass(frozen=True, slots=True)
class ChangeTree:
    """A step in a tree of node files; `tree` is its directory below the state directory."""

    state_dir: Path
    tree: str
    step: Step

    @property
    def path(self) -> Path:
        """What is changed."""
        return self.state_dir / self.tree / self.step.path

    def __str__(self) -> str:
        return f"{self.step.action:<7} {self.path}"


@dataclass(frozen=True, slots=True)
class ChangeFile:
    """A file of the head node's own: the new content, None to remove it."""

    path: Path
    content: bytes | None

    def __str__(self) -> str:
        return f"{'write' if self.content is not None else 'remove':<7} {self.path}"


@dataclass(frozen=True, slots=True)
class Reload:
    """Tell an NFS server that its file has changed. `digest` is of its exports; empty: none of ours."""

    path: Path
    kernel: bool
    digest: str

    def __str__(self) -> str:
        return f"reload  {self.path} ({'exportfs -ra' if self.kernel else 'SIGHUP to NFS-Ganesha'})"


@dataclass(frozen=True, slots=True)
class MakeShared:
    """The directory that all nodes share, where it isn't there yet."""

    path: Path
    user: User | None

    def __str__(self) -> str:
        return f"make    {self.path}"


@dataclass(frozen=True, slots=True)
class MakeLogin:
    """The cluster user's key pair, and the line in his authorized_keys; made as that user."""

    home: Path
    user: User

    @property
    def path(self) -> Path:
        """What is changed."""
        return self.home / ".ssh"

    def __str__(self) -> str:
        return f"make    {self.path} (as {self.user.name}: id_ed25519, authorized_keys)"


@dataclass(frozen=True, slots=True)
class Restart:
    """Have chronyd read its files again. `digest` is of ours; empty: it is gone."""

    path: Path
    digest: str

    def __str__(self) -> str:
        return f"restart chronyd, for {self.path}"


@dataclass(frozen=True, slots=True)
class PackFiles:
    """An archive of node files for nodes in memory; None to remove it."""

    path: Path
    content: bytes | None = field(repr=False)  # private keys

    def __str__(self) -> str:
        return f"{'write' if self.content is not None else 'remove':<7} {self.path}"


@dataclass(frozen=True, slots=True)
class PackRoot:
    """A generation's root as one file, for nodes in memory."""

    path: Path
    generation: Generation

    def __str__(self) -> str:
        return f"pack    {self.path}"


Change = (
    MakeKey
    | RemoveKey
    | MakeShared
    | MakeLogin
    | ChangeTree
    | ChangeFile
    | Reload
    | Restart
    | PackFiles
    | PackRoot
    | Make
    | MountRoot
    | UnmountRoot
    | Discard
)


Stamp = tuple[int, tuple[int, int]]
"""When somebody last applied, and the registry's version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The difference, in the order in which it is carried out; `warnings` are for the reader."""

    config: Config
    changes: tuple[Change, ...]
    warnings: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    """A line for each broken template; what it makes is left as it is."""
    only_roots: bool = False
    """Whether nothing but persistent roots is looked at."""
    inputs: Inputs | None = None
    """What it was computed from; None for `undo`."""
    stamp: Stamp | None = None
    """When it was computed, in terms of what has been applied and registered."""
