"""Keys: made once, kept, whole."""

import subprocess
from pathlib import Path

import pytest

from netbootd.errors import HostError
from netbootd.files.hostkeys import KeyStore

pytestmark = pytest.mark.needs("ssh-keygen")


@pytest.fixture
def store(tmp_path: Path) -> KeyStore:
    return KeyStore(tmp_path / "keys")


def test_a_pair_is_what_ssh_keygen_made(store: KeyStore, tmp_path: Path) -> None:
    assert store.host_key("abc") is None
    store.make_host_key("abc")
    pair = store.host_key("abc")
    assert pair
    assert store.host_key("abc") == pair
    private = tmp_path / "private"
    private.write_bytes(pair.private)
    private.chmod(0o600)
    said = subprocess.run(["ssh-keygen", "-y", "-f", private], capture_output=True, text=True, check=True)
    assert said.stdout.split()[:2] == pair.public.split()
    assert store.machine_ids() == ["abc"]


def test_no_key_shows_in_a_log(store: KeyStore) -> None:
    store.make_cluster_key()
    pair = store.cluster_key()
    assert "PRIVATE" not in repr(pair)


def test_each_node_has_another(store: KeyStore) -> None:
    for name in ("a", "b"):
        store.make_host_key(name)
    assert store.host_key("a") != store.host_key("b")
    store.remove_host_key("a")
    assert store.machine_ids() == ["b"]


@pytest.mark.parametrize("content", [None, "", "ssh-rsa AAAA x", "ssh-ed25519 AAAA x\nssh-ed25519 BBBB y\n"])
def test_a_public_key_that_was_lost_is_no_reason_for_a_new_identity(
    store: KeyStore, content: str | None
) -> None:
    store.make_host_key("a")
    public = store.directory / "hosts/a/ssh_host_ed25519_key.pub"
    public.unlink()
    if content is not None:
        public.write_text(content)
    with pytest.raises(HostError, match="ssh-keygen -y") as error:
        store.host_key("a")
    # And the command that it names mends it.
    subprocess.run(error.value.hint.removeprefix("restore it: "), shell=True, check=True)
    assert store.host_key("a")


def test_what_is_in_the_way_of_a_key_is_kept(store: KeyStore) -> None:
    orphan = store.directory / "hosts/a/ssh_host_ed25519_key.pub"
    orphan.parent.mkdir(parents=True)
    orphan.write_text("somebody's")
    store.make_host_key("a")
    assert store.host_key("a")
    assert [p.read_text() for p in store.directory.glob("hosts/.broken-a-*/*")] == ["somebody's"]
    assert store.machine_ids() == ["a"]


def test_what_a_killed_maker_left_is_cleaned_away(store: KeyStore) -> None:
    store.make_host_key("a")
    leftover = store.directory / ".new-0123"
    leftover.mkdir()
    (leftover / "ssh_host_ed25519_key").touch()
    store.clean()
    assert [p.name for p in store.directory.iterdir()] == ["hosts"]


def test_a_missing_ssh_keygen_is_said_with_its_package(
    store: KeyStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostError, match="openssh-client"):
        store.make_cluster_key()
    assert list(store.directory.iterdir()) == []
