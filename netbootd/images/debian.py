"""What an image made by `image build` has in it, and how it is set up to be the root of many nodes."""

from collections.abc import Iterable
from pathlib import Path

from netbootd.images import apt, edit, mend, needless, services
from netbootd.images.apt import Source

PACKAGES = (
    "systemd-sysv",
    "libpam-systemd",
    "udev",
    "dbus",
    "kmod",
    "busybox",
    "iproute2",
    "iputils-ping",
    "netbase",
    "procps",
    "openssh-server",
    "chrony",  # the nodes' time is the head node's
    "ca-certificates",
)
"""Beside the kernel and what apt itself needs: a system that starts and lets one log in and look around."""

SETTINGS = {
    "/etc/default/locale": "LANG=C.UTF-8\n",
    "/etc/fstab": "# A node's root is mounted by node-init; nothing else is mounted.\n",
    "/etc/ssh/sshd_config.d/netbootd.conf": "UseDNS no\n",
    # NFS doesn't carry the capability by which ping works for everybody.
    mend.PING_SETTING: mend.PING_FOR_ALL,
    "/etc/systemd/journald.conf.d/netbootd.conf": "[Journal]\nStorage=volatile\n",
    "/etc/systemd/system.conf.d/netbootd.conf": "[Manager]\nDefaultTimeoutStopSec=30s\n",
}
"""File -> content."""

# systemd-networkd is there and not enabled: the address is set before it could start, and network.target,
# which the SSH server waits for, would wait for it.

MASKED = (
    *needless.NEEDLESS_UNITS,
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "systemd-network-generator.service",
    "systemd-journal-flush.service",
    "systemd-random-seed.service",  # a seed in memory is gone with the next boot
)
"""What a node can do without, and its boot is shorter for it."""

BEFORE_KERNEL = """
mkdir -p "$1/etc/initramfs-tools"
echo 'update_initramfs=no' >"$1/etc/initramfs-tools/update-initramfs.conf"
"""
"""Run with the root as $1 before the kernel is unpacked: nodes get our initrd, so none is made here."""

DPKG_OPTIONS = (
    "force-unsafe-io",  # what fails is thrown away as a whole
    "force-confold",
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/lintian/*",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
    "path-exclude=/usr/share/locale/*",
)
KEPT_DPKG_OPTIONS = tuple(option for option in DPKG_OPTIONS if option.startswith("path-"))
APT_OPTIONS = ('APT::Install-Recommends "false"', 'Acquire::Languages "none"')


def set_up(root: Path, sources_file: str, sources: Iterable[Source]) -> None:
    """Give the fresh system under `root` its settings, and take away what its making left. Raises OSError.

    `sources` are where its packages come from; they get into `sources_file` of /etc/apt/sources.list.d.
    """
    for name in (
        "/etc/hostname",
        "/etc/resolv.conf",  # the head node's, copied for the build
        "/etc/apt/sources.list",
        "/etc/apt/apt.conf.d/99mmdebstrap",
        "/etc/dpkg/dpkg.cfg.d/99mmdebstrap",
        *edit.matching(root, "/etc/ssh", "ssh_host_*"),
        *edit.matching(root, "/var/log", "*.log"),
    ):
        edit.remove(root, name)
    edit.write(root, f"/etc/apt/sources.list.d/{sources_file}", apt.deb822(sources))
    edit.write(root, "/etc/apt/apt.conf.d/90netbootd", "".join(f"{option};\n" for option in APT_OPTIONS))
    edit.write(root, "/etc/dpkg/dpkg.cfg.d/netbootd", "".join(f"{option}\n" for option in KEPT_DPKG_OPTIONS))
    for name, text in SETTINGS.items():
        edit.write(root, name, text)
    services.mask(root, MASKED)
