"""A crowd of DHCP clients in one process: `python -m tests.dhcp.crowd FIRST COUNT [ROUNDS]`.

Each has a MAC of its own and asks for broadcast replies, so one socket hears for all. It prints one line
`ADDRESS MAC` for each ACK as it comes in, and at last, on standard error, how long all of it took.
"""

import os
import socket
import sys
import time

from netbootd.dhcp import wire
from netbootd.dhcp.options import MessageType, Option
from netbootd.dhcp.wire import Message
from netbootd.node import Mac

AT_ONCE = 32
PATIENCE = 1.0


def main() -> None:
    """Let clients FIRST to FIRST+COUNT-1 lease an address, ROUNDS times."""
    first, count, rounds = (*map(int, sys.argv[1:]), 1)[:3]
    door = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    door.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0\0")
    door.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    door.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    door.bind(("", 68))
    door.settimeout(PATIENCE)
    began = time.monotonic()
    for turn in range(rounds):
        exchange(door, first, count, turn)
    print(f"{count * rounds / (time.monotonic() - began):.0f} exchanges a second", file=sys.stderr)


def exchange(door: socket.socket, first: int, count: int, turn: int) -> None:
    """DISCOVER, OFFER, REQUEST, ACK for each; who hears nothing for PATIENCE seconds begins again."""
    ahead = list(range(first, first + count))[::-1]
    asking: set[int] = set()
    while ahead or asking:
        while ahead and len(asking) < AT_ONCE:
            number = ahead.pop()
            asking.add(number)
            say(door, number, turn, {Option.MESSAGE_TYPE: bytes([MessageType.DISCOVER])})
        try:
            reply = wire.decode_any(door.recv(4096))
        except TimeoutError:
            ahead.extend(asking)
            asking.clear()
            continue
        number = int.from_bytes(reply.chaddr.octets[2:], "big")
        if number not in asking or reply.xid != turn << 20 | number:
            continue
        if reply.type is MessageType.OFFER:
            chosen = {Option.SERVER_ID: reply.options[54], Option.REQUESTED_ADDRESS: reply.yiaddr.packed}
            say(door, number, turn, {Option.MESSAGE_TYPE: bytes([MessageType.REQUEST]), **chosen})
        elif reply.type is MessageType.ACK:
            os.write(1, f"{reply.yiaddr} {reply.chaddr}\n".encode())
            asking.discard(number)
        else:
            asking.discard(number)
            ahead.append(number)


def say(door: socket.socket, number: int, turn: int, options: dict[Option, bytes]) -> None:
    """Broadcast a request of client `number`."""
    message = Message(
        op=wire.BOOTREQUEST,
        xid=turn << 20 | number,
        flags=wire.BROADCAST_FLAG,
        chaddr=Mac.from_octets(b"\x52\x54" + number.to_bytes(4, "big")),
        options={int(code): value for code, value in options.items()},
    )
    door.sendto(wire.encode(message), ("255.255.255.255", 67))


if __name__ == "__main__":
    main()
