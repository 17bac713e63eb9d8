"""netbootctl apply: what it would do, doing it, doing it twice, and taking it back."""

import os

import pytest

from tests.ctl.conftest import MACS, Head

HOSTS = "127.0.0.1 localhost\n# mine\n"


@pytest.fixture
def one(head: Head, monkeypatch: pytest.MonkeyPatch) -> Head:
    """A head node with n01 registered and nothing applied yet."""
    (head.directory / "hosts").write_text(HOSTS)
    head.image("debian")
    with monkeypatch.context() as patched:
        patched.setattr(os, "geteuid", lambda: 1000)
        head.well("node", "add", "n01", "--mac", MACS[0])
    return head


@pytest.mark.usefixtures("as_root")
def test_a_dry_run_shows_every_change_and_makes_none(one: Head) -> None:
    before = sorted(os.walk(one.directory))
    out = one.well("apply", "--dry-run").out
    for path in ("hosts", "known_hosts", "ganesha.conf", "state/nodes/n01/etc/hostname"):
        assert f"write   {one.directory / path}" in out
    changes = one.well("apply", "--dry-run", "--json").json["changes"]
    assert out.splitlines()[:-1] == changes
    assert (one.directory / "hosts").read_text() == HOSTS
    after = [
        (top, d, [f for f in files if not f.startswith(".apply")])
        for top, d, files in sorted(os.walk(one.directory))
    ]
    assert after == before


@pytest.mark.usefixtures("as_root")
def test_applying_twice_does_nothing_the_second_time(one: Head) -> None:
    assert one.well("apply").out.startswith("applied: 2 keys")
    assert "10.77.0.10 n01" in (one.directory / "hosts").read_text()
    assert one.well("apply").out.startswith("nothing to apply")
    assert one.well("apply", "--dry-run", "--json").json["changes"] == []


@pytest.mark.usefixtures("as_root")
def test_undo_gives_the_head_nodes_own_files_back(one: Head) -> None:
    one.well("apply")
    assert one.well("apply", "--undo").out.startswith("taken out: ")
    assert (one.directory / "hosts").read_text() == HOSTS
    assert not (one.directory / "known_hosts").exists()
    ganesha = one.directory / "ganesha.conf"
    assert not ganesha.exists() or "Export_Id" not in ganesha.read_text()
    assert (one.directory / "state/keys/cluster").is_dir()
    one.well("apply")
    assert "10.77.0.10 n01" in (one.directory / "hosts").read_text()


@pytest.mark.usefixtures("as_root")
def test_apply_ends_where_the_keys_that_it_makes_belong_to_somebody_else(
    one: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)  # as on a file system that squashes root
    done = one("apply")
    assert done.status == 4 and "can't be read back" in done.err


@pytest.mark.usefixtures("as_root")
def test_a_broken_template_is_a_line_of_a_failed_apply_that_did_the_rest(one: Head) -> None:
    one.well("apply")
    broken = one.directory / "templates/node/each/etc/motd.j2"
    broken.parent.mkdir(parents=True)
    broken.write_text("Welcome\n{{ nod.name }}\n")
    done = one("node", "add", "n02", "--mac", MACS[1])
    assert done.status == 2
    assert "applied: " in done.out and "10.77.0.11 n02" in (one.directory / "hosts").read_text()
    first, second = (line for line in done.err.splitlines() if not line.startswith("warning: "))
    assert first.endswith("and that is kept; but 1 file can't be made and stays as it was")
    assert f"{broken}, line 2: 'nod' is undefined" in second
    again = one("apply", "--json")
    assert again.status == 2 and again.json["changes"] == [] and len(again.json["faults"]) == 1
