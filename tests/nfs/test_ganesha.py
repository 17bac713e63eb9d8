"""NFS-Ganesha's configuration; and the real server, asked by clients with two different addresses."""

import os
import signal
import subprocess
import time
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from netbootd.errors import UserError
from netbootd.nfs import ganesha
from netbootd.nfs.exports import Export
from netbootd.render import Renderer
from tests.lab.ganesha import Ganesha
from tests.lab.namespace import HEAD, Lab, Namespace

FILE = Path("/etc/ganesha/netbootd.conf")
CLIENT = (IPv4Network("10.77.0.2"),)


def rendered(*paths: str, present: str = "", version: str = "4.2") -> str:
    exports = [Export(path=Path(path), clients=CLIENT) for path in paths]
    return ganesha.render(
        Renderer(), ganesha.variables(exports, FILE, present=present, version=version)
    ).decode()


def test_what_was_rendered_can_be_read_back() -> None:
    text = rendered("/a", "/b c")
    ids = ganesha.present_ids(text)
    assert set(ids) == {Path("/a"), Path("/b c")}
    assert ganesha.present_ids(rendered("/b c", "/d", present=text))[Path("/b c")] == ids[Path("/b c")]


def test_v4_alone_needs_no_rpcbind_and_v3_is_served_where_it_is_asked_for() -> None:
    assert "Protocols = 4;" in rendered("/a")
    assert "Protocols = 3,4;" in rendered("/a", version="3")


@pytest.mark.parametrize("path", ['/a"b', "/a\\b", "/a\nb"])
def test_a_path_that_its_syntax_cant_hold_is_refused(path: str) -> None:
    with pytest.raises(UserError, match="can't export"):
        rendered(path)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("EXPORT {", "nothing closes"),
        ("EXPORT { }\n}", "line 2"),
        ('EXPORT { Path = "/a; }', "quotation mark"),
    ],
)
def test_a_template_that_renders_no_configuration_is_refused(tmp_path: Path, text: str, fault: str) -> None:
    """Ganesha would drop every export at a syntax error, and every node its root."""
    (tmp_path / "nfs").mkdir()
    (tmp_path / "nfs" / "ganesha.conf.j2").write_text(text)
    with pytest.raises(UserError, match=fault):
        ganesha.render(Renderer(tmp_path), ganesha.variables([], FILE))


def test_braces_in_comments_and_names_are_no_syntax(tmp_path: Path) -> None:
    (tmp_path / "nfs").mkdir()
    (tmp_path / "nfs" / "ganesha.conf.j2").write_text('# {\nEXPORT { Path = "/}"; } # }\n')
    assert ganesha.render(Renderer(tmp_path), ganesha.variables([], FILE))


@pytest.mark.parametrize("pid", [None, "", "nonsense", "999999999"], ids=repr)
def test_a_server_that_doesnt_run_is_no_error(tmp_path: Path, pid: str | None) -> None:
    pid_file = tmp_path / "pid"
    if pid is not None:
        pid_file.write_text(pid)
    (said,) = ganesha.reload(pid_file, FILE)
    assert "isn't running" in said


def test_a_stale_pid_of_somebody_elses_process_gets_no_signal(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as other:
        pid_file = tmp_path / "pid"
        pid_file.write_text(f"{other.pid}\n")
        (said,) = ganesha.reload(pid_file, FILE)
        assert "isn't running" in said
        other.terminate()
        assert other.wait() == -signal.SIGTERM  # not SIGHUP


def read(client: Namespace, path: Path, *, user: int = 0) -> str | None:
    """A file as a client sees it over NFS; None where it gets an error."""
    words = ["nfs-cat", f"nfs://{HEAD.ip}{path}?version=4&uid=0&gid=0"]
    if user:
        words = ["setpriv", f"--reuid={user}", "--clear-groups", *words]
    done = client.run(words, check=False, timeout=20)
    return done.stdout if done.returncode == 0 and done.stdout else None


@pytest.mark.net
@pytest.mark.needs("ganesha.nfsd", "nfs-cat", "setpriv")
@pytest.mark.as_root("NFS-Ganesha opens files by handle")
class TestServed:
    def serve(self, lab: Lab, directory: Path, exports: list[Export]) -> bytes:
        file = directory / "ganesha.conf"
        present = file.read_text() if file.exists() else ""
        content = ganesha.render(Renderer(), ganesha.variables(exports, file, present=present, bind=HEAD.ip))
        beside = directory / "new"
        beside.write_bytes(content)
        beside.rename(file)
        return content

    def test_each_node_reads_its_own_files_and_nobody_elses(self, lab: Lab, tmp_path: Path) -> None:
        tmp_path.chmod(0o755)
        one, two = lab.client("n1", address="10.77.0.10/24"), lab.client("n2", address="10.77.0.11/24")
        paths = {name: tmp_path / name for name in ("image", "n1", "n2", "n3")}
        for name, path in paths.items():
            path.mkdir()
            (path / "secret").write_text(name)
            (path / "secret").chmod(0o600)
        first, second = (IPv4Network(IPv4Address("10.77.0.10") + i) for i in (0, 1))
        exports = [
            Export(path=paths["image"], clients=(IPv4Network("10.77.0.10/31"),)),
            Export(path=paths["n1"], clients=(first,)),
            Export(path=paths["n2"], clients=(second,)),
        ]
        self.serve(lab, tmp_path, exports)
        server = Ganesha(lab, tmp_path / "ganesha.conf", tmp_path / "pid")
        server.start()

        def seen(client: Namespace) -> list[str]:
            return [name for name, path in paths.items() if read(client, path / "secret") == name]

        assert seen(one) == ["image", "n1"]
        assert seen(two) == ["image", "n2"]
        assert seen(lab) == []
        # Nor does a user of the node who speaks NFS by himself and says that he is root.
        assert read(one, paths["n1"] / "secret", user=65534) is None

        # A node is added, one is removed; n2's files change hands.
        exports = [
            exports[0],
            Export(path=paths["n2"], clients=(first,)),
            Export(path=paths["n3"], clients=(second,)),
        ]
        self.serve(lab, tmp_path, exports)
        assert ganesha.reload(tmp_path / "pid", tmp_path / "ganesha.conf") == ()
        deadline = time.monotonic() + 15
        while seen(two) != ["image", "n3"] and time.monotonic() < deadline:
            time.sleep(0.1)
        assert seen(two) == ["image", "n3"]
        assert seen(one) == ["image", "n2"]

        # netbootd goes: nothing is exported any more.
        (tmp_path / "ganesha.conf").write_bytes(ganesha.NOTHING)
        assert ganesha.reload(tmp_path / "pid", tmp_path / "ganesha.conf") == ()
        while seen(two) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert (seen(one), seen(two)) == ([], [])
        os.kill(int((tmp_path / "pid").read_text()), 0)
        server.stop()
