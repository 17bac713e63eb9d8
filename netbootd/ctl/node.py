"""`netbootctl node`: register machines, change them, see who they are and where each setting comes from."""

from ipaddress import AddressValueError, IPv4Address, IPv4Interface
from typing import Annotated, Any

import typer

from netbootd.boot.firmware.raspberrypi_files import check_serial
from netbootd.boot.loaders import loader_name
from netbootd.ctl import node_reset, node_root
from netbootd.ctl.afterwards import bring_up_to_date, warn_of_missing_images
from netbootd.ctl.fitting import warn_of_misfits
from netbootd.ctl.head import Head, complete_images, complete_nodes, complete_profiles, reserved_names
from netbootd.ctl.node_record import SETTINGS, full_record, inherited, record_of, setting_rows, yes_or_no
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
from netbootd.ctl.own_roots import advise, leaves_kept, said, standing
from netbootd.ctl.tables import card, listing, say, warn
from netbootd.errors import UserError
from netbootd.image import image_name
from netbootd.network import Network
from netbootd.node import Mac, Node, expand_names, host_name, serial_number
from netbootd.registry import NodeRequest, Registry, Settings
from netbootd.roots.keeping import order_reset
from netbootd.settings import changed_options, kernel_arguments

app = typer.Typer(no_args_is_help=True, help="Register machines and see who they are.")

Name = Annotated[str, typer.Argument(metavar="NAME", autocompletion=complete_nodes, show_default=False)]
Names = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        autocompletion=complete_nodes,
        show_default=False,
        help="A name, or several: 'n[01-12]'.",
    ),
]
Macs = Annotated[
    list[str] | None,
    typer.Option(
        "--mac", metavar="MAC", help="The network card's address; with a range of names one for each."
    ),
]
Ip = Annotated[
    str | None, typer.Option("--ip", metavar="IP", help="Its address; with a range of names the first one.")
]
Image = Annotated[
    str | None,
    typer.Option("--image", metavar="IMAGE", autocompletion=complete_images, help="What it boots."),
]
ProfileName = Annotated[
    str | None,
    typer.Option("--profile", metavar="PROFILE", autocompletion=complete_profiles, help="Inherit from it."),
]
Serial = Annotated[str | None, typer.Option("--serial", metavar="SERIAL", help="The board's serial number.")]

UNSETTABLE = ("image", "root", "kernel-args", "loader", "eeprom-update", "dhcp-options", "profile", "serial")


@app.command()
def add(  # noqa: PLR0913 (each is an option of the command)
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A host name, or a range: 'n[01-12]'.")],
    *,
    mac: Macs = None,
    ip: Ip = None,
    image: Image = None,
    profile: ProfileName = None,
    root: Root = None,
    serial: Serial = None,
    kernel_args: KernelArgs = None,
    loader: Loader = None,
    eeprom_update: EepromUpdate = None,
    dhcp_option: DhcpOptions = None,
) -> None:
    """Register a machine, or one for each name of a range.

    Addresses count up from --ip, or come from a network's range: the one that --ip names as in 10.78.0.0/24,
    else the first. All are registered, or none.
    """
    head = Head.of(ctx)
    names = expand_names(name)
    cards = _cards(names, mac or [], name)
    networks = _drawn_from(head.served(), ip)
    addresses = _addresses(names, ip)
    if serial is not None and len(names) > 1:
        raise UserError("--serial is one board's, and a range names several", "add them one by one")
    number = serial_number(serial) if serial is not None else None
    check_serial(number, cards[0])
    with head.registry() as registry:
        bare = image is None and not _from_profile(registry, profile)
        present = head.images.names() if bare else []
        if len(present) == 1:
            image = present[0]
        requests = [
            NodeRequest(
                name=each,
                macs=cards[i],
                address=addresses[i],
                serial=number,
                profile=profile,
                settings=Settings(
                    image=image_name(image) if image is not None else None,
                    root=root,
                    kernel_args=kernel_arguments(kernel_args),
                    loader=loader_name(loader),
                    eeprom_update=eeprom_update,
                    dhcp_options=changed_options({}, dhcp_options(dhcp_option)),
                ),
            )
            for i, each in enumerate(names)
        ]
        nodes = registry.add_nodes(requests, networks, reserved_names())
    for node in nodes:
        say(f"registered {node.name}  {node.address}  {node.mac}  image {node.image or '-'}")
    if len(present) == 1:
        say(f"image {image} is the only one there is, so they get it")
    elif present:
        warn(f"no --image was given; `netbootctl node set {name} --image {'|'.join(present)}`")
    if not bring_up_to_date(head, f"{_so_many(nodes)} registered"):
        warn_of_missing_images(head, [node.image for node in nodes])
    warn_of_misfits(head, nodes)


