"""`apply`: what must be there, what is there, and the difference carried out.

`plan` looks and changes nothing; its Changes are what `netbootctl apply --dry-run` prints. `carry_out` does
them in the order in which they are safe: keys first, because files hold them; directories before they are
exported; and what is no longer exported goes last. Whoever comes second waits for the first, then looks
again. Doing it twice does nothing the second time; ended half-way, the next one does the rest.
"""

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256

from netbootd.config import Config
from netbootd.errors import HostError, UserError
from netbootd.files import chrony, exporting, login, ram
from netbootd.files import cluster as names
from netbootd.files.block import outside, replaced
from netbootd.files.change import (
    Change,
    ChangeFile,
    ChangeTree,
    MakeKey,
    MakeLogin,
    MakeShared,
    Plan,
    Reload,
    RemoveKey,
    Restart,
    Stamp,
)
from netbootd.files.disk import explained, listed, scan
from netbootd.files.doing import LOADED, TIME_LOADED, carried_out, exports_file
from netbootd.files.headfile import read_file
from netbootd.files.hostkeys import KeyStore
from netbootd.files.tree import Action, Directory, Step, differences, keeping
from netbootd.files.wanted import Inputs, Wanted, wanted
from netbootd.images.progress import Progress, silent
from netbootd.nfs import ganesha
from netbootd.roots import applying
from netbootd.roots.desired import Discard, Make, MountRoot, UnmountRoot

LOCK = ".apply.lock"


def plan(inputs: Inputs) -> Plan:
    """What differs from what must be. Changes nothing. Raises UserError, HostError.

    What a broken template should make stays as it is; the plan's `faults` tell of it.
    """
    stamp = _stamp(inputs)
    want = wanted(inputs)
    config = inputs.config
    files, warnings = _head_files(inputs, want)
    logins, complaints = _login(want)
    packed_files, packed_roots = ram.changes(inputs, want)
    exports, faults = _exports(inputs, want)
    return Plan(
        config=config,
        changes=(
            *_keys_to_make(config, want),
            *want.roots.before,
            *_trees(config, want),
            *packed_files,
            *files,
            *logins,
            *_time(inputs),
            *exports,
            *_leftovers(config, want),
            *want.roots.after,
            *packed_roots,
        ),
        warnings=(*want.warnings, *warnings, *complaints),
        faults=(*want.faults, *faults),
        inputs=inputs,
        stamp=stamp,
    )


def plan_roots(inputs: Inputs) -> Plan:
    """What differs of persistent roots alone: nothing that is exported is unmounted. Raises as `plan`.

    For who may mount and nothing else; `plan` with `unmountable` None is for who may do all but that.
    """
    config = inputs.config
    stamp = _stamp(inputs)
    found = applying.look(
        config, inputs.store, inputs.registry.nodes(), inputs.registry.booted(), inputs.unmountable
    )
    exported = (read_file(exports_file(config)) or b"").decode(errors="replace")
    idle = [
        change for change in found.after if change.path.relative_to(config.roots_dir).parts[0] not in exported
    ]
    return Plan(
        config=config,
        changes=(*found.before, *idle),
        warnings=found.warnings,
        only_roots=True,
        inputs=inputs,
        stamp=stamp,
    )


def undo(config: Config) -> Plan:
    """What takes apply's work out of the head node; what is in the state directory stays as it is."""
    changes: list[Change] = []
    for path in (config.hosts.hosts_file, config.hosts.known_hosts_file):
        text = read_file(path)
        if text is not None and (rest := outside(text, str(path))) != text:
            changes.append(ChangeFile(path, rest or None))
    if read_file(config.hosts.ssh_config_file) is not None:
        changes.append(ChangeFile(config.hosts.ssh_config_file, None))
    if read_file(config.hosts.chrony_file) is not None:
        changes += [ChangeFile(config.hosts.chrony_file, None), Restart(config.hosts.chrony_file, "")]
    changes += [*_no_exports(config, kernel=True), *_no_exports(config, kernel=False)]
    changes += applying.unmounts(config)
    return Plan(config=config, changes=tuple(changes))


