"""One transfer among others, on real sockets: strangers, duplicates, junk, probes, clients that vanish."""

import os
from pathlib import Path

import pytest

from netbootd.tftp.session import How
from tests.tftp.client import DATA, ERROR, OACK
from tests.tftp.served import BIG, Served, descriptors


async def test_the_same_request_again_doesnt_start_a_second_transfer(served: Served) -> None:
    with served.client() as client:
        for _ in range(3):
            client.ask("big")
        first = await client.receive()
        client.acknowledge(1, first.sender)
        assert (await client.receive()).sender == first.sender
        client.ask("big")
        assert await client.silence(0.15), "the duplicate of a young transfer"
        assert len(served.openings) == 1
        assert served.server.counters["duplicate"] == 3
        client.ask("small")
        other = await client.receive()
        assert other.payload == b"small"
        assert other.sender != first.sender


async def test_a_stranger_is_told_so_and_the_transfer_goes_on(served: Served) -> None:
    with served.client() as client, served.client() as stranger:
        client.ask("big")
        first = await client.receive()
        stranger.acknowledge(1, first.sender)
        told = await stranger.receive()
        assert (told.opcode, told.number, told.sender) == (ERROR, 5, first.sender)
        stranger.send(b"\0\5\0\0die\0", first.sender)
        assert await stranger.silence()
        assert await client.silence(), "the stranger's ACK moved nothing"
        client.acknowledge(1, first.sender)
        assert (await client.receive()).number == 2


@pytest.mark.parametrize(
    "junk", [b"", b"\0", b"\0\4", b"\0\4\0", b"\0\1x\0octet\0", b"\0\3\0\1data", b"\xff" * 2000]
)
async def test_junk_from_the_client_itself_disturbs_nothing(served: Served, junk: bytes) -> None:
    with served.client() as client:
        client.ask("big")
        first = await client.receive()
        client.send(junk, first.sender)
        client.acknowledge(1, first.sender)
        assert (await client.receive()).number == 2


async def test_duplicate_acks_draw_nothing(served: Served) -> None:
    with served.client() as client:
        client.ask("big")
        first = await client.receive()
        client.acknowledge(1, first.sender)
        assert (await client.receive()).number == 2
        for _ in range(5):
            client.acknowledge(1, first.sender)
        assert await client.silence(0.15)


@pytest.mark.parametrize("code", [0, 8])
async def test_a_probe_ends_quietly_after_the_oack_and_after_the_first_block(
    served: Served, code: int
) -> None:
    error = bytes([0, 5, 0, code]) + b"User aborted the transfer\0"
    with served.client() as client:
        client.ask("big", tsize=0, blksize=1468, windowsize=4)
        packet = await client.receive()
        assert packet.opcode == OACK
        assert packet.options == {"tsize": str(len(BIG)), "blksize": "1468", "windowsize": "4"}
        client.send(error, packet.sender)
        client.ask("big")
        packet = await client.receive()
        assert packet.opcode == DATA
        client.send(error, packet.sender)
        await served.ended(2)
        assert await client.silence(0.1)
    assert [transfer.outcome for transfer in served.transfers] == [How.PROBE, How.PROBE]
    assert served.server.running == 0


async def test_a_client_that_vanished_is_noticed_when_its_host_says_so(served: Served) -> None:
    with served.client() as client:
        client.ask("big", blksize=1468, windowsize=16)
        packet = await client.receive()
        client.acknowledge(0, packet.sender)
        await client.receive()
        client.acknowledge(16, packet.sender)
    # The host's word may come with the next send or with the next look at the socket.
    (transfer,) = await served.ended()
    assert transfer.outcome is How.FAILED
    assert "closed its port" in transfer.detail


async def test_a_lost_window_comes_again_when_the_timer_says_so(served: Served) -> None:
    with served.client() as client:
        client.ask("big", blksize=1468, windowsize=4)
        tid = (await client.receive()).sender
        client.acknowledge(0, tid)
        first = [(await client.receive()).number for _ in range(4)]
        again = [(await client.receive()).number for _ in range(4)]
        assert first == again == [1, 2, 3, 4]
        client.acknowledge(2, tid)
        assert [(await client.receive()).number for _ in range(4)] == [3, 4, 5, 6]


async def test_a_file_that_shrinks_ends_its_transfer_with_an_error(served: Served) -> None:
    with served.client() as client:
        client.ask("big", blksize=1468)
        tid = (await client.receive()).sender
        client.acknowledge(0, tid)
        await client.receive()
        os.truncate(served.root / "big", 100_000)
        for block in range(1, 200):
            client.acknowledge(block, tid)
            packet = await client.receive()
            if packet.opcode == ERROR:
                break
        assert packet.opcode == ERROR
        assert "shorter" in packet.text
    (transfer,) = await served.ended()
    assert transfer.outcome is How.FAILED


async def test_stopping_tells_the_clients_and_leaves_no_descriptor_open(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(BIG)
    before = descriptors()
    served = Served(tmp_path)
    await served.server.start()
    with served.client() as client:
        client.ask("big")
        assert (await client.receive()).opcode == DATA
        await served.server.stop()
        packet = await client.receive()
        assert (packet.opcode, packet.text) == (ERROR, "the head node stops serving files")
    await served.server.stop()
    assert [transfer.outcome for transfer in served.transfers] == [How.FAILED]
    assert descriptors() == before


async def test_finished_transfers_leave_no_descriptor_open(served: Served) -> None:
    before = descriptors()
    for path in ("big", "small", "nothing", "out", "text/x", "big"):
        with served.client() as client:
            client.ask(path)
            packet = await client.receive()
            client.send(b"\0\5\0\0closed\0", packet.sender)
    await served.ended(6)
    assert descriptors() == before
