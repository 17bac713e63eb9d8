"""`netbootctl setup`: netbootd.toml for this head node, from a few questions or from flags."""

import os
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from typing import Annotated, Any

import typer

from netbootd.config import load
from netbootd.ctl import accounts, proposals, questions, services
from netbootd.ctl.checks.rivals import heard
from netbootd.ctl.head import Head
from netbootd.ctl.questions import NONE, Asker
from netbootd.ctl.tables import console, say, warn
from netbootd.errors import ConfigError, HostError, UserError
from netbootd.links import Interface, interfaces
from netbootd.network import AddressRange, DhcpMode
from netbootd.render import Renderer

app = typer.Typer()
TEMPLATE = "netbootd.toml.j2"
PATIENCE = 4.0
"""Seconds; dnsmasq looks for three whether an address is in use before it offers it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What netbootd.toml is rendered from. `address` is set only to pin it."""

    interface: str
    address: str | None = None
    dhcp: str = "server"
    range: str | None = None
    pool: str | None = None
    router: str | None = None
    dns: tuple[str, ...] = ()
    domain: str | None = None
    lease_time: str | None = None
    authorized_keys: tuple[str, ...] = ()
    state_dir: str | None = None
    http_port: int | None = None
    nfs_server: str | None = None
    user: str | None = None
    shared: str | None = None

    def variables(self) -> dict[str, Any]:
        """For the template."""
        return {name: getattr(self, name) for name in self.__slots__}


