"""Raspberry Pi 3, 4 and 5: from the boot ROM or the EEPROM's boot loader to the kernel. Pure.

raspberrypi/documentation boot-net.adoc and eeprom-bootloader.adoc; the order of files as logged by
PexMor/raspi-netboot, piPXE, rpi-eeprom #74 (Pi 4), firmware #1012 and #1605 (Pi 3). A Pi 5's order after
config.txt isn't recorded anywhere; the files are.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address

from netbootd.simulate import discovers, kernel, pi_config, pi_dhcp, tftp
from netbootd.simulate.contents import Kind, kind_of
from netbootd.simulate.dhcp import Reply
from netbootd.simulate.play import Booted, Loaded, Machine, Play, WontBoot
from netbootd.simulate.tftp import Habits, Missing

PI3_TFTP = Habits(first_port=49152, patience=5.0, tries=5)
PI4_TFTP = Habits(
    options=(("tsize", "0"), ("blksize", "1024")), first_port=40134, patience=30.0, tries=1, blocks=0
)
_OLD_BLOCKS = 65535
_EEPROM_UPDATE = ("pieeprom.sig", "pieeprom.upd", "vl805.sig", "vl805.bin")


@dataclass(frozen=True, slots=True)
class Model:
    """`start` and `fixup`: what the GPU runs first, empty where the EEPROM has it."""

    name: str
    trees: tuple[str, ...]
    kernels64: tuple[str, ...]
    kernels32: tuple[str, ...]
    start: str = ""
    fixup: str = ""


PI3 = Model(
    "pi3", ("bcm2710-rpi-3-b.dtb",), ("kernel8.img",), ("kernel7.img", "kernel.img"), "start.elf", "fixup.dat"
)
PI3_PLUS = Model("pi3b+", ("bcm2710-rpi-3-b-plus.dtb",), PI3.kernels64, PI3.kernels32, PI3.start, PI3.fixup)
PI4 = Model(
    "pi4",
    ("bcm2711-rpi-4-b.dtb",),
    ("kernel8.img",),
    ("kernel7l.img", "kernel7.img", "kernel.img"),
    "start4.elf",
    "fixup4.dat",
)
PI5 = Model("pi5", ("bcm2712-rpi-5-b.dtb",), ("kernel_2712.img", "kernel8.img"), ())
_ARMSTUB = {"pi3": "armstub8.bin", "pi3b+": "armstub8.bin", "pi4": "armstub8-gic.bin"}


def pi3(machine: Machine, *, plus: bool = False, uuid: bytes = discovers.PI3_UUID) -> Play[Booted]:
    """The boot ROM of the 3B, or 3B+: DHCP and bootcode.bin; then bootcode.bin's own DHCP, and start.elf."""
    machine.who, machine.architecture = "boot ROM", "aarch64"
    model = PI3_PLUS if plus else PI3
    spaces = b"" if plus else pi_dhcp.SPACES

    def judge(reply: Reply) -> str | None:
        if not plus and (reply.message.hops or int(reply.message.giaddr)):
            return "it came through a relay agent, which this ROM can't take"
        return pi_dhcp.has_text(reply, spaces)

    server = yield from pi_dhcp.rom(machine, discovers.raspberry_rom(machine.mac, uuid), judge)
    found = yield from tftp.read(machine, PI3_TFTP, server, "bootcode.bin", does="runs it")
    if isinstance(found, Missing):
        raise WontBoot(
            f"bootcode.bin: {found.why}", "the image's firmware files must have it, at the root too"
        )
    yield from tftp.read(machine, PI3_TFTP, server, "bootsig.bin", optional=True)
    machine.who = "bootcode.bin"
    server = yield from pi_dhcp.rom(
        machine,
        discovers.raspberry_bootcode(machine.mac, machine.serial),
        lambda reply: pi_dhcp.has_text(reply, b""),
    )
    files = _Files(machine, PI3_TFTP, server)
    if (yield from files.there(f"{machine.serial & 0xFFFFFFFF:08x}/{model.start}")):
        files.prefix = f"{machine.serial & 0xFFFFFFFF:08x}/"
    yield from files.optional("autoboot.txt", "config.txt", "recovery.elf")
    yield from files.needed(model.start, "starts the GPU with it", Kind.ELF)
    yield from files.needed(model.fixup, "takes it to start.elf")
    machine.who = model.start
    yield from files.optional("recovery.elf", "config.txt", "config.txt", "dt-blob.bin", "recovery.elf")
    yield from files.optional("config.txt", "config.txt", "bootcfg.txt")
    return (yield from _to_kernel(machine, files, model))


