"""The values of Kea's DHCP options (Kea ARM, Standard and Custom DHCPv4 Options), as octets. Pure."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

from netbootd.dhcp import option_table
from netbootd.dhcp.option_types import HEX, TEXT, domain_name
from netbootd.errors import UserError
from netbootd.exchange.kea_json import Element

DHCP = "dhcp4"
"""The space of DHCP's own options; others are of vendors and relay agents."""
_PAIRS = {21: " ", 33: " ", 121: " via "}
"""Options of pairs, and what stands in a pair where an admin of netbootd writes it."""


@dataclass(frozen=True, slots=True)
class Definition:
    """An option that the file defines: the types of its values, and whether the last may be repeated."""

    code: int
    types: tuple[str, ...]
    several: bool = False


Definitions = Mapping[str | int, Definition]
"""By name and by number."""


def definition(declared: Element) -> tuple[str, Definition]:
    """Of an element of option-def. Raises UserError for one whose values have no form here."""
    fields = declared.members()
    name, code = _text(fields, "name"), _number(fields)
    if code is None or not 0 < code < 255 or _text(fields, "space", DHCP) != DHCP:
        raise UserError("isn't one of DHCP's own options")
    kind = _text(fields, "type")
    types = tuple(each.strip() for each in _text(fields, "record-types").split(","))
    types = types if kind == "record" else (kind,)
    if odd := [each for each in types if each not in _ENCODERS]:
        raise UserError(f"options of the type {odd[0][:40]!r} can't be carried over")
    return name, Definition(code, types, _true(fields, "array"))


def read(option: Element, defined: Definitions) -> tuple[int, bytes]:
    """Number and octets of an element of option-data; no octets where it is never sent. Raises UserError."""
    fields = option.members()
    if _text(fields, "space", DHCP) != DHCP:
        raise UserError("options of another space than DHCP's have no place here")
    name, code = _text(fields, "name"), _number(fields)
    own = defined.get(name) or defined.get(code if code is not None else "")
    code = own.code if own else code if code is not None else option_table.number(name)
    option_table.read(f"option-{code}", option_table.NOT_SENT)  # whether it may be set at all
    if _true(fields, "never-send"):
        return code, b""
    data = _text(fields, "data")
    if not data.strip():
        raise UserError("has no value")
    if "csv-format" in fields and not _true(fields, "csv-format"):
        return option_table.read(f"option-{code}", f"hex:{_hexadecimal(data).hex()}")
    if own:
        return option_table.read(f"option-{code}", f"hex:{_encoded(own, _values(data)).hex()}")
    return option_table.read(f"option-{code}", _standard(code, data))


def _standard(code: int, data: str) -> str | list[str]:
    """The value of an option that Kea knows by itself, as option_table.read takes it."""
    known = option_table.KNOWN.get(code)
    if known is None:
        raise UserError("its values have no known form here; write its octets, with csv-format false")
    if known.type is HEX:
        return f"hex:{_hexadecimal(data).hex()}"
    values = [_decimal(value) for value in _values(data)]
    if code in _PAIRS and code != 121 and len(values) % 2 == 0:
        return [_PAIRS[code].join(values[i : i + 2]) for i in range(0, len(values), 2)]
    if code == 121:
        return [re.sub(r"\s+-\s+", _PAIRS[code], value) for value in values]
    if known.type.is_list:
        return values
    # Of several values where there is one Kea sends the first (OptionDefinition::optionFactory).
    text = values[0]
    if known.type is TEXT and not (text.isascii() and text.isprintable()):
        return "hex:" + text.encode("utf-8", "replace").hex()
    return text


def _values(data: str) -> list[str]:
    r"""What stands between commas; one after a backslash is part of a value."""
    parts = re.findall(r"((?:\\,|[^,])*)(?:,|$)", data)
    parts = parts[:-1] if len(parts) > 1 and not data.endswith(",") else parts
    return [part.strip().replace("\\,", ",") for part in parts]


def _decimal(value: str) -> str:
    return str(int(value, 16)) if re.fullmatch(r"0x[0-9A-Fa-f]{1,8}", value) else value


def _hexadecimal(data: str) -> bytes:
    """Octets with colons or spaces, digits with or without 0x, or a text in single quotation marks."""
    text = data.strip()
    if len(text) > 1 and text.startswith("'") and text.endswith("'"):
        return text[1:-1].encode("utf-8", "replace")
    if re.fullmatch(r"[0-9A-Fa-f]{1,2}([: ][0-9A-Fa-f]{1,2})+", text):
        return bytes(int(part, 16) for part in re.split("[: ]", text))
    digits = text.removeprefix("0x").removeprefix("0X")
    if not re.fullmatch(r"[0-9A-Fa-f]+", digits):
        raise UserError(f"{data[:40]!r} isn't hexadecimal")
    return bytes.fromhex(digits if len(digits) % 2 == 0 else f"0{digits}")


# Options that the file defines


def _encoded(own: Definition, values: Sequence[str]) -> bytes:
    types = list(own.types)
    if len(values) < len(types):
        raise UserError(f"{len(values)} values are given, and it has {len(types)}")
    if own.several:
        types += types[-1:] * (len(values) - len(types))
    try:
        return b"".join(_ENCODERS[kind](value) for kind, value in zip(types, values, strict=False))
    except (ValueError, OverflowError):
        shown = ", ".join(values)[:60]
        raise UserError(f"{shown!r} isn't of its type, {', '.join(own.types)}") from None


def _integer(octets: int, *, signed: bool = False) -> Callable[[str], bytes]:
    return lambda value: int(_decimal(value)).to_bytes(octets, "big", signed=signed)


def _boolean(value: str) -> bytes:
    return bytes([{"true": 1, "1": 1, "false": 0, "0": 0}.get(value.lower(), 256)])


_ENCODERS: Mapping[str, Callable[[str], bytes]] = {
    "binary": _hexadecimal,
    "boolean": _boolean,
    "empty": lambda _: b"",
    "fqdn": domain_name,
    "int8": _integer(1, signed=True),
    "int16": _integer(2, signed=True),
    "int32": _integer(4, signed=True),
    "ipv4-address": lambda value: IPv4Address(value).packed,
    "string": lambda value: value.encode("utf-8", "replace"),
    "tuple": lambda value: bytes([len(value.encode("utf-8", "replace"))]) + value.encode("utf-8", "replace"),
    "uint8": _integer(1),
    "uint16": _integer(2),
    "uint32": _integer(4),
}


# Members of an object


def _text(fields: Mapping[str, Element], key: str, default: str = "") -> str:
    return fields[key].text() if key in fields else default


def _number(fields: Mapping[str, Element]) -> int | None:
    return fields["code"].whole_number() if "code" in fields else None


def _true(fields: Mapping[str, Element], key: str) -> bool:
    """A switch; Kea took it as a text too."""
    return key in fields and fields[key].value in (True, "true")
