"""netbootctl explain: what a machine would be told, by the functions that tell real ones."""

import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netbootd.boot.client import from_dhcp
from netbootd.boot.firmware import recognise
from netbootd.boot.loaders import LOADERS
from netbootd.ctl.capture import Fetch, requests
from netbootd.ctl.specimens import SPECIMENS
from netbootd.dhcp.wire import Message, decode, encode
from netbootd.errors import UserError
from netbootd.node import Mac
from netbootd.simulate.boards import BOARDS
from tests.ctl.conftest import MACS, Head
from tests.simulate import images

CAPTURES = Path(__file__).parent.parent / "captures"
STRANGER = "b8:27:eb:01:02:03"
SENT_BY = {
    "bios-e1000-to-pxelinux": "ipxe",
    "bios-ipxe-rom-to-lpxelinux": "ipxe",
    "uefi-x64-pxe-to-grub": "uefi",
    "uefi-arm64-pxe-to-grub": "uefi-arm64",
    "uefi-x64-httpboot": "http",
    "uboot-arm64-pxe-get": "uboot",
}


@pytest.fixture
def ready(head: Head) -> Head:
    head.image("debian")
    head.well("node", "add", "n01", "--mac", MACS[0])
    return head


def option(step: dict[str, object], code: int) -> str | None:
    options = step["options"]
    assert isinstance(options, list)
    return next((str(o["value"]) for o in options if o["code"] == code), None)


def offers(run: dict[str, Any]) -> list[dict[str, Any]]:
    return [step for step in run["steps"] if step["kind"] == "dhcp" and step["answer"] == "OFFER"]


@pytest.mark.skipif(not any(path.is_file() for path in LOADERS["snponly.efi"].paths), reason="no iPXE")
@pytest.mark.parametrize(("firmware", "loader"), [("bios", "undionly.kpxe"), ("uefi", "snponly.efi")])
def test_a_boot_is_followed_to_the_kernel_and_the_initrd(ready: Head, firmware: str, loader: str) -> None:
    (run,) = ready.well("explain", "n01", "--firmware", firmware, "--json").json
    first, again = offers(run)
    assert (first["yiaddr"], first["siaddr"]) == ("10.77.0.10", "10.77.0.1")
    assert first["file"] == option(first, 67) == f"loaders/{loader}"
    assert again["firmware"] == "ipxe" and "boot.ipxe" in (option(again, 67) or "")
    files = [step for step in run["steps"] if step["kind"] != "dhcp" and step["door"] != "TFTP probe"]
    loaded, script, kernel, initrd = files
    assert loaded["path"] == f"loaders/{loader}" and loaded["size"] > 10_000
    assert script["content"].startswith("#!ipxe") and "netbootd.node=n01" in script["content"]
    assert kernel["path"] == "/images/debian/1/vmlinuz" and kernel["door"] == "HTTP"
    assert initrd["path"] == "/images/debian/1/initrd"
    assert run["boots"] and "netbootd.node=n01" in run["command_line"]
    text = ready.well("explain", "n01", "--firmware", firmware).out
    assert f"loaders/{loader}" in text and "netbootd.ip=10.77.0.10/24" in text
    assert "as before" in text and "it would boot: kernel vmlinuz, initrd initrd, root overlay of" in text


@pytest.fixture
def racks(head: Head) -> Head:
    """A node for each architecture."""
    for number, architecture in enumerate(("x86_64", "aarch64", "armv7l")):
        images.make(head.directory / "state", architecture, architecture)
        head.well("node", "add", f"n{number}", "--mac", MACS[number], "--image", architecture)
    return head


ON_ARM32 = ("uboot-arm32", "parallella")
ON_ARM64 = ("pi", "khadas", "uboot", "uefi-arm64", "uefi-http-arm64", "ipxe-arm64")
WOULD_NOT = {
    "khadas": "its bootcmd knows eMMC and SD only",
    "parallella": "nothing was loaded there",  # this image has no device tree
    "uefi-ia32": "the loader grubia32.efi",
    "uefi-riscv64": "give it an image for riscv64",
    "uefi-arm64": "the loader ipxe-arm64.efi",
    "uefi-http-arm64": "the loader ipxe-arm64.efi",
}
"""Loaders that Debian 12 has no package for: with one, these three boot."""


