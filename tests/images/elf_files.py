"""Makes ELF files, of any width and byte order, to be read: as much of them as a reader of ours looks at."""

import struct
from collections.abc import Sequence

X86_64, ARM, POWERPC64 = 62, 40, 21


def program(  # the parts of a dynamic program, each by its name
    *,
    needed: Sequence[str] = (),
    interpreter: str | None = None,
    runpath: str = "",
    rpath: str = "",
    bits: int = 64,
    order: str = "<",
    machine: int = X86_64,
) -> bytes:
    """A dynamically linked file: PT_LOAD over all of it at address 0x10000, PT_DYNAMIC, maybe PT_INTERP."""
    base = 0x10000
    strings = b"\0"
    entries: list[tuple[int, int]] = []
    for tag, name in [
        *((1, n) for n in needed),
        *((29, p) for p in [runpath] if p),
        *((15, p) for p in [rpath] if p),
    ]:
        entries.append((tag, len(strings)))
        strings += name.encode() + b"\0"
    count = 2 + (interpreter is not None)
    head, entry = (64, 56) if bits == 64 else (52, 32)
    strings_at = head + count * entry
    interpreter_at = strings_at + len(strings)
    path = interpreter.encode() + b"\0" if interpreter else b""
    dynamic_at = interpreter_at + len(path)
    dynamic = b"".join(
        struct.pack(order + ("qQ" if bits == 64 else "iI"), *pair)
        for pair in [(5, base + strings_at), *entries, (0, 0)]
    )
    end = dynamic_at + len(dynamic)
    headers = _segment(bits, order, 1, 0, base, end) + _segment(
        bits, order, 2, dynamic_at, base + dynamic_at, len(dynamic)
    )
    if interpreter:
        headers += _segment(bits, order, 3, interpreter_at, base + interpreter_at, len(path))
    return _header(bits, order, machine, segments=count) + headers + strings + path + dynamic


def module(info: Sequence[tuple[str, str]], machine: int = X86_64) -> bytes:
    """A kernel module with these pairs in its .modinfo section; 64 bits, little-endian."""
    names = b"\0.modinfo\0.shstrtab\0"
    modinfo = b"".join(f"{key}={value}".encode() + b"\0" for key, value in info)
    names_at = 64
    modinfo_at = names_at + len(names)
    table_at = modinfo_at + len(modinfo)
    sections = [(0, 0, 0), (1, modinfo_at, len(modinfo)), (10, names_at, len(names))]
    table = b"".join(
        struct.pack("<IIQQQQIIQQ", name, 1, 0, 0, at, size, 0, 0, 1, 0) for name, at, size in sections
    )
    head = _header(64, "<", machine, sections=(table_at, len(sections), 2))
    return head + names + modinfo + table


def _header(
    bits: int, order: str, machine: int, *, segments: int = 0, sections: tuple[int, int, int] = (0, 0, 0)
) -> bytes:
    table_at, count, names = sections
    ident = b"\x7fELF" + bytes([2 if bits == 64 else 1, 1 if order == "<" else 2, 1]) + bytes(9)
    head, entry, section = (64, 56, 64) if bits == 64 else (52, 32, 40)
    form = order + ("HHIQQQIHHHHHH" if bits == 64 else "HHIIIIIHHHHHH")
    return ident + struct.pack(
        form,
        3,
        machine,
        1,
        0,
        head if segments else 0,
        table_at,
        0,
        head,
        entry,
        segments,
        section,
        count,
        names,
    )


def _segment(bits: int, order: str, kind: int, offset: int, address: int, size: int) -> bytes:
    if bits == 64:
        return struct.pack(order + "IIQQQQQQ", kind, 4, offset, address, address, size, size, 8)
    return struct.pack(order + "IIIIIIII", kind, offset, address, address, size, size, 4, 4)
