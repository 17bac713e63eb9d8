"""Running something inside an image: a program of its own, first in new mount and process namespaces.

    unshare --mount --pid --fork … python -m netbootd.images.inside ORDER      as root; ORDER is JSON

It mounts what ORDER says, and runs the command in it: in a container of systemd-nspawn's, or with the tree as
the only file system that this namespace has left (pivot_root(2)), with a /dev of nothing but harmless
devices and without the capabilities by which root reaches the machine itself. It stays as the first process,
so that with it, however it ends, every process and every mount is gone.

It ends with the command's status, 128 and the signal where one ended it. What keeps it from running the
command it writes to the descriptor `said`, as text, and ends with 1.
"""

import ctypes
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

_MNT_DETACH = 2
_PR_CAPBSET_DROP = 24
_LAST_CAPABILITY = 63
_KEPT_CAPABILITIES = frozenset({0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 15, 18, 29, 31})
"""capabilities(7): what installing packages takes (owners, modes, users, ports, file capabilities). Not
DAC_READ_SEARCH (files by their handles), SYS_ADMIN, SYS_RAWIO, MKNOD and the like."""
_DROPPED_BY_NSPAWN = (
    "CAP_DAC_READ_SEARCH,CAP_LINUX_IMMUTABLE,CAP_MKNOD,CAP_SYS_ADMIN,CAP_SYS_BOOT,CAP_SYS_PTRACE"
)
_DEVICES = {
    "null": (1, 3),
    "zero": (1, 5),
    "full": (1, 7),
    "random": (1, 8),
    "urandom": (1, 9),
    "tty": (5, 0),
}
_DEVICE_LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}
NO_OVERLAY = "no overlay"
"""What is said begins so where overlayfs is at fault."""
NEEDED_DIRECTORIES = {"dev": 0o755, "proc": 0o555, "sys": 0o555, "run": 0o755, "tmp": 0o1777}
"""What something is mounted on, and the mode of one that an image lacks."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be run, and where. Paths are relative to `directory`."""

    directory: str
    view: str
    """The mount point of the tree; the tree itself where there is no `overlay`."""
    overlay: str
    """Options of the overlay; empty for a tree that is written to as it lies there."""
    container: bool
    """By systemd-nspawn, or else by ourselves."""
    name: str
    """Of the container."""
    command: list[str]
    environment: dict[str, str]
    said: int
    """A descriptor, for what goes wrong."""


def main() -> int:
    """Carry out the order in the only argument."""
    order = Order(**json.loads(sys.argv[1]))
    os.set_inheritable(order.said, False)  # noqa: FBT003 - its only form
    os.umask(0o022)
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP):  # they are the command's
        signal.signal(number, signal.SIG_IGN)
    try:
        os.chdir(order.directory)
        _mount_tree(order)
        if order.container:
            _mount("tmpfs", "/run/systemd/nspawn", "tmpfs", "mode=700")  # what it notes is for nobody else
            return _supervised(order, _containing)
        _mount_inside(Path(order.view))
        libc = ctypes.CDLL(None, use_errno=True)
        _enter(libc, order.view)
        return _supervised(order, lambda order: _limited(libc, order))
    except (OSError, subprocess.CalledProcessError) as error:
        os.write(order.said, _why(error).encode(errors="replace"))
        return 1


def _mount_tree(order: Order) -> None:
    if order.overlay:
        try:
            _mount("overlay", order.view, "overlay", order.overlay)
        except subprocess.CalledProcessError as error:
            error.stderr = f"{NO_OVERLAY}: {error.stderr}"
            raise
    else:
        _run("mount", "--bind", order.view, order.view)


