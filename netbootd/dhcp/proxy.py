"""What netbootd answers beside somebody else's DHCP server, and at port 4011 beside its own. Pure.

A proxyDHCP server (PXE 2.1, section 2.2) says what to boot and never gives an address: the client puts its
offer and the other server's together. Port 67 gets an OFFER without an address (yiaddr 0) whose option 60
tells the client that it is a proxy's. Port 4011 is asked by clients that have their address: UEFI after an
offer without option 43 (EDK2 calls that BINL), BIOS ROMs, iPXE after an offer without a boot file.

A registered node's address is the other server's to give, and has to be reserved there: the node's root is
exported to that address alone, and node-init sets it up. What a node asks the other server for is compared
with it here, as it goes by.
"""

from ipaddress import IPv4Address
from types import MappingProxyType

from netbootd.boot.answer import Decision, Ignore, LocalBoot, NetBoot, Wait
from netbootd.boot.client import Client
from netbootd.boot.firmware import recognise
from netbootd.boot.firmware.family import PXE_CLIENT, Family
from netbootd.dhcp import options
from netbootd.dhcp.options import MessageType, Option, sub_options
from netbootd.dhcp.parameters import echoed, parameters
from netbootd.dhcp.reservation import Answer, Reply, Settled, other_server
from netbootd.dhcp.selection import server_id
from netbootd.dhcp.wire import BOOTREPLY, Message
from netbootd.network import Network
from netbootd.node import Node
from netbootd.stage import Level, Stage

BOOT_SERVER_PORT = 4011
"""Where a PXE client asks its boot server (PXE 2.1, section 2.2.1)."""
BOOT_ITEM = 71
"""Sub-option of 43: which entry of a menu the client chose; its boot server repeats it (PXE 2.1)."""
BOOT_ITEM_SIZE = 4
"""Octets of it: two of type, two of layer. One of another size counts as not sent."""
BOOT_OPTIONS = frozenset({43, 60, 66, 67, *range(128, 136), 150, 175, *range(208, 212)})
"""All that a proxy has a say in; the rest of an admin's options is the other server's."""
HTTP_CLIENT = "HTTPClient"
TAKES_NO_PROXY = "takes nothing from a proxyDHCP server"
"""How an event says that a firmware needs the other DHCP server's help: `why` looks for these words."""
REGISTERED_ELSEWHERE = "but is registered with"
"""How an event says that a node has another address than its own: `why` and `doctor` look for these words."""


def answer(
    request: Message, client: Client, decision: Decision, node: Node | None, network: Network
) -> Answer:
    """The answer to what came in at port 67, where the network's DHCP is another server's."""
    if node is None:
        return Ignore(reason="it isn't registered")
    if int(request.ciaddr) and not network.usable(request.ciaddr):
        # The reply would go there, wherever that is.
        return Ignore(reason=f"it says that it has {request.ciaddr}, which lies outside {network.subnet}")
    match request.type:
        case MessageType.DISCOVER:
            return _discover(request, client, decision, node, network)
        case MessageType.REQUEST:
            return _request(request, client, decision, node, network)
    return Ignore(reason="the other DHCP server answers that")


def answer_boot_server(
    request: Message, client: Client, decision: Decision, node: Node | None, network: Network
) -> Answer:
    """The answer to what came in at port 4011, whoever gives the addresses: an ACK of the boot file."""
    if request.type not in (MessageType.REQUEST, MessageType.INFORM):
        return Ignore(reason="port 4011 is asked by REQUEST or INFORM")
    if (chosen := other_server(request, network)) is not None:
        return Ignore(reason=f"its message is for another boot server, {chosen}")
    if not isinstance(decision, NetBoot):
        return Ignore(reason=decision.reason)
    misplaced = _misplaced(node, request.ciaddr, "it has")
    return Reply(
        message=_message(request, MessageType.ACK, client, decision, node, network),
        note=f"told {_booting(decision)}{f'; {misplaced}' if misplaced else ''}",
        stage=Stage.ACK,
        level=Level.WARNING if misplaced else Level.INFO,
    )


# Port 67


