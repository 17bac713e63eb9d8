"""Which command is in which module. Only the module of the command that was called is loaded.

`netbootctl node list` then starts in a quarter of a second, though `explain` knows of DHCP and `doctor` of
everything. The short helps stand here, so that `--help` and completion load nothing either.
"""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from typer.core import TyperGroup
from typer.main import get_command

from netbootd.errors import UserError

DEFAULT_CONFIG = Path("/etc/netbootd/netbootd.toml")

COMMANDS: dict[str, tuple[str, str]] = {
    "setup": ("setup", "Write netbootd.toml for this head node."),
    "image": ("image", "Build, import and choose what nodes boot."),
    "node": ("node", "Register machines and see who they are."),
    "profile": ("profile", "Settings that nodes share."),
    "export": ("export", "Write the whole registry as YAML or CSV."),
    "import": ("import_", "Register what a file names: YAML, CSV, or dnsmasq's, ISC dhcpd's, Kea's."),
    "status": ("status", "How far each node has come, and what is missing."),
    "why": ("why", "Follow a machine's last boot: where it stopped, and what to check."),
    "explain": ("explain", "What a machine would be told, file by file, without a packet on the wire."),
    "simulate": ("simulate", "Play a board against this network's head node: would it boot?"),
    "apply": ("apply", "Bring node files, exports and the head node's own files up to date."),
    "template": ("template", "What nodes' files and boot scripts are made from."),
    "doctor": ("doctor", "Look for what keeps nodes from booting; each finding with what mends it."),
}
"""Command -> its module here, its help in a line. In the order in which a newcomer needs them."""


class _Nouns(TyperGroup):
    """Loads a command's module when the command is called; lists them from the table above."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        listed = typer.Typer(name=cmd_name, add_completion=False)
        listed.command(name=cmd_name, help=COMMANDS[cmd_name][1])(_listed_only)
        return get_command(listed)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] in COMMANDS:
            module = import_module(f"netbootd.ctl.{COMMANDS[args[0]][0]}")
            command = get_command(module.app)
            command.name = args[0]
            _tidy(command)
            return args[0], command, args[1:]
        return super().resolve_command(ctx, args)


INTERRUPTED = 130
"""What newer versions of typer make of Ctrl-C: 128 + SIGINT, as a shell has it."""
_USAGE: type[Exception] = cast(type[Exception], typer.BadParameter.__mro__[2])
"""What typer raises for a command line that it can't take, whether it brings click with it or imports it."""

app = typer.Typer(name="netbootctl", cls=_Nouns, rich_markup_mode="rich", invoke_without_command=True)


def _tidy(command: Any) -> None:
    """Leave what installs completion to `netbootctl --help`, and breaking lines to the terminal."""
    completion = ("install_completion", "show_completion")
    command.params = [each for each in command.params if each.name not in completion]
    command.help = "\n\n".join(" ".join(each.split()) for each in (command.help or "").split("\n\n"))
    for each in getattr(command, "commands", {}).values():
        _tidy(each)


def _listed_only() -> None:
    """Stands in a listing; never called."""


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # noqa: PLC0415 (50 ms that no other command has to pay)

        typer.echo(f"netbootd {version('netbootd')}")
        raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context,
    config: Annotated[
        Path, typer.Option("--config", metavar="FILE", help="The head node's configuration.")
    ] = DEFAULT_CONFIG,
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which netbootd this is.")
    ] = False,
) -> None:
    """One head node, machines without disks: name them, give them an image, watch them boot."""
    ctx.obj = config
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line (default: the process's own); returns the exit status, raises NetbootdError."""
    try:
        status = get_command(app).main(
            list(arguments) if arguments is not None else None, prog_name="netbootctl", standalone_mode=False
        )
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):  # typer's own way with it is a plain 1
            raise ended.__context__ from None
        raise
    except typer.Abort:
        raise UserError("nothing was done") from None
    except _USAGE as error:
        raise _usage(error) from None
    if status == INTERRUPTED:
        raise KeyboardInterrupt
    return status if isinstance(status, int) else 0


def _usage(error: Any) -> UserError:
    """Typer's complaint about the command line, in one line that says where the help is."""
    command = error.ctx.command_path if error.ctx else "netbootctl"
    message = " ".join(error.format_message().replace("Value error, ", "").split()).rstrip(".")
    return UserError(message[:1].lower() + message[1:], f"`{command} --help` shows how")
