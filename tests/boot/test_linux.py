"""Linux asking for its root: the clients that initial RAM disks have, against a real head node."""

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from netbootd.boot import policy
from netbootd.boot.answer import LocalBoot, NetBoot
from netbootd.boot.client import Client
from netbootd.node import RootMode
from tests.boot.test_policy import GENERATION, MAC, NETWORK, NODE
from tests.images.roots import small_root
from tests.lab.head import CHECKOUT, HeadNode
from tests.lab.namespace import Lab

KLIBC = Path("/usr/lib/klibc/bin/ipconfig")
KERNEL = (1, 3, 6, 12, 15, 17, 26, 40)
MACHINE = "52:54:00:77:0c:01"


def decide(client: Client, **node: object) -> object:
    changed = replace(NODE, **node)  # type: ignore[arg-type]
    generation = GENERATION if changed.image else None
    return policy.decide(client, changed, NETWORK, generation, lambda _: True)


@pytest.mark.parametrize("asks", [KERNEL, (*KERNEL, 42), (1, 3, 17)])
def test_who_asks_for_the_root_path_is_told_the_image(asks: tuple[int, ...]) -> None:
    decision = decide(Client(mac=MAC, parameter_request_list=asks))
    assert isinstance(decision, NetBoot)
    assert (decision.firmware, decision.bootfile, decision.server) == ("linux", "", NETWORK.server)
    assert dict(decision.options) == {17: b"10.77.0.1:/images/debian/1/root"}


@pytest.mark.parametrize("node", [{"image": None}, {"root": RootMode.RAM}])
def test_a_node_without_a_root_over_nfs_is_an_operating_system_like_any(node: dict[str, object]) -> None:
    decision = decide(Client(mac=MAC, parameter_request_list=KERNEL), **node)
    assert decision == LocalBoot(
        firmware="linux", reason="it asks for nothing to boot: an operating system, not a firmware"
    )


@pytest.fixture
def head(tmp_path: Path) -> Iterator[HeadNode]:
    """A head node with one node, whose image is as small as can be."""
    made = HeadNode(CHECKOUT / "build" / f"linux-{tmp_path.name}")
    try:
        made.prepare()
        with Lab(directory=made.logs) as lab:
            made.join(lab)
            made.run("netbootctl", "image", "import", "tiny", str(small_root(tmp_path / "root")))
            made.run("netbootctl", "node", "add", "n01", "--mac", MACHINE, "--image", "tiny")
            made.start()
            yield made
    finally:
        subprocess.run(["rm", "-rf", made.directory], check=True)


@pytest.mark.boot
@pytest.mark.needs("udhcpc", "busybox")
def test_the_clients_of_initial_ram_disks_learn_where_their_root_is(head: HeadNode) -> None:
    if not KLIBC.exists():
        pytest.skip("not installed: klibc-utils")
    machine = head.lab.client("n01", mac=MACHINE)
    root = f"10.77.0.1:{head.state}/images/tiny/1/root"
    # As scripts/functions of initramfs-tools calls it; what it learns it leaves in a file.
    machine.run([KLIBC, "-t", "30", "-c", "dhcp", "-d", "eth0"])
    told = machine.run(["sh", "-c", "cat /run/net-eth0.conf || cat /tmp/net-eth0.conf"]).stdout
    assert f"ROOTPATH='{root}'" in told
    assert "ROOTSERVER='10.77.0.1'" in told
    assert "HOSTNAME='n01'" in told
    assert f"DHCPLEASETIME='{0xFFFFFFFF}'" in told
    script = head.directory / "script"
    script.write_text("#!/bin/sh\n[ $1 = bound ] && echo root=$rootpath server=$siaddr\n")
    script.chmod(0o755)
    said = machine.run(["udhcpc", "-i", "eth0", "-n", "-q", "-O", "rootpath", "-s", script]).stdout
    assert f"root={root} server=10.77.0.1" in said
