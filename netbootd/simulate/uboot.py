"""U-Boot: classic and lwIP, `dhcp; pxe get; pxe boot`; and Khadas' own. Pure.

net/bootp.c, net/tftp.c, cmd/pxe.c, boot/pxe_utils.c; include/configs/meson64.h.
"""

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address

from netbootd.dhcp.options import MessageType, Option
from netbootd.simulate import dhcp, discovers, extlinux, kernel, tftp
from netbootd.simulate.contents import Kind
from netbootd.simulate.dhcp import Reply
from netbootd.simulate.play import Booted, Lease, Loaded, Machine, Play, WontBoot, tell
from netbootd.simulate.tftp import Habits, Missing

MOST_INCLUDES = 16
_CLASSIC_OPTIONS = (("timeout", "5"), ("tsize", "0"), ("blksize", "1468"))


@dataclass(frozen=True, slots=True)
class Variant:
    """`names`: what `pxe get` appends to default-, most special first. `fdtfile`: the environment's."""

    architecture: str
    vendor_class: str
    arch: int
    names: tuple[str, ...]
    fdtfile: str = ""
    most_kernel: int = 0
    lwip: bool = False


ARM64 = Variant("aarch64", "U-Boot.armv8", 22, ("arm",))
ARM32 = Variant("arm", "U-Boot.armv7", 21, ("arm",))
LWIP = Variant("aarch64", "", 0, ("arm",), lwip=True)
VIM3 = Variant(
    "aarch64",
    "U-Boot.armv8",
    22,
    ("arm-meson-w400", "arm-meson", "arm"),
    "amlogic/meson-g12b-a311d-khadas-vim3.dtb",
    0x13000000 - 0x08080000,
)
"""Between kernel_addr_r and ramdisk_addr_r lie 175 MiB (include/configs/meson64.h)."""


def pxe(machine: Machine, variant: Variant) -> Play[Booted]:
    """`dhcp; pxe get; pxe boot`, as distro_bootcmd's bootcmd_pxe has it."""
    machine.who, machine.architecture = "U-Boot", variant.architecture
    leased = yield from (_lwip_dhcp(machine) if variant.lwip else lease(machine, _writer(machine, variant)))
    habits = habits_of(machine, variant)
    # `dhcp` loads the boot file when it has the lease; what `pxe get` does isn't changed by it.
    bootfile = leased.bootfile or f"{int(leased.address.ip):08X}.img"
    yield from tftp.read(machine, habits, leased.server, bootfile, optional=True, does="loads it and goes on")
    directory = leased.bootfile.rpartition("/")[0] + "/" if "/" in leased.bootfile else ""
    explicit = leased.answer.options.get(Option.PXELINUX_CONFIG) if not variant.lwip else None
    menu_text, where = yield from _menu(machine, habits, leased, variant, directory, explicit)
    menu = extlinux.parse(menu_text)
    fetched = 0
    while menu.includes and fetched < MOST_INCLUDES:
        more = yield from tftp.read(
            machine, habits, leased.server, where + menu.includes.pop(0), does="includes it"
        )
        fetched += 1
        if isinstance(more, Loaded):
            extlinux.parse(more.content.decode("utf-8", "replace"), menu)
    label = menu.chosen()
    if label is None or not label.kernel:
        raise WontBoot("the configuration has no label with a kernel", "see the template boot/extlinux")
    return (yield from _label(machine, habits, leased, variant, where, label, menu))


def khadas(machine: Machine) -> Play[Booted]:
    """The vendor's U-Boot of a VIM3 (board/khadas/configs/kvim3.h): storeboot or cfgload, eMMC and SD."""
    machine.who = "Khadas vendor U-Boot"
    yield from tell(
        machine, "network boot", "not in its bootcmd", "looks for a system on eMMC and SD", good=False
    )
    raise WontBoot(
        "the vendor's U-Boot sends nothing: its bootcmd knows eMMC and SD only",
        "put mainline U-Boot (khadas-vim3_defconfig) on SPI, eMMC or SD; see --firmware khadas-mainline",
    )


# DHCP

