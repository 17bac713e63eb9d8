"""node-init's parts, run by the shells that run them in nodes; the whole is booted in test_node_boot.py."""

import os
import re
import stat
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest

from netbootd.images import NODE_INIT_PARTS, NODE_INIT_PATH, node_init
from tests.lab.namespace import Lab

SHELLS = {"dash": ["dash"], "busybox": ["busybox", "sh"], "bash": ["bash", "--posix"]}
SCRIPTS = ["node_init", "drivers.sh", "modprobe.sh"]
DIRECTORY = Path(str(files("netbootd.images")))

pytestmark = pytest.mark.needs("dash", "busybox", "bash")


@pytest.fixture(params=sorted(SHELLS))
def shell(request: pytest.FixtureRequest) -> list[str]:
    return SHELLS[request.param]


# What would restart the machine in the end; here it is this machine.
GIVING_UP = 'give_up() { echo "$1; check $2"; exit 99; }'


def parts(script: str) -> str:
    """node-init without its last line, the call of main, followed by `script`."""
    text = node_init().decode()
    last = '\nmain "$@"\n'
    assert text.endswith(last)
    return f"{text.removesuffix(last)}\n{GIVING_UP}\n{script}\n"


def text_of(name: str) -> str:
    return node_init().decode() if name == "node_init" else (DIRECTORY / name).read_text()


