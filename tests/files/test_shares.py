"""The cluster user and what all nodes share, on a head node with users of its own: netbootctl in a Lab."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.files.head import Head
from tests.files.test_apply_command import NETBOOTCTL
from tests.lab.ganesha import Ganesha
from tests.lab.namespace import Lab, Namespace

pytestmark = [
    pytest.mark.net,
    pytest.mark.needs("ssh-keygen", "useradd", "exportfs"),
    pytest.mark.as_root("users are made, and files given to them"),
]

CONFIG = """
state_dir = "{directory}/state"
template_dir = "{directory}/templates"
[[network]]
interface = "br0"
address = "10.77.0.1/16"
domain = "cluster"
[nfs]
server = "{server}"
[cluster]
{cluster}
"""
ALICE = 'user = "alice"\nshared = "/srv/shared"'


@pytest.fixture
def lab() -> Iterator[Lab]:
    """A head node with homes and a /srv of its own, and with alice."""
    with Lab() as made:
        for directory in ("/home", "/srv"):
            made.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", directory])
        made.ip("address del 10.77.0.1/24 dev br0", "address add 10.77.0.1/16 dev br0")
        made.run(
            ["useradd", "--create-home", "--shell", "/bin/sh", "--uid", "1234", "--password", "*", "alice"]
        )
        yield made


class Site:
    """That head node, with n1 and n2 registered."""

    def __init__(self, lab: Lab, head: Head) -> None:
        self.lab = lab
        self.head = head
        self.path = head.directory / "netbootd.toml"
        head.publish()
        head.add(1, 2)
        self.configure(ALICE)

    def configure(self, cluster: str, server: str = "kernel") -> None:
        text = CONFIG.format(directory=self.head.directory, cluster=cluster, server=server)
        self.path.write_text(text)

    def netbootctl(self, *words: str) -> str:
        done = self.lab.run([*NETBOOTCTL, "--config", self.path, *words])
        return done.stdout + done.stderr

    def warnings(self) -> list[str]:
        said: list[str] = json.loads(
            self.lab.run([*NETBOOTCTL, "--config", self.path, "apply", "--dry-run", "--json"]).stdout
        )["warnings"]
        return said

    def rendered(self, name: str) -> list[list[str]]:
        file = self.head.state / "common/usr/lib/netbootd" / name
        return [line.split() for line in file.read_text().splitlines()] if file.exists() else []

    def writable(self) -> dict[str, set[str]]:
        """Directory -> who may write to it; all have to be squashed, as the kernel's server was told."""
        found: dict[str, set[str]] = {}
        for line in self.lab.run(["cat", "/var/lib/nfs/etab"], check=False).stdout.splitlines():
            path, _, client = line.partition("\t")
            address, _, options = client.partition("(")
            words = options.rstrip(")").split(",")
            assert ("rw" in words) == ("root_squash" in words) == ("no_root_squash" not in words)
            if "rw" in words:
                found.setdefault(path, set()).add(address)
        return found


@pytest.fixture
def site(lab: Lab, head: Head) -> Site:
    return Site(lab, head)


def test_all_nodes_get_the_user_his_home_and_the_shared_directory(site: Site) -> None:
    (gid,) = site.lab.run(["id", "--group", "alice"]).stdout.split()
    shown = site.netbootctl("apply", "--dry-run")
    assert "make    /srv/shared" in shown and "make    /home/alice/.ssh" in shown
    assert site.lab.run(["ls", "-A", "/home/alice/.ssh", "/srv"], check=False).stdout.strip() == "/srv:"

    applied = site.netbootctl("apply")
    assert all(each in applied for each in ("/srv/shared, ", "alice's SSH key"))
    assert site.rendered("accounts") == [
        ["group", "alice", gid],
        ["user", "alice", "1234", gid, "/home/alice", "/bin/sh"],
    ]
    assert site.rendered("mounts") == [["/home/alice", "/home/alice"], ["/srv/shared", "/srv/shared"]]
    told = (site.head.state / "nodes/n1/etc/motd").read_text().splitlines()
    assert told[-1].endswith("gone with the next start, except below /home/alice and /srv/shared.")
    nodes = {"10.77.1.1", "10.77.1.2"}
    assert site.writable() == {"/home/alice": nodes, "/srv/shared": nodes}
    shared = site.lab.run(["stat", "--format=%a %u %g", "/srv/shared"]).stdout.split()
    assert shared == ["2775", "0", gid]
    assert "nothing to apply" in site.netbootctl("apply")

    site.configure("")
    site.netbootctl("apply")
    assert site.writable() == {} and site.rendered("accounts") == site.rendered("mounts") == []
    assert site.lab.run(["ls", "/home/alice/.ssh", "/srv"]).stdout, "what is theirs stays"


