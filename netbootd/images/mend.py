"""What keeps a system that was made for one disk in one machine from being the root of many nodes.

One entry of the table per fault: it looks for it, mends it where that is safe, and says in one line each what
it found and what it did, or what is left to do. Nothing that a node does by itself at every boot is repeated
here: node-init keeps ifupdown, dhcpcd, NetworkManager and systemd-networkd from the card that the root comes
over.
"""

import os
import re
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

from netbootd.images import NODE_INIT_PATH, edit, node_init
from netbootd.images.rooted import find_file, resolve

_MARK = "#netbootd: "
_UNIT_DIRECTORIES = ("/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
_SHELL = "netbootctl image shell NAME"
PING_SETTING = "/etc/sysctl.d/90-netbootd-ping.conf"
PING_FOR_ALL = "net.ipv4.ping_group_range = 0 2147483647\n"

NEEDLESS_UNITS = {
    "apt-daily.timer": "it would fill each node's memory with package lists",
    "apt-daily-upgrade.timer": "nodes are upgraded by a new generation of their image",
    "dpkg-db-backup.timer": "it keeps backups in each node's memory",
    "man-db.timer": "it would index the manual on every node",
    "e2scrub_all.timer": "a node has no disk",
    "e2scrub_reap.service": "a node has no disk",
    "fstrim.timer": "a node has no disk",
    "systemd-pstore.service": "what it keeps would be gone with the next boot",
    "dphys-swapfile.service": "a swap file can't lie on an overlay",
    "resize2fs_once.service": "there is no partition to enlarge",
    "systemd-growfs-root.service": "there is no partition to enlarge",
    "raspberrypi-net-mods.service": "it looks for a boot partition",
}
"""Units that cost a diskless node time or memory and give it nothing -> why."""


def mend(root: Path) -> tuple[str, ...]:
    """Make the root file system under `root` fit to be booted over the network by many nodes.

    Returns what was found and done, one line each. Raises OSError, UserError.
    """
    return tuple(remark for _, check in CHECKS for remark in check(root))


def mask(root: Path, units: Iterable[str]) -> list[str]:
    """Mask those of `units` that the image has; returns the ones that weren't masked before."""
    masked = []
    for unit in units:
        link = f"/etc/systemd/system/{unit}"
        there = edit.entry(root, link)
        if there is not None and there.is_symlink() and str(there.readlink()) == "/dev/null":
            continue
        if not any(edit.entry(root, f"{directory}/{unit}") for directory in _UNIT_DIRECTORIES):
            continue
        edit.remove(root, link)
        edit.place(root, link).symlink_to("/dev/null")
        masked.append(unit)
    return masked


def _install_node_init(root: Path) -> list[str]:
    edit.remove(root, NODE_INIT_PATH)
    path = edit.place(root, NODE_INIT_PATH)
    path.write_bytes(node_init())
    path.chmod(0o755)
    return []


def _top_directory(root: Path) -> list[str]:
    """An archive of a directory that mktemp made says that only root may enter /."""
    status = root.stat()
    if stat.S_IMODE(status.st_mode) == 0o755 and (status.st_uid, status.st_gid) == (0, 0):
        return []
    os.chown(root, 0, 0)
    root.chmod(0o755)
    return [f"/ had the mode {stat.S_IMODE(status.st_mode):04o}, owner {status.st_uid}: made 0755, root's"]


def _host_keys(root: Path) -> list[str]:
    keys = edit.matching(root, "/etc/ssh", "ssh_host_*")
    keys += edit.matching(root, "/etc/dropbear", "dropbear_*_host_key")
    removed = [name for name in keys if edit.remove(root, name)]
    return [f"{len(removed)} SSH host keys removed: each node gets its own"] if removed else []


def _machine_id(root: Path) -> list[str]:
    found = bool((edit.read(root, "/etc/machine-id") or "").strip().removesuffix("uninitialized"))
    if edit.entry(root, "/etc/machine-id") is not None:
        edit.remove(root, "/etc/machine-id")
        edit.write(root, "/etc/machine-id", "", 0o444)
    dbus = edit.entry(root, "/var/lib/dbus/machine-id")
    if dbus is not None and not dbus.is_symlink():
        found |= edit.remove(root, "/var/lib/dbus/machine-id")
    edit.remove(root, "/var/lib/systemd/random-seed")
    edit.remove(root, "/var/lib/systemd/credential.secret")
    return ["machine-id emptied: each node has its own"] if found else []


def _host_name(root: Path) -> list[str]:
    name = (edit.read(root, "/etc/hostname") or "").strip()
    edit.remove(root, "/etc/hostname")
    return [f"host name {name[:64]!a} removed: each node gets its own"] if name else []


def _mounts(root: Path) -> list[str]:
    text = edit.read(root, "/etc/fstab")
    if text is None:
        return []
    lines, remarks = [], []
    for line in text.splitlines():
        if why := _mount_fault(line):
            remarks.append(f"/etc/fstab: {_shown(line)} commented out: {why}")
            lines.append(_MARK + line)
        else:
            lines.append(line)
    if remarks:
        edit.write(root, "/etc/fstab", "\n".join(lines) + "\n")
    return remarks


def _mount_fault(line: str) -> str | None:
    """Why this line of fstab(5) can't stay."""
    words = line.split()
    if len(words) < 2 or words[0].startswith("#"):
        return None
    device, where = words[:2]
    kind = words[2] if len(words) > 2 else "auto"
    if kind == "swap" or where in ("none", "swap"):
        return "a node has no disk to swap to"
    if where == "/":
        return "node-init mounts the root"
    if re.match(r"/dev/|(PART)?(UUID|LABEL)=|ID=", device):
        return "a node has no such disk"
    return None


def _needless_units(root: Path) -> list[str]:
    return [f"{unit} masked: {NEEDLESS_UNITS[unit]}" for unit in mask(root, NEEDLESS_UNITS)]


def _cloud_init(root: Path) -> list[str]:
    disabled = "/etc/cloud/cloud-init.disabled"
    if resolve(root, "/etc/cloud") is None or edit.entry(root, disabled) is not None:
        return []
    edit.write(root, disabled, "Disabled by netbootd: a node is told who it is by its head node.\n")
    return [f"cloud-init disabled ({disabled}): it would wait minutes for a cloud to tell it who it is"]


def _connman(root: Path) -> list[str]:
    if find_file(root, ["/usr/sbin/connmand", "/usr/bin/connmand"]) is None:
        return []
    name = "/etc/connman/main.conf"
    text = edit.read(root, name) or ""
    wanted = "NetworkInterfaceBlacklist=eth,en,vmnet,vboxnet,virbr,ifb"
    if wanted in text:
        return []
    kept = re.sub(r"(?m)^\s*NetworkInterfaceBlacklist\s*=", f"{_MARK}\\g<0>", text)
    section = re.compile(r"(?m)^\[General\]\s*$")
    if section.search(kept):
        kept = section.sub(f"[General]\n{wanted}", kept, count=1)
    else:
        kept = f"[General]\n{wanted}\n{kept}"
    edit.write(root, name, kept)
    return [
        f"connman leaves network cards alone ({name}): it would take the address away, and with it the root"
    ]


def _interface_patterns(root: Path) -> list[str]:
    """node-init takes the card's name out of these files; a pattern that also means it would stay."""
    names = ["/etc/network/interfaces", *edit.matching(root, "/etc/network/interfaces.d", "*")]
    remarks = []
    for name in names:
        text = edit.read(root, name)
        if text is None or not re.search(r"(?m)^\s*(auto|allow-\S+)\s.*/", text):
            continue
        mended = re.sub(r"(?m)^\s*(auto|allow-\S+)\s.*/.*$", f"{_MARK}\\g<0>", text)
        edit.write(root, name, mended)
        remarks.append(
            f"{name}: interfaces named by a pattern commented out: it may mean the card of the root"
        )
    return remarks


def _resolver(root: Path) -> list[str]:
    link = edit.entry(root, "/etc/resolv.conf")
    if link is None or not link.is_symlink():
        return []
    target = str(link.readlink())
    writers = {
        "systemd/resolve": "systemd-resolved",
        "NetworkManager": "NetworkManager",
        "resolvconf": "resolvconf",
    }
    writer = next((name for part, name in writers.items() if part in target), None)
    if writer is None or _is_installed(root, writer):
        return []
    edit.remove(root, "/etc/resolv.conf")
    return [f"/etc/resolv.conf was a link to a file of {writer}, which isn't installed: removed"]


def _is_installed(root: Path, program: str) -> bool:
    places = ("/usr/lib/systemd", "/lib/systemd", "/usr/sbin", "/sbin", "/usr/bin", "/bin")
    return find_file(root, [f"{place}/{program}" for place in places]) is not None


def _ssh_server(root: Path) -> list[str]:
    if _is_installed(root, "sshd") or _is_installed(root, "dropbear"):
        return []
    return [f"no SSH server: nobody can log in over the network; install openssh-server ({_SHELL})"]


def _init(root: Path) -> list[str]:
    if (
        find_file(root, ["/sbin/init", "/lib/systemd/systemd", "/usr/lib/systemd/systemd", "/bin/init"])
        is not None
    ):
        return []
    return [f"no init: a node can't start from it; install one, as in: apt install systemd-sysv ({_SHELL})"]


def _capabilities(root: Path) -> list[str]:
    """NFS carries user.* attributes at most (RFC 8276): these programs lose what they have."""
    found = []
    for directory in ("/usr/bin", "/usr/sbin", "/bin", "/sbin", "/usr/libexec", "/usr/lib"):
        for name in edit.matching(root, directory, "*"):
            path = edit.entry(root, name)
            if path is not None and path.is_file() and not path.is_symlink() and _has_capability(path):
                found.append(f"/{path.relative_to(root)}")
    remarks = []
    pings = {name for name in found if name.endswith("/ping")}
    if pings and edit.entry(root, PING_SETTING) is None:
        edit.write(root, PING_SETTING, PING_FOR_ALL)
        remarks.append(f"ping works for everybody by {PING_SETTING}: NFS doesn't carry its capability")
    if others := sorted(set(found) - pings):
        shown = ", ".join(others[:4]) + (" …" if len(others) > 4 else "")
        remarks.append(f"NFS doesn't carry the file capabilities of {shown}: they may work for root only")
    return remarks


def _has_capability(path: Path) -> bool:
    try:
        return "security.capability" in os.listxattr(path)
    except OSError:
        return False


def _shown(line: str) -> str:
    return ascii(" ".join(line.split())[:100])


Check = Callable[[Path], list[str]]
CHECKS: tuple[tuple[str, Check], ...] = (
    ("node-init for kernels that mount their root by themselves", _install_node_init),
    ("who may enter /", _top_directory),
    ("SSH host keys", _host_keys),
    ("machine-id", _machine_id),
    ("host name", _host_name),
    ("mounts of disks and swap", _mounts),
    ("units without use", _needless_units),
    ("cloud-init", _cloud_init),
    ("connman", _connman),
    ("ifupdown's patterns", _interface_patterns),
    ("a resolver that isn't there", _resolver),
    ("an SSH server", _ssh_server),
    ("an init", _init),
    ("file capabilities", _capabilities),
)
"""What is looked for, in this order."""
