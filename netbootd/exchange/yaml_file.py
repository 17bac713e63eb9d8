"""The registry as YAML; the one module that imports PyYAML. Pure.

It is read from the parser's events and not with a loader, for three reasons. Every value keeps the line it
stands on. What stands in the file is text, so that YAML 1.1 makes no number of a MAC address of digits
(52:54:00:12:34:56 is one to the base 60), nor a truth value of a node named `no`. And there are no aliases,
with which a file of a kilobyte stands for gigabytes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from netbootd.contents import Contents, NodeRecord
from netbootd.errors import UserError, did_you_mean
from netbootd.exchange import fields
from netbootd.exchange.described import Described, Entry, Place, Remark, refuse
from netbootd.node import host_name
from netbootd.settings import COLUMNS, Settings, profile_name

FORMAT = 1
DEEPEST = 8
"""Levels of a file; ours have five."""
HEADER = """\
# The registry of netbootd: `netbootctl import FILE` reads it. Nodes are known by name, and by machine_id when
# a name is changed here. SSH host keys are files, and not in here: bring keys/ of the state directory too.
"""
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
"""libyaml's where PyYAML was built with it: about ten times as fast."""
_NULLS = ("", "~", "null", "Null", "NULL")


@dataclass(frozen=True, slots=True)
class _Scalar:
    text: str
    line: int
    is_null: bool = False


@dataclass(frozen=True, slots=True)
class _List:
    line: int
    items: list["_Value"] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Map:
    line: int
    items: dict[str, tuple[_Scalar, "_Value"]] = field(default_factory=dict)
    keys: list[_Scalar] = field(default_factory=list)
    """The key that waits for its value."""


_Value = _Scalar | _List | _Map


def write(contents: Contents) -> str:
    """The whole registry."""
    document = {
        "netbootd": FORMAT,
        "profiles": {
            profile.name: _own({"parent": profile.parent}, profile.settings) for profile in contents.profiles
        },
        "nodes": {node.name: _own(_identity(node), node.settings) for node in contents.nodes},
    }
    return HEADER + str(
        yaml.dump(document, Dumper=_DUMPER, sort_keys=False, default_flow_style=False, width=10**6)
    )


def read(text: str, file: str) -> Described:
    """What a file says. Raises FileError with every fault and its line."""
    top = _tree(text, file)
    problems: list[Remark] = []
    reader = _Reader(file, problems)
    sections = reader.map(top, "the file")
    for name, (key, value) in sections.items():
        if name == "netbootd" and (not isinstance(value, _Scalar) or value.text != str(FORMAT)):
            said = value.text[:20] if isinstance(value, _Scalar) else "?"
            reader.fault(key.line, f"this is format {said!r}, made by a newer netbootd; install that version")
        elif name not in ("netbootd", "profiles", "nodes"):
            reader.unknown(key, ("profiles", "nodes"))
    described = Described(
        profiles=tuple(reader.entries(sections.get("profiles"), ("parent", *COLUMNS), profile_name)),
        nodes=tuple(reader.entries(sections.get("nodes"), (*fields.IDENTITY, *COLUMNS), host_name)),
    )
    refuse(problems)
    return described


# Details: writing


def _identity(node: NodeRecord) -> dict[str, Any]:
    return {
        "macs": list(map(str, node.macs)),
        "address": str(node.address),
        "machine_id": node.machine_id or None,
        "serial": node.serial,
        "profile": node.profile,
        "cores": node.cores,
    }


