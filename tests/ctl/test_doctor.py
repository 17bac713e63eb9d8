"""netbootctl doctor: it finds what a newcomer gets wrong, and says what mends it."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from netbootd.boot.loaders import LOADERS
from netbootd.events import EventLog
from netbootd.node import Mac
from netbootd.stage import Event, Stage
from tests.ctl.conftest import CONFIG, MACS, NETBOOTCTL, Head
from tests.lab.namespace import BRIDGE, Lab
from tests.lab.process import Process
from tests.simulate import images

NETBOOTD = NETBOOTCTL.with_name("netbootd")


class Patient:
    """A head node in the lab."""

    def __init__(self, lab: Lab, directory: Path) -> None:
        self.lab = lab
        self.config = directory / "netbootd.toml"
        self.configure(CONFIG.format(directory=directory).replace("eth9", BRIDGE))

    def configure(self, text: str) -> None:
        self.config.write_text(text)

    def run(self, *words: str, status: int = 0) -> str:
        done = self.lab.run([NETBOOTCTL, "--config", self.config, *words], check=False)
        assert done.returncode == status, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout

    def findings(self, *words: str) -> list[dict[str, Any]]:
        """All findings; the exit status has to go with them."""
        done = self.lab.run([NETBOOTCTL, "--config", self.config, "doctor", "--json", *words], check=False)
        found: list[dict[str, Any]] = json.loads(done.stdout)
        assert done.returncode == int(any(f["level"] == "wrong" for f in found)), done.stderr
        return found

    def wrong(self, check: str, *words: str) -> list[tuple[str, str | None]]:
        """What is wrong by one check, with what mends it."""
        found = self.findings(*(words or ("--quick",)))
        return [(f["what"], f["mend"]) for f in found if f["check"] == check and f["level"] == "wrong"]

    def start(self) -> Process:
        process = self.lab.start("netbootd", [NETBOOTD, "--config", self.config])
        process.wait_for(f"on {BRIDGE}")
        return process


@pytest.fixture
def patient(lab: Lab, tmp_path: Path) -> Patient:
    return Patient(lab, tmp_path)


pytestmark = pytest.mark.net


def test_everything_that_lacks_on_a_fresh_head_node_is_named_with_what_mends_it(patient: Patient) -> None:
    patient.lab.ip(f"address del 10.77.0.1/24 dev {BRIDGE}")
    found = {f["check"]: f for f in patient.findings("--quick") if f["level"] == "wrong"}
    assert found["interface"]["mend"] == f"ip address add 10.77.0.1/24 dev {BRIDGE}"
    assert found["daemon"]["mend"] == "systemctl start netbootd"
    assert found["images"]["mend"] == "netbootctl image build debian"
    assert "ganesha" in found["nfs"]["mend"]
    assert all(f["mend"] for f in found.values())


def test_a_broken_netbootd_toml_is_shown_with_every_fault(patient: Patient) -> None:
    patient.configure('[[network]]\ninterface = "br0"\ndhcp = "maybe"\npool = "x"\n')
    assert [what[:6] for what, _ in patient.wrong("config")] == ["line 3", "line 4"]
    assert "to mend" in patient.run("doctor", status=1)


@pytest.mark.parametrize(
    ("commands", "what", "mend"),
    [
        ((f"link set {BRIDGE} down",), f"{BRIDGE} is down", f"ip link set {BRIDGE} up"),
        (
            (f"address add 10.99.0.1/16 dev {BRIDGE}", f"address del 10.77.0.1/24 dev {BRIDGE}"),
            f"{BRIDGE} lacks its address 10.77.0.1/24; it has 10.99.0.1/16",
            f"ip address add 10.77.0.1/24 dev {BRIDGE}",
        ),
    ],
)
def test_what_is_wrong_with_the_interface(
    patient: Patient, commands: tuple[str, ...], what: str, mend: str
) -> None:
    patient.lab.ip(*commands)
    assert any(w.startswith(what) and m == mend for w, m in patient.wrong("interface"))


def test_a_template_that_cannot_be_rendered_is_told_with_its_line(patient: Patient) -> None:
    directory = patient.config.parent
    images.make(directory / "state", "pc", "x86_64")
    patient.run("node", "add", "n01", "--mac", MACS[0], "--image", "pc")
    assert [f for f in patient.findings("--quick") if f["check"] == "templates"] == [], "none of one's own"
    for name in ("boot/ipxe/boot.ipxe.j2", "node/each/etc/who.j2"):
        (directory / "templates" / name).parent.mkdir(parents=True)
        (directory / "templates" / name).write_text("#!ipxe\n{{ node.nam }}\n")
    ((what, _),) = patient.wrong("templates")
    assert f"{directory}/templates/boot/ipxe/boot.ipxe.j2, line 2: a node has no 'nam'; did you mean" in what
    ((what, mend),) = patient.wrong("apply")
    assert f"{directory}/templates/node/each/etc/who.j2, line 2" in what
    assert mend == "mend it, then netbootctl apply"
    (directory / "templates/boot/ipxe/boot.ipxe.j2").write_text("#!ipxe\necho {{ node.name }}\n")
    (fine,) = [f for f in patient.findings("--quick") if f["check"] == "templates"]
    assert (fine["level"], fine["what"]) == ("ok", "boot/ipxe/boot.ipxe.j2 can be rendered")


def test_a_cable_that_is_not_in_is_noticed(patient: Patient) -> None:
    patient.lab.ip("link add e0 type veth peer name e1", "address add 10.77.0.1/24 dev e0", "link set e0 up")
    patient.configure(patient.config.read_text().replace(f'"{BRIDGE}"', '"e0"'))
    ((what, mend),) = patient.wrong("interface")
    assert what.startswith("e0 has no link") and mend == "plug it into the switch"
    behind = 'interface = "e0"\nsubnet = "10.78.0.0/24"\nrouter = "10.78.0.254"\n'
    patient.configure(f"{patient.config.read_text()}\n[[network]]\n{behind}")
    ((what, _),) = patient.wrong("interface")
    assert what.startswith("e0 has no link"), "once, however many networks it carries"


def test_a_misspelt_interface_is_named_with_the_likely_one(patient: Patient) -> None:
    patient.configure(patient.config.read_text().replace(f'"{BRIDGE}"', '"br00"'))
    ((what, _),) = patient.wrong("interface")
    assert what == "there is no interface br00; did you mean br0?"


def test_whoever_has_a_port_is_named(patient: Patient) -> None:
    web = patient.lab.start("web", ["python3", "-u", "-m", "http.server", "80"])
    web.wait_for("Serving")
    ((what, mend),) = patient.wrong("ports")
    assert what == f"TCP port 80 (HTTP) on {BRIDGE} is in use by python3 (process {web.pid})"
    assert mend == f"kill {web.pid}, or change port under [http] in netbootd.toml"


@pytest.mark.needs("dnsmasq")
def test_another_dhcp_and_tftp_server_on_this_machine_is_named(patient: Patient) -> None:
    dnsmasq = rival(patient.lab, patient.lab, BRIDGE, "--enable-tftp", "--tftp-root=/srv")
    found = dict(patient.wrong("ports"))
    for port in ("UDP port 67 (DHCP)", "UDP port 69 (TFTP)"):
        assert f"{port} on {BRIDGE} is in use by dnsmasq (process {dnsmasq.pid})" in found


def test_the_daemons_own_ports_are_its_own(patient: Patient) -> None:
    process = patient.start()
    found = {f["check"]: f for f in patient.findings("--quick")}
    assert found["daemon"]["what"] == f"netbootd runs, process {process.pid}"
    assert found["ports"]["level"] == "ok" and found["ports"]["what"].endswith("netbootd's")
    process.stop()
    assert patient.wrong("daemon") == [("netbootd doesn't run", "systemctl start netbootd")]
    assert patient.wrong("ports") == []


@pytest.mark.needs("dnsmasq")
def test_another_dhcp_server_on_the_wire_is_found(patient: Patient) -> None:
    other = patient.lab.client("c1", mac="52:54:00:aa:bb:cc", address="10.77.0.9/24")
    rival(patient.lab, other, "eth0")
    ((what, mend),) = patient.wrong("dhcp", "--")
    assert f"another DHCP server answers on {BRIDGE}: 10.77.0.9 (52:54:00:aa:bb:cc) offered 10.77.0.2" in what
    assert mend and "switch it off" in mend


def test_our_own_server_is_no_rival(patient: Patient) -> None:
    patient.start()
    (found,) = [f for f in patient.findings() if f["check"] == "dhcp"]
    assert found["level"] == "ok" and f"no other DHCP server answered on {BRIDGE}" in found["what"]


@pytest.mark.needs("nft")
def test_a_firewall_that_keeps_nodes_out_is_found_and_its_mend_mends_it(patient: Patient) -> None:
    rules = (
        "table inet filter {\n chain input {\n type filter hook input priority 0; policy drop;\n"
        ' ct state established,related accept\n iifname "lo" accept\n tcp dport 22 accept\n }\n}\n'
    )
    patient.lab.run(["nft", "-f", "-"], input=rules)
    ((what, mend),) = patient.wrong("firewall")
    assert what.startswith(
        "the firewall drops DHCP (UDP 67), PXE (UDP 4011), TFTP (UDP 69), HTTP (TCP 80), NFS (TCP 2049)"
    )
    assert "chain inet filter input" in what
    assert mend is not None
    patient.lab.run(["sh", "-c", mend.partition("   (")[0]])
    assert patient.wrong("firewall") == []


@pytest.mark.needs("iptables-legacy")
def test_iptables_rules_count_too(patient: Patient) -> None:
    patient.lab.run(["iptables-legacy", "-A", "INPUT", "-p", "udp", "--dport", "69", "-j", "REJECT"])
    ((what, mend),) = patient.wrong("firewall")
    assert what == f"the firewall drops TFTP (UDP 69) on {BRIDGE} (chain INPUT)"
    assert mend and mend.startswith(f"iptables -I INPUT -i {BRIDGE} -j ACCEPT")


def test_an_image_without_a_kernel_and_nodes_without_an_image_are_named(
    patient: Patient, head: Head, tmp_path: Path
) -> None:
    head.image("debian", kernel=False)
    head.image("empty", current=False)
    patient.run("node", "add", "n01", "--mac", MACS[0], "--image", "later")
    patient.run("node", "add", "n02", "--mac", MACS[1])
    images, nodes = dict(patient.wrong("images")), dict(patient.wrong("nodes"))
    assert images["debian@1 lacks its vmlinuz and initrd"] == "netbootctl image build debian"
    assert images["image empty has no current generation"] == "netbootctl image use empty@NUMBER"
    assert nodes["without an image: n02"] == "netbootctl node set NAME --image IMAGE"
    assert nodes["there is no image later, which n01 should boot"] == "netbootctl image build later"


@pytest.mark.usefixtures("as_root")
def test_what_apply_would_do_is_named_and_apply_mends_it(patient: Patient, tmp_path: Path) -> None:
    patient.run("node", "add", "n01", "--mac", MACS[0])
    (tmp_path / "state/nodes/n01/etc/hostname").write_text("elsewhere\n")
    ((what, mend),) = patient.wrong("apply")
    assert what.startswith("not up to date: 1 change") and mend == "netbootctl apply"
    patient.run("apply")
    assert patient.wrong("apply") == []


def test_a_router_that_does_not_forward_is_a_warning(patient: Patient) -> None:
    patient.lab.run(["sh", "-c", "echo 0 >/proc/sys/net/ipv4/ip_forward"])
    patient.configure(patient.config.read_text().replace("10.77.0.254", "10.77.0.1"))
    (found,) = [f for f in patient.findings("--quick") if f["check"] == "router"]
    assert found["level"] == "warning" and "net.ipv4.ip_forward=1" in found["mend"]


@pytest.mark.usefixtures("as_root")
def test_a_user_who_is_not_there_and_a_directory_that_is_not_yet_are_told_of(patient: Patient) -> None:
    patient.lab.run(["mount", "-t", "tmpfs", "tmpfs", "/srv"])
    shared = "/srv/shared"
    text = patient.config.read_text()
    patient.configure(f'{text}\n[cluster]\nuser = "bob"\nshared = "{shared}"\n')
    assert [
        (f["level"], f["what"], f["mend"]) for f in patient.findings("--quick") if f["check"] == "cluster"
    ] == [
        ("warning", "[cluster] user: there is no user bob here", "netbootctl setup --user bob"),
        ("warning", f"there is no {shared} yet, which nodes shall share", "netbootctl apply"),
    ]
    patient.configure(f'{text}\n[cluster]\nshared = "{shared}"\n')
    patient.run("apply")
    (found,) = [f for f in patient.findings("--quick") if f["check"] == "cluster"]
    assert (found["level"], found["what"]) == ("ok", f"nodes get {shared}")
    patient.configure(text)
    assert [f for f in patient.findings("--quick") if f["check"] == "cluster"] == []


@pytest.mark.usefixtures("as_root")
@pytest.mark.needs("chronyd")
def test_nodes_that_are_sent_here_for_the_time_find_a_server_or_it_is_told(
    patient: Patient, tmp_path: Path
) -> None:
    def found() -> tuple[str, str]:
        (finding,) = [f for f in patient.findings("--quick") if f["check"] == "time"]
        return finding["level"], finding["mend"]

    assert found() == ("warning", "apt-get install chrony; netbootctl apply")
    (tmp_path / "chrony").mkdir()
    patient.run("apply")
    assert found() == ("warning", "netbootctl apply; systemctl restart chrony")
    settings = ("bindcmdaddress /", "cmdport 0", "pidfile /run/chronyd.pid", f"confdir {tmp_path}/chrony")
    (tmp_path / "chrony.conf").write_text("\n".join(settings) + "\n")
    words = ["chronyd", "-d", "-x", "-u", "root", "-f", str(tmp_path / "chrony.conf")]
    process = patient.lab.start("chronyd", words)
    process.wait_until(lambda: found()[0] == "ok", "an answer")
    process.stop()
    text = patient.config.read_text()
    assert "[tftp]" not in text
    patient.configure(text.replace("[[network]]", "[[network]]\noptions.ntp-servers = []", 1))
    assert [f for f in patient.findings("--quick") if f["check"] == "time"] == []


def test_a_loader_is_missing_only_where_a_node_needs_it(patient: Patient, head: Head, tmp_path: Path) -> None:
    """By the image's architecture until the node was heard, then by what it was told."""
    for path in {path.parent for loader in LOADERS.values() for path in loader.paths if path.is_file()}:
        patient.lab.run(["mount", "-t", "tmpfs", "tmpfs", path])
    assert patient.wrong("loaders") == []
    patient.run("node", "add", "n01", "--mac", MACS[0], "--image", "debian")
    head.image("debian")
    advice = "`apt install ipxe` brings it"
    assert patient.wrong("loaders") == [
        ("the loader undionly.kpxe isn't installed", advice),
        ("the loader snponly.efi isn't installed", advice),
    ]
    told = "offered 10.77.0.10, nothing to boot: the loader grubaa64.efi for 64-bit ARM UEFI isn't installed"
    log = EventLog.open(tmp_path / "state/registry/events.db")
    log.record(Event(time=1.0, mac=Mac(MACS[0]), node="n01", stage=Stage.OFFER, text=told))
    log.close()
    ((what, mend),) = patient.wrong("loaders")
    assert what == "the loader grubaa64.efi isn't installed"
    assert mend and "apt install grub-efi-arm64-signed:arm64" in mend