Write = Callable[[int, discovers.Options | None], bytes]
"""A DISCOVER with this xid, or the REQUEST that has these options of an offer."""


def _writer(machine: Machine, variant: Variant) -> Write:
    def write(xid: int, offer: discovers.Options | None) -> bytes:
        return discovers.uboot(machine.mac, xid, variant.vendor_class, variant.arch, offer)

    return write


def lease(machine: Machine, write: Write) -> Play[Lease]:
    """250 ms, doubling, for 28 s; the first OFFER wins; the REQUEST repeats its DISCOVER's xid."""
    tries: list[tuple[bytes, float]] = []
    wait, total = 0.25, 0.0
    while total < 28.0:
        xid = (
            int.from_bytes(machine.mac.octets[2:], "big") + int(total * 1000) + machine.xid % 997
        ) & 0xFFFFFFFF
        tries.append((write(xid, None), wait))
        total += wait
        wait = min(wait * 2, 60.0, max(28.0 - total, 0.001))
    offers = yield from dhcp.ask(machine, tries, (MessageType.OFFER,), _fits)
    if not offers:
        raise dhcp.nobody(machine)
    offer = offers[0]
    options = dhcp.as_request(offer.octets, offer.server_id, offer.message.yiaddr)
    request = write(offer.message.xid, options)
    acks = yield from dhcp.ask(machine, [(request, 5.0)], (MessageType.ACK,), _fits)
    if not acks:
        raise dhcp.nobody(machine, "DHCPREQUEST")
    ack = acks[0]
    # `file` is stored after option 67 and wins (store_net_params); what is only in 67 counts too. 66 doesn't.
    bootfile = ack.header_file or ack.text(Option.BOOT_FILE_NAME)
    server = ack.message.siaddr if int(ack.message.siaddr) else offer.message.siaddr
    if not int(server):
        raise dhcp.nothing_to_boot(
            machine, "the answer has no next server (siaddr), and U-Boot reads no other (66 is ignored)"
        )
    return (yield from dhcp.take(machine, ack, server, bootfile))


def _lwip_dhcp(machine: Machine) -> Play[Lease]:
    """lwIP: no class, the boot file from the ACK's header alone; 10 s in all."""
    xid = machine.next_xid()
    discover = discovers.uboot_lwip(machine.mac, xid)
    offers = yield from dhcp.ask(machine, [(discover, 2.0), (discover, 8.0)], (MessageType.OFFER,), _fits)
    if not offers:
        raise dhcp.nobody(machine)
    options = dhcp.as_request(offers[0].octets, offers[0].server_id, offers[0].message.yiaddr)
    request = discovers.uboot_lwip(machine.mac, xid, options)
    acks = yield from dhcp.ask(machine, [(request, 2.0), (request, 4.0)], (MessageType.ACK,), _fits)
    if not acks:
        raise dhcp.nobody(machine, "DHCPREQUEST")
    server = offers[0].message.siaddr if int(offers[0].message.siaddr) else offers[0].server_id
    return (yield from dhcp.take(machine, acks[0], server, acks[0].header_file))


def _fits(reply: Reply) -> str | None:
    """check_reply_packet, and what dhcp_handler drops without a word."""
    if not int(reply.message.yiaddr):
        return "it has no address (yiaddr 0), which U-Boot drops: it can't work beside a proxy"
    if b"\xff" not in reply.octets[240:]:
        return "its options have no end mark"
    return None


# pxe get, pxe boot


def _menu(
    machine: Machine, habits: Habits, lease: Lease, variant: Variant, directory: str, explicit: bytes | None
) -> Play[tuple[str, str]]:
    """The configuration, and the directory that its names lie in: the boot file's."""
    names = [f"pxelinux.cfg/{name}" for name in config_names(machine, lease.address.ip, variant.names)]
    if explicit:
        names = [explicit.rstrip(b"\0").decode("ascii", "replace")]
    for name in names:
        found = yield from tftp.read(
            machine, habits, lease.server, directory + name, does="its configuration", optional=True
        )
        if isinstance(found, Loaded):
            return found.content.decode("utf-8", "replace"), directory
        if not found.final:
            raise WontBoot(f"{directory}{name}: {found.why}", "a missing file must be answered with ERROR 1")
    raise WontBoot(
        f"no configuration under {directory}pxelinux.cfg/, {len(names)} names asked"
        if not explicit
        else f"option 209 names {names[0]}, which isn't there, and U-Boot asks for no other",
        "register the machine; `netbootctl explain` shows what it would be told",
    )


