"""What an ELF file needs, read without running it.

The small initrd is made from an image that may be of another architecture, so ldd and modinfo are no help:
this reads the few tables that matter, of 32 and 64 bits and either byte order. Files come from images, which
are somebody's downloads: every offset is checked, and what doesn't hold together raises ElfError.
"""

import struct
from dataclasses import dataclass
from typing import NamedTuple

from netbootd.errors import UserError

_MAGIC = b"\x7fELF"
_PT_LOAD, _PT_DYNAMIC, _PT_INTERP = 1, 2, 3
_DT_NEEDED, _DT_STRTAB, _DT_RPATH, _DT_RUNPATH = 1, 5, 15, 29
_MOST_ENTRIES = 65_536
"""Program headers, sections or dynamic entries; more than that is no file of ours."""


class ElfError(UserError):
    """A file that should be ELF and isn't, or is cut short."""


@dataclass(frozen=True, slots=True)
class Elf:
    """A program or library: what the dynamic loader would look for."""

    bits: int
    """32 or 64."""
    little_endian: bool
    machine: int
    """e_machine: 62 x86-64, 183 AArch64, 40 ARM, 243 RISC-V …"""
    interpreter: str | None
    """PT_INTERP, the loader's path; None for a library or a static program."""
    needed: tuple[str, ...]
    """DT_NEEDED in the file's order."""
    search_path: tuple[str, ...]
    """DT_RUNPATH, else DT_RPATH; $ORIGIN as it stands."""

    def links_with(self, other: "Elf") -> bool:
        """Whether both can live in one process: same machine, width and byte order."""
        return (self.bits, self.little_endian, self.machine) == (
            other.bits,
            other.little_endian,
            other.machine,
        )


def is_elf(data: bytes) -> bool:
    """Whether these are the first octets of an ELF file."""
    return data[:4] == _MAGIC


def read_elf(data: bytes) -> Elf:
    """The facts of a program or library from its whole content. Raises ElfError."""
    layout = _Layout.of(data)
    segments = [_segment(layout, entry) for entry in layout.program_headers(data)]
    interpreter = None
    needed: list[str] = []
    paths: dict[int, str] = {}
    for segment in segments:
        if segment.kind == _PT_INTERP:
            interpreter = _text(_cut(data, segment.offset, segment.file_size).split(b"\0")[0])
        elif segment.kind == _PT_DYNAMIC:
            entries = _dynamic(layout, _cut(data, segment.offset, segment.file_size))
            strings = next((value for tag, value in entries if tag == _DT_STRTAB), None)
            if strings is None:
                continue
            start = _file_offset(segments, strings)
            needed = [_string(data, start + value) for tag, value in entries if tag == _DT_NEEDED]
            paths = {
                tag: _string(data, start + value) for tag, value in entries if tag in (_DT_RPATH, _DT_RUNPATH)
            }
    search = paths.get(_DT_RUNPATH, paths.get(_DT_RPATH, ""))
    return Elf(
        bits=layout.bits,
        little_endian=layout.order == "<",
        machine=layout.machine,
        interpreter=interpreter,
        needed=tuple(needed),
        search_path=tuple(part for part in search.split(":") if part),
    )


def read_machine(data: bytes) -> int:
    """e_machine of any ELF file. Raises ElfError."""
    return _Layout.of(data).machine


def read_modinfo(data: bytes) -> dict[str, list[str]]:
    """The `.modinfo` section of a kernel module: key -> values in order (depends, alias, firmware …).

    Raises ElfError for what is no ELF file; a file without that section gives an empty dict.
    """
    layout = _Layout.of(data)
    sections = [_section(layout, entry) for entry in layout.section_headers(data)]
    if layout.names_index >= len(sections):
        return {}
    names = sections[layout.names_index]
    found: dict[str, list[str]] = {}
    for section in sections:
        if _string(data, names.offset + section.name) != ".modinfo":
            continue
        for pair in _cut(data, section.offset, section.size).split(b"\0"):
            key, equals, value = pair.partition(b"=")
            if equals:
                found.setdefault(_text(key), []).append(_text(value))
    return found


