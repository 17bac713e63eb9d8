"""The registry as a table for a spreadsheet, a row for each node and each profile. Pure.

    kind         node or profile; a table without this column has nodes only
    name         host name, or the profile's
    macs         network cards with spaces between, the one that it boots from first
    address      IPv4
    machine_id   32 hexadecimal digits; by it a row is known whose name was changed
    serial       the board's serial number
    profile      of a node: whose settings it inherits; of a profile: the one above it
    cores        processor cores, which a node tells when it is up: its slots in the MPI hostfile
    image root kernel_args loader eeprom_update     the node's own settings
    dhcp NAME    a DHCP option of that name; a column for each that somebody has

An empty cell is no value: the profile's holds, or netbootd chooses (address, machine_id). A missing column
leaves what is there. A text that is empty, or begins or ends with a space, stands in quotation marks of its
own: a cell of "" is kernel arguments that are none whatever the profile says.

Read are commas, semicolons and tabs, a byte order mark, any order of columns, and the names that people give
them.
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from netbootd.contents import Contents
from netbootd.dhcp import option_table
from netbootd.errors import UserError
from netbootd.exchange import fields
from netbootd.exchange.described import Described, Entry, Place, Remark, refuse
from netbootd.node import host_name
from netbootd.settings import COLUMNS, Settings, profile_name

OPTION = "dhcp "
"""What the title of a DHCP option's column begins with."""
_SINGLE = tuple(name for name in COLUMNS if name != "dhcp_options")
TITLES = ("kind", "name", *fields.IDENTITY, *_SINGLE)
_ALSO = {
    "host": "name", "hostname": "name", "host_name": "name", "node": "name", "nodename": "name",
    "node_name": "name", "mac": "macs", "mac_address": "macs", "mac_addresses": "macs", "hwaddr": "macs",
    "hardware_address": "macs", "ethernet": "macs", "ip": "address", "ip_address": "address",
    "ipaddress": "address", "ipv4": "address", "ipv4_address": "address", "machineid": "machine_id",
    "serial_number": "serial", "serialnumber": "serial", "sn": "serial", "type": "kind",
    "root_mode": "root", "kernel_arguments": "kernel_args", "cmdline": "kernel_args", "group": "profile",
}  # fmt: skip
"""What people call the columns: lower case, underscores for spaces and hyphens."""
_LARGEST_CELL = 1 << 16


def write(contents: Contents) -> str:
    """The whole registry, profiles first."""
    everybody = [p.settings for p in contents.profiles] + [n.settings for n in contents.nodes]
    codes = sorted({code for settings in everybody for code in settings.dhcp_options})
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\r\n")  # RFC 4180
    table.writerow((*TITLES, *(OPTION + option_table.name(code) for code in codes)))
    for profile in contents.profiles:
        identity = {"profile": profile.parent}
        table.writerow(_row("profile", profile.name, identity, profile.settings, codes))
    for node in contents.nodes:
        identity = {key: getattr(node, key) for key in fields.IDENTITY}
        table.writerow(_row("node", node.name, identity, node.settings, codes))
    return out.getvalue()


def read(text: str, file: str) -> Described:
    """What a table says. Raises FileError with every fault and its line.

    Columns that nobody here knows are left out, with a remark.
    """
    problems: list[Remark] = []
    rows = _rows(text, file)
    line, titles = next(rows, (1, []))
    columns, remarks = _columns(titles, Place(file, line))
    nodes: list[Entry] = []
    profiles: list[Entry] = []
    for line, row in rows:
        cells = {column: row[i] if i < len(row) else "" for i, column in columns.items()}
        try:
            kind = cells.get("kind", "node").strip().lower()
            if kind not in ("node", "profile", ""):
                raise UserError(f"{kind[:20]!r} is neither node nor profile")
            if any(cell.strip() for cell in row[len(titles) :]):
                raise UserError(f"has {len(row)} cells, and the first row {len(titles)}")
            (profiles if kind == "profile" else nodes).append(
                _entry(kind == "profile", cells, Place(file, line))
            )
        except UserError as error:
            problems.append(Remark(Place(file, line), str(error)))
    refuse(problems)
    return Described(nodes=tuple(nodes), profiles=tuple(profiles), remarks=tuple(remarks))


# Details