def test_every_firmware_is_explained_to_its_kernel_or_to_what_is_missing(racks: Head) -> None:
    for firmware in BOARDS:
        name = "n2" if firmware in ON_ARM32 else "n1" if firmware.startswith(ON_ARM64) else "n0"
        said = racks.well("explain", name, "--firmware", firmware).out
        verdict = said.splitlines()[-1]
        if verdict.startswith("it would boot: kernel "):
            assert firmware == "linux" or f"netbootd.node={name}" in said
        else:
            assert firmware in WOULD_NOT and WOULD_NOT[firmware] in verdict, f"{firmware}: {verdict}"


def test_what_another_machine_has_is_not_looked_up_here(ready: Head) -> None:
    ready.well("node", "set", "n01", "--dhcp-option", "tftp-server-name=10.77.0.9")
    ready.well("node", "set", "n01", "--dhcp-option", "bootfile-name=mine.efi")
    said = ready.well("explain", "n01", "--firmware", "uefi").out
    assert "10.77.0.9 is asked for it, and isn't this head node" in said.splitlines()[-1]


def test_ipxe_gets_its_script_at_once_and_no_loader(ready: Head) -> None:
    (run,) = ready.well("explain", MACS[0], "--firmware", "ipxe", "--json").json
    assert [step["kind"] for step in run["steps"]] == ["dhcp", "dhcp", "rendered", "file", "file"]


def test_a_missing_kernel_is_named(head: Head) -> None:
    head.image("debian", kernel=False)
    head.well("node", "add", "n01", "--mac", MACS[0])
    (run,) = head.well("explain", "n01", "--firmware", "ipxe", "--json").json
    assert not run["boots"] and "there is no such file" in [step.get("why") for step in run["steps"]]
    assert "vmlinuz" in head.well("explain", "n01", "--firmware", "ipxe").out.splitlines()[-1]


@pytest.mark.parametrize(
    ("image", "reason"),
    [(False, "image 'debian' has no generation"), (True, "takes nothing from a proxyDHCP")],
)
def test_behind_a_proxy_the_head_node_s_reason_is_told_and_not_the_board_s(
    head: Head, image: bool, reason: str
) -> None:
    proxied = (
        head.config.read_text().replace("pool =", "# pool =").replace("router", 'dhcp = "proxy"\nrouter')
    )
    head.config.write_text(proxied)
    if image:
        images.make(head.directory / "state", "debian", "aarch64")
    head.well("node", "add", "n01", "--mac", MACS[0], "--image", "debian")
    said = head.well("explain", "n01", "--firmware", "khadas-mainline").out.splitlines()[-1]
    assert said.startswith("it would not boot: ") and reason in said


def test_a_capture_in_which_nobody_asks_is_said_to_be_so(ready: Head, tmp_path: Path) -> None:
    empty = tmp_path / "empty.pcap"
    empty.write_bytes(b"\xd4\xc3\xb2\xa1" + bytes(16) + b"\1\0\0\0")
    assert "nobody asks for anything in it" in ready.well("explain", "--pcap", str(empty)).out


def test_a_node_without_an_image_is_told_to_wait_and_why(head: Head) -> None:
    head.well("node", "add", "n01", "--mac", MACS[0])
    (run,) = head.well("explain", "n01", "--firmware", "uefi", "--json").json
    step = run["steps"][0]
    assert "n01 has no image" in step["why"] and step["file"] == ""
    said = head.well("explain", "n01", "--firmware", "uefi").out.splitlines()[-1]
    assert said.startswith("it would not boot: n01 has no image")


def test_a_stranger_gets_an_address_of_the_pool_or_nothing(ready: Head) -> None:
    (run,) = ready.well("explain", STRANGER, "--firmware", "bios", "--json").json
    assert run["steps"][0]["yiaddr"] == "10.77.0.100"
    ready.config.write_text("\n".join(ln for ln in ready.config.read_text().splitlines() if "pool" not in ln))
    (run,) = ready.well("explain", STRANGER, "--firmware", "bios", "--json").json
    assert run["steps"][0]["answer"] is None and "has no pool" in run["steps"][0]["why"]


