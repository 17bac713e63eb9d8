"""The files that a Raspberry Pi's boot loader asks for, and whose they are.

    [PREFIX/]config.txt, cmdline.txt          rendered for the node
    [PREFIX/]cmdline-N.txt, vmlinuz-N, initrd-N   of generation N: the names that config.txt has for them
    [PREFIX/]start4.elf, *.dtb, overlays/…    the image's firmware files; a start file may be the head node's

PREFIX is the board's serial number (8 or 16 digits), its MAC address (TFTP_PREFIX=2), or any text
(TFTP_PREFIX=1). Who asks is known by its address. Where a serial number or MAC in the path is another node's,
the path yields nothing at all: then the board drops the prefix (eeprom-bootloader.adoc, TFTP_PREFIX) and asks
without one. It may do so only if it has neither start4.elf nor config.txt under it, so a prefix is answered
for every file or for none.

pieeprom.* and the like write a new boot loader into the board, with the settings that are in them: stock ones
have a BOOT_ORDER without the network. So only what somebody laid on the image's boot partition is given, and
only to a node whose `eeprom_update` is set.

A loader probes for a dozen files that are seldom there, some of them six times: no news, each.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

from netbootd.boot.answer import Denied, File, Located, NotFound, Rendered
from netbootd.boot.cmdline import has_console
from netbootd.boot.visit import Visit, kernel_of, mac_in, rendered
from netbootd.errors import UserError
from netbootd.image import Generation
from netbootd.node import Mac, Node, same_serial
from netbootd.stage import Stage
from netbootd.variables import given

CONSOLES = "console=serial0,115200 console=tty1"
"""The loader puts the board's serial port in the place of serial0."""
CONFIGURATION = "config.txt"
LONGEST_PREFIX = 32
"""Characters of TFTP_PREFIX_STR."""
_SERIAL = re.compile(r"[0-9a-f]{8}(?:[0-9a-f]{8})?", re.IGNORECASE)
_DASHED_MAC = re.compile(r"[0-9a-f]{2}(?:-[0-9a-f]{2}){5}", re.IGNORECASE)
_COMMAND_LINE = re.compile(r"cmdline(?:-([1-9][0-9]{0,8}))?\.txt")
_KERNEL = re.compile(r"(vmlinuz|initrd)(?:-([1-9][0-9]{0,8}))?")
_START = re.compile(r"bootcode\.bin|start[\w-]*\.elf|fixup[\w-]*\.dat")
_TREE = re.compile(r"bcm2[\w-]+\.dtb")
_EEPROM = re.compile(r"(?:pieeprom|vl805)\.(?:sig|upd|bin)|recovery\.bin")
_OTHERS = re.compile(
    r"bootsig\.bin|(?:autoboot|bootcfg|tryboot)\.txt|recover(?:y|4)?\.elf|recovery[\w-]*\.img|dt-blob\.bin"
    r"|kernel[\w-]*\.img|initramfs[\w-]*|armstub[\w-]*\.bin|overlays/[\w.-]+|boot\.(?:img|sig)"
)
"""Names that no other firmware asks for: by them a path without a prefix is known."""
_OF_UBOOT = "dtb"
"""Where U-Boot asks for a device tree in its pass as EFI, on a Raspberry Pi by the same name as the board."""
_NOBODYS = (0, 0x44444444, 0xFFFFFFFF)
"""Numbers that no board has: not set, the Pi 3B's constant, erased."""
_TELLING = ("start.elf", "start4.elf", "config.txt")
"""What a board asks for under its own serial number before anything else."""
CARDS = ("28:cd:c1:", "2c:cf:67:", "88:a2:9e:", "b8:27:eb:", "d8:3a:dd:", "dc:a6:32:", "e4:5f:01:")
"""How the addresses of Raspberry Pi's network cards begin (IEEE's list, Raspberry Pi Foundation and Ltd)."""
_NOT_YOURS = "not for this board"


class _Asked(NamedTuple):
    prefix: str
    name: str


