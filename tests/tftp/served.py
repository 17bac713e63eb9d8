"""A TFTP server on the loopback interface, in the test's own process."""

import asyncio
import random
from ipaddress import IPv4Address
from pathlib import Path

from netbootd.tftp.server import TftpServer
from netbootd.tftp.transfer import Limits, Opening, Transfer
from tests.tftp.client import Client
from tests.tftp.serve import DirectoryShelf

LOCAL = IPv4Address("127.0.0.1")
BIG = random.Random(1).randbytes(300_000)


class Served:
    """A running server, the directory it serves, and what it told."""

    def __init__(self, root: Path, limits: Limits | None = None) -> None:
        self.root = root
        self._told = asyncio.Event()
        self.transfers: list[Transfer] = []
        self.openings: list[Opening] = []
        self.server = TftpServer(
            "lo",
            LOCAL,
            DirectoryShelf(root),
            self._report,
            port=0,
            limits=limits,
            opening=self.openings.append,
        )

    def client(self, address: str = "127.0.0.1") -> Client:
        return Client((str(LOCAL), self.server.port), address)

    async def ended(self, many: int = 1) -> list[Transfer]:
        """The transfers, once so many have ended."""
        async with asyncio.timeout(5):
            while len(self.transfers) < many:
                await self._told.wait()
                self._told.clear()
        return self.transfers

    def _report(self, transfer: Transfer) -> None:
        self.transfers.append(transfer)
        self._told.set()


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
