"""Services of an image, switched on and off by the links that its init goes by."""

import os
from pathlib import Path

import pytest

from netbootd.images import services
from netbootd.images.services import Init
from tests.images.roots import put

UNIT = "[Service]\nExecStart=/usr/sbin/sshd -D\n[Install]\nWantedBy=multi-user.target\n"


def systemd(root: Path) -> Path:
    put(root, "usr/lib/systemd/systemd", b"", 0o755)
    (root / "usr/sbin").mkdir(parents=True)
    (root / "usr/sbin/init").symlink_to("../lib/systemd/systemd")
    put(root, "usr/lib/systemd/system/ssh.service", UNIT)
    return root


def openrc(root: Path) -> Path:
    put(root, "sbin/init", b"", 0o755)
    put(root, "etc/inittab", "::sysinit:/sbin/openrc sysinit\n")
    put(root, "etc/init.d/sshd", "#!/sbin/openrc-run\n", 0o755)
    (root / "etc/runlevels/default").mkdir(parents=True)
    return root


def sysvinit(root: Path) -> Path:
    put(root, "sbin/init", b"", 0o755)
    put(root, "etc/inittab", "id:2:initdefault:\n")
    put(root, "etc/init.d/ssh", "#!/bin/sh\n", 0o755)
    (root / "etc/rc2.d").mkdir(parents=True)
    return root


def runit(root: Path) -> Path:
    put(root, "usr/bin/runit-init", b"", 0o755)
    (root / "sbin").mkdir()
    (root / "sbin/init").symlink_to("/usr/bin/runit-init")
    put(root, "etc/sv/sshd/run", "#!/bin/sh\n", 0o755)
    (root / "etc/runit/runsvdir/default").mkdir(parents=True)
    return root


INITS = {
    Init.SYSTEMD: (systemd, "etc/systemd/system/multi-user.target.wants/ssh.service"),
    Init.OPENRC: (openrc, "etc/runlevels/default/sshd"),
    Init.SYSVINIT: (sysvinit, "etc/rc3.d/S01ssh"),
    Init.RUNIT: (runit, "etc/runit/runsvdir/default/sshd"),
}


@pytest.mark.parametrize("init", INITS, ids=lambda init: init.value)
def test_each_init_is_known_and_starts_what_is_switched_on(tmp_path: Path, init: Init) -> None:
    make, link = INITS[init]
    root = make(tmp_path)
    assert services.init_of(root) is init
    assert not services.is_switched_on(root, ["ssh", "sshd"])
    assert services.switch_on(root, ["ssh", "sshd"]) in ("ssh", "sshd", "ssh.service")
    assert (root / link).is_symlink()
    assert services.is_switched_on(root, ["ssh", "sshd"])


@pytest.mark.parametrize("init", INITS, ids=lambda init: init.value)
def test_what_is_switched_off_is_started_by_none_of_them(tmp_path: Path, init: Init) -> None:
    root = INITS[init][0](tmp_path)
    services.switch_on(root, ["ssh", "sshd"])
    assert len(services.switch_off(root, ["ssh.service", "sshd.service", "other.service"])) == 1
    assert not services.is_switched_on(root, ["ssh", "sshd"])
    assert services.switch_off(root, ["ssh.service", "sshd.service"]) == []


@pytest.mark.parametrize("init", [Init.OPENRC, Init.SYSVINIT, Init.RUNIT], ids=lambda init: init.value)
def test_links_of_an_init_that_is_gone_start_nothing(tmp_path: Path, init: Init) -> None:
    root = INITS[init][0](tmp_path)
    wants = root / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True)
    for service in ("ssh", "sshd"):
        (wants / f"{service}.service").symlink_to(f"/lib/systemd/system/{service}.service")
    if init is not Init.SYSVINIT:
        (root / "etc/rc2.d").mkdir()
        (root / "etc/rc2.d/S01ssh").symlink_to("../init.d/ssh")
    assert not services.is_switched_on(root, ["ssh", "sshd"])


def test_a_socket_that_starts_it_counts_and_a_masked_one_does_not(tmp_path: Path) -> None:
    root = systemd(tmp_path)
    wants = root / "etc/systemd/system/sockets.target.wants"
    wants.mkdir(parents=True)
    (wants / "ssh.socket").symlink_to("/lib/systemd/system/ssh.socket")
    assert services.is_switched_on(root, ["ssh"])
    (root / "etc/systemd/system/ssh.socket").symlink_to("/dev/null")
    assert not services.is_switched_on(root, ["ssh"])


def test_what_somebody_masked_is_not_switched_on(tmp_path: Path) -> None:
    root = systemd(tmp_path)
    (root / "etc/systemd/system").mkdir(parents=True)
    (root / "etc/systemd/system/ssh.service").symlink_to("/dev/null")
    assert services.switch_on(root, ["ssh", "sshd"]) is None


def test_a_script_of_sysvinit_is_masked_where_systemd_would_run_it(tmp_path: Path) -> None:
    root = systemd(tmp_path)
    put(root, "etc/init.d/resize2fs_once", "#!/bin/sh\n", 0o755)
    (root / "etc/rc3.d").mkdir()
    (root / "etc/rc3.d/S01resize2fs_once").symlink_to("../init.d/resize2fs_once")
    assert services.switch_off(root, ["resize2fs_once.service"]) == ["resize2fs_once.service"]
    assert not os.path.lexists(root / "etc/rc3.d/S01resize2fs_once")
    assert (root / "etc/systemd/system/resize2fs_once.service").readlink() == Path("/dev/null")


def test_no_link_leads_out_of_the_image(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "default").mkdir(parents=True)
    put(outside, "default/ssh", "the head node's")
    root = openrc(tmp_path / "root")
    (root / "etc/runlevels/default").rmdir()
    (root / "etc/runlevels").rmdir()
    (root / "etc/runlevels").symlink_to(outside)
    services.switch_off(root, ["ssh.service", "sshd.service"])
    assert (outside / "default/ssh").read_text() == "the head node's"
    assert sorted(path.name for path in (outside / "default").iterdir()) == ["ssh"]
