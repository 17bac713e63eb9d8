"""PXELINUX on a BIOS: ldlinux.c32, the search for its configuration, kernel and initrds. Pure.

core/fs/pxe (6.04); in the order captured. Options 209 and 210 of the cached answer come first.
"""

from collections.abc import Callable
from ipaddress import IPv4Address

from netbootd.dhcp.options import Option, printable
from netbootd.simulate import extlinux, http, kernel, tftp
from netbootd.simulate.grub import uuid_text
from netbootd.simulate.play import Booted, Loaded, Machine, Play, WontBoot
from netbootd.simulate.tftp import Habits, Missing

TFTP = Habits(options=(("tsize", "0"), ("blksize", "1408")), patience=3.0, tries=6)
HTTP = http.Habits(("Host: {host}", "User-Agent: Syslinux/6.04", "Connection: close"))
_MOST_INCLUDES = 16


def config_names(machine: Machine, address: IPv4Address) -> list[str]:
    """UUID in the order in which its octets came, 01-MAC, the address with ever fewer digits, default."""
    digits = f"{int(address):08X}"
    uuid = [uuid_text(machine.uuid)] if any(machine.uuid) else []
    return [*uuid, f"01-{machine.mac.dashed}", *(digits[:length] for length in range(8, 0, -1)), "default"]


def loaded(machine: Machine, found: Loaded) -> Play[Booted]:  # noqa: C901 (in its order)
    """PXELINUX that was fetched as `found`."""
    machine.who = "PXELINUX"
    lease = machine.lease
    if lease is None:
        raise WontBoot("PXELINUX was started without an address", "")
    options = lease.answer.options
    server = lease.answer.siaddr if int(lease.answer.siaddr) else lease.server
    prefix = printable(options.get(Option.PXELINUX_PREFIX, b""))
    if not prefix and "/" in found.name:
        prefix = found.name.rpartition("/")[0] + "/"
    http_too = found.name.rpartition("/")[2].startswith("lpxelinux")

    def fetch(name: str, does: str, *, optional: bool = False) -> Play[Loaded | Missing]:
        url = name if "://" in name else prefix + name if "://" in prefix else ""
        if url:
            if not http_too or not url.startswith("http://"):
                return _refused(name)
            return http.read(machine, HTTP, url, does=does)
        host, double, path = name.partition("::")
        if double:
            return tftp.read(machine, TFTP, _address(host, server), path, does=does, optional=optional)
        path = name if name.startswith("/") else prefix + name
        return tftp.read(machine, TFTP, server, path, does=does, optional=optional)

    module = yield from fetch("ldlinux.c32", "needs it to go on")
    if isinstance(module, Missing):
        raise WontBoot(
            f"{prefix}ldlinux.c32: {module.why}", "serve it beside pxelinux.0 (package syslinux-common)"
        )
    names = [f"pxelinux.cfg/{name}" for name in config_names(machine, lease.address.ip)]
    if Option.PXELINUX_CONFIG in options:
        names.insert(0, printable(options[Option.PXELINUX_CONFIG]))
    for name in names:
        config = yield from fetch(name, "its configuration", optional=True)
        if isinstance(config, Loaded):
            break
    else:
        raise WontBoot(f"no configuration, {len(names)} names asked under {prefix}", "register the machine")
    menu = extlinux.parse(config.content.decode("utf-8", "replace"))
    for _ in range(_MOST_INCLUDES):
        if not menu.includes:
            break
        more = yield from fetch(menu.includes.pop(0), "includes it", optional=True)
        if isinstance(more, Loaded):
            extlinux.parse(more.content.decode("utf-8", "replace"), menu)
    return (yield from _label(machine, fetch, menu))


def _label(
    machine: Machine, fetch: Callable[..., Play[Loaded | Missing]], menu: extlinux.Menu
) -> Play[Booted]:
    label = menu.chosen()
    if label is None or not label.kernel:
        raise WontBoot("the configuration has no label with a kernel", "see the template boot/pxelinux")
    words = extlinux.words_of(label, menu).split()
    named = [word.removeprefix("initrd=") for word in words if word.startswith("initrd=")]
    image = yield from fetch(label.kernel, "the kernel")
    if isinstance(image, Missing):
        raise WontBoot(f"{label.kernel}: {image.why}", "the image's boot directory must have it")
    initrds: list[Loaded] = []
    for name in (label.initrd or ",".join(named[-1:])).split(","):
        if not name:
            continue
        found = yield from fetch(name, "the initrd")
        if isinstance(found, Missing):
            raise WontBoot(f"{name}: {found.why}", "the image's boot directory must have it")
        initrds.append(found)
    lease = machine.lease
    if label.ipappend & 2:
        words.append(f"BOOTIF=01-{machine.mac.dashed}")
    if label.ipappend & 1 and lease:
        words.append(f"ip={lease.address.ip}:{lease.server}:{lease.router or ''}:{lease.address.netmask}")
    return kernel.start(machine, image, initrds[0] if initrds else None, " ".join(words))


def _refused(name: str) -> Play[Loaded | Missing]:
    return Missing(name, "a URL, which pxelinux.0 doesn't fetch (lpxelinux.0 does HTTP)")
    yield


def _address(text: str, otherwise: IPv4Address) -> IPv4Address:
    try:
        return IPv4Address(text) if text else otherwise
    except ValueError:
        raise WontBoot(f"{text[:100]} isn't an address", "write an address before ::") from None
