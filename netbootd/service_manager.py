"""What we tell the service manager and what it tells us. Alone imports systemd-python, which is optional.

Readiness and watchdog (sd_notify), and the journal. Where systemd-python is absent the same is done here in
plain Python, and without a service manager nothing happens: the daemon runs in a terminal as well.
"""

import logging
import os
import socket
import sys
from collections.abc import Mapping
from typing import Any

try:
    from systemd import daemon as _daemon
    from systemd import journal as _journal
except ImportError:  # also where PyPI's other project of that name is installed
    _daemon = _journal = None

IDENTIFIER = "netbootd"
SEND_PATIENCE = 1.0
"""Seconds; longer than that we don't stand still for a service manager that doesn't read."""

_log = logging.getLogger(__name__)


def notify(state: str) -> bool:
    """Send `READY=1`, `WATCHDOG=1`, `STATUS=…`, `STOPPING=1` (several, one a line); see sd_notify(3).

    False where there is no service manager, or it can't be reached: that is logged and never stops us.
    """
    target = os.environ.get("NOTIFY_SOCKET")
    if not target:
        return False
    try:
        if _daemon is not None:
            return bool(_daemon.notify(state))
        _send(target, state)
    except (OSError, ValueError) as error:
        _log.warning("the service manager at %r doesn't take our notice: %s", target[:120], error)
        return False
    return True


def watchdog_interval(environment: Mapping[str, str] = os.environ) -> float | None:
    """Seconds within which `WATCHDOG=1` must come again and again (send it twice as often), or None."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    try:
        microseconds = int(environment.get("WATCHDOG_USEC", "0"))
    except ValueError:
        _log.warning("WATCHDOG_USEC=%.40r isn't a number; no watchdog", environment["WATCHDOG_USEC"])
        return None
    return microseconds / 1e6 if microseconds > 0 else None


def log_handler() -> logging.Handler:
    """Where log records go: to the journal if it reads our standard error, else to standard error.

    In the journal each record has its priority; with systemd-python its source and logger as well.
    """
    if not _stderr_is_the_journal():
        handler: logging.Handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    elif _journal is not None:
        handler = _journal.JournalHandler(sender_function=_to_journal, SYSLOG_IDENTIFIER=IDENTIFIER)
        handler.setFormatter(logging.Formatter("%(message)s"))
    else:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(_PriorityFormatter("%(message)s"))
    return handler


_JOURNAL_FIELDS = frozenset(
    ["PRIORITY", "SYSLOG_IDENTIFIER", "LOGGER", "CODE_FILE", "CODE_LINE", "CODE_FUNC", "EXCEPTION_TEXT"]
)


def _to_journal(message: str, /, **fields: Any) -> None:
    """Without the twenty attributes of a LogRecord that JournalHandler adds: they say nothing new."""
    _journal.send(message, **{key: value for key, value in fields.items() if key in _JOURNAL_FIELDS})


class _PriorityFormatter(logging.Formatter):
    """`<4>` before each line: what the journal takes as the priority of a line, see sd-daemon(3)."""

    def format(self, record: logging.LogRecord) -> str:
        prefix = f"<{_priority(record.levelno)}>"
        lines = super().format(record).splitlines() or [""]
        return "\n".join(prefix + line for line in lines)


def _priority(level: int) -> int:
    """syslog's number, the smaller the worse (RFC 5424 section 6.2.1)."""
    steps = ((logging.DEBUG, 7), (logging.INFO, 6), (logging.WARNING, 4), (logging.ERROR, 3))
    return next((number for highest, number in steps if level <= highest), 2)


def _stderr_is_the_journal(environment: Mapping[str, str] = os.environ) -> bool:
    """JOURNAL_STREAM names device and inode; a standard error led elsewhere since has others."""
    try:
        status = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError, AttributeError):  # closed, replaced, or None
        return False
    return environment.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def _send(target: str, state: str) -> None:
    if target[0] not in "/@":
        raise ValueError("neither a path nor an abstract socket (@…)")
    address: Any = "\0" + target[1:] if target[0] == "@" else target
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.settimeout(SEND_PATIENCE)
        sender.sendto(state.encode(), socket.MSG_NOSIGNAL, address)
