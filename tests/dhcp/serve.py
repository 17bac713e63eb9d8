"""Runs one DHCP server as the daemon would, alone: `python -m tests.dhcp.serve DIRECTORY [POOL]`.

The registry and the events are in DIRECTORY; what happens goes to standard output, `ready` first.
"""

import asyncio
import logging
import signal
import sys
from dataclasses import replace
from ipaddress import IPv4Interface
from pathlib import Path

from netbootd.dhcp.server import DhcpServer
from netbootd.errors import HostError
from netbootd.events import EventLog
from netbootd.network import AddressRange
from netbootd.registry import Registry
from tests.dhcp.packets import NETWORK, decide
from tests.lab.namespace import BRIDGE


async def serve(directory: Path, pool: str | None) -> None:
    """Until SIGTERM; then say how often what happened."""
    given = AddressRange.parse(pool) if pool else None
    wide = given is not None and given.last not in NETWORK.subnet
    address = IPv4Interface(f"{NETWORK.server}/16") if wide else NETWORK.address
    network = replace(NETWORK, interface=BRIDGE, address=address, pool=given)
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    with Registry.open(directory / "registry.db") as registry:
        events = EventLog.open(directory / "events.db")
        server = DhcpServer((network,), registry, events, decide)
        await server.start()
        print("ready", flush=True)
        await stopping.wait()
        await server.stop()
        events.close()
    print("counters", dict(sorted(server.counters.items())), flush=True)


def main() -> int:
    """The exit ladder, as short as it can be."""
    logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
    try:
        asyncio.run(serve(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None))
    except HostError as error:
        print(error, flush=True)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
