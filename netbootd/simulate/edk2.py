"""UEFI (EDK2): PXE over IPv4 and HTTP Boot, up to the program that it starts. Pure.

NetworkPkg/UefiPxeBcDxe (PxeBcDhcp4.c, PxeBcBoot.c), Mtftp4Dxe, HttpBootDxe; as OVMF and AAVMF of Debian 12
were captured.
"""

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address

from netbootd.dhcp.options import MessageType, Option, printable, sub_options
from netbootd.simulate import dhcp, discovers, http, tftp
from netbootd.simulate.contents import EFI_MACHINES, efi_machine
from netbootd.simulate.dhcp import Reply
from netbootd.simulate.play import Booted, Loaded, Machine, Play, WontBoot
from netbootd.simulate.tftp import Habits, Missing, Oack

MOST_OFFER = 1472
WAITS = (4.0, 8.0, 16.0, 32.0)
NOTHING = "register the machine, give it an image; `netbootctl explain` on the head node says what is missing"
BINL_WAITS = (1.0, 2.0, 3.0, 4.0)
ABORTED = (8, "User aborted the transfer")
_READ = (("blksize", "1468"), ("windowsize", "4"))
PROBE = Habits(options=(("tsize", "0"), *_READ), patience=4.0, tries=6, oack=Oack.STRICT, probe=ABORTED)
READ = Habits(options=_READ, patience=4.0, tries=6, oack=Oack.STRICT, probe=ABORTED)
HTTP = http.Habits(
    ("Host: {host}", "Accept: */*", "User-Agent: UefiHttpBoot/1.0"), patience=10.0, chunked=False
)
_NO_ASKING = 8
"""Bit 3 of discovery control (43.6): take the boot file, ask no boot server."""


@dataclass(frozen=True, slots=True)
class Variant:
    """`arch` is option 93; for HTTP Boot `http_arch`."""

    architecture: str
    arch: int
    http_arch: int


X64 = Variant("x86_64", 7, 16)
IA32 = Variant("i386", 6, 15)
ARM64 = Variant("aarch64", 11, 19)
RISCV64 = Variant("riscv64", 27, 28)


def pxe(machine: Machine, variant: Variant) -> Play[Booted]:
    """DHCP, a boot server where the offer wants one asked, the file: first its size, then itself."""
    machine.who, machine.architecture, machine.efi = "UEFI PXE", variant.architecture, True
    xid = machine.next_xid()
    discover = discovers.edk2(machine.mac, xid, variant.arch, machine.uuid)
    offers = yield from dhcp.ask(
        machine, [(discover, wait) for wait in WAITS], (MessageType.OFFER,), _short, any_address, collect=True
    )
    chosen = best(offers)
    if chosen is None:
        raise no_boot(machine, offers)
    addressed, boots = chosen
    ack = yield from _request(machine, variant, xid, addressed)
    if boots is addressed:
        boots = ack
    lease = yield from dhcp.take(machine, ack, server_of(boots), boots.bootfile)

    def ask_4011(options: discovers.Options, address: IPv4Address) -> bytes:
        octets = discovers.edk2(machine.mac, xid, variant.arch, machine.uuid, options)
        return octets[:12] + address.packed + octets[16:]

    boots = yield from asked(machine, ask_4011, boots)
    lease = yield from dhcp.take(machine, ack, server_of(boots), boots.bootfile)
    # What loaders find in the firmware's cache is the message that had the file.
    machine.lease = type(lease)(
        address=lease.address,
        router=lease.router,
        server=lease.server,
        bootfile=lease.bootfile,
        answer=boots.message,
        server_id=boots.server_id,
    )
    if Option.BOOT_FILE_SIZE in boots.message.options:
        machine.caution("option 13 is taken for the file's size in blocks of 512 octets; leave it out")
    size = yield from tftp.read(
        machine, PROBE, lease.server, lease.bootfile, probe=True, does="learns its size"
    )
    if isinstance(size, Missing):
        raise _failed(size)
    found = yield from tftp.read(machine, READ, lease.server, lease.bootfile, does="starts it")
    if isinstance(found, Missing):
        raise _failed(found)
    return (yield from run(machine, found))


