"""links.py against the real kernel: interfaces that appear, change and go in a namespace of our own."""

import os
import subprocess
import sys
from ipaddress import IPv4Interface

import pytest

from netbootd.links import Interface
from tests.lab.namespace import Lab
from tests.lab.process import Process

LIST = "from netbootd.links import interfaces\nfor i in interfaces(): print(repr(i))"

# Prints one line per snapshot: NAME[+up][+carrier][=ADDRESS,…] of each interface but loopback.
WATCH = """
import asyncio, logging, sys
from netbootd import links
logging.basicConfig(stream=sys.stdout)
links.RETRY = 0.1
def text(i):
    return (i.name + "+up" * i.up + "+carrier" * i.carrier + "="
            + ",".join(str(a) for a in i.addresses)).rstrip("=")
async def main():
    async for snapshot in links.watch():
        print("now:", *(text(i) for i in snapshot if i.name != "lo"), flush=True)
asyncio.run(main())
"""


@pytest.fixture
def empty(lab: Lab) -> Lab:
    """A network with nothing in it but loopback."""
    lab.ip("link delete br0")
    return lab


def listed(lab: Lab) -> dict[str, Interface]:
    """What `interfaces` finds inside."""
    output = lab.run([sys.executable, "-c", LIST]).stdout
    found = [
        eval(line, {"Interface": Interface, "IPv4Interface": IPv4Interface}) for line in output.splitlines()
    ]
    return {interface.name: interface for interface in found}


def watching(lab: Lab) -> Process:
    process = lab.start("watch", [sys.executable, "-c", WATCH])
    process.wait_for("now:")
    return process


@pytest.mark.net
def test_an_interface_is_listed_with_its_card_state_and_addresses(empty: Lab) -> None:
    empty.ip(
        "link add eth7 address 52:54:00:00:00:07 type veth peer name other",
        "address add 10.77.0.1/24 dev eth7",
        "address add 10.78.0.1/16 dev eth7",
        "address add 10.77.0.2/24 dev eth7",
    )
    off = listed(empty)["eth7"]
    assert (off.mac, off.up, off.carrier) == ("52:54:00:00:00:07", False, False)
    assert off.addresses[0] == IPv4Interface("10.77.0.1/24"), "the primary address comes first"
    assert set(off.addresses) == {IPv4Interface(a) for a in ("10.77.0.1/24", "10.78.0.1/16", "10.77.0.2/24")}
    empty.ip("link set eth7 up")
    alone = listed(empty)["eth7"]
    assert (alone.up, alone.carrier) == (True, False), "nothing is at the other end yet"
    empty.ip("link set other up")
    assert listed(empty)["eth7"].carrier


@pytest.mark.net
def test_what_has_no_ethernet_address_is_listed_without_one(empty: Lab) -> None:
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        pytest.skip("/dev/net/tun may not be opened")
    empty.ip("tuntap add dev tun0 mode tun", "address add 10.9.0.1 peer 10.9.0.2/32 dev tun0")
    found = listed(empty)
    assert found["lo"].mac is None and found["lo"].addresses == (IPv4Interface("127.0.0.1/8"),)
    assert found["tun0"].mac is None
    assert found["tun0"].addresses == (IPv4Interface("10.9.0.1/32"),), "our end of the link, not the other's"


@pytest.mark.net
def test_an_interface_that_comes_later_is_seen_with_its_address_and_its_end(empty: Lab) -> None:
    process = watching(empty)
    assert process.output() == "now:\n"
    empty.ip("link add eth7 type veth peer name other")
    process.wait_for("eth7\n")
    empty.ip("link set eth7 up", "link set other up")
    process.wait_for("eth7+up+carrier\n")
    empty.ip("address add 10.77.0.1/24 dev eth7")
    process.wait_for("eth7+up+carrier=10.77.0.1/24\n")
    empty.ip("address delete 10.77.0.1/24 dev eth7")
    process.wait_until(lambda: process.output().endswith("eth7+up+carrier\n"), "address gone")
    empty.ip("link set other down")
    process.wait_until(lambda: process.output().endswith("eth7+up\n"), "carrier gone")
    empty.ip("link set eth7 down", "link set eth7 name eth8")
    process.wait_until(lambda: process.output().endswith("eth8\n"), "new name")
    empty.ip("link delete eth8")
    process.wait_until(lambda: process.output().endswith("now:\n"), "interface gone")


@pytest.mark.net
def test_what_changes_nothing_of_interest_is_not_reported(empty: Lab) -> None:
    empty.ip("link add eth7 type veth peer name other")
    process = watching(empty)
    empty.ip("link set eth7 mtu 1400", "link set eth7 txqueuelen 7")
    empty.ip("link set eth7 up")
    process.wait_for("eth7+up\n")
    assert process.output().count("now:") == 2


@pytest.mark.net
def test_a_storm_of_changes_that_overruns_the_socket_loses_nothing_for_good(empty: Lab) -> None:
    """The watcher is stopped meanwhile, so that the kernel's messages overflow its receive buffer."""
    empty.ip("link add eth7 type veth peer name other", "link set other up")
    process = watching(empty)
    subprocess.run(["kill", "-STOP", str(process.pid)], check=True)
    empty.ip(*(f"link set eth7 mtu {1000 + n % 400}" for n in range(4000)))
    empty.ip("address add 10.77.0.1/24 dev eth7", "link set eth7 up")
    subprocess.run(["kill", "-CONT", str(process.pid)], check=True)
    process.wait_for("eth7+up+carrier=10.77.0.1/24\n")
    assert "lost track of the network interfaces" in process.output(), (
        "there was no overrun, the test is void"
    )
    empty.ip("address delete 10.77.0.1/24 dev eth7")
    process.wait_until(lambda: process.output().endswith("eth7+up+carrier\n"), "change after the storm")


def test_where_the_kernel_may_not_be_asked_the_error_says_so() -> None:
    script = (
        "import asyncio, resource\n"
        "import pyroute2, pyroute2.netlink.exceptions  # while files can still be opened\n"
        "from netbootd import links\n"
        "from netbootd.errors import HostError\n"
        "async def first():\n"
        "    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))\n"
        "    async for _ in links.watch(): pass\n"
        "try: asyncio.run(first())\n"
        "except HostError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("can't read the network interfaces from the kernel: Too many open files")
    assert done.stderr == ""


def test_commands_that_need_no_interface_do_not_load_pyroute2() -> None:
    script = "import sys, netbootd.links; sys.exit('pyroute2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