def locate(visit: Visit) -> Located | None:
    """What a Pi's path yields; None for a path that no Pi asks for."""
    asked = _read(visit.parts)
    if asked is None:
        return None
    node = _who(visit, asked)
    if not isinstance(node, Node):
        if asked.name == "bootcode.bin" and isinstance(node, NotFound):
            return _start_file(visit, None, asked.name)
        return node
    if asked.name == CONFIGURATION or _COMMAND_LINE.fullmatch(asked.name):
        return _configuration(visit, node, asked.name)
    if _EEPROM.fullmatch(asked.name) and not node.eeprom_update:
        hint = f"`netbootctl node set {node.name} --eeprom-update` hands it out"
        return NotFound(reason=f"no new boot loader is given unasked; {hint}", probe=True)
    return _file(visit, node, asked.name)


def serial_in(parts: tuple[str, ...]) -> str | None:
    """The serial number in the first path that a board asks for; None in all others."""
    match parts:
        case (first, name) if name in _TELLING and _SERIAL.fullmatch(first):
            return serial_in_use(first.lower())
    return None


def serial_in_use(digits: str) -> str | None:
    """`digits` if a board can have this serial number."""
    return None if int(digits, 16) in _NOBODYS else digits


def check_serial(serial: str | None, macs: Iterable[Mac]) -> None:
    """Raises UserError for a serial number that a board with one of these cards can't have."""
    if serial is None or _SERIAL.fullmatch(serial):
        return
    if pis := [mac for mac in macs if mac.startswith(CARDS)]:
        raise UserError(
            f"{serial!r} is no Raspberry Pi's serial number, and {pis[0]} is a Raspberry Pi's card",
            "write 8 or 16 hexadecimal digits, as its /proc/cpuinfo and its boot screen have them",
        )


def no_start_file(generation: Generation) -> str:
    """What to do where neither image nor head node has a Pi's start files."""
    return (
        f"image {generation.image} has no start4.elf, and neither has the head node;"
        " `apt install raspi-firmware` brings it (Debian's non-free-firmware; on a PC with Debian 12,"
        " unpack the package's /usr/lib/raspi-firmware to /usr/local/lib instead)"
    )


def _read(parts: tuple[str, ...]) -> _Asked | None:
    if not parts or parts[0] == _OF_UBOOT:
        return None
    first, *rest = parts
    if rest and (_SERIAL.fullmatch(first) or _DASHED_MAC.fullmatch(first)):
        return _Asked(first.lower(), "/".join(rest))
    length = 2 if parts[-2:-1] == ("overlays",) else 1
    prefix, name = "/".join(parts[:-length]), "/".join(parts[-length:])
    patterns = (_COMMAND_LINE, _KERNEL, _START, _TREE, _EEPROM, _OTHERS)
    known = name == CONFIGURATION or any(pattern.fullmatch(name) for pattern in patterns)
    return _Asked(prefix, name) if known and len(prefix) <= LONGEST_PREFIX else None


def _who(visit: Visit, asked: _Asked) -> Node | NotFound | Denied:
    """Whose board asks: by its address, unless the prefix says otherwise."""
    mine, named = visit.node, None
    if _SERIAL.fullmatch(asked.prefix):
        named = visit.view.node_by_serial(asked.prefix)
    elif card := mac_in(asked.prefix) if _DASHED_MAC.fullmatch(asked.prefix) else None:
        named = visit.view.node_by_mac(card)
        if mine and named is None:
            return Denied(reason=f"{mine.name} has no network card {card}", told=_NOT_YOURS)
    if mine is None:
        return named or NotFound(reason="it is nobody's: no node is known by that path or address")
    if named is not None and named.name != mine.name:
        return Denied(
            reason=f"{asked.prefix} is {named.name}'s, and {mine.name} asks; if their boards were swapped,"
            " `netbootctl node set` gives each its --serial and --mac",
            told=_NOT_YOURS,
        )
    serial = asked.prefix if _SERIAL.fullmatch(asked.prefix) else None
    if serial and mine.serial and not same_serial(mine.serial, serial):
        return Denied(
            reason=f"{mine.name} has serial {mine.serial}, and its board says {serial}; if the board was"
            f" replaced: `netbootctl node set {mine.name} --serial {serial}`",
            told=_NOT_YOURS,
        )
    return mine