def test_explaining_changes_nothing(ready: Head) -> None:
    before = ready.dump()
    for firmware in BOARDS:
        for who in ("n01", STRANGER):
            ready.well("explain", who, "--firmware", firmware)
    assert ready.dump() == before


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["n01"], "which firmware does it boot with? --firmware pi3|"),
        (["n99"], "there is no node 'n99'"),
        (["n01", "--firmware", "amiga"], "no board known here"),
        (["n99", "--firmware", "bios"], "there is no node 'n99'"),
        (["ff:ff:ff:ff:ff:ff", "--firmware", "bios"], "is a group address"),
        (["52:54:00:00:00", "--firmware", "bios"], "isn't a MAC address"),
        ([], "or --pcap FILE"),
        (["n01", "--pcap", "x"], "or --pcap FILE"),
        (["--pcap", "/nonexistent"], "can't read /nonexistent"),
        (["--pcap", __file__], "isn't a pcap file"),
    ],
)
def test_what_cannot_be_explained_is_said_in_a_line(ready: Head, words: list[str], reason: str) -> None:
    done = ready("explain", *words)
    assert done.status == 2 and reason in done.err and done.err.count("\n") == 1


@pytest.mark.parametrize("capture", sorted(path.stem for path in CAPTURES.glob("*.pcap")))
def test_somebodys_capture_is_answered_packet_by_packet(ready: Head, capture: str) -> None:
    told = ready.well("explain", "--pcap", str(CAPTURES / f"{capture}.pcap"), "--json").json
    asked = [step["asks"] for step in told]
    bootp = set(asked) == {"BOOTP"}  # it isn't registered, and BOOTP's addresses are for nodes alone
    assert bootp or (asked[0] == "DISCOVER" and "REQUEST" in asked)
    answers = {step["answer"] for step in told if step["kind"] == "dhcp"}
    assert answers == {None} if bootp else answers <= {"OFFER", "ACK", "NAK"}
    assert ready.well("explain", "--pcap", str(CAPTURES / f"{capture}.pcap")).out.count("\n") == len(told)


def test_files_asked_for_in_a_capture_are_found_as_its_node_would_find_them(ready: Head) -> None:
    capture = CAPTURES / "uefi-x64-httpboot.pcap"
    card = next(asked.chaddr for _, _, asked in requests(capture) if isinstance(asked, Message))
    before = ready.well("explain", "--pcap", str(capture), "--json").json
    assert {"TFTP", "HTTP"} & {step["asks"] for step in before}
    ready.well("node", "set", "n01", "--mac", card)
    after = ready.well("explain", "--pcap", str(capture), "--json").json
    assert {step["node"] for step in after if step["kind"] != "dhcp"} == {"n01"}


@pytest.mark.needs("editcap")
@pytest.mark.parametrize("encapsulation", ["ether", "linux-sll", "linux-sll2"])
@pytest.mark.parametrize("kind", ["pcapng", "pcap", "nsecpcap"])
def test_a_capture_may_be_of_any_usual_kind(tmp_path: Path, kind: str, encapsulation: str) -> None:
    capture = CAPTURES / "uboot-arm64-pxe-get.pcap"
    expected = [(at, port, asked) for at, port, asked in requests(capture)]
    assert {asked.path for _, _, asked in expected if isinstance(asked, Fetch)} and len(expected) > 5
    same = tmp_path / "same"
    if encapsulation != "ether":
        capture = _cooked(capture, tmp_path / "cooked", encapsulation)
    subprocess.run(["editcap", "-F", kind, capture, same], check=True)
    got = list(requests(same))
    assert [asked for _, _, asked in got] == [asked for _, _, asked in expected]
    assert [at for at, _, _ in got] == pytest.approx([at for at, _, _ in expected], abs=1e-5)