def _own(first: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    values = {**first, **{name: getattr(settings, name) for name in COLUMNS}}
    values["root"] = settings.root.value if settings.root else None
    values["dhcp_options"] = fields.shown_options(settings.dhcp_options) or None
    return {name: value for name, value in values.items() if value is not None}


# Details: reading


@dataclass(frozen=True, slots=True)
class _Reader:
    file: str
    problems: list[Remark]

    def fault(self, line: int, text: str) -> None:
        self.problems.append(Remark(Place(self.file, line), text))

    def unknown(self, key: _Scalar, known: Sequence[str]) -> None:
        hint = did_you_mean(key.text, known, f"one of {', '.join(known)}")
        self.fault(key.line, f"{key.text[:40]!r} isn't known here; {hint}")

    def map(self, value: _Value | None, what: str) -> dict[str, tuple[_Scalar, _Value]]:
        match value:
            case None | _Scalar(is_null=True):
                return {}
            case _Map():
                return value.items
            case _:
                self.fault(value.line, f"{what} has to be `name: value` lines")
                return {}

    def entries(
        self, section: tuple[_Scalar, _Value] | None, known: tuple[str, ...], check_name: Any
    ) -> Iterator[Entry]:
        if section is None:
            return
        for key, value in self.map(section[1], section[0].text).values():
            try:
                name = check_name(key.text)
            except UserError as error:
                self.fault(key.line, str(error))
                continue
            found: dict[str, Any] = {}
            for inner, given in self.map(value, name).values():
                if inner.text not in known:
                    self.unknown(inner, known)
                    continue
                try:
                    found[inner.text] = self._field(inner, given)
                except UserError as error:
                    self.fault(inner.line, f"{name}: {error}")
            yield Entry(name=name, place=Place(self.file, key.line), fields=found)

    def _field(self, key: _Scalar, value: _Value) -> Any:
        if isinstance(value, _Scalar) and value.is_null:
            return None
        if key.text == "dhcp_options":
            return self._options(value)
        words = [value] if isinstance(value, _Scalar) else value.items if isinstance(value, _List) else []
        texts = [word.text for word in words if isinstance(word, _Scalar)]
        if isinstance(value, _Map) or len(texts) < len(words) or (key.text != "macs" and len(words) != 1):
            raise UserError(f"{key.text} has to be one value")
        return fields.READERS[key.text](" ".join(texts))

    def _options(self, value: _Value) -> dict[int, bytes | None]:
        found: dict[int, bytes | None] = {}
        for key, given in self.map(value, "dhcp_options").values():
            try:
                if isinstance(given, _Scalar) and given.is_null:
                    code, octets = fields.option(key.text, "none")[0], None
                else:
                    code, octets = fields.option(key.text, _option_text(given))
            except UserError as error:
                self.fault(key.line, str(error))
                continue
            if code in found:
                self.fault(key.line, f"DHCP option {code} stands there twice")
            found[code] = octets
        return found


def _option_text(value: _Value) -> str:
    if isinstance(value, _List) and all(isinstance(item, _Scalar) for item in value.items):
        return ", ".join(item.text for item in value.items if isinstance(item, _Scalar))
    if not isinstance(value, _Scalar):
        raise UserError("a DHCP option is one value, or a list of them")
    return value.text


def _tree(text: str, file: str) -> _Value | None:
    """The only document in the file, as a tree whose depth is bounded. Raises FileError."""
    open_: list[_List | _Map] = []
    top: list[_Value] = []
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            line = event.start_mark.line + 1 if event.start_mark else 1
            if why := _unwanted(event):
                refuse([Remark(Place(file, line), why)])
            match event:
                case yaml.DocumentStartEvent() if top:
                    refuse([Remark(Place(file, line), "a second document (---) begins here; give one")])
                case yaml.ScalarEvent():
                    plain = event.style in (None, "")
                    value: _Value = _Scalar(event.value, line, plain and event.value in _NULLS)
                    _put(open_, top, value, file)
                case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                    if len(open_) == DEEPEST:
                        refuse([Remark(Place(file, line), f"more than {DEEPEST} levels deep")])
                    made = _Map(line) if isinstance(event, yaml.MappingStartEvent) else _List(line)
                    _put(open_, top, made, file)
                    open_.append(made)
                case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                    open_.pop()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        why = " ".join(part for part in (error.context, error.problem) if part)
        refuse([Remark(Place(file, mark.line + 1 if mark else 1), f"isn't YAML: {why}")])
    except (
        yaml.YAMLError,
        ValueError,
        OverflowError,
    ) as error:  # characters that can't be
        line = text.count("\n", 0, getattr(error, "position", None) or 0) + 1
        why = str(getattr(error, "reason", error)).partition("\n")[0]
        refuse([Remark(Place(file, line), f"isn't YAML: {why}")])
    return top[0] if top else None


def _unwanted(event: Any) -> str:
    if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
        return "anchors and aliases (& and *) aren't read here; write the values out, or use a profile"
    if getattr(event, "tag", None) not in (None, "!"):
        return "tags (!) aren't read here"
    return ""


def _put(open_: list[_List | _Map], top: list[_Value], value: _Value, file: str) -> None:
    if not open_:
        top.append(value)
        return
    parent = open_[-1]
    if isinstance(parent, _List):
        parent.items.append(value)
    elif parent.keys:
        key = parent.keys.pop()
        if key.text in parent.items:
            first = parent.items[key.text][0].line
            refuse([Remark(Place(file, key.line), f"{key.text[:60]!r} stands in line {first} already")])
        parent.items[key.text] = (key, value)
    elif isinstance(value, _Scalar):
        parent.keys.append(value)
    else:
        refuse([Remark(Place(file, value.line), "a name has to be one word")])