def _row(
    kind: str, name: str, identity: Mapping[str, Any], settings: Settings, codes: Sequence[int]
) -> list[str]:
    values = {"kind": kind, "name": name, **identity} | {each: getattr(settings, each) for each in _SINGLE}
    cells = [values.get(title) for title in TITLES]
    options = [settings.dhcp_options.get(code) for code in codes]
    return [_cell(None if value is None else fields.shown(value)) for value in cells] + [
        _cell(None if octets is None else option_table.show(code, octets))
        for code, octets in zip(codes, options, strict=True)
    ]


def _cell(text: str | None) -> str:
    """A text as a cell; see _text."""
    if text is None:
        return ""
    quoted = len(text) > 1 and text[0] == text[-1] == '"'
    return f'"{text}"' if not text or quoted or text != text.strip() else text


def _text(cell: str) -> str | None:
    """What _cell made a cell of; None for an empty one."""
    plain = cell.strip()
    if len(plain) > 1 and plain[0] == plain[-1] == '"':
        return plain[1:-1]
    return plain or None


def _rows(whole: str, file: str) -> Iterator[tuple[int, list[str]]]:
    """Line and cells of each row that has any. Raises FileError for what is no table."""
    lines = io.StringIO(whole.removeprefix("\ufeff"), newline="")
    first = lines.readline()
    if first.strip().lower().startswith("sep="):  # Excel's own way to say it
        delimiter, offset = first.strip()[4:5] or ",", 1
        lines = io.StringIO(lines.read(), newline="")
    else:
        delimiter, offset = max(",;\t", key=first.count), 0
        lines.seek(0)
    if delimiter not in ",;\t|":
        refuse([Remark(Place(file, 1), f"{delimiter!r} between cells isn't read; use a comma or semicolon")])
    table = csv.reader(lines, delimiter=delimiter)
    at = 1
    try:
        while (row := next(table, None)) is not None:
            if any(cell.strip() for cell in row):
                if max(map(len, row)) > _LARGEST_CELL:
                    refuse(
                        [Remark(Place(file, at + offset), "a cell is too long; is a quotation mark open?")]
                    )
                yield at + offset, row
            at = table.line_num + 1
    except csv.Error as error:
        refuse([Remark(Place(file, table.line_num + offset), f"isn't CSV: {error}")])


def _columns(titles: Sequence[str], place: Place) -> tuple[dict[int, str], list[Remark]]:
    """Which column is what: its title as in TITLES, or OPTION and the option's number. Raises FileError."""
    found: dict[int, str] = {}
    remarks: list[Remark] = []
    problems: list[Remark] = []
    for i, written in enumerate(titles):
        word = "_".join(written.strip().lower().replace("-", " ").replace("_", " ").split())
        title = _ALSO.get(word, word)
        if word.startswith("dhcp_"):
            try:
                title = OPTION + str(option_table.number(word.removeprefix("dhcp_")))
            except UserError as error:
                problems.append(Remark(place, str(error)))
                continue
        elif title not in TITLES:
            if word:
                remarks.append(Remark(place, f"the column {written.strip()[:40]!r} has no place here"))
            continue
        if title in found.values():
            problems.append(Remark(place, f"two columns are {title!r}"))
        found[i] = title
    if "name" not in found.values():
        problems.append(Remark(place, "no column is called `name`; the first row has the columns' titles"))
    refuse(problems)
    return found, remarks


def _entry(is_profile: bool, cells: Mapping[str, str], place: Place) -> Entry:
    name = cells["name"].strip()
    found: dict[str, Any] = {}
    options: dict[int, bytes | None] = {}
    for title, cell in cells.items():
        text = _text(cell)
        key = "parent" if is_profile and title == "profile" else title
        if title.startswith(OPTION):
            number = title.removeprefix(OPTION)
            options[int(number)] = None if text is None else fields.option(number, text)[1]
        elif key in ("kind", "name"):
            continue
        elif is_profile and key in fields.IDENTITY:
            if text is not None:
                raise UserError(f"a profile has no {key}")
        elif text is not None:
            found[key] = fields.READERS[key](text)
        elif key not in ("macs", "address", "machine_id"):
            found[key] = None
    if options:
        found["dhcp_options"] = options
    return Entry(name=profile_name(name) if is_profile else host_name(name), place=place, fields=found)
