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


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """What the nodes are given. `home` is the user's where it can be, `missing` has yet to be made."""

    user: User | None = None
    home: Path | None = None
    mounts: tuple[Mount, ...] = ()
    missing: Path | None = None
    warnings: tuple[str, ...] = ()

    @property
    def exported(self) -> tuple[Path, ...]:
        """The directories on the head node."""
        return tuple(Path(mount.source) for mount in self.mounts)


def shares(config: Config) -> Shares:
    """Look at the user and the directories that netbootd.toml names."""
    warnings: list[str] = []
    user = _user(config.cluster.user, warnings) if config.cluster.user else None
    home = _home(user, config, warnings) if user else None
    shared = _shared(config.cluster.shared, config, warnings) if config.cluster.shared else None
    mounts = [Mount(source=str(home), directory=user.home)] if user and home else []
    if shared:
        mounts.append(Mount(source=str(shared), directory=str(config.cluster.shared)))
    return Shares(
        user=user,
        home=home,
        mounts=_outermost(mounts),
        missing=shared if shared and not shared.exists() else None,
        warnings=tuple(warnings),
    )


def make_shared(directory: Path, user: User | None) -> None:
    """Make the directory that all share, for the user's group or else for everybody. Raises OSError."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    # Under another name first: it appears with its owner and mode.
    beside = directory.with_name(f".{directory.name}.netbootd-new")
    beside.mkdir(mode=0o700, exist_ok=True)
    if user and os.geteuid() == 0:
        os.chown(beside, 0, user.gid)
    # With the group's bit what somebody makes there belongs to the group too.
    beside.chmod(0o2775 if user else 0o1777)
    beside.rename(directory)


# The user


def _user(name: str, warnings: list[str]) -> User | None:
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        warnings.append(f"[cluster] user: there is no user {name} here; `netbootctl setup --user {name}`")
        return None
    home, shell = os.path.normpath(found.pw_dir or "/"), found.pw_shell or "/bin/sh"
    if found.pw_uid == 0:
        warnings.append(f"[cluster] user: {name} is another name of root; name a user who isn't")
        return None
    if not (_FIT.fullmatch(home) and _FIT.fullmatch(shell)):
        text = f"home directory {home[:80]!r} and shell {shell[:80]!r} have to be plain paths"
        warnings.append(f"[cluster] user: {name}'s {text}; change them with usermod")
        return None
    if found.pw_uid < FIRST_PERSON:
        text = f"{name} has the number {found.pw_uid}, which images give to services"
        warnings.append(f"[cluster] user: {text}; better take a user with {FIRST_PERSON} or more")
    if _NO_LOGIN.fullmatch(shell):
        warnings.append(f"[cluster] user: {name}'s shell {shell} lets nobody in; usermod -s /bin/bash {name}")
    group = _group(found)
    return User(name=name, uid=found.pw_uid, group=group, gid=found.pw_gid, home=home, shell=shell)


def _group(user: pwd.struct_passwd) -> str:
    """His group's name; where a directory service calls it `domain users`, his own has to do."""
    try:
        name = grp.getgrgid(user.pw_gid).gr_name
    except KeyError:
        return user.pw_name
    return name if USER_NAME.fullmatch(name) else user.pw_name


def _home(user: User, config: Config, warnings: list[str]) -> Path | None:
    what = f"{user.name}'s home directory {user.home}"
    try:
        why = _why_not(Path(user.home), config)
        home = Path(user.home).resolve(strict=True) if why is None else None
        status = home.stat() if home else None
    except FileNotFoundError:
        mend = f"install -d -m 700 -o {user.uid} -g {user.gid} {user.home}"
        warnings.append(f"{what} is missing; `{mend}`, then apply again")
        return None
    except OSError as error:
        warnings.append(f"{what} can't be looked at: {error.strerror}")
        return None
    if status is not None and status.st_uid != user.uid:
        why = f"belongs to the user with number {status.st_uid}; chown -R {user.name}: {user.home}"
    if why or home is None or status is None:
        warnings.append(f"{what} isn't given to the nodes: it {why}")
        return None
    if status.st_mode & 0o022:
        text = "can be written by others: ssh takes no key from it"
        warnings.append(f"{what} {text}; chmod go-w {user.home}")
    return home


# Directories


def _shared(path: Path, config: Config, warnings: list[str]) -> Path | None:
    try:
        why = _why_not(path, config)
        directory = path.resolve()
        if why is None and directory.exists() and not directory.is_dir():
            why = "is no directory"
    except OSError as error:
        why = f"can't be looked at: {error.strerror}"
    if why:
        warnings.append(f"[cluster] shared: {path} isn't given to the nodes: it {why}")
        return None
    return directory


def _why_not(path: Path, config: Config) -> str | None:
    """Why nodes can't mount the directory; None where they can. Raises OSError."""
    # Before it is touched: a file server that is away would keep us waiting for ever.
    if _ELSEWHERE.fullmatch(kind := _file_system(path)):
        return f"lies on another machine ({kind}), whose files this one can't serve"
    real = path.resolve()
    if not _FIT.fullmatch(str(real)):
        return f"leads to {str(real)[:80]!r}, which no export can name"
    if overlap(real, config.state_dir.resolve()):
        return f"and state_dir, {config.state_dir}, lie one in the other"
    if _ELSEWHERE.fullmatch(kind := _file_system(real)):
        return f"lies on another machine ({kind}), whose files this one can't serve"
    there = next(each for each in (real, *real.parents) if each.exists())
    if not has_handles(there):
        return f"lies on {kind or 'a file system'}, which can't be exported; ext4, xfs and btrfs can"
    return None


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


def _file_system(path: Path) -> str:
    """The type of the file system that `path` lies on, by its name alone; empty where that isn't known."""
    found, depth = "", -1
    try:
        lines = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return ""
    for line in lines:
        left, _, right = line.partition(" - ")
        fields, kinds = left.split(), right.split()
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
