"""The DHCP options that an admin may set, by name: IANA's "BOOTP Vendor Extensions and DHCP Options". Pure.

RFC 2132 in full, and what later RFCs added that is one value or a list. Names are IANA's in the spelling
that Kea and ISC dhcpd gave them; dnsmasq's are understood too. Any other option is `option-NUMBER`, in
hexadecimal.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from netbootd.dhcp.option_types import (
    ADDRESS,
    ADDRESS_PAIRS,
    ADDRESSES,
    BOOL,
    DOMAIN,
    DOMAINS,
    HEX,
    MTUS,
    OFFSET,
    ROUTES,
    SECONDS,
    SIP,
    STATIC_ROUTES,
    TEXT,
    OptionType,
    unsigned,
)
from netbootd.errors import UserError, did_you_mean

LARGEST = 1024
"""Octets of one option; a reply is one Ethernet frame, and has other options too."""
NOT_SENT = "none"
"""The word for an option that isn't sent, whoever else set it. Its octets are none."""


@dataclass(frozen=True, slots=True)
class Known:
    """An option that has a name."""

    number: int
    name: str
    type: OptionType


_ROWS: tuple[tuple[int, str, OptionType], ...] = (
    (1, "subnet-mask", ADDRESS),
    (2, "time-offset", OFFSET),
    (3, "routers", ADDRESSES),
    (4, "time-servers", ADDRESSES),
    (5, "name-servers", ADDRESSES),
    (6, "domain-name-servers", ADDRESSES),
    (7, "log-servers", ADDRESSES),
    (8, "cookie-servers", ADDRESSES),
    (9, "lpr-servers", ADDRESSES),
    (10, "impress-servers", ADDRESSES),
    (11, "resource-location-servers", ADDRESSES),
    (12, "host-name", TEXT),
    (13, "boot-size", unsigned(2)),
    (14, "merit-dump", TEXT),
    (15, "domain-name", TEXT),
    (16, "swap-server", ADDRESS),
    (17, "root-path", TEXT),
    (18, "extensions-path", TEXT),
    (19, "ip-forwarding", BOOL),
    (20, "non-local-source-routing", BOOL),
    (21, "policy-filter", ADDRESS_PAIRS),
    (22, "max-dgram-reassembly", unsigned(2, low=576)),
    (23, "default-ip-ttl", unsigned(1, low=1)),
    (24, "path-mtu-aging-timeout", SECONDS),
    (25, "path-mtu-plateau-table", MTUS),
    (26, "interface-mtu", unsigned(2, low=68, example=1500)),
    (27, "all-subnets-local", BOOL),
    (28, "broadcast-address", ADDRESS),
    (29, "perform-mask-discovery", BOOL),
    (30, "mask-supplier", BOOL),
    (31, "router-discovery", BOOL),
    (32, "router-solicitation-address", ADDRESS),
    (33, "static-routes", STATIC_ROUTES),
    (34, "trailer-encapsulation", BOOL),
    (35, "arp-cache-timeout", SECONDS),
    (36, "ieee802-3-encapsulation", BOOL),
    (37, "default-tcp-ttl", unsigned(1, low=1)),
    (38, "tcp-keepalive-interval", SECONDS),
    (39, "tcp-keepalive-garbage", BOOL),
    (40, "nis-domain", TEXT),
    (41, "nis-servers", ADDRESSES),
    (42, "ntp-servers", ADDRESSES),
    (43, "vendor-encapsulated-options", HEX),
    (44, "netbios-name-servers", ADDRESSES),
    (45, "netbios-dd-servers", ADDRESSES),
    (46, "netbios-node-type", unsigned(1, low=1, high=8)),
    (47, "netbios-scope", TEXT),
    (48, "font-servers", ADDRESSES),
    (49, "x-display-managers", ADDRESSES),
    (50, "requested-address", ADDRESS),
    (51, "lease-time", SECONDS),
    (52, "option-overload", unsigned(1)),
    (53, "message-type", unsigned(1)),
    (54, "server-id", ADDRESS),
    (55, "parameter-request-list", HEX),
    (56, "message", TEXT),
    (57, "maximum-size", unsigned(2)),
    (58, "renewal-time", SECONDS),
    (59, "rebinding-time", SECONDS),
    (60, "vendor-class", TEXT),
    (61, "client-id", HEX),
    (62, "nwip-domain", TEXT),  # RFC 2242
    (63, "nwip-suboptions", HEX),  # RFC 2242
    (64, "nisplus-domain", TEXT),
    (65, "nisplus-servers", ADDRESSES),
    (66, "tftp-server-name", TEXT),
    (67, "bootfile-name", TEXT),
    (68, "mobile-ip-home-agents", ADDRESSES),
    (69, "smtp-servers", ADDRESSES),
    (70, "pop-servers", ADDRESSES),
    (71, "nntp-servers", ADDRESSES),
    (72, "www-servers", ADDRESSES),
    (73, "finger-servers", ADDRESSES),
    (74, "irc-servers", ADDRESSES),
    (75, "streettalk-servers", ADDRESSES),
    (76, "streettalk-directory-assistance-servers", ADDRESSES),
    (77, "user-class", TEXT),  # RFC 3004; shown as iPXE writes it, without lengths
    (80, "rapid-commit", HEX),  # RFC 4039
    (81, "client-fqdn", HEX),  # RFC 4702
    (82, "relay-agent", HEX),  # RFC 3046
    (85, "nds-servers", ADDRESSES),  # RFC 2241
    (86, "nds-tree-name", TEXT),  # RFC 2241
    (87, "nds-context", TEXT),  # RFC 2241
    (88, "bcmcs-controller-names", DOMAINS),  # RFC 4280
    (89, "bcmcs-controller-addresses", ADDRESSES),  # RFC 4280
    (90, "authentication", HEX),  # RFC 3118
    (93, "client-architecture", HEX),  # RFC 4578
    (94, "client-interface", HEX),  # RFC 4578
    (97, "client-uuid", HEX),  # RFC 4578
    (98, "uap-servers", TEXT),  # RFC 2485
    (100, "posix-timezone", TEXT),  # RFC 4833
    (101, "tzdb-timezone", TEXT),  # RFC 4833
    (108, "v6-only-preferred", SECONDS),  # RFC 8925
    (112, "netinfo-servers", ADDRESSES),
    (113, "netinfo-server-tag", TEXT),
    (114, "captive-portal", TEXT),  # RFC 8910
    (116, "auto-config", unsigned(1, high=1)),  # RFC 2563
    (118, "subnet-selection", ADDRESS),  # RFC 3011
    (119, "domain-search", DOMAINS),  # RFC 3397
    (120, "sip-servers", SIP),  # RFC 3361
    (121, "classless-static-routes", ROUTES),  # RFC 3442
    (124, "vendor-identifying-class", HEX),  # RFC 3925
    (125, "vendor-identifying-options", HEX),  # RFC 3925
    (136, "pana-agents", ADDRESSES),  # RFC 5192
    (137, "lost-server", DOMAIN),  # RFC 5223
    (138, "capwap-controllers", ADDRESSES),  # RFC 5417
    (141, "sip-ua-domains", DOMAINS),  # RFC 6011
    (147, "dots-agent", DOMAIN),  # RFC 8973
    (148, "dots-addresses", ADDRESSES),  # RFC 8973
    (150, "tftp-server-addresses", ADDRESSES),  # RFC 5859
    (175, "ipxe", HEX),  # ipxe.org
    (208, "pxelinux-magic", HEX),  # RFC 5071
    (209, "pxelinux-config", TEXT),  # RFC 5071
    (210, "pxelinux-prefix", TEXT),  # RFC 5071
    (211, "pxelinux-reboot-time", SECONDS),  # RFC 5071
    (213, "access-domain", DOMAIN),  # RFC 5986
    (249, "ms-classless-static-routes", ROUTES),  # Microsoft's number for 121
    (252, "wpad", TEXT),  # draft-ietf-wrec-wpad
)

