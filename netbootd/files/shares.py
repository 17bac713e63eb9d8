"""The cluster user and the directories that all nodes may write to, as this head node has them.

The head node's own list of users says who the user is. What can't be given to the nodes (a home on another
machine, a user who isn't there) is left out with a warning: the rest of the cluster works without.
"""

import ctypes
import errno
import grp
import os
import pwd
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from netbootd.config import Config
from netbootd.config_values import USER_NAME, overlap
from netbootd.files.cluster import Mount, User

FIRST_PERSON = 1000
"""Numbers below are those of the images' own system users (login.defs(5), UID_MIN)."""
MOUNTS = Path("/proc/self/mountinfo")
_FIT = re.compile(r"/[\w./+@~-]*", re.ASCII)
"""What can stand in passwd(5), in exports(5) and in a list of words alike."""
_ELSEWHERE = re.compile(r"nfs4?|cifs|smb3?|afs|9p|virtiofs|fuse\..*|autofs")
_NO_LOGIN = re.compile(r".*/(nologin|false|true)")
_HANDLE_BYTES = 128  # MAX_HANDLE_SZ


@dataclass(frozen=True, slots=True)
class Complaint:
    """What of it can't be given, or is worth a word; and what mends that."""

    what: str
    mend: str = ""

    def __str__(self) -> str:
        return f"{self.what}; {self.mend}" if self.mend else self.what


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """What the nodes are given. `home` is the user's where it can be, `missing` has yet to be made."""

    user: User | None = None
    home: Path | None = None
    mounts: tuple[Mount, ...] = ()
    missing: Path | None = None
    complaints: tuple[Complaint, ...] = ()

    @property
    def exported(self) -> tuple[Path, ...]:
        """The directories on the head node."""
        return tuple(Path(mount.source) for mount in self.mounts)


def shares(config: Config) -> Shares:
    """Look at the user and the directories that netbootd.toml names."""
    found: list[Complaint] = []
    user = _user(config.cluster.user, found) if config.cluster.user else None
    home = _home(user, config, found) if user else None
    shared = _shared(config.cluster.shared, config, found) if config.cluster.shared else None
    mounts = [Mount(source=str(home), directory=user.home)] if user and home else []
    if shared:
        mounts.append(Mount(source=str(shared), directory=str(config.cluster.shared)))
    return Shares(
        user=user,
        home=home,
        mounts=_outermost(mounts),
        missing=shared if shared and not shared.exists() else None,
        complaints=tuple(found),
    )


def make_shared(directory: Path, user: User | None) -> None:
    """Make the directory that all share, for the user's group or else for everybody. Raises OSError.

    Under another name first: it appears with its owner and mode. It may have to be made in somebody's
    directory, so that no name is followed there that could have become a link.
    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    parent = os.open(directory.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    beside = f".{directory.name}.netbootd-new"
    try:
        with suppress(FileNotFoundError):
            os.rmdir(beside, dir_fd=parent)  # of one that was killed
        os.mkdir(beside, 0o700, dir_fd=parent)
        made = os.open(beside, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            if os.fstat(made).st_uid != os.geteuid():
                raise PermissionError(errno.EPERM, "somebody puts another directory there")
            if user and os.geteuid() == 0:
                os.fchown(made, 0, user.gid)
            # With the group's bit what somebody makes there belongs to the group too.
            os.fchmod(made, 0o2775 if user else 0o1777)
        finally:
            os.close(made)
        os.rename(beside, directory.name, src_dir_fd=parent, dst_dir_fd=parent)
    finally:
        os.close(parent)


# The user


def _user(name: str, complaints: list[Complaint]) -> User | None:
    def complain(what: str, mend: str) -> None:
        complaints.append(Complaint(f"[cluster] user: {what}", mend))

    try:
        found = pwd.getpwnam(name)
    except KeyError:
        complain(f"there is no user {name} here", f"netbootctl setup --user {name}")
        return None
    home, shell = os.path.normpath(found.pw_dir or "/"), found.pw_shell or "/bin/sh"
    if found.pw_uid == 0:
        complain(f"{name} is another name of root", "name a user who isn't")
        return None
    if not (_FIT.fullmatch(home) and _FIT.fullmatch(shell)):
        text = f"home directory {home[:80]!r} and shell {shell[:80]!r} have to be plain paths"
        complain(f"{name}'s {text}", "change them with usermod")
        return None
    if found.pw_uid < FIRST_PERSON:
        text = f"{name} has the number {found.pw_uid}, which images give to services"
        complain(text, f"better take a user with {FIRST_PERSON} or more")
    if _NO_LOGIN.fullmatch(shell):
        complain(f"{name}'s shell {shell} lets nobody in", f"usermod -s /bin/bash {name}")
    group = _group(found)
    return User(name=name, uid=found.pw_uid, group=group, gid=found.pw_gid, home=home, shell=shell)


def _group(user: pwd.struct_passwd) -> str:
    """His group's name; where a directory service calls it `domain users`, his own has to do."""
    try:
        name = grp.getgrgid(user.pw_gid).gr_name
    except KeyError:
        return user.pw_name
    return name if USER_NAME.fullmatch(name) else user.pw_name


