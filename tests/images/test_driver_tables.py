"""The tables that are read in the node, read by the shells that read them there, against fnmatch."""

import subprocess
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from netbootd.images import driver_tables

SHELLS = [["dash"], ["busybox", "sh"], ["bash", "--posix"]]

ALIASES: Mapping[str, list[str]] = {
    "e1000": ["pci:v00008086d0000100Esv*sd*bc*sc*i*", "pci:v00008086d00001000sv*sd*bc*sc*i*"],
    "e1000e": ["pci:v00008086d000010D3sv*sd*bc*sc*i*"],
    "8139cp": ["pci:v000010ECd00008139sv*sd*bc*sc*i*"],
    "8139too": ["pci:v000010ECd00008139sv*sd*bc*sc*i*", "pci:v*d00008139sv000010ECsd00008139bc*sc*i*"],
    "xhci_pci": ["pci:v*d*sv*sd*bc0Csc03i30*"],
    "r8169": ["pci:v000010ECd00008168sv*sd*bc*sc*i*", "pci:v00000001d00008168sv*sd00002410bc*sc*i*"],
    "smsc95xx": ["usb:v0424pEC00d*dc*dsc*dp*ic*isc*ip*in*"],
    "cdc_ether": [
        "usb:v*p*d*dc*dsc*dp*ic02isc06ip00in*",
        "usb:v0BDAp8153d01[0-9]*dc*dsc*dp*ic02isc06ip00in*",
    ],
    "virtio_mmio": ["of:N*T*Cvirtio,mmioC*", "of:N*T*Cvirtio,mmio", "acpi*:LNRO0005:*"],
    "realtek": ["mdio:0000000000011100110010010001????"],
    "nfs": ["fs-nfs", "nfs4"],
    "odd": ["dmi*:svnA(B)$(echo bad):*", "odd bus:x;y"],
}
MODALIASES = [
    "pci:v00008086d0000100Esv00001AF4sd00001100bc02sc00i00",
    "pci:v00008086d000010D3sv00008086sd00000000bc02sc00i00",
    "pci:v000010ECd00008139sv00001AF4sd00001100bc02sc00i00",
    "pci:v00001234d00008139sv000010ECsd00008139bc02sc00i00",
    "pci:v00001B36d0000000Dsv00001AF4sd00001100bc0Csc03i30",
    "pci:v00000001d00008168sv00000001sd00002410bc02sc00i00",
    "pci:v00008086d00001237sv00001AF4sd00001100bc06sc00i00",
    "usb:v0424pEC00d0200dcFFdsc00dp01icFFisc00ipFFin00",
    "usb:v0BDAp8153d0105dc00dsc00dp00ic02isc06ip00in00",
    "of:NvirtioT(null)Cvirtio,mmio",
    "acpi:LNRO0005:",
    "mdio:00000000000111001100100100010101",
    "fs-nfs",
    "nfs4",
    "dmi:svnA(B)$(echo bad):x",
    "odd bus:x;y",
    "platform:serial8250",
    "nonsense'; exit 3; '",
]
LATER = frozenset({"xhci_pci"})


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    """A directory as /lib/netbootd in the initrd, and a drivers.sh that reads it there."""
    for bus, text in driver_tables.alias_tables(ALIASES, LATER).items():
        (tmp_path / f"alias.{bus}").write_text(text)
    orders = {
        "e1000": ["e1000"],
        "nfs": ["sunrpc", "grace", "lockd", "nfs"],
        "ne2k_pci": ["8390", "ne2k_pci"],
    }
    (tmp_path / "order").write_text(driver_tables.order_table(orders))
    packaged = Path(driver_tables.__file__).with_name("drivers.sh").read_text()
    # The one line that says where the tables are.
    assert "tables=/lib/netbootd\n" in packaged
    (tmp_path / "drivers.sh").write_text(packaged.replace("tables=/lib/netbootd\n", f"tables={tmp_path}\n"))
    return tmp_path


def ask(shell: list[str], tables: Path, script: str, *arguments: str) -> list[str]:
    text = f'. {tables}/drivers.sh\ninsmod() {{ echo "$1"; }}\n{script}'
    done = subprocess.run([*shell, "-c", text, "sh", *arguments], capture_output=True, text=True, check=True)
    assert not done.stderr
    return done.stdout.split("\n")[:-1]


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
@pytest.mark.needs("dash", "busybox", "bash")
def test_a_device_gets_all_drivers_that_fnmatch_gives_it(shell: list[str], tables: Path) -> None:
    answers = ask(
        shell, tables, 'for each; do match "$each"; echo "$drivers|$later"; later=; done', *MODALIASES
    )
    assert len(answers) == len(MODALIASES)
    for modalias, answer in zip(MODALIASES, answers, strict=True):
        expected = {m for m, patterns in ALIASES.items() if any(fnmatchcase(modalias, p) for p in patterns)}
        drivers, _, later = answer.partition("|")
        assert set(drivers.split()) == expected - LATER, modalias
        assert set(later.split()) == expected & LATER, modalias


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
@pytest.mark.needs("dash", "busybox", "bash")
def test_modules_are_loaded_once_each_after_what_they_need(shell: list[str], tables: Path) -> None:
    loaded = ask(shell, tables, "load ne2k-pci nfs e1000 nfs", "")
    expected = ["8390", "ne2k_pci", "sunrpc", "grace", "lockd", "nfs", "e1000"]
    here = [name for name in expected if not Path(f"/sys/module/{name}").exists()]
    assert [Path(path).stem for path in loaded] == here


@pytest.mark.needs("dash")
def test_a_name_in_no_table_loads_nothing(tables: Path) -> None:
    assert ask(["dash"], tables, 'load "$@"', "ext4", "$(echo e1000)", "*") == []


def test_each_bus_has_its_own_table() -> None:
    made = driver_tables.alias_tables(ALIASES, LATER)
    assert sorted(made) == ["acpi", "dmi", "mdio", "of", "other", "pci", "usb"]
    assert "e1000" not in made["usb"]
