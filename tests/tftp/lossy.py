"""`python -m tests.tftp.lossy ADDRESS SERVER PERCENT SEED`: a bad cable, as a relay.

Listens on ADDRESS, port 69, passes datagrams on to SERVER and back, and of those in each direction loses
PERCENT, sends PERCENT twice and holds back PERCENT until the next one has overtaken it. Each client port has
a relay port of its own towards the server, and each port of the server one towards the client.
"""

import random
import selectors
import socket
import sys
from dataclasses import dataclass

Address = tuple[str, int]


@dataclass
class Pipe:
    """What comes in at `inlet` goes out at `outlet` to `to`."""

    inlet: socket.socket
    outlet: socket.socket
    to: Address
    held: bytes | None = None


class Relay:
    """All sockets, and the dice that deal out the fates."""

    def __init__(self, address: str, server: Address, percent: int, seed: int) -> None:
        self._address, self._server, self._percent = address, server, percent
        self._dice = random.Random(seed)
        self._selector = selectors.DefaultSelector()
        self._front = self._socket(69)
        self._requests: dict[Address, Pipe] = {}
        self._answers: dict[tuple[Address, Address], Pipe] = {}
        self._pipes: dict[socket.socket, Pipe] = {}
        self._clients: dict[socket.socket, Address] = {}

    def run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                assert isinstance(key.fileobj, socket.socket)
                data, sender = key.fileobj.recvfrom(70_000)
                self._carry(self._pipe(key.fileobj, sender), data)

    def _pipe(self, inlet: socket.socket, sender: Address) -> Pipe:
        if inlet is self._front:
            if sender not in self._requests:
                upstream = self._socket(0)
                self._requests[sender] = Pipe(inlet, upstream, self._server)
                self._clients[upstream] = sender
            return self._requests[sender]
        if inlet in self._clients:
            client = self._clients[inlet]
            if (client, sender) not in self._answers:
                tid = self._socket(0)
                self._answers[client, sender] = Pipe(inlet, tid, client)
                self._pipes[tid] = Pipe(tid, inlet, sender)
            return self._answers[client, sender]
        return self._pipes[inlet]

    def _carry(self, pipe: Pipe, data: bytes) -> None:
        held, pipe.held = pipe.held, None
        fate = self._dice.randrange(100) // self._percent
        if fate == 2:
            pipe.held = data
        elif fate != 0:
            for _ in range(2 if fate == 1 else 1):
                pipe.outlet.sendto(data, pipe.to)
        if held is not None:
            pipe.outlet.sendto(held, pipe.to)

    def _socket(self, port: int) -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind((self._address, port))
        self._selector.register(made, selectors.EVENT_READ)
        return made


if __name__ == "__main__":
    relay = Relay(sys.argv[1], (sys.argv[2], 69), int(sys.argv[3]), int(sys.argv[4]))
    print("ready", flush=True)
    relay.run()
