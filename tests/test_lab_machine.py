"""The lab's machines: that a test can see, type, reset and pull the plug, and is told what went wrong."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.lab.machine import KINDS, Machine, plain
from tests.lab.namespace import Lab
from tests.lab.process import LabError


def test_console_output_is_read_as_words() -> None:
    said = (
        b"\x1b[2J\x1b[01;01H\x1b[=3h\x1b[0m>>Start PXE\x1b[40m over IPv4.\r\n[\x1b[0;32m  OK  \x1b[0m] Up\r\n"
    )
    assert plain(said) == ">>Start PXE over IPv4.\n[  OK  ] Up\n"
    assert plain(b"caf\xc3\xa9 \xff\n") == "café �\n"


def test_a_kind_says_what_it_lacks() -> None:
    bios = KINDS["bios"]
    assert replace(bios, program="qemu-system-vax").missing() == "qemu-system-vax isn't installed"
    assert (
        replace(bios, program="true", files=(Path("/no/such.rom"),)).missing() == "/no/such.rom isn't there"
    )


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """With a directory whose name is longer than a Unix socket's may be."""
    deep = tmp_path / ("a" * 100)
    deep.mkdir()
    with Lab(directory=deep) as made:
        yield made


needs_a_machine = pytest.mark.skipif(
    KINDS["bios"].missing() is not None, reason=f"no machine: {KINDS['bios'].missing()}"
)


@pytest.mark.net
@needs_a_machine
def test_a_machine_is_seen_typed_to_reset_and_powered_off(lab: Lab) -> None:
    machine = Machine(lab, "m1", KINDS["bios"], "52:54:00:00:00:01")
    machine.power_on()
    machine.wait_for("Press Ctrl-B for the iPXE command line", 60)
    machine.type("\x02")
    machine.wait_for("iPXE> ", 30)
    machine.type("echo address ${net0/mac}\n")
    machine.wait_for(r"^address 52:54:00:00:00:01$", 30)
    before = machine.elapsed
    machine.reset()
    assert machine.elapsed < before
    with pytest.raises(LabError, match=r"(?s)m1 didn't say 'login:' in 0 s\n.*m1\|.*address 52:54"):
        machine.wait_for("login:", 0)
    machine.power_off()
    assert not machine.running
    with pytest.raises(LabError, match=r"m1 went off, never said 'login:'"):
        machine.wait_for("login:", 30)
    machine.power_off()


@pytest.mark.net
@needs_a_machine
def test_a_machine_that_can_not_start_says_why(lab: Lab) -> None:
    broken = replace(KINDS["bios"], card="no-such-card", files=())
    with pytest.raises(LabError, match="'no-such-card' is not a valid device model"):
        Machine(lab, "m1", broken, "52:54:00:00:00:01").power_on()
