"""What a cluster is for: an MPI job and a picture, each by two nodes at once, as the cluster's user.

He has his home and /srv/shared on all nodes, and types what README tells. The programs and the scene are
those of tests/lab/jobs.
"""

import json
import re
import shutil
import time
from collections.abc import Iterator

import pytest

from tests.boot.test_first_boot import LOGIN
from tests.lab.head import CHECKOUT, HeadNode, borrowed_image
from tests.lab.machine import KINDS
from tests.lab.namespace import Lab
from tests.lab.process import LabError

pytestmark = [pytest.mark.boot, pytest.mark.slow, pytest.mark.needs("pamcut", "pnmcat", "runuser", "chronyd")]

JOBS = CHECKOUT / "tests" / "lab" / "jobs"
MACS = {"n01": "52:54:00:77:00:01", "n02": "52:54:00:77:00:02"}
USER, UID = "ada", 1815
BUILD = ("--package", "mpich,povray,python3", "--hook", str(JOBS / "mpi4py.hook"))
"""All that the image has beside the usual."""
CLUSTER = f"""
[cluster]
user   = "{USER}"
shared = "/srv/shared"
"""
OWN_DIRECTORIES = ("home", "srv")
"""The head node's, each mounted over the machine's own of that name."""
STRIPS = 100_000
SIZE = (160, 100)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HeadNode]:
    """A head node with a user, and both nodes up; /srv/shared holds the jobs."""
    if reason := KINDS["bios"].missing():
        pytest.skip(reason)
    name = f"jobs-{tmp_path_factory.getbasetemp().name}"
    with borrowed_image(name, "render", "render", BUILD) as head, Lab(directory=head.logs) as lab:
        head.join(lab)
        with head.config.open("a") as config:
            config.write(CLUSTER)
        for part in OWN_DIRECTORIES:
            (head.directory / part).mkdir()
            head.run("mount", "--bind", str(head.directory / part), f"/{part}")
        head.run("useradd", "--no-log-init", "--create-home", "--shell", "/bin/sh", "--uid", str(UID), USER)
        head.run(
            "netbootctl", "node", "add", "n[01-02]", "--mac", ",".join(MACS.values()), "--image", head.image
        )
        head.serve_time()
        head.start()
        for node, mac in MACS.items():
            head.machine(node, "bios", mac).power_on()
        for job in JOBS.iterdir():
            shutil.copy(job, head.directory / "srv" / "shared")
        try:
            for machine in head.machines:
                machine.wait_for(rf"^{machine.name} login:", LOGIN)
            _until_ready(head)
        except LabError as error:
            pytest.fail(f"{error}\n{head.what_happened()}")
        yield head


def by_user(head: HeadNode, command: str, timeout: float = 300.0) -> str:
    """What the cluster's user is told when he types `command` on the head node. Nothing may be asked."""
    hosts = head.state / "common" / "etc" / "mpi" / "hostfile.mpich"
    words = f"cd /srv/shared && export HOSTS={hosts} && {command}"
    try:
        return head.run("runuser", "-l", USER, "-c", words, timeout=timeout).strip()
    except LabError as error:
        pytest.fail(f"{error}\n{head.what_happened()}")


def test_its_user_finds_his_home_on_every_node(cluster: HeadNode) -> None:
    by_user(cluster, "echo mine >~/note")
    for node in MACS:
        assert by_user(cluster, f"ssh {node} 'id -u; cat note; hostname'").split() == [str(UID), "mine", node]


def test_all_have_the_head_nodes_time(cluster: HeadNode) -> None:
    for node in MACS:
        said = by_user(cluster, f"ssh {node} 'chronyc -n waitsync 60 0 0 2 && chronyc -n tracking'")
        assert re.search(r"^Reference ID .*\(10\.77\.0\.1\)$", said, re.MULTILINE), said


def test_an_mpi_job_runs_on_both_nodes_of_the_hostfile(cluster: HeadNode) -> None:
    said = by_user(cluster, f"ssh n01 mpiexec -f /etc/mpi/hostfile.mpich -n 2 python3 $PWD/pi.py {STRIPS}")
    assert said == f"pi is 3.141593, by {STRIPS} strips and 2 processes, on n01 n02"


def test_a_picture_is_drawn_in_parts_by_both_nodes_and_joined_without_a_seam(cluster: HeadNode) -> None:
    width, height = SIZE
    said = by_user(cluster, f"./render-farm $PWD/globe.pov {width} {height} ~/globe.ppm")
    half = height // 2
    assert sorted(said.splitlines()) == [
        f"n01 drew rows 1 to {half}",
        f"n02 drew rows {half + 1} to {height}",
    ]
    whole = f"povray +I$PWD/globe.pov +O$HOME/whole.ppm +FP +W{width} +H{height} +A0.2 +AM2 -J -D"
    by_user(cluster, f"ssh n02 {whole} 2>&1")
    # POV-Ray writes the date into its pictures; netpbm leaves comments out.
    by_user(cluster, "pamcut -left 0 ~/whole.ppm >~/drawn-whole.ppm")
    home = cluster.directory / "home" / USER
    picture = (home / "globe.ppm").read_bytes()
    assert picture == (home / "drawn-whole.ppm").read_bytes()
    head, pixels = picture[: -3 * width * height], picture[-3 * width * height :]
    assert head.split() == [b"P6", str(width).encode(), str(height).encode(), b"255"]
    upper, lower = pixels[: len(pixels) // 2], pixels[len(pixels) // 2 :]
    assert min(len(set(upper)), len(set(lower))) > 100  # octets' values: neither half is black
    assert not list((cluster.directory / "srv" / "shared").glob("globe.*/"))


def test_a_node_that_can_not_draw_its_rows_is_named(cluster: HeadNode) -> None:
    said = by_user(cluster, "./render-farm $PWD/none.pov 16 10 ~/none.ppm 2>&1 || ls ~")
    assert re.search(r"render-farm: n0[12] didn't draw its rows", said)
    assert "none.ppm" not in said.split()


def _until_ready(head: HeadNode) -> None:
    deadline = time.monotonic() + LOGIN
    while True:
        shown = json.loads(head.run("netbootctl", "status", "--json"))
        states = [node["state"] for node in shown["nodes"]]
        if states == ["ready"] * len(MACS):
            return
        if time.monotonic() > deadline:
            raise LabError(f"the nodes are {states}, not ready")
        time.sleep(1)