def _discover(request: Message, client: Client, decision: Decision, node: Node, network: Network) -> Answer:
    if isinstance(decision, Ignore):
        return decision
    family = recognise(client)
    if isinstance(decision, LocalBoot):
        return Settled(note=f"left to the other DHCP server: {decision.reason}")
    if isinstance(decision, Wait) or family is None:
        return Ignore(reason=decision.reason)
    if not family.behind_proxy:
        return Ignore(
            reason=f"{_title(family)} {TAKES_NO_PROXY}; the other DHCP server has to name the boot file:"
            f" `netbootctl why {node.name}` prints the lines for it"
        )
    return Reply(
        message=_message(request, MessageType.OFFER, client, decision, node, network, family),
        note=f"offered, beside the other server's address, {_booting(decision)}",
        stage=Stage.OFFER,
    )


def _request(request: Message, client: Client, decision: Decision, node: Node, network: Network) -> Answer:
    """For the other server, unless it names us: then a PXE client asks its boot server."""
    chosen = request.address(Option.SERVER_ID)
    family = recognise(client)
    if chosen is not None and other_server(request, network) is None:
        if isinstance(decision, NetBoot) and family is not None and family.behind_proxy:
            return Reply(
                message=_message(request, MessageType.ACK, client, decision, node, network),
                note=f"told {_booting(decision)}",
                stage=Stage.ACK,
            )
        return Ignore(reason=f"it asks {chosen} for an address, and netbootd gives none in proxy mode")
    wanted = request.address(Option.REQUESTED_ADDRESS) or request.ciaddr
    whom = f"the DHCP server {chosen}" if chosen else "another DHCP server"
    if not int(wanted):
        return Ignore(reason="a REQUEST that names no address")
    misplaced = _misplaced(node, wanted, f"asks {whom} for")
    note = misplaced or f"asks {whom} for {wanted}, its own address"
    return Settled(note=note, level=Level.WARNING if misplaced else Level.INFO)


def _misplaced(node: Node | None, address: IPv4Address, verb: str) -> str:
    """What is wrong with a node's address, in words; empty where nothing is."""
    if node is None or not int(address) or address == node.address:
        return ""
    return (
        f"{verb} {address}, {REGISTERED_ELSEWHERE} {node.address}: that has to be reserved for it"
        f" in the other DHCP server; `netbootctl why {node.name}` prints the lines"
    )


def _booting(boot: NetBoot) -> str:
    return f"boot file {boot.bootfile or 'of its own choice'} ({boot.reason})"


# Replies


def _message(
    request: Message,
    kind: MessageType,
    client: Client,
    boot: NetBoot,
    node: Node | None,
    network: Network,
    family: Family | None = None,
) -> Message:
    """An OFFER or an ACK that gives no address; `family` is set where its way of being offered matters."""
    told = parameters(boot, node, network)
    own = HTTP_CLIENT if client.vendor_class.startswith(HTTP_CLIENT) else PXE_CLIENT
    values: dict[int, bytes] = {
        Option.MESSAGE_TYPE: bytes([kind]),
        Option.SERVER_ID: options.address(server_id(request, network)),
        Option.VENDOR_CLASS: own.encode(),
        **{code: value for code, value in told.options.items() if code in BOOT_OPTIONS},
    }
    if family is not None and family.asks_at_4011:
        values.pop(Option.VENDOR_SPECIFIC, None)
    chosen = sub_options(request.options.get(Option.VENDOR_SPECIFIC, b"")).get(BOOT_ITEM, b"")
    if len(chosen) == BOOT_ITEM_SIZE and values.get(Option.VENDOR_SPECIFIC):
        item = bytes((BOOT_ITEM, BOOT_ITEM_SIZE)) + chosen
        values[Option.VENDOR_SPECIFIC] = item + values[Option.VENDOR_SPECIFIC]
    values |= echoed(request, network)
    return Message(
        op=BOOTREPLY,
        xid=request.xid,
        flags=request.flags,
        ciaddr=request.ciaddr if kind is MessageType.ACK else IPv4Address(0),
        siaddr=told.server,
        giaddr=request.giaddr,
        chaddr=request.chaddr,
        file=told.file,
        options=MappingProxyType({code: value for code, value in values.items() if value}),
    )


def _title(family: Family) -> str:
    return _TITLES.get(family.name, family.name)


_TITLES = {"uboot": "U-Boot", "grub": "GRUB", "linux": "a Linux kernel"}
