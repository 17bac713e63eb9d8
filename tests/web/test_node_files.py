"""Node files by HTTP, from a whole head node: to the node itself, while it boots, from root's ports."""

import io
import sys
import tarfile
from pathlib import Path

import pytest

from netbootd.dhcp import wire
from netbootd.dhcp.options import MessageType
from netbootd.image import Generation
from netbootd.images.store import ImageStore
from netbootd.node import Mac
from tests.dhcp.packets import request
from tests.lab.namespace import BRIDGE, Lab, Namespace

pytestmark = [pytest.mark.net, pytest.mark.needs("curl", "mksquashfs")]

CHECKOUT = Path(__file__).parents[2]
MAC = Mac("52:54:00:00:00:01")
NETBOOTCTL = Path(sys.executable).parent / "netbootctl"
NETBOOTD = [sys.executable, "-m", "netbootd"]
CONFIG = """\
state_dir = "{directory}/state"
[[network]]
interface = "{bridge}"
range = "10.77.0.10-10.77.0.20"
[nfs]
server = "ganesha"
ganesha_config = "{directory}/ganesha.conf"
"""


def publish(directory: Path) -> None:
    """An image of one file, which nothing boots."""
    store = ImageStore(directory / "state/images")
    with store.staging("small") as staging:
        (staging.root / "file").write_text("content")
        made = Generation(
            image="small",
            number=0,
            directory=staging.directory,
            created="2026-01-01T00:00:00Z",
            origin="a test",
            architecture="x86_64",
            kernel_release="6.1",
            size=7,
            squashfs="gzip",
        )
        store.publish(staging, made)


def fetched(client: Namespace, path: str, port: int | None) -> tuple[str, bytes]:
    """Status and content, asked for from that port."""
    out = f"/tmp/fetched-{client.name}"
    ask = ["curl", "-s", "--max-time", "20", "-o", out, "-w", "%{http_code}", f"http://10.77.0.1{path}"]
    status = client.run([*ask, "--local-port", str(port)] if port else ask).stdout
    content = Path(out).read_bytes() if Path(out).exists() else b""
    Path(out).unlink(missing_ok=True)
    return status, content


def ask_to_boot(client: Namespace, port: int) -> None:
    """The DISCOVER of an iPXE in a card's ROM, from that port; returns with its answer, or after 4 s."""
    options = {60: b"PXEClient:Arch:00000:UNDI:002001", 93: b"\0\0", 77: b"iPXE"}
    octets = wire.encode(request(MessageType.DISCOVER, MAC, options, flags=0x8000))
    words = ["4", "1", str(port), "255.255.255.255:67", octets.hex()]
    client.run([sys.executable, "-m", "tests.dhcp.asker", *words], cwd=CHECKOUT)


def test_they_are_given_from_the_firmwares_dhcp_until_the_root_is_there(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "netbootd.toml").write_text(CONFIG.format(directory=tmp_path, bridge=BRIDGE))
    publish(tmp_path)
    config = str(tmp_path / "netbootd.toml")
    ctl = [str(NETBOOTCTL), "--config", config]
    for name, mac in (("n01", str(MAC)), ("n02", "52:54:00:00:00:02")):
        lab.run([*ctl, "node", "add", name, "--mac", mac, "--image", "small", "--root", "ram"])
    daemon = lab.start("netbootd", [*NETBOOTD, "--config", config])
    daemon.wait_for("serving 10.77.0.0/24")
    n01 = lab.client("c1", str(MAC), "10.77.0.10/24")
    own, other, common = "/ram/nodes/n01.tar", "/ram/nodes/n02.tar", "/ram/common.tar"

    assert fetched(n01, own, 600)[0] == "403"
    ask_to_boot(n01, 40000)
    status, why = fetched(n01, own, 601)
    assert (status, b"n01 isn't booting" in why) == ("403", True), "any user could have sent that"

    ask_to_boot(n01, 68)
    status, content = fetched(n01, own, 602)
    assert status == "200"
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        assert "etc/ssh/ssh_host_ed25519_key" in tar.getnames()
    assert fetched(n01, common, 603)[0] == "200"
    assert fetched(n01, own, None)[0] == "403"
    assert fetched(n01, other, 604)[0] == "403"
    assert fetched(n01, "/images/small/1/root.squashfs", 605)[0] == "200"
    assert fetched(n01, "/images/small/1/root.squashfs", None)[0] == "403"
    stranger = lab.client("c3", "52:54:00:00:00:03", "10.77.0.19/24")
    assert fetched(stranger, "/images/small/1/root.squashfs", 601)[0] == "403"
    assert fetched(stranger, own, 600)[0] == "403"

    assert fetched(n01, f"/report/{str(MAC).replace(':', '-')}/root?detail=ram", None)[0] == "200"
    assert fetched(n01, own, 608)[0] == "403"

    ask_to_boot(n01, 68)
    assert fetched(n01, own, 606)[0] == "200"
    daemon.stop()
    again = lab.start("again", [*NETBOOTD, "--config", config])
    again.wait_for("serving 10.77.0.0/24")
    assert fetched(n01, own, 607)[0] == "403"
