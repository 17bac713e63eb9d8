"""What node-init adds for an init other than systemd: logins on serial consoles, and the report `ready`."""

from pathlib import Path

import pytest

from tests.images.test_node_init import put, run, shell

__all__ = ["shell"]  # the fixture

pytestmark = pytest.mark.needs("dash", "busybox", "bash")

DEBIAN = "id:2:initdefault:\n#T0:23:respawn:/sbin/getty -L ttyS0 9600 vt100\n1:2345:respawn:/sbin/getty tty1"
ALPINE = "::sysinit:/sbin/openrc sysinit\ntty1::respawn:/sbin/getty 38400 tty1\n"
LOGIN = 'new=$1; inittab_login ttyS0; inittab_line "$ready" nr once "$ready"; inittab_login ttyS0'


def root(directory: Path, inittab: str) -> Path:
    put(directory / "etc/inittab", inittab)
    put(directory / "sbin/getty", "", 0o755)
    put(directory / "sbin/init", "", 0o755)
    return directory


def test_sysvinit_gets_a_login_and_reports_once_its_services_are_up(shell: list[str], tmp_path: Path) -> None:
    made = root(tmp_path, DEBIAN + "\n")
    assert run(shell, LOGIN, str(made)).returncode == 0
    assert (made / "etc/inittab").read_text().splitlines()[3:] == [
        "S0:2345:respawn:/sbin/getty -L 115200 ttyS0 vt100",
        "nr:2345:once:/usr/lib/netbootd/report-ready",
    ]


def test_busybox_gets_them_in_its_own_words(shell: list[str], tmp_path: Path) -> None:
    made = root(tmp_path, ALPINE)
    (made / "sbin/init").unlink()
    (made / "sbin/init").symlink_to("/bin/busybox")
    assert run(shell, LOGIN, str(made)).returncode == 0
    assert (made / "etc/inittab").read_text().splitlines()[2:] == [
        "ttyS0::respawn:/sbin/getty -L 115200 ttyS0 vt100",
        "::once:/usr/lib/netbootd/report-ready",
    ]


def test_a_login_that_is_there_stays_as_it_is(shell: list[str], tmp_path: Path) -> None:
    text = "S0:12345:respawn:/sbin/agetty -L 9600 ttyS0 vt100\n"
    made = root(tmp_path, text)
    run(shell, "new=$1; inittab_login ttyS0", str(made))
    assert (made / "etc/inittab").read_text() == text


def test_without_a_getty_nothing_is_written(shell: list[str], tmp_path: Path) -> None:
    made = root(tmp_path, ALPINE)
    (made / "sbin/getty").unlink()
    run(shell, "new=$1; inittab_login ttyS0", str(made))
    assert (made / "etc/inittab").read_text() == ALPINE


def test_where_systemd_is_the_init_nothing_is_touched(shell: list[str], tmp_path: Path) -> None:
    made = root(tmp_path, DEBIAN)
    (made / "sbin/init").unlink()
    (made / "sbin/init").symlink_to("../lib/systemd/systemd")
    run(shell, "new=$1; serial_login", str(made))
    assert (made / "etc/inittab").read_text() == DEBIAN
