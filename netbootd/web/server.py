"""The HTTP door: what TFTP serves, by the same paths, and /report for node-init and the nodes' systemd.

GET, HEAD /loaders/… /boot/… /images/…      sendfile, Range, ETag
GET /ram/…                                  node files, from the node itself only and while it boots
GET /report/MAC/STAGE?detail=TEXT&cores=N   from the node itself only
"""

import asyncio
import logging
import os
import re
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path
from typing import Protocol

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.typedefs import Handler

from netbootd.asset import Asset, Refusal
from netbootd.errors import HostError, NetbootdError, UserError
from netbootd.node import Mac, Node
from netbootd.stage import Event, Level, Stage
from netbootd.web.gate import Gate, OneLine

REPORTED = frozenset({Stage.ROOT, Stage.READY})
LONGEST_DETAIL = 200
CORES = re.compile(r"[1-9][0-9]{0,4}", re.ASCII)
LEARN_EVERY = 60.0
"""Seconds between two numbers of cores that are taken from a node.

Any user of it can send them, and each that is news is written to the disk, and rendered for all nodes.
"""
SHUTDOWN = 5.0
"""Seconds that transfers under way get when the daemon stops."""

log = logging.getLogger("netbootd.web")
http_log = logging.getLogger("netbootd.web.http")
"""aiohttp's: what it says of requests that can't be read, and of handlers that fail."""


class Opener(Protocol):
    """shelf.Shelf."""

    def open(
        self, path: str, peer: IPv4Address, local: IPv4Address, door: str, port: int | None = None
    ) -> Asset | Refusal:
        """What the path yields."""


class WebServer:
    """Serves HTTP on one address.

    `record` takes events, `learn_cores` a node's name and how many cores it has; `now` gives Unix seconds.
    """

    def __init__(
        self,
        address: IPv4Address,
        port: int,
        shelf: Opener,
        node_by_mac: Callable[[Mac], Node | None],
        learn_cores: Callable[[str, int], object],
        record: Callable[[Event], None],
        now: Callable[[], float],
    ) -> None:
        self._address, self._port = address, port
        self._shelf, self._node_by_mac, self._record, self._now = shelf, node_by_mac, record, now
        self._learn_cores = learn_cores
        self._learned: dict[Mac, float] = {}
        self._runner: web.AppRunner | None = None
        self._listening: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen. Raises HostError where the port can't be had."""
        app = web.Application(client_max_size=64 << 10, middlewares=[_in_words])
        app.router.add_get("/report/{mac}/{stage}", self._report)
        app.router.add_get("/{path:.*}", self._file)
        if not http_log.filters:
            http_log.addFilter(OneLine())
        runner = web.AppRunner(
            app, access_log=None, logger=http_log, keepalive_timeout=30, shutdown_timeout=SHUTDOWN
        )
        await runner.setup()
        assert runner.server is not None  # noqa: S101 (that is what setup makes)
        try:
            self._listening = await asyncio.get_running_loop().create_server(
                Gate(runner.server).arrival, str(self._address), self._port, backlog=1024, reuse_address=True
            )
        except OSError as error:
            await runner.cleanup()
            raise HostError(
                f"can't serve HTTP on {self._address} port {self._port}: {os.strerror(error.errno or 0)}",
                "`netbootctl doctor` says who has it; [http] port in netbootd.toml moves netbootd",
            ) from None
        self._runner = runner

    async def stop(self) -> None:
        """Close; transfers under way get a few seconds."""
        if self._listening is not None:
            self._listening.close()
            self._listening = None
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _file(self, request: web.Request) -> web.StreamResponse:
        path, peer, port = request.match_info["path"], _peer(request), _port(request)
        asset = self._shelf.open(path, peer, self._address, "HTTP", port)
        if isinstance(asset, Refusal):
            status = 403 if asset.denied else 404
            return web.Response(status=status, text=f"{asset.reason}\n")
        if asset.content is not None:
            return web.Response(body=asset.content, content_type="text/plain", charset="utf-8")
        assert asset.fd is not None  # noqa: S101 (an asset is one or the other)
        try:
            # The descriptor is confined already; through /proc, aiohttp opens that very file again.
            response = _Sent(
                Path(f"/proc/self/fd/{asset.fd}"), headers={"Content-Type": "application/octet-stream"}
            )
            await response.prepare(request)
        finally:
            os.close(asset.fd)
        return response

    async def _report(self, request: web.Request) -> web.Response:
        try:
            node = self._node_by_mac(Mac(request.match_info["mac"]))
            stage = Stage(request.match_info["stage"])
        except (UserError, ValueError):
            return web.Response(status=404, text="write /report/MAC/root or /report/MAC/ready\n")
        if node is None or stage not in REPORTED:
            return web.Response(status=404, text="no such node, or not a stage that a node reports\n")
        if _peer(request) != node.address:
            return web.Response(
                status=403, text=f"only {node.name} itself, at {node.address}, reports for it\n"
            )
        detail = "".join(
            c if c.isprintable() else "?" for c in request.query.get("detail", "")[:LONGEST_DETAIL]
        )
        failed = detail.startswith("error")
        text = detail or ("login is possible" if stage is Stage.READY else "the root file system is mounted")
        self._record(
            Event(
                time=self._now(),
                mac=node.mac,
                node=node.name,
                stage=None if failed else stage,
                text=f"{stage}: {text}" if failed else text,
                level=Level.ERROR if failed else Level.INFO,
            )
        )
        # After the event: a registry that can't be written mustn't hide that the node is up.
        if stage is Stage.READY and not failed:
            self._learn(node, request.query.get("cores", ""))
        return web.Response(text="noted\n")

    def _learn(self, node: Node, cores: str) -> None:
        since = abs(self._now() - self._learned.get(node.mac, float("-inf")))
        if CORES.fullmatch(cores) and since >= LEARN_EVERY:
            self._learn_cores(node.name, int(cores))
            self._learned[node.mac] = self._now()


@web.middleware
async def _in_words(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A fault of the head node's, such as a registry that can't be read, is one line and a 503."""
    try:
        return await handler(request)
    except NetbootdError as error:
        log.error("a request of %s failed: %s", request.remote, error)
        return web.Response(status=503, text="the head node has a problem; its log says which\n")


class _Sent(web.FileResponse):
    """A file that the handler itself sends, while the descriptor is open.

    aiohttp prepares again what a handler returns, and a FileResponse would open its path once more: by
    then that number is nobody's descriptor, or another file's.
    """

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Send it, once."""
        return None if self.prepared else await super().prepare(request)


def _peer(request: web.Request) -> IPv4Address:
    return IPv4Address(request.remote or "0.0.0.0")  # noqa: S104 (an address to compare with, none to bind)


def _port(request: web.Request) -> int | None:
    peer = request.transport.get_extra_info("peername") if request.transport else None
    return int(peer[1]) if peer else None
