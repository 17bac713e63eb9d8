"""A kernel that takes no initrd is told by its command line where its root is; node-init runs as its init."""

from dataclasses import replace
from ipaddress import IPv4Address

from netbootd.boot import cmdline
from netbootd.boot.cmdline import command_line
from netbootd.images import NODE_INIT_PATH
from netbootd.node import RootMode
from tests.boot.test_assets import EXPORTED
from tests.boot.test_policy import GENERATION, NETWORK, NODE

BY_ITSELF = replace(GENERATION, by_itself=True)


def test_the_kernel_is_told_its_root_its_address_and_node_init() -> None:
    words = command_line(
        NODE, BY_ITSELF, replace(NETWORK, router=IPv4Address("10.77.0.254")), EXPORTED
    ).split()
    assert words[-5:] == [
        "root=/dev/nfs",
        f"nfsroot=10.77.0.1:{GENERATION.root},vers={EXPORTED.nfs_version},proto=tcp,nolock",
        "ro",
        f"ip={NODE.address}:10.77.0.1:10.77.0.254:{NETWORK.subnet.netmask}:{NODE.name}::off",
        "init=/usr/lib/netbootd/node-init",
    ]
    assert f"netbootd.image={GENERATION.root}" in words


def test_a_persistent_root_is_mounted_to_be_written_to() -> None:
    words = command_line(replace(NODE, root=RootMode.PERSISTENT), BY_ITSELF, NETWORK, EXPORTED).split()
    assert "rw" in words
    assert any(word.startswith("nfsroot=10.77.0.1:/") and NODE.machine_id in word for word in words)


def test_node_init_is_the_last_init_and_the_images_own_stands_before_it() -> None:
    words = command_line(NODE, replace(BY_ITSELF, init="/bin/openrc-init"), NETWORK, EXPORTED).split()
    inits = [word for word in words if word.startswith("init=")]
    assert inits == ["init=/bin/openrc-init", "init=/usr/lib/netbootd/node-init"]


def test_node_init_is_where_images_have_it() -> None:
    assert f"/{NODE_INIT_PATH}" == cmdline.NODE_INIT


def test_other_kernels_are_told_nothing_of_it() -> None:
    assert "root=/dev/nfs" not in command_line(NODE, GENERATION, NETWORK, EXPORTED)
