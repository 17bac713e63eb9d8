"""`netbootctl`: the commands, one module per noun, and the one place where a failure becomes a line.

`app` knows which module has which command and loads only that one; `head` is what a command works on;
`tables` is how anything is shown. Commands raise NetbootdError; nothing below this file prints an error.
"""

import io
import os
import sqlite3
import sys
from collections.abc import Sequence
from types import TracebackType

from netbootd.errors import BrokenTemplateError, ConfigError, HostError, NetbootdError

INTERRUPTED = 130
"""128 + SIGINT, as a shell has it."""
BROKEN_PIPE = 141
"""128 + SIGPIPE: the reader of our output went away, `netbootctl node list | head -1`."""
FAULT = 70
"""EX_SOFTWARE of sysexits.h: the fault is ours."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status. Every failure is one line on standard error."""
    sys.excepthook = _own_fault
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # an ASCII terminal gets ? for what it can't show
    try:
        from netbootd.ctl.app import run  # noqa: PLC0415 (inside, so that Ctrl-C while it loads is quiet too)

        status = run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes standard output once more at exit; give it somewhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except (NetbootdError, KeyboardInterrupt, OSError, sqlite3.Error) as error:
        status, lines = _told(error)
        return _fail(status, *lines)
    return status


def _told(error: BaseException) -> tuple[int, list[str]]:
    """Exit status and lines for a failure that we know."""
    match error:
        case ConfigError() | BrokenTemplateError():
            return error.exit_code, [f"error: {error}", *(f"  {line}" for line in error.problems)]
        case NetbootdError():
            return error.exit_code, [f"error: {error}"]
        case KeyboardInterrupt():
            return INTERRUPTED, ["interrupted"]
        case OSError():
            about = f"{error.filename}: " if error.filename else ""
            return HostError.exit_code, [f"error: {about}{error.strerror or error}"]
        case _:
            hint = "`netbootctl doctor` looks at it"
            return HostError.exit_code, [f"error: the registry can't be used: {error}; {hint}"]


def _fail(status: int, *lines: str) -> int:
    """Show what is wrong; what came from elsewhere in it can't move the cursor, nor make two lines of one."""
    for line in lines:
        shown = "".join(c if c.isprintable() else "?" for c in line)
        print(shown, file=sys.stderr)  # noqa: T201 (this is the exit ladder)
    return status


def _own_fault(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """What nobody expected: one line with the place, and all of it for those who ask."""
    if "NETBOOTD_TRACEBACK" in os.environ:
        sys.__excepthook__(kind, error, trace)
        return
    while trace and trace.tb_next:
        trace = trace.tb_next
    place = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else "nowhere"
    _fail(
        FAULT,
        f"error: netbootctl has a fault ({kind.__name__}: {error}, at {place});"
        " run it again with NETBOOTD_TRACEBACK=1 and report what it shows",
    )
