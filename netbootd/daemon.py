"""The daemon: composes the parts, follows the interfaces, and says when it is ready.

An interface's servers run while it is up and has its address; one that comes later, goes, or changes its
address takes only its own servers with it. Networks behind relay agents are served by the servers of the
interface that their packets come in on.
"""

import asyncio
import fcntl
import logging
import os
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from netbootd import database, links, service_manager
from netbootd.advertise import Advertiser
from netbootd.boot import policy
from netbootd.boot.answer import Decision, Wait
from netbootd.boot.client import Client
from netbootd.boot.firmware import serial_of
from netbootd.config import Config
from netbootd.dhcp.server import DhcpServer
from netbootd.errors import HostError, NetbootdError
from netbootd.events import EventLog
from netbootd.images.store import ImageStore
from netbootd.network import DhcpMode, Network
from netbootd.node import Node
from netbootd.registry import Registry
from netbootd.render import Renderer
from netbootd.roots.layout import Roots
from netbootd.serials import Serials
from netbootd.shelf import HeadNode, Shelf, exported_by, shown
from netbootd.stage import Event, Level
from netbootd.tftp.server import TftpServer
from netbootd.tftp.session import How
from netbootd.tftp.transfer import Transfer
from netbootd.web.server import WebServer

FLUSH_EVERY = 0.25
LOOK_EVERY = 1.0
"""Seconds between looks at the registry's version, to ask for `apply` after somebody else's change."""
RETRY_AFTER = 10.0
"""Seconds before a network whose servers could not start is tried again."""

PATIENCE = 1.0
"""Seconds that the event loop stands still at most for somebody else who writes to the registry."""

log = logging.getLogger("netbootd")


@dataclass(frozen=True, slots=True)
class Served:
    """An interface and all networks whose nodes are reached by it: its own, and those behind relay agents.

    Its sockets are bound to the very interface: one made anew has another `index`.
    """

    interface: str
    index: int
    networks: tuple[Network, ...]

    def __str__(self) -> str:
        subnets = " and ".join(str(network.subnet) for network in self.networks)
        return f"{subnets} on {self.interface} ({' and '.join(map(str, self.addresses))})"

    @property
    def addresses(self) -> tuple[IPv4Address, ...]:
        """The head node's own there."""
        return tuple(dict.fromkeys(network.server for network in self.networks))


