"""NFS-Ganesha in the lab: the exports that netbootd renders, served from user space.

It runs where the kernel has no NFS server, and so in any namespace. Measured of Ganesha 4.3 (Debian 12)
with SIGHUP, which is how `apply` tells it:
- the configuration file and what it includes are read anew; exports that are new come, those that are gone
  go, changed clients count at once; 1,000 new exports take less than half a second;
- an export whose path doesn't exist is left out, with a line in the log, and the others stay;
- a syntax error anywhere takes all exports away until a good file is read: write the file by rename;
- it answers on port 2049 within 0.1 s of its start; without clients to recover, grace ends with Grace_Period.
"""

import signal
from pathlib import Path

from tests.lab.namespace import HEAD, Lab
from tests.lab.process import LabError, Process

NFS_PORT = 2049
RPCBIND_PORT = 111


class Ganesha:
    """The server of a lab, on `config`; its pid goes to `pid_file`. `start` it once the file is there."""

    def __init__(self, lab: Lab, config: Path, pid_file: Path, *, rpcbind: bool = False) -> None:
        self.config = config
        self.pid_file = pid_file
        self.log = lab.directory / "ganesha-server.log"
        self._lab = lab
        self._rpcbind = rpcbind
        self._process: Process | None = None

    def start(self) -> None:
        """Start it, rpcbind first where NFS v3 is served; returns when it takes connections."""
        if self._rpcbind:
            portmapper = self._lab.start("rpcbind", ["rpcbind", "-f", "-w", "-h", str(HEAD.ip)])
            portmapper.wait_until(lambda: self._lab.listens(RPCBIND_PORT), "port 111")
        command: list[str | Path] = [
            "ganesha.nfsd",
            "-F",
            "-L",
            self.log,
            "-f",
            self.config,
            "-p",
            self.pid_file,
        ]
        self._process = self._lab.start("ganesha", command)
        try:
            self._process.wait_until(lambda: self._lab.listens(NFS_PORT), "port 2049")
        except LabError as error:
            raise LabError(f"{error}\n{self.last_words()}") from None

    def stop(self) -> None:
        """End it, and wait: a second one beside it would fight for the port and the recovery directory."""
        if self._process:
            self._process.stop(30)

    def reload(self) -> None:
        """Have it read `config` anew, as `apply` does."""
        assert self._process is not None
        self._process.signal(signal.SIGHUP)

    def last_words(self, lines: int = 20) -> str:
        """The end of its log."""
        said = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(said.splitlines()[-lines:])
