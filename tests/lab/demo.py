"""`make demo`: two machines without a disk become nodes of a cluster, before your eyes.

All of it happens in a network namespace of its own, through the commands that a head node's owner types.
The image is kept in build/demo (or $NETBOOTD_DEMO_DIR), so that a second run takes only the boots' time.
`--keep` leaves the cluster running, `--stop` ends it.
"""

import argparse
import os
import shlex
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

from netbootd.errors import NetbootdError
from netbootd.events import timeline
from netbootd.node import Mac
from netbootd.stage import Stage
from tests.lab.head import CHECKOUT, IMAGE, HeadNode
from tests.lab.machine import KINDS, Machine
from tests.lab.namespace import HOME, Lab, why_no_namespaces
from tests.lab.process import LabError

NODES = (("n01", "bios", "52:54:00:77:00:01"), ("n02", "uefi", "52:54:00:77:00:02"))
PATIENCE = 420.0
"""Seconds from power-on to the login prompt before the demo gives up; two idle cores need about 50."""
STEPS = 6


class Screen:
    """What the person who watches sees: numbered steps, lines below them, and what is awaited."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._live = sys.stdout.isatty()
        self._number = 0
        self._spoke = 0.0

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """One of the steps; says how long it took."""
        self._number += 1
        began = time.monotonic()
        self.line(self._bold(f"[{self._number}/{STEPS}] {title}"))
        yield
        self.line(
            f"      done in {time.monotonic() - began:.1f} s ({time.monotonic() - self._began:.0f} s in all)"
        )

    def line(self, text: str) -> None:
        """A line that stays."""
        self._clear()
        print(text, flush=True)
        self._spoke = time.monotonic()

    def awaiting(self, text: str) -> None:
        """What we wait for: a line that is overwritten; where output isn't a terminal, one every 10 s."""
        if self._live:
            self._clear()
            print(f"      … {text}"[:110], end="", flush=True)
        elif time.monotonic() - self._spoke > 10:
            self.line(f"      … {text}")

    def total(self) -> float:
        """Seconds since the demo began."""
        return time.monotonic() - self._began

    def _clear(self) -> None:
        if self._live:
            print("\r\x1b[K", end="")

    def _bold(self, text: str) -> str:
        return f"\x1b[1m{text}\x1b[0m" if self._live else text


class Watch:
    """One machine's boot: shows each stage as netbootd learns of it, and notices the login prompt."""

    def __init__(self, head: HeadNode, screen: Screen, machine: Machine) -> None:
        self.machine = machine
        self.up_after: float | None = None
        self.ready = False
        self._events = head.state / "registry" / "events.db"
        self._screen = screen
        self._shown = 0
        self._on = time.time()
        self._last = "power on"

    def look(self) -> bool:
        """Show what is new; True once the machine is at its login prompt."""
        for event in timeline(self._events, Mac(self.machine.mac))[self._shown :]:
            self._shown += 1
            if event.time >= self._on:
                stage = event.stage.value if event.stage else event.level.value
                self._last = stage
                self.ready |= event.stage is Stage.READY
                self._say(event.time - self._on, stage, event.text)
        if self.up_after is None:
            if f"{self.machine.name} login:" in self.machine.output():
                self.up_after = self.machine.elapsed
                self._last = "at its login prompt"
                self._say(self.up_after, "login", f"the console says: {self.machine.name} login:")
            elif not self.machine.running:
                raise LabError(f"{self.machine.name} went off")
            elif self.machine.elapsed > PATIENCE:
                raise LabError(f"{self.machine.name} has no login prompt after {PATIENCE:.0f} s")
        return self.up_after is not None

    def __str__(self) -> str:
        return f"{self.machine.name}: {self._last}"

    def _say(self, seconds: float, stage: str, text: str) -> None:
        name = f"{self.machine.name} ({self.machine.kind.name})"
        self._screen.line(f"      {seconds:6.1f} s  {name:<10}  {stage:<9} {text}"[:150])


def demo(head: HeadNode, *, keep: bool) -> None:
    """The whole demo. Raises LabError, with what was seen, when something doesn't come out as it must."""
    screen = Screen()
    with screen.step(f"the image {IMAGE!r}: Debian, built once, kept in {head.state / 'images'}"):
        if head.has_image():
            screen.line("      it is there already")
        else:
            screen.line("      $ netbootctl image build debian      (takes a few minutes)")
            head.build_image()
    with ExitStack() as stack:
        with screen.step("a network of its own: a namespace with a bridge, 10.77.0.1/24 for the head node"):
            lab = stack.enter_context(Lab(directory=head.logs))
            head.join(lab)
        try:
            _cluster(head, screen)
        except LabError as error:
            raise LabError(f"{error}\n{head.what_happened()}") from None
        screen.line(f"\nTwo machines without a disk are nodes of a cluster, after {screen.total():.0f} s.")
        if keep:
            keep_running(head, lab)


