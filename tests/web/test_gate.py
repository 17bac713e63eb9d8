"""Those who misuse the HTTP door: they are bounded, told of in a line, and in nobody's way."""

import asyncio
import logging
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from netbootd.errors import HostError
from netbootd.node import Mac, Node
from netbootd.web import gate
from netbootd.web.server import WebServer
from tests.web.test_server import LOOPBACK, PORT, Door, ask, running


async def _connect(source: str = "127.0.0.1") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(str(LOOPBACK), PORT, local_addr=(source, 0))


async def _status_line(source: str) -> bytes:
    """Empty where the connection was refused."""
    reader, writer = await _connect(source)
    try:
        writer.write(b"GET /vmlinuz HTTP/1.0\r\n\r\n")
        return await asyncio.wait_for(reader.readline(), 10)
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def _said(request: bytes) -> bytes:
    reader, writer = await _connect()
    writer.write(request)
    said = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    return said


async def test_one_address_has_so_many_connections_and_others_still_get_in(tmp_path: Path) -> None:
    async with running(Door(tmp_path)):
        held = [await _connect("127.0.0.2") for _ in range(gate.MOST_OF_ONE)]
        assert await _status_line("127.0.0.2") == b""
        assert (await ask("GET", "/vmlinuz"))[0] == 200
        for _, writer in held:
            writer.close()
            await writer.wait_closed()
        assert await _status_line("127.0.0.2") == b"HTTP/1.0 200 OK\r\n"


async def test_all_together_leave_descriptors_for_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "MOST_OPEN", 10)
    async with running(Door(tmp_path)):
        held = [await _connect(f"127.0.0.{i}") for i in range(2, 12)]
        assert await _status_line("127.0.1.1") == b""
        for _, writer in held:
            writer.close()
            await writer.wait_closed()
        assert (await ask("GET", "/vmlinuz"))[0] == 200


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\nno colon\x1b[2J\r\n\r\n",
        b"GET /" + b"a" * 10_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 500 + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    ],
)
async def test_malformed_requests_cost_a_line_a_second_and_no_traceback(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, garbage: bytes
) -> None:
    caplog.set_level(logging.INFO)
    logging.getLogger("netbootd.web.http").filters.clear()
    async with running(Door(tmp_path)):
        for _ in range(20):
            assert (await _said(garbage)).startswith(b"HTTP/1.0 400")
    told = [record for record in caplog.records if record.name == "netbootd.web.http"]
    assert 1 <= len(told) < 20
    for record in told:
        assert record.levelname == "WARNING"
        assert record.exc_info is None
        assert record.getMessage().startswith("Error handling request from 127.0.0.1: ")
        assert record.getMessage().isprintable()


async def test_a_registry_that_cannot_be_read_is_a_503_and_a_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_mac: Mac) -> Node | None:
        raise HostError("can't read the registry: disk I/O error")

    door = Door(tmp_path)
    address = IPv4Address("127.0.0.1")
    server = WebServer(address, PORT, door, broken, lambda *_: None, door.events.append, lambda: 0.0)
    await server.start()
    try:
        status, _, body = await ask("GET", "/report/52-54-00-00-00-01/ready")
    finally:
        await server.stop()
    assert (status, body) == (503, b"the head node has a problem; its log says which\n")
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.exc_info is None
    assert "disk I/O error" in record.getMessage()
