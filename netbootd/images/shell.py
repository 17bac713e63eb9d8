"""`image shell`: a generation opened to be changed by hand; what comes of it is the next generation.

    images/.incoming-XXXXXXXX/
      guest/          over the generation while the shell runs: resolv.conf, policy-rc.d; stays behind
      upper/ work/    what the shell changes, by an overlay whose lower directories are guest/ and the root
      view/           where the overlay is mounted, in a namespace that nobody else sees
      root/           made of both afterwards, unchanged files shared with the generation (layered.py)

The generation itself is only ever a lower directory. Where overlayfs can't work in the images' directory,
the shell gets a copy. Whatever ends this process ends the shell with all that it started, and its mounts
(inside.py); the directory goes with the next command that has to do with images.
"""

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import termios
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import netbootd
from netbootd.errors import HostError, UserError
from netbootd.image import Generation
from netbootd.images import apt, assemble, foreign, layered, trees
from netbootd.images.guest import Guest, dress_like, without_caches
from netbootd.images.inside import NO_OVERLAY, Order
from netbootd.images.layered import Change
from netbootd.images.progress import Progress, silent
from netbootd.images.recipe import CHANGED_BY_HAND
from netbootd.images.rooted import find_file
from netbootd.images.store import ImageStore, Staging

_SHELLS = ("/bin/bash", "/usr/bin/bash", "/bin/sh", "/usr/bin/sh")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_HANDED_ON = (
    "TERM",
    "COLORTERM",
    "http_proxy",
    "https_proxy",
    "ftp_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
)
_CONTAINED = (
    *("setpriv", "--pdeathsig", "KILL", "--"),
    *("unshare", "--mount", "--pid", "--ipc", "--fork", "--kill-child=KILL", "--mount-proc", "--"),
)
_OPTIONS = "redirect_dir=off,metacopy=off,index=off"
_PROBED = 57
"""A status that nothing else ends with."""


@dataclass(frozen=True, slots=True)
class Changed:
    """What a shell did, in figures."""

    added: int = 0
    changed: int = 0
    removed: int = 0

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)

    def __str__(self) -> str:
        return f"{self.added} added, {self.changed} changed, {self.removed} removed"


@contextmanager
def opened(store: ImageStore, base: Generation) -> Iterator["Session"]:
    """The generation `base`, to be worked in until the block ends; what isn't published by then is gone.

    Raises UserError for an image that can't be worked in, HostError where this machine can't. Root only.
    """
    _check_host(base)
    with store.staging(base.image) as staging:
        with trees.explained(store.directory):
            session = Session(store, staging, base)
        yield session


