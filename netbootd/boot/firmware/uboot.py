"""U-Boot on ARM and RISC-V boards, with its own network stack or lwIP's.

What it boots by depends on its `bootcmd`, which we can't see. All ways lead to the same three files:

boot.scr.uimg              a script: `dhcp ${scriptaddr} boot.scr.uimg; source`, distro boot's first try
pxelinux.cfg/01-MAC …      an extlinux.conf, by `pxe get; pxe boot`
uEnv.txt                   a Parallella without a card asks for nothing else

The boot file that is announced is the script too. Whoever loads it because `dhcp` loads what it is told has
lost one packet, and its directory is none, so `pxe get` asks for pxelinux.cfg/ at the top.

In its pass as EFI (60 PXEClient:Arch:00011) U-Boot starts the boot file as a program. It gets GRUB or iPXE
for its processor where the head node has one. Else the script again, which fails at once and leaves the turn
to the next way. `bootflow scan` with `dhcp` but no `pxe` in boot_targets has no next way (bootmeth_pxe.c).

Evidence: net/bootp.c and net/lwip/dhcp.c of U-Boot 2015.04 to 2026.10, and tests/captures/uboot-*.pcap.
Classic U-Boot reads the boot file from the header's `file` and the server from siaddr, ignores 66, and takes
no offer without an address: a proxyDHCP server can't boot it.
"""

import struct
import zlib
from dataclasses import replace

from netbootd.boot.answer import File, Located, NetBoot, NotFound, Rendered, Wait
from netbootd.boot.client import Client
from netbootd.boot.firmware import pxelinux_cfg, uefi
from netbootd.boot.firmware.choice import X86
from netbootd.boot.firmware.family import Booting, Family, is_pxe
from netbootd.boot.visit import Visit, rendered
from netbootd.node import Node
from netbootd.stage import Stage

SCRIPT = "boot.scr.uimg"
SCRIPTS = (SCRIPT, "boot.scr")
"""What boot_script_dhcp is in most boards' environments, and what some have instead."""
_OPTION_PXE_CONFIG = 209
_CLIENT_ID = 61
_BIOS = 0

_CLASSIC_SIZE = 576
_CLASSIC_ASKS = frozenset((1, 2, 3, 6, 12, 13, 17, 40, 42, 209))
"""Option 55 by what was compiled in (a Parallella's: 3, 12, 17); udhcpc has 15 and 28 besides."""
_LWIP_SIZE = 1500
_LWIP_ASKS = ((1, 3, 28), (1, 3, 28, 6), (1, 3, 28, 42), (1, 3, 28, 6, 42))
_LWIP_SENDS = frozenset((50, 53, 54, 55, 57))

_LONGEST_APPEND = 1023
"""boot/pxe_utils.c copies APPEND into CONFIG_SYS_CBSIZE octets, 1024 on most boards, else fails the label."""

RUNS = {0x15: ("armv7l", "armv6l"), 0x16: ("aarch64",), 0x1B: ("riscv64",)}
"""Option 93 -> the images that it can start, in uname's words; others, and 0xffff, tell nothing."""
_RUNS_SOMEWHERE = tuple(architecture for runs in RUNS.values() for architecture in runs)


# ---- who is it


def _recognises(client: Client) -> bool:
    return client.vendor_class.startswith("U-Boot") or _is_classic(client) or _is_lwip(client)


def _is_classic(client: Client) -> bool:
    """By the form of its request: with 60 `PXEClient:Arch:00011` in its pass as EFI, without any in 2015."""
    asks = client.parameter_request_list
    as_efi = is_pxe(client) and client.architecture not in (None, _BIOS)
    return (
        (as_efi or not client.vendor_class)
        and client.maximum_size == _CLASSIC_SIZE
        and len(asks) > 1
        and _CLASSIC_ASKS.issuperset(asks)
        and _CLIENT_ID not in client.sent
    )


def _is_lwip(client: Client) -> bool:
    """lwIP sends no more than it must. What else has lwIP inside isn't registered with an image."""
    return (
        client.maximum_size == _LWIP_SIZE
        and client.parameter_request_list in _LWIP_ASKS
        and _LWIP_SENDS.issuperset(client.sent)
    )


# ---- what is it told


