"""`netbootctl template`: what templates there are, what they are given, and what a node gets of them."""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from netbootd.boot.answer import NotFound
from netbootd.boot.firmware.raspberrypi_files import own_variables
from netbootd.ctl.explained import variables
from netbootd.ctl.head import Head, complete_nodes
from netbootd.ctl.options import Json
from netbootd.ctl.site import Site, site_of
from netbootd.ctl.tables import aside, listing, print_json
from netbootd.errors import UserError
from netbootd.files import exporting
from netbootd.files.cluster import Member, node_variables
from netbootd.files.templates import COMMON, EACH, PROFILES, Source, sources
from netbootd.files.tree import Directory, Entry, File, Link

app = typer.Typer(no_args_is_help=True, help="What nodes' files and boot scripts are made from.")

OURS = "netbootd itself"
LONGEST_VALUE = 60
"""Characters that people see of a variable's value; --json has all."""

ForNode = Annotated[
    str | None,
    typer.Option("--node", metavar="NODE", autocompletion=complete_nodes, help="As this node gets it."),
]


@app.command("vars")
def vars_(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NODE", autocompletion=complete_nodes, show_default=False)],
    as_json: Json = False,
) -> None:
    """Show what templates are given for a node: each variable, its value, what it means."""
    with site_of(Head.of(ctx)) as site:
        node, member = site.node(name)
        boot = site.boot(node)
        groups: list[tuple[str, object]] = [
            ("node/each", node_variables(site.trees.cluster, member)),
            ("node/common", site.trees.cluster),
        ]
        if not isinstance(boot, NotFound):
            groups += [("boot", boot), ("boot/raspberrypi", own_variables(node, boot.generation))]
        groups.append(site.nfs())
        records = [{"for": group, **asdict(each)} for group, holder in groups for each in variables(holder)]
    if not as_json:
        records = [each | {"value": _short(each["value"])} for each in records]
    columns = {"for": "templates in", "name": "variable", "value": "value", "meaning": "meaning"}
    listing(records, columns, as_json=as_json)
    if isinstance(boot, NotFound):
        aside(f"templates in boot are given nothing yet: {boot.reason}")


@app.command("list")
def list_(ctx: typer.Context, node: ForNode = None, as_json: Json = False) -> None:
    """Show every path, the file that it is made from, and what that stands in for."""
    with site_of(Head.of(ctx)) as site:
        if node is not None:
            columns = {"path": "path", "what": "what", "from": "from", "overrides": "instead of"}
            member = site.node(node)[1]
            records = [_gotten(site, f"/{p}", s, member) for p, s in sorted(site.sources(member).items())]
        else:
            columns = {"tree": "tree", "path": "path", "from": "from", "overridden_by": "overridden by"}
            records = [*_of_nodes(site), *_of_head(site)]
    listing(records, columns, as_json=as_json)


@app.command()
def show(
    ctx: typer.Context,
    path: Annotated[
        str,
        typer.Argument(
            metavar="PATH", help="/etc/motd of a node; or a template, boot/ipxe/boot.ipxe.j2, nfs/exports.j2."
        ),
    ],
    node: ForNode = None,
    as_json: Json = False,
) -> None:
    """Render a file as a node gets it; where it came from is said on standard error."""
    with site_of(Head.of(ctx)) as site:
        if path in site.trees.renderer.names("boot"):
            record, content = _boot_script(site, path, node)
        elif path in site.trees.renderer.names("nfs"):
            record, content = _exports(site, path)
        else:
            record, content = _node_file(site, path.strip("/"), node)
    if as_json:
        return print_json(record | {"content": content.decode(errors="replace")})
    aside(f"{record['path']}: {record['what']}, from {record['from']}")
    for each in record["overrides"]:
        aside(f"  instead of {each}")
    sys.stdout.buffer.write(content)
    return None