class Session:
    """A generation that is being changed."""

    def __init__(self, store: ImageStore, staging: Staging, base: Generation) -> None:
        self.base = base
        self._store = store
        self._staging = staging
        self._home = staging.directory
        self._left_out = 0
        """Octets of package lists and the like that are not published."""
        self._guest = Guest(base.root, self._home / "guest")
        for name in ("upper", "work", "view"):
            (self._home / name).mkdir()
        dress_like(base.root, self._home / "upper")
        self._is_overlay = self._works(container=False, overlay=True)
        if not self._is_overlay:
            _copy_tree(base.root, staging.root)
            self._guest.put_into(staging.root, self._home)
        self._is_container = shutil.which("systemd-nspawn") is not None and self._works(
            container=True, overlay=self._is_overlay
        )
        self._before = frozenset(self._changes())
        """What systemd-nspawn itself may add to a tree that lacks usual directories."""

    @property
    def means(self) -> str:
        """How the shell is kept apart from this machine, in words."""
        way = "systemd-nspawn" if self._is_container else "namespaces of its own"
        return (
            way
            if self._is_overlay
            else f"{way}, on a copy: no overlay can be made in {self._store.directory}"
        )

    def run(self, command: Sequence[str] = ()) -> int:
        """Run `command`, or a shell, at the terminal that we have; returns its status.

        Raises HostError where that can't be, UserError where the image has no shell.
        """
        environment = {key: os.environ[key] for key in _HANDED_ON if key in os.environ}
        environment |= {
            "PATH": _PATH,
            "HOME": "/root",
            "USER": "root",
            "LANG": "C.UTF-8",
            "HISTFILE": "/dev/null",  # what is typed here isn't the image's
            "LESSHISTFILE": "-",
            "debian_chroot": self.base.label,
        }
        order = self._order(
            list(command) or [self._shell()],
            container=self._is_container,
            overlay=self._is_overlay,
            environment=environment,
        )
        with _terminal_kept():
            status, said = self._ordered(order)
        if said:
            raise HostError(
                f"can't run {order.command[0]} in {self.base.label}: {said}", "nothing is published"
            )
        if self._is_overlay:
            self._left_out += without_caches(self._home / "upper")
        return status

    def changed(self) -> Changed:
        """What differs by now. Files that only were touched don't count. Raises OSError, UserError."""
        with trees.explained(self._store.directory):
            kinds = Counter(
                change.kind
                for change in self._changes()
                if change not in self._before and change.what != ("time",)
            )
        return Changed(kinds["added"], kinds["changed"], kinds["removed"])

    def publish(self, changed: Changed, note: str = "", progress: Progress = silent) -> Generation:
        """Make what stands there now the next generation of the image. Raises as assemble.publish does."""
        root = self._staging.root
        with trees.explained(self._store.directory):
            progress("laying the changes over the image", 0, None)
            if self._is_overlay:
                self._guest.withdraw_from(self._home / "upper")
                layered.merge(self.base.root, self._home / "upper", root, consume=True)
                # It is renamed before anything in it is removed: so nothing was missed.
                if not self.base.root.is_dir():
                    raise HostError(f"{self.base.label} was removed meanwhile", "nothing is published")
            else:
                self._guest.take_from(root, self._home)
        for name in ("guest", "upper", "work", "view"):
            trees.remove_tree(self._home / name)
        recipe: Mapping[str, Any] = self.base.recipe
        remarks = [f"changed by hand: {changed}"]
        if self._left_out:
            remarks.append(f"{self._left_out / 1e6:.1f} MB of package lists and caches left out")
        return assemble.publish(
            self._store,
            self._staging,
            origin=f"shell over {self.base.label}",
            progress=progress,
            remarks=tuple(remarks),
            recipe={**recipe, CHANGED_BY_HAND: f"over {self.base.label}"} if recipe else None,
            note=note,
        )

    def _changes(self) -> Iterator[Change]:
        if self._is_overlay:
            self._guest.withdraw_from(self._home / "upper")
            return layered.changes(self.base.root, self._home / "upper")
        return (
            c for c in layered.compared(self.base.root, self._staging.root) if c.path not in self._guest.files
        )

    def _shell(self) -> str:
        for name in _SHELLS:
            if find_file(self.base.root, [name]) is not None:
                return name
        raise UserError(f"{self.base.label} has no shell", f"looked for {', '.join(_SHELLS)}")

    def _works(self, *, container: bool, overlay: bool) -> bool:
        """Whether the image's shell runs that way. Raises HostError where it is the image's fault."""
        command = [self._shell(), "-c", f"exit {_PROBED}"]
        environment = {"PATH": _PATH, "HOME": "/"}
        order = self._order(command, container=container, overlay=overlay, environment=environment)
        status, said = self._ordered(order, quiet=True)
        if status == _PROBED:
            return True
        if container or said.startswith(NO_OVERLAY):
            return False
        raise HostError(
            f"{command[0]} of {self.base.label} can't be run here: {said or f'it ended with {status}'}",
            "change the image where it came from, and import it again",
        )

    def _order(
        self, command: list[str], *, container: bool, overlay: bool, environment: dict[str, str]
    ) -> Order:
        # Relative paths, because in overlayfs' options commas and colons would have to be escaped.
        lower = os.path.relpath(self.base.root, self._home)
        return Order(
            directory=str(self._home),
            view="view" if overlay else "root",
            overlay=f"lowerdir=guest:{lower},upperdir=upper,workdir=work,{_OPTIONS}" if overlay else "",
            container=container,
            name=f"netbootd-{secrets.token_hex(4)}",
            command=command,
            environment=environment,
            said=-1,
        )

    def _ordered(self, order: Order, *, quiet: bool = False) -> tuple[int, str]:
        """Have the order carried out; its status, and what kept it from being so."""
        reading, writing = os.pipe()
        null = subprocess.DEVNULL if quiet else None
        package_home = str(Path(netbootd.__file__).parent.parent)
        arguments = json.dumps({**asdict(order), "said": writing})
        try:
            with subprocess.Popen(
                [*_CONTAINED, sys.executable, "-P", "-m", "netbootd.images.inside", arguments],
                stdin=null,
                stdout=null,
                stderr=null,
                pass_fds=(writing, self._staging.lock),
                env={**os.environ, "PYTHONPATH": package_home},
            ) as process:
                os.close(writing)
                try:
                    with os.fdopen(reading, encoding="utf-8", errors="replace") as file:
                        said = file.read(1000)
                    return process.wait(), said
                finally:
                    process.kill()
        except FileNotFoundError as error:
            raise HostError(f"{error.filename} is missing", "apt install util-linux") from error


def _check_host(base: Generation) -> None:
    if os.geteuid() != 0:
        raise HostError("only root can work in an image: its files belong to many users", "run it with sudo")
    for command in ("setpriv", "unshare", "mount"):
        if shutil.which(command) is None:
            raise HostError(f"{command} is missing", "apt install util-linux mount")
    debian = apt.architecture(base.architecture)
    if debian is None:
        raise HostError(
            f"{base.label} is for {base.architecture}, which nothing here can run",
            "change it where it came from, and import it again",
        )
    foreign.check(debian)


def _copy_tree(source: Path, target: Path) -> None:
    command = ["cp", "--archive", "--reflink=auto", "--no-target-directory", str(source), str(target)]
    result = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if result.returncode:
        raise HostError(f"can't copy {source}: {result.stderr.strip()[-300:]}", "nothing was kept of this")


@contextmanager
def _terminal_kept() -> Iterator[None]:
    """Leave the keyboard's signals to what runs at the terminal, and have the terminal back afterwards."""
    ours = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGQUIT)}
    settings = termios.tcgetattr(0) if os.isatty(0) else None
    for number in ours:
        signal.signal(number, signal.SIG_IGN)
    try:
        yield
    finally:
        if settings is not None:
            # A shell with job control leaves its own process group in the foreground: taking it back would
            # stop us, unless this is ignored.
            before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
            with suppress(OSError, termios.error):
                os.tcsetpgrp(0, os.getpgrp())
                termios.tcsetattr(0, termios.TCSADRAIN, settings)
            signal.signal(signal.SIGTTOU, before)
        for number, handler in ours.items():
            signal.signal(number, handler)
