"""Files as packets: the right octets in every chunk, one descriptor a file, memory within its bound."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netbootd.asset import Asset
from netbootd.tftp import frames
from netbootd.tftp.frames import FileChangedError, FrameCache, Source, Sources, TooLargeError, chunk_blocks
from netbootd.tftp.wire import Mode


def opened(path: Path) -> Asset:
    fd = os.open(path, os.O_RDONLY)
    status = os.fstat(fd)
    return Asset(path.name, status.st_size, fd, None, (status.st_dev, status.st_ino, status.st_mtime_ns))


def rendered(content: bytes) -> Asset:
    return Asset("boot.ipxe", len(content), None, content, (0, 0, 0))


def is_open(fd: int | None) -> bool:
    assert fd is not None
    return Path(f"/proc/self/fd/{fd}").exists()


def content_of(cache: FrameCache, source: Source, blksize: int) -> bytes:
    """What a client that reads every packet gets, block by block."""
    content, block = b"", 1
    for number in range(source.size // blksize // chunk_blocks(blksize) + 1):
        chunk = cache.chunk(source, blksize, number)
        while chunk:
            packet, chunk = chunk[: blksize + 4], chunk[blksize + 4 :]
            assert packet[:4] == b"\0\3" + (block % 65536).to_bytes(2, "big")
            content += packet[4:]
            block += 1
    assert block - 1 == source.size // blksize + 1, "the last block is shorter than blksize, or empty"
    return content


@given(st.binary(max_size=3000), st.sampled_from([8, 100, 512, 65464]), st.integers(0, 2))
def test_a_source_read_in_chunks_is_the_source(content: bytes, blksize: int, times: int) -> None:
    content = (content * 40)[: chunk_blocks(blksize) * blksize * times] or content
    source = Sources().take(rendered(content), Mode.OCTET)
    assert content_of(FrameCache(1 << 20), source, blksize) == content


def test_one_send_of_a_chunk_is_what_udp_gso_takes() -> None:
    for blksize in range(8, 65465):
        blocks = chunk_blocks(blksize)
        assert 1 <= blocks <= 64
        assert blocks * (blksize + 4) <= 65507


def test_clients_of_one_file_share_a_descriptor_that_the_last_one_closes(tmp_path: Path) -> None:
    (tmp_path / "kernel").write_bytes(b"x" * 9999)
    sources = Sources()
    assets = [opened(tmp_path / "kernel") for _ in range(3)]
    taken = [sources.take(asset, Mode.OCTET) for asset in assets]
    assert taken[0] is taken[1] is taken[2]
    assert [is_open(asset.fd) for asset in assets] == [True, False, False]
    sources.release(taken[0])
    sources.release(taken[0])
    assert is_open(assets[0].fd)
    sources.release(taken[0])
    assert not is_open(assets[0].fd)
    again = sources.take(opened(tmp_path / "kernel"), Mode.OCTET)
    assert again is not taken[0]
    sources.release(again)


def test_a_file_replaced_meanwhile_is_another_source(tmp_path: Path) -> None:
    sources, cache = Sources(), FrameCache(1 << 20)
    (tmp_path / "kernel").write_bytes(b"old" * 500)
    old = sources.take(opened(tmp_path / "kernel"), Mode.OCTET)
    assert content_of(cache, old, 512) == b"old" * 500
    (tmp_path / "new").write_bytes(b"new" * 500)
    (tmp_path / "new").rename(tmp_path / "kernel")
    new = sources.take(opened(tmp_path / "kernel"), Mode.OCTET)
    assert content_of(cache, new, 512) == b"new" * 500
    assert content_of(cache, old, 512) == b"old" * 500
    sources.release(old)
    sources.release(new)


def test_a_chunk_is_read_from_the_disk_once_for_all_clients(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kernel").write_bytes(b"x" * 100_000)
    reads: list[int] = []
    pread = os.pread

    def counted(fd: int, length: int, offset: int) -> bytes:
        reads.append(offset)
        return pread(fd, length, offset)

    monkeypatch.setattr(os, "pread", counted)
    sources, cache = Sources(), FrameCache(1 << 20)
    source = sources.take(opened(tmp_path / "kernel"), Mode.OCTET)
    for _ in range(5):
        content_of(cache, source, 1468)
    assert reads == [0, 44 * 1468]
    sources.release(source)


def test_the_cache_keeps_to_its_bound_and_forgets_the_longest_unused(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(os.urandom(3_000_000))
    sources, cache = Sources(), FrameCache(200_000)
    source = sources.take(opened(tmp_path / "image"), Mode.OCTET)
    kept = cache.chunk(source, 1468, 0)
    for number in range(1, 46):
        cache.chunk(source, 1468, number)
        assert cache.chunk(source, 1468, 0) is kept, "used all the time"
        assert sum(map(len, cache._chunks.values())) == cache._held <= 200_000
    sources.release(source)


def test_rendered_content_is_not_kept_for_others() -> None:
    cache, sources = FrameCache(1 << 20), Sources()
    first, second = (sources.take(rendered(text), Mode.OCTET) for text in (b"for n01", b"for n02"))
    assert cache.chunk(first, 512, 0).endswith(b"for n01")
    assert cache.chunk(second, 512, 0).endswith(b"for n02")
    assert not cache._chunks


def test_a_file_that_got_shorter_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "kernel").write_bytes(b"x" * 100_000)
    sources = Sources()
    source = sources.take(opened(tmp_path / "kernel"), Mode.OCTET)
    os.truncate(tmp_path / "kernel", 1000)
    with pytest.raises(FileChangedError):
        FrameCache(1 << 20).chunk(source, 1468, 0)
    sources.release(source)


def test_netascii_is_made_once_and_bounded(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"a\nb\rc\r\n")
    sources = Sources()
    asset = opened(tmp_path / "text")
    source = sources.take(asset, Mode.NETASCII)
    assert not is_open(asset.fd)
    assert source.read(0, 99) == b"a\r\nb\r\0c\r\0\r\n"
    assert sources.take(opened(tmp_path / "text"), Mode.NETASCII) is source
    assert sources.take(opened(tmp_path / "text"), Mode.OCTET) is not source
    os.truncate(tmp_path / "text", frames.MOST_NETASCII + 1)
    large = opened(tmp_path / "text")
    with pytest.raises(TooLargeError, match="octet"):
        sources.take(large, Mode.NETASCII)
    assert not is_open(large.fd)
