"""One change at a time, carried out: keys, trees, files of the head node's own, servers that read them."""

from pathlib import Path

from netbootd.config import Config
from netbootd.files import chrony, login, ram
from netbootd.files.change import (
    Change,
    ChangeFile,
    ChangeTree,
    MakeKey,
    MakeLogin,
    MakeShared,
    PackFiles,
    PackRoot,
    Reload,
    RemoveKey,
    Restart,
)
from netbootd.files.disk import carry_out, explained
from netbootd.files.headfile import remove_file, replace_file
from netbootd.files.hostkeys import KeyStore
from netbootd.files.shares import make_shared
from netbootd.images.progress import Progress, silent
from netbootd.nfs import exportfs, ganesha
from netbootd.roots import applying
from netbootd.roots.desired import Discard, Make, MountRoot, UnmountRoot

LOADED = "exports.loaded"
"""Holds the digest of the exports that the NFS server was last told; absent while that is uncertain."""
TIME_LOADED = "chrony.loaded"
"""Holds the digest of the file that chronyd was last started with; absent while that is uncertain."""


def carried_out(change: Change, config: Config, progress: Progress = silent) -> tuple[str, ...]:
    """Carry out one change; returns warnings. Raises HostError where the head node refuses.

    `progress` hears of what takes a while by itself.
    """
    match change:
        case MakeKey() | RemoveKey():
            _key(change, KeyStore(config.keys_dir))
        case ChangeTree(state_dir, tree, step):
            carry_out(state_dir, tree, step)
        case ChangeFile():
            _file(change, config)
        case MakeShared(path, user):
            with explained(path):
                make_shared(path, user)
        case MakeLogin(home, user):
            return login.make(user, home)
        case PackFiles() | PackRoot():
            ram.carry_out(change, config, progress)
        case Restart():
            return _restart(change, config)
        case Reload():
            return _reload(change, config)
        case Make() | MountRoot() | UnmountRoot() | Discard():
            return applying.carry_out(change, config)
    return ()


def exports_file(config: Config) -> Path:
    """The file of the NFS server that netbootd.toml names."""
    return config.nfs.exports_file if config.nfs.server == "kernel" else config.nfs.ganesha_config


def _key(change: MakeKey | RemoveKey, keys: KeyStore) -> None:
    match change:
        case MakeKey(_, None):
            keys.make_cluster_key()
        case MakeKey(_, machine_id) if machine_id is not None:
            keys.make_host_key(machine_id)
        case RemoveKey(_, machine_id):
            keys.remove_host_key(machine_id)


def _file(change: ChangeFile, config: Config) -> None:
    # From here until it has read it, the server doesn't have what the file says.
    if change.path == exports_file(config):
        remove_file(config.state_dir / LOADED)
    elif change.path == config.hosts.chrony_file:
        remove_file(config.state_dir / TIME_LOADED)
    if change.content is None:
        remove_file(change.path)
    else:
        replace_file(change.path, change.content)


def _restart(change: Restart, config: Config) -> tuple[str, ...]:
    said = chrony.restart(change.path)
    if change.digest:
        replace_file(config.state_dir / TIME_LOADED, change.digest.encode())
    return said


def _reload(change: Reload, config: Config) -> tuple[str, ...]:
    loaded = config.state_dir / LOADED
    if change.path == exports_file(config):
        remove_file(loaded)
    if not change.kernel:
        said = ganesha.reload(config.nfs.ganesha_pid, change.path)
    elif change.digest or exportfs.installed():
        said = exportfs.reload()
    else:
        said = ()  # no server, so nothing is exported
    if change.digest:
        replace_file(loaded, change.digest.encode())
    return said
