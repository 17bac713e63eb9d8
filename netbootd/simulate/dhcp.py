"""A DHCP client's part of the conversation, with the habits of the firmware that plays it. Pure.

`ask` sends a message until something fit comes, judging each reply as that firmware does; `payload` writes a
message with its options in the firmware's own order, which `dhcp.wire` (a server's) doesn't keep.
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface

from netbootd.dhcp.options import MessageType, Option, printable
from netbootd.dhcp.wire import BOOTREPLY, Message, WireError, decode_any
from netbootd.node import Mac
from netbootd.simulate.play import (
    ANY,
    EVERYBODY,
    Datagram,
    Lease,
    Machine,
    Play,
    WontBoot,
    configure,
    now,
    send,
    tell,
    unconfigure,
    wait,
)

CLIENT, SERVER, PXE = 68, 67, 4011
COOKIE = b"\x63\x82\x53\x63"
_NOBODY = (
    "see that netbootd runs and serves this network (`netbootctl doctor`), and that the machine is registered"
)


@dataclass(frozen=True, slots=True)
class Reply:
    """A server's message: read, and as its octets came. `source` is who sent it, which siaddr may belie."""

    message: Message
    octets: bytes
    source: IPv4Address

    @property
    def server_id(self) -> IPv4Address:
        """Option 54, or who sent it where it has none."""
        raw = self.message.options.get(Option.SERVER_ID, b"")
        return IPv4Address(raw) if len(raw) == 4 else self.source

    @property
    def overloaded(self) -> bool:
        """Whether option 52 put options into `sname` or `file`."""
        return bool(_first(self.octets, Option.OVERLOAD).strip(b"\0"))

    @property
    def header_file(self) -> str:
        """`file` of the header; empty where it holds options instead."""
        return printable(self.message.file)

    @property
    def bootfile(self) -> str:
        """Option 67 before the header's field, as PXE and UEFI read it."""
        return printable(self.message.options.get(Option.BOOT_FILE_NAME, b"")) or self.header_file

    def text(self, option: int) -> str:
        """An option as text, empty where it wasn't sent."""
        return printable(self.message.options.get(option, b""))


Judge = Callable[[Reply], str | None]
"""Why the firmware refuses a reply, None where it takes it."""


def payload(  # noqa: PLR0913 (the fields of a message)
    mac: Mac,
    xid: int,
    options: Sequence[tuple[int, bytes]],
    *,
    flags: int = 0,
    secs: int = 0,
    ciaddr: IPv4Address = ANY,
    file: bytes = b"",
    least: int = 0,
) -> bytes:
    """A client's message, its options in the order given, an end mark, padded to `least` octets."""
    head = struct.pack("!BBBBIHH", 1, 1, 6, 0, xid, secs, flags) + ciaddr.packed + bytes(12)
    head += mac.octets + bytes(10) + bytes(64) + file.ljust(128, b"\0")
    body = b"".join(bytes([code, len(value)]) + value for code, value in options)
    return (head + COOKIE + body + b"\xff").ljust(least, b"\0")


def as_request(octets: bytes, server: IPv4Address, address: IPv4Address) -> list[tuple[int, bytes]]:
    """The options that turn a DISCOVER into the REQUEST for an offer: 53, 54, 50, for `payload`."""
    return [(53, b"\3"), (54, server.packed), (50, address.packed)]


def ask(  # noqa: PLR0913 (a firmware's habits, by name)
    machine: Machine,
    tries: Sequence[tuple[bytes, float]],
    kinds: tuple[MessageType, ...],
    judge: Judge,
    enough: Callable[[list[Reply]], bool] = bool,
    *,
    collect: bool = False,
    to: tuple[IPv4Address, int] = (EVERYBODY, SERVER),
    source: IPv4Address = ANY,
    local: int = CLIENT,
    bare: bool = False,
    ttl: int = 64,
    what: str = "",
) -> Play[list[Reply]]:
    """Send each of `tries` (octets, seconds to wait) until `enough` has come; the replies that were taken.

    With `collect` it hears a try out before it looks. After the last try it's what there is, empty often; the
    machine's steps say what came and why it was refused.
    """
    taken: list[Reply] = []
    refused: list[str] = []
    xids = {octets[4:8] for octets, _ in tries}
    began = yield from now()
    if MessageType.OFFER in kinds and source == ANY:
        # An address of the time before isn't its own any more: an offer may be of another.
        yield from unconfigure()
    for number, (octets, seconds) in enumerate(tries, 1):
        asked = what or _name(octets)
        if number > 1:
            asked += f", try {number}"
        sent = yield from now()
        yield from send(
            Datagram(
                source=source, source_port=local, to=to[0], port=to[1], payload=octets, bare=bare, ttl=ttl
            )
        )
        while (left := sent + seconds - (yield from now())) > 0:
            heard = yield from wait(local, left)
            reply = _reply(heard, xids, machine.mac) if isinstance(heard, Datagram) else None
            if reply is None or reply.message.type not in kinds:
                continue
            why = judge(reply)
            if why is None:
                taken.append(reply)
                does = "takes it" if enough(taken) else "waits for another beside it"
            else:
                refused.append(why)
                does = f"refuses it: {why}"
            yield from tell(machine, asked, shown(reply), does, began=sent, good=why is None)
            if why is None and enough(taken) and not collect:
                return taken
        if enough(taken):
            return taken
    if not refused and not taken:
        count = f"{len(tries)} tries" if len(tries) > 1 else "one try"
        yield from tell(machine, what or _name(tries[0][0]), f"no answer to {count}", began=began, good=False)
    machine.refusal = refused[-1] if refused else ""
    return taken