def run(shell: list[str], script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    # $0 decides where it believes to be: not /init, so in an image.
    words = [*shell, "-c", parts(script), "node-init", *arguments]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.needs("shellcheck")
@pytest.mark.parametrize("name", SCRIPTS)
def test_shellcheck_finds_nothing(name: str) -> None:
    command = ["shellcheck", "--shell=sh", "-x", "--source-path", str(DIRECTORY.parent.parent), "-"]
    done = subprocess.run(command, capture_output=True, input=text_of(name), text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_shell_can_read_it(shell: list[str], name: str) -> None:
    assert subprocess.run([*shell, "-n"], input=text_of(name), text=True, check=False).returncode == 0


def test_it_is_package_data() -> None:
    assert node_init().startswith(b"#!/bin/sh\n")
    assert not NODE_INIT_PATH.startswith("/")
    assert {path.name for path in DIRECTORY.glob("node_*.sh")} == set(NODE_INIT_PARTS)


# ---- laying node files over the image


def tree(root: Path) -> dict[str, tuple[int, str]]:
    """Every path under root: its mode, and its content or target."""
    found = {}
    for path in sorted(root.rglob("*")):
        mode = path.lstat().st_mode
        content = str(path.readlink()) if path.is_symlink() else "" if path.is_dir() else path.read_text()
        found[str(path.relative_to(root))] = (stat.S_IMODE(mode), content)
    return found


def put(path: Path, content: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    path.chmod(mode)


def lay(shell: list[str], source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    return run(shell, 'new=$2; lay "$1" "$2"', str(source), str(target))


def test_files_come_with_their_modes_and_directories_that_exist_keep_theirs(
    shell: list[str], tmp_path: Path
) -> None:
    source, target = tmp_path / "files", tmp_path / "root"
    put(source / "etc/ssh/ssh_host_ed25519_key", "secret", 0o600)
    put(source / "etc/hostname", "n01\n")
    put(source / "root/.ssh/authorized_keys", "key", 0o600)
    (source / "root/.ssh").chmod(0o700)
    (source / "root").chmod(0o755)
    put(target / "etc/hostname", "golden\n", 0o755)
    put(target / "etc/passwd", "root:x:0:0\n")
    (target / "root").mkdir(mode=0o700)
    (target / "etc").chmod(0o711)
    done = lay(shell, source, target)
    assert (done.returncode, done.stderr) == (0, "")
    assert tree(target) == {
        "etc": (0o711, ""),
        "etc/hostname": (0o644, "n01\n"),
        "etc/passwd": (0o644, "root:x:0:0\n"),
        "etc/ssh": (0o755, ""),
        "etc/ssh/ssh_host_ed25519_key": (0o600, "secret"),
        "root": (0o700, ""),
        "root/.ssh": (0o700, ""),
        "root/.ssh/authorized_keys": (0o600, "key"),
    }


def test_a_link_in_the_image_is_replaced_not_written_through(shell: list[str], tmp_path: Path) -> None:
    source, target = tmp_path / "files", tmp_path / "root"
    put(source / "etc/resolv.conf", "nameserver 10.77.0.1\n")
    put(target / "run/stub", "image's own\n")
    (target / "etc").mkdir()
    (target / "etc/resolv.conf").symlink_to("../run/stub")
    assert lay(shell, source, target).returncode == 0
    assert tree(target)["etc/resolv.conf"] == (0o644, "nameserver 10.77.0.1\n")
    assert (target / "run/stub").read_text() == "image's own\n"


@pytest.mark.parametrize("link", ["usr/lib", "/usr/lib"])
def test_a_link_to_a_directory_is_followed_inside_the_new_root(
    shell: list[str], tmp_path: Path, link: str
) -> None:
    source, target = tmp_path / "files", tmp_path / "root"
    put(source / "lib/netbootd-test/tool", "x", 0o755)
    (target / "usr/lib").mkdir(parents=True)
    (target / "lib").symlink_to(link)
    assert lay(shell, source, target).returncode == 0
    assert (target / "usr/lib/netbootd-test/tool").read_text() == "x"
    assert (target / "lib").is_symlink()
    assert not Path("/usr/lib/netbootd-test").exists()


def test_links_hidden_files_and_odd_names_come_along(shell: list[str], tmp_path: Path) -> None:
    source, target = tmp_path / "files", tmp_path / "root"
    for name in (".hidden", "..odd", "-rf", "a b", "$(touch x)", "*"):
        put(source / "etc" / name, name)
    (source / "etc/link").symlink_to("/nowhere")
    (target / "etc").mkdir(parents=True)
    assert lay(shell, source, target).returncode == 0
    assert tree(target) == tree(source)


def test_what_can_not_be_copied_fails_and_the_rest_is_there(shell: list[str], tmp_path: Path) -> None:
    source, target = tmp_path / "files", tmp_path / "root"
    put(source / "etc/a/under", "x")
    put(source / "etc/z", "z")
    put(target / "etc/a", "a file where a directory is to go")
    assert lay(shell, source, target).returncode != 0
    assert (target / "etc/z").read_text() == "z"


def test_an_empty_tree_changes_nothing(shell: list[str], tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "root").mkdir()
    assert lay(shell, tmp_path / "files", tmp_path / "root").returncode == 0
    assert tree(tmp_path / "root") == {}


# ---- a root that stays


def lay_again(shell: list[str], source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    return run(shell, 'root=persistent new=$2; lay "$1" "$2"', str(source), str(target))


def test_in_a_root_that_stays_only_what_differs_is_written(shell: list[str], tmp_path: Path) -> None:
    source, target = tmp_path / "files", tmp_path / "root"
    put(source / "etc/hosts", "same\n")
    put(source / "etc/hostname", "n01\n")
    put(source / "-rf", "odd\n")
    put(source / "etc/key", "secret\n", 0o600)
    (source / "etc/link").symlink_to("/here")
    target.mkdir()
    assert lay_again(shell, source, target).returncode == 0
    before = {path: path.lstat().st_ctime_ns for path in target.rglob("*")}
    put(target / "etc/hostname", "mine\n")
    (target / "etc/key").chmod(0o644)
    (target / "etc/link").unlink()
    (target / "etc/link").symlink_to("/there")
    assert lay_again(shell, source, target).returncode == 0
    assert tree(target) == tree(source)
    for name in ("etc/hosts", "-rf"):
        assert (target / name).lstat().st_ctime_ns == before[target / name]


def test_without_the_tools_to_compare_all_is_written(shell: list[str], tmp_path: Path) -> None:
    source, target = tmp_path / "files", tmp_path / "root"
    put(source / "etc/hostname", "n01\n")
    put(target / "etc/hostname", "mine\n")
    script = 'root=persistent new=$2; cmp() { return 127; }; lay "$1" "$2"'
    assert run(shell, script, str(source), str(target)).returncode == 0
    assert (target / "etc/hostname").read_text() == "n01\n"


# ---- the cluster's accounts

ACCOUNTS = """group render 1500
user render 1500 1500 /home/render /bin/bash
"""
IMAGE = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\npi:x:1000:1000:,,,:/home/pi:/bin/bash\n+::::::\n",
    "etc/group": "root:x:0:\nvideo:x:44:pi\n",
    "etc/shadow": "root:*:19000::::::\npi:$6$raspberry:19000:0:99999:7:::\n",
    "etc/gshadow": "root:*::\n",
}


def image(root: Path, **changed: str) -> Path:
    for name, content in (IMAGE | changed).items():
        put(root / name, content, 0o640 if "shadow" in name else 0o644)
    return root


def accounts(shell: list[str], root: Path, text: str) -> str:
    """What is told while `text` is carried out."""
    put(root / "usr/lib/netbootd/accounts", text)
    said = 'complain() { echo "$1"; }; go_on() { echo "failed: $1"; }'
    script = f'{said}; chown() {{ echo "chown $1 ${{2#"$new"}}"; }}; new=$1; make_accounts'
    done = run(shell, script, str(root))
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_an_account_is_added_and_added_once(shell: list[str], tmp_path: Path) -> None:
    root = image(tmp_path)
    assert accounts(shell, root, ACCOUNTS) == "chown 1500:1500 /home/render\n"
    added = {
        "etc/passwd": "render:x:1500:1500:cluster user:/home/render:/bin/bash\n",
        "etc/group": "render:x:1500:\n",
        "etc/shadow": "render:*:19000:0:99999:7:::\n",
        "etc/gshadow": "render:!::\n",
    }
    assert {name: (root / name).read_text() for name in IMAGE} == {
        name: text + added[name] for name, text in IMAGE.items()
    }
    assert (root / "etc/shadow").stat().st_mode & 0o777 == 0o640
    assert (root / "home/render").is_dir()
    before = {path: path.lstat().st_ino for path in root.rglob("*")}
    accounts(shell, root, ACCOUNTS)
    assert {path: path.lstat().st_ino for path in root.rglob("*")} == before


def test_a_password_that_was_set_on_the_node_stays_and_the_images_goes(
    shell: list[str], tmp_path: Path
) -> None:
    root = image(tmp_path)
    text = "group pi 1000\nuser pi 1000 1000 /home/pi /bin/bash\n"
    accounts(shell, root, text)
    assert "pi:*:" in (root / "etc/shadow").read_text()
    assert "raspberry" not in (root / "etc/shadow").read_text()
    shadow = (root / "etc/shadow").read_text().replace("pi:*:", "pi:$6$mine:")
    put(root / "etc/shadow", shadow, 0o640)
    accounts(shell, root, text)
    assert (root / "etc/shadow").read_text() == shadow


def test_the_clusters_entry_wins_and_who_shares_its_number_is_told(shell: list[str], tmp_path: Path) -> None:
    root = image(tmp_path, **{"etc/group": "video:x:44:pi\nrender:x:44:pi,root\nold:x:1500:\n"})
    said = accounts(shell, root, "group render 1500\nuser render 1000 1500 /home/render /bin/sh\n")
    assert "the image's group old has the number 1500 too, which is the cluster's render" in said
    assert "the image's group render had another number; it is 1500 now" in said
    assert "the image's user pi has the number 1000 too" in said
    assert (root / "etc/group").read_text() == "video:x:44:pi\nrender:x:1500:pi,root\nold:x:1500:\n"
    assert "pi:x:1000:1000:,,,:" in (root / "etc/passwd").read_text()


def test_an_image_without_shadow_or_with_its_files_elsewhere_serves_too(
    shell: list[str], tmp_path: Path
) -> None:
    put(tmp_path / "usr/etc/passwd", "root:x:0:0:root:/root:/bin/sh")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").symlink_to("/usr/etc/passwd")
    (tmp_path / "var/home").mkdir(parents=True)
    (tmp_path / "home").symlink_to("/var/home")
    assert "failed" not in accounts(shell, tmp_path, ACCOUNTS)
    assert (tmp_path / "usr/etc/passwd").read_text().splitlines()[1].startswith("render:x:1500:1500:")
    assert (tmp_path / "etc/passwd").is_symlink()
    assert sorted(path.name for path in (tmp_path / "etc").iterdir()) == ["group", "passwd"]
    assert (tmp_path / "var/home/render").is_dir()


def test_an_account_that_can_not_be_made_is_told_and_the_next_is_made(
    shell: list[str], tmp_path: Path
) -> None:
    root = image(tmp_path)
    (root / "etc/passwd").unlink()
    (root / "etc/passwd").mkdir()
    said = accounts(shell, root, "user a 1600 1600 /home/a /bin/sh\n# note\n\ngroup b 1601\n")
    assert "failed: the cluster's user a can't be made on this node" in said
    assert "b:x:1601:" in (root / "etc/group").read_text()


# ---- shared directories


def test_shared_directories_are_mounted_and_one_that_is_not_there_is_told(
    shell: list[str], tmp_path: Path
) -> None:
    put(tmp_path / "usr/lib/netbootd/mounts", "/srv/home /home\n\n# note\n/srv/shared\t/srv/shared\n")
    stand_ins = (
        'mount_patiently() { why="no answer" advice="it"; echo "$@"; [ "$1" != /srv/shared ]; };'
        ' say() { echo "said: $1"; }; go_on() { echo "failed: $1"; }'
    )
    done = run(shell, f"{stand_ins}; server=head root=ram new=$1; mount_shared", str(tmp_path))
    assert done.stdout.splitlines() == [
        f"/srv/home {tmp_path}/home 1 rw,hard,nosuid,nodev",
        "said: head:/srv/home is mounted on /home",
        f"/srv/shared {tmp_path}/srv/shared 1 rw,hard,nosuid,nodev",
        "failed: the shared directory head:/srv/shared can't be mounted on /srv/shared: no answer; check it",
    ]


# ---- the card of the root in /etc/network/interfaces

INTERFACES = """\
# made by hand
auto lo eth0
iface lo inet loopback

allow-hotplug eth0
iface eth0 inet dhcp
\tmetric 100
  up echo * $HOME

iface eth0 inet6 auto

auto eth1
iface eth1 inet static
\taddress 192.0.2.1/24
source interfaces.d/*
no-auto-down eth0 eth1"""

WITHOUT_ETH0 = """\
# made by hand
auto lo
iface lo inet loopback


auto eth1
iface eth1 inet static
\taddress 192.0.2.1/24
source interfaces.d/*
no-auto-down eth1
"""


@pytest.mark.net
def test_the_card_is_taken_out_of_ifupdowns_hands_and_no_other(
    shell: list[str], lab: Lab, tmp_path: Path
) -> None:
    lab.run(["mkdir", "/run/netbootd"])
    path = tmp_path / "interfaces"
    path.write_text(INTERFACES)
    path.chmod(0o640)
    done = lab.run([*shell, "-c", parts('new= card=eth0; without_card "$1"'), "node-init", path])
    assert path.read_text() == WITHOUT_ETH0
    assert path.stat().st_mode & 0o777 == 0o640
    assert "eth0 is taken out of" in done.stdout


@pytest.mark.net
def test_a_file_without_the_card_stays_as_it_is(shell: list[str], lab: Lab, tmp_path: Path) -> None:
    lab.run(["mkdir", "/run/netbootd"])
    path = tmp_path / "interfaces"
    path.write_text(INTERFACES)
    before = path.stat().st_mtime_ns
    lab.run([*shell, "-c", parts('new= card=eth7; without_card "$1"'), "node-init", path])
    assert (path.read_text(), path.stat().st_mtime_ns) == (INTERFACES, before)


# ---- the kernel command line


COMMAND_LINE = """BOOT_IMAGE=/v ro * quiet
netbootd.node=n01 netbootd.mac=52:54:00:00:00:01 netbootd.ip=10.77.0.10/24 netbootd.gw=10.77.0.1
netbootd.server=10.77.0.1 netbootd.root=overlay netbootd.image=/i/debian/1/root netbootd.files=/n/n01
netbootd.common=/c netbootd.nfs=4.2 netbootd.http=10.77.0.1:80 init=/usr/lib/netbootd/node-init
"""


def read(shell: list[str], lab: Lab, line: str) -> str:
    """What it makes of this kernel command line, or how it gives up."""
    path = lab.directory / "cmdline"
    path.write_text(" ".join(line.split()) + "\n")
    lab.run(["mount", "--bind", path, "/proc/cmdline"])
    keys = "node mac ip gw server root image files common nfs http init"
    show = f'read_command_line; check_command_line; for key in {keys}; do eval "echo \\$$key"; done'
    return lab.run([*shell, "-c", parts(show), "node-init"], check=False).stdout


@pytest.mark.net
def test_the_command_line_is_read_as_the_head_node_renders_it(shell: list[str], lab: Lab) -> None:
    given = dict(word.split("=") for word in COMMAND_LINE.split() if word.startswith("netbootd."))
    keys = ("node", "mac", "ip", "gw", "server", "root", "image", "files", "common", "nfs", "http")
    assert read(shell, lab, COMMAND_LINE).splitlines() == [*(given[f"netbootd.{key}"] for key in keys), ""]


@pytest.mark.net
def test_what_lacks_on_the_command_line_is_named_all_at_once(shell: list[str], lab: Lab) -> None:
    said = read(shell, lab, "netbootd.node=n01 netbootd.ip=10.77.0.10/24 netbootd.root=overlay")
    assert said.startswith("the kernel command line lacks netbootd.mac netbootd.server netbootd.image; check")


# ---- telling the head node


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("error: can't be mounted (10.77.0.1:/a/b)", "error:+can%27t+be+mounted+%2810.77.0.1:/a/b%29"),
        ('a&b#c?d%e\nf"g\\', "a_b_c_d_e_f_g_"),
        ("x" * 500, "x" * 200),
        ("", ""),
        ("*", "_"),
    ],
)
def test_a_detail_is_fit_for_a_url(shell: list[str], text: str, escaped: str) -> None:
    assert run(shell, 'escape "$1"; printf %s "$escaped"', text).stdout == escaped


def test_a_mac_is_dashed_and_words_are_split_as_before(shell: list[str]) -> None:
    done = run(shell, 'dashed 52:54:00:ab:cd:ef; words="a b"; set -- $words; echo $#')
    assert done.stdout == "52-54-00-ab-cd-ef\n2\n"


@pytest.mark.net
@pytest.mark.parametrize("tool", ["wget", "curl", "bash"])
def test_a_report_arrives_by_whatever_tool_there_is(
    shell: list[str], tool: str, lab: Lab, tmp_path: Path
) -> None:
    server = lab.start(
        "http", ["python3", "-u", "-m", "http.server", "80", "--bind", "10.77.0.1"], cwd=tmp_path
    )
    server.wait_for("Serving")
    only = f'has() {{ [ "$2" = {tool} ]; }}'
    script = f'{only}; http=10.77.0.1:80 mac=52:54:00:00:00:01 new=/nowhere; report root "a b"'
    lab.run([*shell, "-c", parts(script), "node-init"], check=False)
    server.wait_for("GET /report/52-54-00-00-00-01/root?detail=a+b")


# ---- the image and the node files by HTTP

SERVER = """
import sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        path = self.path.partition("?")[0]
        if path in ("/403", "/404"):
            return self.send_error(int(path[1:]))
        self.send_response(200)
        self.send_header("Content-Length", 300000)
        self.end_headers()
        self.wfile.write(b"x" * 150000)
        self.wfile.flush()
        time.sleep(60 if path == "/stalls" else 0)
        self.wfile.write(b"x" * 150000)
    def log_message(self, *_):
        print("from port", self.client_address[1], self.path, flush=True)
ThreadingHTTPServer(("10.77.0.1", 80), Handler).serve_forever()
"""
LIKE_A_NODE = (
    "no_answer='no answer' STALL_SECONDS=3 http=10.77.0.1:80 server=10.77.0.1 work=$1;"
    ' say() { echo "said: $1"; }; complain() { echo "told: $1"; }'
)


def fetching(shell: list[str], lab: Lab, tmp_path: Path, tool: str, script: str) -> str:
    """What `script` says, on a node that has that tool alone, with a server at hand."""
    server = lab.start("http", ["python3", "-u", "-c", SERVER])
    server.wait_until(lambda: lab.listens(80), "port 80")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/wget").symlink_to("/bin/busybox")  # the initrd's; others say less with -q
    only = f'PATH=$1/bin:$PATH; has() {{ [ "$2" = {tool} ]; }}'
    words = [*shell, "-c", parts(f"{only}; {LIKE_A_NODE}; {script}"), "node-init", str(tmp_path)]
    return lab.run(words, check=False).stdout


@pytest.mark.net
@pytest.mark.parametrize("tool", ["wget", "curl", "bash"])
def test_a_file_comes_by_whatever_tool_there_is_and_from_a_port_of_roots(
    shell: list[str], tool: str, lab: Lab, tmp_path: Path
) -> None:
    script = 'ask_as_root; fetch /x "$work/x" && echo "$written"; ask_as_anybody; fetch /y "$work/y"'
    assert fetching(shell, lab, tmp_path, tool, script) == "300000\n"
    assert (tmp_path / "x").read_bytes() == b"x" * 300000
    log = (lab.directory / "http.log").read_text()
    ports = {path: int(port) for port, path in re.findall(r"from port ([0-9]+) /(.)", log)}
    assert ports["x"] < 1024 < ports["y"]
    ranges = lab.run(["cat", "/proc/sys/net/ipv4/ip_local_port_range"]).stdout.split()
    assert int(ranges[0]) > 1024


@pytest.mark.net
@pytest.mark.parametrize("tool", ["wget", "curl", "bash"])
def test_why_a_file_does_not_come_is_told_in_words(
    shell: list[str], tool: str, lab: Lab, tmp_path: Path
) -> None:
    script = (
        'for path in /403 /404 /stalls; do fetch $path "$work/x" || echo "$path: $why"; done;'
        ' http=10.77.0.1:81; fetch /x "$work/x" || echo "/refused: $why"; ls "$work"'
    )
    said = fetching(shell, lab, tmp_path, tool, script).splitlines()
    assert said[:2] == [
        "/403: it knows of no boot of this machine, as after a restart of netbootd",
        "/404: the head node hasn't got it",
    ]
    assert said[2].startswith("/stalls: ")
    assert said[3] == "/refused: connection refused"


@pytest.mark.net
@pytest.mark.parametrize(
    ("free", "expected"),
    [(300_000, "mounted"), (100_000, "too little memory for the root mode ram: the image takes 105 MB")],
)
def test_an_image_that_does_not_fit_is_not_fetched(
    shell: list[str], lab: Lab, tmp_path: Path, free: int, expected: str
) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text(f"MemTotal: 512000 kB\nMemFree: 1 kB\nMemAvailable: {free} kB\n")
    lab.run(["mount", "--bind", meminfo, "/proc/meminfo"])
    script = 'room_for 104857600; echo mounted; umount "$work/fetched"'
    said = fetching(shell, lab, tmp_path, "wget", script)
    assert said.startswith(expected)
    if free < 200_000:
        assert "of this machine's 524 MB 102 are free" in said
        assert "172 in all" in said


@pytest.mark.parametrize(
    ("digest", "written", "why"),
    [
        ("2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824", 5, ""),
        ("2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824", 4, "4 of 5 octets came"),
        ("0" * 64, 5, "its checksum is wrong"),
    ],
)
def test_an_image_that_came_damaged_is_fetched_again(
    shell: list[str], tmp_path: Path, digest: str, written: int, why: str
) -> None:
    (tmp_path / "fetched").mkdir()
    (tmp_path / "fetched/image").write_text("hello")
    script = f'work=$1 size=5 written={written} digest={digest} why=""; is_whole; echo "$?$why"'
    assert run(shell, script, str(tmp_path)).stdout == (f"1{why}\n" if why else "0\n")


@pytest.mark.parametrize("own", [True, False])
def test_node_files_are_unpacked_by_the_initrds_tar_or_the_images(
    shell: list[str], tmp_path: Path, own: bool
) -> None:
    put(tmp_path / "from/etc/key", "secret", 0o600)
    subprocess.run(["tar", "-C", tmp_path / "from", "-cf", tmp_path / "files.tar", "."], check=True)
    (tmp_path / "to").mkdir()
    (tmp_path / "new").mkdir()
    stand_in = 'chroot() { new=$1; shift 2; tar -x -p -f - -C "$new/.netbootd-files"; }'
    has = f"has() {{ {'true' if own else 'false'}; }}"
    script = f'new=$3; {stand_in}; {has}; unpack "$1" "$2"'
    done = run(shell, script, str(tmp_path / "files.tar"), str(tmp_path / "to"), str(tmp_path / "new"))
    assert (done.returncode, done.stderr) == (0, "")
    assert tree(tmp_path / "to")["etc/key"] == (0o600, "secret")
    assert not list((tmp_path / "new").iterdir())


# ---- waiting, never without end


def test_a_command_that_ends_gives_its_status_at_once(shell: list[str]) -> None:
    done = run(shell, "within 30 sh -c 'echo out; exit 7'; echo $?")
    assert done.stdout == "out\n7\n"


def test_a_command_that_does_not_end_is_killed(shell: list[str]) -> None:
    assert run(shell, "within 1 sleep 30; echo $?").stdout == "137\n"


def test_output_taken_of_a_killed_command_does_not_wait_for_the_watcher(shell: list[str]) -> None:
    assert run(shell, 'said=$(within 1 sleep 30 2>&1); echo "$? done"').stdout == "137 done\n"


def test_no_process_is_left_waiting(shell: list[str]) -> None:
    assert run(shell, "within 30 true; sleep 1.5; ps --ppid $$ -o comm= | grep -c sleep").stdout == "0\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: files of other owners")
def test_owners_are_kept(shell: list[str], tmp_path: Path) -> None:
    source, target = tmp_path / "files", tmp_path / "root"
    put(source / "home/user/.profile", "x")
    os.chown(source / "home/user", 1000, 1000)
    os.chown(source / "home/user/.profile", 1000, 1000)
    (target / "home").mkdir(parents=True)
    assert lay(shell, source, target).returncode == 0
    assert (target / "home/user/.profile").stat().st_uid == 1000
    assert (target / "home/user").stat().st_gid == 1000
