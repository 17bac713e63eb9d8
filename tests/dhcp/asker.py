"""Sends a DHCP message and prints what comes back: `python -m tests.dhcp.asker SECONDS SERVERS PORT TO HEX`.

From port PORT of eth0 to ADDRESS:PORT, every two seconds, until so many servers have answered or so many
seconds have passed. Each server's answer is a line: its address, its port, the octets.
"""

import socket
import sys
import time

AGAIN = 2.0


def main() -> None:
    """Ask, then listen, and ask again as clients do."""
    seconds, servers, port = float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    to, payload = sys.argv[4], bytes.fromhex(sys.argv[5])
    host, _, number = to.partition(":")
    heard: set[str] = set()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0\0")
        asking.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        asking.bind(("", port))
        next_send = time.monotonic()
        deadline = next_send + seconds
        while len(heard) < servers and (now := time.monotonic()) < deadline:
            if now >= next_send:
                asking.sendto(payload, (host, int(number)))
                next_send += AGAIN
            asking.settimeout(max(0.01, min(next_send, deadline) - now))
            try:
                answer, (source, source_port) = asking.recvfrom(2000)
            except TimeoutError:
                continue
            if source not in heard:
                heard.add(source)
                print(source, source_port, answer.hex(), flush=True)


if __name__ == "__main__":
    main()
