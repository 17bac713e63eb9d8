"""`netbootctl image build` and `image rebuild`: images made here, from a distribution's packages."""

import re
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from netbootd.ctl import image_made
from netbootd.ctl.head import Head, complete_images
from netbootd.ctl.progress import shown
from netbootd.ctl.tables import card, duration, print_json, say, size, warn
from netbootd.errors import UserError
from netbootd.image import Generation, parse_label
from netbootd.images.recipe import (
    CHANGED_BY_HAND,
    Hook,
    Keyring,
    Order,
    Recipe,
    differences,
    hook,
    hooks,
    keyring,
    keyrings,
)
from netbootd.images.trees import explained

if TYPE_CHECKING:
    from netbootd.images.package_cache import PackageCache

Mirror = Annotated[
    list[str] | None,
    typer.Option(
        "--mirror",
        metavar="[ARCHIVE=]URL",
        help="From where; else from where this machine does. For an archive beside the main one, with its "
        "name: security=URL, raspberrypi=URL.",
    ),
]
KeyringFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--keyring",
        metavar="FILE",
        help="Keys of a mirror that you name, or of an archive whose keys this machine lacks.",
    ),
]
Note = Annotated[str, typer.Option("--note", metavar="TEXT", help="What you want to remember of it.")]


def build(  # noqa: PLR0913 (the command's options, each by its name)
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name; an old one gets a new generation.")],
    *,
    suite: Annotated[
        str,
        typer.Option(
            "--suite",
            metavar="SUITE",
            help="bookworm, trixie, jammy, noble, raspios-bookworm …",
            autocompletion=lambda: [
                "bookworm",
                "trixie",
                "jammy",
                "noble",
                "raspios-bookworm",
                "raspios-trixie",
            ],
        ),
    ] = "bookworm",
    mirror: Mirror = None,
    package: Annotated[
        list[str] | None,
        typer.Option(
            "--package",
            metavar="P",
            help="One more package; may be repeated. A kernel replaces the usual one.",
        ),
    ] = None,
    hook_file: Annotated[
        list[Path] | None,
        typer.Option(
            "--hook",
            metavar="FILE",
            help="A script to run when the packages are installed, with the image's root directory as $1; "
            '`chroot "$1" COMMAND` runs something in it. May be repeated.',
        ),
    ] = None,
    architecture: Annotated[
        str,
        typer.Option(
            "--architecture",
            metavar="A",
            help="Of the nodes; else this machine's. Another's programs run by qemu-user.",
            autocompletion=lambda: ["amd64", "arm64", "armhf"],
        ),
    ] = "",
    keyring_file: KeyringFiles = None,
    note: Note = "",
) -> None:
    """Make an image here, from Debian's, Ubuntu's or Raspberry Pi OS's packages."""
    order = Order(
        suite,
        architecture,
        _mirrors(mirror or []),
        tuple(part for text in package or [] for part in re.split(r"[,\s]+", text) if part),
        hooks([_hook(path) for path in hook_file or []]),
        keyrings([_keyring(path) for path in keyring_file or []]),
    )
    head = Head.of(ctx)
    _build(head, name, order, note)


def rebuild(
    ctx: typer.Context,
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME\\[@GENERATION]",
            help="Without a number, the current one.",
            autocompletion=complete_images,
            show_default=False,
        ),
    ],
    *,
    mirror: Mirror = None,
    keyring_file: KeyringFiles = None,
    note: Note = "",
) -> None:
    """Make the next generation as an earlier one was made: same suite, packages, hooks; today's versions."""
    head = Head.of(ctx)
    before = _built(head, *parse_label(name))
    recipe = _recipe(before)
    if by_hand := before.recipe.get(CHANGED_BY_HAND):
        warn(f"{before.label} was changed by hand ({by_hand}): what was changed then is in no recipe")
    order = replace(recipe.order, mirrors={**recipe.order.mirrors, **_mirrors(mirror or [])})
    if keyring_file:
        order = replace(order, keyrings=keyrings([_keyring(path) for path in keyring_file]))
    made = _build(head, before.image, order, note)
    changes = differences(recipe.installed, _recipe(made).installed)
    say(f"since {before.label}: " + (f"{len(changes)} packages changed" if changes else "the same packages"))
    for change in changes[:20]:
        say(f"  {change}")
    if len(changes) > 20:
        say(
            f"  and {len(changes) - 20} more; netbootctl image show {made.label} --recipe lists what it holds"
        )