def pi4(machine: Machine, *, fourcc: bytes = b"4iPR") -> Play[Booted]:
    """The Pi 4's EEPROM: DHCP in full, then start4.elf under the serial, or at the root."""
    uuid = discovers.pi4_uuid(machine.mac, machine.serial, fourcc, 0xD03114)
    server = yield from pi_dhcp.eeprom(machine, uuid)
    files = _Files(machine, PI4_TFTP, server)
    prefix = f"{machine.serial & 0xFFFFFFFF:08x}/"
    start = yield from files.first((f"{prefix}start4.elf", f"{prefix}start.elf"))
    files.prefix = prefix if start else ""
    yield from files.optional("config.txt")
    yield from _update(machine, files)
    yield from files.optional("recover4.elf", "recovery.elf")
    start = yield from files.first(("start4.elf", "start.elf"), "starts the GPU with it", kind=Kind.ELF)
    if not start:
        raise WontBoot("start4.elf: not there", "the image's firmware files must have it")
    yield from files.needed(PI4.fixup if start == PI4.start else "fixup.dat", "takes it to start4.elf")
    machine.who = start
    yield from files.optional("recovery.elf", "config.txt", "config.txt", "dt-blob.bin", "recovery.elf")
    yield from files.optional("config.txt", "config.txt", "bootcfg.txt")
    return (yield from _to_kernel(machine, files, PI4))


def pi5(machine: Machine, *, fourcc: bytes = b"RPi5") -> Play[Booted]:
    """The Pi 5's EEPROM has start.elf within: config.txt, a device tree that fits, the kernel."""
    uuid = discovers.pi4_uuid(machine.mac, machine.serial, fourcc, 0xD04170)
    server = yield from pi_dhcp.eeprom(machine, uuid)
    files = _Files(machine, PI4_TFTP, server, prefix=f"{machine.serial & 0xFFFFFFFF:08x}/")
    if not (yield from files.there(f"{files.prefix}config.txt")):
        files.prefix = ""
    return (yield from _to_kernel(machine, files, PI5))


# Files


class _Files:
    """What the board fetches from `server`, under `prefix` once that is settled."""

    def __init__(self, machine: Machine, habits: Habits, server: IPv4Address, prefix: str = "") -> None:
        self.machine = machine
        self.prefix = prefix
        self._habits = habits
        self._server = server

    def read(self, name: str, does: str = "", *, optional: bool = True) -> Play[Loaded | None]:
        """A file below the prefix, None where there is none. Raises WontBoot where nobody answers."""
        found = yield from tftp.read(
            self.machine, self._habits, self._server, self.prefix + name, does=does, optional=optional
        )
        if isinstance(found, Missing):
            if found.code is None:
                raise WontBoot(
                    f"{self.prefix}{name}: {found.why}", "a missing file must be answered with an ERROR"
                )
            return None
        self._measure(found)
        return found

    def there(self, path: str) -> Play[bool]:
        """Whether a path (with its prefix) exists: opened, and ended with ERROR 0."""
        found = yield from tftp.read(
            self.machine, self._habits, self._server, path, probe=True, does="it is there", optional=True
        )
        if isinstance(found, Missing) and found.code is None:
            raise WontBoot(f"{path}: {found.why}", "a missing file must be answered with an ERROR")
        return isinstance(found, Loaded)

    def optional(self, *names: str) -> Play[None]:
        """Files that are asked for whether they exist or not."""
        for name in names:
            yield from self.read(name)

    def needed(self, name: str, does: str, kind: Kind | None = None) -> Play[Loaded]:
        """A file without which the board stops."""
        found = yield from self.read(name, does, optional=False)
        if found is None:
            raise WontBoot(f"{self.prefix}{name} isn't there", "the image's firmware files must have it")
        if kind and kind_of(found.content) is not kind:
            raise WontBoot(
                f"{self.prefix}{name} is {kind_of(found.content)}, not {kind}",
                "copy the image's firmware anew",
            )
        return found

    def first(self, names: tuple[str, ...], does: str = "", kind: Kind | None = None) -> Play[str]:
        """The first of `names` that exists: probed, or (with `does`) read. Empty where none does."""
        for name in names:
            if does:
                found = yield from self.read(name, does)
                if found is not None and kind and kind_of(found.content) is not kind:
                    raise WontBoot(
                        f"{name} is {kind_of(found.content)}, not {kind}", "copy the firmware anew"
                    )
                if found is not None:
                    return name
            elif (yield from self.there(self.prefix + name)):
                return name
        return ""

    def _measure(self, found: Loaded) -> None:
        blksize = int(dict(self._habits.options).get("blksize", "512"))
        if self._habits.options and found.size >= _OLD_BLOCKS * blksize:
            self.machine.caution(
                f"{found.name} has {found.size >> 20} MiB: an EEPROM before 2025-09-23 cuts it at 64 MiB"
            )