def rival(lab: Lab, where: Any, interface: str, *more: str) -> Process:
    """A real dnsmasq that gives out addresses."""
    process: Process = where.start(
        "dnsmasq",
        [
            "dnsmasq", "--keep-in-foreground", "--log-facility=-", "--conf-file=/dev/null", "--port=0",
            "--user=root", "--no-ping", f"--interface={interface}", "--bind-interfaces",
            "--dhcp-authoritative", "--dhcp-leasefile=/dev/null", "--dhcp-range=10.77.0.200,10.77.0.220",
            *more,
        ],
    )  # fmt: skip
    process.wait_for("sockets bound exclusively to interface")
    return process


@pytest.mark.needs("mksquashfs")
def test_a_node_in_memory_needs_mksquashfs_and_others_do_not(patient: Patient) -> None:
    mksquashfs = shutil.which("mksquashfs")
    assert mksquashfs is not None
    # In the lab's mounts alone: there is no such program.
    patient.lab.run(["mount", "--bind", "/dev/null", mksquashfs])
    patient.run("node", "add", "n01", "--mac", "52:54:00:00:00:01")
    assert patient.wrong("commands") == []
    patient.run("node", "set", "n01", "--root", "ram")
    assert patient.wrong("commands") == [
        ("mksquashfs isn't installed; `node set --root ram` needs it", "apt-get install squashfs-tools")
    ]