def _cluster(head: HeadNode, screen: Screen) -> None:
    with screen.step("two machines are registered"):
        for name, _, mac in NODES:
            _type(head, screen, "netbootctl", "node", "add", name, "--mac", mac, "--image", IMAGE)
    with screen.step("NFS-Ganesha and netbootd start"):
        head.start()
    with screen.step(
        "power on: a BIOS machine with iPXE in its card's ROM, a UEFI machine; neither has a disk"
    ):
        watches = []
        for name, kind, mac in NODES:
            machine = head.machine(name, kind, mac)
            machine.power_on()
            watches.append(Watch(head, screen, machine))
        up = [False]
        while not all(up):
            up = [watch.look() for watch in watches]
            slowest = max(watch.machine.elapsed for watch in watches)
            screen.awaiting(f"{slowest:.0f} s   {'   '.join(map(str, watches))}")
            time.sleep(0.5)
    with screen.step("what the head node knows now"):
        names = [name for name, _, _ in NODES]
        for name, other in zip(names, reversed(names), strict=True):
            _answers(head, screen, name, ["ssh", name, "hostname"])
            _answers(head, screen, other, ["ssh", name, "ssh", other, "hostname"])
        for watch in watches:
            _until_ready(watch)
            _type(head, screen, "netbootctl", "why", watch.machine.name)


def _type(head: HeadNode, screen: Screen, *command: str) -> None:
    """What the owner of a head node would type, and what it says."""
    screen.line(f"      $ {shlex.join(command)}")
    for line in head.run(*command).splitlines():
        screen.line(f"        {line}")


def _answers(head: HeadNode, screen: Screen, name: str, command: list[str]) -> None:
    """`command` must print `name` and ask nothing; sshd may need a moment more than the login prompt."""
    words = [command[0], "-o", "BatchMode=yes", "-o", "ConnectTimeout=5", *command[1:]]
    deadline = time.monotonic() + 90
    while (said := head.run(*words, check=False)).strip() != name:
        if time.monotonic() > deadline:
            raise LabError(f"{shlex.join(words)} should have said {name}, but said: {said}")
        screen.awaiting(f"{shlex.join(command)}: {said.strip()[-80:]}")
        time.sleep(1)
    screen.line(f"      $ {shlex.join(command)}\n        {name}")


def _until_ready(watch: Watch) -> None:
    """The last stage may come after the login prompt."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        watch.look()
        if watch.ready:
            return
        time.sleep(0.5)
    raise LabError(f"{watch.machine.name} answers, but never reported `ready`")


# ---- kept running


def keep_running(head: HeadNode, lab: Lab) -> None:
    """Let the cluster outlive this process; says how to look around, and how to end it."""
    enter = head.directory / "enter"
    path = shlex.quote(head.environment["PATH"])
    enter.write_text(
        "#!/bin/sh\n# Be on the demo's head node: a shell, or the command given.\n"
        f"exec nsenter --target {lab.pid} --net --mount --uts --root -- env HOME={HOME} PATH={path} "
        '"${@:-bash}"\n'
    )
    enter.chmod(0o755)
    _pid_file(head).write_text(str(lab.pid))
    lab.keep()
    shown = os.path.relpath(enter)
    print(f"It runs on. Look around: {shown} ssh n01   or {shown} netbootctl status   or {shown} for a shell")
    print("End it:                  make demo-stop", flush=True)


def stop(head: HeadNode) -> bool:
    """End a demo that was kept; False where there is none."""
    if (pid := kept(head)) is None:
        return False
    os.kill(pid, signal.SIGTERM)
    while kept(head) is not None:
        time.sleep(0.05)
    _pid_file(head).unlink(missing_ok=True)
    (head.directory / "enter").unlink(missing_ok=True)
    return True


def kept(head: HeadNode) -> int | None:
    """The process that holds a kept demo, if it is still there (and no other has got its number)."""
    try:
        pid = int(_pid_file(head).read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError, ValueError):
        return None
    return pid if b"holder.py" in command else None


def _pid_file(head: HeadNode) -> Path:
    return head.directory / "kept.pid"


class _Interrupted(BaseException):
    """A signal asked us to end; its number."""


def _interrupt(number: int, _frame: FrameType | None) -> None:
    # One is enough: a second Ctrl-C shall not cut the cleaning up short.
    for each in _ENDING:
        signal.signal(each, signal.SIG_IGN)
    raise _Interrupted(number)


_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab.demo", description=__doc__.splitlines()[0])
    parser.add_argument("--keep", action="store_true", help="leave the cluster running")
    parser.add_argument("--stop", action="store_true", help="end a cluster that was left running")
    arguments = parser.parse_args()
    head = HeadNode(Path(os.environ.get("NETBOOTD_DEMO_DIR", CHECKOUT / "build" / "demo")).absolute())
    if arguments.stop:
        print("ended" if stop(head) else "no demo is running")
        return 0
    missing = [reason for _, kind, _ in NODES if (reason := KINDS[kind].missing())]
    if os.geteuid() != 0:
        missing = ["the demo needs root: an image's files belong to many users; run: sudo make demo"]
    if reason := next(iter(missing), why_no_namespaces()):
        print(f"demo: {reason}", file=sys.stderr)
        return 1
    if kept(head):
        print("demo: one is still running; end it by: make demo-stop", file=sys.stderr)
        return 1
    for number in _ENDING:
        signal.signal(number, _interrupt)
    try:
        with head.locked():
            head.prepare()
            demo(head, keep=arguments.keep)
    except _Interrupted as interrupted:
        print("\ndemo: interrupted; everything is ended and cleaned up", file=sys.stderr)
        return 128 + int(interrupted.args[0])
    except (LabError, NetbootdError) as error:
        print(f"\ndemo: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
