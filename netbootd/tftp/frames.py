"""Files as DATA packets, framed once for all clients that read them with the same block size.

A chunk is a run of up to 64 packets (as many as one UDP GSO send takes), made when the first client gets
there and kept in a cache bounded in octets, least recently used first out. Many nodes that boot at once read
the same chunks, so that a block costs a slice and a send.

Files are read with pread and not mapped: a mapped file that somebody truncates kills the process by SIGBUS.
"""

import os
from collections import OrderedDict
from collections.abc import Hashable

from netbootd.asset import Asset
from netbootd.errors import PeerError
from netbootd.tftp.wire import DATA_HEADER, Mode, frame

MOST_NETASCII = 4 * 1024 * 1024
"""Octets of a file sent in netascii: it is for texts, and is translated in memory."""
MOST_SEGMENTS = 64
"""Datagrams in one UDP GSO send (UDP_MAX_SEGMENTS of kernels before 6.9)."""
MOST_CHUNK = 65507
"""Octets in one UDP GSO send: an IPv4 packet without its headers."""


class TooLargeError(PeerError):
    """The file can't be sent in the mode asked for."""


class FileChangedError(PeerError):
    """The file got shorter while it was being sent."""


class Source:
    """What is sent, opened: `size` octets that any number of transfers read."""

    __slots__ = ("_content", "_fd", "identity", "size", "users")

    def __init__(self, identity: Hashable | None, size: int, fd: int | None, content: bytes) -> None:
        self.identity = identity
        self.size = size
        self.users = 1
        self._fd = fd
        self._content = content

    def read(self, offset: int, length: int) -> bytes:
        """`length` octets from `offset`, fewer only at the end.

        Raises FileChangedError when they aren't there, OSError when the disk fails.
        """
        if self._fd is None:
            return self._content[offset : offset + length]
        wanted = min(length, self.size - offset)
        octets = os.pread(self._fd, wanted, offset)
        if len(octets) < wanted:
            raise FileChangedError("the file got shorter while it was being sent")
        return octets

    def close(self) -> None:
        """Closes the file."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
            self._content = b""


class Sources:
    """The sources in use: one descriptor for a file, however many clients read it."""

    def __init__(self) -> None:
        self._shared: dict[Hashable, Source] = {}

    def take(self, asset: Asset, mode: Mode) -> Source:
        """The source for `asset`, whose descriptor passes to it; give it back with `release`.

        Raises TooLargeError for a file too long for netascii, OSError when it can't be read.
        """
        if asset.fd is None:
            content = asset.content or b""
            return Source(None, *_whole(_netascii(content) if mode is Mode.NETASCII else content))
        identity = (asset.key, asset.size, mode)
        if source := self._shared.get(identity):
            os.close(asset.fd)
            source.users += 1
            return source
        if mode is Mode.OCTET:
            os.posix_fadvise(asset.fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)
            source = Source(identity, asset.size, asset.fd, b"")
        else:
            source = Source(identity, *_whole(_read_netascii(asset.fd, asset.size)))
        self._shared[identity] = source
        return source

    def release(self, source: Source) -> None:
        """One user fewer; the last one closes the file."""
        source.users -= 1
        if not source.users:
            if source.identity is not None:
                del self._shared[source.identity]
            source.close()


class FrameCache:
    """Chunks of framed packets, at most `most` octets of them."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0
        self._chunks: OrderedDict[Hashable, bytes] = OrderedDict()

    def chunk(self, source: Source, blksize: int, number: int) -> bytes:
        """The packets of chunk `number`, from 0: chunk_blocks(blksize) of them, fewer at the end.

        Raises FileChangedError, OSError.
        """
        key = (source.identity, blksize, number)
        chunk = self._chunks.get(key)
        if chunk is not None:
            self._chunks.move_to_end(key)
            return chunk
        blocks = chunk_blocks(blksize)
        first = number * blocks + 1
        last = min(first + blocks - 1, source.size // blksize + 1)
        chunk = frame(first, last, blksize, source.read((first - 1) * blksize, blocks * blksize))
        # Rendered content has no identity: it is the answer to one request.
        if source.identity is not None:
            self._chunks[key] = chunk
            self._held += len(chunk)
            while self._held > self._most:
                self._held -= len(self._chunks.popitem(last=False)[1])
        return chunk


def chunk_blocks(blksize: int) -> int:
    """How many blocks a chunk has."""
    return max(1, min(MOST_SEGMENTS, MOST_CHUNK // (blksize + DATA_HEADER)))


def _whole(content: bytes) -> tuple[int, None, bytes]:
    return len(content), None, content


def _read_netascii(fd: int, size: int) -> bytes:
    if size > MOST_NETASCII:
        os.close(fd)
        raise TooLargeError(
            f"netascii is for texts up to {MOST_NETASCII // 1024} KiB, use octet (binary) mode"
        )
    with open(fd, "rb") as file:
        return _netascii(file.read(size))


def _netascii(content: bytes) -> bytes:
    """RFC 764's end of line, CR LF, and a bare CR as CR NUL (RFC 1350 section 1)."""
    return content.replace(b"\r", b"\r\0").replace(b"\n", b"\r\n")
