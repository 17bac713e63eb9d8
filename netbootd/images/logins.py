"""Whether a node that is up lets anybody in."""

import re
from pathlib import Path

from netbootd.images import edit, services
from netbootd.images.rooted import find_file

_SHELL = "netbootctl image shell NAME"
_SERVERS = {"sshd": ("ssh", "sshd"), "dropbear": ("dropbear",)}
"""Program -> the names of its service: Debian's is ssh."""
_SSHD_CONFIG = "/etc/ssh/sshd_config"


def ssh_server(root: Path) -> list[str]:
    """An SSH server that is there is started; one that isn't is missed."""
    there = [name for program, names in _SERVERS.items() if is_installed(root, program) for name in names]
    if not there:
        return [f"no SSH server: nobody can log in over the network; install openssh-server ({_SHELL})"]
    remarks = []
    if edit.remove(root, "/etc/ssh/sshd_not_to_be_run"):
        remarks.append("/etc/ssh/sshd_not_to_be_run removed: it kept the SSH server from starting")
    if services.init_of(root) is not services.Init.UNKNOWN and not services.is_switched_on(root, there):
        name = services.switch_on(root, there)
        remarks.append(
            f"the SSH server wasn't started at boot: {name} switched on"
            if name
            else f"the SSH server isn't started at boot; enable it ({_SHELL})"
        )
    return remarks


def root_login(root: Path) -> list[str]:
    """The cluster's admin logs in as root, by key."""
    names = (_SSHD_CONFIG, *edit.matching(root, f"{_SSHD_CONFIG}.d", "*.conf"))
    refusing = [
        name
        for name in names
        if re.search(
            r"(?mi)^\s*PermitRootLogin[\s=]+\"?no\b", (edit.read(root, name) or "").partition("\nMatch ")[0]
        )
    ]
    hint = f"say prohibit-password there ({_SHELL})"
    return [f"{name} lets nobody in as root, the cluster's admin neither; {hint}" for name in refusing]


def init(root: Path) -> list[str]:
    """What node-init hands over to."""
    if find_file(root, ["/sbin/init", "/lib/systemd/systemd", "/usr/lib/systemd/systemd", "/bin/init"]):
        return []
    return [f"no init: a node can't start from it; install one, as in: apt install systemd-sysv ({_SHELL})"]


def is_installed(root: Path, program: str) -> bool:
    """Whether the image has it, where such programs are."""
    places = ("/usr/lib/systemd", "/lib/systemd", "/usr/sbin", "/sbin", "/usr/bin", "/bin", "/usr/lib/ssh")
    return find_file(root, [f"{place}/{program}" for place in places]) is not None