def _update(machine: Machine, files: _Files) -> Play[None]:
    for name in _EEPROM_UPDATE:
        found = yield from files.read(name, "looks whether it is newer than its own")
        if found is None and name == _EEPROM_UPDATE[0]:
            return
        if found is not None:
            machine.caution(f"{name} is offered: the board updates its EEPROM if it is another than its own")


def _to_kernel(machine: Machine, files: _Files, model: Model) -> Play[Booted]:  # noqa: C901 (in its order)
    """config.txt decides; then device tree, overlays, cmdline.txt, kernel and initramfs."""
    text = yield from files.read("config.txt", "reads it")
    config = pi_config.parse(_ascii(machine, text), model.name, machine.serial)
    if config.long_lines:
        machine.caution("config.txt has lines over 98 characters, of which older firmware reads no more")
    base = config.get("os_prefix")
    overlays = config.get("overlay_prefix", "overlays/")
    tree = None
    for name in (config.get("device_tree"),) if config.get("device_tree") else model.trees:
        if (yield from files.there(f"{files.prefix}{base}{name}")):
            tree = yield from files.read(base + name, "its device tree")
    if tree is None:
        raise WontBoot(
            f"no device tree {' or '.join(model.trees)}", "the image's firmware files must have this board's"
        )
    yield from files.read(f"{base}{overlays}overlay_map.dtb")
    for name in config.overlays:
        if (yield from files.read(f"{base}{overlays}{name}.dtbo", "lays it over the device tree")) is None:
            machine.caution(f"overlay {name} isn't there; the board boots without it")
    line_name = base + config.get("cmdline", "cmdline.txt")
    line = yield from files.read(line_name, "the kernel's command line")
    if line is None:
        raise WontBoot(f"{files.prefix}{line_name} isn't there: the kernel has no root", "the node's profile")
    image = yield from _kernel(files, config, model, base)
    initramfs = config.initramfs or (_auto_initramfs(image.name) if config.on("auto_initramfs") else "")
    initrd = (yield from files.read(base + initramfs, "the initramfs")) if initramfs else None
    if initramfs and initrd is None and config.initramfs:
        raise WontBoot(
            f"{files.prefix}{base}{initramfs} isn't there, and config.txt names it", "see the image"
        )
    if model.name in _ARMSTUB:
        yield from files.there(files.prefix + _ARMSTUB[model.name])
    if kind_of(image.content) is Kind.LINUX_ARM:
        machine.architecture = "arm"
    words = line.content.decode("ascii", "replace").split("\n", 1)[0].strip()
    return kernel.start(machine, image, initrd, words, tree, also=(Kind.GZIP,))


def _kernel(files: _Files, config: pi_config.Config, model: Model, base: str) -> Play[Loaded]:
    names = model.kernels64 + model.kernels32
    if config.get("arm_64bit") in ("0", "1") and model.kernels32:
        names = model.kernels64 if config.on("arm_64bit") else model.kernels32
    if config.get("kernel"):
        names = (config.get("kernel"),)
    for name in names:
        if (yield from files.there(f"{files.prefix}{base}{name}")):
            found = yield from files.read(base + name, "starts it")
            if found is not None:
                return found
    raise WontBoot(
        f"no kernel: {' or '.join(base + name for name in names)}", "see the image's boot directory"
    )


def _auto_initramfs(kernel_name: str) -> str:
    """config_txt/boot.adoc: the kernel's name, `kernel` made `initramfs`, without .img."""
    base = kernel_name.rpartition("/")[2]
    return base.replace("kernel", "initramfs", 1).removesuffix(".img")


def _ascii(machine: Machine, text: Loaded | None) -> str:
    if text is None:
        machine.caution("there is no config.txt: the board goes by its own defaults")
        return ""
    if not text.content.isascii():
        raise WontBoot(
            "config.txt has characters outside ASCII, where the firmware stops reading", "write ASCII"
        )
    return text.content.decode("ascii")