def config_names(machine: Machine, address: IPv4Address, defaults: tuple[str, ...]) -> list[str]:
    """01-MAC, the address in hexadecimal with ever fewer digits, default-…, default (cmd/pxe.c)."""
    digits = f"{int(address):08X}"
    shorter = [digits[:length] for length in range(8, 0, -1)]
    return [f"01-{machine.mac.dashed}", *shorter, *(f"default-{name}" for name in defaults), "default"]


def _label(
    machine: Machine,
    habits: Habits,
    lease: Lease,
    variant: Variant,
    where: str,
    label: extlinux.Label,
    menu: extlinux.Menu,
) -> Play[Booted]:
    def fetch(name: str, does: str, *, optional: bool = False) -> Play[Loaded | Missing]:
        path = name if name.startswith("/") else where + name
        return tftp.read(machine, habits, lease.server, path, does=does, optional=optional)

    image = yield from fetch(label.kernel.split("#")[0], "the kernel")
    if isinstance(image, Missing):
        raise WontBoot(f"{label.kernel}: {image.why}", "the image's boot directory must have it")
    if variant.most_kernel and image.size > variant.most_kernel:
        raise WontBoot(f"{label.kernel} reaches into the initrd's place in memory", "a smaller kernel")
    initrd: Loaded | None = None
    if label.initrd:
        found = yield from fetch(label.initrd, "the initrd")
        if isinstance(found, Missing):
            raise WontBoot(f"{label.initrd}: {found.why}", "the image's boot directory must have it")
        initrd = found
    tree = yield from _tree(machine, fetch, variant, label)
    for overlay in label.overlays if tree else ():
        yield from fetch(overlay, "lays it over the device tree", optional=True)
    words = extlinux.words_of(label, menu)
    if label.ipappend & 1:
        words += f" ip={lease.address.ip}:{lease.server}:{lease.router or ''}:{lease.address.netmask}"
    if label.ipappend & 2:
        words += f" BOOTIF=01-{machine.mac.dashed}"
    also = (Kind.UIMAGE, Kind.FIT) + ((Kind.GZIP,) if variant.architecture == "aarch64" else ())
    return kernel.start(machine, image, initrd, words.strip(), tree, also=also)


def _tree(
    machine: Machine,
    fetch: Callable[..., Play[Loaded | Missing]],
    variant: Variant,
    label: extlinux.Label,
) -> Play[Loaded | None]:
    """FDT must be there; FDTDIR may fail, then U-Boot's own tree is used (boot/pxe_utils.c)."""
    if label.fdt:
        found = yield from fetch(label.fdt, "the device tree")
        if isinstance(found, Missing):
            raise WontBoot(
                f"{label.fdt}: {found.why}, and the label is skipped", "name a device tree that is there"
            )
        return found
    if not label.fdtdir:
        machine.caution("the configuration names no device tree; U-Boot's own is used")
        return None
    if not variant.fdtfile:
        machine.caution(
            "which file of FDTDIR a board takes is in its environment (fdtfile); none was asked for"
        )
        return None
    name = f"{label.fdtdir.rstrip('/')}/{variant.fdtfile}"
    found = yield from fetch(name, "the device tree", optional=True)
    if isinstance(found, Missing):
        machine.caution(f"{name} isn't there; U-Boot's own device tree is used")
        return None
    return found


def habits_of(machine: Machine, variant: Variant) -> Habits:
    """Its TFTP."""
    if variant.lwip:
        return Habits(options=(("tsize", "0"), ("blksize", "1468")), patience=10.0, tries=5)
    # 1024 + (a timer % 3072), net/tftp.c.
    first = 1024 + machine.xid % 3000
    return Habits(options=_CLASSIC_OPTIONS, patience=5.0, tries=10, first_port=first, last_port=4096)