def nobody(machine: Machine, what: str = "DHCP") -> WontBoot:
    """The end of a board that got no reply it takes: the last refusal, or silence."""
    if machine.refusal:
        return WontBoot(
            f"it refuses the {what} answer: {machine.refusal}",
            f"on the head node `netbootctl why {machine.mac}` says what is missing,"
            " and `explain` shows the whole answer",
        )
    return WontBoot(f"no {what} answer", _NOBODY)


def nothing_to_boot(machine: Machine, found: str) -> WontBoot:
    """The end of a board that was given an address and no more; the head node knows why."""
    return WontBoot(
        found,
        "register the machine, with an image of its architecture; on the head node"
        f" `netbootctl why {machine.mac}` says what is missing",
    )


def take(machine: Machine, reply: Reply, server: IPv4Address, bootfile: str) -> Play[Lease]:
    """Have the address of a reply, and remember where it says to boot from."""
    message = reply.message
    lease = Lease(
        address=IPv4Interface(f"{message.yiaddr}/{_prefix(message)}"),
        router=_address(message.options.get(Option.ROUTER, b"")[:4]),
        server=server,
        bootfile=bootfile,
        answer=message,
        server_id=reply.server_id,
    )
    machine.lease = lease
    yield from configure(lease.address, lease.router)
    return lease


def shown(reply: Reply) -> str:
    """A reply in a few words."""
    message = reply.message
    words = [str(message.type.name if message.type else "BOOTREPLY"), str(message.yiaddr)]
    words.append(f"from {reply.source}")
    if reply.bootfile:
        words.append(f"file {reply.bootfile[:120]}")
    if int(message.siaddr) and message.siaddr != reply.source:
        words.append(f"siaddr {message.siaddr}")
    return " ".join(words)


# Details


def _reply(heard: Datagram, xids: set[bytes], mac: Mac) -> Reply | None:
    octets = heard.payload
    if heard.source_port not in (SERVER, PXE) or octets[4:8] not in xids:
        return None
    try:
        message = decode_any(octets)
    except WireError:
        return None
    if message.op != BOOTREPLY or message.chaddr != mac:
        return None
    return Reply(message, octets, heard.source)


def _name(octets: bytes) -> str:
    kind = _first(octets, Option.MESSAGE_TYPE)
    return f"DHCP{MessageType(kind[0]).name}" if kind and kind[0] in set(MessageType) else "BOOTP request"


def _first(octets: bytes, wanted: int) -> bytes:
    """An option of the option field alone, as it stands."""
    at = 240
    while at + 2 <= len(octets) and octets[at] != Option.END:
        if octets[at] == Option.PAD:
            at += 1
            continue
        if octets[at] == wanted:
            return octets[at + 2 : at + 2 + octets[at + 1]]
        at += 2 + octets[at + 1]
    return b""


def _address(raw: bytes) -> IPv4Address | None:
    return IPv4Address(raw) if len(raw) == 4 and any(raw) else None


def _prefix(message: Message) -> int:
    """The netmask's length; without one the address's class decides (RFC 950), with nonsense 32."""
    raw = message.options.get(Option.SUBNET_MASK, b"")
    if len(raw) == 4:
        bits = f"{int.from_bytes(raw, 'big'):032b}".rstrip("0")
        return len(bits) if "0" not in bits else 32
    first = message.yiaddr.packed[0]
    return 8 if first < 128 else 16 if first < 192 else 24