def _cooked(capture: Path, path: Path, encapsulation: str) -> Path:
    """The capture as `tcpdump -i any` would have written it."""
    octets = capture.read_bytes()
    link = {"linux-sll": 113, "linux-sll2": 276}[encapsulation]
    out, at = bytearray(octets[:20] + link.to_bytes(4, "little")), 24
    while at < len(octets):
        header, length = octets[at : at + 8], int.from_bytes(octets[at + 8 : at + 12], "little")
        frame = octets[at + 16 : at + 16 + length]
        at += 16 + length
        sender, kind, rest = frame[6:12], frame[12:14], frame[14:]
        if link == 113:
            packet = b"\0\0\0\1\0\6" + sender + b"\0\0" + kind + rest
        else:
            packet = kind + b"\0\0" + b"\0\0\0\2" + b"\0\1" + b"\0\6" + sender + b"\0\0" + rest
        out += header + 2 * len(packet).to_bytes(4, "little") + packet
    path.write_bytes(out)
    return path


@given(octets=st.binary(max_size=600), magic=st.sampled_from([b"\xd4\xc3\xb2\xa1", b"\x0a\x0d\x0d\x0a", b""]))
def test_no_file_makes_the_reading_fail_but_in_words(octets: bytes, magic: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(magic + octets)
        file.flush()
        with suppress(UserError):
            list(requests(Path(file.name)))


@settings(max_examples=300)
@given(data=st.data(), capture=st.sampled_from(sorted(CAPTURES.glob("*.pcap"))))
def test_damaged_packets_are_passed_over(data: st.DataObject, capture: Path) -> None:
    octets = bytearray(capture.read_bytes()[:20_000])
    for _ in range(data.draw(st.integers(1, 20))):
        octets[data.draw(st.integers(24, len(octets) - 1))] = data.draw(st.integers(0, 255))
    with tempfile.NamedTemporaryFile() as file:
        file.write(octets)
        file.flush()
        with suppress(UserError):
            list(requests(Path(file.name)))


def test_a_capture_that_was_cut_off_is_answered_as_far_as_it_goes(ready: Head, tmp_path: Path) -> None:
    whole = CAPTURES / "udhcpc.pcap"
    cut = tmp_path / "cut.pcap"
    for size in (24, 30, 100, 400, whole.stat().st_size - 1):
        shutil.copy(whole, cut)
        with cut.open("r+b") as file:
            file.truncate(size)
        ready.well("explain", "--pcap", str(cut))


@pytest.mark.parametrize(("capture", "firmware"), SENT_BY.items(), ids=SENT_BY)
def test_a_specimen_is_recognised_as_the_real_machine_is(capture: str, firmware: str) -> None:
    (_, _, real), *_ = requests(CAPTURES / f"{capture}.pcap")
    assert isinstance(real, Message)
    made = decode(encode(SPECIMENS[firmware].discover(Mac(MACS[0]))))
    client, copy = (from_dhcp(m.chaddr, m.options) for m in (real, made))
    assert recognise(copy) is recognise(client)
    assert copy.architectures == client.architectures
    assert copy.vendor_class.split(":")[:3] == client.vendor_class.split(":")[:3]
    assert (copy.ipxe_options, copy.user_classes) == (client.ipxe_options, client.user_classes)
    assert made.broadcast == real.broadcast


def test_what_an_admin_set_over_the_boot_decision_is_said_with_the_reason(ready: Head) -> None:
    ready.well(
        "node", "set", "n01", "--dhcp-option", "bootfile-name=mine.efi", "--dhcp-option", "ntp=10.77.0.1"
    )
    step = ready.well("explain", "n01", "--firmware", "uefi", "--json").json[0]["steps"][0]
    assert step["why"].endswith("; but bootfile-name is set for n01")
    assert step["file"] == "mine.efi"
    values = {option["name"]: option["value"] for option in step["options"]}
    assert (values["bootfile-name"], values["ntp-servers"]) == ("mine.efi", "10.77.0.1")


def test_a_broken_override_is_told_with_what_is_served_meanwhile(head: Head) -> None:
    head.image("debian")
    head("node", "add", "n01", "--mac", MACS[0], "--image", "debian")
    override = head.directory / "templates/boot/ipxe/boot.ipxe.j2"
    override.parent.mkdir(parents=True)
    override.write_text("#!ipxe\n{{ nothing }}\n")
    out = head.well("explain", "n01", "--firmware", "ipxe").out
    assert f"{override}, line 2: 'nothing' is undefined" in out
    assert "until then the packaged template is served" in out
    assert "n01 boots debian@1" in out
