"""Networks of our own: namespaces with a bridge, where servers, clients and machines meet and nobody else is.

A `Lab` is a head node's side: its own network, mounts and host name, a bridge `br0` with 10.77.0.1/24.
`lab.client("c1")` is another namespace with a cable to that bridge, `lab.tap("n01")` a socket for a
QEMU machine. Commands run inside through nsenter. Without root everything lies in a user namespace.

What a program writes to /etc or /run inside goes to a copy in memory, and root's home is an empty one: the
machine's own /etc/hosts, ssh_known_hosts and ~/.ssh are out of reach. All ends with the `with` block, and
if this process dies, by the holder (see holder.py): no process and no interface is left.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Interface
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from tests.lab import holder
from tests.lab.process import LabError, Process

HEAD = IPv4Interface("10.77.0.1/24")
HEAD_MAC = "52:54:00:00:fe:01"
BRIDGE = "br0"

HOME = "/run/netbootd-lab/home"
"""root's home inside: empty at first, in memory. ssh takes it from /etc/passwd, others from $HOME."""

# A fresh sysfs shows this network's interfaces; it may be refused in a user namespace, nothing depends on it.
_PRIVATE_MOUNTS = f"""
set -e
mount -t tmpfs -o mode=755 tmpfs /run
lab=/run/netbootd-lab
mkdir -p /run/lock /run/sshd /run/rpcbind /run/ganesha $lab/etc $lab/work
mkdir -m 700 {HOME}
if [ -w /etc ]; then
    mount -t overlay -o lowerdir=/etc,upperdir=$lab/etc,workdir=$lab/work overlay /etc
else  # in a user namespace: what isn't ours to read isn't needed either
    cp -r --no-preserve=ownership /etc/. $lab/etc 2>/dev/null || true
    mount --bind $lab/etc /etc
fi
sed -i 's|^\\(root:[^:]*:[^:]*:[^:]*:[^:]*\\):[^:]*:|\\1:{HOME}:|' /etc/passwd
[ -e /etc/mtab ] || ln -sf ../proc/self/mounts /etc/mtab  # NFS-Ganesha reads it; the barest systems lack it
for directory in /var/lib/nfs /var/lib/dhcp; do
    [ ! -d "$directory" ] || mount -t tmpfs -o mode=755 tmpfs "$directory"
done
[ ! -d /var/lib/nfs ] || mkdir -p /var/lib/nfs/ganesha
hostname "$1"
mount -t sysfs sysfs /sys 2>/dev/null || true
"""


def why_no_namespaces() -> str | None:
    """None where a Lab can be made, else the reason in words."""
    for command in ("unshare", "nsenter", "ip"):
        if shutil.which(command) is None:
            return f"{command} isn't installed"
    probe = subprocess.run([*_unshare(), "true"], capture_output=True, text=True, check=False)
    return None if probe.returncode == 0 else f"namespaces aren't allowed here: {probe.stderr.strip()}"


def _unshare(*, user: bool = os.geteuid() != 0) -> list[str]:
    words = ["--user", "--map-root-user"] if user else []
    return ["unshare", *words, "--net", "--mount", "--uts", "--propagation", "slave", "--"]


def _shown(words: Sequence[str]) -> str:
    """A command for a message; of a long script its beginning."""
    text = " ".join(" ".join(words).split())
    return text if len(text) <= 300 else f"{text[:297]}..."


