"""The server on real sockets of the loopback interface, against clients that behave and that don't."""

import asyncio
import errno
import logging
import os
import random
from pathlib import Path

import pytest

from netbootd.errors import HostError
from netbootd.tftp.server import TftpServer
from netbootd.tftp.session import How
from netbootd.tftp.transfer import Limits, Opening
from tests.tftp.client import DATA, ERROR, Client
from tests.tftp.serve import DirectoryShelf
from tests.tftp.served import BIG, LOCAL, Served, descriptors

# --------------------------------------------------------------------------- what is sent


@pytest.mark.parametrize("windowsize", [None, 1, 3, 16, 64])
@pytest.mark.parametrize("blksize", [None, 8, 512, 1408, 1468, 8192, 65464])
async def test_files_of_every_length_arrive_in_every_block_size(
    served: Served, blksize: int | None, windowsize: int | None
) -> None:
    options = {"blksize": blksize, "windowsize": windowsize, "tsize": 0}
    asked = {name: value for name, value in options.items() if value is not None}
    block = blksize or 512
    for size in (0, 1, block - 1, block, block + 1, 65 * block, 150 * block + 1):
        content = BIG[: min(size, len(BIG))]
        (served.root / f"f{size}").write_bytes(content)
        with served.client() as client:
            assert await client.fetch(f"f{size}", **asked) == content
    ended = await served.ended(7)
    assert {transfer.outcome for transfer in ended} == {How.DONE}
    assert all(transfer.delivered == transfer.size for transfer in ended)
    assert all(transfer.retransmits == 0 for transfer in ended)


async def test_many_clients_at_once_get_what_each_asked_for(tmp_path: Path) -> None:
    served = Served(tmp_path, Limits(per_client=200, frames=100_000))
    for n in range(8):
        (tmp_path / f"f{n}").write_bytes(random.Random(n).randbytes(50_000 + n))
    await served.server.start()

    async def fetch(n: int) -> None:
        with served.client() as client:
            content = await client.fetch(f"f{n % 8}", blksize=(512, 1468)[n % 2], windowsize=1 + n % 5)
            assert content == (tmp_path / f"f{n % 8}").read_bytes()

    await asyncio.gather(*(fetch(n) for n in range(100)))
    await served.server.stop()
    assert len(served.transfers) == 100


async def test_content_made_on_demand_is_served_to_each_client_as_its_own(served: Served) -> None:
    for address in ("127.0.0.1", "127.0.0.2"):
        with served.client(address) as client:
            client.ask("/text/boot.ipxe", tsize=0)
            expected = f"text/boot.ipxe for {address} at 127.0.0.1 by TFTP\n".encode()
            assert (await client.receive()).options == {"tsize": str(len(expected))}
        with served.client(address) as client:
            assert await client.fetch("text/boot.ipxe", blksize=16) == expected


async def test_netascii_is_translated_and_its_size_is_that_on_the_wire(served: Served) -> None:
    (served.root / "text").write_bytes(b"one\ntwo\r\nthree\r" * 100)
    translated = b"one\r\ntwo\r\0\r\nthree\r\0" * 100
    with served.client() as client:
        client.ask("text", "netascii", tsize=0)
        packet = await client.receive()
        assert packet.options == {"tsize": str(len(translated))}
        client.send(b"\0\5\0\x08\0", packet.sender)
    with served.client() as client:
        assert await client.fetch("text", "NetASCII") == translated


async def test_netascii_of_a_kernel_is_refused_with_advice(served: Served) -> None:
    with (served.root / "kernel").open("wb") as file:
        file.truncate(5_000_000)
    with served.client() as client:
        client.ask("kernel", "netascii")
        packet = await client.receive()
    assert packet.opcode == ERROR
    assert "octet" in packet.text


async def test_the_opening_and_the_end_of_a_transfer_are_told(served: Served) -> None:
    with served.client() as client:
        await client.fetch("big", blksize=1468)
    assert served.openings == [Opening(peer=LOCAL, local=LOCAL, path="big", size=len(BIG))]
    (transfer,) = await served.ended()
    assert (transfer.peer, transfer.local, transfer.path) == (LOCAL, LOCAL, "big")
    assert (transfer.outcome, transfer.size, transfer.delivered) == (How.DONE, len(BIG), len(BIG))
    assert transfer.seconds > 0


async def test_an_answer_comes_from_the_address_that_was_asked(served: Served) -> None:
    with Client(("127.0.0.7", served.server.port)) as client:
        client.ask("small")
        assert (await client.receive()).sender[0] == "127.0.0.7"
        client.ask("missing")
        packet = await client.receive()
        assert (packet.opcode, packet.sender[0]) == (ERROR, "127.0.0.7")


