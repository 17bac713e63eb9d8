"""`netbootctl import`: nodes and profiles out of a file, or out of another DHCP server's configuration."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from netbootd.ctl import given
from netbootd.ctl.afterwards import bring_up_to_date, warn_of_missing_images
from netbootd.ctl.head import Head, complete_images, reserved_names
from netbootd.ctl.tables import listing, print_json, say, warn
from netbootd.errors import UserError
from netbootd.exchange import formats
from netbootd.exchange.changes import Change
from netbootd.exchange.described import Described, Remark
from netbootd.exchange.plan import Cluster, Plan, plan
from netbootd.image import image_name

app = typer.Typer(add_completion=False)
HOSTS = "/etc/hosts"


@app.command("import")
def import_(  # noqa: PLR0913 (each is an option of the command)
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="What to read; - is the input.")],
    *,
    kind: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            autocompletion=lambda: list(formats.FORMATS),
            help=f"One of {', '.join(formats.FORMATS)}; else told by the file's name, or by what it holds.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change.")] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Make the registry equal to the file: what isn't in it goes.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Remove without asking.")] = False,
    hosts: Annotated[
        str,
        typer.Option(
            "--hosts", metavar="FILE", help="Names and addresses beside another server's file or ethers."
        ),
    ] = HOSTS,
    image: Annotated[
        str | None,
        typer.Option(
            "--image",
            metavar="IMAGE",
            autocompletion=complete_images,
            help="What new nodes boot that the file has no image for.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="With --dry-run, for programs.")] = False,
) -> None:
    """Register what a file names: YAML or CSV of `export`, or what another DHCP server has.

    Of dnsmasq.conf, ISC dhcpd.conf, kea-dhcp4.conf and /etc/ethers it takes what has a place here, and tells
    of the rest, line by line.

    What the file names is added or changed, the rest stays; all of it, or nothing. Columns of a CSV: name,
    macs, address, profile, image, root and so on as `export` writes them; most are optional.
    """
    head = Head.of(ctx)
    if as_json and not dry_run:
        raise UserError("--json tells what would change", "pass --dry-run too")
    described = _described(file, kind, hosts)
    if replace and described.foreign:
        raise UserError(
            "another server's file doesn't hold all that a registry has", "import it without --replace"
        )
    with head.registry() as registry:
        boots = image_name(image) if image else _only_image(head, described)
        cluster = Cluster(networks=head.served(), reserved=reserved_names(), image=boots)
        made = plan(registry.contents(), described, cluster, equal=replace)
        if as_json:
            print_json(_record(made, described))
            return
        _show(made, described)
        if not made.changes:
            say(f"nothing to change: {_nothing(described, file)}")
            return
        if dry_run:
            say("nothing was changed (--dry-run)")
            return
        _confirm(made, yes)
        registry.rewrite(made.rewrite)
        nodes = [registry.node(new.name) for _, new in made.rewrite.nodes if new]
    done = _so_many(made.changes)
    say(done)
    if bare := [node.name for node in nodes if not node.image]:
        warn(f"{_some(bare)}: no image yet; `netbootctl node set {bare[0]} --image IMAGE` gives one")
    _warn_of_keys(head, made)
    if not bring_up_to_date(head, done):
        warn_of_missing_images(head, [node.image for node in nodes])


# Details


def _described(file: str, kind: str | None, hosts: str) -> Described:
    if kind is not None and kind not in formats.FORMATS:
        raise UserError(f"there is no format {kind[:40]!r}", f"one of {', '.join(formats.FORMATS)}")
    text = given.read(file)
    hosts = str(Path(hosts).absolute())  # as one types it; what FILE names begins where FILE lies
    return formats.read(kind or formats.recognise(file, text), text, file, given.beside(file), hosts)


def _only_image(head: Head, described: Described) -> str | None:
    """As for `node add`: other servers' files know of no images, and where there is one it is meant."""
    names = head.images.names() if described.foreign else []
    return names[0] if len(names) == 1 else None


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (" …" if len(names) > 3 else "")


def _show(made: Plan, described: Described) -> None:
    """What changes, what is left out, and what belongs into netbootd.toml."""
    rows = [_row(change) for change in made.changes]
    if rows:
        titles = {"change": "change", "kind": "kind", "name": "name", "values": "values", "line": "line"}
        listing([{**row, "values": ", ".join(row["values"])} for row in rows], titles)
    for line in _gathered(made.remarks):
        warn(line)
    for title, of_options in (("[[network]]", False), ("[network.options]", True)):
        lines = [f"{each.text}   # {each.place}" for each in described.settings
                 if each.is_option == of_options]  # fmt: skip
        if lines:
            say(f"this belongs in netbootd.toml, {title}:")
        for line in lines:
            say(f"  {line}")


def _row(change: Change) -> dict[str, Any]:
    return {
        "change": change.what,
        "kind": change.kind,
        "name": change.name,
        "values": list(change.details),
        "line": str(change.place) if change.place else None,
    }


def _record(made: Plan, described: Described) -> dict[str, Any]:
    return {
        "changes": [_row(change) for change in made.changes],
        "left_out": [{"line": str(each.place), "why": each.text} for each in made.remarks],
        "netbootd_toml": [
            {
                "line": str(each.place),
                "table": "network.options" if each.is_option else "network",
                "setting": each.text,
            }
            for each in described.settings
        ],
    }


def _gathered(remarks: Sequence[Remark]) -> list[str]:
    """Each reason once, with all its lines."""
    lines: dict[tuple[str, str], list[str]] = {}
    for remark in remarks:
        lines.setdefault((remark.place.file, remark.text), []).append(str(remark.place.line))
    return [f"{file}:{','.join(numbers)}: {text}" for (file, text), numbers in lines.items()]


def _nothing(described: Described, file: str) -> str:
    if described.nodes or described.profiles:
        return f"the registry has what {file} says"
    return f"{file} names no node"


def _confirm(made: Plan, yes: bool) -> None:
    gone = [change for change in made.changes if change.what == "removed"]
    if not gone or yes:
        return
    question = f"{_so_many(gone, 'to be removed')}"
    if not sys.stdin.isatty():
        raise UserError(question, "pass --yes if that is meant")
    typer.confirm(f"{question}: go on?", abort=True)


def _so_many(changes: Sequence[Change], done: str = "changed") -> str:
    counts = [
        f"{number} {kind}{'' if number == 1 else 's'}"
        for kind in ("node", "profile")
        if (number := sum(change.kind == kind for change in changes))
    ]
    return f"{' and '.join(counts)} {done}"


def _warn_of_keys(head: Head, made: Plan) -> None:
    """Of nodes from another head node: who they are came with the file, their SSH host keys didn't."""
    came = [new for old, new in made.rewrite.nodes if new and new.machine_id and old is None]
    if os.geteuid() != 0 or not came:
        return
    keys = head.config.keys_dir
    missing = [node.name for node in came if not (keys / "hosts" / node.machine_id).exists()]
    if missing:
        warn(
            f"no SSH host key came with {_some(missing)}, so new ones are made; to keep the old:"
            f" rsync -a OLD-HEAD:{keys}/ {keys}/ && netbootctl apply"
        )
