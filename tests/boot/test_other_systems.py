"""Systems that aren't `image build`'s: OpenRC instead of systemd, and every network manager that Debian has.

Both are made of the lab's image, each in a shell of `image shell`, with Debian's packages. Two machines boot
them at once, and the tests look at what has become of them.
"""

import subprocess
from collections.abc import Iterator

import pytest

from netbootd.images.shell import opened
from netbootd.images.store import ImageStore
from tests.boot.test_first_boot import LOGIN, on
from tests.lab.head import IMAGE, HeadNode, borrowed_image
from tests.lab.machine import KINDS, Machine
from tests.lab.namespace import Lab
from tests.lab.process import LabError

pytestmark = [pytest.mark.boot, pytest.mark.slow]

MACS = {"managed": "52:54:00:77:11:01", "openrc": "52:54:00:77:11:02"}
"""Node, and the image that it boots -> its card."""

INSTALL = "apt-get update -q >/dev/null; apt-get install -q -y --no-install-recommends"
MADE_BY = {
    # Each of them set up as its own installer would: to take every card there is, by DHCP.
    "managed": f"""
{INSTALL} network-manager connman dhcpcd netplan.io
printf 'interface eth0\\nstatic ip_address=10.77.0.99/24\\n' >>/etc/dhcpcd.conf
umask 077
cat >/etc/netplan/50-cloud-init.yaml <<END
network:
  version: 2
  ethernets:
    eth0: {{dhcp4: true, match: {{macaddress: "{MACS["managed"]}"}}, set-name: lan0}}
END
""",
    "openrc": f"""
{INSTALL} openrc sysvinit-core systemd-sysv- libpam-systemd- ifupdown
rm -f /etc/rc?.d/*ssh /etc/runlevels/*/ssh
printf 'auto eth0\\niface eth0 inet dhcp\\n' >>/etc/network/interfaces
""",
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HeadNode]:
    """A head node with both machines powered on."""
    if reason := KINDS["bios"].missing():
        pytest.skip(reason)
    with borrowed_image(f"systems-{tmp_path_factory.getbasetemp().name}") as head:
        for name in MACS:
            make(head, name)
        with Lab(directory=head.logs) as lab:
            head.join(lab)
            for name, mac in MACS.items():
                head.run("netbootctl", "node", "add", name, "--mac", mac, "--image", name)
            head.start()
            for name, mac in MACS.items():
                head.machine(name, "bios", mac).power_on()
            yield head


def make(head: HeadNode, name: str) -> None:
    """The image `name`: the lab's own, and what its script makes of it."""
    images = head.state / "images"
    subprocess.run(["cp", "-al", images / IMAGE, images / name], check=True)
    store = ImageStore(images)
    base = store.current(name)
    assert base is not None
    with opened(store, base) as session:
        assert session.run(["sh", "-ec", MADE_BY[name]]) == 0, "Debian's mirror is needed"
        session.publish(session.changed())


def machine(cluster: HeadNode, name: str) -> Machine:
    """That machine, at its login prompt on the serial line."""
    found = next(each for each in cluster.machines if each.name == name)
    try:
        found.wait_for(rf"^{name} login:", LOGIN)
    except LabError as error:
        pytest.fail(f"{error}\n{cluster.what_happened()}")
    return found


def test_networkmanager_connman_dhcpcd_and_netplan_leave_the_card_of_the_root_alone(
    cluster: HeadNode,
) -> None:
    node = machine(cluster, "managed")
    on(cluster, node.name, "systemctl is-system-running --wait || true")
    assert on(cluster, node.name, "systemctl", "--failed", "--no-legend", "--plain") == ""
    services = ("NetworkManager", "connman", "dhcpcd", "systemd-networkd")
    assert on(cluster, node.name, "systemctl", "is-active", *services).split() == ["active"] * 4
    addresses = on(cluster, node.name, "ip", "-o", "-4", "address", "show", "scope", "global")
    assert [line.split()[1:4] for line in addresses.splitlines()] == [["eth0", "inet", "10.77.0.10/24"]]
    assert "eth0:unmanaged" in on(cluster, node.name, "nmcli", "-t", "-f", "DEVICE,STATE", "device").split()
    assert "no valid interfaces found" in on(
        cluster, node.name, "journalctl", "-b", "-u", "dhcpcd", "-o", "cat"
    )
    cluster.run("ssh", node.name, "systemctl", "reboot", check=False)
    node.wait_for("reboot: Restarting system", LOGIN)


def test_openrc_comes_to_a_login_on_the_serial_line_and_says_that_it_is_ready(cluster: HeadNode) -> None:
    node = machine(cluster, "openrc")
    assert on(cluster, node.name, "cat", "/proc/1/comm", "/etc/hostname").split() == ["init", "openrc"]
    assert "crashed" not in on(cluster, node.name, "rc-status", "--all")
    assert on(cluster, node.name, "findmnt", "-n", "-o", "FSTYPE", "/") == "overlay"
    addresses = on(cluster, node.name, "ip", "-o", "-4", "address", "show", "scope", "global")
    assert [line.split()[1:4] for line in addresses.splitlines()] == [["eth0", "inet", "10.77.0.11/24"]]
    assert cluster.netbootd is not None
    cluster.netbootd.wait_for(f"{node.name}: ready", LOGIN)
    cluster.run("ssh", node.name, "reboot", check=False)
    node.wait_for("reboot: Restarting system", LOGIN)
