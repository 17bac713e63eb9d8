"""First boots, disks, network managers and logins of images made for other machines: found and mended."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from netbootd.images import first_boot, logins, needless, network_services
from tests.images.roots import put
from tests.images.test_services import openrc, systemd, sysvinit

pytestmark = pytest.mark.as_root("what is mended in an image is given to root")


# Disks and services


@pytest.mark.parametrize("unit", needless.NEEDLESS_UNITS)
def test_a_service_without_use_is_masked_with_the_reason(tmp_path: Path, unit: str) -> None:
    root = systemd(tmp_path)
    put(root, f"usr/lib/systemd/system/{unit}", "")
    (remark,) = needless.units(root)
    assert remark == f"{unit} switched off: {needless.NEEDLESS_UNITS[unit]}"
    assert (root / "etc/systemd/system" / unit).readlink() == Path("/dev/null")
    assert needless.units(root) == []


def test_of_several_services_one_line_for_each_reason_tells(tmp_path: Path) -> None:
    root = systemd(tmp_path)
    for unit in ("fstrim.timer", "e2scrub_all.timer", "man-db.timer"):
        put(root, f"usr/lib/systemd/system/{unit}", "")
    assert needless.units(root) == [
        "man-db.timer switched off: it would index the manual on every node",
        "e2scrub_all.timer, fstrim.timer switched off: a node has no disk",
    ]


def test_without_systemd_its_units_are_left_alone_and_scripts_switched_off(tmp_path: Path) -> None:
    root = sysvinit(tmp_path)
    put(root, "usr/lib/systemd/system/fstrim.timer", "")
    put(root, "etc/init.d/dphys-swapfile", "#!/bin/sh\n", 0o755)
    (root / "etc/rc2.d/S01dphys-swapfile").symlink_to("../init.d/dphys-swapfile")
    assert needless.units(root) == ["dphys-swapfile switched off: a swap file can't lie on an overlay"]
    assert not os.path.lexists(root / "etc/rc2.d/S01dphys-swapfile")


def test_mounts_of_disks_that_are_units_are_masked(tmp_path: Path) -> None:
    root = systemd(tmp_path)
    put(root, "etc/systemd/system/srv.mount", "[Mount]\nWhat=/dev/disk/by-uuid/1\nWhere=/srv\n")
    put(root, "etc/systemd/system/srv.automount", "[Automount]\nWhere=/srv\n")
    put(root, "etc/systemd/system/swapfile.swap", "[Swap]\nWhat=/swapfile\n")
    put(root, "etc/systemd/system/data.mount", "[Mount]\nWhat=10.77.0.1:/data\nWhere=/data\n")
    put(root, "etc/systemd/system/tmp.mount", "[Mount]\nWhat=tmpfs\nWhere=/tmp\n")
    (remark,) = needless.disk_units(root)
    assert remark == "srv.mount, srv.automount, swapfile.swap masked: a node has no disk"
    assert (root / "etc/systemd/system/srv.mount").readlink() == Path("/dev/null")
    assert not (root / "etc/systemd/system/data.mount").is_symlink()
    assert needless.disk_units(root) == []


def test_encrypted_disks_are_not_waited_for(tmp_path: Path) -> None:
    put(tmp_path, "etc/crypttab", "# name device\ncryptroot UUID=1 none luks\n\n")
    (remark,) = needless.encrypted(tmp_path)
    assert remark == "/etc/crypttab: 1 encrypted disks commented out: a node has no disk"
    text = "# name device\n#netbootd: cryptroot UUID=1 none luks\n\n"
    assert (tmp_path / "etc/crypttab").read_text() == text
    assert needless.encrypted(tmp_path) == []


def test_snaps_that_were_never_set_up_are_not_set_up_at_every_boot(tmp_path: Path) -> None:
    root = systemd(tmp_path)
    put(root, "usr/lib/systemd/system/snapd.seeded.service", "")
    assert needless.snaps(root) == []
    put(root, "var/lib/snapd/seed/seed.yaml", "snaps:\n")
    (remark,) = needless.snaps(root)
    assert remark.startswith("snapd masked: it would set its snaps up anew")
    put(root, "var/lib/snapd/state.json", "{}")
    assert needless.snaps(root) == []


# The first boot


def test_cloud_init_does_not_wait_for_a_cloud(tmp_path: Path) -> None:
    put(tmp_path, "etc/cloud/cloud.cfg", "")
    (remark,) = first_boot.cloud_init(tmp_path)
    assert remark.startswith("cloud-init disabled")
    assert (tmp_path / "etc/cloud/cloud-init.disabled").is_file()
    assert first_boot.cloud_init(tmp_path) == []


def test_questions_of_a_first_login_are_not_asked(tmp_path: Path) -> None:
    put(tmp_path, "root/.not_logged_in_yet", "")
    put(tmp_path, "etc/xdg/autostart/piwiz.desktop", "")
    put(tmp_path, "etc/ssh/sshd_config.d/rename_user.conf", "Banner /usr/share/userconf-pi/sshd_banner\n")
    put(tmp_path, ".autorelabel", "")
    assert len(first_boot.triggers(tmp_path)) == 4
    assert not (tmp_path / "root/.not_logged_in_yet").exists()
    assert first_boot.triggers(tmp_path) == []


def test_what_an_imager_put_on_the_card_is_told_and_not_lost_silently(tmp_path: Path) -> None:
    put(tmp_path, "boot/firmware/userconf.txt", "pi:$6$x")
    put(
        tmp_path,
        "boot/firmware/cmdline.txt",
        "console=serial0,115200 root=PARTUUID=1-02 rootwait init=/usr/lib/raspberrypi-sys-mods/firstboot",
    )
    user, words = first_boot.settings_of_a_card(tmp_path)
    assert user.startswith("/boot/firmware/userconf.txt isn't carried out: its user and password")
    assert "'init=/usr/lib/raspberrypi-sys-mods/firstboot'" in words
    assert "/$6$x" not in user


def test_selinux_does_not_insist_on_labels(tmp_path: Path) -> None:
    put(tmp_path, "etc/selinux/config", "# SELINUX= can be\nSELINUX=enforcing\nSELINUXTYPE=targeted\n")
    (remark,) = first_boot.selinux(tmp_path)
    assert remark.startswith("SELinux made permissive")
    text = (tmp_path / "etc/selinux/config").read_text()
    assert text == "# SELINUX= can be\nSELINUX=permissive\nSELINUXTYPE=targeted\n"
    assert first_boot.selinux(tmp_path) == []


# Networks


@pytest.mark.parametrize(
    "before", [None, "[General]\nNetworkInterfaceBlacklist=vmnet\nAllowHostnameUpdates=false\n"]
)
def test_connman_leaves_the_cards_alone(tmp_path: Path, before: str | None) -> None:
    put(tmp_path, "usr/sbin/connmand", b"", 0o755)
    if before is not None:
        put(tmp_path, "etc/connman/main.conf", before)
    (remark,) = network_services.connman(tmp_path)
    assert remark.startswith("connman leaves network cards alone")
    lines = (tmp_path / "etc/connman/main.conf").read_text().splitlines()
    assert lines[:2] == ["[General]", "NetworkInterfaceBlacklist=eth,en,vmnet,vboxnet,virbr,ifb"]
    assert [line for line in lines if line.startswith("NetworkInterfaceBlacklist")] == lines[1:2]
    assert before is None or "AllowHostnameUpdates=false" in lines
    assert network_services.connman(tmp_path) == []


def test_nothing_waits_for_connman_to_have_a_card(tmp_path: Path) -> None:
    root = systemd(tmp_path)
    put(root, "usr/sbin/connmand", b"", 0o755)
    put(root, "usr/lib/systemd/system/connman-wait-online.service", "")
    _, waiting = network_services.connman(root)
    assert waiting.startswith("connman-wait-online.service masked")
    assert network_services.connman(root) == []


def test_interfaces_named_by_a_pattern_are_commented_out(tmp_path: Path) -> None:
    text = "auto lo\niface lo inet loopback\nauto /eth*\niface /eth* inet dhcp\n"
    put(tmp_path, "etc/network/interfaces", text)
    put(tmp_path, "etc/network/interfaces.d/setup", "auto eth0\niface eth0 inet dhcp\n")
    (remark,) = network_services.interface_patterns(tmp_path)
    assert remark.startswith("/etc/network/interfaces: ")
    assert "\n#netbootd: auto /eth*\n" in (tmp_path / "etc/network/interfaces").read_text()
    assert (tmp_path / "etc/network/interfaces.d/setup").read_text() == "auto eth0\niface eth0 inet dhcp\n"


def test_gentoos_net_eth0_is_switched_off_and_net_taken_for_granted(tmp_path: Path) -> None:
    root = openrc(tmp_path)
    put(root, "etc/rc.conf", 'rc_parallel="NO"\n')
    put(root, "etc/init.d/net.lo", "#!/sbin/openrc-run\n", 0o755)
    for link in ("default/net.eth0", "default/net.enp3s0", "boot/net.lo"):
        (root / "etc/runlevels" / link).parent.mkdir(exist_ok=True)
        (root / "etc/runlevels" / link).symlink_to("/etc/init.d/net.lo")
    (remark,) = network_services.netifrc(root)
    assert remark.startswith("net.enp3s0, net.eth0 switched off")
    assert os.path.lexists(root / "etc/runlevels/boot/net.lo")
    assert not os.path.lexists(root / "etc/runlevels/default/net.eth0")
    assert (root / "etc/rc.conf").read_text().splitlines()[0] == 'rc_parallel="NO"'
    assert 'rc_net_lo_provide="net"' in (root / "etc/rc.conf").read_text().splitlines()
    assert network_services.netifrc(root) == []


def test_the_loopback_service_provides_net_where_there_is_one(tmp_path: Path) -> None:
    root = openrc(tmp_path)
    put(root, "etc/init.d/loopback", "#!/sbin/openrc-run\n", 0o755)
    (root / "etc/runlevels/default/net.eth0").symlink_to("/etc/init.d/net.lo")
    network_services.netifrc(root)
    assert 'rc_loopback_provide="net"' in (root / "etc/rc.conf").read_text().splitlines()


def test_wicked_knows_a_card_of_the_root(tmp_path: Path) -> None:
    put(tmp_path, "etc/sysconfig/network/ifcfg-eth0", "BOOTPROTO='dhcp'\nSTARTMODE='auto'\n", 0o600)
    put(tmp_path, "etc/sysconfig/network/ifcfg-lo", "STARTMODE='auto'\n")
    put(tmp_path, "etc/sysconfig/network/ifcfg-eth1", "STARTMODE='off'\n")
    (remark,) = network_services.wicked(tmp_path)
    assert remark.startswith("/etc/sysconfig/network/ifcfg-eth0: STARTMODE is nfsroot")
    changed = tmp_path / "etc/sysconfig/network/ifcfg-eth0"
    assert changed.read_text() == "BOOTPROTO='dhcp'\nSTARTMODE='nfsroot'\n"
    assert changed.stat().st_mode & 0o777 == 0o600
    assert network_services.wicked(tmp_path) == []


def test_waiting_for_the_network_ends_with_the_roots_card(tmp_path: Path) -> None:
    root = systemd(tmp_path)
    put(root, "lib/systemd/systemd-networkd-wait-online", b"", 0o755)
    assert network_services.waiting_for_cards(root) == []
    wants = root / "etc/systemd/system/network-online.target.wants"
    wants.mkdir(parents=True)
    (wants / "systemd-networkd-wait-online.service").symlink_to("/lib/systemd/system/x")
    (remark,) = network_services.waiting_for_cards(root)
    assert remark.startswith("waiting for the network ends with the first card")
    drop_in = root / "etc/systemd/system/systemd-networkd-wait-online.service.d/zz-netbootd.conf"
    assert "ExecStart=/lib/systemd/systemd-networkd-wait-online --any --timeout=30\n" in drop_in.read_text()
    assert network_services.waiting_for_cards(root) == []


def test_so_does_netplans_waiting(tmp_path: Path) -> None:
    root = systemd(tmp_path)
    put(root, "usr/lib/systemd/systemd-networkd-wait-online", b"", 0o755)
    put(root, "etc/netplan/50-cloud-init.yaml", "network: {}\n", 0o600)
    (remark,) = network_services.waiting_for_cards(root)
    assert remark.startswith("waiting for the network ends with the first card")


def test_names_of_another_machines_cards_are_forgotten(tmp_path: Path) -> None:
    put(tmp_path, "etc/udev/rules.d/70-persistent-net.rules", 'ATTR{address}=="1", NAME="eth0"\n')
    put(tmp_path, "etc/udev/rules.d/99-com.rules", "")
    (remark,) = network_services.names_of_cards(tmp_path)
    assert remark == "/etc/udev/rules.d/70-persistent-net.rules removed: it names another machine's cards"
    assert (tmp_path / "etc/udev/rules.d/99-com.rules").exists()


# Logins


@pytest.mark.parametrize("make", [systemd, openrc, sysvinit], ids=["systemd", "openrc", "sysvinit"])
def test_an_ssh_server_that_is_not_started_is_switched_on(
    tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    root = make(tmp_path)
    put(root, "usr/sbin/sshd", b"", 0o755)
    put(root, "etc/ssh/sshd_not_to_be_run", "")
    flag, started = logins.ssh_server(root)
    assert flag.startswith("/etc/ssh/sshd_not_to_be_run removed")
    assert started.startswith("the SSH server wasn't started at boot: ssh")
    assert started.endswith("switched on")
    assert logins.ssh_server(root) == []


def test_one_that_was_masked_stays_off_and_is_told(tmp_path: Path) -> None:
    root = systemd(tmp_path)
    put(root, "usr/sbin/sshd", b"", 0o755)
    (root / "etc/systemd/system").mkdir(parents=True)
    (root / "etc/systemd/system/ssh.service").symlink_to("/dev/null")
    (remark,) = logins.ssh_server(root)
    assert remark == "the SSH server isn't started at boot; enable it (netbootctl image shell NAME)"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("PermitRootLogin no\n", True),
        ("permitrootlogin   NO\n", True),
        ("#PermitRootLogin no\nPermitRootLogin prohibit-password\n", False),
        ("PermitRootLogin yes\nMatch User guest\n  PermitRootLogin no\n", False),
    ],
)
def test_a_server_that_lets_nobody_in_as_root_is_told(tmp_path: Path, text: str, told: bool) -> None:
    put(tmp_path, "etc/ssh/sshd_config.d/10-own.conf", text)
    remarks = logins.root_login(tmp_path)
    assert [remark.partition(" lets")[0] for remark in remarks] == (
        ["/etc/ssh/sshd_config.d/10-own.conf"] if told else []
    )
