"""What hinders a system from being the root of many nodes: each thing is found, mended and told."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from netbootd.images import NODE_INIT_PATH, mend, node_init, services
from netbootd.images.debian import MASKED
from tests.images.roots import put, small_root
from tests.images.test_layered import picture

pytestmark = pytest.mark.as_root("what is mended in an image is given to root")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root in which there is nothing to mend but what each test puts there."""
    made = small_root(tmp_path / "root")
    (made / "etc/hostname").unlink()
    put(made, "usr/sbin/sshd", b"", 0o755)
    return made


@pytest.fixture(autouse=True)
def _nothing_is_written_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a shell or a promoted node changed shares its other files with an older generation."""
    real = mend.mend

    def watched(root: Path) -> tuple[str, ...]:
        older = tmp_path.with_name(f"{tmp_path.name}-older")
        shutil.rmtree(older, ignore_errors=True)
        subprocess.run(["cp", "-al", root, older], check=True)
        before = picture(older)
        found = real(root)
        assert picture(older) == before
        return found

    monkeypatch.setattr(mend, "mend", watched)


def names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_a_root_with_nothing_to_mend_gets_node_init_and_no_remark(root: Path) -> None:
    assert mend.mend(root) == ()
    installed = root / NODE_INIT_PATH
    assert installed.read_bytes() == node_init()
    assert installed.stat().st_mode & 0o777 == 0o755


def test_mending_twice_finds_nothing_the_second_time(root: Path) -> None:
    put(root, "etc/fstab", "UUID=1 / ext4 defaults 0 1\n")
    put(root, "etc/machine-id", "0123456789abcdef0123456789abcdef\n", 0o444)
    put(root, "usr/lib/systemd/systemd", b"", 0o755)
    put(root, "usr/lib/systemd/system/apt-daily.timer", "")
    put(root, "usr/sbin/connmand", b"", 0o755)
    (root / "etc/cloud").mkdir()
    assert len(mend.mend(root)) == 5
    assert mend.mend(root) == ()


def test_an_old_node_init_is_replaced_and_a_link_there_not_followed(root: Path, tmp_path: Path) -> None:
    outside = put(tmp_path, "outside", "the head node's")
    (root / NODE_INIT_PATH).parent.mkdir(parents=True)
    (root / NODE_INIT_PATH).symlink_to(outside)
    mend.mend(root)
    assert outside.read_text() == "the head node's"
    assert (root / NODE_INIT_PATH).read_bytes() == node_init()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: gives a directory away")
def test_everybody_may_enter_the_root_of_a_node(root: Path) -> None:
    root.chmod(0o700)
    os.chown(root, 1000, 1000)
    assert mend.mend(root) == ("/ had the mode 0700, owner 1000: made 0755, root's",)
    assert (root.stat().st_mode & 0o777, root.stat().st_uid) == (0o755, 0)


def test_host_keys_and_identities_are_removed(root: Path) -> None:
    put(root, "etc/ssh/ssh_host_ed25519_key", "secret", 0o600)
    put(root, "etc/ssh/ssh_host_ed25519_key.pub", "public")
    put(root, "etc/ssh/sshd_config", "UsePAM yes\n")
    put(root, "etc/machine-id", "0123456789abcdef0123456789abcdef\n", 0o444)
    put(root, "var/lib/dbus/machine-id", "0123456789abcdef0123456789abcdef\n")
    put(root, "etc/hostname", "golden\n")
    put(root, "var/lib/systemd/random-seed", "seed")
    assert mend.mend(root) == (
        "2 SSH host keys removed: each node gets its own",
        "machine-id emptied: each node has its own",
        "host name 'golden' removed: each node gets its own",
    )
    assert names_in(root / "etc/ssh") == ["sshd_config"]
    assert (root / "etc/machine-id").read_text() == ""
    for name in ("var/lib/dbus/machine-id", "etc/hostname", "var/lib/systemd/random-seed"):
        assert not (root / name).exists()


def test_mounts_of_disks_and_swap_are_commented_out_and_the_rest_stays(root: Path) -> None:
    put(
        root,
        "etc/fstab",
        "# static\nproc /proc proc defaults 0 0\nPARTUUID=4f5a-01 /boot vfat defaults 0 2\n"
        "PARTUUID=4f5a-02\t/  ext4 defaults,noatime 0 1\n/swapfile none swap sw 0 0\n"
        "10.77.0.1:/home /home nfs defaults 0 0\n/dev/sda3 /srv ext4 defaults 0 2\n"
        "tmpfs /tmp tmpfs size=1g 0 0",
    )
    remarks = mend.mend(root)
    assert remarks == (
        "/etc/fstab: 'PARTUUID=4f5a-01 /boot vfat defaults 0 2' commented out: a node has no such disk",
        "/etc/fstab: 'PARTUUID=4f5a-02 / ext4 defaults,noatime 0 1' commented out: node-init mounts the root",
        "/etc/fstab: '/swapfile none swap sw 0 0' commented out: a node has no disk to swap to",
        "/etc/fstab: '/dev/sda3 /srv ext4 defaults 0 2' commented out: a node has no such disk",
    )
    kept = [line for line in (root / "etc/fstab").read_text().splitlines() if not line.startswith("#")]
    assert kept == [
        "proc /proc proc defaults 0 0",
        "10.77.0.1:/home /home nfs defaults 0 0",
        "tmpfs /tmp tmpfs size=1g 0 0",
    ]


def test_a_file_keeps_its_mode_when_it_is_mended(root: Path) -> None:
    put(root, "etc/fstab", "LABEL=root / ext4\n", 0o640)
    mend.mend(root)
    assert (root / "etc/fstab").stat().st_mode & 0o777 == 0o640


def test_what_a_built_debian_masks_leaves_nothing_to_remark(root: Path) -> None:
    for unit in MASKED:
        put(root, f"usr/lib/systemd/system/{unit}", "")
    assert sorted(services.mask(root, MASKED)) == sorted(MASKED)
    assert mend.mend(root) == ()


def test_a_resolver_that_is_not_installed_does_not_break_names(root: Path) -> None:
    (root / "etc/resolv.conf").symlink_to("../run/systemd/resolve/stub-resolv.conf")
    (remark,) = mend.mend(root)
    assert "systemd-resolved, which isn't installed" in remark
    assert (root / "etc/resolv.conf").read_text() == ""


def test_a_resolver_that_is_installed_keeps_its_link(root: Path) -> None:
    (root / "etc/resolv.conf").symlink_to("../run/systemd/resolve/stub-resolv.conf")
    put(root, "usr/lib/systemd/systemd-resolved", b"", 0o755)
    assert mend.mend(root) == ()
    assert os.path.lexists(root / "etc/resolv.conf")


def test_what_only_its_owner_can_mend_is_told_with_the_remedy(root: Path) -> None:
    (root / "usr/sbin/sshd").unlink()
    (root / "sbin/init").unlink()
    no_ssh, no_init = mend.mend(root)
    assert "no SSH server" in no_ssh
    assert "install openssh-server" in no_ssh
    assert "no init" in no_init
    assert "systemd-sysv" in no_init


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: gives a program a capability")
def test_programs_that_lose_their_capabilities_over_nfs_are_told(root: Path) -> None:
    (root / "bin").rename(root / "usr/bin")
    (root / "bin").symlink_to("usr/bin")
    for name in ("ping", "mtr-packet"):
        path = put(root, f"usr/bin/{name}", b"", 0o755)
        # cap_net_raw+ep: VFS_CAP_REVISION_2 with the effective bit, linux/capability.h.
        os.setxattr(path, "security.capability", bytes.fromhex("0100000200200000" + "00" * 12))
    ping, other = mend.mend(root)
    assert ping.startswith("ping works for everybody")
    assert "file capabilities of /usr/bin/mtr-packet:" in other
    assert (root / mend.PING_SETTING.lstrip("/")).read_text() == mend.PING_FOR_ALL
    assert mend.mend(root) == (other,)


def test_links_in_the_image_never_lead_to_the_head_nodes_files(root: Path, tmp_path: Path) -> None:
    outside = put(tmp_path, "fstab", "LABEL=root / ext4\n")
    secret = put(tmp_path, "hostname", "head\n")
    (root / "etc/fstab").symlink_to(outside)
    (root / "etc/hostname").symlink_to(secret)
    (root / "etc/machine-id").symlink_to(outside)
    (root / "etc/cloud").symlink_to(tmp_path)
    (root / "etc/systemd").symlink_to(tmp_path)
    mend.mend(root)
    assert outside.read_text() == "LABEL=root / ext4\n"
    assert secret.read_text() == "head\n"
    assert names_in(tmp_path) == ["fstab", "hostname", "root"]


def test_a_pipe_or_a_directory_in_the_place_of_a_file_stops_nothing(root: Path) -> None:
    os.mkfifo(root / "etc/fstab")
    (root / "etc/hostname").mkdir()
    os.mkfifo(root / "etc/machine-id")
    mend.mend(root)
    assert (root / "etc/machine-id").read_text() == ""
