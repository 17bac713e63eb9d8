"""`python -m tests.tftp.serve INTERFACE DIRECTORY [PORT]`: the TFTP server alone, over a plain directory.

Runs until SIGTERM. Each request's end is a line of JSON on standard output, the counters another at last.
"""

import asyncio
import json
import os
import signal
import sys
from dataclasses import asdict
from ipaddress import IPv4Address
from pathlib import Path

from netbootd.asset import Asset, Refusal
from netbootd.beneath import open_beneath
from netbootd.tftp.server import PORT, TftpServer
from netbootd.tftp.transfer import Limits, Transfer


class DirectoryShelf:
    """Every file under a directory, for everybody; `text/NAME` is content made on demand."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def open(self, path: str, peer: IPv4Address, local: IPv4Address, door: str) -> Asset | Refusal:
        """As netbootd's shelf does."""
        name = path.lstrip("/")
        if name.startswith("text/"):
            content = f"{name} for {peer} at {local} by {door}\n".encode()
            return Asset(name, len(content), None, content, (0, 0, 0))
        try:
            fd = open_beneath(self._root, name)
        except FileNotFoundError:
            return Refusal(f"no file {name}")
        except PermissionError:
            return Refusal(f"{name} isn't yours", denied=True)
        status = os.fstat(fd)
        return Asset(name, status.st_size, fd, None, (status.st_dev, status.st_ino, status.st_mtime_ns))


def show(transfer: Transfer) -> None:
    print(json.dumps(asdict(transfer), default=str), flush=True)


async def serve(interface: str, root: Path, port: int) -> None:
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    limits = Limits(per_client=int(os.environ.get("PER_CLIENT", "32")))
    server = TftpServer(
        interface, IPv4Address("127.0.0.1"), DirectoryShelf(root), show, port=port, limits=limits
    )
    await server.start()
    print("ready", flush=True)
    await stopped.wait()
    await server.stop()
    print(json.dumps(server.counters), flush=True)


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else PORT))