def _mount_inside(root: Path) -> None:
    """/proc, /sys, /dev, /run and /tmp, of which nothing stays. Their directories are no links (shell.py)."""
    _mount("proc", root / "proc", "proc", "nosuid,nodev,noexec")
    _mount("sysfs", root / "sys", "sysfs", "ro,nosuid,nodev,noexec")
    _mount("tmpfs", root / "run", "tmpfs", "mode=755,nosuid,nodev")
    _mount("tmpfs", root / "tmp", "tmpfs", "mode=1777,nosuid,nodev")
    dev = root / "dev"
    _mount("tmpfs", dev, "tmpfs", "mode=755,nosuid,noexec,size=1m")
    for name, (major, minor) in _DEVICES.items():
        os.mknod(dev / name, stat.S_IFCHR | 0o666, os.makedev(major, minor))
        (dev / name).chmod(0o666)
    for name, target in _DEVICE_LINKS.items():
        (dev / name).symlink_to(target)
    for name in ("pts", "shm"):
        (dev / name).mkdir()
    _mount("devpts", dev / "pts", "devpts", "newinstance,ptmxmode=666,mode=620,gid=5,nosuid,noexec")
    _mount("tmpfs", dev / "shm", "tmpfs", "mode=1777,nosuid,nodev")


def _enter(libc: Any, view: str) -> None:
    """Make `view` the root, and let go of all else that was mounted here."""
    os.chdir(view)
    if libc.pivot_root(b".", b".") == 0:
        if libc.umount2(b".", _MNT_DETACH):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), view)
    else:  # a root that can't be left, as an initramfs is
        os.chroot(".")
    os.chdir("/")


def _supervised(order: Order, run: Callable[[Order], NoReturn]) -> int:
    """The status of what `run` becomes, waiting meanwhile for every process whose parent has died."""
    main = os.fork()
    if main == 0:
        try:
            for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP, signal.SIGPIPE):
                signal.signal(number, signal.SIG_DFL)
            run(order)
        except OSError as error:
            os.write(order.said, _why(error).encode(errors="replace"))
        finally:
            os._exit(127)
    os.close(order.said)
    while True:
        child, status = os.wait()
        if child == main:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _containing(order: Order) -> NoReturn:
    terminal = os.isatty(0) and os.isatty(1)
    settings = [f"--setenv={key}={value}" for key, value in order.environment.items()]
    command = [
        *("systemd-nspawn", "--quiet", f"--directory={order.view}", f"--machine={order.name}"),
        *("--register=no", "--keep-unit", "--as-pid2", "--settings=no", "--link-journal=no"),
        *("--resolv-conf=off", "--timezone=off", f"--drop-capability={_DROPPED_BY_NSPAWN}"),
        "--console=interactive" if terminal else "--console=pipe",
        *settings,
        *("--", *order.command),
    ]
    os.execvp(command[0], command)  # noqa: S606 - no shell is wanted


def _limited(libc: Any, order: Order) -> NoReturn:
    for capability in range(_LAST_CAPABILITY + 1):
        if capability not in _KEPT_CAPABILITIES:
            libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)  # refused for those that this kernel hasn't
    # Not the lock either, which is a directory of this machine: what holds it can climb out of here.
    os.closerange(3, order.said)
    os.closerange(order.said + 1, 1024)
    os.chdir(order.environment["HOME"] if Path(order.environment["HOME"]).is_dir() else "/")
    _exec(order.command, order.environment)


def _exec(command: list[str], environment: Mapping[str, str]) -> NoReturn:
    try:
        os.execvpe(command[0], command, environment)  # noqa: S606 - it is the admin's own
    except FileNotFoundError as error:
        raise FileNotFoundError(error.errno, "there is no such command in the image", command[0]) from None


def _mount(what: str, where: str | Path, kind: str, options: str) -> None:
    Path(where).mkdir(parents=True, exist_ok=True)
    _run("mount", "--types", kind, "--options", options, what, str(where))


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, errors="replace")


def _why(error: OSError | subprocess.CalledProcessError) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        return str(error.stderr).strip()[:300] or str(error)
    return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)


if __name__ == "__main__":
    sys.exit(main())