@app.command("list")
def list_(
    ctx: typer.Context,
    as_json: Json = False,
    every: Annotated[bool, typer.Option("--all", help="Every setting, and where it comes from.")] = False,
) -> None:
    """Show the registered machines."""
    head = Head.of(ctx)
    with head.registry() as registry:
        nodes = registry.nodes()
        if not every:
            columns = {"name": "name", "address": "address", "macs": "mac", "image": "image", "root": "root"}
            if any(node.serial for node in nodes):
                columns["serial"] = "serial"
            if any(node.profile for node in nodes):
                columns["profile"] = "profile"
            empty = "no node is registered yet; `netbootctl node add n01 --mac MAC` registers one"
            return listing([record_of(node) for node in nodes], columns, as_json=as_json, empty=empty)
        profiles = {profile.name: profile for profile in registry.profiles()}
        records = [full_record(node, registry.own_settings(node.name), profiles) for node in nodes]
    if as_json:
        return listing(records, {}, as_json=True)
    rows = [
        {"node": record["name"], "setting": key, "value": value, "from": source}
        for record in records
        for key, value, source in setting_rows(record)
    ]
    return listing(rows, {"node": "node", "setting": "setting", "value": "value", "from": "from"})


@app.command()
def show(ctx: typer.Context, name: Name, as_json: Json = False) -> None:
    """Show everything about a node, and where each setting comes from."""
    head = Head.of(ctx)
    with head.registry() as registry:
        node = registry.node(host_name(name))
        profiles = {profile.name: profile for profile in registry.profiles()}
        record = full_record(node, registry.own_settings(node.name), profiles)
        booted = registry.booted().get(node.name)
        record["cores"] = registry.cores(node.name).get(node.name)
    record["booted"] = booted.label if booted else None
    record["booted_root"] = booted.root.value if booted else None
    root = standing(head, node, measured=True)
    record["persistent_root"] = root.record if root else None
    if as_json:
        return card(record, {}, as_json=True)
    shown: dict[str, Any] = {
        key: f"{value}" + (f"  ({source})" if source != "node" else "")
        for key, value, source in setting_rows(record)
    }
    shown |= {
        "cores": record["cores"],
        "booted": said(booted.label, booted.root, usual=True) if booted else None,
        **({"persistent root": str(root)} if root else {}),
    }
    return card(shown, {key: key for key in shown})


@app.command("set")
def set_(  # noqa: PLR0913 (each is an option of the command)
    ctx: typer.Context,
    name: Names,
    *,
    mac: Macs = None,
    ip: Ip = None,
    image: Image = None,
    profile: ProfileName = None,
    root: Root = None,
    serial: Serial = None,
    kernel_args: KernelArgs = None,
    loader: Loader = None,
    eeprom_update: EepromUpdate = None,
    dhcp_option: DhcpOptions = None,
    unset: Annotated[
        list[str] | None,
        typer.Option("--unset", metavar="SETTING", help=f"Leave it to the profile: {', '.join(UNSETTABLE)}."),
    ] = None,
) -> None:
    """Change a node; several at once where the setting can be shared."""
    head = Head.of(ctx)
    names = expand_names(name)
    changes = _unset(unset or [])
    given = {
        "macs": _cards(names[:1], mac, name)[0] if mac else None,
        "address": _address(ip) if ip is not None else None,
        "serial": serial_number(serial) if serial is not None else None,
        "image": image_name(image) if image is not None else None,
        "profile": profile,
        "root": root,
        "kernel_args": kernel_arguments(kernel_args),
        "loader": loader_name(loader),
        "eeprom_update": eeprom_update,
        "dhcp_options": dhcp_options(dhcp_option) or None,
    }
    changes |= {key: value for key, value in given.items() if value is not None}
    if not changes:
        raise UserError("nothing to set", "`netbootctl node set --help` lists what can be")
    if len(names) > 1 and (own := [key for key in ("macs", "address", "serial") if changes.get(key)]):
        raise UserError(f"{', '.join(own)}: no two nodes share it", "set them one by one")
    networks = head.served() if "address" in changes else ()
    with head.registry() as registry:
        for each in names:  # all of them exist, or nothing is changed
            node = registry.node(each)
            if changes.keys() & {"serial", "macs"}:
                check_serial(changes.get("serial", node.serial), changes.get("macs", node.macs))
        before = [registry.node(each) for each in names]
        nodes = [registry.set_node(each, changes, networks) for each in names]
        booted = registry.booted()
        _warn_of_own_images(registry, nodes, profile if image is None else None, name)
    for node in nodes:
        say(f"{node.name} changed: " + ", ".join(_change(key, node) for key in changes))
    pairs = list(zip(before, nodes, strict=True))
    later = [new.name for old, new in pairs if new.name in booted and _boots_else(old, new)]
    if later:
        say(f"{later[0]} takes it at its next boot" if len(later) == 1 else "each takes it at its next boot")
    for old, node in pairs:
        if kept := leaves_kept(head, old, node):
            say(kept)
    advise(head, nodes if {"image", "root", "profile"} & changes.keys() else (), warn)
    if not bring_up_to_date(head, f"{_so_many(nodes)} changed"):
        warn_of_missing_images(head, [node.image for node in nodes])
    warn_of_misfits(head, nodes)