def _configuration(visit: Visit, node: Node, name: str) -> Located:
    """A command line by its number, so that kernel and root belong together, as in _kernel."""
    line = _COMMAND_LINE.fullmatch(name)
    template = "cmdline.txt" if line else name
    number = int(line[1]) if line and line[1] else None
    found = rendered(visit, node, f"boot/raspberrypi/{template}.j2", number)
    if not isinstance(found, Rendered):
        return found
    generation = found.variables["generation"]
    assert isinstance(generation, Generation)  # noqa: S101 (visit.kernel_of puts it there)
    variables = {**found.variables, **given(own_variables(node, generation))}
    return replace(found, variables=variables, packing=partial(_ascii, found.template))


@dataclass(frozen=True, slots=True, kw_only=True)
class PiVariables:
    """What a Raspberry Pi's own configuration is given besides."""

    kernel: str
    """The kernel's name for the board's own loader, with the generation's number."""
    initrd: str
    """The initrd's, likewise."""
    cmdline: str
    """That of the file with the command line, likewise."""
    consoles: str
    """`console=` words for the command line; empty where image or node say their own."""


def own_variables(node: Node, generation: Generation) -> PiVariables:
    """What templates under boot/raspberrypi/ are given besides BootVariables."""
    return PiVariables(
        kernel=f"vmlinuz-{generation.number}",
        initrd=f"initrd-{generation.number}",
        cmdline=f"cmdline-{generation.number}.txt",
        consoles="" if has_console(node, generation) else CONSOLES,
    )


def _ascii(template: str, text: str) -> bytes:
    """The loader stops reading at any other character, without a word."""
    try:
        return text.encode("ascii")
    except UnicodeEncodeError as error:
        line = text.count("\n", 0, error.start) + 1
        raise UserError(
            f"template {template} renders to {text[error.start]!r} in line {line}",
            "a Raspberry Pi's boot loader reads ASCII only: write it without",
        ) from None


def _file(visit: Visit, node: Node, name: str) -> Located:
    facts = kernel_of(visit, node)
    if isinstance(facts, NotFound):
        return facts
    generation = facts["generation"]
    assert isinstance(generation, Generation)  # noqa: S101 (visit.kernel_of puts it there)
    if match := _KERNEL.fullmatch(name):
        return _kernel(visit, generation, match[1], int(match[2] or generation.number))
    if _START.fullmatch(name):
        return _start_file(visit, generation, name)
    absent = NotFound(reason="no such file", probe=not name.endswith(".dtbo"))
    if _TREE.fullmatch(name):
        hint = "its kernel may be older than the board"
        absent = NotFound(reason=f"image {generation.label} has no device tree {name}: {hint}", missing=True)
    return File(root=generation.boot / "firmware", name=name, stage=None, absent=absent)


def _kernel(visit: Visit, current: Generation, kind: str, number: int) -> Located:
    """By its number, so that kernel and initrd belong together, whatever becomes current meanwhile."""
    generation = visit.view.generation(current.image, number)
    if generation is None:
        return NotFound(reason=f"there is no {current.image}@{number}", missing=True)
    if kind == "initrd":
        return File(root=generation.boot, name="initrd", stage=Stage.INITRD)
    return File(root=generation.boot / "firmware", name="vmlinuz", stage=Stage.KERNEL)


def _start_file(visit: Visit, generation: Generation | None, name: str) -> Located:
    """The image's, else the head node's: start files and their fixups only fit together."""
    stage = None if name.startswith("fixup") else Stage.LOADER
    if generation is not None and generation.firmware:
        return File(root=generation.boot / "firmware", name=name, stage=stage)
    ours = visit.view.loader("start4.elf")
    if ours is not None:
        return File(root=ours.parent, name=name, stage=stage)
    if generation is None:
        return NotFound(reason="the head node has no bootcode.bin; `apt install raspi-firmware` brings it")
    return NotFound(reason=no_start_file(generation), missing=True)
