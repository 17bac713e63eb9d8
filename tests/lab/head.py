"""A whole head node in the lab, set up as its owner would: with netbootctl, netbootd and an NFS server.

The image is the costly part (minutes, and packages from a mirror). `build_image` makes it once and keeps it;
it is made anew when the code that makes images has changed. `borrow_image` gives another head node a copy
by hard links: generations never change.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.lab.ganesha import Ganesha
from tests.lab.machine import KINDS, Machine
from tests.lab.namespace import BRIDGE, HOME, Lab
from tests.lab.process import LabError, Process

CHECKOUT = Path(__file__).resolve().parents[2]
COMMANDS = Path(sys.executable).parent
"""Where netbootd and netbootctl are: beside the Python that runs this."""
IMAGE = "debian"

_CONFIG = """\
state_dir       = "{directory}/state"
template_dir    = "{directory}/templates"
authorized_keys = ["{home}/.ssh/id_ed25519.pub"]

[hosts]
chrony_file = "{directory}/chrony.conf"    # build_image runs outside the lab

[[network]]
interface = "{bridge}"
range     = "10.77.0.10-10.77.0.99"

[nfs]
server         = "ganesha"
ganesha_config = "{directory}/ganesha.conf"
ganesha_pid    = "{directory}/ganesha.pid"
"""


class HeadNode:
    """`directory` holds its netbootd.toml, state and logs. Everything but `build_image` needs `lab`."""

    def __init__(self, directory: Path, image: str = IMAGE, options: Sequence[str] = ()) -> None:
        """`image` and `options` are what `image build` is told."""
        self.directory = directory
        self.image = image
        self.options = tuple(options)
        self.config = directory / "netbootd.toml"
        self.logs = directory / "logs"
        self.state = directory / "state"
        self._lab: Lab | None = None
        self.netbootd: Process | None = None
        self.ganesha: Ganesha | None = None
        self.machines: list[Machine] = []

    # ---- before there is a network

    def prepare(self) -> None:
        """A clean head node: configuration written, nodes and logs of the last time gone, images kept."""
        self.directory.mkdir(parents=True, exist_ok=True)
        for old in (
            self.logs,
            *(self.state / part for part in ("registry", "nodes", "common", "keys", "roots")),
        ):
            shutil.rmtree(old, ignore_errors=True)
        self.logs.mkdir()
        self.config.write_text(_CONFIG.format(directory=self.directory, home=HOME, bridge=BRIDGE))

    def has_image(self) -> bool:
        """Whether an image is here that today's code made."""
        stamp = self._stamp
        if not stamp.exists() or stamp.read_text() != _recipe(self.options):
            return False
        return (self.state / "images" / self.image).is_dir()

    def build_image(self) -> None:
        """`netbootctl image build`, on the machine's own network; its progress goes to standard error.

        What was built by other code goes first, or each change would leave 700 MB behind.
        """
        shutil.rmtree(self.state / "images", ignore_errors=True)
        command = [str(COMMANDS / "netbootctl"), "--config", str(self.config), "image", "build", self.image]
        environment = {**os.environ, **self.environment}
        built = subprocess.run([*command, *self.options], check=False, cwd=CHECKOUT, env=environment)
        if built.returncode != 0:
            raise LabError("the image could not be built")
        self._stamp.write_text(_recipe(self.options))

    def borrow_image(self, other: "HeadNode") -> None:
        """Take the image that another head node has, in no time and no space."""
        self.state.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-al", other.state / "images", self.state / "images"], check=True)
        shutil.copy(other._stamp, self._stamp)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else works in `directory` meanwhile; waits for who does."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"{self.directory} is in use by another demo or test; waiting for it", file=sys.stderr)
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    # ---- in its own network

    @property
    def lab(self) -> Lab:
        """The network it is in. LabError before `join`."""
        if self._lab is None:
            raise LabError("the head node has no network yet")
        return self._lab

    def join(self, lab: Lab) -> None:
        """Live in `lab`, with an SSH key of root's and the configuration where commands look for it."""
        self._lab = lab
        lab.run(
            [
                "ssh-keygen",
                "-q",
                "-t",
                "ed25519",
                "-N",
                "",
                "-C",
                "root@head",
                "-f",
                f"{HOME}/.ssh/id_ed25519",
            ]
        )
        lab.run(["sh", "-c", f"mkdir -p /etc/netbootd && ln -sf '{self.config}' /etc/netbootd/netbootd.toml"])

    def run(self, *command: str, check: bool = True, timeout: float = 120.0) -> str:
        """Run a command as root of the head node would type it; returns what it said."""
        done = self.lab.run(command, check=check, timeout=timeout, env=self.environment)
        return done.stdout + done.stderr

    @property
    def environment(self) -> dict[str, str]:
        """PATH with netbootctl in it."""
        return {"PATH": f"{COMMANDS}:{os.environ['PATH']}", "COLUMNS": "110"}

    def start(self) -> None:
        """Start the NFS server and netbootd; returns when both answer."""
        self.ganesha = Ganesha(self.lab, self.directory / "ganesha.conf", self.directory / "ganesha.pid")
        self.ganesha.start()
        # The path in full, as a unit has it: nothing of the environment decides which netbootd this is.
        self.netbootd = self.lab.start("netbootd", [COMMANDS / "netbootd", "--config", self.config])
        self.netbootd.wait_for(f"on {BRIDGE}")  # its log says that it serves 10.77.0.0/24 there

    def serve_time(self) -> None:
        """Start a chronyd with what `apply` wrote for it; it keeps its hands off the machine's clock."""
        run, ours = "/run/chrony", self.directory / "chrony.conf"
        settings = f"include {ours}\npidfile {run}/pid\nbindcmdaddress {run}/socket\ncmdport 0\n"
        self.lab.run(["sh", "-c", f"mkdir -m 700 {run}; cat >{run}/conf"], input=settings)
        self.lab.start("chronyd", ["chronyd", "-d", "-x", "-u", "root", "-f", f"{run}/conf"])

    def machine(self, name: str, kind: str, mac: str) -> Machine:
        """A machine without a disk on the head node's wire, powered off."""
        made = Machine(self.lab, name, KINDS[kind], mac)
        self.machines.append(made)
        return made

    def what_happened(self) -> str:
        """For a failure: the last words of all that took part."""
        parts = [f"--- console of {machine.name}\n{machine.last_words()}" for machine in self.machines]
        if self.netbootd:
            parts.append(f"--- netbootd\n{self.netbootd.last_words()}")
        if self.ganesha:
            parts.append(f"--- ganesha\n{self.ganesha.last_words()}")
        return "\n".join(parts)

    @property
    def _stamp(self) -> Path:
        return self.directory / "image.recipe"


@contextmanager
def borrowed_image(
    name: str, keeper_name: str = "demo", image: str = IMAGE, options: Sequence[str] = ()
) -> Iterator[HeadNode]:
    """A head node with an image of its own that took no time, unless the first had to be built (minutes)."""
    keeper = HeadNode(CHECKOUT / "build" / keeper_name, image, options)
    # Beside the image that is kept: hard links don't reach another file system.
    head = HeadNode(CHECKOUT / "build" / name, image, options)
    try:
        with keeper.locked():
            if not keeper.has_image():
                keeper.prepare()
                keeper.build_image()
            head.prepare()
            head.borrow_image(keeper)
        yield head
    finally:
        subprocess.run(["rm", "-rf", head.directory], check=True)


def _recipe(options: Sequence[str]) -> str:
    """What the image's content depends on: the code that makes it, the options and the files they name."""
    digest = hashlib.sha256()
    for word in options:
        digest.update(word.encode() + b"\0")
        if Path(word).is_file():
            digest.update(Path(word).read_bytes())
    for path in sorted((CHECKOUT / "netbootd" / "images").rglob("*")):
        if path.is_file() and path.suffix != ".pyc":
            digest.update(path.read_bytes())
    return digest.hexdigest()
