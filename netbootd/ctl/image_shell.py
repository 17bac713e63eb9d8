"""`netbootctl image shell` and `image note`: a generation changed by hand, and an admin's words on one."""

import re
import shlex
import sys
import time
from collections.abc import Sequence
from typing import Annotated

import typer

from netbootd.ctl import image_made
from netbootd.ctl.head import Head, complete_images
from netbootd.ctl.image_keeping import tended
from netbootd.ctl.progress import shown
from netbootd.ctl.tables import say
from netbootd.errors import UserError
from netbootd.image import Generation, parse_label

Label = Annotated[
    str, typer.Argument(metavar="NAME\\[@GENERATION]", autocompletion=complete_images, show_default=False)
]

_APT = re.compile(r"\b(?:apt|apt-get|aptitude)\b")


def shell(
    ctx: typer.Context,
    name: Label,
    command: Annotated[
        list[str] | None, typer.Argument(metavar="\\[-- COMMAND …]", help="Run this instead of a shell.")
    ] = None,
    *,
    note: Annotated[str, typer.Option("--note", metavar="TEXT", help="Why you do it, for later.")] = "",
) -> None:
    """Work in an image as root; what comes of it is published as the next generation.

    Only if the shell ends with 0: after `exit 1` you are asked. Packages can be installed, no service is
    started, and nodes keep what they booted.
    """
    from netbootd.images.guest import lacks_package_lists  # noqa: PLC0415 (this command's alone)
    from netbootd.images.record import check_note  # noqa: PLC0415 (this command's alone)
    from netbootd.images.shell import opened  # noqa: PLC0415 (this command's alone)

    check_note(note)
    head = Head.of(ctx)
    base = _generation(head, name)
    with opened(head.images, base) as session:
        if not command and sys.stdin.isatty():
            say(f"a shell in a copy of {base.label}, kept apart by {session.means}")
            say("`exit` publishes it as the next generation; after `exit 1` you are asked")
            if lacks_package_lists(base.root):
                say("package lists: apt-get update (no image keeps them)")
        status = session.run(command or ())
        began = time.monotonic()
        changed = session.changed()
        if not changed and status == 0:
            say(f"nothing was changed in {base.label}, so nothing is published")
            return
        if status and not (changed and not command and _asked(base, status, str(changed))):
            what = command[0] if command else "the shell"
            raise UserError(
                f"{what} ended with {status}: nothing is published, {base.label} is as it was",
                _lists_hint(base, command or ()),
            )
        with shown(f"publishing what was changed in {base.label}") as progress:
            made = session.publish(changed, note, progress)
    image_made.tell(head, made, began)


def note(
    ctx: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="NAME@GENERATION", autocompletion=complete_images, show_default=False)
    ],
    text: Annotated[
        str, typer.Argument(metavar="TEXT", help="What you want to remember of it; '' for nothing.")
    ],
) -> None:
    """Write down something about a generation; `image show` shows it."""
    head = Head.of(ctx)
    made = tended(head).note(*_label(head, name), text)
    say(f"{made.label}: {made.note}" if made.note else f"{made.label} has no note")


def _label(head: Head, text: str) -> tuple[str, int]:
    """The generation that is meant: without a number the current one. Raises UserError."""
    name, number = parse_label(text)
    if not head.images.numbers(name):
        raise UserError(f"there is no image {name}", "`netbootctl image list` shows those there are")
    number = number if number is not None else head.images.current_number(name)
    if number is None:
        raise UserError(f"{name} has no current generation", f"`netbootctl image use {name}@GENERATION`")
    return name, number


def _generation(head: Head, text: str) -> Generation:
    name, number = _label(head, text)
    found = head.images.generation(name, number)
    if found is None:
        numbers = ", ".join(map(str, head.images.numbers(name)))
        raise UserError(f"{name} has no generation {number}", f"it has {numbers}")
    return found


def _lists_hint(base: Generation, command: Sequence[str]) -> str:
    """What apt needs first, where `command` failed that has to do with it; else empty."""
    from netbootd.images.guest import lacks_package_lists  # noqa: PLC0415 (this command's alone)

    text = shlex.join(command)
    if not _APT.search(text) or "update" in text or not lacks_package_lists(base.root):
        return ""
    if not _APT.fullmatch(command[0].rpartition("/")[2]):
        return "no image keeps package lists: have `apt-get update` run before it"
    return f"no image keeps package lists: -- sh -c {shlex.quote(f'apt-get update && {text}')}"


def _asked(base: Generation, status: int, changed: str) -> bool:
    """Whether to publish all the same: a shell also ends with what its last command ended with."""
    if not sys.stdin.isatty():
        return False
    say(f"the shell ended with {status}; in {base.label} it left {changed}")
    return typer.confirm("publish it all the same?", default=False)
