"""`netbootctl profile`: settings that nodes share."""

from dataclasses import replace
from typing import Annotated, Any

import typer

from netbootd.boot.loaders import loader_name
from netbootd.ctl.afterwards import bring_up_to_date, warn_of_missing_images
from netbootd.ctl.head import Head, complete_images, complete_profiles
from netbootd.ctl.options import (
    DhcpOptions,
    EepromUpdate,
    Json,
    KernelArgs,
    Loader,
    Root,
    dhcp_options,
    shown_options,
)
from netbootd.ctl.tables import listing, say
from netbootd.errors import UserError
from netbootd.image import image_name
from netbootd.settings import (
    NOTHING_SET,
    Profile,
    Settings,
    changed_options,
    kernel_arguments,
    profile_name,
)

app = typer.Typer(no_args_is_help=True, help="Settings that nodes share.")

Name = Annotated[str, typer.Argument(metavar="NAME", autocompletion=complete_profiles, show_default=False)]
UNSETTABLE = ("parent", "image", "root", "kernel-args", "loader", "eeprom-update", "dhcp-options")


@app.command("list")
def list_(ctx: typer.Context, as_json: Json = False) -> None:
    """Show the profiles, and who inherits from them."""
    with Head.of(ctx).registry() as registry:
        profiles, nodes = registry.profiles(), registry.nodes()
    records: list[dict[str, Any]] = [
        {
            "name": profile.name,
            "parent": profile.parent,
            "image": profile.settings.image,
            "root": profile.settings.root,
            "kernel_args": profile.settings.kernel_args,
            "loader": profile.settings.loader,
            "eeprom_update": profile.settings.eeprom_update,
            "dhcp_options": shown_options(profile.settings.dhcp_options),
            "nodes": [node.name for node in nodes if node.profile == profile.name],
        }
        for profile in profiles
    ]
    columns = {"name": "name", "parent": "parent", "image": "image", "root": "root",
               "kernel_args": "kernel arguments"}  # fmt: skip
    seldom = {"loader": "loader", "eeprom_update": "EEPROM update", "dhcp_options": "DHCP options"}
    columns |= {key: title for key, title in seldom.items() if any(r[key] not in (None, {}) for r in records)}
    columns["nodes"] = "nodes"
    empty = "no profile is there yet; `netbootctl profile set NAME --image IMAGE` makes one"
    if as_json:
        return listing(records, columns, as_json=True)
    rows = [
        {**record, "dhcp_options": [f"{name}={value}" for name, value in record["dhcp_options"].items()]}
        for record in records
    ]
    return listing(rows, columns, empty=empty)


@app.command("set")
def set_(  # noqa: PLR0913 (each is an option of the command)
    ctx: typer.Context,
    name: Name,
    *,
    parent: Annotated[
        str | None,
        typer.Option(
            "--parent", metavar="PROFILE", autocompletion=complete_profiles, help="Inherit from it."
        ),
    ] = None,
    image: Annotated[
        str | None,
        typer.Option("--image", metavar="IMAGE", autocompletion=complete_images, help="What nodes boot."),
    ] = None,
    root: Root = None,
    kernel_args: KernelArgs = None,
    loader: Loader = None,
    eeprom_update: EepromUpdate = None,
    dhcp_option: DhcpOptions = None,
    unset: Annotated[
        list[str] | None,
        typer.Option("--unset", metavar="SETTING", help=f"Leave it to the parent: {', '.join(UNSETTABLE)}."),
    ] = None,
) -> None:
    """Make a profile, or change the one of that name."""
    head = Head.of(ctx)
    for wish in unset or []:
        if wish not in UNSETTABLE:
            raise UserError(f"{wish[:40]!r} can't be unset", f"one of {', '.join(UNSETTABLE)}")
    given = Settings(
        image=image_name(image) if image is not None else None,
        root=root,
        kernel_args=kernel_arguments(kernel_args),
        loader=loader_name(loader),
        eeprom_update=eeprom_update,
    )
    changes = dhcp_options(dhcp_option)
    with head.registry() as registry:
        found = {profile.name: profile for profile in registry.profiles()}
        profile = found.get(name) or Profile(name=profile_name(name))
        dropped = {wish.replace("-", "_") for wish in unset or []}
        if "parent" in dropped:
            profile = replace(profile, parent=None)
        kept = replace(
            profile.settings, **{key: getattr(NOTHING_SET, key) for key in dropped if key != "parent"}
        )
        settings = replace(given.over(kept), dhcp_options=changed_options(kept.dhcp_options, changes))
        registry.put_profile(
            replace(profile, parent=parent if parent is not None else profile.parent, settings=settings)
        )
        used = any(node.image == image for node in registry.nodes())
    say(f"profile {name} {'changed' if name in found else 'made'}")
    if not bring_up_to_date(head, f"profile {name}") or not used:
        warn_of_missing_images(head, [image])


@app.command()
def remove(ctx: typer.Context, name: Name) -> None:
    """Remove a profile that nobody uses."""
    head = Head.of(ctx)
    with head.registry() as registry:
        registry.remove_profile(name)
    say(f"removed profile {name}")
