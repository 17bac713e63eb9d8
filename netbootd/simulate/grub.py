"""GRUB over the network: its own TFTP in lock-step, the search for grub.cfg, what that says. Pure.

net/tftp.c, net/bootp.c, net/net.c, normal/main.c. On UEFI it takes address, server and prefix from the
firmware's cached answer; alone it asks by `net_bootp`.
"""

import re
from collections.abc import Iterator
from ipaddress import IPv4Address

from netbootd.dhcp.options import MessageType
from netbootd.simulate import dhcp, discovers, http, kernel, tftp
from netbootd.simulate.contents import Kind, grub_prefix
from netbootd.simulate.dhcp import Reply
from netbootd.simulate.grub_run import Run
from netbootd.simulate.play import Booted, Loaded, Machine, Play, WontBoot
from netbootd.simulate.tftp import Habits, Missing, Oack

TFTP = Habits(
    options=(("blksize", "1024"), ("tsize", "0")),
    patience=0.6,
    tries=40,
    oack=Oack.NEEDED,
    probe=(0, "closed"),
)
"""40 tries at 400 + 20·i ms; plain DATA never ends the opening (have_oack)."""
HTTP = http.Habits(("Host: {host}", "User-Agent: GRUB 2.06"), patience=10.0)
_PLATFORM = {"x86_64": "x86_64-efi", "i386": "i386-efi", "aarch64": "arm64-efi", "riscv64": "riscv64-efi"}
_LISTS = ("command.lst", "fs.lst", "crypto.lst", "terminal.lst")
_DEVICE = re.compile(r"^\((tftp|http)(?:,([^)]*))?\)|^\((pxe|net)[^)]*\)")


def alone(machine: Machine) -> Play[Booted]:
    """GRUB with `net_bootp`: DISCOVER with 53 only, then its configuration under /grub."""
    machine.who, machine.architecture, machine.efi = "GRUB", "x86_64", True
    xid = machine.next_xid()
    offers = yield from dhcp.ask(
        machine,
        [(discovers.grub(machine.mac, xid), w / 10) for w in (4, 8, 16, 32)],
        (MessageType.OFFER,),
        _fits,
    )
    if not offers:
        raise dhcp.nobody(machine)
    options = dhcp.as_request(offers[0].octets, offers[0].server_id, offers[0].message.yiaddr)
    request = discovers.grub(machine.mac, xid, options)
    acks = yield from dhcp.ask(
        machine, [(request, w / 10) for w in (4, 8, 16, 32)], (MessageType.ACK,), _fits
    )
    if not acks:
        raise dhcp.nobody(machine, "DHCPREQUEST")
    server = acks[0].message.siaddr
    if not int(server):
        raise dhcp.nothing_to_boot(machine, "the answer has no next server (siaddr), and GRUB reads no other")
    lease = yield from dhcp.take(machine, acks[0], server, acks[0].header_file)
    return (yield from _configured(machine, f"(tftp,{lease.server})", "/grub", search=True))


def loaded(machine: Machine, found: Loaded) -> Play[Booted]:
    """A GRUB that was fetched: prefix and early configuration are those that were built into it."""
    machine.who = "GRUB"
    lease = machine.lease
    if lease is None:
        raise WontBoot("GRUB was started without an address", "")
    prefix, embedded = grub_prefix(found.content)
    if found.url:
        # lab evidence: a GRUB from HTTP Boot looks for its configuration on that server only.
        device = f"(http,{found.url.split('/')[2]})"
        return (yield from _configured(machine, device, prefix, search=False))
    server = lease.answer.siaddr if int(lease.answer.siaddr) else lease.server
    return (yield from _configured(machine, f"(tftp,{server})", prefix, search=not embedded))


def _fits(reply: Reply) -> str | None:
    return None if int(reply.message.yiaddr) else "it has no address (yiaddr 0)"


def config_names(machine: Machine, address: IPv4Address) -> Iterator[str]:
    """What `normal` appends to grub.cfg, most special first; the UUID where the client sent one."""
    if any(machine.uuid):
        yield f"-{uuid_text(machine.uuid)}"
    yield f"-01-{machine.mac.dashed}"
    digits = f"{int(address):08X}"
    yield from (f"-{digits[:length]}" for length in range(8, 0, -1))
    yield ""


def uuid_text(uuid: bytes) -> str:
    """Octets as they stand, in groups."""
    digits = uuid.hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _configured(machine: Machine, device: str, prefix: str, *, search: bool) -> Play[Booted]:
    platform = _PLATFORM.get(machine.architecture, "i386-pc")
    for name in _LISTS:
        yield from _fetch(machine, device, f"{prefix}/{platform}/{name}", optional=True)
    names = list(config_names(machine, machine.lease.address.ip)) if search and machine.lease else [""]
    for name in names:
        path = f"{prefix}/grub.cfg{name}"
        found = yield from _fetch(machine, device, path, "its configuration", optional=True)
        if isinstance(found, Loaded):
            return (yield from _booted(machine, device, prefix, found.content.decode("utf-8", "replace")))
        if found.code is None:
            raise WontBoot(
                f"{path}: {found.why}", "TFTP must answer with an OACK, or ERROR 1 where there is no file"
            )
    raise WontBoot(
        f"no {prefix}/grub.cfg: GRUB stops at its prompt",
        "give the firmware iPXE, or serve this configuration",
    )


def _fetch(
    machine: Machine, device: str, path: str, does: str = "", *, optional: bool = False
) -> Play[Loaded | Missing]:
    """A path with or without a device of its own before it."""
    named = _DEVICE.match(path)
    if named:
        device = f"({named.group(1)},{named.group(2)})" if named.group(2) else device
        path = path[named.end() :]
    kind, _, host = device.strip("()").partition(",")
    path = re.sub("/+", "/", path)
    if kind == "http":
        return (yield from http.read(machine, HTTP, f"http://{host}{path}", does=does))
    try:
        server = IPv4Address(host)
    except ValueError:
        raise WontBoot(f"{device} isn't a server that can be asked", "write its address") from None
    return (yield from tftp.read(machine, TFTP, server, path, does=does, optional=optional))


def _booted(machine: Machine, device: str, prefix: str, text: str) -> Play[Booted]:
    variables = _variables(machine, device, prefix)

    def fetch(path: str, does: str, *, optional: bool) -> Play[Loaded | Missing]:
        root = f"({variables['root'].strip('()')})"
        return _fetch(machine, root, path, does, optional=optional)

    outcome = yield from Run(fetch, variables).play(text)
    if outcome.program is not None and machine.begin is not None:
        return (yield from machine.begin(machine, outcome.program))
    if outcome.kernel is None:
        raise WontBoot("grub.cfg names no kernel", "see the template boot/grub")
    return kernel.start(machine, outcome.kernel, outcome.initrd, outcome.words, also=(Kind.GZIP,))


def _variables(machine: Machine, device: str, prefix: str) -> dict[str, str]:
    server = device.partition(",")[2].rstrip(")")
    return {
        "root": device.strip("()"),
        "prefix": f"{device}{prefix}",
        "net_default_mac": str(machine.mac),
        "net_default_ip": str(machine.lease.address.ip) if machine.lease else "",
        "net_default_server": server,
        "pxe_default_server": server,
        "grub_cpu": {"aarch64": "arm64"}.get(machine.architecture, machine.architecture),
        "grub_platform": "efi" if machine.efi else "pc",
    }
