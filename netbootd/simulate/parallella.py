"""A Parallella without a card: U-Boot of 2015, static addresses, uEnv.txt over and over. Pure.

include/configs/adapteva_parallella.h and zynq-common.h of parallella-uboot: `tftpboot` loads uEnv.txt from
10.11.12.1, imports it, runs tftpboot_stage2, and begins anew. `dhcp` there changes the board's address, not
its server's (CONFIG_BOOTP_SERVERIP).
"""

import re
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Interface

from netbootd.dhcp.wire import Message
from netbootd.simulate import discovers, kernel, tftp, uboot
from netbootd.simulate.contents import Kind
from netbootd.simulate.play import Booted, Lease, Loaded, Machine, Play, WontBoot, configure, tell
from netbootd.simulate.tftp import Missing

ADDRESS = IPv4Interface("10.11.12.13/8")
SERVER = IPv4Address("10.11.12.1")
BLANK_MAC = "04:4f:8b:00:00:00"
FIRST = "uEnv.txt"
MOST_ROUNDS = 4
MOST_COMMANDS = 200
_MOST_NESTED = 16


class _FailedError(Exception):
    """A command of a list joined by && failed; the argument says what."""


def boot(machine: Machine) -> Play[Booted]:
    """Rounds of uEnv.txt until something boots."""
    machine.who, machine.architecture = "U-Boot", "arm"
    nothing = Message(op=2, xid=0, chaddr=machine.mac)
    machine.lease = Lease(address=ADDRESS, router=None, server=SERVER, bootfile="", answer=nothing)
    yield from configure(ADDRESS, None)
    if machine.mac == BLANK_MAC:
        machine.caution(f"a blank board has the MAC {BLANK_MAC}, as every other blank one")
    board = _Board(machine)
    for _ in range(MOST_ROUNDS):
        booted = yield from board.round()
        if booted is not None:
            return booted
    raise WontBoot(board.failed or "tftpboot_stage2 never boots", "see uEnv.txt")


class _Board:
    """The environment and what was loaded where."""

    def __init__(self, machine: Machine) -> None:
        self.failed = ""
        self._machine = machine
        self._habits = uboot.habits_of(machine, uboot.ARM32)
        self._loaded: dict[str, Loaded] = {}
        self._environment = {"serverip": str(SERVER), "ipaddr": str(ADDRESS.ip)}
        self._left = MOST_COMMANDS

    def round(self) -> Play[Booted | None]:
        """Load and import uEnv.txt, run what it defines."""
        found = yield from tftp.read(self._machine, self._habits, self._server, FIRST, does="imports it")
        if isinstance(found, Missing):
            raise WontBoot(
                f"{FIRST} from {self._server}: {found.why}",
                f"give the head node's interface {SERVER} besides, or boot from a card with current U-Boot",
            )
        for line in found.content.decode("ascii", "replace").splitlines():
            name, given, value = line.partition("=")
            if given and not line.lstrip().startswith("#"):
                self._environment[name.strip()] = value
        if "tftpboot_stage2" not in self._environment:
            raise WontBoot(f"{FIRST} doesn't define tftpboot_stage2, which the board runs", "define it there")
        _, booted = yield from self._run("tftpboot_stage2", 0)
        return booted

    @property
    def _server(self) -> IPv4Address:
        try:
            return IPv4Address(self._environment["serverip"])
        except ValueError:
            raise WontBoot("uEnv.txt sets a serverip that is no address", "mend it") from None

    def _run(self, name: str, depth: int) -> Play[tuple[bool, Booted | None]]:
        """Run a variable: whether its last command succeeded, and what booted."""
        good = True
        for joined, words in _commands(self._environment.get(name, "")):
            if (joined == "&&" and not good) or (joined == "||" and good):
                continue
            expanded = [self._expand(word) for word in words]
            if expanded[0] == "run" and depth < _MOST_NESTED:
                for inner in expanded[1:]:
                    good, booted = yield from self._run(inner, depth + 1)
                    if booted is not None:
                        return good, booted
                continue
            try:
                outcome = yield from self._command(expanded)
            except _FailedError as error:
                self.failed, good = str(error), False
                continue
            if outcome is not None:
                return True, outcome
            good = True
        return good, None

    def _command(self, words: list[str]) -> Play[Booted | None]:
        self._left -= 1
        if self._left < 0:
            raise WontBoot(self.failed or "uEnv.txt runs in circles", "see uEnv.txt")
        match words:
            case ["tftpboot" | "tftp", address, name]:
                found = yield from tftp.read(self._machine, self._habits, self._server, name, does="loads it")
                if isinstance(found, Missing):
                    raise _FailedError(f"{name}: {found.why}")
                self._loaded[_number(address)] = found
                self._environment["filesize"] = f"{found.size:x}"
            case ["setenv", name, *value] | ["env", "set", name, *value]:
                self._environment[name] = " ".join(value)
            case ["dhcp"]:
                yield from self._dhcp()
            case ["bootz" | "bootm", *places] if places:
                return self._boot(places)
            case ["pxe" | "booti" | "sysboot" as name, *_]:
                raise _FailedError(f"this U-Boot of 2015 has no {name}")
            case ["false", *_]:
                raise _FailedError("false")
        return None

    def _dhcp(self) -> Play[None]:
        def write(xid: int, offer: discovers.Options | None) -> bytes:
            return discovers.uboot_2015(self._machine.mac, xid, offer)

        leased = yield from uboot.lease(self._machine, write)
        # It ARPs for 10.11.12.1 though that lies in another network, having no other way to it.
        yield from configure(leased.address, leased.router, direct=True)
        self._environment["ipaddr"] = str(leased.address.ip)
        if self._environment.get("autoload") != "no":
            name = self._environment.get("bootfile") or f"{int(leased.address.ip):08X}.img"
            found = yield from tftp.read(self._machine, self._habits, self._server, name, does="loads it")
            if isinstance(found, Missing):
                raise _FailedError(f"{name}: {found.why}")
        else:
            yield from tell(self._machine, "autoload is no", str(leased.address), "loads nothing yet")

    def _boot(self, places: list[str]) -> Booted:
        files = [self._loaded.get(_number(place.split(":")[0])) for place in places]
        image, initrd, tree = [*files, None, None][:3]
        if image is None or (None in files and "-" not in places):
            raise WontBoot(f"bootz {' '.join(places)}: nothing was loaded there", "load it to where it boots")
        line = self._environment.get("bootargs", "")
        return kernel.start(self._machine, image, initrd, line, tree, also=(Kind.UIMAGE, Kind.FIT))

    def _expand(self, word: str) -> str:
        def value(match: re.Match[str]) -> str:
            return self._environment.get(match.group(1) or match.group(2), "")

        return re.sub(r"\$\{(\w+)\}|\$(\w+)", value, word).strip("'\"")


def _commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """Each command with what joins it to the one before."""
    joined = ""
    for part in re.split(r"(;|&&|\|\|)", text):
        if part in (";", "&&", "||"):
            joined = part
        elif words := part.split():
            yield joined, words


def _number(text: str) -> str:
    return text.lower().removeprefix("0x").lstrip("0")
