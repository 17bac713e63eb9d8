"""The kernel's NFS server: one file in /etc/exports.d, and `exportfs -ra` when it has changed."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from netbootd.errors import HostError
from netbootd.nfs.exports import Export, ExportVariables
from netbootd.render import Renderer
from netbootd.variables import given

TEMPLATE = "nfs/exports.j2"
SECONDS = 60
"""exportfs looks host names of the admin's own exports up; a dead name server may hold it that long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variables:
    """What the template is given."""

    exports: tuple[ExportVariables, ...]
    """All that is exported, by path."""


def variables(exports: Sequence[Export]) -> Variables:
    """Of these exports."""
    return Variables(exports=tuple(export.variables(quoted(export.path)) for export in exports))


def render(renderer: Renderer, variables: Variables) -> bytes:
    """The exports file. Raises UserError for a fault in the template."""
    return renderer.render(TEMPLATE, **given(variables)).encode()


def installed() -> bool:
    """Whether the kernel's NFS server can be told anything."""
    return _command() is not None


def reload() -> tuple[str, ...]:
    """Make the kernel export what /etc/exports and /etc/exports.d say; returns what exportfs grumbled.

    Raises HostError where exportfs is missing or refuses.
    """
    command = _command()
    if command is None:
        raise HostError(
            "exportfs isn't installed: the kernel's NFS server can't be told what to export",
            'apt-get install nfs-kernel-server, or set `server = "ganesha"` under [nfs]',
        )
    try:
        done = subprocess.run(
            [command, "-ra"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise HostError(
            f"exportfs -ra isn't done after {SECONDS} seconds", "run it by hand; is a name server away?"
        ) from None
    said = tuple(line.strip() for line in done.stderr.splitlines() if line.strip())
    if done.returncode != 0:
        raise HostError(
            f"exportfs -ra failed: {said[0] if said else f'exit status {done.returncode}'}",
            "it reads /etc/exports and all of /etc/exports.d; mend what it names",
        )
    return said


def quoted(path: Path) -> str:
    """`path` as exports(5) wants it: white space, # and quotation marks in octal."""
    return "".join(
        chr(octet) if 0x20 < octet < 0x7F and chr(octet) not in '#"\\()' else f"\\{octet:03o}"
        for octet in str(path).encode()
    )


def _command() -> str | None:
    # After a bare `su`, root's PATH lacks the sbin directories.
    return shutil.which("exportfs", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