# --------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("nothing", 1),
        ("../../etc/passwd", 2),
        ("out", 2),
        ("..", 2),
        (".", 1),
        ("x" * 400, 1),
    ],
)
async def test_what_isnt_there_or_isnt_allowed_is_an_error_at_once(
    served: Served, path: str, code: int
) -> None:
    with served.client() as client:
        client.ask(path, tsize=0, blksize=1468)
        packet = await client.receive()
        assert (packet.opcode, packet.number) == (ERROR, code)
        assert packet.text
        assert await client.silence()
    (transfer,) = served.transfers
    assert (transfer.outcome, transfer.detail[:20]) == (How.REFUSED, packet.text[:20])
    assert not served.openings


async def test_nothing_can_be_written(served: Served) -> None:
    with served.client() as client:
        client.send(b"\0\2new\0octet\0")
        packet = await client.receive()
    assert (packet.opcode, packet.number) == (ERROR, 2)
    assert not (served.root / "new").exists()


async def test_malformed_requests_get_few_errors_and_few_lines(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    served = Served(tmp_path, Limits(errors_per_second=5))
    (tmp_path / "small").write_bytes(b"small")
    await served.server.start()
    dice = random.Random(69)
    errors = 0
    with caplog.at_level(logging.WARNING), served.client() as client:
        for _ in range(500):
            client.send(b"\0" + bytes([dice.choice([1, 2, 3, 4, 7])]) + b"\xff" + dice.randbytes(30))
            await asyncio.sleep(0)
        while not await client.silence(0.1):
            errors += 1
        assert await client.fetch("small") == b"small"
    await served.server.stop()
    assert served.server.counters["malformed"] == 500
    assert 1 <= errors <= 10
    assert 1 <= len(caplog.records) <= 3
    assert "malformed request" in caplog.text
    assert not any(record.exc_info for record in caplog.records)


async def test_an_error_is_never_the_answer_to_an_error(served: Served) -> None:
    with served.client() as client:
        client.send(b"\0\5\0\1File not found\0")
        client.send(b"\0\5")
        assert await client.silence()
    assert served.server.counters["malformed"] == 2


async def test_a_client_may_run_so_many_transfers_and_no_more(tmp_path: Path) -> None:
    served = Served(tmp_path, Limits(per_client=3, transfers=5))
    (tmp_path / "big").write_bytes(BIG)
    await served.server.start()
    addresses = ["127.0.0.1"] * 4 + ["127.0.0.2"] * 3
    clients = [served.client(address) for address in addresses]
    answers = []
    for client in clients:
        client.ask("big")
        answers.append(await client.receive())
    assert [packet.opcode for packet in answers] == [DATA, DATA, DATA, ERROR, DATA, DATA, ERROR]
    assert "your address" in answers[3].text
    assert "busy" in answers[6].text
    clients[0].send(b"\0\5\0\0enough\0", answers[0].sender)
    await served.ended(3)
    clients[3].ask("big")
    assert (await clients[3].receive()).opcode == DATA
    for client in clients:
        client.socket.close()
    await served.server.stop()


# --------------------------------------------------------------------------- the host's side


async def test_a_port_in_use_is_an_error_that_says_how_to_find_its_owner(served: Served) -> None:
    other = TftpServer("lo", LOCAL, DirectoryShelf(served.root), print, port=served.server.port)
    with pytest.raises(HostError, match="ss -ulpn") as raised:
        await other.start()
    assert str(served.server.port) in raised.value.message


async def test_a_missing_interface_is_an_error_that_names_it(tmp_path: Path) -> None:
    server = TftpServer("nosuch0", LOCAL, DirectoryShelf(tmp_path), print, port=0)
    with pytest.raises(HostError, match="no interface nosuch0"):
        await server.start()


async def test_a_host_fault_is_told_to_the_client_and_logged(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(DirectoryShelf, "open", full)
    with served.client() as client:
        client.ask("small")
        packet = await client.receive()
    assert (packet.opcode, packet.number) == (ERROR, 0)
    assert "log" in packet.text
    assert "Too many open files" in caplog.text


async def test_a_server_under_fire_still_serves(served: Served) -> None:
    dice = random.Random(7)
    seeds = [
        b"\0\1small\0octet\0tsize\x000\0blksize\x001468\0",
        b"\0\2x\0octet\0",
        b"\0\5\0\0x\0",
        b"\0\4\0\1",
    ]
    with served.client("127.0.0.2") as hostile, served.client() as client:
        for _ in range(3000):
            datagram = bytearray(dice.choice(seeds))
            for _ in range(dice.randint(0, 3)):
                datagram[dice.randrange(len(datagram))] = dice.randrange(256)
            hostile.send(bytes(datagram[: dice.randint(0, 600)]))
            await asyncio.sleep(0)
        hostile.socket.close()
        assert await client.fetch("big", blksize=1468) == BIG


def test_a_server_needs_no_more_than_its_socket_when_nobody_asks(tmp_path: Path) -> None:
    async def idle() -> int:
        before = descriptors()
        served = Served(tmp_path)
        await served.server.start()
        used = descriptors() - before
        await served.server.stop()
        return used

    assert asyncio.run(idle()) == 2, "the socket and the set of the transfers' sockets"
