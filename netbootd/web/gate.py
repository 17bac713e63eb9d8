"""Who may keep connections to the HTTP door, and what is said of those who misuse it.

Every connection costs descriptors, which DHCP, TFTP and the registry need too; so their number is bounded,
in all and for each address. aiohttp itself ends those that ask for nothing; for the rest the kernel is told.
"""

import asyncio
import logging
import resource
import socket
import time
from collections.abc import Callable
from typing import Any

from aiohttp.http_exceptions import HttpProcessingError

MOST_OPEN = 2048
"""Connections at a time; fewer where the process may have few descriptors."""
MOST_OF_ONE = 32
"""Connections of one address at a time; iPXE has one or two."""
STALLED = 60_000
"""Milliseconds for which a client may take nothing of what is sent to it (TCP_USER_TIMEOUT, tcp(7))."""
COMPLAIN_EVERY = 1.0


class Gate:
    """Lets connections through to `make`'s protocols as long as there are few enough.

    `arrival` is the protocol factory to listen with.
    """

    def __init__(self, make: Callable[[], asyncio.Protocol]) -> None:
        self._make = make
        self._of: dict[str, list[asyncio.BaseTransport]] = {}
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        # A download takes two: its connection and its file.
        self._most = max(1, min(MOST_OPEN, soft // 8))

    def arrival(self) -> asyncio.Protocol:
        """What a new connection talks to until it is admitted."""
        return _Arrival(self._admit)

    def _admit(self, transport: asyncio.Transport) -> None:
        peer = str((transport.get_extra_info("peername") or ("?",))[0])
        if len(self._open(peer)) >= MOST_OF_ONE or self._count() >= self._most:
            transport.abort()
            return
        self._of.setdefault(peer, []).append(transport)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STALLED)
        protocol = self._make()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)

    def _open(self, peer: str) -> list[asyncio.BaseTransport]:
        still = [transport for transport in self._of.pop(peer, ()) if not transport.is_closing()]
        if still:
            self._of[peer] = still
        return still

    def _count(self) -> int:
        count = sum(map(len, self._of.values()))
        if count >= self._most:  # perhaps some have closed since
            count = sum(len(self._open(peer)) for peer in list(self._of))
        return count


class _Arrival(asyncio.Protocol):
    def __init__(self, admit: Callable[[asyncio.Transport], None]) -> None:
        self._admit = admit

    def connection_made(self, transport: Any) -> None:
        self._admit(transport)


class OneLine(logging.Filter):
    """Of what a peer did wrong, one line a second and never a traceback; faults of ours stay as they are."""

    def __init__(self) -> None:
        super().__init__()
        self._last = float("-inf")
        self._untold = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite `record`, or hold it back."""
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, HttpProcessingError | ConnectionError):
            return True
        now = time.monotonic()
        if now - self._last < COMPLAIN_EVERY:
            self._untold += 1
            return False
        more = f" ({self._untold} more like this)" if self._untold else ""
        self._last, self._untold = now, 0
        record.msg = f"{_first_line(record.getMessage())}: {_first_line(_reason(error))}{more}"
        record.args, record.exc_info, record.exc_text = (), None, None
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        return True


def _reason(error: BaseException) -> str:
    return error.message if isinstance(error, HttpProcessingError) else str(error)


def _first_line(text: str) -> str:
    """Printable and bounded: it quotes the peer."""
    line = text.strip().partition("\n")[0]
    return "".join(c if c.isprintable() else "?" for c in line[:120])
