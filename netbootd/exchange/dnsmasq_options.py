"""The values of dnsmasq's DHCP options (dnsmasq(8), --dhcp-option), as the option table reads them. Pure."""

import re
from collections.abc import Sequence

from netbootd.dhcp import option_table
from netbootd.dhcp.option_types import HEX, TEXT
from netbootd.errors import UserError
from netbootd.exchange.dnsmasq_lines import plain
from netbootd.exchange.ethers import ipv4

_OWN_MACHINE = "0.0.0.0"  # noqa: S104 (what dnsmasq's users write for its address; nothing is bound)


def option_value(code: int, words: Sequence[str]) -> str:
    """A value as option_table.read takes it. Raises UserError."""
    values = [plain(word) for word in words]
    if not any(values):
        return option_table.NOT_SENT
    if _OWN_MACHINE in values:
        raise UserError(f"{_OWN_MACHINE} stands for dnsmasq's own machine; write the address that is meant")
    known = option_table.KNOWN.get(code)
    if known is None or known.type is HEX:
        return "hex:" + _guessed(values).hex()
    pairs = {21: " ", 33: " ", 121: " via ", 249: " via "}.get(code)
    if pairs and len(values) % 2 == 0:
        return ", ".join(pairs.join(values[i : i + 2]) for i in range(0, len(values), 2))
    if re.fullmatch(r"\d+[bsi]", values[0]) and not known.type.is_list:
        return values[0][:-1]
    text = ",".join(values)
    if known.type is TEXT and not text.isprintable():
        return "hex:" + text.encode("utf-8", "replace").hex()  # as in dhcp-option=252,"\n"
    return ", ".join(values) if known.type.is_list else text


def _guessed(values: Sequence[str]) -> bytes:
    """The octets of an option without a type, as dnsmasq guesses them (dnsmasq(8), --dhcp-option).

    Addresses, octets in hexadecimal with colons, a whole number in as few octets as hold it, else text.
    """
    if all(map(ipv4, values)):
        return b"".join(address.packed for value in values if (address := ipv4(value)))
    if all(re.fullmatch(r"\d{1,3}(\.\d{1,3}){3}/\d{1,2}", value) for value in values):
        raise UserError("networks have no known form in this option; write its octets, as 0a:0b:0c")
    if len(values) == 1 and re.fullmatch(r"[0-9A-Fa-f]{1,2}(:[0-9A-Fa-f]{1,2})+", values[0]):
        return bytes(int(part, 16) for part in values[0].split(":"))
    if len(values) == 1 and (match := re.fullmatch(r"(\d{1,10})([bsi]?)", values[0], re.ASCII)):
        number = int(match[1])
        fewest = 1 if number < 1 << 8 else 2 if number < 1 << 16 else 4
        size = {"b": 1, "s": 2, "i": 4}.get(match[2], fewest)
        if number >= 1 << 8 * size:
            raise UserError(f"{values[0]} is too large for its {size} octets")
        return number.to_bytes(size, "big")
    return ",".join(values).encode("utf-8", "replace")
