"""HTTP: ranges, HEAD, refusals, and who may report what."""

import http.client
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from netbootd.asset import Asset, Refusal
from netbootd.errors import HostError
from netbootd.node import Mac, Node
from netbootd.stage import Event, Level, Stage
from netbootd.web.server import WebServer

LOOPBACK = IPv4Address("127.0.0.1")
PORT = 18_081
MAC = Mac("52:54:00:00:00:01")
REPORT = "/report/52-54-00-00-00-01"


class Door:
    """A running server with one file, one rendered text and one thing that is denied."""

    def __init__(self, directory: Path, node_address: IPv4Address = LOOPBACK) -> None:
        self.file = directory / "vmlinuz"
        self.file.write_bytes(bytes(range(256)) * 64)
        self.events: list[Event] = []
        self.cores: list[tuple[str, int]] = []
        self.now = 1_700_000_000.0
        node = Node(name="n01", macs=(MAC,), address=node_address, machine_id="0" * 32)
        self.server = WebServer(
            LOOPBACK,
            PORT,
            self,
            lambda mac: node if mac == MAC else None,
            lambda name, cores: self.cores.append((name, cores)),
            self.events.append,
            lambda: self.now,
        )

    def open(
        self, path: str, peer: IPv4Address, local: IPv4Address, door: str, port: int | None = None
    ) -> Asset | Refusal:
        if path == "vmlinuz":
            fd = os.open(self.file, os.O_RDONLY)
            return Asset(path, os.fstat(fd).st_size, fd, None, (0, 0, 0))
        if path == "boot.ipxe":
            return Asset(path, 7, None, b"#!ipxe\n", (0, 0, 0))
        return Refusal(f"{path}: no such path", denied=path.startswith("denied"))


@asynccontextmanager
async def running(door: Door) -> AsyncIterator[Door]:
    await door.server.start()
    try:
        yield door
    finally:
        await door.server.stop()


