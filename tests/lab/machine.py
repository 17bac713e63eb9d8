"""Machines without a disk: QEMU with real firmware, on a tap of the lab's bridge.

`KINDS` has one row per machine. The serial console goes to a file, where tests and the demo read how far
it has come; `type` writes to it; power and reset go through QEMU's monitor (QMP) on a Unix socket.

TCG, because not every machine has /dev/kvm, and on some that have it a Linux guest hangs:
NETBOOTD_LAB_ACCEL=kvm asks for it all the same.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.lab.namespace import Lab
from tests.lab.process import LabError, Process

LAST_LINES = 40
UBOOT_ARM64 = Path("/usr/lib/u-boot/qemu_arm64/u-boot.bin")
UBOOT_ARM32 = Path("/usr/lib/u-boot/qemu_arm/u-boot.bin")
_ESCAPES = re.compile(rb"\x1b(\[[0-9;?=]*[ -/]*[@-~]|[()][0-9A-B]|[=>cM78])|[\x00\x07\x08\r]")
"""Terminal control sequences: firmware and systemd write for a screen, we search for words."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A sort of machine. `flash` is (code, variables): UEFI firmware and where it keeps its settings."""

    name: str
    program: str
    arguments: tuple[str, ...]
    card: str
    flash: tuple[Path, Path] | None = None
    memory: int = 1024
    """MiB; what the guest doesn't touch isn't taken from the host."""
    files: tuple[Path, ...] = field(default=())
    """Other files that must be there (option ROMs, firmware given by -bios)."""

    def missing(self) -> str | None:
        """What this machine lacks here, in words; None if it can be powered on."""
        if shutil.which(self.program) is None:
            return f"{self.program} isn't installed"
        for path in (*(self.flash or ()), *self.files):
            if not path.exists():
                return f"{path} isn't there"
        if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
            return "/dev/net/tun can't be opened, it takes root here"
        return None


KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            "bios",  # SeaBIOS, and iPXE in the card's own ROM
            "qemu-system-x86_64",
            ("-boot", "n"),
            "virtio-net-pci",
            files=(Path("/usr/lib/ipxe/qemu/pxe-virtio.rom"),),
        ),
        Kind(
            "uefi",  # an empty romfile lets OVMF use its own PXE instead of iPXE's
            "qemu-system-x86_64",
            ("-machine", "q35"),
            "virtio-net-pci,romfile=,bootindex=1",
            flash=(Path("/usr/share/OVMF/OVMF_CODE_4M.fd"), Path("/usr/share/OVMF/OVMF_VARS_4M.fd")),
        ),
        Kind(
            "uefi-http",  # OVMF tries PXE and HTTP Boot in turn, unless it is told not to (OvmfPkg/README)
            "qemu-system-x86_64",
            (
                *("-machine", "q35"),
                *("-fw_cfg", "name=opt/org.tianocore/IPv4PXESupport,string=n"),
                *("-fw_cfg", "name=opt/org.tianocore/IPv6PXESupport,string=n"),
            ),
            "virtio-net-pci,romfile=,bootindex=1",
            flash=(Path("/usr/share/OVMF/OVMF_CODE_4M.fd"), Path("/usr/share/OVMF/OVMF_VARS_4M.fd")),
        ),
        Kind(
            "uefi-secure",  # Secure Boot on, with Microsoft's keys; its variables only SMM may change
            "qemu-system-x86_64",
            (
                *("-machine", "q35,smm=on"),
                *("-global", "driver=cfi.pflash01,property=secure,value=on"),
            ),
            "virtio-net-pci,romfile=,bootindex=1",
            flash=(
                Path("/usr/share/OVMF/OVMF_CODE_4M.secboot.fd"),
                Path("/usr/share/OVMF/OVMF_VARS_4M.ms.fd"),
            ),
        ),
        Kind(
            "uefi-arm64",
            "qemu-system-aarch64",
            ("-machine", "virt", "-cpu", "cortex-a57"),
            "virtio-net-pci,romfile=,bootindex=1",
            flash=(Path("/usr/share/AAVMF/AAVMF_CODE.fd"), Path("/usr/share/AAVMF/AAVMF_VARS.fd")),
        ),
        Kind(
            "uboot-arm64",
            "qemu-system-aarch64",
            ("-machine", "virt", "-cpu", "cortex-a57", "-bios", str(UBOOT_ARM64)),
            "virtio-net-device",  # on PCI the card comes up without its address
            files=(UBOOT_ARM64,),
        ),
        Kind(
            "uboot-arm32",
            "qemu-system-arm",
            ("-machine", "virt,highmem=off", "-cpu", "cortex-a15", "-bios", str(UBOOT_ARM32)),
            "virtio-net-device",
            files=(UBOOT_ARM32,),
        ),
    )
}


def plain(output: bytes) -> str:
    """Console output as words: without colours, cursor movements and carriage returns."""
    return _ESCAPES.sub(b"", output).decode("utf-8", "replace")