class Daemon:
    """One head node's daemon. `run` returns when it was told to stop."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._running: dict[Served, AsyncExitStack] = {}
        self._misfits: tuple[str, ...] = ()
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT. Raises HostError for what stops it from starting."""
        async with AsyncExitStack() as stack:
            stack.enter_context(_only_one(self._config.lock_path))
            registry = stack.enter_context(Registry.open(self._config.registry_path, PATIENCE))
            self._events = EventLog.open(self._config.events_path)
            stack.callback(self._events.close)
            self._head = HeadNode(
                registry, ImageStore(self._config.images_dir), (), Roots(self._config.roots_dir)
            )
            exported = exported_by(self._config)
            renderer = Renderer(self._config.template_dir)
            self._serials = Serials(registry, self._events.record, time.time)
            self._shelf = Shelf(self._head, exported, renderer, self._events, time.time)
            stack.push_async_callback(lambda: self._stop(self._running))
            self._handle_signals()
            await self._serve()
            service_manager.notify("STOPPING=1")
            log.info("stopping")

    async def _serve(self) -> None:
        tasks = [
            asyncio.create_task(self._follow_links()),
            asyncio.create_task(self._flush_events()),
            asyncio.create_task(self._stopping.wait()),
        ]
        cleaning = asyncio.create_task(self._clean_images())
        if directory := os.environ.get("RUNTIME_DIRECTORY"):
            tasks.append(asyncio.create_task(self._ask_for_apply(Path(directory.split(":")[0]) / "apply")))
        if interval := service_manager.watchdog_interval():
            tasks.append(asyncio.create_task(_feed_watchdog(interval / 2)))
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (*tasks, cleaning):
                task.cancel()
            await asyncio.gather(*tasks, cleaning, return_exceptions=True)

    # Networks

    async def _follow_links(self) -> None:
        """Start and stop networks as their interfaces come and go."""
        ready = False
        changes = links.watch()
        upcoming = asyncio.ensure_future(anext(changes))
        snapshot: links.Snapshot = ()
        try:
            while True:
                # Without news, what failed is tried again.
                done, _ = await asyncio.wait({upcoming}, timeout=RETRY_AFTER)
                if done:
                    snapshot = upcoming.result()
                    upcoming = asyncio.ensure_future(anext(changes))
                await self._bring_up(snapshot, first=not ready)
                if not ready:
                    service_manager.notify("READY=1")
                    ready = True
        finally:
            upcoming.cancel()
            with suppress(asyncio.CancelledError, StopAsyncIteration, HostError):
                await upcoming
            await changes.aclose()

    async def _bring_up(self, snapshot: links.Snapshot, *, first: bool) -> None:
        """Make what runs fit what is there. At the first time, servers that can't start are fatal.

        An address that doesn't fit netbootd.toml isn't: while a machine starts, it may be a passing one.
        """
        present, misfits = self._config.matched({i.name: i.addresses for i in snapshot})
        if misfits != self._misfits:
            for misfit in misfits:
                log.error("%s; waiting for an address that fits", misfit)
            self._misfits = misfits
        wanted = set(_served(present, snapshot))
        self._head.networks = present
        gone = [served for served in self._running if served not in wanted]
        for served in gone:
            log.warning("%s is gone or has another address: its servers stop", served.interface)
        await self._stop(gone)
        for served in wanted - self._running.keys():
            try:
                self._running[served] = await self._start(served)
                log.info("serving %s", served)
            except HostError as error:
                if first:
                    raise
                log.error("%s; trying again in %.0f s", error, RETRY_AFTER)
        running = {served.interface for served in self._running}
        waiting = [n for n in dict.fromkeys(n.interface for n in self._config.network) if n not in running]
        for interface in waiting if first else ():
            log.warning("%s isn't up with its address yet; waiting for it", interface)
        networks = (network for served in self._running for network in served.networks)
        serving = ", ".join(sorted(f"{n.interface} {n.subnet}" for n in networks)) or "nothing"
        waits = f"; waiting for {', '.join(waiting)}" if waiting else ""
        service_manager.notify(f"STATUS=serving {serving}{waits}")

    async def _start(self, served: Served) -> AsyncExitStack:
        """Start all servers of an interface, or none."""
        stack, config, interface = AsyncExitStack(), self._config, served.interface
        servers: list[DhcpServer | TftpServer | WebServer | Advertiser] = [
            WebServer(
                address,
                config.http.port,
                self._shelf,
                self._head.node_by_mac,
                self._head.registry.learn_cores,
                self._reported,
                time.time,
            )
            for address in served.addresses
        ]
        if config.tftp.enabled:
            servers.append(
                TftpServer(
                    interface, served.addresses[0], self._shelf, self._tftp_ended, port=config.tftp.port
                )
            )
        if any(network.dhcp is not DhcpMode.OFF for network in served.networks):
            servers.append(DhcpServer(served.networks, self._head.registry, self._events, self._decide))
        if any(_advertises(network) for network in served.networks):
            servers.append(Advertiser(interface))
        try:
            for server in servers:
                await server.start()
                stack.push_async_callback(server.stop)
        except BaseException:
            await stack.aclose()
            raise
        return stack

    async def _stop(self, several: Iterable[Served]) -> None:
        """Stop their servers, at the same time: each may give its transfers some seconds."""
        await asyncio.gather(*(self._running.pop(served).aclose() for served in list(several)))

    def _decide(self, client: Client, node: Node | None, network: Network) -> Decision:
        if node is not None and (serial := serial_of(client)) is not None:
            # After the answer and its event: it waits for no disk, and a clash is told within this boot.
            asyncio.get_running_loop().call_soon(self._serials.learn, node, serial, client.mac)
        try:
            generation = self._head.generation_of(node) if node else None
        except (NetbootdError, OSError) as error:
            return Wait(reason=f"its image can't be read: {error}")
        head = self._head
        decision = policy.decide(client, node, network, generation, head.has_loader, head.obstacle)
        head.window.decided(client, node, decision, time.time())
        return decision

    def _reported(self, event: Event) -> None:
        """What a node tells of itself."""
        self._head.window.heard(event)
        self._events.record(event)

    def _tftp_ended(self, transfer: Transfer) -> None:
        """A transfer that broke off is worth a line; the shelf has told of the rest."""
        if transfer.outcome is not How.FAILED:
            return
        try:
            node = self._head.registry.node_by_address(transfer.peer)
        except HostError:
            node = None  # told by those who need it
        share = f"after {transfer.delivered} of {transfer.size} octets in {transfer.seconds:.1f} s"
        self._events.record(
            Event(
                time=time.time(),
                mac=node.mac if node else None,
                node=node.name if node else None,
                stage=None,
                text=f"{shown(transfer.path)} over TFTP broke off {share}: {transfer.detail}",
                level=Level.WARNING,
            )
        )

    # Housekeeping

    async def _flush_events(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_EVERY)
            self._events.flush()

    async def _clean_images(self) -> None:
        """Remove what interrupted imports left, where this runs as root; else root's `apply` does it."""
        if os.geteuid() != 0:
            return
        try:
            for path in await asyncio.to_thread(self._head.store.clean):
                log.info("%s was left by a command that was interrupted: removed", path)
        except HostError as error:
            log.warning("what interrupted commands left can't be removed: %s", error)

    async def _ask_for_apply(self, request: Path) -> None:
        """Have root's helper bring exports and node files up to date, now and after each change.

        And when a network comes: what was written without it lacks its domain and name servers.
        """
        applied: tuple[int, int] | None = None
        told: set[Network] = set()
        while True:
            try:
                version = self._head.registry.version
                networks = {network for served in self._running for network in served.networks}
                news = version != applied or not networks <= told
                applied, told = version, networks
                if news:
                    await asyncio.to_thread(request.touch)
            except (HostError, OSError) as error:
                log.warning("can't ask for exports and node files: %s; run `netbootctl apply`", error)
            await asyncio.sleep(LOOK_EVERY)

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        loop.add_signal_handler(
            signal.SIGHUP,
            lambda: log.info("nothing to reload: only netbootd.toml is kept, and it takes a restart"),
        )


