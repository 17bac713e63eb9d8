"""Events: what `why` and `status` are told, and that a flood of them does no harm."""

import stat
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


def test_a_broken_file_is_an_error_in_words(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    path.write_bytes(b"nonsense" * 1000)
    with pytest.raises(HostError, match=r"events\.db"):
        EventLog.open(path)
    with pytest.raises(HostError, match=r"events\.db"):
        latest(path)


def test_a_flood_of_machines_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("KEPT", 50), ("MOST_MACHINES", 20), ("MOST_WAITING", 40)):
        monkeypatch.setattr(events, name, value)
    path = tmp_path / "events.db"
    log = EventLog.open(path)
    for i in range(200):
        log.record(
            _event(
                float(i),
                Stage.DISCOVER,
                mac=Mac.from_octets(b"\x52\x54\0\0" + i.to_bytes(2, "big")),
                node=None,
            )
        )
        if i % 30 == 0:
            log.flush()
    log.close()
    assert log.lost == 0
    assert len(latest(path)) <= 50
    for i in range(200):
        log_again = _event(1000.0 + i, None, text=f"{i}")
        if i == 0:
            log = EventLog.open(path)
        log.record(log_again)
    assert log.lost == 160
    log.close()


def test_a_full_disk_costs_history_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    log = EventLog.open(path)
    log._db.execute("PRAGMA max_page_count = 8")
    for i in range(2000):
        log.record(_event(float(i), None, text=f"{i} " + "x" * 200))
    log.flush()
    assert log.lost == 2000
    log.record(_event(9999.0, Stage.DISCOVER, "still alive"))
    log.close()
    assert stat.S_ISREG(path.stat().st_mode)