async def ask(method: str, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """One request by a client that no one here wrote, in a thread of its own."""
    got: list[tuple[int, dict[str, str], bytes]] = []

    def run() -> None:
        connection = http.client.HTTPConnection(str(LOOPBACK), PORT, timeout=10)
        connection.request(
            method, path, headers={key.replace("_", "-"): value for key, value in headers.items()}
        )
        response = connection.getresponse()
        got.append((response.status, dict(response.getheaders()), response.read()))
        connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    import asyncio

    await asyncio.to_thread(thread.join)
    return got[0]


async def test_a_file_comes_whole_with_its_length(tmp_path: Path) -> None:
    async with running(Door(tmp_path)) as door:
        status, headers, body = await ask("GET", "/vmlinuz")
    assert (status, body) == (200, door.file.read_bytes())
    assert headers["Content-Length"] == str(len(body))
    assert headers["Content-Type"] == "application/octet-stream"


async def test_head_tells_the_length_and_sends_nothing(tmp_path: Path) -> None:
    async with running(Door(tmp_path)):
        status, headers, body = await ask("HEAD", "/vmlinuz")
        rendered = await ask("HEAD", "/boot.ipxe")
    assert (status, headers["Content-Length"], body) == (200, "16384", b"")
    assert (rendered[0], rendered[1]["Content-Length"], rendered[2]) == (200, "7", b"")


@pytest.mark.parametrize(
    ("asked", "status", "first", "last"),
    [("bytes=0-9", 206, 0, 10), ("bytes=16380-", 206, 16380, 16384), ("bytes=-4", 206, 16380, 16384)],
)
async def test_a_range_is_that_range(tmp_path: Path, asked: str, status: int, first: int, last: int) -> None:
    async with running(Door(tmp_path)) as door:
        answer = await ask("GET", "/vmlinuz", Range=asked)
    assert (answer[0], answer[2]) == (status, door.file.read_bytes()[first:last])
    assert answer[1]["Content-Range"] == f"bytes {first}-{last - 1}/16384"


async def test_a_range_behind_the_end_is_refused(tmp_path: Path) -> None:
    async with running(Door(tmp_path)):
        assert (await ask("GET", "/vmlinuz", Range="bytes=99999-"))[0] == 416


async def test_a_client_that_has_the_file_gets_it_no_second_time(tmp_path: Path) -> None:
    async with running(Door(tmp_path)):
        etag = (await ask("GET", "/vmlinuz"))[1]["Etag"]
        assert (await ask("GET", "/vmlinuz", If_None_Match=etag))[0] == 304


async def test_a_refusal_is_404_or_403_with_the_reason(tmp_path: Path) -> None:
    async with running(Door(tmp_path)):
        assert (await ask("GET", "/nope"))[::2] == (404, b"nope: no such path\n")
        assert (await ask("GET", "/denied"))[0] == 403
        assert (await ask("POST", "/vmlinuz"))[0] == 405


async def test_a_node_s_report_is_an_event(tmp_path: Path) -> None:
    async with running(Door(tmp_path)) as door:
        assert (await ask("GET", f"{REPORT}/ready"))[0] == 200
        assert (await ask("GET", f"{REPORT}/root?detail=error:%20no%20overlay%1b[2J"))[0] == 200
    ready, failed = door.events
    assert (ready.stage, ready.node, ready.level) == (Stage.READY, "n01", Level.INFO)
    assert (failed.stage, failed.level) == (None, Level.ERROR)
    assert failed.text == "root: error: no overlay?[2J"


async def test_a_node_that_is_up_tells_its_cores(tmp_path: Path) -> None:
    async with running(Door(tmp_path)) as door:
        for query in ("", "?cores=", "?cores=0", "?cores=-1", "?cores=123456", "?cores=4x", "?cores=%D9%A4"):
            assert (await ask("GET", f"{REPORT}/ready{query}"))[0] == 200
        await ask("GET", f"{REPORT}/root?cores=2")
        await ask("GET", f"{REPORT}/ready?cores=2&detail=error")
        assert door.cores == []
        await ask("GET", f"{REPORT}/ready?cores=96")
    assert door.cores == [("n01", 96)]
    assert [event.stage for event in door.events if event.stage] == [
        *(Stage.READY,) * 7,
        Stage.ROOT,
        Stage.READY,
    ]


async def test_a_node_whose_user_tells_ever_other_cores_has_the_head_node_write_one_a_minute(
    tmp_path: Path,
) -> None:
    async with running(Door(tmp_path)) as door:
        for cores in range(1, 10):
            assert (await ask("GET", f"{REPORT}/ready?cores={cores}"))[0] == 200
        assert door.cores == [("n01", 1)]
        door.now += 61
        await ask("GET", f"{REPORT}/ready?cores=8")
        assert door.cores == [("n01", 1), ("n01", 8)]
        door.now -= 86_400  # the clock is set
        await ask("GET", f"{REPORT}/ready?cores=9")
    assert door.cores[-1] == ("n01", 9)


@pytest.mark.parametrize(
    "path", [f"{REPORT}/kernel", f"{REPORT}/x", "/report/zz/ready", "/report/52-54-00-00-00-09/ready"]
)
async def test_what_no_node_reports_is_not_found(tmp_path: Path, path: str) -> None:
    async with running(Door(tmp_path)) as door:
        assert (await ask("GET", path))[0] == 404
    assert door.events == []


async def test_nobody_reports_for_another(tmp_path: Path) -> None:
    async with running(Door(tmp_path, node_address=IPv4Address("10.77.0.10"))) as door:
        assert (await ask("GET", f"{REPORT}/ready"))[0] == 403
    assert door.events == []


async def test_a_port_that_is_taken_is_an_error_in_words(tmp_path: Path) -> None:
    async with running(Door(tmp_path)):
        with pytest.raises(HostError, match="netbootctl doctor"):
            await Door(tmp_path).server.start()