def _node_file(site: Site, path: str, name: str | None) -> tuple[dict[str, Any], bytes]:
    if name is None:
        found, member = site.trees.common_sources(), None
    else:
        member = site.node(name)[1]
        found = site.sources(member)
    if path not in found:
        where = f"on {name}" if name else f"in node/{COMMON}"
        hint = "`netbootctl template list` shows all" if name else "--node NODE shows it as that node gets it"
        raise UserError(f"no template makes /{path[:200]} {where}", hint)
    source, entry = site.made(found[path], member)
    record = {"path": f"/{path}", "what": _what(entry), **_origin(source)}
    if isinstance(entry, File):
        if source.file is None and not entry.mode & 0o044:
            raise UserError(f"/{path} is a private key, made by netbootd itself", "it isn't shown")
        return record, entry.content
    return record, b""


def _boot_script(site: Site, name: str, node_name: str | None) -> tuple[dict[str, Any], bytes]:
    if node_name is None:
        raise UserError(f"{name} is made for a node", "add --node NODE")
    boot = site.boot(site.node(node_name)[0])
    if isinstance(boot, NotFound):
        raise UserError(boot.reason)
    return _head_record(site, name), site.boot_script(name, boot).encode()


def _exports(site: Site, name: str) -> tuple[dict[str, Any], bytes]:
    used, variables_ = site.nfs()
    if name != used:
        raise UserError(f"{name} isn't used", f"[nfs] server is {site.config.nfs.server!r}, made from {used}")
    return _head_record(site, name), exporting.rendered(site.inputs, variables_)


def _head_record(site: Site, name: str) -> dict[str, Any]:
    first, *rest = map(str, site.trees.renderer.files(name))
    return {"path": name, "what": "text", "from": first, "overrides": rest}


def _gotten(site: Site, path: str, source: Source, member: Member) -> dict[str, Any]:
    try:
        source, entry = site.made(source, member)
        what = _what(entry)
    except UserError as error:
        what = f"error: {error}"
    return {"path": path, "what": what, **_origin(source)}


def _origin(source: Source) -> dict[str, Any]:
    return {"from": _from(source), "overrides": [_from(each) for each in source.overrides]}


def _from(source: Source) -> str:
    return str(source.file or OURS)


def _short(value: str) -> str:
    return value if len(value) <= LONGEST_VALUE else f"{value[: LONGEST_VALUE - 1]}…"


def _what(entry: Entry | None) -> str:
    match entry:
        case File(content=content, mode=mode):
            return f"file {mode:04o}, {len(content)} B"
        case Link(target=target):
            return f"link to {target}"
        case Directory(mode=mode):
            return f"directory {mode:04o}"
        case _:
            return "nothing: it renders empty"


def _of_nodes(site: Site) -> Iterator[dict[str, Any]]:
    """Each source of node files; what overrides it, on some nodes or on all."""
    config, parents = site.config, site.trees.parents
    trees = [COMMON, EACH, *(f"{PROFILES}/{name}" for name in parents)]
    found = {tree: sources(config.template_dir, [tree]) for tree in trees}
    for tree in trees:
        more_exact = [other for other in trees if _is_more_exact(other, tree, parents)]
        for path, winner in sorted(found[tree].items()):
            above = [_from(found[other][path]) for other in more_exact if path in found[other]]
            for source in (winner, *winner.overrides):
                by = above if source is winner else [_from(winner)]
                yield {"tree": f"node/{tree}", "path": f"/{path}", "from": _from(source), "overridden_by": by}


def _is_more_exact(tree: str, than: str, parents: Mapping[str, str | None]) -> bool:
    """Whether `tree` is laid over `than`, on a node that gets both."""
    order = [COMMON, EACH]
    if than in order:
        return tree not in order or order.index(tree) > order.index(than)
    profile = parents.get(tree.partition("/")[2]) if tree not in order else None
    while profile is not None:
        if f"{PROFILES}/{profile}" == than:
            return True
        profile = parents.get(profile)
    return False


def _of_head(site: Site) -> Iterator[dict[str, Any]]:
    """The templates that aren't laid over nodes."""
    for tree in ("boot", "nfs"):
        for name in site.trees.renderer.names(tree):
            winner, *rest = map(Path, site.trees.renderer.files(name))
            for file in (winner, *rest):
                by = [] if file is winner else [str(winner)]
                yield {"tree": tree, "path": name, "from": str(file), "overridden_by": by}
