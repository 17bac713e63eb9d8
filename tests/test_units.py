"""units/: systemd takes them as they are, and the sandbox is as tight as the design says."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from netbootd.config import Config, NetworkSettings

UNITS = Path(__file__).parent.parent / "units"
COMMAND = re.compile(r"/usr/local/bin/(netbootd|netbootctl)\b")
needs_analyze = pytest.mark.needs("systemd-analyze")


def settings(name: str) -> dict[str, list[str]]:
    """Key -> all values that a unit file gives it, in order."""
    found: dict[str, list[str]] = {}
    for line in (UNITS / name).read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


@needs_analyze
def test_systemd_finds_nothing_to_complain_about(tmp_path: Path) -> None:
    """With the commands in a directory of this test, as `make install PREFIX=…` would put them."""
    for command in ("netbootd", "netbootctl"):
        (tmp_path / command).write_text("#!/bin/sh\n")
        (tmp_path / command).chmod(0o755)
    names = [path.name for path in UNITS.glob("netbootd*") if path.suffix in (".service", ".path")]
    assert sorted(names) == [
        "netbootd-apply.path",
        "netbootd-apply.service",
        "netbootd-ganesha.service",
        "netbootd-roots.service",
        "netbootd.service",
    ]
    for name in names:
        text, _ = COMMAND.subn(rf"{tmp_path}/\1", (UNITS / name).read_text())
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", *names], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@needs_analyze
@pytest.mark.parametrize(
    ("name", "worst"),
    # Root's part is root, and reads the admin's own exports with names to look up in them.
    # And what mounts may not have a view of the file systems of its own.
    [("netbootd.service", 2.0), ("netbootd-apply.service", 2.5), ("netbootd-roots.service", 4.6)],
)
def test_the_sandbox_is_scored_as_safe(name: str, worst: float) -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", f"--threshold={worst * 10:.0f}", UNITS / name],
        capture_output=True,
        text=True,
        check=False,
    )
    score = re.search(r"exposure level for \S+ (\d+\.\d+)", done.stdout)
    assert score is not None, done.stdout + done.stderr
    assert float(score[1]) <= worst
    assert done.returncode == 0, "systemd's own word on the threshold"


@needs_analyze
def test_the_daemon_gives_up_all_but_what_it_is_for() -> None:
    """What is left of the exposure, item by item: a new item wants a reason."""
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--json=short", UNITS / "netbootd.service"],
        capture_output=True,
        text=True,
        check=True,
    )
    exposed = {item["json_field"] for item in json.loads(done.stdout) if float(item["exposure"] or 0) > 0}
    assert exposed <= {
        "AmbientCapabilities",
        "CapabilityBoundingSet_CAP_NET_BIND_SERVICE_BROADCAST_RAW)",
        "PrivateNetwork",
        "PrivateUsers",  # a capability in a user namespace doesn't open port 67
        "RestrictAddressFamilies_AF_INET_INET6",
        "RestrictAddressFamilies_AF_NETLINK",
        "RestrictAddressFamilies_AF_PACKET",
        "RestrictAddressFamilies_AF_UNIX",
        "RootDirectoryOrRootImage",
        "IPAddressDeny",  # clusters have public addresses too
        "DeviceAllow",  # ProtectClock= brings char-rtc, read-only
    }


def test_the_daemon_has_two_capabilities_and_a_user_of_its_own() -> None:
    service = settings("netbootd.service")
    capabilities = ["CAP_NET_BIND_SERVICE CAP_NET_RAW"]
    assert service["AmbientCapabilities"] == service["CapabilityBoundingSet"] == capabilities
    assert service["User"] == ["netbootd"]


def test_the_daemon_may_write_where_the_registry_is_and_nowhere_else_in_the_state() -> None:
    config = Config(network=(NetworkSettings(interface="eth1"),))
    writable = " ".join(settings("netbootd.service")["ReadWritePaths"]).split()
    assert writable == [str(config.registry_path.parent)]
    assert config.events_path.parent == config.lock_path.parent == config.registry_path.parent


def test_roots_part_may_write_all_that_the_configuration_names_and_no_image() -> None:
    config = Config(network=(NetworkSettings(interface="eth1"),))
    apply = settings("netbootd-apply.service")
    writable, protected = (
        [Path(path.lstrip("-")) for path in " ".join(apply[key]).split()]
        for key in ("ReadWritePaths", "ReadOnlyPaths")
    )
    for path in (
        config.state_dir,
        config.nfs.exports_file,
        config.nfs.ganesha_config,
        config.hosts.hosts_file,
        config.hosts.known_hosts_file,
        config.hosts.ssh_config_file,
        config.hosts.chrony_file,
    ):
        assert any(path.is_relative_to(allowed) for allowed in writable), path
    assert Path("/etc") not in writable
    assert protected == [config.images_dir, config.roots_dir]


def test_persistent_roots_are_mounted_where_everybody_sees_them_and_before_they_are_exported() -> None:
    """Each of these makes systemd give a service mounts of its own: systemd.exec(5), systemd 252 to 257."""
    unit = settings("netbootd-roots.service")
    private = re.compile(
        r"Private(Tmp|Devices|Mounts|IPC|Users|Network|PIDs)|ProtectSystem|ProtectHome|ProtectKernel\w+"
        r"|ProtectControlGroups|ProtectProc|ProcSubset|(Read|In)\w+Paths|ExecPaths|NoExecPaths|Bind\w*Paths"
        r"|TemporaryFileSystem|Root(Directory|Image)|MountFlags|DynamicUser|\w+Directory|NetworkNamespacePath"
    )
    assert not [key for key in unit if private.fullmatch(key)]
    assert private.fullmatch("ReadWritePaths") and private.fullmatch("ProtectKernelTunables")
    apply = settings("netbootd-apply.service")
    assert "--only-roots" in unit["ExecStart"][0] and "--without-roots" in apply["ExecStart"][0]
    assert "netbootd-roots.service" in apply["Wants"] + apply["After"] + apply["OnSuccess"]
    later = unit["Before"][0].split()
    assert {"netbootd-apply.service", "netbootd-ganesha.service", "nfs-server.service"} <= set(later)


def test_what_mounts_may_do_all_that_nodes_do_to_their_files() -> None:
    """Overlayfs works with the rights of who mounted: one that is missing would be missing on all nodes."""
    rights = " ".join(settings("netbootd-roots.service")["CapabilityBoundingSet"]).split()
    files = {"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "MKNOD", "SETFCAP", "SYS_ADMIN"}
    assert {f"CAP_{right}" for right in files} <= set(rights)


def test_state_dir_is_waited_for_by_all_that_use_it() -> None:
    state = str(Config(network=(NetworkSettings(interface="eth1"),)).state_dir)
    for name in ("netbootd.service", "netbootd-apply.service", "netbootd-roots.service"):
        assert settings(name)["RequiresMountsFor"] == [state]


def test_ganesha_serves_what_apply_writes_under_the_process_id_that_apply_tells() -> None:
    nfs = Config(network=(NetworkSettings(interface="eth1"),)).nfs
    unit = settings("netbootd-ganesha.service")
    (command,) = unit["ExecStart"]
    assert f" -f {nfs.ganesha_config} -p {nfs.ganesha_pid}" in command
    assert (
        "netbootd-apply.service" in unit["Wants"][0].split() and "netbootd-apply.service" in unit["After"][0]
    )


def test_the_daemon_asks_for_apply_where_the_path_unit_looks() -> None:
    (directory,) = settings("netbootd.service")["RuntimeDirectory"]
    (watched,) = settings("netbootd-apply.path")["PathExists"]
    assert watched == f"/run/{directory}/apply"
    assert settings("netbootd-apply.service")["ExecStartPre"] == [f"/bin/rm -f {watched}"]


def test_every_path_that_a_unit_may_write_is_made_at_installation() -> None:
    """One that isn't there at the start can't be written; without a - before it nothing starts at all."""
    made = {line.split()[1] for line in (UNITS / "tmpfiles.d/netbootd.conf").read_text().splitlines()}
    by_others = {"/run/netbootd", "/etc/hosts", "/var/lib/nfs", "/etc/chrony/conf.d"}
    for name in ("netbootd.service", "netbootd-apply.service"):
        paths = " ".join(settings(name)["ReadWritePaths"]).split()
        assert {path for path in paths if not path.startswith("-")} <= made
        assert {path.lstrip("-") for path in paths} <= made | by_others


@pytest.mark.needs("systemd-tmpfiles", "systemd-sysusers")
def test_the_user_and_the_state_are_made_as_the_contract_of_daemon_and_root_wants(tmp_path: Path) -> None:
    """In a directory of this test, by systemd's own programs."""
    (tmp_path / "etc").mkdir()
    for command in (
        ["systemd-sysusers", f"--root={tmp_path}", f"{UNITS}/sysusers.d/netbootd.conf"],
        ["systemd-tmpfiles", "--create", f"--root={tmp_path}", f"{UNITS}/tmpfiles.d/netbootd.conf"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if "Operation not permitted" in done.stderr:
            pytest.skip("needs root: the state belongs to two users")
        assert done.returncode == 0, done.stderr
    user = (tmp_path / "etc/passwd").read_text().split(":")
    assert (user[0], user[-1].strip()) == ("netbootd", "/usr/sbin/nologin")
    state = tmp_path / "var/lib/netbootd"
    registry = (state / "registry").stat()
    assert (registry.st_uid, registry.st_mode & 0o7777) == (int(user[2]), 0o750)
    assert (state.stat().st_uid, state.stat().st_mode & 0o7777) == (0, 0o755)
    assert (state / "keys").stat().st_mode & 0o7777 == 0o700


@pytest.mark.needs("shellcheck")
def test_the_installer_is_clean_shell() -> None:
    done = subprocess.run(
        ["shellcheck", "--shell=sh", UNITS / "install.sh"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
