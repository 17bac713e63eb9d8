"""Simulated boards on a wire: against netbootd as it runs, and against dnsmasq set up well and badly."""

import json
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from netbootd.config import load
from netbootd.node import Mac
from netbootd.registry import NodeRequest, Registry
from netbootd.settings import Settings
from tests.lab.namespace import BRIDGE, Lab, Namespace
from tests.lab.process import Process
from tests.simulate import images

pytestmark = [pytest.mark.net]
COMMANDS = Path(sys.executable).parent
CHECKOUT = Path(__file__).resolve().parents[2]
SHIM = Path("/usr/lib/shim/shimx64.efi.signed")
GRUB = Path("/usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed")
AARCH64 = 0xAA64
PI3S = ("b8:27:eb:64:24:7d", "b8:27:eb:11:22:33")
KHADAS = "02:00:00:00:10:01"

NODES = {
    "pc": ("x86", "52:54:00:00:00:01"),
    "pc-grub": ("x86", "52:54:00:00:00:02"),
    "pc-shim": ("x86-signed", "52:54:00:00:00:03"),
    "pc-pxelinux": ("x86", "52:54:00:00:00:04"),
    "pi3-a": ("arm64", PI3S[0]),
    "pi3-b": ("arm64", PI3S[1]),
    "pi3-plus": ("arm64", "b8:27:eb:44:55:66"),
    "pi4-a": ("arm64", "dc:a6:32:00:00:01"),
    "pi4-b": ("arm64", "dc:a6:32:00:00:02"),
    "pi5-a": ("arm64", "2c:cf:67:00:00:01"),
    "pi5-b": ("arm64", "2c:cf:67:00:00:02"),
    "vim3": ("arm64", KHADAS),
    "lwip": ("arm64", "02:00:00:00:10:02"),
    "armv7": ("armv7", "02:00:00:00:10:03"),
    "armserver": ("arm64", "02:00:00:00:10:04"),
    "para": ("armv7", "04:4f:8b:00:00:07"),
    "pc-rom": ("x86", "52:54:00:00:00:05"),
    "pc-http": ("x86", "52:54:00:00:00:06"),
    "pc-net-grub": ("x86", "52:54:00:00:00:07"),
    "pc-linux": ("x86", "52:54:00:00:00:08"),
}
EVERYBODY = {
    **{f"pi3={mac}={serial}": "vmlinuz" for mac, serial in zip(PI3S, ("5564247d", "99112233"), strict=True)},
    "pi3b+=b8:27:eb:44:55:66=aa445566": "vmlinuz",
    "pi4=dc:a6:32:00:00:01=10000001": "vmlinuz",
    "pi4-swapped=dc:a6:32:00:00:02=10000002": "vmlinuz",
    "pi5=2c:cf:67:00:00:01=0c8f7e5c10000003": "vmlinuz",
    "pi5-swapped=2c:cf:67:00:00:02=10000004": "vmlinuz",
    f"khadas-mainline={KHADAS}": "Image",
    "uboot-lwip=02:00:00:00:10:02": "Image",
    "uboot-arm32=02:00:00:00:10:03": "vmlinuz",
    "uefi-arm64=02:00:00:00:10:04": "vmlinuz",
    "uefi-x64=52:54:00:00:00:01": "vmlinuz",
    "uefi-x64=52:54:00:00:00:02": "vmlinuz",
    "uefi-x64=52:54:00:00:00:03": "vmlinuz",
    "bios=52:54:00:00:00:04": "vmlinuz",
    "ipxe=52:54:00:00:00:05": "vmlinuz",
    "uefi-http=52:54:00:00:00:06": "vmlinuz",
    "grub=52:54:00:00:00:07": "vmlinuz",
    "linux=52:54:00:00:00:08": "the one that runs",
    "parallella=04:4f:8b:00:00:07": "vmlinuz",
}
"""FIRMWARE=MAC[=SERIAL] -> how the name of the kernel begins that it ends with."""


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Head"]:
    """netbootd serving every board of NODES, on a bridge that has 10.11.12.1 too."""
    with Lab() as lab:
        lab.ip(f"address add 10.11.12.1/24 dev {BRIDGE}")
        made = Head(lab, tmp_path_factory.mktemp("head"))
        made.start()
        yield made


