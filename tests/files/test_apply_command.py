"""`netbootctl apply` on a head node as it is set up by default: the kernel's exports, /etc/hosts, ssh."""

import sys
from pathlib import Path

import pytest

from tests.files.head import Head
from tests.lab.namespace import Lab

pytestmark = [pytest.mark.net, pytest.mark.needs("exportfs", "ssh-keygen", "ssh")]

NETBOOTCTL = [
    sys.executable,
    "-c",
    "import sys; from netbootd.ctl import main; sys.exit(main(sys.argv[1:]))",
]
CONFIG = """
state_dir = "{directory}/state"
template_dir = "{directory}/templates"
[[network]]
interface = "br0"
domain = "cluster"
"""


@pytest.fixture
def config(head: Head) -> Path:
    """netbootd.toml with every path of the head node's own left at its default."""
    head.publish()
    head.add(1, 2)
    head.registry.set_node("n1", {"image": None}, head.networks)
    path = head.directory / "netbootd.toml"
    path.write_text(CONFIG.format(directory=head.directory))
    return path


def netbootctl(lab: Lab, config: Path, *words: str, check: bool = True) -> str:
    done = lab.run([*NETBOOTCTL, "--config", config, *words], check=check)
    return done.stdout + done.stderr


def exported(lab: Lab) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for line in lab.run(["cat", "/var/lib/nfs/etab"], check=False).stdout.splitlines():
        path, _, client = line.partition("\t")
        found.setdefault(path, set()).add(client.partition("(")[0])
    return found


def test_apply_and_undo(lab: Lab, config: Path, head: Head) -> None:
    hosts = lab.run(["cat", "/etc/hosts"]).stdout
    lab.run(["rm", "-f", "/etc/ssh/ssh_known_hosts"])

    shown = netbootctl(lab, config, "apply", "--dry-run")
    assert "/etc/exports.d/netbootd.exports" in shown
    assert exported(lab) == {}

    netbootctl(lab, config, "apply")
    image = head.images.current("debian")
    assert image
    assert exported(lab) == {
        str(head.state / "common"): {"10.77.1.1", "10.77.1.2"},
        str(image.root): {"10.77.1.2"},
        str(head.state / "nodes/n1"): {"10.77.1.1"},
        str(head.state / "nodes/n2"): {"10.77.1.2"},
    }
    # The C library and ssh know the node as its owner would ask for it.
    assert lab.run(["getent", "hosts", "n2"]).stdout.split() == ["10.77.1.2", "n2"]
    assert "ssh-ed25519" in lab.run(["ssh-keygen", "-F", "n2", "-f", "/etc/ssh/ssh_known_hosts"]).stdout
    key = str(head.state / "keys/cluster/id_ed25519")
    assert f"identityfile {key}\n" in lab.run(["ssh", "-G", "n2"]).stdout

    assert "nothing to apply" in netbootctl(lab, config, "apply")

    netbootctl(lab, config, "apply", "--undo")
    assert exported(lab) == {}
    assert lab.run(["cat", "/etc/hosts"]).stdout == hosts
    for gone in (
        "/etc/ssh/ssh_known_hosts",
        "/etc/ssh/ssh_config.d/netbootd.conf",
        "/etc/exports.d/netbootd.exports",
    ):
        lab.run(["test", "!", "-e", gone])
    assert (head.state / "nodes/n2/etc/hostname").exists()


def test_a_removed_nodes_export_is_dropped_and_the_others_stay(lab: Lab, config: Path, head: Head) -> None:
    netbootctl(lab, config, "apply")
    head.registry.remove_nodes(["n1"])
    netbootctl(lab, config, "apply")
    assert str(head.state / "nodes/n1") not in exported(lab)
    assert str(head.state / "nodes/n2") in exported(lab)


def test_without_an_nfs_server_the_rest_is_done_and_the_package_named(
    lab: Lab, config: Path, head: Head
) -> None:
    nothing = head.directory / "nothing"
    nothing.touch()
    exportfs = lab.run(["sh", "-c", "readlink -f $(command -v exportfs)"]).stdout.strip()
    lab.run(["mount", "--bind", nothing, exportfs])
    said = netbootctl(lab, config, "apply", check=False)
    assert "nfs-kernel-server" in said
    assert "Traceback" not in said
    assert "n2" in lab.run(["cat", "/etc/hosts"]).stdout
    lab.run(["umount", exportfs])
    netbootctl(lab, config, "apply")
    assert str(head.state / "nodes/n2") in exported(lab)
