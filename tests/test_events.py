"""Events: what `why` and `status` are told, and that a flood of them does no harm."""

from pathlib import Path

import pytest

from netbootd import events
from netbootd.errors import HostError
from netbootd.events import EventLog, latest, timeline
from netbootd.node import Mac
from netbootd.stage import Event, Level, Stage

MAC = Mac("52:54:00:00:00:01")


def _event(
    time: float, stage: Stage | None, text: str = "x", mac: Mac | None = MAC, node: str | None = "n01"
) -> Event:
    return Event(time=time, mac=mac, node=node, stage=stage, text=text, level=Level.INFO)


def test_a_timeline_has_the_latest_boot_only(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    log = EventLog.open(path)
    for time, stage in ((1, Stage.DISCOVER), (2, Stage.CONFIG), (9, Stage.DISCOVER), (10, Stage.OFFER)):
        log.record(_event(time, stage))
    log.flush()
    assert [event.time for event in timeline(path, MAC)] == [9, 10]
    (progress,) = latest(path)
    assert (progress.began, progress.stage, progress.node) == (9, Stage.OFFER, "n01")
    log.close()


def test_a_restart_continues_the_boot_under_way(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    log = EventLog.open(path)
    log.record(_event(1, Stage.DISCOVER))
    log.close()
    log = EventLog.open(path)
    log.record(_event(2, Stage.OFFER))
    log.close()
    assert [event.time for event in timeline(path, MAC)] == [1, 2]


def test_the_same_word_again_is_said_once(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    log = EventLog.open(path)
    for time in (1.0, 2.0, 3.0, 60.0):
        log.record(_event(time, None, "no such file"))
    log.close()
    assert [event.time for event in timeline(path, MAC)] == [1.0, 60.0]


def test_where_nothing_was_recorded_nothing_is_told(tmp_path: Path) -> None:
    assert latest(tmp_path / "none.db") == []
    assert timeline(tmp_path / "none.db", MAC) == []


def test_a_damaged_file_is_put_aside_and_stops_nothing(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    path.write_bytes(b"nonsense" * 1000)
    with pytest.raises(HostError, match=r"events\.db"):
        latest(path)
    log = EventLog.open(path)
    log.record(_event(1, Stage.DISCOVER))
    log.close()
    assert [event.time for event in timeline(path, MAC)] == [1]
    assert (tmp_path / "events.db.damaged").read_bytes() == b"nonsense" * 1000


def test_a_place_that_cannot_be_written_is_an_error_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HostError, match=r"events\.db"):
        EventLog.open(tmp_path / "file" / "events.db")
    (tmp_path / "events.db").mkdir()
    with pytest.raises(HostError, match="unable to open"):
        EventLog.open(tmp_path / "events.db")


def _stranger(number: int) -> Mac:
    return Mac.from_octets(b"\x52\x54\0\x99" + number.to_bytes(2, "big"))


def test_a_flood_of_machines_is_bounded_and_drives_out_no_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("KEPT", 50), ("MOST_MACHINES", 20)):
        monkeypatch.setattr(events, name, value)
    path = tmp_path / "events.db"
    log = EventLog.open(path)
    log.record(_event(0, Stage.READY))
    for i in range(200):
        log.record(_event(float(i), Stage.DISCOVER, mac=_stranger(i), node=None))
        if i % 30 == 0:
            log.flush()
    log.flush()
    machines = latest(path)
    assert {p.mac for p in machines} == {MAC, *(_stranger(i) for i in range(180, 200))}
    assert log._db.execute("SELECT count(*) FROM event").fetchone() == (50,)
    log.close()
    again = EventLog.open(path)
    again.record(_event(300, Stage.DISCOVER, mac=_stranger(7), node=None))
    again.close()
    assert {p.mac for p in latest(path)} == {MAC, _stranger(7), *(_stranger(i) for i in range(181, 200))}


def test_what_exceeds_the_allowance_is_counted_and_neither_logged_nor_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    path = tmp_path / "events.db"
    log = EventLog.open(path)
    for i in range(10_000):
        log.record(_event(1.0, Stage.DISCOVER, mac=_stranger(i), node=None))
        log.record(_event(1.0, None, f"error: {i}"))
    most = int(events.STRANGERS_RATE.burst + events.NODE_RATE.burst)
    assert log.lost == 20_000 - most
    assert len(caplog.records) == most
    other = Mac("52:54:00:00:00:99")
    log.record(_event(1.0, Stage.DISCOVER, mac=other, node="n99"))
    log.record(_event(0.5, Stage.DISCOVER, "set back", mac=_stranger(1), node=None))
    log.record(_event(2.0, Stage.READY, "a second later"))
    log.flush()
    assert [e.text for e in timeline(path, MAC)][-1] == "a second later"
    assert len(timeline(path, other)) == 1
    assert len(timeline(path, _stranger(1))) == 1
    assert caplog.records[-1].getMessage() == f"{20_001 - most} events came faster than they are kept"
    log.close()


def test_a_clock_that_is_set_back_silences_nothing(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    log = EventLog.open(path)
    log.record(_event(1e9, None, "no such file"))
    log.record(_event(1e6, None, "no such file"))
    log.close()
    assert [event.time for event in timeline(path, MAC)][-1] == 1e6


def test_events_are_written_without_reading_those_there_are(tmp_path: Path) -> None:
    log = EventLog.open(tmp_path / "events.db")
    statements: list[str] = []
    log.record(_event(1, Stage.DISCOVER))
    log._db.set_trace_callback(statements.append)
    log.flush()
    log._db.set_trace_callback(None)
    plans = [
        step[3]
        for statement in statements
        if statement.startswith(("SELECT", "DELETE"))
        for step in log._db.execute(f"EXPLAIN QUERY PLAN {statement}")
    ]
    assert len(plans) >= 2
    assert not [plan for plan in plans if plan.startswith("SCAN")]
    log.close()


def test_a_full_disk_costs_history_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    log = EventLog.open(path)
    log._db.execute("PRAGMA max_page_count = 8")
    for i in range(2000):
        log.record(_event(float(i), None, text=f"{i} " + "x" * 200))
    log.flush()
    assert log.lost == 2000
    log._db.execute("PRAGMA max_page_count = 1000")
    log.record(_event(9999.0, Stage.DISCOVER, "still alive"))
    log.close()
    assert [event.text for event in timeline(path, MAC)] == ["still alive"]
    assert latest(path)[0].began == 9999.0