class _Segment(NamedTuple):
    kind: int
    offset: int
    address: int
    file_size: int


class _Section(NamedTuple):
    name: int
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where the tables stand; `order` is struct's byte-order sign."""

    bits: int
    order: str
    machine: int
    programs: tuple[int, int, int]
    """Offset, size of an entry, number of entries."""
    sections: tuple[int, int, int]
    names_index: int

    @classmethod
    def of(cls, data: bytes) -> "_Layout":
        if not is_elf(data):
            raise ElfError("not an ELF file")
        if len(data) < 52 or data[4] not in (1, 2) or data[5] not in (1, 2):
            raise ElfError("an ELF file with a header of no known kind")
        order = "<" if data[5] == 1 else ">"
        wide = data[4] == 2
        try:
            header = struct.unpack_from(order + ("HHIQQQIHHHHHH" if wide else "HHIIIIIHHHHHH"), data, 16)
        except struct.error as error:
            raise ElfError("an ELF file cut short") from error
        machine, program_at, section_at = header[1], header[4], header[5]
        program_size, programs, section_size, sections, names = header[8:13]
        return cls(
            64 if wide else 32,
            order,
            machine,
            (program_at, program_size, programs),
            (section_at, section_size, sections),
            names,
        )

    def program_headers(self, data: bytes) -> list[bytes]:
        return _table(data, *self.programs, least=56 if self.bits == 64 else 32)

    def section_headers(self, data: bytes) -> list[bytes]:
        return _table(data, *self.sections, least=64 if self.bits == 64 else 40)


def _table(data: bytes, offset: int, size: int, count: int, *, least: int) -> list[bytes]:
    if count and size < least:
        raise ElfError("an ELF file whose table entries are too small")
    return [_cut(data, offset + i * size, size) for i in range(min(count, _MOST_ENTRIES))]


def _segment(layout: _Layout, entry: bytes) -> _Segment:
    if layout.bits == 64:
        kind, _flags, offset, address, _physical, size = struct.unpack_from(layout.order + "IIQQQQ", entry)
    else:
        kind, offset, address, _physical, size = struct.unpack_from(layout.order + "IIIII", entry)
    return _Segment(kind, offset, address, size)


def _section(layout: _Layout, entry: bytes) -> _Section:
    form = "IIQQQQ" if layout.bits == 64 else "IIIIII"
    name, _kind, _flags, _address, offset, size = struct.unpack_from(layout.order + form, entry)
    return _Section(name, offset, size)


def _dynamic(layout: _Layout, table: bytes) -> list[tuple[int, int]]:
    form = layout.order + ("qQ" if layout.bits == 64 else "iI")
    width = struct.calcsize(form)
    entries: list[tuple[int, int]] = []
    for at in range(0, min(len(table) - width + 1, _MOST_ENTRIES * width), width):
        tag, value = struct.unpack_from(form, table, at)
        if tag == 0:
            break
        entries.append((tag, value))
    return entries


def _file_offset(segments: list[_Segment], address: int) -> int:
    for segment in segments:
        if segment.kind == _PT_LOAD and segment.address <= address < segment.address + segment.file_size:
            return segment.offset + address - segment.address
    raise ElfError("an ELF file whose string table is in no segment")


def _cut(data: bytes, offset: int, size: int) -> bytes:
    if offset + size > len(data):
        raise ElfError("an ELF file cut short")
    return data[offset : offset + size]


def _string(data: bytes, offset: int) -> str:
    end = data.find(b"\0", offset, offset + 4096)
    if end < 0:
        raise ElfError("an ELF file whose string table is cut short")
    return _text(data[offset:end])


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "replace")
