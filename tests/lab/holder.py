"""The process that holds a namespace open, and ends everything in it.

Run inside the new namespaces with its standard input on a pipe: it says `ready`, then waits. When the pipe
closes (whoever made the namespace ended, however that happened) or a SIGTERM comes, it ends every process
of its network namespace, daemons that went to the background too, and then itself. The word `keep` on
standard input lets the maker go away without that; then only a signal ends it.

Uses the standard library alone and imports nothing of the project: it must start fast and never fail.
"""

import contextlib
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType


def _exit(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit


def network_namespace(pid: int | str) -> str | None:
    """Which network namespace a process is in, or None if it has gone or may not be asked."""
    try:
        return str(Path(f"/proc/{pid}/ns/net").readlink())
    except OSError:
        return None


def members(namespace: str) -> list[int]:
    """The processes of a network namespace, this one excepted."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in pids if pid != os.getpid() and network_namespace(pid) == namespace]


def end_members(namespace: str, patience: float = 3.0) -> None:
    """SIGTERM to all, SIGKILL to those who are still there after `patience` seconds."""
    deadline = time.monotonic() + patience
    told: set[int] = set()
    while pids := members(namespace):
        late = time.monotonic() > deadline
        if late and time.monotonic() > deadline + patience:
            return
        for pid in pids:
            if late or pid not in told:
                told.add(pid)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL if late else signal.SIGTERM)
        time.sleep(0.02)


def main() -> None:
    """Hold until told otherwise."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _exit)
    namespace = network_namespace("self")
    try:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        for line in sys.stdin:
            if line.strip() == "keep":
                # Whoever reads the maker's error output shall see its end.
                os.dup2(os.open(os.devnull, os.O_RDWR), sys.stderr.fileno())
                while True:
                    signal.pause()
    except (SystemExit, BrokenPipeError):
        pass
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if namespace is not None:
        end_members(namespace)


if __name__ == "__main__":
    main()
