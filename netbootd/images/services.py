"""Which services an image starts: finding out, switching one off or on, whatever its init is.

systemd by links in /etc/systemd/system, OpenRC by /etc/runlevels, sysvinit by /etc/rc?.d, runit by the
directory of its default runlevel. systemd starts what sysvinit's links name, too, so those are looked at with
both.
"""

import re
from collections.abc import Iterable
from enum import Enum
from pathlib import Path

from netbootd.images import edit
from netbootd.images.rooted import find_file, resolve

UNIT_DIRECTORIES = ("/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
_SCRIPTS = "/etc/init.d"
_RUNLEVELS = "/etc/runlevels"
_RUNIT_DEFAULT = "/etc/runit/runsvdir/default"
_NULL = "/dev/null"


class Init(Enum):
    """What /sbin/init is. UNKNOWN starts what it likes."""

    SYSTEMD = "systemd"
    OPENRC = "OpenRC"
    SYSVINIT = "sysvinit"
    RUNIT = "runit"
    UNKNOWN = ""


def init_of(root: Path) -> Init:
    """What starts the services of the image."""
    path = find_file(root, ["/sbin/init", "/usr/sbin/init", "/usr/bin/init", "/bin/init"])
    name = path.name if path is not None else ""
    if name.startswith("systemd") or (path is None and has_systemd(root)):
        return Init.SYSTEMD
    if edit.entry(root, _RUNLEVELS) is not None:  # openrc-init, and sysvinit or busybox with OpenRC's rc
        return Init.OPENRC
    if name.startswith("runit") or edit.entry(root, _RUNIT_DEFAULT) is not None:
        return Init.RUNIT
    if edit.entry(root, "/etc/inittab") is not None and edit.entry(root, "/etc/rc2.d") is not None:
        return Init.SYSVINIT
    return Init.UNKNOWN


def has_systemd(root: Path) -> bool:
    """Whether systemd is in the image."""
    return find_file(root, ["/usr/lib/systemd/systemd", "/lib/systemd/systemd"]) is not None


def mask(root: Path, units: Iterable[str]) -> list[str]:
    """Mask those of `units` that the image has; returns the ones that weren't masked before."""
    masked = []
    for unit in units:
        if is_masked(root, unit) or not (unit_file(root, unit) or _script(root, unit)):
            continue
        link = f"{UNIT_DIRECTORIES[0]}/{unit}"
        edit.remove(root, link)
        edit.place(root, link).symlink_to(_NULL)
        masked.append(unit)
    return masked


def switch_off(root: Path, units: Iterable[str]) -> list[str]:
    """See that none of `units` is started, whatever the init is; returns those that might have been."""
    units = list(units)
    stopped = mask(root, units) if has_systemd(root) else []
    for unit in units:
        links = [link for link in _links(root, unit.removesuffix(".service")) if edit.remove(root, link)]
        if links and unit not in stopped:
            stopped.append(unit.removesuffix(".service"))
    return stopped


def is_masked(root: Path, unit: str) -> bool:
    """Whether systemd may not start it."""
    there = edit.entry(root, f"{UNIT_DIRECTORIES[0]}/{unit}")
    return there is not None and there.is_symlink() and str(there.readlink()) == _NULL


def unit_file(root: Path, unit: str) -> str | None:
    """Where in the image the unit is described."""
    paths = (f"{directory}/{unit}" for directory in UNIT_DIRECTORIES)
    return next((path for path in paths if edit.entry(root, path) is not None), None)


def is_switched_on(root: Path, services: Iterable[str]) -> bool:
    """Whether one of `services` (ssh, sshd …) is started at boot, as a service or by its socket.

    By the links of the init that the image has: those of another, which it had once, start nothing.
    """
    init = init_of(root)
    by_links = [link for service in services for link in _links(root, service, starting=True)]
    if init is Init.OPENRC:
        return any(link.startswith(_RUNLEVELS) for link in by_links)
    if init is Init.RUNIT:
        return any(link.startswith(_RUNIT_DEFAULT) for link in by_links)
    if init is Init.SYSVINIT:
        return any(link.startswith("/etc/rc") for link in by_links)
    return bool(by_links) or any(_wants(root, service) for service in services)


def switch_on(root: Path, services: Iterable[str]) -> str | None:
    """Have the first of `services` that the image has be started at boot. None where that isn't known here.

    Who masked it has decided otherwise: it stays off.
    """
    init = init_of(root)
    for service in services:
        unit = f"{service}.service"
        if init is Init.SYSTEMD:
            path = unit_file(root, unit)
            if path is None or is_masked(root, unit):
                continue
            return _link(root, f"{UNIT_DIRECTORIES[0]}/multi-user.target.wants/{unit}", path, unit)
        if init is Init.RUNIT:
            if resolve(root, f"/etc/sv/{service}") is not None:
                return _link(root, f"{_RUNIT_DEFAULT}/{service}", f"/etc/sv/{service}", service)
        elif _script(root, unit) and init is Init.OPENRC:
            return _link(root, f"{_RUNLEVELS}/default/{service}", f"{_SCRIPTS}/{service}", service)
        elif _script(root, unit) and init is Init.SYSVINIT:
            for level in "2345":
                _link(root, f"/etc/rc{level}.d/S01{service}", f"../init.d/{service}", service)
            return service
    return None


def _link(root: Path, link: str, target: str, name: str) -> str:
    edit.remove(root, link)
    edit.place(root, link).symlink_to(target)
    return name


def _script(root: Path, unit: str) -> str | None:
    """The script of a service in /etc/init.d, which systemd's generator makes a unit of, too."""
    name, dot, kind = unit.rpartition(".")
    path = f"{_SCRIPTS}/{name if dot else unit}"
    return path if kind in ("service", unit) and edit.entry(root, path) is not None else None


def _wants(root: Path, service: str) -> bool:
    names = {f"{service}.service", f"{service}.socket"}
    for directory in UNIT_DIRECTORIES:
        for wants in edit.matching(root, directory, "*.wants"):
            found = {link.rpartition("/")[2] for link in edit.matching(root, wants, "*")}
            if any(not is_masked(root, name) for name in found & names):
                return True
    return False


def _links(root: Path, service: str, *, starting: bool = False) -> list[str]:
    """The links by which OpenRC, sysvinit or runit start a service; only these where `starting`."""
    if not re.fullmatch(r"[\w@.+:-]+", service):
        return []
    links = [f"{level}/{service}" for level in edit.matching(root, _RUNLEVELS, "*")]
    links += [f"{_RUNIT_DEFAULT}/{service}"]
    found = [link for link in links if edit.entry(root, link) is not None]
    for level in edit.matching(root, "/etc", "rc[S2-5].d" if starting else "rc[0-6S].d"):
        pattern = re.compile(r"S\d\d" if starting else r"[SK]\d\d")
        names = (link.rpartition("/")[2] for link in edit.matching(root, level, f"*{service}"))
        found += [f"{level}/{name}" for name in names if pattern.sub("", name, count=1) == service]
    return found
