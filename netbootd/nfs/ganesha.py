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
from ipaddress import IPv4Address
from pathlib import Path

from netbootd.errors import HostError, UserError
from netbootd.nfs.exports import Export, export_ids
from netbootd.render import Renderer

TEMPLATE = "nfs/ganesha.conf.j2"
NOTHING = b"# Written by `netbootctl apply`: netbootd has nothing to export.\n"
"""What takes all exports away. Removing the file wouldn't: Ganesha keeps what it has if it can't read it."""
_EXPORT = re.compile(r'^\s*Export_Id = (\d{1,5});\n\s*Path = "([^"]*)";$', re.MULTILINE)


def render(
    renderer: Renderer,
    exports: Sequence[Export],
    file: Path,
    present: str = "",
    version: str = "4.2",
    bind: IPv4Address | None = None,
) -> bytes:
    """The configuration, to be kept in `file`. `present` is what is there now: exports keep their numbers.

    `bind` is the one address to listen on, None for all. Raises UserError for a fault in the template, for
    what it rendered being no configuration, or a path that Ganesha's syntax has no way to write.
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
            export.variables(str(export.path))
            | {
                "id": numbers[export.path],
                # Two numbers; one file system id for all would let the nodes' kernels mix them up.
                "filesystem": f"{fsid >> 96}.{fsid >> 64 & 0xFFFFFFFF}",
            }
        )
    text = renderer.render(TEMPLATE, exports=blocks, file=file, version=version, bind=bind)
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