def http_boot(machine: Machine, variant: Variant) -> Play[Booted]:
    """HTTP Boot: an offer with 60 HTTPClient and a URL; HEAD, then GET."""
    machine.who, machine.architecture, machine.efi = "UEFI HTTP Boot", variant.architecture, True
    xid = machine.next_xid()
    discover = discovers.edk2_http(machine.mac, xid, variant.http_arch, machine.uuid)
    offers = yield from dhcp.ask(
        machine,
        [(discover, wait) for wait in WAITS],
        (MessageType.OFFER,),
        _http_fits,
        any_address,
        collect=True,
    )
    boots = next((offer for offer in offers if _is_http(offer)), None)
    addressed = boots if boots and int(boots.message.yiaddr) else _first_address(offers)
    if boots is None and offers:
        raise dhcp.nothing_to_boot(machine, "no offer is HTTP Boot's, with 60 HTTPClient and a URL")
    if boots is None or addressed is None:
        raise dhcp.nobody(machine)
    options = dhcp.as_request(addressed.octets, addressed.server_id, addressed.message.yiaddr)
    request = discovers.edk2_http(machine.mac, xid, variant.http_arch, machine.uuid, options)
    acks = yield from dhcp.ask(machine, [(request, wait) for wait in WAITS], (MessageType.ACK,), _short)
    if not acks:
        raise dhcp.nobody(machine, "DHCPREQUEST")
    url = boots.bootfile
    yield from dhcp.take(machine, acks[0], acks[0].server_id, url)
    host = url.partition("://")[2].partition("/")[0].partition(":")[0]
    if not _dotted(host) and Option.DNS not in acks[0].message.options:
        raise WontBoot(f"{host[:100]} is a name, and the answer has no DNS server (option 6)", "set dns")
    head = yield from http.read(machine, HTTP, url, method="HEAD", does="learns size and type")
    if isinstance(head, Missing):
        raise _failed(head)
    found = yield from http.read(machine, HTTP, url, does="starts it")
    if isinstance(found, Missing):
        raise _failed(found)
    if not found.name.lower().endswith((".efi", ".iso", ".img")):
        machine.caution(
            f"{found.name} has no suffix by which the firmware knows its type; the server must tell it"
        )
    return (yield from run(machine, found))


def run(machine: Machine, found: Loaded) -> Play[Booted]:
    """LoadImage and StartImage: a PE program for this machine; what it then does is the loader's matter."""
    pe = efi_machine(found.content)
    if pe is None:
        raise WontBoot(f"{found.name} isn't an EFI program", "offer this firmware an .efi file")
    if pe != EFI_MACHINES[machine.architecture]:
        raise WontBoot(
            f"{found.name} is for machine {pe:#x}, this one is {EFI_MACHINES[machine.architecture]:#x}",
            "the loader must be for what option 93 says",
        )
    if machine.begin is None:
        raise WontBoot(f"{found.name} was fetched, and nobody goes on", "")
    return (yield from machine.begin(machine, found))


def server_of(reply: Reply) -> IPv4Address:
    """siaddr, else option 54."""
    return reply.message.siaddr if int(reply.message.siaddr) else reply.server_id


# Offers


def _short(reply: Reply) -> str | None:
    if len(reply.octets) > MOST_OFFER:
        return f"it has {len(reply.octets)} octets, and UEFI drops what is over {MOST_OFFER}"
    return None


def any_address(offers: list[Reply]) -> bool:
    """Whether an address was offered."""
    return _first_address(offers) is not None


def _first_address(offers: list[Reply]) -> Reply | None:
    return next((offer for offer in offers if int(offer.message.yiaddr)), None)


def is_pxe(offer: Reply) -> bool:
    """Whether 60 is PXEClient."""
    return offer.text(Option.VENDOR_CLASS).startswith("PXEClient")


def _vendor(offer: Reply) -> dict[int, bytes]:
    return sub_options(offer.message.options.get(Option.VENDOR_SPECIFIC, b""))


def is_pxe10(offer: Reply) -> bool:
    """Whether 43 says how boot servers are found."""
    return is_pxe(offer) and any(code in _vendor(offer) for code in range(6, 11))


def best(offers: list[Reply]) -> tuple[Reply, Reply] | None:
    """The offer of the address and the one that says what to boot, in EDK2's order of preference."""
    own = [offer for offer in offers if int(offer.message.yiaddr)]
    proxies = [offer for offer in offers if not int(offer.message.yiaddr) and is_pxe(offer)]
    if not own:
        return None
    for offer in own:
        if is_pxe10(offer):
            return offer, offer
    for proxy in proxies:
        if is_pxe10(proxy):
            return own[0], proxy
    for offer in own:
        if is_pxe(offer):
            return offer, offer
    if proxies:
        return own[0], proxies[0]
    return next(((offer, offer) for offer in own if offer.bootfile), None)


