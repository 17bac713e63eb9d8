"""What would take the card that the root comes over away, or wait for cards that a node hasn't.

node-init sees at every boot to that card, whose name only it knows: for ifupdown, dhcpcd, NetworkManager and
systemd-networkd. Here is what it can't do: settings that name no card, or the cards of the machine that the
image was made on.
"""

import re
from pathlib import Path

from netbootd.images import edit, services
from netbootd.images.rooted import find_file

_WAIT = "systemd-networkd-wait-online"
_CARDS = re.compile(r"net\.(?!lo$|vnet|ppp|tun|tap|br|bond)[\w.-]+")


def connman(root: Path) -> list[str]:
    """connman is told by its main.conf alone which cards to leave alone."""
    if find_file(root, ["/usr/sbin/connmand", "/usr/bin/connmand"]) is None:
        return []
    remarks = [
        f"{unit} masked: it would wait for a card that connman leaves alone"
        for unit in services.mask(root, ["connman-wait-online.service"])
    ]
    name = "/etc/connman/main.conf"
    text = edit.read(root, name) or ""
    wanted = "NetworkInterfaceBlacklist=eth,en,vmnet,vboxnet,virbr,ifb"
    if wanted in text:
        return remarks
    kept = re.sub(r"(?m)^\s*NetworkInterfaceBlacklist\s*=", f"{edit.MARK}\\g<0>", text)
    section = re.compile(r"(?m)^\[General\]\s*$")
    if section.search(kept):
        kept = section.sub(f"[General]\n{wanted}", kept, count=1)
    else:
        kept = f"[General]\n{wanted}\n{kept}"
    edit.write(root, name, kept)
    why = "it would take the address away, and the root with it"
    return [f"connman leaves network cards alone ({name}): {why}", *remarks]


def interface_patterns(root: Path) -> list[str]:
    """ifupdown: node-init takes the card's name out of these files, and can't see it in a pattern."""
    remarks = []
    for name in ("/etc/network/interfaces", *edit.matching(root, "/etc/network/interfaces.d", "*")):
        text = edit.read(root, name)
        if text is None or not re.search(r"(?m)^\s*(auto|allow-\S+)\s.*/", text):
            continue
        edit.write(root, name, re.sub(r"(?m)^\s*(auto|allow-\S+)\s.*/.*$", f"{edit.MARK}\\g<0>", text))
        remarks.append(
            f"{name}: interfaces named by a pattern commented out: it may mean the card of the root"
        )
    return remarks


def netifrc(root: Path) -> list[str]:
    """Gentoo's net.eth0 would ask DHCP again and end the root at shutdown: node-init brings the card up.

    A service that needs `net` must find one that provides it: the loopback device's is told to, and it alone,
    since whatever provides `net` is started before all that needs it (seen with OpenRC 0.45's rc-depend).
    """
    links = [
        link
        for level in edit.matching(root, "/etc/runlevels", "*")
        for link in edit.matching(root, level, "net.*")
        if _CARDS.fullmatch(link.rpartition("/")[2])
    ]
    if not links:
        return []
    for link in links:
        edit.remove(root, link)
    name, text = "/etc/rc.conf", edit.read(root, "/etc/rc.conf") or ""
    provider = "loopback" if edit.entry(root, "/etc/init.d/loopback") is not None else "net_lo"
    edit.write(
        root, name, f'{text}\n# netbootd: node-init brings the card up.\nrc_{provider}_provide="net"\n'
    )
    names = ", ".join(sorted({link.rpartition("/")[2] for link in links}))
    return [f"{names} switched off, net is there without it ({name}): node-init brings the card up"]


def wicked(root: Path) -> list[str]:
    """openSUSE's wicked knows a root on NFS by a word of ifcfg(5), and then never takes the card down."""
    changed = []
    for name in edit.matching(root, "/etc/sysconfig/network", "ifcfg-*"):
        if name.endswith(("ifcfg-lo", ".template", "~")):
            continue
        text = edit.read(root, name) or ""
        mended = re.sub(
            r"(?m)^\s*STARTMODE\s*=\s*['\"]?(auto|onboot|hotplug|ifplugd)\b.*$", "STARTMODE='nfsroot'", text
        )
        if mended != text:
            edit.write(root, name, mended)
            changed.append(name)
    return (
        [f"{', '.join(changed)}: STARTMODE is nfsroot now: the card of the root stays up"] if changed else []
    )


def waiting_for_cards(root: Path) -> list[str]:
    """networkd would wait two minutes for each further card that has no cable: the root's is enough."""
    program = next(
        (f"{d}/{_WAIT}" for d in ("/usr/lib/systemd", "/lib/systemd") if find_file(root, [f"{d}/{_WAIT}"])),
        None,
    )
    name = f"/etc/systemd/system/{_WAIT}.service.d/zz-netbootd.conf"
    by_netplan = bool(edit.matching(root, "/etc/netplan", "*.yaml"))  # its generator switches it on
    wanted = by_netplan or services.is_switched_on(root, [_WAIT])
    if program is None or not wanted or edit.entry(root, name) is not None:
        return []
    edit.write(root, name, f"[Service]\nExecStart=\nExecStart={program} --any --timeout=30\n")
    return ["waiting for the network ends with the first card that is up, and after 30 s at most"]


def names_of_cards(root: Path) -> list[str]:
    """Old udev rules name the cards of the machine that the image was made on: a node's would be eth1."""
    names = edit.matching(root, "/etc/udev/rules.d", "[0-9]*persistent-net*.rules")
    return [f"{name} removed: it names another machine's cards" for name in names if edit.remove(root, name)]
