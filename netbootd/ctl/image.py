"""`netbootctl image`: make images, import them, and choose which generation nodes boot."""

import glob
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from netbootd.ctl import image_build, image_made, image_shell
from netbootd.ctl.afterwards import bring_up_to_date
from netbootd.ctl.head import Head, complete_images
from netbootd.ctl.image_keeping import tended, users
from netbootd.ctl.options import Json
from netbootd.ctl.progress import shown
from netbootd.ctl.tables import card, listing, local_time, say, size
from netbootd.errors import HostError, UserError
from netbootd.image import Generation, image_name, parse_label

if TYPE_CHECKING:
    from netbootd.images.checksums import Checksum

app = typer.Typer(no_args_is_help=True, help="Build, import and choose what nodes boot.")


def _paths(incomplete: str) -> list[str]:
    """Files and directories that begin so. SOURCE is text to typer, because it may be a URL."""
    found = glob.glob(f"{glob.escape(incomplete)}*")  # noqa: PTH207 (a Path would lose a leading ./)
    return sorted(f"{path}/" if Path(path).is_dir() else path for path in found)


New = Annotated[str, typer.Argument(metavar="NAME", help="Its name; an old one gets a new generation.")]
Name = Annotated[str, typer.Argument(metavar="NAME", autocompletion=complete_images, show_default=False)]
Label = Annotated[
    str, typer.Argument(metavar="NAME\\[@GENERATION]", autocompletion=complete_images, show_default=False)
]


app.command()(image_build.build)
app.command()(image_build.rebuild)
app.command()(image_build.clean)


@app.command("import")
def import_(  # noqa: PLR0913 (each is an option of the command)
    ctx: typer.Context,
    name: New,
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            autocompletion=_paths,
            help="A disk image, live ISO, tar archive or container image, bare or packed; a directory; "
            "a running machine, as ssh://USER@HOST.",
        ),
    ],
    *,
    sha256: Annotated[
        str | None, typer.Option("--sha256", metavar="HEX", help="What its checksum has to be.")
    ] = None,
    checksums: Annotated[
        Path | None,
        typer.Option("--checksums", metavar="FILE", help="A list that has it: SHA256SUMS, MD5SUMS."),
    ] = None,
    signature: Annotated[
        Path | None,
        typer.Option("--signature", metavar="FILE", help="A signature of SOURCE, or of --checksums' list."),
    ] = None,
    keyring: Annotated[
        Path | None, typer.Option("--keyring", metavar="FILE", help="The keys of those who may sign it.")
    ] = None,
    kernel: Annotated[
        str | None,
        typer.Option(
            "--kernel",
            metavar="IMAGE\\[@GENERATION]",
            autocompletion=complete_images,
            help="Take this image's kernel: for containers and others that have none.",
        ),
    ] = None,
) -> None:
    """Make an image of a system that you have."""
    from netbootd.images.importer import import_image  # noqa: PLC0415 (this command's alone)

    head = Head.of(ctx)
    if sha256 is not None and checksums is not None:
        raise UserError("--sha256 and --checksums say the same", "give one of them")
    remarks = _signed(checksums or Path(source), signature, keyring)
    checksum = _listed_checksum(checksums, Path(source).name) if checksums is not None else None
    lender = _lender(head, kernel) if kernel is not None else None
    began = time.monotonic()
    with shown(f"importing {source} as image {name}") as progress:
        made = import_image(
            head.images, name, source, sha256, progress, checksum=checksum, remarks=remarks, kernel=lender
        )
    image_made.tell(head, made, began)


@app.command("list")
def list_(ctx: typer.Context, as_json: Json = False) -> None:
    """Show the images, the current generation of each, and how many nodes have it."""
    head = Head.of(ctx)
    tended(head)
    with head.registry() as registry:
        nodes = registry.nodes()
    records = []
    for name in head.images.names():
        number = head.images.current_number(name)
        try:
            current = head.images.current(name)
            remark = "" if current else "no current generation; `netbootctl image use NAME@GENERATION`"
        except HostError as error:
            current, remark = None, str(error)
        records.append(
            {
                "name": name,
                "current": number,
                "generations": head.images.numbers(name),
                "nodes": sum(node.image == name for node in nodes),
                **(_facts(current) if current else {}),
                **_all_sizes(head, name),
                "remark": remark,
            }
        )
    columns = {"name": "image", "current": "current", "generations": "generations", "nodes": "nodes",
               "kernel": "kernel", "size_shown": "size", "all_sizes_shown": "all generations",
               "made_shown": "made"}  # fmt: skip
    if any(record["remark"] for record in records):
        columns["remark"] = "remark"
    empty = "there is no image yet; `netbootctl image build debian` makes one"
    listing(records, columns, as_json=as_json, empty=empty)