@app.command()
def rename(
    ctx: typer.Context,
    old: Name,
    new: Annotated[str, typer.Argument(metavar="NEW", help="Another host name.", show_default=False)],
) -> None:
    """Give a node another name; its address, machine-id and SSH host keys stay."""
    head = Head.of(ctx)
    old, new = host_name(old), host_name(new)
    if old == new:
        raise UserError(f"{old} is to be called {new}: that is the same name", "give another")
    with head.registry() as registry:
        registry.rename_node(old, new, reserved_names())
    say(f"{old} is {new} now; it takes the name at its next boot")
    bring_up_to_date(head, f"{old} renamed to {new}")


@app.command()
def remove(
    ctx: typer.Context,
    name: Names,
    *,
    discard: Annotated[
        bool, typer.Option("--discard", help="Also what it changed in its persistent root.")
    ] = False,
) -> None:
    """Forget a node, or those of a range: all or none."""
    head = Head.of(ctx)
    names = expand_names(name)
    with head.registry() as registry:
        nodes = [registry.node(each) for each in names]
        roots = node_reset.to_discard(head, nodes, discard=discard)
        registry.remove_nodes(names)
    for machine_id in roots:
        order_reset(head.roots, machine_id)
    for node in nodes:
        say(f"removed {node.name}  {node.address}  {node.mac}")
    bring_up_to_date(head, f"{_so_many(nodes)} removed")


for command in (node_root.diff, node_root.promote, node_reset.reset):
    app.command()(command)


# Details


def _cards(names: list[str], given: list[str], written: str) -> list[tuple[Mac, ...]]:
    """For each name its cards: one for each of a range, all of them for a single name."""
    macs = [Mac(part) for text in given for part in text.split(",") if part.strip()]
    if not macs:
        raise UserError("a node is known by its network card", "pass --mac 52:54:00:12:34:56")
    if len(names) == 1:
        return [tuple(macs)]
    if len(macs) != len(names):
        raise UserError(
            f"{written} names {len(names)} nodes, --mac gave {len(macs)}", "give one for each, in their order"
        )
    return [(mac,) for mac in macs]


def _drawn_from(networks: tuple[Network, ...], ip: str | None) -> tuple[Network, ...]:
    """The networks that addresses may be of: where none is named, one whose range gives them out.

    A range that is full doesn't go on in another network's: that is another wire.
    """
    if ip is not None and "/" in ip:
        try:
            given = IPv4Interface(ip.strip())
        except ValueError:
            raise UserError(f"{ip[:40]!r} isn't a network", "write it as 10.77.0.0/24") from None
        if given.ip != given.network.network_address:
            raise UserError(f"{given} is an address with its prefix length", f"write {given.ip}")
        found = tuple(network for network in networks if network.subnet == given.network)
        if not found:
            known = ", ".join(str(network.subnet) for network in networks)
            raise UserError(f"{given} is no network served", f"one of {known}")
        return found
    return networks if ip is not None else tuple(n for n in networks if n.range)[:1] or networks


def _addresses(names: list[str], first: str | None) -> list[IPv4Address | None]:
    if first is None or "/" in first:
        return [None] * len(names)
    address = _address(first)
    try:
        return [address + i for i in range(len(names))]
    except AddressValueError:
        raise UserError(f"{len(names)} addresses from {address} on don't exist", "begin lower") from None


def _address(text: str) -> IPv4Address:
    try:
        return IPv4Address(text.strip())
    except ValueError:
        raise UserError(f"{text[:40]!r} isn't an IPv4 address", "write it as 10.77.0.10") from None


def _from_profile(registry: Registry, profile: str | None) -> bool:
    profiles = {each.name: each for each in registry.profiles()}
    return profile in profiles and bool(inherited("image", Settings(), profile, profiles)[0])


def _warn_of_own_images(registry: Registry, nodes: list[Node], profile: str | None, written: str) -> None:
    """Where `profile` gives an image, and nodes have one by themselves."""
    if not _from_profile(registry, profile):
        return
    own = sorted({image for node in nodes if (image := registry.own_settings(node.name).image) is not None})
    if own:
        hint = f"`netbootctl node set {written} --unset image`"
        warn(f"an image of its own goes before the profile's: {', '.join(own)}; {hint}")


def _so_many(nodes: list[Node]) -> str:
    return nodes[0].name if len(nodes) == 1 else f"{len(nodes)} nodes"


def _boots_else(old: Node, new: Node) -> bool:
    return (old.image, old.root, old.kernel_args) != (new.image, new.root, new.kernel_args)


def _unset(wishes: list[str]) -> dict[str, Any]:
    for wish in wishes:
        if wish not in UNSETTABLE:
            raise UserError(f"{wish[:40]!r} can't be unset", f"one of {', '.join(UNSETTABLE)}")
    return {wish.replace("-", "_"): None for wish in wishes}


def _change(key: str, node: Node) -> str:
    value = getattr(node, key)
    if key == "dhcp_options":
        return "DHCP options " + (", ".join(f"{k}={v}" for k, v in shown_options(value).items()) or "-")
    value = yes_or_no(value) if isinstance(value, bool) else value
    value = ", ".join(value) if isinstance(value, tuple) else value
    return f"{SETTINGS.get(key, key)} {value if value not in (None, '') else '-'}"
