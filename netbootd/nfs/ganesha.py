"""NFS-Ganesha, the NFS server in user space: a configuration file of its own, and SIGHUP.

What SIGHUP does in 4.3, as measured: new exports appear, dropped ones go, changed clients count, in 0.2
seconds for 1,000 exports; running nodes don't notice. Core parameters and addresses count from the next
start only. And three things that it doesn't forgive, each guarded against here: a syntax error drops every
export; an export's number given to another path drops every export; a path that doesn't exist yet is left
out, so directories must be there first.
"""

import os
import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from netbootd.errors import HostError, UserError
from netbootd.nfs.exports import Export, ExportVariables, export_ids
from netbootd.render import Renderer
from netbootd.variables import given

TEMPLATE = "nfs/ganesha.conf.j2"
NOTHING = b"# Written by `netbootctl apply`: netbootd has nothing to export.\n"
"""What takes all exports away. Removing the file wouldn't: Ganesha keeps what it has if it can't read it."""
_EXPORT = re.compile(r'^\s*Export_Id = (\d{1,5});\n\s*Path = "([^"]*)";$', re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class GaneshaExport(ExportVariables):
    """What the template is given of each export."""

    id: int
    """Its number, from 1 to 65535; it keeps that as long as it is exported."""
    filesystem: str
    """Two numbers; one file system for all would let the nodes' kernels mix them up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variables:
    """What the template is given."""

    exports: tuple[GaneshaExport, ...]
    """All that is exported, by path."""
    file: Path
    """Where the configuration is kept."""
    version: str
    """The newest version of NFS that nodes may speak: 3, 4, 4.1 or 4.2."""
    bind: IPv4Address | None
    """The one address to listen on; None for all."""


def variables(
    exports: Sequence[Export],
    file: Path,
    present: str = "",
    version: str = "4.2",
    bind: IPv4Address | None = None,
) -> Variables:
    """Of these exports. `present` is what is in `file` now: exports keep their numbers.

    Raises UserError for a path that Ganesha's syntax has no way to write.
    """
    try:
        numbers = export_ids(exports, present_ids(present))
    except ValueError as error:
        raise UserError(f"NFS-Ganesha can't export that much: {error}", 'set `server = "kernel"`') from None
    blocks = []
    for export in exports:
        if re.search(r'["\\\x00-\x1f\x7f]', str(export.path)):
            raise UserError(
                f"NFS-Ganesha can't export {str(export.path)!r}", "use a path without quotation marks"
            )
        fsid = export.fsid.int
        blocks.append(
            GaneshaExport(
                **given(export.variables(str(export.path))),  # type: ignore[arg-type]  # its own fields
                id=numbers[export.path],
                filesystem=f"{fsid >> 96}.{fsid >> 64 & 0xFFFFFFFF}",
            )
        )
    return Variables(exports=tuple(blocks), file=file, version=version, bind=bind)


def render(renderer: Renderer, variables: Variables) -> bytes:
    """The configuration. Raises UserError for a fault in the template, and where what it makes is none."""
    text = renderer.render(TEMPLATE, **given(variables))
    _check(text)
    return text.encode()


def present_ids(text: str) -> dict[Path, int]:
    """Path -> number of the exports in a configuration that `render` made."""
    return {Path(path): int(number) for number, path in _EXPORT.findall(text)}


def reload(pid_file: Path, file: Path) -> tuple[str, ...]:
    """Have a running Ganesha read its configuration again; where none runs, say so: it will at its start.

    Raises HostError where it may not be told.
    """
    try:
        pid = int(pid_file.read_text(encoding="ascii").strip())
        name = Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except (FileNotFoundError, ProcessLookupError, ValueError):
        name, pid = "", 0
    if not name.startswith("ganesha"):
        return (f"NFS-Ganesha isn't running ({pid_file}); it will read {file} when it starts",)
    try:
        os.kill(pid, signal.SIGHUP)
    except ProcessLookupError:
        return (f"NFS-Ganesha has just ended; it will read {file} when it starts",)
    except PermissionError:
        raise HostError(f"NFS-Ganesha (process {pid}) can't be told to reload", "run as root") from None
    return ()


def _check(text: str) -> None:
    """Raise UserError where `text` is no configuration: an override's slip would cost every node its root."""
    depth = 0
    for number, line in enumerate(text.splitlines(), 1):
        bare = re.sub(r'"[^"\n]*"|#.*', "", line)
        if '"' in bare:
            raise UserError(
                f"template {TEMPLATE} renders line {number} with an unclosed quotation mark", "mend it"
            )
        for brace in re.findall(r"[{}]", bare):
            depth += 1 if brace == "{" else -1
            if depth < 0:
                raise UserError(f"template {TEMPLATE} renders line {number} with a '}}' too many", "mend it")
    if depth:
        raise UserError(f"template {TEMPLATE} renders {depth} '{{' that nothing closes", "mend it")
