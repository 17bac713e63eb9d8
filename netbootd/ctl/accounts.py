"""The head node's own users: whom `setup --user` makes."""

import os
import pwd
import subprocess

from netbootd.errors import HostError


def make(name: str) -> bool:
    """Make the user and his home, unless he is there; returns whether he had to be made. Raises HostError."""
    try:
        pwd.getpwnam(name)
    except KeyError:
        pass
    else:
        return False
    by_hand = f"useradd --create-home --shell /bin/bash {name}"
    if os.geteuid() != 0:
        raise HostError(f"there is no user {name}, and only root can make one", f"sudo {by_hand}")
    try:
        done = subprocess.run(by_hand.split(), capture_output=True, text=True, errors="replace", check=False)
    except FileNotFoundError:
        raise HostError("useradd isn't installed", "make the user by hand, then again") from None
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        raise HostError(f"the user {name} can't be made: {said[-1][:200] if said else by_hand}", by_hand)
    return True