async def _feed_watchdog(every: float) -> None:
    while True:
        service_manager.notify("WATCHDOG=1")
        await asyncio.sleep(every)


def _served(networks: Iterable[Network], snapshot: links.Snapshot) -> Iterator[Served]:
    """What can be served: interfaces that are up and have the address that their networks need."""
    networks = tuple(networks)
    for link in snapshot:
        here = tuple(n for n in networks if n.interface == link.name and n.address in link.addresses)
        if here and link.up:
            yield Served(link.name, link.index, here)


def _advertises(network: Network) -> bool:
    """Whether its wire gets router advertisements; those don't reach behind a relay."""
    return network.router_advertisement and network.dhcp is not DhcpMode.OFF and not network.behind_relay


@contextmanager
def _only_one(path: Path) -> Iterator[None]:
    """Hold the lock that says that a daemon runs on this state_dir. Raises HostError where one does."""
    try:
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        with database.as_owner_of(path.parent):
            file = path.open("a+")
    except OSError as error:
        raise HostError(
            f"can't write {path}: {error.strerror}", "run as root, or as the daemon's user"
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            pid = file.read(20).strip() or "unknown"
            raise HostError(
                f"netbootd runs already on this state_dir, process {pid}", "stop that one first"
            ) from None
        with suppress(OSError):  # no room on the disk for six octets; the lock holds without them
            os.ftruncate(file.fileno(), 0)
            os.write(file.fileno(), f"{os.getpid()}\n".encode())
        yield
