"""Persistent roots through the NFS server: written to by their node alone, and served anew after a reset."""

import time
from collections.abc import Callable

import pytest

from tests.lab.ganesha import Ganesha
from tests.lab.namespace import Namespace
from tests.roots.head import RootsHead

pytestmark = [
    pytest.mark.net,
    pytest.mark.as_root("overlayfs keeps trusted.* attributes"),
    pytest.mark.needs("ganesha.nfsd", "nfs-cat", "nfs-cp"),
]


def soon(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 30
    while not (true := condition()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return true


def test_a_node_writes_to_its_root_and_a_running_server_gives_it_a_new_one_after_a_reset(
    head: RootsHead,
) -> None:
    node = head.add(1)
    root = head.root_of(node)
    mine = head.lab.client("n1", address=f"{node.address}/24")
    other = head.lab.client("n2", address="10.77.0.77/24")

    def url(name: str) -> str:
        return f"nfs://10.77.0.1{root}/{name}?version=4"

    def read(client: Namespace, name: str) -> str | None:
        done = client.run(["nfs-cat", url(name)], check=False, timeout=30)
        return done.stdout if done.returncode == 0 else None

    ganesha = Ganesha(head.lab, head.directory / "ganesha.conf", head.directory / "ganesha.pid")
    ganesha.start()
    try:
        assert soon(lambda: read(mine, "etc/motd") == "from the image\n"), ganesha.last_words()
        assert read(other, "etc/motd") is None, "it is its node's alone"
        (head.directory / "new").write_text("by n1\n")
        # In the grace period after its start a server lets nobody open anything for writing.
        assert soon(
            lambda: mine.run(["nfs-cp", head.directory / "new", url("etc/new")], check=False).returncode == 0
        ), ganesha.last_words()
        assert (head.roots.upper(node.machine_id) / "etc/new").read_text() == "by n1\n"
        head.ctl("node", "reset", "n1")
        assert soon(lambda: read(mine, "etc/motd") == "from the image\n"), ganesha.last_words()
        assert read(mine, "etc/new") is None
        assert head.mounted() == [node.machine_id]
    finally:
        ganesha.stop()
