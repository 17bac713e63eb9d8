"""The ELF reader against readelf on this machine's programs, files of other machines, and damaged ones."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netbootd.images.elf import ElfError, is_elf, read_elf, read_machine, read_modinfo
from tests.images import elf_files

PROGRAMS = ["sh", "bash", "mount", "ip", "busybox", "systemctl", "ls"]


@pytest.mark.needs("readelf")
@pytest.mark.parametrize("name", PROGRAMS)
def test_it_agrees_with_readelf_about_programs(name: str) -> None:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} isn't installed")
    path = Path(found).resolve()
    dynamic = subprocess.run(["readelf", "-dlW", path], capture_output=True, text=True, check=True).stdout
    elf = read_elf(path.read_bytes())
    assert list(elf.needed) == re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic)
    interpreter = re.search(r"program interpreter: (.*)\]", dynamic)
    assert elf.interpreter == (interpreter[1] if interpreter else None)
    assert ":".join(elf.search_path) == "".join(re.findall(r"\(RUNPATH\).*\[(.*)\]", dynamic))


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("order", ["<", ">"])
def test_it_reads_every_width_and_byte_order(bits: int, order: str) -> None:
    data = elf_files.program(
        needed=["libc.so.6", "libz.so.1"],
        interpreter="/lib/ld.so.1",
        runpath="$ORIGIN/../lib:/opt/lib",
        bits=bits,
        order=order,
        machine=elf_files.POWERPC64,
    )
    elf = read_elf(data)
    assert elf.needed == ("libc.so.6", "libz.so.1")
    assert elf.interpreter == "/lib/ld.so.1"
    assert elf.search_path == ("$ORIGIN/../lib", "/opt/lib")
    assert (elf.bits, elf.little_endian, elf.machine) == (bits, order == "<", elf_files.POWERPC64)


def test_runpath_stands_before_rpath() -> None:
    assert read_elf(elf_files.program(runpath="/new", rpath="/old")).search_path == ("/new",)
    assert read_elf(elf_files.program(rpath="/old")).search_path == ("/old",)


def test_only_files_of_one_machine_and_width_link_with_each_other() -> None:
    here = read_elf(elf_files.program())
    assert here.links_with(read_elf(elf_files.program(needed=["x"])))
    assert not here.links_with(read_elf(elf_files.program(bits=32)))
    assert not here.links_with(read_elf(elf_files.program(machine=183)))
    assert not here.links_with(read_elf(elf_files.program(order=">")))


def test_a_modules_info_keeps_repeated_keys_in_order() -> None:
    info = read_modinfo(elf_files.module([("alias", "pci:a"), ("depends", "mii,ptp"), ("alias", "pci:b=c")]))
    assert info == {"alias": ["pci:a", "pci:b=c"], "depends": ["mii,ptp"]}


def test_a_program_is_no_module() -> None:
    assert read_modinfo(elf_files.program()) == {}


@pytest.mark.parametrize("data", [b"", b"\x7fELF", b"#!/bin/sh\n", b"\x7fELF" + b"\x09" * 80])
def test_what_is_not_elf_is_refused(data: bytes) -> None:
    for read in (read_elf, read_modinfo, read_machine):
        with pytest.raises(ElfError):
            read(data)
    assert is_elf(data) == data.startswith(b"\x7fELF")


@given(st.data())
def test_a_damaged_file_gives_an_answer_or_an_elf_error(data: st.DataObject) -> None:
    sample = data.draw(
        st.sampled_from([elf_files.program(needed=["libc.so.6"]), elf_files.module([("a", "b")])])
    )
    content = bytearray(sample[: data.draw(st.integers(0, len(sample)))])
    for _ in range(data.draw(st.integers(0, 6))):
        if content:
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    for read in (read_elf, read_modinfo, read_machine):
        try:
            read(bytes(content))
        except ElfError:
            continue
