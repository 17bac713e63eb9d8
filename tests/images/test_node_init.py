"""node-init's parts, run by the shells that run them in nodes; the whole is booted in test_node_boot.py."""

import os
import stat
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest

from netbootd.images import NODE_INIT_PATH, node_init
from tests.lab.namespace import Lab

SHELLS = {"dash": ["dash"], "busybox": ["busybox", "sh"], "bash": ["bash", "--posix"]}
SCRIPTS = ["node_init.sh", "drivers.sh", "modprobe.sh"]
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


def run(shell: list[str], script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    # $0 decides where it believes to be: not /init, so in an image.
    words = [*shell, "-c", parts(script), "node-init", *arguments]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.needs("shellcheck")
@pytest.mark.parametrize("name", SCRIPTS)
def test_shellcheck_finds_nothing(name: str) -> None:
    checkout = str(DIRECTORY.parent.parent)
    command = ["shellcheck", "--shell=sh", "-x", "--source-path", checkout, str(DIRECTORY / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_shell_can_read_it(shell: list[str], name: str) -> None:
    assert subprocess.run([*shell, "-n", DIRECTORY / name], check=False).returncode == 0


def test_it_is_package_data() -> None:
    assert node_init().startswith(b"#!/bin/sh\n")
    assert not NODE_INIT_PATH.startswith("/")


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