def no_boot(machine: Machine, offers: list[Reply]) -> WontBoot:
    """The end of a firmware that nothing was offered to."""
    if not offers:
        return dhcp.nobody(machine)
    return dhcp.nothing_to_boot(machine, "the offer has an address and nothing to boot")


def _request(machine: Machine, variant: Variant, xid: int, offer: Reply) -> Play[Reply]:
    options = dhcp.as_request(offer.octets, offer.server_id, offer.message.yiaddr)
    request = discovers.edk2(machine.mac, xid, variant.arch, machine.uuid, options)
    tries = [(request, wait) for wait in WAITS]
    acks = yield from dhcp.ask(machine, tries, (MessageType.ACK, MessageType.NAK), acknowledged)
    if not acks:
        raise dhcp.nobody(machine, "DHCPREQUEST")
    return acks[0]


def acknowledged(reply: Reply) -> str | None:
    """An ACK, or why the answer to a REQUEST is none."""
    return "the server takes its offer back (NAK)" if reply.message.type is MessageType.NAK else _short(reply)


def asked(
    machine: Machine, request: Callable[[discovers.Options, IPv4Address], bytes], boots: Reply
) -> Play[Reply]:
    """Ask a boot server on port 4011 where the offer wants it: BINL, or a menu that doesn't name a file."""
    vendor = _vendor(boots)
    if not is_pxe(boots):
        return boots
    control = vendor.get(6, b"\0")[:1] or b"\0"
    if is_pxe10(boots) and (control[0] & _NO_ASKING or 9 not in vendor):
        if boots.bootfile:
            return boots
        raise WontBoot("the offer says to take its boot file, and has none", "see the server's configuration")
    options: discovers.Options = [(53, discovers.REQUEST)]
    if is_pxe10(boots):
        # The menu's first entry is taken when its prompt's time is over.
        options.append((43, b"\x47\x04" + vendor[9][:2] + b"\0\0\xff"))
    to = _listed(vendor.get(8, b""), vendor.get(9, b"")[:2]) or server_of(boots)
    address = machine.lease.address.ip if machine.lease else IPv4Address(0)
    octets = request(options, address)
    answers = yield from dhcp.ask(
        machine,
        [(octets, wait) for wait in BINL_WAITS],
        (MessageType.ACK, MessageType.OFFER),
        has_file,
        to=(to, dhcp.PXE),
        source=address,
        what=f"DHCPREQUEST to {to} port 4011",
    )
    if not answers:
        raise WontBoot(
            f"no boot file from {to}, port 4011: {machine.refusal or 'no answer'}",
            "answer there, or send option 43 = 06 01 08 ff with 60, so that it isn't asked",
        )
    return answers[0]


def _listed(servers: bytes, kind: bytes) -> IPv4Address | None:
    """The first address that 43.8 has for a type of server."""
    at = 0
    while at + 7 <= len(servers):
        count = servers[at + 2]
        if servers[at : at + 2] == kind and count:
            return IPv4Address(servers[at + 3 : at + 7])
        at += 3 + 4 * count
    return None


def has_file(reply: Reply) -> str | None:
    """An answer of port 4011 must name a boot file."""
    return _short(reply) or (None if reply.bootfile else "it names no boot file")


def _is_http(offer: Reply) -> bool:
    return offer.text(Option.VENDOR_CLASS).startswith("HTTPClient") and bool(offer.bootfile)


def _http_fits(offer: Reply) -> str | None:
    if offer.text(Option.VENDOR_CLASS).startswith("HTTPClient"):
        return _short(offer) or (None if offer.bootfile else "60 is HTTPClient, and it has no URL in 67")
    if not int(offer.message.yiaddr):
        return "a proxy's offer without 60 HTTPClient"
    if offer.bootfile:
        return f"60 is {offer.text(Option.VENDOR_CLASS) or 'missing'}, it must begin with HTTPClient"
    return _short(offer)


def _dotted(text: str) -> bool:
    try:
        IPv4Address(text)
    except ValueError:
        return False
    return True


def _failed(missing: Missing) -> WontBoot:
    hint = "serve it, or announce another" if missing.code == 1 else "see the server's log"
    return WontBoot(f"{printable(missing.name.encode())}: {missing.why}", hint)