def test_a_shared_directory_without_a_user_is_everybodys_and_one_that_is_there_stays_as_it_is(
    site: Site,
) -> None:
    site.configure('shared = "/srv/shared"')
    site.netbootctl("apply")
    assert site.lab.run(["stat", "--format=%a", "/srv/shared"]).stdout == "1777\n"
    assert site.rendered("mounts") == [["/srv/shared", "/srv/shared"]]
    site.lab.run(["chmod", "750", "/srv/shared"])
    site.configure(ALICE)
    site.netbootctl("apply")
    assert site.lab.run(["stat", "--format=%a", "/srv/shared"]).stdout == "750\n"


@pytest.mark.parametrize(
    ("prepare", "user", "said", "mounted"),
    [
        ("true", "bob", "there is no user bob here; netbootctl setup --user bob", False),
        ("useradd -o -u 0 toor", "toor", "toor is another name of root", False),
        ("useradd -m -u 77 old", "old", "old has the number 77", True),
        ("useradd -u 1300 bob", "bob", "home directory /home/bob is missing; install -d", False),
        ("useradd -m -s /usr/sbin/nologin bob", "bob", "lets nobody in", True),
        ("useradd -m bob; chown root: /home/bob", "bob", "belongs to the user with number 0", False),
        ("useradd -m bob; chmod 775 /home/bob", "bob", "ssh takes no key from it", True),
        ("useradd -m -d '/home/b ob' bob", "bob", "have to be plain paths", False),
        ("useradd -d STATE/nodes bob", "bob", "lie one in the other", False),
        ("useradd -d / bob", "bob", "lie one in the other", False),
        ("useradd -d /home/far bob; ln -s STATE /home/far", "bob", "lie one in the other", False),
        (
            "useradd -d /run/over bob; mkdir /run/u /run/w /run/over; mount -t overlay"
            " -o lowerdir=/home/alice,upperdir=/run/u,workdir=/run/w overlay /run/over; chown bob /run/over",
            "bob",
            "lies on overlay, which can't be exported",
            False,
        ),
    ],
    ids=lambda value: value.partition(" -d")[0] if isinstance(value, str) else str(value),
)
def test_a_user_who_cant_be_one_is_left_out_with_a_word(
    site: Site, prepare: str, user: str, said: str, mounted: bool
) -> None:
    site.lab.run(["sh", "-c", prepare.replace("STATE", str(site.head.state))])
    site.configure(f'user = "{user}"')
    assert any(said in warning for warning in site.warnings()), site.warnings()
    site.netbootctl("apply")  # all else is done
    assert bool(site.writable()) == mounted == bool(site.rendered("mounts"))


def test_a_shared_directory_left_half_made_is_made_and_a_link_in_its_place_isnt_followed(site: Site) -> None:
    site.lab.run(["mkdir", "-m", "700", "/srv/.shared.netbootd-new"])
    site.netbootctl("apply")
    assert site.lab.run(["stat", "--format=%a", "/srv/shared"]).stdout == "2775\n"
    site.lab.run(["sh", "-c", "rmdir /srv/shared; ln -s /home/alice /srv/.shared.netbootd-new"])
    done = site.lab.run([*NETBOOTCTL, "--config", site.path, "apply"], check=False)
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert site.lab.run(["stat", "--format=%U %a", "/home/alice"]).stdout in ("alice 755\n", "alice 700\n")


def test_a_home_elsewhere_by_a_link_is_mounted_where_its_owner_has_it(site: Site) -> None:
    site.lab.run(
        ["sh", "-c", "mkdir /srv/homes; mv /home/alice /srv/homes; ln -s /srv/homes/alice /home/alice"]
    )
    site.netbootctl("apply")
    assert site.rendered("mounts")[0] == ["/srv/homes/alice", "/home/alice"]
    assert "/srv/homes/alice" in site.writable()


