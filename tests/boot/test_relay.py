"""A machine without a disk behind a router: ISC's relay agent carries its DHCP, the router all the rest.

head 10.77.0.1 ── br0 ── router 10.77.0.2 │ 10.78.0.1 ── far ── n01
"""

from collections.abc import Iterator

import pytest

from netbootd.events import timeline
from netbootd.node import Mac
from netbootd.stage import Stage
from tests.lab.head import IMAGE, HeadNode, borrowed_image
from tests.lab.machine import KINDS
from tests.lab.namespace import BRIDGE, Lab
from tests.lab.process import LabError

pytestmark = [pytest.mark.boot, pytest.mark.slow, pytest.mark.needs("dhcrelay")]

MAC = "52:54:00:78:01:01"
LOGIN = 420.0
"""Seconds to the login prompt: about 50 on two idle cores, several times that on cores that are shared."""
FAR = f"""
[[network]]
interface = "{BRIDGE}"
subnet    = "10.78.0.0/24"
range     = "10.78.0.10-10.78.0.99"
router    = "10.78.0.1"

[nfs]
"""


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HeadNode]:
    """A head node with a second network, whose wire `far` is behind a router with a relay agent."""
    if reason := KINDS["bios"].missing():
        pytest.skip(reason)
    with (
        borrowed_image(f"relay-{tmp_path_factory.getbasetemp().name}") as head,
        Lab(directory=head.logs) as lab,
    ):
        head.config.write_text(head.config.read_text().replace("\n[nfs]\n", FAR))
        head.join(lab)
        router = lab.client("router", address="10.77.0.2/24")
        lab.ip(
            "link add far type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
            f"link add to-router type veth peer name wire netns {router.pid}",
            "link set to-router master far up",
            "link set far up",
            "route add 10.78.0.0/24 via 10.77.0.2",
        )
        # The router's wire is a bridge here, where machines are: this machine itself has no address on it.
        router.ip("address add 10.78.0.1/24 dev wire", "link set wire up")
        router.run(["sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"])
        relay = ["dhcrelay", "-4", "-d", "--no-pid", "-a", "-id", "wire", "-iu", "eth0", "10.77.0.1"]
        router.start("dhcrelay", relay)
        words = ("--mac", MAC, "--image", IMAGE, "--ip", "10.78.0.0/24")
        assert "10.78.0.10" in head.run("netbootctl", "node", "add", "n01", *words)
        head.start()
        yield head


def test_it_boots_behind_a_router_and_a_relay_agent(head: HeadNode) -> None:
    machine = head.machine("n01", "bios", MAC)
    head.lab.ip("link set t-n01 master far")
    machine.power_on()
    try:
        machine.wait_for("^n01 login:", LOGIN)
    except LabError as error:
        pytest.fail(f"{error}\n{head.what_happened()}")
    events = timeline(head.state / "registry" / "events.db", Mac(MAC))
    assert any("given 10.78.0.10" in event.text for event in events)
    assert {Stage.ACK, Stage.KERNEL, Stage.INITRD, Stage.ROOT} <= {event.stage for event in events}
    machine.power_off()
