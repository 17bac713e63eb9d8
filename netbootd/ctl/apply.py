"""`netbootctl apply`: keys, node files, exports and the head node's own files, as the registry wants them.

Commands that change the registry or the images end with it (see afterwards.py), so that there is no step to
forget.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from netbootd.ctl.head import Head
from netbootd.ctl.image_keeping import tended
from netbootd.ctl.options import Json
from netbootd.ctl.progress import shown
from netbootd.ctl.tables import print_json, say, warn
from netbootd.errors import BrokenTemplateError, HostError, NetbootdError
from netbootd.files.apply import carry_out, plan, plan_roots, undo
from netbootd.files.change import (
    Change,
    ChangeFile,
    ChangeTree,
    MakeKey,
    MakeLogin,
    MakeShared,
    PackFiles,
    PackRoot,
    Plan,
    Reload,
    RemoveKey,
    Restart,
)
from netbootd.files.tree import Action, Step
from netbootd.files.wanted import Inputs
from netbootd.registry import Registry
from netbootd.render import Renderer
from netbootd.roots.desired import Discard, MountRoot, UnmountRoot

app = typer.Typer()

MANY = 200
"""Changes from which on their progress is shown."""
_COUNTED: dict[type[Change], tuple[str, str]] = {
    MakeKey: ("key", "keys"),
    RemoveKey: ("old key removed", "old keys removed"),
    PackFiles: ("archive of node files", "archives of node files"),
    PackRoot: ("image packed for nodes in memory", "images packed for nodes in memory"),
    MountRoot: ("persistent root mounted", "persistent roots mounted"),
    UnmountRoot: ("persistent root unmounted", "persistent roots unmounted"),
    Discard: ("persistent root discarded", "persistent roots discarded"),
}
"""One and many."""


@app.command(help="Bring node files, exports and the head node's own files up to date.")
def apply(
    ctx: typer.Context,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be changed.")] = False,
    undo_: Annotated[
        bool, typer.Option("--undo", help="Take the block out of the head node's own files, and the exports.")
    ] = False,
    as_json: Json = False,
    without_roots: Annotated[
        bool,
        typer.Option("--without-roots", hidden=True, help="Mount no persistent roots: another does that."),
    ] = False,
    only_roots: Annotated[
        bool, typer.Option("--only-roots", hidden=True, help="Mount and unmount persistent roots only.")
    ] = False,
    then: Annotated[
        Path | None,
        typer.Option(hidden=True, help="A file to make where something was mounted that isn't exported."),
    ] = None,
) -> None:
    """Carry out the difference between what must be there and what is there.

    The hidden options are for units/: netbootd-apply.service may not mount, netbootd-roots.service just that.
    """
    head = Head.of(ctx)
    with planned(head, taking_out=undo_, without_roots=without_roots, only_roots=only_roots) as wanted:
        done = wanted if dry_run else _carried_out(wanted)
    if not (dry_run or without_roots):
        tended(head)
    if then is not None and any(isinstance(change, MountRoot) for change in done.changes):
        with suppress(OSError):  # netbootd makes its directory, and asks by itself when it starts
            then.touch()
    if as_json:
        said = {"warnings": list(done.warnings), "faults": list(done.faults)}
        print_json({"changes": [str(c) for c in done.changes], **said})
        return _complain(done)
    for warning in done.warnings:
        warn(warning)
    if dry_run:
        for change in done.changes:
            say(str(change))
    say(_summary(done.changes, "would be" if dry_run else "taken out" if undo_ else "applied"))
    return _complain(done)


@contextmanager
def planned(
    head: Head, *, taking_out: bool = False, without_roots: bool = False, only_roots: bool = False
) -> Iterator[Plan]:
    """What differs, with the registry open until the block ends. Raises NetbootdError."""
    if taking_out:
        yield undo(head.config)
        return
    with head.registry() as registry:
        inputs = inputs_of(head, registry)
        if without_roots:
            inputs = replace(inputs, unmountable=None)
        yield plan_roots(inputs) if only_roots else plan(inputs)


def inputs_of(head: Head, registry: Registry) -> Inputs:
    """What all that is applied is made from."""
    return Inputs(
        config=head.config,
        registry=registry,
        store=head.images,
        networks=head.networks,
        renderer=Renderer(head.config.template_dir),
    )


def applied(head: Head, done: str) -> None:
    """Apply after `done` was done. Raises HostError, BrokenTemplateError; both say that this much is kept."""
    try:
        with planned(head) as wanted:
            carried_out = _carried_out(wanted)
    except (NetbootdError, OSError) as error:
        message = error.message if isinstance(error, NetbootdError) else str(error)
        hint = error.hint if isinstance(error, NetbootdError) else ""
        raise HostError(
            f"{done}, and that is kept; but it wasn't applied: {message}",
            f"{hint}; then netbootctl apply" if hint else "mend that, then netbootctl apply",
        ) from error
    for warning in carried_out.warnings:
        warn(warning)
    if carried_out.changes:
        say(_summary(carried_out.changes))
    _complain(carried_out, f"{done}, and that is kept; but ")


def _complain(done: Plan, before: str = "") -> None:
    """Raise BrokenTemplateError where there are any; all else that was planned is done."""
    count = len(done.faults)
    if count:
        what = "1 file can't be made and stays as it was" if count == 1 else ""
        what = what or f"{count} files can't be made and stay as they were"
        raise BrokenTemplateError(f"{before}{what}", done.faults)


def _carried_out(wanted: Plan) -> Plan:
    if len(wanted.changes) < MANY and not any(isinstance(change, PackRoot) for change in wanted.changes):
        return carry_out(wanted)
    total, done = len(wanted.changes), 0
    with shown("applying") as progress:

        def tell(_: Change) -> None:
            nonlocal done
            done += 1
            progress("node files and keys", done, max(total, done))

        return carry_out(wanted, tell, progress)


def _summary(changes: Sequence[Change], how: str = "applied") -> str:
    """In a line: 2 keys made, 14 node files, /etc/hosts, NFS server told."""
    if not changes:
        return "nothing to apply: node files, exports and the head node's own files are up to date"
    counts = Counter(kind for change in changes if (kind := _kind(change)))
    words = [f"{count} {one if count == 1 else many}" for (one, many), count in counts.items()]
    words += [str(change.path) for change in changes if isinstance(change, ChangeFile | MakeShared)]
    words += [f"{change.user.name}'s SSH key" for change in changes if isinstance(change, MakeLogin)]
    words += ["chronyd told" for change in changes if isinstance(change, Restart)]
    words += ["NFS server told" for change in changes if isinstance(change, Reload)]
    return f"{how}: {', '.join(dict.fromkeys(words))}"


def _kind(change: Change) -> tuple[str, str] | None:
    """What is counted of it, one and many; None for what is named, and for directories."""
    match change:
        case ChangeTree(step=Step(action=Action.REMOVE)):
            return "removal", "removals"
        case ChangeTree(step=Step(action=Action.WRITE | Action.LINK)):
            return "node file", "node files"
        case _:
            return _COUNTED.get(type(change))