class Head:
    """A head node with images of each architecture."""

    def __init__(self, lab: Lab, directory: Path) -> None:
        self.lab = lab
        self.config = directory / "netbootd.toml"
        self.daemon: Process | None = None
        self.config.write_text(
            f'state_dir = "{directory}/state"\n[[network]]\ninterface = "{BRIDGE}"\n'
            'address = "10.77.0.1/24"\n'
            'range = "10.77.0.10-10.77.0.99"\npool = "10.77.0.100-10.77.0.110"\n'
            f'[nfs]\nserver = "ganesha"\nganesha_config = "{directory}/ganesha.conf"\n'
        )
        state = self.state = directory / "state"
        (state / "registry").mkdir(parents=True)
        arm = {f"{name}aa64.efi": images.efi_program(AARCH64, name) for name in ("shim", "grub")}
        images.make(state, "arm64", "aarch64", arm)
        images.make(state, "armv7", "armv7l")
        images.make(state, "x86", "x86_64")
        signed = {"shimx64.efi": SHIM, "grubx64.efi": GRUB}
        here = {name: path.read_bytes() for name, path in signed.items() if path.exists()}
        images.make(state, "x86-signed", "x86_64", here)

    def start(self) -> None:
        """Register all nodes, then serve them."""
        networks = load(self.config).networks_on({})
        chosen = {"pc-grub": "grub", "pc-pxelinux": "pxelinux"}
        with closing(Registry.open(self.state / "registry" / "registry.db")) as registry:
            requests = [
                NodeRequest(
                    name=name,
                    macs=(Mac(mac),),
                    address=None,
                    settings=Settings(image=image, loader=chosen.get(name)),
                )
                for name, (image, mac) in NODES.items()
            ]
            registry.add_nodes(requests, networks, {})
        self.daemon = self.lab.start("netbootd", [COMMANDS / "netbootd", "--config", self.config])
        self.daemon.wait_for("serving 10.77.0.0/24")

    def ctl(self, *words: str, where: Namespace | None = None, check: bool = True) -> CompletedProcess[str]:
        command: list[str | Path] = [COMMANDS / "netbootctl", "--config", self.config, *words]
        return (where or self.lab).run(command, check=check, timeout=200)

    def simulate(self, *words: str, where: Namespace | None = None) -> CompletedProcess[str]:
        return self.ctl("simulate", *words, "--timeout", "120", where=where, check=False)


@pytest.mark.needs("ip")
def test_every_board_boots_and_all_of_them_at_once(head: Head) -> None:
    for needed in (SHIM, GRUB, Path("/usr/lib/ipxe/snponly.efi"), Path("/usr/lib/PXELINUX/lpxelinux.0")):
        if not needed.exists():
            pytest.skip(f"not installed: {needed}")
    command = [sys.executable, "-m", "tests.simulate.together", BRIDGE, *EVERYBODY]
    told = json.loads(head.lab.run(command, timeout=200, cwd=CHECKOUT).stdout)
    outcome = {word: told["=".join(word.split("=")[:2])] for word in EVERYBODY}
    wrong = {
        word: kernel
        for word, kernel in outcome.items()
        if kernel.startswith("would not") or not kernel.rpartition("/")[2].startswith(EVERYBODY[word])
    }
    assert not wrong, wrong
    assert head.daemon is not None and "Traceback" not in head.daemon.output()


def test_two_pi_3_with_one_xid_each_get_their_own(head: Head) -> None:
    done = head.simulate("--firmware", "pi3", "--mac", PI3S[0], "--mac", PI3S[1], "--json")
    reports = json.loads(done.stdout)
    assert [(report["mac"], report["boots"]) for report in reports] == [(mac, True) for mac in PI3S], reports
    offers = {next(step["came"] for step in report["steps"]).split()[1] for report in reports}
    assert len(offers) == 2


def test_a_simulation_leaves_no_serial_in_the_registry(head: Head) -> None:
    head.ctl("node", "add", "fresh", "--mac", "dc:a6:32:00:00:99", "--image", "arm64")
    done = head.simulate("--firmware", "pi4", "--mac", "dc:a6:32:00:00:99", "--json")
    (report,) = json.loads(done.stdout)
    assert (done.returncode, report["boots"]) == (0, True), report
    assert "44444444" in " ".join(report["notes"])
    shown = json.loads(head.ctl("node", "show", "fresh", "--json").stdout)
    assert not shown["serial"]