KNOWN: Mapping[int, Known] = {number: Known(number, name, kind) for number, name, kind in _ROWS}
_NUMBERS = {known.name: known.number for known in KNOWN.values()}
_ALSO = {
    "netmask": 1, "router": 3, "time-server": 4, "name-server": 5, "dns": 6, "dns-server": 6,
    "dns-servers": 6,
    "log-server": 7, "cookie-server": 8, "lpr-server": 9, "impress-server": 10, "hostname": 12,
    "boot-file-size": 13, "domain": 15, "extension-path": 18, "ip-forward-enable": 19,
    "non-local-source-routing-enable": 20, "max-datagram-reassembly": 22, "default-ttl": 23, "mtu": 26,
    "broadcast": 28, "router-solicitation": 32, "static-route": 33, "arp-timeout": 35,
    "ethernet-encap": 36, "tcp-ttl": 37, "tcp-keepalive": 38, "nis-server": 41, "ntp-server": 42, "ntp": 42,
    "vendor-encap": 43, "vendor-options": 43, "netbios-ns": 44, "netbios-dd": 45, "netbios-dd-server": 45,
    "netbios-nodetype": 46, "x-windows-fs": 48, "x-windows-dm": 49, "x-display-manager": 49,
    "dhcp-requested-address": 50, "requested-ip-address": 50, "dhcp-lease-time": 51,
    "dhcp-option-overload": 52,
    "dhcp-message-type": 53, "dhcp-server-identifier": 54, "server-identifier": 54,
    "dhcp-parameter-request-list": 55, "dhcp-message": 56, "dhcp-max-message-size": 57,
    "dhcp-renewal-time": 58, "t1": 58, "dhcp-rebinding-time": 59, "t2": 59, "vendor-class-identifier": 60,
    "vendor-class-id": 60, "dhcp-client-identifier": 61, "nwip-domain-name": 62, "nisplus-domain-name": 64,
    "nis+-domain": 64, "nisplus-server": 65, "nis+-server": 65, "tftp-server": 66, "boot-file-name": 67,
    "bootfile": 67, "mobile-ip-home-agent": 68, "mobile-ip-home": 68, "smtp-server": 69, "pop-server": 70,
    "pop3-server": 70, "nntp-server": 71, "www-server": 72, "finger-server": 73, "irc-server": 74,
    "streettalk-server": 75, "streettalk-directory-assistance-server": 76, "fqdn": 81,
    "dhcp-agent-options": 82, "bcms-controller-names": 88, "bcms-controller-address": 89,
    "authenticate": 90, "client-arch": 93, "client-system": 93,
    "client-interface-id": 94, "client-ndi": 94, "client-machine-id": 97, "uuid-guid": 97, "posix-tz": 100,
    "pcode": 100, "tzdb-tz": 101, "tcode": 101, "v6-only": 108, "ipv6-only": 108,
    "netinfo-server-address": 112, "v4-captive-portal": 114,
    "default-url": 114, "subnet-select": 118, "sip-server": 120, "classless-static-route": 121,
    "classless-routes": 121, "vivco-suboptions": 124, "vivso-suboptions": 125, "vi-encap": 125,
    "pana-agent": 136, "v4-lost": 137, "capwap-ac-v4": 138, "sip-ua-cs-domains": 141,
    "tftp-server-address": 150, "pxelinux-configfile": 209, "configfile": 209, "path-prefix": 210,
    "reboot-time": 211, "v4-access-domain": 213, "ms-static-routes": 249,
}  # fmt: skip
"""What dnsmasq, Kea and ISC dhcpd call some of them, and IANA where that differs."""

