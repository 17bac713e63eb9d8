"""A TFTP client on a real socket, for what the clients of others can't be made to do."""

import asyncio
import socket
import struct
from dataclasses import dataclass

from tests.tftp.reader import Reader

PATIENCE = 5.0


@dataclass(frozen=True)
class Packet:
    """A datagram taken apart: `number` is the block or the error code, `payload` the rest."""

    opcode: int
    number: int
    payload: bytes
    sender: tuple[str, int]

    @property
    def options(self) -> dict[str, str]:
        """Those of an OACK."""
        words = (struct.pack("!H", self.number) + self.payload).decode("ascii").split("\0")
        return dict(zip(words[::2], words[1::2], strict=False))

    @property
    def text(self) -> str:
        """An ERROR's."""
        return self.payload.rstrip(b"\0").decode("ascii")


DATA, ERROR, OACK = 3, 5, 6


class Client:
    """One client port. Talks to `server`, an address and a port."""

    def __init__(self, server: tuple[str, int], address: str = "127.0.0.1") -> None:
        self.server = server
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.bind((address, 0))

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, datagram: bytes, to: tuple[str, int] | None = None) -> None:
        self.socket.sendto(datagram, to or self.server)

    def ask(self, path: str, mode: str = "octet", /, **options: object) -> None:
        words = [path, mode, *(str(word) for option in options.items() for word in option)]
        self.send(b"\0\1" + "".join(f"{word}\0" for word in words).encode("ascii"))

    def acknowledge(self, block: int, to: tuple[str, int]) -> None:
        self.send(struct.pack("!HH", 4, block), to)

    async def receive(self, patience: float = PATIENCE) -> Packet:
        """The next datagram. TimeoutError if none comes."""
        async with asyncio.timeout(patience):
            data, sender = await asyncio.get_running_loop().sock_recvfrom(self.socket, 70_000)
        opcode, number = struct.unpack_from("!HH", data)
        return Packet(opcode, number, data[4:], sender)

    async def silence(self, seconds: float = 0.3) -> bool:
        """Whether nothing comes for so long."""
        try:
            await self.receive(seconds)
        except TimeoutError:
            return True
        return False

    async def fetch(self, path: str, mode: str = "octet", /, **options: object) -> bytes:
        """The whole file, as a client by the book reads it."""
        self.ask(path, mode, **options)
        packet = await self.receive()
        granted: dict[str, str] = {}
        tid = packet.sender
        if packet.opcode == OACK:
            granted = packet.options
            self.acknowledge(0, tid)
            packet = await self.receive()
        reader = Reader(int(granted.get("blksize", 512)), int(granted.get("windowsize", 1)))
        while True:
            assert packet.opcode == DATA, packet
            assert packet.sender == tid, "the server's TID must not change"
            ack = reader.receive(packet.number, packet.payload)
            if ack is not None:
                self.acknowledge(ack, tid)
            if reader.done:
                return b"".join(reader.content)
            packet = await self.receive()
