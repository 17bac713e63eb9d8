"""What an image means to do at its first boot, and asks for: on a node every boot is the first one.

Services that do so are in needless.py; these here are files. Evidence: Raspberry Pi OS's userconf-pi and
raspberrypi-sys-mods, Armbian's packages/bsp, cloud-init's ds-identify, Fedora's selinux-policy.
"""

import re
from pathlib import Path

from netbootd.images import edit
from netbootd.images.rooted import resolve

_TRIGGERS = {
    "/root/.not_logged_in_yet": "Armbian's questions at the first login",
    "/etc/xdg/autostart/piwiz.desktop": "Raspberry Pi OS's questions at the first login",
    "/etc/ssh/sshd_config.d/rename_user.conf": "Raspberry Pi OS's warning that no user is set up",
    "/.autorelabel": "SELinux's labelling of all files, which NFS doesn't keep",
}
"""Files that ask for something at the first boot or login -> what."""
_ON_BOOT_PARTITION = {
    "firstrun.sh": "what Raspberry Pi Imager has it do",
    "custom.toml": "what Raspberry Pi Imager has it do",
    "userconf.txt": "its user and password",
    "userconf": "its user and password",
    "user-data": "what cloud-init would do",
    "armbian_first_run.txt": "what Armbian would do",
}
_INIT_WORD = re.compile(r"(?:^|\s)((?:init|systemd\.run)=\S+)")


def cloud_init(root: Path) -> list[str]:
    """Disable cloud-init: without a cloud it waits for one, and then makes the network anew."""
    disabled = "/etc/cloud/cloud-init.disabled"
    if resolve(root, "/etc/cloud") is None or edit.entry(root, disabled) is not None:
        return []
    edit.write(root, disabled, "Disabled by netbootd: a node is told who it is by its head node.\n")
    return [f"cloud-init disabled ({disabled}): it would wait minutes for a cloud to tell it who it is"]


def triggers(root: Path) -> list[str]:
    """Take away the files that make a login ask questions or a boot relabel everything."""
    return [f"{name} removed: {what}" for name, what in _TRIGGERS.items() if edit.remove(root, name)]


def settings_of_a_card(root: Path) -> list[str]:
    """Tell of what was put on the boot partition to be done once: a node never does it."""
    remarks = []
    for directory in ("/boot/firmware", "/boot"):
        for name, what in _ON_BOOT_PARTITION.items():
            if edit.entry(root, f"{directory}/{name}") is not None:
                remarks.append(
                    f"{directory}/{name} isn't carried out: {what} belongs into a template or a shell"
                )
        words = _INIT_WORD.findall(edit.read(root, f"{directory}/cmdline.txt") or "")
        if words:
            remarks.append(
                f"{directory}/cmdline.txt: {' '.join(words)[:100]!a} is not carried over: once only"
            )
    return remarks


def selinux(root: Path) -> list[str]:
    """Make SELinux permissive: NFS and the overlay have none of the labels that it would insist on."""
    name = "/etc/selinux/config"
    text = edit.read(root, name) or ""
    mended = re.sub(r"(?m)^\s*SELINUX\s*=\s*enforcing\b.*$", "SELINUX=permissive", text)
    if mended == text:
        return []
    edit.write(root, name, mended)
    return [f"SELinux made permissive ({name}): files on NFS have no labels, nothing could be started"]
