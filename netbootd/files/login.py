"""The cluster user's SSH: a key pair of his own in the home that all nodes share, and that it lets him in.

What is done in somebody's home directory is done as that user, by a child that has no other rights: a link
that lies there leads it nowhere that he couldn't go himself. Nothing of his is overwritten, and a file that
never ends keeps nobody waiting.
"""

import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from netbootd.files.cluster import User

SECONDS = 30
COMMENT = "netbootd-user"
_SCRIPT = Path(__file__).with_name("login.sh")
_KEY, _LINE = "key", "line"


@dataclass(frozen=True, slots=True)
class Login:
    """What the user lacks to go from node to node; `warnings`: what keeps it from being made."""

    lacks: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def look(user: User, home: Path) -> Login:
    """See whether he has a key pair that lets him in. Changes nothing."""
    return _run("look", user, home)


def make(user: User, home: Path) -> tuple[str, ...]:
    """Make what he lacks; returns why not, where it can't be."""
    return _run("make", user, home).warnings


def _run(mode: str, user: User, home: Path) -> Login:
    root = os.geteuid() == 0
    if not root and os.geteuid() != user.uid:
        return Login()
    try:
        child = subprocess.Popen(
            # The text, since he may not be able to read the file.
            ["sh", "-c", _SCRIPT.read_text(encoding="utf-8"), "login.sh", mode, str(home), COMMENT],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(home), "LC_ALL": "C"},
            user=user.uid if root else None,
            group=user.gid if root else None,
            extra_groups=os.getgrouplist(user.name, user.gid) if root else None,
            start_new_session=True,
        )
    except PermissionError:
        # The service that applies by itself may become nobody else: netbootctl at a terminal does it.
        return Login()
    except OSError as error:
        return Login(warnings=(f"nothing can be run as {user.name}: {error.strerror}",))
    with child:
        try:
            output = child.communicate(timeout=SECONDS)[0]
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            return Login(warnings=(_told(user, f"wasn't to be had in {SECONDS} seconds"),))
    return _read(user, output.decode(errors="replace"), child.returncode)


def _read(user: User, output: str, status: int) -> Login:
    """The child's lines: what he lacks, `note …` for what is worth knowing, all else is a complaint."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    lacks = tuple(line for line in lines if line in (_KEY, _LINE))
    told = [_told(user, line.removeprefix("note ")) for line in lines if line.startswith("note ")]
    if status != 0:
        complaint = next((line for line in lines if line not in lacks), f"exit status {status}")
        told.append(_told(user, f"can't be made: {complaint[:200]}"))
    return Login(() if status else lacks, tuple(told))


def _told(user: User, what: str) -> str:
    return f"{user.name}'s SSH key for the nodes {what}"
