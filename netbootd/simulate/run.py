"""Boards on a wire: each plays its part at its own pace, all on one port at once. IO and time are here."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from netbootd.simulate.play import (
    Booted,
    Configure,
    Datagram,
    Machine,
    Now,
    Play,
    Segment,
    Send,
    Step,
    Wait,
    WontBoot,
)
from netbootd.simulate.port import Port
from netbootd.simulate.station import Station

MOST_UNHEARD = 4096
"""Packets that wait for a board to listen; a window of TFTP or TCP is a fraction of it."""


@dataclass(slots=True)
class Report:
    """What came of one board. `booted` where it would boot, else `reason` and `mend`."""

    name: str
    machine: Machine
    steps: list[Step] = field(default_factory=list)
    booted: Booted | None = None
    reason: str = ""
    mend: str = ""
    seconds: float = 0.0


class _Player:
    """One board at play."""

    def __init__(self, report: Report, port: Port, told: Callable[[Report, Step], None]) -> None:
        self.station = Station(report.machine.mac)
        self._report = report
        self._port = port
        self._told = told
        self._heard: asyncio.Queue[Datagram | Segment] = asyncio.Queue(MOST_UNHEARD)
        self._began = time.monotonic()

    def hear(self, frame: bytes) -> None:
        """A frame that is for this board's card or for all."""
        packet, answers = self.station.hear(frame)
        for answer in answers:
            self._port.send(answer)
        if packet is not None and not self._heard.full():
            self._heard.put_nowait(packet)

    async def play(self, board: Play[Booted]) -> None:
        """Do what the board does until it has booted or given up."""
        outcome: Any = None
        try:
            while True:
                outcome = await self._done(board.send(outcome))
        except StopIteration as end:
            self._report.booted = end.value
        except WontBoot as error:
            self._report.reason, self._report.mend = error.message, error.hint
        finally:
            self._report.seconds = self._now()

    async def _done(self, action: object) -> Any:
        match action:
            case Send(packet):
                for frame in self.station.send(packet):
                    self._port.send(frame)
            case Wait(port, seconds):
                return await self._wait(port, seconds)
            case Configure(address, router, direct):
                for frame in self.station.configure(address, router, direct=direct):
                    self._port.send(frame)
            case Now():
                return self._now()
            case Step():
                self._report.steps.append(action)
                self._told(self._report, action)
        return None

    async def _wait(self, port: int, seconds: float) -> Datagram | Segment | None:
        try:
            async with asyncio.timeout(seconds):
                while True:
                    packet = await self._heard.get()
                    if packet.port == port:
                        return packet
        except TimeoutError:
            return None

    def _now(self) -> float:
        return time.monotonic() - self._began


async def play(
    boards: list[tuple[Report, Play[Booted]]],
    port: Port,
    told: Callable[[Report, Step], None] = lambda _report, _step: None,
    longest: float | None = None,
) -> None:
    """Power all boards on at once; each boots or gives up, after `longest` seconds at the latest."""
    players = [_Player(report, port, told) for report, _ in boards]

    def heard(frame: bytes) -> None:
        for player in players:
            player.hear(frame)

    port.listen(heard)
    try:
        async with asyncio.TaskGroup() as group:
            for player, (report, board) in zip(players, boards, strict=True):
                group.create_task(_limited(player.play(board), report, longest))
    finally:
        asyncio.get_running_loop().remove_reader(port.fileno())


async def _limited(playing: Any, report: Report, longest: float | None) -> None:
    try:
        async with asyncio.timeout(longest):
            await playing
    except TimeoutError:
        last = report.steps[-1].asked if report.steps else "its first DHCP request"
        report.reason = f"not done in {longest:.0f} s, the last was {last}"
        report.mend = "give it longer with --timeout, or see why the head node is slow"