class Namespace:
    """A network, mount and host-name namespace; a context manager. `Lab` and `lab.client` make them."""

    def __init__(self, name: str, directory: Path, parent: "Namespace | None" = None) -> None:
        self.name = name
        self.directory = directory
        self.processes: list[Process] = []
        self._parent = parent
        self._holder: subprocess.Popen[str] | None = None

    # ---- being there and going away

    def __enter__(self) -> Self:
        # One user namespace for the whole lab: a client's is made inside the head's.
        unshare = [*self._parent.inside(), *_unshare(user=False)] if self._parent else _unshare()
        self._holder = subprocess.Popen(
            [*unshare, sys.executable, "-I", "-S", holder.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            assert self._holder.stdout is not None
            if self._holder.stdout.readline() != "ready\n":
                raise LabError(f"no namespace for {self.name}: {why_no_namespaces() or 'its holder ended'}")
            self.run(["sh", "-c", _PRIVATE_MOUNTS, "sh", self.name])
            self.run(["ip", "link", "set", "lo", "up"])
            self._set_up()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _set_up(self) -> None:
        """What a subclass adds."""

    def close(self) -> None:
        """End everything inside. Harmless the second time."""
        if self._holder is None:
            return
        assert self._holder.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._holder.stdin.close()
        # Not wait() alone: a child that is a zombie keeps no namespace, but wants to be reaped by us.
        deadline = time.monotonic() + 15
        while self._holder.poll() is None and time.monotonic() < deadline:
            for process in self.processes:
                process.popen.poll()
            time.sleep(0.01)
        if self._holder.poll() is None:
            self._holder.kill()
        self._holder.wait()
        for process in self.processes:
            process.stop()
        self._holder = None

    def keep(self) -> None:
        """Let everything inside outlive this process; SIGTERM to `pid` ends it later."""
        assert self._holder is not None and self._holder.stdin is not None
        self._holder.stdin.write("keep\n")
        self._holder.stdin.close()
        self._holder = None

    @property
    def pid(self) -> int:
        """The holder's process id; its namespaces are those of /proc/PID/ns."""
        if self._holder is None:
            raise LabError(f"namespace {self.name} is closed")
        return self._holder.pid

    # ---- running programs inside

    def inside(self, cwd: Path | None = None) -> list[str]:
        """The words to put before a command so that it runs in here, in `cwd` (default: where we are)."""
        user = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
        target = ["nsenter", "--target", str(self.pid), *user, "--net", "--mount", "--uts", "--root"]
        return [*target, "--", "env", "--chdir", str(cwd or Path.cwd()), f"HOME={HOME}"]

    def run(
        self,
        command: Sequence[str | Path],
        *,
        check: bool = True,
        timeout: float = 60.0,
        input: str | None = None,  # noqa: A002  the name that subprocess.run has for it
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run `command` inside to its end. LabError if it fails (unless check=False) or takes too long."""
        words = [str(word) for word in command]
        try:
            done = subprocess.run(
                [*self.inside(cwd), *words],
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=timeout,
                input=input if input is not None else "",
                env={**os.environ, **env} if env else None,
            )
        except subprocess.TimeoutExpired as late:
            said = "".join(part.decode(errors="replace") for part in (late.stdout, late.stderr) if part)
            raise LabError(f"{_shown(words)}: not done in {timeout:.0f} s\n{said}") from None
        if check and done.returncode != 0:
            raise LabError(f"{_shown(words)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def start(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdin: IO[bytes] | int = subprocess.DEVNULL,
    ) -> Process:
        """Start a program inside and leave it running; its output goes to `directory`/NAME.log."""
        log = self.directory / f"{name}.log"
        with log.open("ab") as output:
            popen = subprocess.Popen(
                [*self.inside(cwd), *(str(word) for word in command)],
                stdin=stdin,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **env} if env else None,
                start_new_session=True,
            )
        process = Process(name, popen, log)
        self.processes.append(process)
        # nsenter takes a few ms to be inside; before that the holder wouldn't find the process.
        here = holder.network_namespace(self.pid)
        while process.running and holder.network_namespace(popen.pid) != here:
            time.sleep(0.002)
        return process

    def ip(self, *lines: str) -> None:
        """`ip` commands, all in one go: `lab.ip("link add d0 type dummy", "link set d0 up")`."""
        self.run(["ip", "-batch", "-"], input="\n".join(lines) + "\n")

    def listens(self, port: int) -> bool:
        """Whether something here takes TCP connections on `port`."""
        return bool(
            self.run(["ss", "-H", "--listening", "--tcp", "--numeric", f"sport = {port}"]).stdout.strip()
        )


class Lab(Namespace):
    """The head node's namespace, with the bridge. `directory` is for logs; by default one that goes away."""

    def __init__(self, name: str = "head", directory: Path | None = None) -> None:
        self._temporary = None if directory else tempfile.TemporaryDirectory(prefix="netbootd-lab-")
        super().__init__(name, directory or Path(self._temporary.name if self._temporary else ""))
        self._clients: list[Namespace] = []

    def _set_up(self) -> None:
        # Without STP and forward delay a port forwards at once; without snooping nothing is filtered. Left to
        # itself a bridge has the lowest address of its ports: another one as machines come and go.
        self.ip(
            f"link add {BRIDGE} address {HEAD_MAC} type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
            f"address add {HEAD} dev {BRIDGE}",
            f"link set {BRIDGE} up",
        )

    def client(self, name: str, mac: str | None = None, address: str | None = None) -> Namespace:
        """Another machine on the bridge: a namespace with `eth0`. No address unless one is given (CIDR)."""
        client = Namespace(name, self.directory, parent=self)
        client.__enter__()
        self._clients.append(client)
        peer = f"address {mac} " if mac else ""
        self.ip(
            f"link add v-{name} type veth peer name eth0 {peer}netns {client.pid}",
            f"link set v-{name} master {BRIDGE} up",
        )
        client.ip(*([f"address add {address} dev eth0"] if address else []), "link set eth0 up")
        return client

    def tap(self, name: str) -> str:
        """A tap on the bridge for a QEMU machine; returns the interface's name."""
        interface = f"t-{name}"
        self.ip(
            f"tuntap add dev {interface} mode tap",
            f"link set {interface} master {BRIDGE} up",
        )
        return interface

    def close(self) -> None:
        """End the clients, then the head; remove the temporary directory."""
        for client in reversed(self._clients):
            client.close()
        self._clients.clear()
        super().close()
        if self._temporary:
            self._temporary.cleanup()

    def keep(self) -> None:
        """Let everything outlive this process, clients too."""
        for client in self._clients:
            client.keep()
        self._clients.clear()
        super().keep()