def _announce(booting: Booting) -> NetBoot | Wait:
    client, generation = booting.client, booting.generation
    if is_pxe(client) and isinstance(program := uefi.FAMILY.announce(booting), NetBoot):
        return replace(program, firmware="uboot", reason=f"U-Boot as EFI: {program.reason}", options={})
    runs = RUNS.get(client.architecture or 0)
    if generation.architecture not in (runs or _RUNS_SOMEWHERE):
        return Wait(
            firmware="uboot",
            reason=f"{generation.label} is for {generation.architecture}, and a U-Boot for"
            f" {runs[0] if runs else 'ARM or RISC-V'} asks;"
            f" `netbootctl node set {booting.node.name} --image NAME` gives it another",
        )
    options = {}
    if _OPTION_PXE_CONFIG in client.parameter_request_list:
        config = f"{pxelinux_cfg.DIRECTORY}/{pxelinux_cfg.ETHERNET}{client.mac.dashed}"
        options[_OPTION_PXE_CONFIG] = config.encode()
    return NetBoot(
        firmware="uboot",
        server=booting.network.server,
        bootfile=SCRIPT,
        reason="U-Boot gets a script that boots its node; `pxe get` finds its configuration",
        options=options,
    )


# ---- what does it ask for


def _locate(visit: Visit) -> Located | None:
    if (name := pxelinux_cfg.name_in(visit.parts)) is not None:
        return _extlinux(visit, name)
    if visit.parts[-2:] == ("extlinux", "extlinux.conf"):
        return _conf(visit, visit.node)
    match visit.parts:
        case (*_, name) if name in SCRIPTS:
            return _script(rendered(visit, visit.node, "boot/uboot/boot.scr.j2"))
        case (*_, "uEnv.txt"):
            return _environment(visit)
        case ("dtb", *below):
            return _device_tree(visit, "/".join(below))
    return None


def _extlinux(visit: Visit, name: str) -> Located | None:
    """None where PXELINUX asks: what boots an x86 image is no U-Boot."""
    node = pxelinux_cfg.node_named(name, visit)
    generation = visit.view.generation_of(node) if node else None
    if node is None or (generation is not None and generation.architecture in X86):
        return None
    return _conf(visit, node)


def _conf(visit: Visit, node: Node | None) -> Located:
    found = rendered(visit, node, "boot/extlinux/extlinux.conf.j2")
    line = found.variables["command_line"] if isinstance(found, Rendered) else ""
    if len(str(line)) <= _LONGEST_APPEND:
        return found
    return NotFound(
        reason=f"`pxe boot` takes a command line of {_LONGEST_APPEND} octets, and this has {len(str(line))};"
        " U-Boot's script takes it; shorter kernel arguments help (`netbootctl node set`, --kernel-args)",
        missing=True,
    )


def _environment(visit: Visit) -> Located:
    """A Parallella without a card asks from 10.11.12.13, as all of them do, until it is told to use DHCP.

    Its `tftpboot` asks again and again: the next time from the address that its node has.
    """
    if visit.node is None:
        return Rendered(template="boot/uboot/uEnv-first.txt.j2", variables={}, stage=Stage.CONFIG)
    return rendered(visit, visit.node, "boot/uboot/uEnv.txt.j2")


def _device_tree(visit: Visit, name: str) -> Located:
    """The one to go with an EFI program: `dtb/${fdtfile}`. Without it the board's own serves."""
    absent = NotFound(reason="the image has no such device tree; U-Boot has one of its own", probe=True)
    node = visit.node
    generation = visit.view.generation_of(node) if node else None
    if generation is None or not name:
        return absent
    return File(root=generation.boot, name=f"dtbs/{name}", stage=None, absent=absent)


def _script(found: Located) -> Located:
    return replace(found, packing=script_image) if isinstance(found, Rendered) else found


# ---- the script's form

_MAGIC = 0x27051956
_LINUX, _ARM, _SCRIPT_TYPE, _UNCOMPRESSED = 5, 2, 6, 0


def script_image(text: str) -> bytes:
    """`text` as U-Boot's `source` takes it: a legacy image, its header with two CRCs (include/image.h).

    The body is a list of sizes, ended by zero, and the script; the time of making is zero, so that the same
    script is the same image.
    """
    script = text.encode("ascii", "replace")
    body = struct.pack(">II", len(script), 0) + script
    header = bytearray(
        struct.pack(
            ">IIIIIIIBBBB32s",
            *(_MAGIC, 0, 0, len(body), 0, 0, zlib.crc32(body)),
            *(_LINUX, _ARM, _SCRIPT_TYPE, _UNCOMPRESSED, b"netbootd"),
        )
    )
    struct.pack_into(">I", header, 4, zlib.crc32(header))
    return bytes(header) + body


FAMILY = Family("uboot", _recognises, _announce, _locate, behind_proxy=False)
