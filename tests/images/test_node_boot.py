"""The small initrd and node-init on QEMU machines: from the kernel to the image's init, over real NFS.

The image is as small as an image can be (busybox, and an init that tells what it finds), the kernel is
Debian's own; loaders and the daemon aren't needed, QEMU starts the kernel. So a boot takes seconds, and there
can be one for each way: cards on PCI and USB, NFS v4.2 and v3, as /init and as init=.
"""

import re
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from netbootd.files.disk import scan
from netbootd.files.ram import archive
from netbootd.image import Generation
from netbootd.images import NODE_INIT_PATH, initrd, node_init, ram
from netbootd.images.cpio import Archive
from tests.images import kernel
from tests.images.roots import put, small_root
from tests.lab.ganesha import Ganesha
from tests.lab.machine import Kind, Machine
from tests.lab.namespace import HEAD, Lab

pytestmark = [pytest.mark.boot, pytest.mark.slow, pytest.mark.needs("apt-get", "dpkg-deb", "depmod", "zstd")]

MAC = "52:54:00:00:00:01"
SECONDS = 240
"""For one boot; 10 on a quiet machine."""

APPLETS = (
    "mount",
    "umount",
    "mkdir",
    "rm",
    "rmdir",
    "cp",
    "mv",
    "cat",
    "readlink",
    "sleep",
    "pivot_root",
    "chroot",
    "wget",
)
"""What node-init runs of the image where it is called by init=."""

IMAGE_INIT = """#!/bin/busybox sh
PATH=/bin
busybox --install -s /bin
echo "fact host $(hostname) $(cat /etc/hostname)"
echo "fact modes $(stat -c '%a %u %n' / /root /root/.ssh /etc/ssh/key | tr '\\n' ' ')"
echo "fact mounts $(cut -d' ' -f2,3 /proc/mounts | tr '\\n' ' ')"
echo "fact address $(ip -o -4 address show scope global | sed 's/  */ /g' | cut -d' ' -f2,4)"
echo "fact route $(ip route show default)"
echo "fact network $(tr '\\n' ' ' </run/systemd/network/00-netbootd.network)"
echo written >/etc/written && echo "fact written $(cat /etc/written)"
echo "fact user $(grep render /etc/passwd) $(grep render /etc/group)"
echo "fact shared $(cat /srv/shared/file) $(touch /srv/shared/by-node && stat -c %u /home/render)"
cd /proc/sys/net/ipv4
echo "fact ports $(cat ip_local_port_range ip_unprivileged_port_start | tr '\\t\\n' '  ')"
echo "fact boot $(ls /boot)"
echo "fact processes $(ps -o comm | grep -c sleep)"
echo "fact arguments $*"
echo "facts end"
exec sh
"""

# What the kernel does by itself where it has NFS root built in: card, address, read-only root, init=.
KERNELS_PART = f"""#!/bin/sh
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev
. /lib/netbootd/drivers.sh
while load_drivers; do :; done
load nfs nfsv3 nfsv4 overlay
ip link set eth0 up; ip address add 10.77.0.10/24 dev eth0; sleep 1
mkdir /new
mount -i -t nfs -o $ACCESS,vers=3,proto=tcp,nolock,addr={HEAD.ip},mountaddr={HEAD.ip} {HEAD.ip}:"$IMAGE" /new
umount /dev /sys /proc
exec switch_root /new /{NODE_INIT_PATH} as the kernel calls it
"""


@dataclass(frozen=True)
class House:
    """What a head node has on its disk: an image with its kernel and initrd, node files."""

    directory: Path
    kernel: Path

    @property
    def image(self) -> Path:
        return self.directory / "image"

    @property
    def initrd(self) -> Path:
        return self.directory / "initrd"

    @property
    def files(self) -> Path:
        return self.directory / "nodes/n01"

    @property
    def common(self) -> Path:
        return self.directory / "common"

    @property
    def shared(self) -> Path:
        return self.directory / "shared"

    @property
    def persistent(self) -> Path:
        """What a head node would mount as the node's own root."""
        return self.directory / "roots/n01/root"