class Machine:
    """One machine. `power_on` it, `wait_for` what its console shall say, `power_off` it."""

    def __init__(self, lab: Lab, name: str, kind: Kind, mac: str) -> None:
        self.name = name
        self.kind = kind
        self.mac = mac
        self.console = lab.directory / f"{name}.console"
        self._lab = lab
        self._monitor = f"{name}.qmp"
        self._serial = f"{name}.serial"
        self._tap = lab.tap(name)
        self._process: Process | None = None
        self._powered_on = 0.0

    def power_on(self) -> None:
        """Start it. Returns as soon as QEMU answers its monitor."""
        self.console.unlink(missing_ok=True)
        self._powered_on = time.monotonic()
        self._process = self._lab.start(f"{self.name}.qemu", self.command(), cwd=self._lab.directory)
        self._process.wait_until(self._answers, "answer from its monitor")

    def command(self) -> list[str]:
        """The words that start QEMU."""
        kind = self.kind
        accelerator = os.environ.get("NETBOOTD_LAB_ACCEL", "tcg")
        words = [kind.program, "-name", self.name]
        words += ["-accel", "tcg,thread=multi" if accelerator == "tcg" else accelerator]
        words += [*kind.arguments, "-m", str(kind.memory), "-smp", "1", "-nodefaults", "-no-user-config"]
        # graphics=off makes SeaBIOS, and with it iPXE's ROM, speak on the serial line.
        words += ["-machine", "graphics=off", "-display", "none", "-vga", "none"]
        words += [
            "-chardev",
            f"socket,id=serial,path={self._serial},server=on,wait=off,logfile={self.console.name}",
        ]
        words += ["-serial", "chardev:serial", "-qmp", f"unix:{self._monitor},server=on,wait=off"]
        words += ["-netdev", f"tap,id=net,ifname={self._tap},script=no,downscript=no"]
        words += ["-device", f"{kind.card},netdev=net,mac={self.mac}"]
        if kind.flash:
            code, variables = kind.flash
            own = self._lab.directory / f"{self.name}.vars"
            shutil.copyfile(variables, own)
            flash = "if=pflash,format=raw"
            words += [
                "-drive",
                f"{flash},unit=0,readonly=on,file={code}",
                "-drive",
                f"{flash},unit=1,file={own}",
            ]
        return words

    @property
    def running(self) -> bool:
        """Whether it is powered on."""
        return self._process is not None and self._process.running

    @property
    def elapsed(self) -> float:
        """Seconds since it was powered on."""
        return time.monotonic() - self._powered_on

    def output(self) -> str:
        """All that its console has said, as words."""
        return plain(self.console.read_bytes()) if self.console.exists() else ""

    def wait_for(self, pattern: str, timeout: float) -> re.Match[str]:
        """Wait until the console has a match of `pattern` (regular expression, `^$` per line).

        LabError with the console's last lines if the machine ends or `timeout` seconds pass first.
        """
        sought = re.compile(pattern, re.MULTILINE)
        deadline = time.monotonic() + timeout
        while True:
            running = self.running
            if match := sought.search(self.output()):
                return match
            if not running:
                raise LabError(f"{self.name} went off, never said {pattern!r}\n{self.last_words()}")
            if time.monotonic() > deadline:
                raise LabError(f"{self.name} didn't say {pattern!r} in {timeout:.0f} s\n{self.last_words()}")
            time.sleep(0.1)

    def last_words(self) -> str:
        """The console's last lines, or QEMU's own if there are none."""
        said = self.output() or (self._process.output() if self._process else "")
        lines = [line.rstrip() for line in said.splitlines() if line.strip()]
        return "\n".join(f"    {self.name}| {line[:200]}" for line in lines[-LAST_LINES:])

    def type(self, text: str) -> None:
        """Write to the serial console, no faster than at a keyboard: firmware drops what comes at once."""
        with self._connect(self._serial) as serial:
            for octet in text.encode():
                serial.sendall(bytes([octet]))
                time.sleep(0.05)

    def reset(self) -> None:
        """Press the reset button; `elapsed` counts from now."""
        self._execute("system_reset")
        self._powered_on = time.monotonic()

    def power_off(self) -> None:
        """Pull the plug. Harmless when it is off."""
        if self.running:
            self._execute("quit")
            assert self._process is not None
            try:
                self._process.popen.wait(10)
            except subprocess.TimeoutExpired:
                self._process.stop()

    def _answers(self) -> bool:
        try:
            self._execute("query-status")
        except (FileNotFoundError, ConnectionError):
            return False
        return True

    @contextmanager
    def _connect(self, name: str) -> Iterator[socket.socket]:
        """A Unix socket in the lab's directory, by a short path: its length is limited to 107 octets."""
        directory = os.open(self._lab.directory, os.O_PATH | os.O_DIRECTORY)
        try:
            with socket.socket(socket.AF_UNIX) as connected:
                connected.connect(f"/proc/self/fd/{directory}/{name}")
                yield connected
        finally:
            os.close(directory)

    def _execute(self, command: str) -> None:
        """One QMP command. Raises ConnectionError where QEMU isn't there (any more)."""
        with self._connect(self._monitor) as monitor:
            monitor.settimeout(10)
            with monitor.makefile("rw", encoding="utf-8") as stream:
                if not stream.readline():  # the greeting
                    raise ConnectionResetError(self._monitor)
                for words in ("qmp_capabilities", command):
                    stream.write(json.dumps({"execute": words}) + "\n")
                    stream.flush()
                    for line in stream:  # events may come before the answer; after `quit` nothing has to
                        reply = json.loads(line)
                        if "error" in reply:
                            raise LabError(f"{self.name}: {words}: {reply['error']}")
                        if "return" in reply:
                            break