_OURS = "netbootd says it itself in each reply"
_CLIENTS = "only clients send it"
REFUSED: Mapping[int, tuple[str, str]] = {
    0: ("it is the padding between options", ""),
    1: ("it follows from the network", "write `address` of the [[network]] with its prefix length"),
    12: ("each node's name is its host name", "`netbootctl node rename`"),
    13: ("UEFI takes it for the file's exact size (EDK2, PxeBcBoot.c)", "leave it out"),
    50: (_CLIENTS, "`netbootctl node set NAME --ip` chooses a node's address"),
    51: (
        "a node's lease never ends, because its root hangs on it",
        "`lease_time` of the [[network]] is for machines from the pool",
    ),
    52: ("not every client reads options out of the header's fields", "leave it out"),
    53: (_OURS, "leave it out"),
    54: (_OURS, "`address` of the [[network]] is the server's"),
    55: (_CLIENTS, "leave it out"),
    56: ("netbootd says there why it refused an address", "leave it out"),
    57: (_CLIENTS, "leave it out"),
    58: ("it is half of the lease's time", "set `lease_time` of the [[network]]"),
    59: ("it is seven eighths of the lease's time", "set `lease_time` of the [[network]]"),
    61: (
        "the client's own is returned to it (RFC 6842)",
        "`echo_client_id = false` in the [[network]] leaves it out",
    ),
    77: (_CLIENTS, "leave it out"),
    80: ("netbootd gives an address only after a REQUEST", "leave it out"),
    81: ("netbootd changes no DNS", "a node's name is sent in option 12"),
    82: ("it is between the relay agent and netbootd, which returns it whole (RFC 3046)", "leave it out"),
    90: ("netbootd signs no DHCP messages", "leave it out"),
    93: (_CLIENTS, "leave it out"),
    94: (_CLIENTS, "leave it out"),
    97: ("the client's own is returned to it (RFC 4578)", "leave it out"),
    118: (_CLIENTS, "leave it out"),
    255: ("it is the mark at the end of the options", ""),
}
"""What an admin can't set: why, and what is right instead."""