@pytest.fixture(scope="module")
def house(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> House:
    debian, release = kernel.unpacked_kernel(request.config)
    made = House(tmp_path_factory.mktemp("house"), debian / f"boot/vmlinuz-{release}")
    image = small_root(made.image)
    made.directory.chmod(0o755)
    (image / "sbin/init").unlink()
    put(image, "sbin/init", IMAGE_INIT, 0o755)
    put(image, NODE_INIT_PATH, node_init(), 0o755)
    (image / "sbin/modprobe").symlink_to("/bin/busybox")
    for applet in APPLETS:
        (image / "bin" / applet).symlink_to("busybox")
    (image / "root").mkdir(mode=0o700)
    subprocess.run(["cp", debian / f"boot/config-{release}", image / "boot"], check=True)
    (image / "lib/modules").mkdir(parents=True)
    subprocess.run(["cp", "-a", debian / "lib/modules" / release, image / "lib/modules"], check=True)
    initrd.build(image, release, made.initrd, fast_cards=False)
    put(made.files, "etc/hostname", "n01\n")
    put(made.files, "etc/ssh/key", "secret", 0o600)
    put(made.common, "root/.ssh/authorized_keys", "key", 0o600)
    (made.common / "root/.ssh").chmod(0o700)
    accounts = "group render 1500\nuser render 1500 1500 /home/render /bin/sh\n"
    put(made.common, "usr/lib/netbootd/accounts", accounts)
    mounts = f"{made.shared} /srv/shared\n{made.directory}/nowhere /srv/nowhere\n"
    put(made.common, "usr/lib/netbootd/mounts", mounts)
    put(made.shared, "file", "of all nodes\n")
    put(image, "etc/passwd", "root::0:0:root:/:/bin/sh\n")
    made.persistent.mkdir(parents=True)
    without = ("--exclude=./lib/modules", "--exclude=./boot")
    packed = subprocess.run(["tar", "-C", image, *without, "-c", "."], check=True, stdout=subprocess.PIPE)
    subprocess.run(["tar", "-C", made.persistent, "-xp"], input=packed.stdout, check=True)
    return made


class Node(Machine):
    """A machine whose kernel QEMU starts, told what a head node would render."""

    def __init__(self, lab: Lab, kind: Kind, house: House) -> None:
        super().__init__(lab, "n01", kind, MAC)
        self.house = house
        self.initrd = house.initrd
        self.given = {
            "node": "n01",
            "mac": MAC,
            "ip": "10.77.0.10/24",
            "gw": str(HEAD.ip),
            "server": str(HEAD.ip),
            "root": "overlay",
            "image": str(house.image),
            "files": str(house.files),
            "common": str(house.common),
            "nfs": "4.2",
            "http": f"{HEAD.ip}:80",
        }
        self.more = ""

    def command(self) -> list[str]:
        line = " ".join(f"netbootd.{key}={value}" for key, value in self.given.items())
        boot = ["-kernel", str(self.house.kernel), "-initrd", str(self.initrd)]
        return [*super().command(), *boot, "-append", f"console=ttyS0 {line} {self.more}"]

    def facts(self) -> dict[str, str]:
        """Power it on, and give what the image's init told."""
        self.power_on()
        self.wait_for("^facts end", SECONDS)
        facts = re.findall(r"^fact (\S+) ?(.*)$", self.output(), re.MULTILINE)
        return {name: told.strip() for name, told in facts}


@pytest.fixture
def head(lab: Lab, house: House) -> Lab:
    """A head node: NFS v3 and v4 from user space, and a web server that notes reports."""
    serve_nfs(lab, house, "3,4")
    put(lab.directory, f"www/report/{MAC.replace(':', '-')}/root", "noted\n")
    web = ["python3", "-u", "-m", "http.server", "80", "--bind", str(HEAD.ip), "--directory"]
    lab.start("http", [*web, lab.directory / "www"]).wait_for("Serving")
    return lab


@pytest.fixture
def memory_head(lab: Lab, house: House) -> Lab:
    """A head node without an NFS server: the image and the node files by HTTP."""
    www = lab.directory / "www"
    generation = Generation(
        image="small",
        number=1,
        directory=www,
        created="2026-11-20T10:00:00Z",
        origin="",
        architecture="x86_64",
        kernel_release="",
        size=0,
        squashfs="zstd",
    )
    (www / "boot").mkdir(parents=True)
    subprocess.run(["cp", "-a", house.persistent, www / "root"], check=True)
    put(www, "root/boot/vmlinuz", "which it was booted by\n")
    ram.make(generation)
    for name, tree in (("common", "common"), ("n01", "nodes/n01")):
        (www / f"{name}.tar").write_bytes(archive(scan(house.directory, tree)))
    web = ["python3", "-u", "-m", "http.server", "80", "--bind", str(HEAD.ip), "--directory"]
    lab.start("http", [*web, www]).wait_for("Serving")
    return lab


def serve_nfs(lab: Lab, house: House, protocols: str) -> Ganesha:
    read_only = dict.fromkeys((house.image, house.files, house.common), "RO")
    exported = read_only | dict.fromkeys((house.shared, house.persistent), "RW")
    exports = "\n".join(
        f"EXPORT {{ Export_Id={number}; Path={path}; Pseudo={path}; Access_Type={access};"
        " FSAL { Name=VFS; } }"
        for number, (path, access) in enumerate(exported.items(), start=1)
    )
    config = put(
        lab.directory,
        "ganesha.conf",
        f"NFS_CORE_PARAM {{ Protocols={protocols}; NFS_Port=2049; MNT_Port=20048; NLM_Port=32803;"
        f" Enable_RQUOTA=false; Bind_addr={HEAD.ip}; mount_path_pseudo=false; }}\n"
        "NFSv4 { Grace_Period=5; Lease_Lifetime=10; RecoveryBackend=fs; Only_Numeric_Owners=true; }\n"
        "EXPORT_DEFAULTS { Access_Type=RO; Squash=No_Root_Squash; SecType=sys; Protocols=3,4; }\n" + exports,
    )
    server = Ganesha(lab, config, lab.directory / "ganesha.pid", rpcbind=True)
    server.start()
    return server


VIRTIO = Kind("direct", "qemu-system-x86_64", (), "virtio-net-pci,romfile=", memory=512)
RTL8139 = Kind("direct", "qemu-system-x86_64", (), "rtl8139,romfile=", memory=512)
USB = Kind("direct", "qemu-system-x86_64", ("-device", "qemu-xhci"), "usb-net", memory=512)


def test_the_image_becomes_a_node_with_its_files_and_nothing_left_over(head: Lab, house: House) -> None:
    node = Node(head, VIRTIO, house)
    facts = node.facts()
    assert facts["host"] == "n01 n01"
    assert facts["modes"] == "755 0 / 700 0 /root 700 0 /root/.ssh 600 0 /etc/ssh/key"
    assert facts["mounts"] == "/proc proc /sys sysfs /dev devtmpfs /run tmpfs / overlay /srv/shared nfs4"
    assert facts["user"] == "render:x:1500:1500:cluster user:/home/render:/bin/sh render:x:1500:"
    assert facts["shared"] == "of all nodes 1500"
    assert (house.shared / "by-node").exists()
    assert "/nowhere can't be mounted on /srv/nowhere: not exported" in node.output()
    assert facts["address"] == "eth0 10.77.0.10/24"
    assert facts["route"].startswith(f"default via {HEAD.ip} dev eth0")
    assert f"MACAddress={MAC} Type=ether" in facts["network"]
    assert "Address=10.77.0.10/24 Gateway=10.77.0.1 KeepConfiguration=yes" in facts["network"]
    assert facts["written"] == "written"
    assert not (house.image / "etc/written").exists()
    assert (
        "/report/52-54-00-00-00-01/root?detail=overlay,+NFS+v4.2,+"
        in (head.directory / "http.log").read_text()
    )


def test_where_only_nfs_v3_is_spoken_it_is_taken_and_said(lab: Lab, house: House) -> None:
    serve_nfs(lab, house, "3")
    node = Node(lab, RTL8139, house)
    assert node.facts()["host"] == "n01 n01"
    assert "mounted by NFS v3, since v4.2 failed" in node.output()


@pytest.mark.parametrize("protocol", ["3", "4.2"])
def test_a_root_of_its_own_keeps_what_is_written_and_files_that_fit_stay_untouched(
    head: Lab, house: House, protocol: str
) -> None:
    node = Node(head, VIRTIO, house)
    node.given |= {"root": "persistent", "image": str(house.persistent), "nfs": protocol}
    facts = node.facts()
    assert facts["host"] == "n01 n01"
    kind = "nfs" if protocol == "3" else "nfs4"
    assert f"/ {kind} /srv/shared {kind}" in facts["mounts"]
    assert (house.persistent / "etc/written").read_text() == "written\n"
    node.power_off()
    kept = [house.persistent / name for name in ("etc/hostname", "etc/ssh/key", "etc/passwd")]
    before = [path.stat().st_ctime_ns for path in kept]
    assert node.facts()["modes"].endswith("600 0 /etc/ssh/key")
    assert [path.stat().st_ctime_ns for path in kept] == before


def test_a_root_of_its_own_that_is_not_mounted_yet_is_waited_for(head: Lab, house: House) -> None:
    node = Node(head, VIRTIO, house)
    node.given |= {"root": "persistent", "image": str(house.persistent)}
    aside = house.persistent.with_name("aside")
    aside.mkdir()
    below = list(house.persistent.iterdir())
    for path in below:
        path.rename(aside / path.name)
    node.power_on()
    node.wait_for("is empty: the head node has yet to mount it", SECONDS)
    for path in below:
        (aside / path.name).rename(path)
    node.wait_for("^facts end", SECONDS)


IN_MEMORY = {
    "root": "ram",
    "image": f"/boot/{ram.NAME}",
    "files": "/n01.tar",
    "common": "/common.tar",
}


def test_a_root_in_memory_comes_up_and_lives_without_an_nfs_server(memory_head: Lab, house: House) -> None:
    node = Node(memory_head, VIRTIO, house)
    node.given |= IN_MEMORY
    facts = node.facts()
    assert facts["host"] == "n01 n01"
    assert facts["modes"] == "755 0 / 700 0 /root 700 0 /root/.ssh 600 0 /etc/ssh/key"
    assert facts["mounts"] == "/proc proc /sys sysfs /dev devtmpfs /run tmpfs / overlay"
    assert facts["user"] == "render:x:1500:1500:cluster user:/home/render:/bin/sh render:x:1500:"
    assert facts["written"] == "written"
    assert facts["ports"] == "32768 60999 1024"
    assert "/shared can't be mounted on /srv/shared: connection refused" in node.output()
    assert facts["boot"] == ""


def test_a_node_with_too_little_memory_says_how_much_it_would_take(memory_head: Lab, house: House) -> None:
    node = Node(memory_head, replace(VIRTIO, memory=160), house)
    node.given |= IN_MEMORY | {"image": "/boot/large"}
    put(memory_head.directory, "www/boot/large.sum", f"{200 << 20} {'0' * 64}\n")
    node.power_on()
    node.wait_for("too little memory for the root mode ram: the image takes [0-9]+ MB", SECONDS)
    node.wait_for("this machine restarts in 60 seconds", SECONDS)


def test_a_card_on_usb_is_found_and_missing_node_files_leave_a_node_with_its_name(
    head: Lab, house: House
) -> None:
    node = Node(head, USB, house)
    node.given["files"] = "/nowhere"
    assert node.facts()["host"] == "n01 n01"
    assert "node files 10.77.0.1:/nowhere can't be mounted: not exported" in node.output()


@pytest.mark.parametrize("root", ["overlay", "persistent"])
def test_as_init_of_a_root_that_the_kernel_mounted_it_does_the_same(
    head: Lab, house: House, tmp_path: Path, root: str
) -> None:
    node = Node(head, VIRTIO, house)
    image, access = (house.image, "ro") if root == "overlay" else (house.persistent, "rw")
    node.given |= {"root": root, "image": str(image)}
    # The kernel unpacks archives one after the other: this one's /init takes the place of node-init.
    first = Archive()
    script = KERNELS_PART.replace('"$IMAGE"', str(image)).replace("$ACCESS", access)
    first.file("init", script.encode(), 0o755)
    node.initrd = tmp_path / "initrd"
    node.initrd.write_bytes(
        house.initrd.read_bytes() + bytes(-house.initrd.stat().st_size % 4) + first.to_bytes()
    )
    node.more = f"init=/{NODE_INIT_PATH}"
    facts = node.facts()
    assert facts["host"] == "n01 n01"
    assert f"/ {'overlay' if root == 'overlay' else 'nfs4'} " in facts["mounts"]
    assert "/run tmpfs" in facts["mounts"]
    assert facts["mounts"].count("nfs") == (1 if root == "overlay" else 2)  # /srv/shared is one
    assert "old-root" not in facts["mounts"]
    assert facts["arguments"] == "as the kernel calls it"


def test_an_unknown_root_mode_is_refused_in_words_and_reported(head: Lab, house: House) -> None:
    node = Node(head, VIRTIO, house)
    node.given["root"] = "floating"
    node.power_on()
    node.wait_for("the root mode 'floating' isn't known", SECONDS)
    node.wait_for("this machine restarts in 60 seconds", SECONDS)
    assert "root?detail=error:+the+root+mode+%27floating%27" in (head.directory / "http.log").read_text()


def test_a_machine_without_the_card_says_what_it_has(head: Lab, house: House) -> None:
    node = Node(head, VIRTIO, house)
    node.given["mac"] = "52:54:00:99:99:99"
    node.power_on()
    said = node.wait_for(r"no network card with the address .* appeared; this machine has: (.*)", SECONDS)
    assert said[1].strip() == f"eth0={MAC}"