def test_what_another_directory_brings_along_is_mounted_once(site: Site) -> None:
    site.configure('user = "alice"\nshared = "/home"')
    site.netbootctl("apply")
    assert site.rendered("mounts") == [["/home", "/home"]]
    assert set(site.writable()) == {"/home"}


@pytest.mark.needs("sshd", "ssh", "setpriv")
def test_from_the_head_and_from_node_to_node_ssh_asks_the_user_nothing(site: Site) -> None:
    """The nodes: two namespaces with the files rendered for them and the head node's /home, as by NFS."""
    site.netbootctl("apply")
    nodes = {name: node(site, name, f"10.77.1.{number}/16") for number, name in enumerate(("n1", "n2"), 1)}

    def ssh(at: Namespace, *words: str) -> str:
        command = ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=20", *words]
        done = at.run(
            [
                "setpriv",
                "--reuid=alice",
                "--regid=alice",
                "--init-groups",
                "env",
                "HOME=/home/alice",
                *command,
            ],
            check=False,
            cwd=Path("/"),
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    assert ssh(site.lab, "n1", "echo $USER at $(hostname)") == "alice at n1"
    assert ssh(nodes["n1"], "n2", "echo $USER at $(hostname)") == "alice at n2"
    assert ssh(site.lab, "n1", "ssh n2 ssh n1.cluster hostname") == "n1"


def node(site: Site, name: str, address: str) -> Namespace:
    """A node as far as ssh sees one."""
    made = site.lab.client(name, address=address)
    for tree in ("common", f"nodes/{name}"):
        made.run(["cp", "-a", "--no-preserve=ownership", f"{site.head.state}/{tree}/etc/.", "/etc"])
    settings = ("PidFile=none", "UsePAM=no", "AllowTcpForwarding=no")
    words = [word for setting in settings for word in ("-o", setting)]
    key = "/etc/ssh/ssh_host_ed25519_key"
    daemon = made.start(f"sshd-{name}", [shutil.which("sshd") or "", "-D", "-e", "-h", key, *words])
    daemon.wait_for("Server listening")
    return made


@pytest.mark.needs("ganesha.nfsd", "nfs-cat", "nfs-cp", "setpriv")
def test_over_nfs_the_user_writes_as_himself_root_as_nobody_and_others_not_at_all(site: Site) -> None:
    site.configure(ALICE, "ganesha")
    site.netbootctl("apply")
    server = Ganesha(site.lab, Path("/etc/ganesha/netbootd.conf"), Path("/run/netbootd-ganesha.pid"))
    server.start()
    inside, outside = (site.lab.client(f"c{n}", address=f"10.77.1.{n}/16") for n in (1, 9))
    site.lab.run(
        ["sh", "-c", "echo mine >/home/alice/mine; chmod 600 /home/alice/mine; chown alice: /home/alice/mine"]
    )

    def read(client: Namespace, path: str, uid: int) -> str:
        url = f"nfs://10.77.0.1{path}?version=4&uid={uid}&gid={uid}"
        return client.run(["nfs-cat", url], check=False, timeout=60).stdout

    def write(client: Namespace, path: str, uid: int) -> str:
        client.run(["sh", "-c", "echo new >/run/new"])
        url = f"nfs://10.77.0.1{path}?version=4&uid={uid}&gid={uid}"
        client.run(["nfs-cp", "/run/new", url], check=False, timeout=60)
        return site.lab.run(["sh", "-c", f"stat --format=%U {path} 2>/dev/null"], check=False).stdout.strip()

    assert read(inside, "/home/alice/mine", 1234) == "mine\n"
    assert read(inside, "/home/alice/mine", 0) == ""
    assert read(outside, "/home/alice/mine", 1234) == ""
    assert write(inside, "/home/alice/new", 1234) == "alice"
    assert write(outside, "/home/alice/other", 1234) == ""
    assert write(inside, "/srv/shared/roots", 0) == ""
    site.lab.run(["chmod", "1777", "/srv/shared"])
    assert write(inside, "/srv/shared/roots", 0) == "nobody"
    server.stop()