def carry_out(
    plan: Plan, tell: Callable[[Change], None] = lambda _: None, progress: Progress = silent
) -> Plan:
    """Do what `plan` says and return what was done, with the warnings met on the way.

    `tell` hears of each change, `progress` of those that take a while by themselves.

    Under a lock; where another apply or another registration has been there since the plan was made, the
    difference is computed again. Raises UserError before anything is changed; HostError where the head node
    refuses, and then what was done stays done.
    """
    done: list[Change] = []
    failed: dict[str, HostError] = {}
    warnings: list[str] = []
    with _locked(plan) as lock:
        current = plan if plan.inputs and plan.stamp == _stamp(plan.inputs) else _again(plan)
        KeyStore(plan.config.keys_dir).clean()
        if plan.inputs and plan.inputs.unmountable is not None:
            applying.clean(plan.config)
        while True:
            # Files hold keys, and roots are exported where they are mounted: after those the rest is known.
            first = [change for change in current.changes if isinstance(change, MakeKey | Make | MountRoot)]
            for change in first or current.changes:
                try:
                    warnings += carried_out(change, plan.config, progress)
                except HostError as error:
                    if not isinstance(change, MountRoot):
                        raise
                    failed[change.machine_id] = error  # one node's; the others shall boot
                else:
                    done.append(change)
                    tell(change)
            # What took a root's place is gone now, or it was reset: it may be mounted again.
            if not first and not any(isinstance(c, UnmountRoot | Discard) for c in current.changes):
                break
            current = _again(plan, failed)
            if unread := [c for c in current.changes if isinstance(c, MakeKey) and c in first]:
                raise HostError(
                    f"{unread[0].path} was made and can't be read back",
                    "does its file system give files to another user? the state directory has to be root's",
                )
        os.utime(lock)
    if failed:
        first_error = next(iter(failed.values()))
        others = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        raise HostError(f"{first_error.message}{others}", first_error.hint)
    return replace(plan, changes=tuple(done), warnings=(*current.warnings, *warnings), faults=current.faults)


# What differs


def _keys_to_make(config: Config, want: Wanted) -> Iterator[Change]:
    if want.cluster_key_to_make:
        yield MakeKey(config.keys_dir / "cluster", None)
    for machine_id in want.keys_to_make:
        yield MakeKey(config.keys_dir / "hosts" / machine_id, machine_id)


def _trees(config: Config, want: Wanted) -> Iterator[Change]:
    for tree, entries in want.trees.items():
        present = scan(config.state_dir, tree)
        for step in differences(keeping(entries, present, want.kept.get(tree, ())), present):
            yield ChangeTree(config.state_dir, tree, step)


def _head_files(inputs: Inputs, want: Wanted) -> tuple[list[Change], list[str]]:
    hosts, config = inputs.config.hosts, inputs.config
    changes: list[Change] = []
    warnings: list[str] = []
    for path, lines in (
        (hosts.hosts_file, names.hosts_lines(want.cluster)),
        (hosts.known_hosts_file, names.known_hosts_lines(want.cluster)),
    ):
        present = read_file(path)
        content = replaced(present or b"", lines, str(path))
        if content != (present or b""):
            changes.append(ChangeFile(path, content))
        if path == hosts.hosts_file and present:
            warnings += names.contradictions(outside(present, str(path)), want.cluster, str(path))
    # Where a distribution's ssh has no such directory it reads no such file.
    if hosts.ssh_config_file.parent.is_dir():
        text = names.ssh_config(want.cluster, str(config.keys_dir / "cluster" / "id_ed25519")).encode()
        if read_file(hosts.ssh_config_file) != text:
            changes.append(ChangeFile(hosts.ssh_config_file, text))
    return changes, warnings


