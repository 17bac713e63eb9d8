"""SSH keys, made once and kept: each node's host key, and the key pair that is the cluster's own.

    keys/hosts/MACHINE-ID/ssh_host_ed25519_key{,.pub}
    keys/cluster/id_ed25519{,.pub}

A host key is kept by the node's machine-id, so that a renamed node stays the same to all who know it.
"""

import os
import re
import secrets
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from netbootd.errors import HostError
from netbootd.files.disk import carry_out, explained, listed, read
from netbootd.files.tree import Action, Directory, Step

HOST_KEY = "ssh_host_ed25519_key"
CLUSTER_KEY = "id_ed25519"
_INCOMING = ".new-"
_PUBLIC = re.compile(rb"(ssh-ed25519 [A-Za-z0-9+/]+={0,2})( [^\n]*)?\n?")


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A pair as OpenSSH writes it. `public` is type and key, without a comment."""

    private: bytes
    public: str

    def __repr__(self) -> str:
        return f"KeyPair({self.public})"


class KeyStore:
    """The keys below `keys_dir`, which only root may enter."""

    def __init__(self, keys_dir: Path) -> None:
        self.directory = keys_dir

    def host_key(self, machine_id: str) -> KeyPair | None:
        """The host key of a node, None where it has none yet. Raises HostError."""
        return self._pair(f"hosts/{machine_id}", HOST_KEY)

    def cluster_key(self) -> KeyPair | None:
        """The cluster's own pair, None where there is none yet. Raises HostError."""
        return self._pair("cluster", CLUSTER_KEY)

    def machine_ids(self) -> list[str]:
        """Of which nodes there are host keys."""
        return [name for name in listed(self.directory, "hosts") if not name.startswith(".")]

    def make_host_key(self, machine_id: str) -> None:
        """Make a node's host key, on the disk when this returns. Raises HostError."""
        self._make(f"hosts/{machine_id}", HOST_KEY, "")

    def make_cluster_key(self) -> None:
        """Make the cluster's pair, on the disk when this returns. Raises HostError."""
        self._make("cluster", CLUSTER_KEY, "netbootd-cluster")

    def remove_host_key(self, machine_id: str) -> None:
        """Forget a node's host key. Raises HostError."""
        carry_out(self.directory, f"hosts/{machine_id}", Step(Action.REMOVE, ".", Directory()))

    def clean(self) -> None:
        """Take away what a maker that was killed left behind. Only one may make keys at a time: see apply."""
        for name in listed(self.directory, "."):
            if name.startswith(_INCOMING):
                carry_out(self.directory, name, Step(Action.REMOVE, ".", Directory()))

    def _pair(self, place: str, name: str) -> KeyPair | None:
        private = read(self.directory, f"{place}/{name}")
        if private is None:
            return None
        match = _PUBLIC.fullmatch(read(self.directory, f"{place}/{name}.pub") or b"")
        if not match:
            path = self.directory / place / name
            raise HostError(
                f"{path}.pub is missing, or no ed25519 public key",
                f"restore it: ssh-keygen -y -f {path} > {path}.pub",
            )
        return KeyPair(private, match[1].decode())

    def _make(self, place: str, name: str, comment: str) -> None:
        """ssh-keygen writes into a directory beside, which is renamed into its place as a whole."""
        home = self.directory / place
        with explained(home):
            self._private_directories(Path(place).parent)
            beside = self.directory / f"{_INCOMING}{secrets.token_hex(6)}"
            beside.mkdir(mode=0o700)
            try:
                _keygen(beside / name, comment)
                for path in (beside / name, beside / f"{name}.pub", beside):
                    _sync(path)
                if home.exists() or home.is_symlink():
                    # No private key in it, else it would have been used: whatever it is, it is kept.
                    home.rename(home.with_name(f".broken-{home.name}-{secrets.token_hex(3)}"))
                beside.rename(home)
                _sync(home.parent)
            finally:
                shutil.rmtree(beside, ignore_errors=True)

    def _private_directories(self, relative: Path) -> None:
        for directory in (self.directory, self.directory / relative):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            directory.chmod(0o700)


def _keygen(file: Path, comment: str) -> None:
    try:
        done = subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(file)],
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=60,
            check=False,
        )
    except FileNotFoundError:
        raise HostError("ssh-keygen isn't installed", "apt-get install openssh-client") from None
    except subprocess.TimeoutExpired:
        raise HostError("ssh-keygen makes no key: not done after 60 seconds") from None
    if done.returncode != 0:
        raise HostError(f"ssh-keygen makes no key: {done.stderr.strip()[:300]}")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
