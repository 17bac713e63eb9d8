"""`netbootctl export`: the whole registry in a file."""

from typing import Annotated

import typer

from netbootd.ctl import given
from netbootd.ctl.head import Head
from netbootd.ctl.tables import say
from netbootd.errors import UserError
from netbootd.exchange import csv_file, formats, yaml_file

app = typer.Typer(add_completion=False)


@app.command()
def export(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="Where to, by .yaml or .csv; - is the output.")],
    kind: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            autocompletion=lambda: list(formats.OURS),
            help="yaml or csv, whatever the file's name.",
        ),
    ] = None,
) -> None:
    """Write the whole registry as YAML or CSV: nodes with their machine-ids, profiles, all settings.

    `netbootctl import` reads it. SSH host keys, images and leases aren't in it.
    """
    head = Head.of(ctx)
    found = kind or ("yaml" if file == given.STANDARD else formats.by_name(file))
    if found not in formats.OURS:
        raise UserError(
            f"{(kind or file)[:80]!r} isn't YAML or CSV" if kind else f"{file[:80]} could be YAML or CSV",
            "--format yaml, or --format csv",
        )
    with head.registry() as registry:
        contents = registry.contents()
    given.write(file, (csv_file if found == "csv" else yaml_file).write(contents))
    if file == given.STANDARD:
        return
    say(f"wrote {len(contents.nodes)} nodes and {len(contents.profiles)} profiles to {file}")
    say(f"SSH host keys are files: rsync -a {head.config.keys_dir}/ HEAD:{head.config.keys_dir}/ brings them")