def name(code: int) -> str:
    """What option `code` is called, as in `ntp-servers`; `option-224` where it has no name."""
    return KNOWN[code].name if code in KNOWN else f"option-{code}"


def number(written: str) -> int:
    """The option that an admin names: `ntp-servers`, `option-42` or 42. Raises UserError."""
    word = written.strip().lower().replace("_", "-").removeprefix("option:")
    found = _NUMBERS.get(word, _ALSO.get(word))
    digits = word.removeprefix("option-")
    if found is None and digits.isascii() and digits.isdigit() and len(digits) <= 3 and int(digits) <= 255:
        found = int(digits)
    if found is not None:
        return found
    also = did_you_mean(word, _ALSO, "write its number, as in option-224")
    raise UserError(f"there is no DHCP option {written[:40]!r}", did_you_mean(word, _NUMBERS, also))


def read(written: str, value: object) -> tuple[int, bytes]:
    """An option as an admin wrote it, a TOML value or a text: its number, its octets. Raises UserError.

    A list may be a list or a text with commas. `hex:` before a text gives the octets of any option, and
    NOT_SENT gives none.
    """
    code = number(written)
    if code in REFUSED:
        why, instead = REFUSED[code]
        raise UserError(f"option {code} ({name(code)}) can't be set: {why}", instead)
    kind = KNOWN[code].type if code in KNOWN else HEX
    if value == NOT_SENT:
        return code, b""
    try:
        octets = _octets(kind, value)
    except ValueError as error:
        raise UserError(f"{written[:40]}: {error}", f"write it as {kind.example}") from None
    if len(octets) > LARGEST:
        raise UserError(f"{written[:40]} has {len(octets)} octets", f"at most {LARGEST} can be sent")
    return code, octets


def show(code: int, octets: bytes) -> str:
    """Octets as `read` takes them; hexadecimal where they aren't of the option's type."""
    if not octets:
        return NOT_SENT
    kind = KNOWN[code].type if code in KNOWN else HEX
    shown = kind.show(octets)
    if shown is None or kind is HEX or not _reads_back(kind, shown, octets):
        return f"hex:{octets.hex()}"
    return shown


def _octets(kind: OptionType, value: object) -> bytes:
    words = [_word(each) for each in value] if isinstance(value, list | tuple) else [_word(value)]
    if kind is HEX and isinstance(value, int):
        raise ValueError(f"{value} is a number, and these octets are written in hexadecimal, as a text")
    if len(words) == 1 and words[0].startswith("hex:"):
        return HEX.read([words[0].removeprefix("hex:")])
    if not words or not any(words):
        raise ValueError("has no value")
    if kind.is_list:
        words = [part.strip() for word in words for part in word.split(",")]
    elif len(words) > 1:
        raise ValueError(f"{len(words)} values are given, and it has one")
    return kind.read(words)


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | str):
        return str(value)
    raise ValueError(f"{str(value)[:40]!r} has to be a text, a number, true or false")


def _reads_back(kind: OptionType, shown: str, octets: bytes) -> bool:
    try:
        return shown != NOT_SENT and not shown.startswith("hex:") and _octets(kind, shown) == octets
    except ValueError:
        return False