def _login(want: Wanted) -> tuple[list[Change], tuple[str, ...]]:
    """What the cluster user lacks, and the directory that all share; and what keeps keys from being made."""
    user, home = want.shares.user, want.shares.home
    changes: list[Change] = []
    if want.shares.missing:
        changes.append(MakeShared(want.shares.missing, user))
    if user is None or home is None:
        return changes, ()
    found = login.look(user, home)
    if found.lacks:
        changes.append(MakeLogin(home, user))
    return changes, found.warnings


def _time(inputs: Inputs) -> Iterator[Change]:
    """chronyd's file, where the head node has chrony."""
    path = inputs.config.hosts.chrony_file
    if not path.parent.is_dir():
        return
    content = chrony.render(inputs.networks)
    digest = f"{sha256(content).hexdigest()}\n"
    if read_file(path) != content:
        yield ChangeFile(path, content)
    if read_file(inputs.config.state_dir / TIME_LOADED) != digest.encode():
        yield Restart(path, digest)


def _exports(inputs: Inputs, want: Wanted) -> tuple[list[Change], list[str]]:
    """The NFS server's file, and what is wrong with its template: then all that is exported stays."""
    config = inputs.config
    file = exports_file(config)
    present = read_file(file)
    kernel = config.nfs.server == exporting.KERNEL
    try:
        content = exporting.rendered(inputs, exporting.variables(inputs, want.exports))
    except UserError as error:
        return [], [str(error)]
    # The other server may have carried the exports before.
    changes = list(_no_exports(config, kernel=not kernel))
    if content != present:
        changes.append(ChangeFile(file, content))
    digest = f"{config.nfs.server} {sha256(content).hexdigest()}\n"
    if read_file(config.state_dir / LOADED) != digest.encode():
        changes.append(Reload(file, kernel, digest))
    return changes, []


def _no_exports(config: Config, *, kernel: bool) -> Iterator[Change]:
    """Let that server export nothing of ours."""
    file = config.nfs.exports_file if kernel else config.nfs.ganesha_config
    nothing = None if kernel else ganesha.NOTHING
    if read_file(file) not in (None, nothing):
        yield ChangeFile(file, nothing)
        yield Reload(file, kernel, "")


def _leftovers(config: Config, want: Wanted) -> Iterator[Change]:
    """Of nodes that were removed or renamed."""
    here = {node.name for node in want.nodes}
    nodes = config.nodes_dir.relative_to(config.state_dir).as_posix()
    for name in listed(config.state_dir, nodes):
        # lost+found: the state directory may be a file system of its own, nodes/ too.
        if name not in here and name != "lost+found":
            yield ChangeTree(config.state_dir, f"{nodes}/{name}", Step(Action.REMOVE, ".", Directory()))
    known = {node.machine_id for node in want.nodes}
    for machine_id in KeyStore(config.keys_dir).machine_ids():
        if machine_id not in known:
            yield RemoveKey(config.keys_dir / "hosts" / machine_id, machine_id)


def _again(plan: Plan, failed: Iterable[str] = ()) -> Plan:
    """The difference as it is now; roots in `failed` (machine-ids) aren't tried any more."""
    if plan.inputs is None:
        return undo(plan.config)
    inputs = plan.inputs
    if inputs.unmountable is not None:
        inputs = replace(inputs, unmountable=inputs.unmountable.union(failed))
    return plan_roots(inputs) if plan.only_roots else _plan(inputs)


_plan = plan


def _stamp(inputs: Inputs) -> Stamp:
    try:
        applied = (inputs.config.state_dir / LOCK).stat().st_mtime_ns
    except OSError:
        applied = 0
    return applied, inputs.registry.version


@contextmanager
def _locked(plan: Plan) -> Iterator[int]:
    """One apply at a time; yields the lock's descriptor. It goes with the process, however that ends."""
    path = plan.config.state_dir / LOCK
    with explained(path):
        if not plan.config.state_dir.exists():
            plan.config.state_dir.mkdir(parents=True)
            plan.config.state_dir.chmod(0o755)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)
