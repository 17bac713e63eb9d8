"""How long a hostile datagram keeps the DHCP server busy: `python -m tests.benchmarks.dhcp_hostile [COUNT]`.

Mutations of real requests (tests/dhcp/test_fuzz.py) go through the production functions, no socket between.
Prints for each part of the hallway the median, the 99th percentile and the worst, in microseconds of CPU.
"""

import random
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from statistics import quantiles
from typing import TypeVar

from netbootd.boot.answer import Ignore
from netbootd.boot.client import from_dhcp
from netbootd.dhcp import wire
from netbootd.dhcp.leasebook import LeaseBook
from netbootd.dhcp.reservation import Reply, answer
from netbootd.dhcp.selection import select
from tests.dhcp.packets import NETWORK, NOW, decide
from tests.dhcp.test_fuzz import RICH, mutated, real_requests

COUNT = 100_000
_T = TypeVar("_T")


def main() -> None:
    """Measure and print."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else COUNT
    chance = random.Random(2131)
    seeds = real_requests()
    took: dict[str, list[int]] = {}
    book = LeaseBook(NETWORK)
    for _ in range(count):
        go_through(mutated(chance.choice(seeds), chance), book, took)
    print(f"{count} datagrams, {len(took['select'])} of them requests")
    for part, times in took.items():
        cuts = quantiles(times, n=100)
        print(
            f"{part:12}{cuts[49] / 1000:9.1f} median{cuts[98] / 1000:9.1f} p99{max(times) / 1000:9.1f} worst"
        )


def go_through(octets: bytes, book: LeaseBook, took: dict[str, list[int]]) -> None:
    """One datagram, as the server has it; `took` gets the nanoseconds of each part."""

    def timed(part: str, work: Callable[[], _T]) -> _T:
        began = time.thread_time_ns()
        try:
            return work()
        finally:
            took.setdefault(part, []).append(time.thread_time_ns() - began)

    try:
        request = timed("decode", lambda: wire.decode(octets))
    except wire.WireError:
        return
    network = timed("select", lambda: select(request, [NETWORK]))
    if isinstance(network, Ignore):
        return
    node = replace(RICH, macs=(request.chaddr,))
    client = timed("client", lambda: from_dhcp(request.chaddr, request.options))
    decision = timed("decide", lambda: decide(client, node, network))
    found = timed("answer", lambda: answer(request, decision, node, network, book, NOW))
    if isinstance(found, Reply):
        reply = found.message
        timed("encode", lambda: wire.encode(wire.fit(reply, request.limit)[0]))


if __name__ == "__main__":
    main()
