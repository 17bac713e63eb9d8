"""Files over HTTP, as curl gets them: whole, once, on a connection that goes on."""

import asyncio
import os
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from netbootd.asset import Asset, Refusal
from netbootd.web.server import WebServer

LOOPBACK = IPv4Address("127.0.0.1")
PORT = 18_080


class Directory:
    """Opens what lies in one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.opened: list[int] = []

    def open(
        self, path: str, peer: IPv4Address, local: IPv4Address, door: str, port: int | None = None
    ) -> Asset | Refusal:
        file = self.directory / path.strip("/")
        if not file.is_file():
            return Refusal("no such path")
        fd = os.open(file, os.O_RDONLY)
        self.opened.append(fd)
        status = os.fstat(fd)
        return Asset(file.name, status.st_size, fd, None, (status.st_dev, status.st_ino, status.st_mtime_ns))


@pytest.mark.needs("curl")
async def test_files_are_sent_whole_and_once_over_one_connection(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    contents = {"vmlinuz": os.urandom(3_000_000), "initrd": os.urandom(1_000_000)}
    served, got = tmp_path / "served", tmp_path / "got"
    served.mkdir()
    got.mkdir()
    for name, content in contents.items():
        (served / name).write_bytes(content)
    shelf = Directory(served)
    server = WebServer(
        LOOPBACK, PORT, shelf, lambda _mac: None, lambda *_: None, lambda _event: None, lambda: 0.0
    )
    await server.start()
    try:
        base = f"http://{LOOPBACK}:{PORT}"
        curl = await asyncio.create_subprocess_exec(
            *(
                "curl",
                "--silent",
                "--show-error",
                "--verbose",
                "--fail",
                "--max-time",
                "20",
                "--output-dir",
                got,
            ),
            *("--remote-name-all", f"{base}/vmlinuz", f"{base}/initrd", f"{base}/vmlinuz"),
            stderr=asyncio.subprocess.PIPE,
        )
        _, said = await curl.communicate()
    finally:
        await server.stop()
    assert curl.returncode == 0, said.decode()
    assert said.count(b"HTTP/1.1 200") == 3
    assert said.count(b"Re-using existing connection") == 2
    for name, content in contents.items():
        assert (got / name).read_bytes() == content
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []
    assert not any(_is_open(fd, served) for fd in shelf.opened)


def _is_open(fd: int, directory: Path) -> bool:
    """Whether this process still has that descriptor on a file in `directory`."""
    link = Path(f"/proc/self/fd/{fd}")
    return link.exists() and link.readlink().is_relative_to(directory)
