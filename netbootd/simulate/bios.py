"""A PC's BIOS with a PXE ROM that isn't iPXE. Pure.

PXE 2.1, RFC 4578. No ROM's source or capture is at hand: what they agree on is here. Offers are judged as PXE
2.1 section 2.2 has it, which is what EDK2 does too.
"""

from ipaddress import IPv4Address

from netbootd.dhcp.options import MessageType
from netbootd.simulate import dhcp, discovers, edk2, tftp
from netbootd.simulate.play import Booted, Lease, Loaded, Machine, Play, WontBoot
from netbootd.simulate.tftp import Habits, Missing

WAITS = (4.0, 8.0, 16.0, 32.0)
TFTP = Habits(options=(("tsize", "0"), ("blksize", "1456")), patience=4.0, tries=6)
_MOST_LOADER = 510 << 10
"""Octets of low memory that a BIOS has for a boot file, about."""


def pxe(machine: Machine) -> Play[Booted]:
    """DHCP, port 4011 where the offer wants it, the boot file."""
    machine.who, machine.architecture, machine.efi = "PXE ROM", "x86_64", False
    xid = machine.next_xid()
    discover = discovers.pxe_rom(machine.mac, xid, machine.uuid)
    offers = yield from dhcp.ask(
        machine,
        [(discover, wait) for wait in WAITS],
        (MessageType.OFFER,),
        lambda _reply: None,
        edk2.any_address,
        collect=True,
    )
    chosen = edk2.best(offers)
    if chosen is None:
        raise edk2.no_boot(machine, offers)
    addressed, boots = chosen
    if not edk2.is_pxe(boots):
        raise WontBoot("60 isn't PXEClient in the offer, and a PXE ROM takes no other", "send 60 PXEClient")
    options = dhcp.as_request(addressed.octets, addressed.server_id, addressed.message.yiaddr)
    request = discovers.pxe_rom(machine.mac, xid, machine.uuid, options)
    acks = yield from dhcp.ask(
        machine, [(request, wait) for wait in WAITS], (MessageType.ACK, MessageType.NAK), edk2.acknowledged
    )
    if not acks:
        raise dhcp.nobody(machine, "DHCPREQUEST")
    boots = acks[0] if boots is addressed else boots
    yield from dhcp.take(machine, acks[0], edk2.server_of(boots), boots.bootfile)

    def ask_4011(options: list[tuple[int, bytes]], address: IPv4Address) -> bytes:
        return discovers.pxe_rom(machine.mac, xid, machine.uuid, options, ciaddr=address)

    boots = yield from edk2.asked(machine, ask_4011, boots)
    lease = yield from dhcp.take(machine, acks[0], edk2.server_of(boots), boots.bootfile)
    machine.lease = Lease(
        address=lease.address,
        router=lease.router,
        server=lease.server,
        bootfile=lease.bootfile,
        answer=boots.message,
        server_id=boots.server_id,
    )
    found = yield from tftp.read(machine, TFTP, lease.server, lease.bootfile, does="starts it")
    if isinstance(found, Missing):
        raise WontBoot(f"{lease.bootfile}: {found.why}", "serve it, or announce another")
    return (yield from _run(machine, found))


def _run(machine: Machine, found: Loaded) -> Play[Booted]:
    if found.size > _MOST_LOADER:
        raise WontBoot(
            f"{found.name} has {found.size >> 10} KiB, more than a BIOS has room for", "a smaller loader"
        )
    if found.content[:2] == b"MZ" and found.content[0x40:].find(b"PE\0\0", 0, 512) >= 0:
        raise WontBoot(
            f"{found.name} is an EFI program, and this is a BIOS", "offer undionly.kpxe or pxelinux.0"
        )
    if machine.begin is None:
        raise WontBoot(f"{found.name} was fetched, and nobody goes on", "")
    return (yield from machine.begin(machine, found))