@app.command()
def show(
    ctx: typer.Context,
    name: Label,
    as_json: Json = False,
    recipe: Annotated[
        bool, typer.Option("--recipe", help="How it was built: hooks, sources, every package.")
    ] = False,
) -> None:
    """Show an image's generations, or everything about one of them."""
    head = Head.of(ctx)
    tended(head)
    name, number = parse_label(name)
    if not head.images.numbers(name):
        raise UserError(f"there is no image {name}", "`netbootctl image list` shows those there are")
    with head.registry() as registry:
        using = users(head, registry, name)
    current = head.images.current_number(name)
    if number is None and recipe:
        number = current
    if number is None:
        records = [
            {**_facts(made), "current": made.number == current, "used_by": using.get(made.number, [])}
            for made in head.images.generations(name)
        ]
        columns = {"generation": "generation", "current": "current", "made_shown": "made", "kernel": "kernel",
                   "size_shown": "size", "own_size_shown": "of its own", "origin": "origin"}  # fmt: skip
        if any(record["note"] for record in records):
            columns["note"] = "note"
        columns["used_by"] = "used by"
        return listing(records, columns, as_json=as_json)
    made = head.images.generation(name, number)
    if made is None:
        numbers = ", ".join(map(str, head.images.numbers(name)))
        raise UserError(f"{name} has no generation {number}", f"it has {numbers}")
    if recipe:
        return image_build.show_recipe(made, as_json=as_json)
    record = {**_facts(made), "current": number == current, "used_by": using.get(number, [])}
    titles = {"generation": "generation", "current": "current", "made_shown": "made", "origin": "origin",
              "architecture": "architecture", "kernel": "kernel", "size_shown": "size",
              "own_size_shown": "of its own", "sha256": "SHA-256 of its source", "init": "init",
              "kernel_args": "kernel arguments", "directory": "directory", "note": "note",
              "remarks": "remarks", "used_by": "used by"}  # fmt: skip
    return card(record, titles, as_json=as_json)


@app.command()
def use(ctx: typer.Context, name: Label) -> None:
    """Make a generation the one that nodes boot from now on (without a number, the newest)."""
    head = Head.of(ctx)
    name, number = parse_label(name)
    numbers = head.images.numbers(name)
    if not numbers:
        raise UserError(f"there is no image {name}", "`netbootctl image list` shows those there are")
    _switched(head, tended(head).use(name, number if number is not None else numbers[-1]))


@app.command()
def rollback(ctx: typer.Context, name: Name) -> None:
    """Make the generation before the current one current again."""
    head = Head.of(ctx)
    _switched(head, tended(head).rollback(image_name(name)))


app.command()(image_shell.shell)
app.command()(image_shell.note)


@app.command()
def remove(ctx: typer.Context, name: Label) -> None:
    """Remove a generation, or all of an image, that no node uses."""
    head = Head.of(ctx)
    name, number = parse_label(name)
    images = tended(head)
    with head.registry() as registry:
        images.remove(name, number, users(head, registry, name))
    say(f"removed {name}@{number}" if number else f"removed image {name}, all generations")
    bring_up_to_date(head, f"{name} removed")


def _switched(head: Head, made: Generation) -> None:
    """What is told when `made` was made current, and done."""
    say(f"{made.label} is current")
    with head.registry() as registry:
        nodes = registry.nodes()
    image_made.tell_nodes(head, made, nodes)
    bring_up_to_date(head, f"{made.label} is current")


def _facts(made: Generation) -> dict[str, Any]:
    return {
        "label": made.label,
        "generation": made.number,
        "architecture": made.architecture,
        "kernel": made.kernel_release,
        "size": made.size,
        "size_shown": size(made.size),
        "own_size": made.own_size,
        "own_size_shown": size(made.own_size),
        "made": made.created,
        "made_shown": local_time(made.created),
        "origin": made.origin,
        "sha256": made.sha256,
        "init": made.init,
        "kernel_args": made.kernel_args,
        "directory": str(made.directory),
        "note": made.note,
        "remarks": list(made.remarks),
    }


def _all_sizes(head: Head, name: str) -> dict[str, Any]:
    """What all generations together took when they were made: what they share counts once."""
    total = 0
    for number in head.images.numbers(name):
        with suppress(HostError):
            made = head.images.generation(name, number)
            total += made.own_size if made else 0
    return {"all_sizes": total, "all_sizes_shown": size(total)}


def _lender(head: Head, label: str) -> Generation:
    """The generation whose kernel is taken. Raises UserError where there is none of that name."""
    name, number = parse_label(label)
    found = head.images.current(name) if number is None else head.images.generation(name, number)
    if found is None:
        raise UserError(f"there is no image {label}", "`netbootctl image list` shows those there are")
    return found


def _listed_checksum(path: Path, name: str) -> "Checksum":
    """The checksum of `name` in a list, as sha256sum, md5sum and their like write it. Raises UserError."""
    from netbootd.images.checksums import of_file  # noqa: PLC0415 (importing's alone)

    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UserError(f"can't read {path}: {error.strerror}") from None
    checksum = of_file(text, name)
    if checksum is None:
        raise UserError(f"{path} has no checksum of {name}", "is it the list that belongs to this file?")
    return checksum


def _signed(signed: Path, signature: Path | None, keyring: Path | None) -> tuple[str, ...]:
    """Who signed it, where that is asked for. Raises UserError where it isn't signed."""
    from netbootd.images.signature import verify  # noqa: PLC0415 (importing's alone)

    if signature is None and keyring is None:
        return ()
    if signature is None or keyring is None:
        raise UserError(
            "a signature says something only together with the keys of those who may sign",
            "give both, --signature FILE and --keyring FILE (as in /usr/share/keyrings/)",
        )
    return (verify(signed, signature, keyring),)
