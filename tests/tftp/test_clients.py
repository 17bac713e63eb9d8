"""TFTP clients that no one here wrote, on a network of their own, against the server."""

import hashlib
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.namespace import Lab, Namespace
from tests.lab.process import Process

pytestmark = [pytest.mark.net, pytest.mark.needs("tftp", "atftp", "curl", "busybox")]

SERVER = "10.77.0.1"
ROLLOVER = 65536 * 512 + 70_000
"""Octets: more blocks of 512 than 16 bits can count."""

ATFTP = " -g -r {file} -l {got} {server}"
# How each is told to fetch a file.
CLIENTS = {
    "tftp-hpa": "tftp -m binary {server} -c get {file} {got}",
    "tftp-hpa netascii": "tftp -m netascii {server} -c get {file} {got}",
    "atftp": "atftp" + ATFTP,
    "atftp blksize": "atftp --option 'blksize 1468' --option 'tsize 0'" + ATFTP,
    "atftp timeout": "atftp --option 'timeout 3'" + ATFTP,
    "atftp windows": "atftp --option 'windowsize 16' --option 'blksize 1428'" + ATFTP,
    "atftp windows of small blocks": "atftp --option 'windowsize 64'" + ATFTP,
    "atftp windows of fragments": "atftp --option 'windowsize 8' --option 'blksize 8192'" + ATFTP,
    "atftp fragments": "atftp --option 'blksize 65464' " + ATFTP,
    "curl": "curl -sS -o {got} tftp://{server}/{file}",
    "curl blksize": "curl -sS --tftp-blksize 1468 -o {got} tftp://{server}/{file}",
    "curl without options": "curl -sS --tftp-no-options -o {got} tftp://{server}/{file}",
    "busybox": "busybox tftp -g -r {file} -l {got} {server}",
    "busybox blksize": "busybox tftp -b 1468 -g -r {file} -l {got} {server}",
}
QUICK = {name: command for name, command in CLIENTS.items() if "netascii" not in name}


class Network:
    """A head node that serves a directory, and one client machine."""

    def __init__(self, lab: Lab, machine: Namespace, root: Path) -> None:
        self.root = root
        self.lab = lab
        self.machine = machine
        self.server: Process = lab.start("tftp", [sys.executable, "-m", "tests.tftp.serve", "br0", str(root)])
        self.server.wait_for("ready")

    def fetch(self, client: str, file: str, server: str = SERVER) -> tuple[bytes, str]:
        """The octets that the client wrote, and what it said."""
        got = self.root.parent / "got"
        got.unlink(missing_ok=True)
        command = CLIENTS[client].format(server=server, file=file, got=got)
        done = self.machine.run(["sh", "-c", command], check=False, timeout=120)
        return got.read_bytes() if got.exists() else b"", done.stdout + done.stderr

    def ended(self) -> list[dict[str, Any]]:
        """The transfers' ends as the server told them, after it was stopped."""
        self.server.stop()
        lines = [line for line in self.server.output().splitlines() if line.startswith("{")]
        return [json.loads(line) for line in lines[:-1]]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tftp") / "served"
    root.mkdir()
    dice = random.Random(20)
    for size in (1, 511, 512, 513, 1468 * 10, 300_000, 1_000_000):
        (root / f"f{size}").write_bytes(dice.randbytes(size))
    (root / "empty").touch()
    (root / "text").write_bytes(b"one\ntwo\r\nthree\r\n\n" * 100)
    (root / "big").write_bytes(dice.randbytes(ROLLOVER))
    (root / "out").symlink_to("/etc/passwd")
    return root


@pytest.fixture(scope="module")
def machines() -> Iterator[tuple[Lab, Namespace]]:
    """The head node and the client's machine, the same for all tests here."""
    with Lab() as lab:
        yield lab, lab.client("c1", address="10.77.0.9/24")


