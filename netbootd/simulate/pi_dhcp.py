"""How a Raspberry Pi asks for its address, and which answers it takes. Pure.

raspberrypi/documentation boot-net.adoc, eeprom-bootloader.adoc; raspberrypi/firmware #801, rpi-eeprom #182,
#376. An offer is for a Pi if option 43 says so; the address may be another server's (proxyDHCP).
"""

from collections.abc import Callable, Sequence
from ipaddress import IPv4Address

from netbootd.dhcp.options import MessageType, Option, printable, sub_options
from netbootd.simulate import dhcp, discovers
from netbootd.simulate.dhcp import Reply
from netbootd.simulate.play import ANY, Machine, Play

TEXT = b"Raspberry Pi Boot"
SPACES = b"   "
"""What the ROM of the 3B wants after the text."""


def rom(machine: Machine, octets: bytes, judge: dhcp.Judge) -> Play[IPv4Address]:
    """No REQUEST is ever sent: the OFFER is final. The server is who sent it, siaddr isn't read (#801)."""
    replies = yield from dhcp.ask(
        machine,
        [(octets, 5.0)] * 5,
        (MessageType.OFFER,),
        _addresses_too(judge),
        _addressed_and(judge),
        bare=True,
        ttl=128,
    )
    return (yield from _settle(machine, replies, judge, lambda reply: reply.source))


def eeprom(machine: Machine, uuid: bytes) -> Play[IPv4Address]:
    """The EEPROM's default timers: 4 s for each DISCOVER (DHCP_REQ_TIMEOUT), 45 s in all (DHCP_TIMEOUT)."""
    machine.who, machine.architecture = "EEPROM boot loader", "aarch64"
    xid = machine.next_xid()
    discover = discovers.raspberry_eeprom(machine.mac, xid, uuid)
    replies = yield from dhcp.ask(
        machine,
        [(discover, 4.0)] * 11,
        (MessageType.OFFER,),
        _addresses_too(_pi4_takes),
        _addressed_and(_pi4_takes),
    )
    server = yield from _settle(machine, replies, _pi4_takes, _pi4_server)
    offer = next(reply for reply in replies if int(reply.message.yiaddr))
    options = dhcp.as_request(offer.octets, offer.server_id, offer.message.yiaddr)
    request = discovers.raspberry_eeprom(machine.mac, xid, uuid, options)
    acks = yield from dhcp.ask(
        machine, [(request, 4.0)] * 3, (MessageType.ACK, MessageType.NAK), _no_nak, what="DHCPREQUEST"
    )
    if not acks:
        raise dhcp.nobody(machine)
    return server


def _settle(
    machine: Machine, replies: Sequence[Reply], judge: dhcp.Judge, server_of: Callable[[Reply], IPv4Address]
) -> Play[IPv4Address]:
    addressed = next((reply for reply in replies if int(reply.message.yiaddr)), None)
    boots = next((reply for reply in replies if judge(reply) is None), None)
    if addressed is None or boots is None:
        if replies and boots is None:
            machine.refusal = judge(replies[-1]) or ""
        raise dhcp.nobody(machine)
    server = server_of(boots)
    yield from dhcp.take(machine, addressed, server, "")
    if boots.message.siaddr not in (server, ANY):
        machine.caution(f"the answer's siaddr is {boots.message.siaddr}; files are fetched from {server}")
    return server


def _addresses_too(judge: dhcp.Judge) -> dhcp.Judge:
    """An offer of a mere address is kept beside one that says what to boot (proxyDHCP)."""

    def judged(reply: Reply) -> str | None:
        if Option.VENDOR_SPECIFIC not in reply.message.options and int(reply.message.yiaddr):
            return judge(reply) and None
        return judge(reply)

    return judged


def _addressed_and(judge: dhcp.Judge) -> Callable[[list[Reply]], bool]:
    def enough(replies: list[Reply]) -> bool:
        return any(int(r.message.yiaddr) for r in replies) and any(judge(r) is None for r in replies)

    return enough


def has_text(reply: Reply, spaces: bytes) -> str | None:
    """Why option 43 is none for a Pi, None where it is."""
    menu = reply.message.options.get(Option.VENDOR_SPECIFIC)
    if menu is None:
        return "option 43 is missing, it must say 'Raspberry Pi Boot'"
    if TEXT not in menu:
        return f"option 43 says {printable(menu)!r}, not 'Raspberry Pi Boot'"
    if TEXT + spaces not in menu:
        return "'Raspberry Pi Boot' in option 43 isn't followed by three spaces, which this ROM insists on"
    return None


def _pi4_takes(reply: Reply) -> str | None:
    """43 with the text, in the first entry of a menu where it is one (rpi-eeprom #182, #376), or 66 as dotted
    quad."""
    menu = reply.message.options.get(Option.VENDOR_SPECIFIC)
    if menu is not None:
        entry = sub_options(menu).get(9, b"")
        first = entry[3 : 3 + entry[2]] if len(entry) > 3 else menu
        if TEXT in first:
            return None
        return f"option 43 begins with {printable(first)!r}, not with 'Raspberry Pi Boot'"
    if _dotted(reply.text(Option.TFTP_SERVER_NAME)) is None:
        return "neither option 43 with 'Raspberry Pi Boot' nor option 66 as a dotted address"
    return None


def _pi4_server(reply: Reply) -> IPv4Address:
    dotted = _dotted(reply.text(Option.TFTP_SERVER_NAME))
    if dotted and Option.VENDOR_SPECIFIC not in reply.message.options:
        return dotted
    return reply.message.siaddr if int(reply.message.siaddr) else reply.server_id


def _dotted(text: str) -> IPv4Address | None:
    try:
        return IPv4Address(text)
    except ValueError:
        return None


def _no_nak(reply: Reply) -> str | None:
    return "the server takes its offer back (NAK)" if reply.message.type is MessageType.NAK else None
