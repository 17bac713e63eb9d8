"""The Linux kernel's own `ip=dhcp` with a root on NFS (net/ipv4/ipconfig.c, fs/nfs/nfsroot.c). Pure.

There is no loader: that the kernel runs is taken for granted, what is looked at is the lease that it would
get and the root that it would mount.
"""

from netbootd.dhcp.options import INFINITE, MessageType, Option
from netbootd.simulate import dhcp, discovers
from netbootd.simulate.dhcp import Reply
from netbootd.simulate.play import Booted, Machine, Play

OPTION_AREA = 312
"""Octets of the option field of its `struct bootp_pkt`, the cookie among them."""


def autoconfigure(machine: Machine) -> Play[Booted]:
    """DISCOVER to ACK, then what nfsroot would be."""
    machine.who, machine.architecture = "Linux ip=dhcp", "any"
    xid = machine.next_xid()
    # CONF_BASE_TIMEOUT 2 s, six tries, each half as long again.
    waits = [2.0 * 1.5**number for number in range(6)]
    discover = discovers.linux(machine.mac, xid)
    offers = yield from dhcp.ask(machine, [(discover, wait) for wait in waits], (MessageType.OFFER,), fits)
    if not offers:
        raise dhcp.nobody(machine)
    offer = offers[0]
    options = dhcp.as_request(offer.octets, offer.server_id, offer.message.yiaddr)
    request = discovers.linux(machine.mac, xid, options)
    acks = yield from dhcp.ask(
        machine, [(request, wait) for wait in waits], (MessageType.ACK, MessageType.NAK), _acknowledged
    )
    if not acks:
        raise dhcp.nobody(machine, "DHCPREQUEST")
    ack = acks[0]
    lease = yield from dhcp.take(machine, ack, ack.message.siaddr, "")
    seconds = ack.message.options.get(Option.LEASE_TIME, b"")
    if len(seconds) == 4 and int.from_bytes(seconds, "big") != INFINITE:
        machine.caution(
            f"the lease ends after {int.from_bytes(seconds, 'big')} s, and the kernel never renews it;"
            " an NFS root hangs when another gets the address"
        )
    root = ack.text(Option.ROOT_PATH)
    return Booted(
        kernel="the one that runs",
        initrd=None,
        root=f"NFS {root if ':' in root else f'{lease.server}:{root}'}"
        if root
        else "what its command line says",
        command_line=f"ip=dhcp ({lease.address})",
    )


def fits(reply: Reply) -> str | None:
    """What ic_bootp_recv drops, and what it can't read."""
    if reply.overloaded:
        return "it has option 52, which the kernel doesn't read: options in sname and file are lost"
    if not int(reply.message.yiaddr):
        return "it has no address (yiaddr 0)"
    end = reply.octets.rstrip(b"\0")
    if len(end) - 236 > OPTION_AREA:
        return f"its options take {len(end) - 236} octets, the kernel has room for {OPTION_AREA}"
    return None


def _acknowledged(reply: Reply) -> str | None:
    return "the server takes its offer back (NAK)" if reply.message.type is MessageType.NAK else fits(reply)