def _build(head: Head, name: str, order: Order, note: str) -> Generation:
    from netbootd.images.build import build as build_image  # noqa: PLC0415 (building's alone)

    began = time.monotonic()
    cache = _cache(head)
    with shown(f"building image {name} ({order.suite})") as progress:
        made = build_image(head.images, name, order, note=note, cache=cache, progress=progress)
    image_made.tell(head, made, began)
    return made


def _built(head: Head, name: str, number: int | None) -> Generation:
    """The generation that was meant: without `number` the current one, or else the newest that was built.

    Raises UserError where there is none.
    """
    numbers = head.images.numbers(name)
    if not numbers:
        raise UserError(f"there is no image {name}", "`netbootctl image list` shows those there are")
    current = head.images.current_number(name)
    usual = sorted(numbers, key=lambda each: (each == current, each), reverse=True)
    for candidate in [number] if number is not None else usual:
        found = head.images.generation(name, candidate)
        if found is None:
            raise UserError(f"{name} has no generation {candidate}", f"it has {', '.join(map(str, numbers))}")
        if found.recipe or number is not None:
            if number is None and current not in (None, candidate):
                warn(f"{name}@{current}, the current one, wasn't built here: taking {found.label}'s recipe")
            return found
    raise UserError(f"no generation of {name} was built here", f"netbootctl image build {name}")


def _recipe(made: Generation) -> Recipe:
    try:
        return Recipe.from_json(made.recipe)
    except UserError as error:
        raise UserError(f"{made.label} can't be built again: {error.message}", error.hint) from error


def _mirrors(texts: Iterable[str]) -> dict[str, str]:
    """`URL` and `security=URL` -> archive -> URL; the main archive's name is empty. Raises UserError."""
    mirrors: dict[str, str] = {}
    for text in texts:
        named = re.fullmatch(r"([a-z]+)=(.*)", text)
        name, url = named.groups() if named else ("", text)
        if name in mirrors:
            raise UserError(f"two mirrors of {name or 'the main archive'}", "give one")
        mirrors[name] = url
    return mirrors


def _hook(path: Path) -> Hook:
    return hook(path.name, _content(path))


def _keyring(path: Path) -> Keyring:
    return keyring(path.name, _content(path))


def _content(path: Path) -> bytes:
    """Raises UserError for what can't be read; no more is read than a hook or a keyring may have."""
    try:
        with path.open("rb") as file:
            return file.read((1 << 20) + 1)
    except OSError as error:
        raise UserError(f"can't read {path}: {error.strerror}") from None


def clean(ctx: typer.Context) -> None:
    """Give back the space of packages that are kept for the next build."""
    cache = _cache(Head.of(ctx))
    with explained(cache.directory):
        octets = cache.size()
        cache.clear()
    say(f"{size(octets)} given back" if octets else "no packages were kept")


def _cache(head: Head) -> "PackageCache":
    from netbootd.images.package_cache import PackageCache  # noqa: PLC0415 (building's alone)

    return PackageCache(head.config.state_dir / "cache" / "apt")


def show_recipe(made: Generation, *, as_json: bool) -> None:
    """Show how `made` was built, whole: its hooks' text and every package. Raises UserError for no recipe."""
    try:
        recipe = Recipe.from_json(made.recipe)
    except UserError as error:
        raise UserError(f"{made.label}: {error.message}", error.hint) from error
    if as_json:
        return print_json(made.recipe)
    if by_hand := made.recipe.get(CHANGED_BY_HAND):
        say(f"{made.label} was changed by hand since it was built so ({by_hand}); that is in no recipe")
    order = recipe.order
    record = {
        "suite": order.suite,
        "architecture": order.architecture,
        "mirrors": [f"{name}={url}" if name else url for name, url in order.mirrors.items()],
        "packages": list(order.packages),
        "sources": list(recipe.sources),
        "keyrings": [f"{keys.name}, sha256 {keys.sha256}" for keys in order.keyrings],
        "hooks": [f"{script.name}, sha256 {script.sha256}" for script in order.hooks],
        "tools": [f"{name} {version}" for name, version in recipe.tools.items()],
        "took": duration(recipe.seconds),
        "installed": f"{len(recipe.installed)} packages",
    }
    card(record, {title: title for title in record})
    for script in order.hooks:
        say("")
        say(f"hook {script.name}:")
        for line in script.text.splitlines():
            say(f"  {line}")
    say("")
    say("installed:")
    for package, version in recipe.installed.items():
        say(f"  {package} {version}")
    return None
