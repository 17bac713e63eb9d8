"""The head node's network interfaces: what is there, and word of every change. Alone imports pyroute2.

`interfaces` is for commands, `watch` for the daemon: it yields the whole state first and again after each
change, so that whoever follows it compares states and never has to piece one together from messages. A
message that got lost then costs nothing.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Interface
from typing import TYPE_CHECKING, Any

from netbootd.errors import HostError, UserError
from netbootd.node import Mac

if TYPE_CHECKING:
    from pyroute2 import AsyncIPRoute

SETTLE = 0.05
"""Seconds to wait after a first message: an interface that comes up sends a handful of them."""

RETRY = 1.0
"""Seconds before the kernel is asked again after it refused."""

IFF_UP = 1 << 0
IFF_LOWER_UP = 1 << 16
AF_INET = 2

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface. `up`: switched on by us; `carrier`: something is at the other end."""

    name: str
    index: int
    mac: Mac | None
    up: bool
    carrier: bool
    addresses: tuple[IPv4Interface, ...] = ()
    """IPv4 addresses with their prefixes, the primary one first."""


Snapshot = tuple[Interface, ...]
"""All interfaces, by index."""


def interfaces() -> Snapshot:
    """What is there now; for programs without an event loop. Raises HostError where the kernel won't say."""
    return asyncio.run(snapshot())


async def snapshot() -> Snapshot:
    """What is there now. Raises HostError where the kernel won't say."""
    try:
        async with _open() as route:
            return await _read(route)
    except OSError as error:
        raise _unreadable(error) from None


async def watch() -> AsyncGenerator[Snapshot, None]:
    """Yield what is there now, and again whenever it has changed; never ends by itself.

    Raises HostError if the kernel refuses at the very first; later it is asked again until it answers.
    """
    shown: Snapshot | None = None
    while True:
        try:
            async with _open() as route:
                await route.bind(_groups())
                changed = asyncio.Event()
                listening = asyncio.create_task(_listen(route, changed.set))
                try:
                    while True:
                        if (seen := await _read(route)) != shown:
                            shown = seen
                            yield seen
                        await changed.wait()
                        if listening.done():
                            listening.result()
                        await asyncio.sleep(SETTLE)
                        changed.clear()
                finally:
                    listening.cancel()
                    with suppress(asyncio.CancelledError, OSError):
                        await listening
        except OSError as error:
            # ENOBUFS after a storm of changes: messages were lost and the socket is spent.
            if shown is None:
                raise _unreadable(error) from None
            _log.warning("lost track of the network interfaces, looking again: %s", error)
            await asyncio.sleep(RETRY)


async def _listen(route: "AsyncIPRoute", changed: Callable[[], None]) -> None:
    """Call `changed` for each batch of messages; ends with OSError when the socket is spent."""
    from pyroute2.netlink.exceptions import NetlinkError  # noqa: PLC0415  see _open

    try:
        while True:  # get() ends after each batch
            batch = [message async for message in route.get()]
            if not batch:
                raise ConnectionResetError("the netlink socket was closed")
            changed()
    except NetlinkError as error:
        raise OSError(*error.args) from None
    finally:
        changed()


async def _read(route: "AsyncIPRoute", attempts: int = 5) -> Snapshot:
    """A consistent picture: the kernel marks a dump that a change got into, and we take another."""
    from pyroute2.netlink.exceptions import NetlinkDumpInterrupted, NetlinkError  # noqa: PLC0415  see _open

    for _ in range(attempts):
        try:
            links = [message async for message in await route.link("dump")]
            addresses = [message async for message in await route.addr("dump", family=AF_INET)]
            return _snapshot(links, addresses)
        except NetlinkDumpInterrupted:
            await asyncio.sleep(0)
        except NetlinkError as error:
            raise OSError(*error.args) from None
    raise OSError("the interfaces change faster than they can be read")


def _snapshot(links: Iterable[Any], addresses: Iterable[Any]) -> Snapshot:
    by_index: dict[int, list[IPv4Interface]] = {}
    for message in addresses:
        # IFA_LOCAL is ours; on a point-to-point link IFA_ADDRESS is the other end's.
        own = message.get("local") or message.get("address")
        by_index.setdefault(message["index"], []).append(IPv4Interface(f"{own}/{message['prefixlen']}"))
    found = [
        Interface(
            name=message.get("ifname"),
            index=message["index"],
            mac=_mac(message.get("address")),
            up=bool(message["flags"] & IFF_UP),
            carrier=bool(message["flags"] & IFF_LOWER_UP),
            addresses=tuple(by_index.get(message["index"], ())),
        )
        for message in links
    ]
    return tuple(sorted(found, key=lambda interface: interface.index))


def _mac(text: str | None) -> Mac | None:
    """None for loopback (all zeros), tunnels and InfiniBand (20 octets), which have no Ethernet address."""
    try:
        return Mac(text) if text else None
    except UserError:
        return None


def _open() -> "AsyncIPRoute":
    # Without /proc/net, as the service has it, pyroute2 says at import that traffic control is limited.
    logging.getLogger("pyroute2.netlink").setLevel(logging.ERROR)
    # Here and not above: loading it takes 120 ms, which commands that ask for no interface don't owe.
    from pyroute2 import AsyncIPRoute  # noqa: PLC0415

    return AsyncIPRoute()


def _groups() -> int:
    from pyroute2.netlink.rtnl import RTMGRP_IPV4_IFADDR, RTMGRP_LINK  # noqa: PLC0415  see _open

    return int(RTMGRP_LINK | RTMGRP_IPV4_IFADDR)


def _unreadable(error: OSError) -> HostError:
    return HostError(
        f"can't read the network interfaces from the kernel: {error.strerror or error}",
        "is AF_NETLINK allowed to this process?",
    )