@pytest.fixture(scope="module")
def cable(machines: tuple[Lab, Namespace]) -> Iterator[str]:
    """The address of a relay to the server that loses, repeats and swaps one datagram each in a hundred."""
    machine = machines[0].client("cable", address="10.77.0.3/24")
    relay = machine.start("lossy", [sys.executable, "-m", "tests.tftp.lossy", "10.77.0.3", SERVER, "1", "11"])
    relay.wait_for("ready")
    yield "10.77.0.3"
    relay.stop()


@pytest.fixture
def network(machines: tuple[Lab, Namespace], root: Path) -> Iterator[Network]:
    (machines[0].directory / "tftp.log").unlink(missing_ok=True)
    network = Network(*machines, root)
    yield network
    network.server.stop()


@pytest.mark.parametrize("client", QUICK)
def test_small_files_arrive_whole(network: Network, client: str) -> None:
    for size in (1, 511, 512, 513, 1468 * 10, 1_000_000):
        octets, said = network.fetch(client, f"f{size}")
        assert octets == (network.root / f"f{size}").read_bytes(), said
    if not client.startswith("curl") or client == "curl without options":
        # curl takes a tsize of 0 for an error, from any server.
        assert network.fetch(client, "empty")[0] == b""
    ended = network.ended()
    assert {end["outcome"] for end in ended} == {"ok"}
    assert sum(end["retransmits"] for end in ended) == 0


@pytest.mark.parametrize("client", QUICK)
def test_what_is_missing_or_outside_is_said_at_once(network: Network, client: str) -> None:
    octets, said = network.fetch(client, "nothing")
    assert not octets
    octets, said = network.fetch(client, "out")
    assert not octets
    if not client.startswith("curl"):  # which shows a number only
        assert "isn't yours" in said
    assert [end["outcome"] for end in network.ended()] == ["refused", "refused"]


@pytest.mark.parametrize("client", ["tftp-hpa", "busybox", "curl", "atftp", "atftp windows of small blocks"])
def test_a_file_of_more_than_65535_blocks_arrives_whole(network: Network, client: str) -> None:
    octets, said = network.fetch(client, "big")
    assert hashlib.sha256(octets).digest() == hashlib.sha256((network.root / "big").read_bytes()).digest(), (
        said
    )


def test_netascii_comes_back_as_the_text_it_was(network: Network) -> None:
    octets, said = network.fetch("tftp-hpa netascii", "text")
    assert octets == (network.root / "text").read_bytes(), said


def test_a_head_node_with_two_addresses_answers_from_the_one_that_was_asked(network: Network) -> None:
    network.lab.ip("address add 10.77.0.2/24 dev br0")
    for client in ("tftp-hpa", "atftp windows", "curl", "busybox"):
        octets, said = network.fetch(client, "f1000000", server="10.77.0.2")
        assert octets == (network.root / "f1000000").read_bytes(), said
    assert {end["local"] for end in network.ended()} == {"10.77.0.2"}


def test_a_request_to_everybody_is_ignored(network: Network) -> None:
    program = (
        "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(0.5);"
        "s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1);"
        "s.sendto(b'\\0\\1f1\\0octet\\0', ('10.77.0.255', 69)); s.recv(600)"
    )
    done = network.machine.run([sys.executable, "-c", program], check=False)
    assert "TimeoutError" in done.stderr
    assert network.ended() == []


@pytest.mark.parametrize(
    ("client", "file"),
    [
        ("busybox blksize", "f300000"),
        ("tftp-hpa", "f300000"),
        ("atftp blksize", "f300000"),
        ("atftp windows", "f1000000"),
    ],
)
def test_on_a_bad_cable_the_file_still_arrives_whole(
    network: Network, cable: str, client: str, file: str
) -> None:
    octets, said = network.fetch(client, file, server=cable)
    assert octets == (network.root / file).read_bytes(), said
    assert any(end["retransmits"] for end in network.ended()), "the cable lost nothing"