@app.command(help="Write netbootd.toml for this head node.")
def setup(  # noqa: PLR0913 (each is an option of the command)
    ctx: typer.Context,
    *,
    interface: Annotated[
        str | None, typer.Option("--interface", metavar="IF", help="The wire with the nodes, as in eth1.")
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            "--address", metavar="IP/LEN", help="Its address, where it hasn't one yet: 10.77.0.1/24."
        ),
    ] = None,
    dhcp: Annotated[str | None, typer.Option("--dhcp", metavar="MODE", help="server, proxy or off.")] = None,
    range_: Annotated[
        str | None, typer.Option("--range", metavar="FIRST-LAST", help="Addresses for nodes.")
    ] = None,
    pool: Annotated[
        str | None,
        typer.Option("--pool", metavar="FIRST-LAST", help="Addresses for machines not registered, or none."),
    ] = None,
    router: Annotated[
        str | None, typer.Option("--router", metavar="IP", help="The nodes' way out, or none.")
    ] = None,
    dns: Annotated[
        str | None, typer.Option("--dns", metavar="IP,IP", help="The nodes' name servers, or none.")
    ] = None,
    domain: Annotated[
        str | None, typer.Option("--domain", metavar="NAME", help="Of the nodes' names, or none.")
    ] = None,
    lease_time: Annotated[
        str | None, typer.Option("--lease-time", metavar="12h", help="In the pool.")
    ] = None,
    authorized_key: Annotated[
        list[Path] | None,
        typer.Option("--authorized-key", metavar="FILE", help="A public key that may log in; repeat it."),
    ] = None,
    state_dir: Annotated[
        str | None, typer.Option("--state-dir", metavar="DIR", help="Images and registry.")
    ] = None,
    http_port: Annotated[
        int | None, typer.Option("--http-port", metavar="PORT", help="Instead of 80.")
    ] = None,
    nfs: Annotated[str | None, typer.Option("--nfs", metavar="SERVER", help="kernel or ganesha.")] = None,
    user: Annotated[
        str | None,
        typer.Option("--user", metavar="NAME", help="Who works on all nodes, made if need be; or none."),
    ] = None,
    shared: Annotated[
        str | None,
        typer.Option("--shared", metavar="DIR", help="What all nodes mount, /srv/shared say; or none."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing: take what is proposed.")] = False,
) -> None:
    """Ask for what can't be read off this machine, show the file, and write it."""
    path = Head.of(ctx).path
    asks = not yes and sys.stdin.isatty() and sys.stdout.isatty()
    if not asks and not yes:
        raise UserError(
            "setup asks questions, and this is no terminal", "pass --yes, and flags for what differs"
        )
    ask = Asker(asks)
    way_out = proposals.default_route(_read(proposals.ROUTES))
    link = ask.interface(interfaces(), interface, way_out[0] if way_out else None)
    home = ask.address(link, address)
    mode = dhcp or _mode(ask, link, home)
    gateway = ask.setting("router", router, proposals.router(home, way_out), IPv4Address)
    span, spare = proposals.ranges(home, gateway)
    others = f"addresses for machines not registered (free: {spare or NONE})"
    resolvers = ",".join(map(str, proposals.name_servers(gateway)))
    dns = ask.setting("name servers", dns, resolvers, questions.addresses)
    keys = [str(key.absolute()) for key in authorized_key or proposals.public_keys()]
    answers = Answers(
        interface=link.name,
        address=None if home in link.addresses[:1] else str(home),
        dhcp=mode,
        range=ask.setting("addresses for nodes", range_, span, AddressRange.parse),
        # A proxy lends no addresses.
        pool=ask.setting(others, pool, None, AddressRange.parse) if pool or mode == "server" else None,
        router=gateway,
        dns=tuple(part.strip() for part in (dns or "").split(",") if part.strip()),
        domain=ask.setting("domain of the nodes' names", domain, "cluster", str),
        lease_time=lease_time,
        authorized_keys=tuple(keys),
        state_dir=state_dir,
        http_port=http_port,
        nfs_server=ask.setting("NFS server", nfs, proposals.nfs_server(), questions.nfs_server),
        # Whose home nodes may write to isn't for us to say: unasked it is nobody's.
        user=ask.setting("user who works on all nodes", user, None, questions.user_name),
        shared=ask.setting("directory that all nodes share", shared, None, questions.shared_directory),
    )
    text = _checked(answers, home)
    _show(path, text)
    for remark in _remarks(link, home, way_out, keys, mode):
        warn(remark)
    if _read(path) == text:
        say(f"{path} is like that already")
    else:
        keep = path.exists() and _read(path) != Renderer().render(TEMPLATE)  # as it was installed: nobody's
        if keep:
            say(f"{path} exists; it is kept as {path}.bak")
        if asks and not typer.confirm(f"write {path}?", default=True):
            raise UserError("nothing was written")
        _write(path, text, keep=keep)
        say(f"wrote {path}")
    if answers.user and accounts.make(answers.user):
        say(f"made the user {answers.user}")
    services.start(path, answers.nfs_server or "kernel")
    if mode == "proxy":
        say(
            "the other DHCP server has to have your nodes' addresses reserved:"
            " `netbootctl why NAME` prints the lines for it"
        )
    say("next: netbootctl image build debian")


# The other DHCP server


def _mode(ask: Asker, link: Interface, home: IPv4Interface) -> str:
    """What netbootd is to be on this wire: beside another DHCP server a proxy, else the server."""
    others = _others(link, home)
    if not others:
        return DhcpMode.SERVER
    say(f"  another DHCP server answers on {link.name}: {' and '.join(map(str, others))}")
    say("  proxy: it goes on giving the addresses, netbootd says what to boot; server: switch it off first")
    return ask.setting("DHCP (server, proxy, off)", None, DhcpMode.PROXY, questions.dhcp_mode) or DhcpMode.OFF


def _others(link: Interface, home: IPv4Interface) -> list[IPv4Address]:
    """The other servers that can be heard there; only root can listen, and only where there is a link."""
    if not (link.up and link.carrier and os.geteuid() == 0):
        return []
    say(f"  listening on {link.name} for another DHCP server, {PATIENCE:.0f} s")
    try:
        return sorted({rival.address for rival in heard([link], PATIENCE)} - {home.ip})
    except OSError:
        return []


# The file


def _checked(answers: Answers, home: IPv4Interface) -> str:
    """The file's text, once netbootd itself has read it. Raises ConfigError with all that is wrong."""
    renderer = Renderer()
    # With the address in it, so that a pool outside the network is found beside all other faults.
    pinned = replace(answers, address=str(home))
    with tempfile.TemporaryDirectory() as directory:
        trial = Path(directory) / "netbootd.toml"
        trial.write_text(renderer.render(TEMPLATE, **pinned.variables()), encoding="utf-8")
        try:
            load(trial)
        except ConfigError as error:
            problems = tuple(_without_line(problem) for problem in error.problems) or (error.message,)
            raise ConfigError("these settings can't be used", problems, "change them and try again") from None
    return renderer.render(TEMPLATE, **answers.variables())


def _without_line(problem: str) -> str:
    """The line is one of a file that nobody has seen."""
    return re.sub(r"^line \d+: ", "", problem)


def _show(path: Path, text: str) -> None:
    """The settings without the explanations."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    shown = [
        line
        for line, following in zip(lines, [*lines[1:], "["], strict=True)
        if not (line.startswith("[") and following.startswith("["))
    ]
    say("")
    say(f"{path}:")
    for line in shown:
        if sys.stdout.isatty():
            console().print(f"    {line}", style="cyan")
        else:
            say(f"    {line}")
    say("")


def _remarks(
    link: Interface, home: IPv4Interface, way_out: tuple[str, IPv4Address] | None, keys: list[str], mode: str
) -> list[str]:
    remarks = []
    if way_out and way_out[0] == link.name and mode == "server":
        remarks.append(
            f"{link.name} leads to the world; is another DHCP server there? `netbootctl doctor` looks for one"
        )
    if home not in link.addresses:
        remarks.append(f"{link.name} hasn't that address yet; `ip address add {home} dev {link.name}`")
    if not keys:
        remarks.append("no public key of yours in ~/.ssh: only root of this machine can log in to nodes")
    return remarks


def _write(path: Path, text: str, *, keep: bool) -> None:
    """Put it in its place in one step, on the disk when this returns; `keep` the old one as .bak."""
    try:
        path = path.resolve()
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.new")
        with beside.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.chmod(0o644)
        if keep:
            shutil.copy2(path, path.with_name(f"{path.name}.bak"))
        beside.rename(path)
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(directory)
        os.close(directory)
    except OSError as error:
        raise HostError(f"can't write {path}: {error.strerror}", "run it as root") from error


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
