"""Whether this machine can run another architecture's programs, seen by running one.

A program of a few instructions that does nothing but end is run from an otherwise empty root, as an image's
own will be: the kernel itself runs it, or qemu-user, which must have been loaded when it was registered with
binfmt_misc (flag F), for its file isn't in the image.
"""

import os
import platform
import struct
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from netbootd.errors import HostError
from netbootd.images import apt


@dataclass(frozen=True, slots=True)
class _Machine:
    number: int
    """ELF's e_machine."""
    code: str
    """exit(0) in machine instructions, in hexadecimal."""
    qemu: str
    """The name of its program: qemu-QEMU-static."""
    bits: int = 64
    order: str = "<"
    flags: int = 0
    """ELF's e_flags."""


_MACHINES = {
    "amd64": _Machine(62, "31ff b83c000000 0f05", "x86_64"),
    "i386": _Machine(3, "31db b801000000 cd80", "i386", bits=32),
    "arm64": _Machine(183, "000080d2 a80b80d2 010000d4", "aarch64"),
    "armhf": _Machine(40, "0000a0e3 0170a0e3 000000ef", "arm", bits=32, flags=0x5000400),
    "riscv64": _Machine(243, "13050000 9308d005 73000000", "riscv64", flags=4),
    "ppc64el": _Machine(21, "01000038 00006038 02000044", "ppc64le", flags=2),
    "s390x": _Machine(22, "a7290000 0a01", "s390x", order=">"),
}
"""Debian's architecture -> what a program of it is made of."""


def check(architecture: str) -> None:
    """Raise HostError, with what to do, where this machine can't run programs of Debian's `architecture`.

    Root only.
    """
    if architecture == apt.architecture(platform.machine()) or runs(architecture):
        return
    qemu = f"qemu-{_MACHINES[architecture].qemu}"
    here = f"this machine ({platform.machine()}) can't run programs for {architecture}"
    if not Path(f"/usr/bin/{qemu}-static").exists() and not Path(f"/usr/bin/{qemu}").exists():
        raise HostError(
            f"{here}: {qemu} is missing",
            "apt install qemu-user-static binfmt-support (from Debian 13 on: qemu-user-binfmt)",
        )
    if not Path("/proc/sys/fs/binfmt_misc/register").exists():
        raise HostError(
            f"{here}: binfmt_misc isn't there",
            "systemctl restart systemd-binfmt; in a container, do that on the machine it runs on",
        )
    entry = Path("/proc/sys/fs/binfmt_misc", qemu)
    if not entry.exists():
        raise HostError(f"{here}: {qemu} isn't registered", "systemctl restart systemd-binfmt")
    if "F" not in _flags(entry.read_text(encoding="utf-8", errors="replace")):
        raise HostError(
            f"{here}: {qemu} was registered in a way that doesn't reach into an image (no flag F)",
            "apt install qemu-user-static, and systemctl restart systemd-binfmt",
        )
    raise HostError(f"{here}, although {qemu} is registered", f"look at {entry}, and try {qemu} itself")


def program(architecture: str) -> bytes:
    """The smallest program of Debian's `architecture`: an ELF file that ends with 0."""
    machine = _MACHINES[architecture]
    code = bytes.fromhex(machine.code)
    wide = machine.bits == 64
    head, entry = (64, 56) if wide else (52, 32)
    base, start = 0x10000, head + entry
    ident = bytes((0x7F, *b"ELF", 2 if wide else 1, 1 if machine.order == "<" else 2, 1)).ljust(16, b"\0")
    header = ident + struct.pack(
        machine.order + ("HHIQQQIHHHHHH" if wide else "HHIIIIIHHHHHH"),
        *(2, machine.number, 1, base + start, head, 0, machine.flags, head, entry, 1, 0, 0, 0),
    )
    size = start + len(code)
    # One segment to be loaded, readable and executable, with everything in it.
    segment = (
        (1, 5, 0, base, base, size, size, 0x10000) if wide else (1, 0, base, base, size, size, 5, 0x10000)
    )
    return header + struct.pack(machine.order + ("IIQQQQQQ" if wide else "IIIIIIII"), *segment) + code


def runs(architecture: str) -> bool:
    """Whether a program of Debian's `architecture` ends well here, in a root with nothing else. Root only."""
    with tempfile.TemporaryDirectory() as root:
        path = Path(root, "end")
        path.write_bytes(program(architecture))
        path.chmod(0o755)
        try:
            # Without a shell or chroot(1), which aren't there: the root is changed between fork and exec.
            done = subprocess.run(
                ["/end"],
                preexec_fn=lambda: os.chroot(root),
                cwd="/",
                capture_output=True,
                check=False,
                timeout=60,
            )
        except (OSError, subprocess.SubprocessError):
            return False
    return done.returncode == 0


def _flags(entry: str) -> str:
    """The flags that an entry of binfmt_misc shows: `flags: OCF`."""
    return next((line.partition(":")[2] for line in entry.splitlines() if line.startswith("flags")), "")