def _home(user: User, config: Config, complaints: list[Complaint]) -> Path | None:
    what = f"{user.name}'s home directory {user.home}"
    try:
        _check(Path(user.home), config)
        home = Path(user.home).resolve(strict=True)
        status = home.stat()
        if status.st_uid != user.uid:
            raise _Unfit(
                f"belongs to the user with number {status.st_uid}", f"chown {user.name}: {user.home}"
            )
    except FileNotFoundError:
        mend = f"install -d -m 700 -o {user.uid} -g {user.gid} {user.home}"
        complaints.append(Complaint(f"{what} is missing", f"{mend}, then netbootctl apply"))
        return None
    except (_Unfit, OSError) as error:
        complaints.append(_complaint(what, error))
        return None
    if status.st_mode & 0o022:
        text = "can be written by others: ssh takes no key from it"
        complaints.append(Complaint(f"{what} {text}", f"chmod go-w {user.home}"))
    return home


# Directories


class _Unfit(Exception):  # noqa: N818 (no fault of ours: how a check ends that finds something)
    """Why nodes can't mount a directory, and what mends it."""


def _complaint(what: str, error: _Unfit | OSError) -> Complaint:
    if isinstance(error, OSError):
        return Complaint(f"{what} can't be looked at: {error.strerror}")
    why, mend = error.args
    return Complaint(f"{what} isn't given to the nodes: it {why}", mend)


def _shared(path: Path, config: Config, complaints: list[Complaint]) -> Path | None:
    try:
        _check(path, config)
        directory = path.resolve()
        if directory.exists() and not directory.is_dir():
            raise _Unfit("is no directory", "name another one")
    except (_Unfit, OSError) as error:
        complaints.append(_complaint(f"[cluster] shared: {path}", error))
        return None
    return directory


def _check(path: Path, config: Config) -> None:
    """Raises _Unfit for a directory that nodes can't mount; OSError."""
    # Before it is touched: a file server that is away would keep us waiting for ever.
    _check_here(path)
    real = path.resolve()
    _check_here(real)
    if not _FIT.fullmatch(str(real)):
        raise _Unfit(f"leads to {str(real)[:80]!r}, which no export can name", "use a plain path")
    if overlap(real, config.state_dir.resolve()):
        raise _Unfit(f"and state_dir, {config.state_dir}, lie one in the other", "keep them apart")
    there = next(each for each in (real, *real.parents) if each.exists())
    if there != real and os.geteuid() == 0 and not os.access(there, os.W_OK):
        # The service that applies by itself may write to no home and no /srv.
        raise _Unfit("isn't there, and can't be made from here", "netbootctl apply at a terminal makes it")
    if not has_handles(there):
        kind = file_system(real) or "a file system"
        raise _Unfit(f"lies on {kind}, which can't be exported", "ext4, xfs and btrfs can")


def _check_here(path: Path) -> None:
    if _ELSEWHERE.fullmatch(kind := file_system(path)):
        raise _Unfit(f"lies on another machine ({kind})", "only that machine can serve it")


def has_handles(path: Path) -> bool:
    """Whether the file system of `path` knows its files by handles, as NFS needs: name_to_handle_at(2).

    overlayfs, which containers have as /, doesn't. True also where that can't be asked.
    """
    call = getattr(ctypes.CDLL(None, use_errno=True), "name_to_handle_at", None)
    if call is None:
        return True
    handle = (ctypes.c_uint * (2 + _HANDLE_BYTES // 4))(_HANDLE_BYTES)
    mount = ctypes.c_int()
    done = call(-100, os.fsencode(path), ctypes.byref(handle), ctypes.byref(mount), 0)  # AT_FDCWD
    return done == 0 or ctypes.get_errno() != errno.EOPNOTSUPP


def file_system(path: Path) -> str:
    """The type of the file system that `path` lies on, by its name alone; empty where that isn't known."""
    found, depth = "", -1
    try:
        lines = MOUNTS.read_bytes().decode("utf-8", "surrogateescape").split("\n")
    except OSError:
        return ""
    for line in lines:
        left, _, right = line.partition(" - ")
        fields, kinds = left.split(" "), right.split(" ")
        if len(fields) < 5 or not kinds:
            continue
        point = Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[4]))
        # Of several mounted on one directory the last one counts.
        if len(point.parts) >= depth and path.is_relative_to(point):
            found, depth = kinds[0], len(point.parts)
    return found


def _outermost(mounts: list[Mount]) -> tuple[Mount, ...]:
    """Without what another one brings along; what is mounted inside another comes after it."""

    def brought(inner: Mount, outer: Mount) -> bool:
        source, directory = Path(outer.source), Path(outer.directory)
        if inner == outer or not Path(inner.source).is_relative_to(source):
            return False
        return directory / Path(inner.source).relative_to(source) == Path(inner.directory)

    kept = [each for each in mounts if not any(brought(each, other) for other in mounts)]
    return tuple(sorted(set(kept), key=lambda mount: Path(mount.directory)))
