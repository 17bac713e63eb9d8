"""What keeps a system that was made for one disk in one machine from being the root of many nodes.

One entry of the table per fault: it looks for it, mends it where that is safe, and says in one line each what
it found and what it did, or what is left to do. Nothing that a node does by itself at every boot is repeated
here: node-init keeps ifupdown, dhcpcd, NetworkManager and systemd-networkd from the card that the root comes
over.
"""

import os
import stat
from collections.abc import Callable
from pathlib import Path

from netbootd.images import NODE_INIT_PATH, edit, first_boot, logins, needless, network_services, node_init

PING_SETTING = "/etc/sysctl.d/90-netbootd-ping.conf"
PING_FOR_ALL = "net.ipv4.ping_group_range = 0 2147483647\n"


def mend(root: Path) -> tuple[str, ...]:
    """Make the root file system under `root` fit to be booted over the network by many nodes.

    Returns what was found and done, one line each. Raises OSError, UserError.
    """
    return tuple(remark for _, check in CHECKS for remark in check(root))


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
            lines.append(edit.MARK + line)
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
    if needless.is_of_a_disk(device) or kind in ("zfs", "bcachefs"):
        return "a node has no such disk"
    return None


def _resolver(root: Path) -> list[str]:
    """There is always one, an empty one at least: units that may write to it (dhcpcd's) fail without."""
    link = edit.entry(root, "/etc/resolv.conf")
    if link is None:
        edit.write(root, "/etc/resolv.conf", "")
    if link is None or not link.is_symlink():
        return []
    target = str(link.readlink())
    writers = {
        "systemd/resolve": "systemd-resolved",
        "NetworkManager": "NetworkManager",
        "resolvconf": "resolvconf",
    }
    writer = next((name for part, name in writers.items() if part in target), None)
    if writer is None or logins.is_installed(root, writer):
        return []
    edit.remove(root, "/etc/resolv.conf")
    edit.write(root, "/etc/resolv.conf", "")
    return [f"/etc/resolv.conf was a link to a file of {writer}, which isn't installed: made an empty file"]


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
    ("disks that have units", needless.disk_units),
    ("encrypted disks", needless.encrypted),
    ("services without use", needless.units),
    ("snaps that were never set up", needless.snaps),
    ("cloud-init", first_boot.cloud_init),
    ("questions at the first boot", first_boot.triggers),
    ("settings on a card's boot partition", first_boot.settings_of_a_card),
    ("SELinux", first_boot.selinux),
    ("connman", network_services.connman),
    ("ifupdown's patterns", network_services.interface_patterns),
    ("netifrc", network_services.netifrc),
    ("wicked", network_services.wicked),
    ("waiting for further cards", network_services.waiting_for_cards),
    ("names of another machine's cards", network_services.names_of_cards),
    ("a resolver that isn't there", _resolver),
    ("an SSH server", logins.ssh_server),
    ("root's login", logins.root_login),
    ("an init", logins.init),
    ("file capabilities", _capabilities),
)
"""What is looked for, in this order."""
