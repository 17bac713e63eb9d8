"""Other architectures' programs: what this machine runs is seen by running it, and what it lacks is named."""

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from netbootd.errors import HostError
from netbootd.images import apt, foreign
from netbootd.images.elf import read_elf
from netbootd.images.suites import debian

ROOT = pytest.mark.as_root("a program is run in a root of its own")


@pytest.mark.parametrize("architecture", [*debian.KERNELS])
def test_there_is_a_program_for_every_architecture_that_debian_is_built_for(architecture: str) -> None:
    elf = read_elf(foreign.program(architecture))
    assert (elf.bits, elf.little_endian) == (
        32 if architecture in ("armhf", "i386") else 64,
        architecture != "s390x",
    )


@pytest.mark.parametrize("architecture", [*debian.KERNELS])
def test_the_program_ends_well_under_qemu(architecture: str, tmp_path: Path) -> None:
    words = {"amd64": "x86_64", "arm64": "aarch64", "armhf": "arm", "ppc64el": "ppc64le"}
    qemu = f"qemu-{words.get(architecture, architecture)}-static"
    if shutil.which(qemu) is None:
        pytest.skip(f"not installed: {qemu}")
    program = tmp_path / "end"
    program.write_bytes(foreign.program(architecture))
    program.chmod(0o755)
    assert subprocess.run([qemu, program], check=False, timeout=60).returncode == 0


@ROOT
def test_its_own_programs_are_run_by_the_machine_itself() -> None:
    own = apt.architecture(platform.machine())
    assert own
    assert foreign.runs(own)


@ROOT
def test_what_cannot_be_run_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign, "runs", lambda _: False)
    other = "arm64" if platform.machine() == "x86_64" else "amd64"
    with pytest.raises(HostError, match=f"can't run programs for {other}") as raised:
        foreign.check(other)
    assert any(word in raised.value.hint for word in ("apt install", "systemctl restart", "look at"))


def test_the_machines_own_architecture_is_not_doubted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign, "runs", lambda _: False)
    own = apt.architecture(platform.machine())
    assert own
    foreign.check(own)
