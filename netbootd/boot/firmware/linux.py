"""Linux asking for its root file system: the kernel's `ip=dhcp` and what initial RAM disks have for it.

Who asks for the root path (option 17) wants to know where its / is: the kernel (net/ipv4/ipconfig.c), klibc's
ipconfig in Debian's and Ubuntu's initrd (`boot=nfs nfsroot=auto`), dracut (`root=dhcp`), busybox's udhcpc
where it is told to ask, NetworkManager always. They understand `SERVER:PATH`. NFS options after a comma
are the kernel's alone (Documentation/admin-guide/nfs/nfsroot.rst): initramfs-tools would take them for a part
of the path, so there are none. The server is told a second time, in siaddr, where ipconfig looks for it.

The path is the image's, which is exported read-only. node-init, which lays the node's own files over it, is
told of them by a command line that only a loader of ours brings.

It never renews its lease: a node's never ends. No option 26, no overload: ipconfig.c takes the first at its
word and doesn't read the second.
"""

from netbootd.boot.answer import NetBoot
from netbootd.boot.client import Client
from netbootd.boot.firmware.family import Booting, Family

OPTION_ROOT_PATH = 17


def _recognises(client: Client) -> bool:
    return OPTION_ROOT_PATH in client.parameter_request_list


def _announce(booting: Booting) -> NetBoot:
    server, root = booting.network.server, booting.generation.root
    return NetBoot(
        firmware="linux",
        server=server,
        bootfile="",
        reason="Linux asks for its address and is told where the image's / is",
        options={OPTION_ROOT_PATH: f"{server}:{root}".encode()},
    )


FAMILY = Family("linux", _recognises, _announce, behind_proxy=False, begins_boot=False)
