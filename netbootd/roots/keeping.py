"""The directories of persistent roots on the disk: made, emptied and thrown away, each in one step.

A root is made beside, brought to the disk and renamed into its place; a reset is ordered by a file in it,
and carried out by renaming it away. So a kill at any point leaves the old root, or the new one, and what
lies beside is cleaned away by the next apply. Only one may do this at a time: see files/apply.py.
"""

import os
import secrets
import shutil
import stat
from contextlib import suppress
from pathlib import Path

from netbootd.files.disk import explained
from netbootd.images.trees import remove_tree
from netbootd.roots.desired import Kept, Over
from netbootd.roots.layout import Roots

_INCOMING, _OUTGOING = ".incoming-", ".outgoing-"


def kept(roots: Roots) -> dict[str, Kept]:
    """By machine-id what is there. Raises HostError."""
    with explained(roots.directory):
        return {
            machine_id: Kept(
                over=roots.generation(machine_id),
                resetting=roots.resetting(machine_id).exists(),
                empty=is_empty(roots, machine_id),
            )
            for machine_id in roots.machine_ids()
        }


def is_empty(roots: Roots, machine_id: str) -> bool:
    """Whether its node has changed nothing yet, not even by looking at a directory."""
    try:
        with os.scandir(roots.upper(machine_id)) as entries:
            return next(entries, None) is None
    except FileNotFoundError:
        return False


def make(roots: Roots, machine_id: str, over: Over, lower: Path, group: int) -> None:
    """Make a root over the generation `over`, whose root file system is `lower`. Raises HostError.

    `group` is the daemon's, which has to read what each node's root lies over. Nobody else gets in: what a
    node's users may do to its files, the head node's users may not.
    """
    home = roots.home(machine_id)
    with explained(home):
        _prepare(roots.directory, group)
        beside = roots.directory / f"{_INCOMING}{machine_id}-{secrets.token_hex(4)}"
        beside.mkdir(mode=0o755)
        beside.chmod(0o755)
        (beside / "root").mkdir()
        (beside / "changes").mkdir(mode=0o700)
        (beside / "changes" / "work").mkdir(mode=0o700)
        upper = beside / "changes" / "upper"
        upper.mkdir()
        # What the node sees as / is `upper`: it gets the owner and mode that the image's / has.
        status = lower.stat()
        os.chown(upper, status.st_uid, status.st_gid)
        upper.chmod(stat.S_IMODE(status.st_mode))
        (beside / "generation").symlink_to(f"../../images/{over[0]}/{over[1]}")
        for path in (upper, beside / "changes", beside):
            _sync(path)
        beside.rename(home)
        _sync(roots.directory)


def order_reset(roots: Roots, machine_id: str) -> None:
    """From now on its changes are as good as gone: the next apply discards them. Raises HostError."""
    path = roots.resetting(machine_id)
    with explained(path):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        _sync(path.parent)


def discard(roots: Roots, machine_id: str) -> None:
    """Throw a root away, which isn't mounted any more. Raises HostError."""
    with explained(roots.home(machine_id)):
        outgoing = roots.directory / f"{_OUTGOING}{machine_id}-{secrets.token_hex(4)}"
        with suppress(FileNotFoundError):
            roots.home(machine_id).rename(outgoing)
            _sync(roots.directory)
        remove_tree(outgoing)


def clean(roots: Roots) -> None:
    """Take away what makers and resets that were killed left behind. Raises HostError."""
    with explained(roots.directory):
        if not roots.directory.is_dir():
            return
        for path in roots.directory.iterdir():
            if path.name.startswith((_INCOMING, _OUTGOING)):
                remove_tree(path)


def _prepare(directory: Path, group: int) -> None:
    if not directory.is_dir():
        directory.mkdir(mode=0o700)
    shutil.chown(directory, 0 if os.geteuid() == 0 else os.geteuid(), group)
    directory.chmod(0o750)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