def test_a_registered_serial_is_the_one_that_is_said(head: Head) -> None:
    head.ctl("node", "add", "known", "--mac", "dc:a6:32:00:00:98", "--image", "arm64", "--serial", "abcd1234")
    (report,) = json.loads(head.simulate("--firmware", "pi4", "--mac", "dc:a6:32:00:00:98", "--json").stdout)
    assert report["kernel"].startswith("abcd1234/")


def test_another_machine_on_the_wire_needs_no_address_and_no_configuration(head: Head) -> None:
    there = head.lab.client("c1")
    command: list[str | Path] = [COMMANDS / "netbootctl", "--config", "/nowhere", "simulate"]
    command += ["--firmware", "uefi-x64"]
    done = there.run([*command, "--mac", NODES["pc"][1], "--interface", "eth0"], check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "would boot: kernel vmlinuz, initrd initrd, root overlay of 10.77.0.1:" in done.stdout
    assert there.run(["ip", "-4", "-brief", "address", "show", "eth0"]).stdout.split()[2:] == []


def test_a_machine_that_is_not_registered_would_not_boot_and_is_told_why(head: Head) -> None:
    done = head.simulate("--firmware", "uefi-x64")
    assert done.returncode == 1
    assert "would not boot: the offer has an address and nothing to boot; register the machine" in done.stdout


def test_the_bridge_has_no_port_of_the_simulation_s_left(head: Head) -> None:
    before = head.lab.run(["ip", "-o", "link", "show", "master", BRIDGE]).stdout
    head.simulate("--firmware", "linux", "--mac", NODES["pc"][1])
    assert head.lab.run(["ip", "-o", "link", "show", "master", BRIDGE]).stdout == before


def test_a_parallella_loads_u_env_txt_from_its_fixed_address(head: Head) -> None:
    done = head.simulate("--firmware", "parallella", "--mac", NODES["para"][1])
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("imports it") == 2, "the second is the node's own"
    assert "DHCPDISCOVER" in done.stdout


def test_on_a_card_that_netbootd_serves_itself_it_says_where_to_run_it(lab: Lab, tmp_path: Path) -> None:
    """What a machine sends out of its own card doesn't come back to it."""
    lab.ip("link add wire0 type veth peer name far0", "link set far0 up", "link set wire0 up")
    lab.ip("address add 10.99.0.1/24 dev wire0")
    config = tmp_path / "netbootd.toml"
    config.write_text(f'state_dir = "{tmp_path}/state"\n[[network]]\ninterface = "wire0"\n')
    lab.start("netbootd", [COMMANDS / "netbootd", "--config", config]).wait_for("serving 10.99.0.0/24")
    command: list[str | Path] = [COMMANDS / "netbootctl", "--config", config, "simulate", "--firmware", "pi4"]
    done = lab.run(command, check=False)
    assert done.returncode == 2 and "run it on another machine on the wire" in done.stderr
    far = lab.run([*command, "--interface", "far0", "--timeout", "5"], check=False)
    assert far.returncode == 1 and "would not boot" in far.stdout


# dnsmasq

DNSMASQ = """
bind-interfaces
port=0
no-ping
leasefile-ro
{lines}
"""
ADDRESSES = "dhcp-range=10.77.0.50,10.77.0.90,255.255.255.0,1h"
CONFIG = "LABEL one\nKERNEL vmlinuz\nINITRD initrd\nAPPEND root=/dev/nfs nfsroot=10.77.0.1:/srv\n"


class Peer:
    """dnsmasq in the lab, and what it serves over TFTP."""

    def __init__(self, lab: Lab, directory: Path) -> None:
        self._lab = lab
        self._directory = directory
        self.root = directory / "tftp"
        (self.root / "pxelinux.cfg").mkdir(parents=True)
        (self.root / "pxelinux.cfg" / "default").write_text(CONFIG)
        (self.root / "loader.efi").write_bytes(images.efi_program(0x8664, "other"))
        files = {**images.FIRMWARE, "vmlinuz": images.arm64_kernel(), "initrd": images.INITRD}
        files |= {
            "kernel8.img": images.arm64_kernel(),
            "cmdline.txt": b"root=/dev/nfs nfsroot=10.77.0.1:/srv\n",
        }
        for name, content in files.items():
            (self.root / name).write_bytes(content)

    def start(self, *lines: str, where: Namespace | None = None) -> None:
        """Start a dnsmasq with these lines, in the head node's namespace or another."""
        config = self._directory / ("there.conf" if where else "here.conf")
        served = () if where else ("interface=br0", "enable-tftp", f"tftp-root={self.root}")
        config.write_text(DNSMASQ.format(lines="\n".join((*served, *lines))))
        command = ["dnsmasq", "--keep-in-foreground", "--log-facility=-", "-u", "root", "-C", str(config)]
        (where or self._lab).start(f"dnsmasq-{config.stem}", command).wait_for("DHCP, ")

    def play(self, *boards: str) -> dict[str, str]:
        """What comes of each board: the kernel, or why none."""
        words = [f"{board}=02:00:00:00:20:{number:02x}" for number, board in enumerate(boards)]
        command = [sys.executable, "-m", "tests.simulate.together", BRIDGE, *words]
        told = json.loads(self._lab.run(command, timeout=200, cwd=CHECKOUT).stdout)
        return {board: told[word] for board, word in zip(boards, words, strict=True)}


@pytest.fixture
def dnsmasq(lab: Lab, tmp_path: Path) -> Peer:
    """Somebody else's server, not started yet."""
    return Peer(lab, tmp_path)


@pytest.mark.needs("dnsmasq")
def test_without_the_three_spaces_dnsmasq_boots_every_pi_but_the_3b(dnsmasq: Peer) -> None:
    dnsmasq.start(ADDRESSES, 'pxe-service=0,"Raspberry Pi Boot"')
    told = dnsmasq.play("pi3", "pi3b+", "pi4", "pi5")
    assert "three spaces" in told.pop("pi3")
    assert set(told.values()) == {"kernel8.img"}


@pytest.mark.needs("dnsmasq")
def test_with_the_three_spaces_dnsmasq_boots_the_3b_too(dnsmasq: Peer) -> None:
    dnsmasq.start(ADDRESSES, 'pxe-service=0,"Raspberry Pi Boot   "')
    assert set(dnsmasq.play("pi3", "pi3b+", "pi4", "pi5").values()) == {"kernel8.img"}


@pytest.mark.needs("dnsmasq")
def test_dnsmasq_with_a_boot_file_boots_u_boot(dnsmasq: Peer) -> None:
    dnsmasq.start(ADDRESSES, "dhcp-boot=first.img")
    told = dnsmasq.play("khadas-mainline", "uboot-arm64", "uboot-lwip", "uboot-arm32")
    assert {told[name] for name in ("khadas-mainline", "uboot-arm64", "uboot-lwip")} == {"vmlinuz"}
    assert "64-bit ARM" in told["uboot-arm32"]


@pytest.mark.needs("dnsmasq")
def test_a_server_without_tftp_options_is_enough_for_u_boot_and_not_for_grub(dnsmasq: Peer) -> None:
    dnsmasq.start(ADDRESSES, "tftp-no-blocksize", "dhcp-boot=first.img")
    (dnsmasq.root / "grub").mkdir()
    (dnsmasq.root / "grub" / "grub.cfg").write_text("linux /vmlinuz root=/dev/sda\n")
    told = dnsmasq.play("grub", "uboot-arm64")
    assert told["uboot-arm64"] == "vmlinuz"
    assert "would not boot" in told["grub"]


@pytest.mark.needs("dnsmasq")
def test_beside_somebody_s_server_dnsmasq_as_a_proxy_boots_what_can_be(dnsmasq: Peer, lab: Lab) -> None:
    """UEFI asks it on port 4011, a Pi takes its offer as it is."""
    router = lab.client("router", address="10.77.0.2/24")
    dnsmasq.start("interface=eth0", ADDRESSES, where=router)
    services = ('pxe-service=x86-64_EFI,"Boot",loader.efi', 'pxe-service=0,"Raspberry Pi Boot   "')
    dnsmasq.start("dhcp-range=10.77.0.0,proxy", *services)
    told = dnsmasq.play("pi4", "uefi-x64")
    assert told["pi4"] == "kernel8.img"
    assert "loader.efi is an EFI program" in told["uefi-x64"], "fetched, and unknown here"
