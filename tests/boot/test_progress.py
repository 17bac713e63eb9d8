"""Which boot an event belongs to, and how far that boot has come."""

from netbootd.boot.progress import PAUSE, Progress, advance
from netbootd.node import Mac
from netbootd.stage import Event, Level, Stage

MAC = Mac("52:54:00:00:00:01")


def _event(time: float, stage: Stage | None, text: str = "", level: Level = Level.INFO) -> Event:
    return Event(time=time, mac=MAC, node="n01", stage=stage, text=text, level=level)


def _run(*events: Event) -> Progress:
    progress = None
    for event in events:
        progress = advance(progress, event, MAC)
    assert progress is not None
    return progress


def test_a_loader_s_second_discover_belongs_to_the_same_boot() -> None:
    progress = _run(
        _event(0, Stage.DISCOVER),
        _event(1, Stage.ACK),
        _event(2, Stage.LOADER),
        _event(4, Stage.DISCOVER),
        _event(5, Stage.ACK),
    )
    assert progress.began == 0
    assert progress.stage is Stage.LOADER


def test_a_discover_after_the_script_begins_another() -> None:
    progress = _run(_event(0, Stage.DISCOVER), _event(5, Stage.CONFIG), _event(30, Stage.DISCOVER))
    assert (progress.began, progress.stage) == (30, Stage.DISCOVER)


def test_and_so_does_one_after_a_long_silence() -> None:
    progress = _run(_event(0, Stage.DISCOVER), _event(PAUSE + 1, Stage.DISCOVER))
    assert progress.began == PAUSE + 1


def test_and_one_after_the_clock_was_set_back() -> None:
    progress = _run(_event(1e9, Stage.DISCOVER), _event(1e9 - 3600, Stage.DISCOVER))
    assert progress.began == 1e9 - 3600


def test_trouble_on_the_way_is_what_the_progress_says() -> None:
    progress = _run(_event(0, Stage.KERNEL), _event(1, None, "error: no carrier", Level.ERROR))
    assert (progress.stage, progress.text, progress.level) == (Stage.KERNEL, "error: no carrier", Level.ERROR)
    progress = advance(progress, _event(2, Stage.READY, "login is possible"), MAC)
    assert (progress.stage, progress.level) == (Stage.READY, Level.INFO)


def test_of_a_machine_at_no_stage_the_last_word_is_kept() -> None:
    """It sends REQUESTs or INFORMs alone, and `status` lists it with nothing else to say."""
    progress = advance(None, _event(0, None, "no answer: it isn't registered"), MAC)
    assert (progress.stage, progress.text) == (None, "no answer: it isn't registered")
    progress = advance(progress, _event(1, None, "declined", Level.WARNING), MAC)
    progress = advance(progress, _event(2, None, "released"), MAC)
    assert (progress.text, progress.level) == ("declined", Level.WARNING)


def test_the_stages_are_in_the_order_of_a_boot() -> None:
    assert [stage.value for stage in sorted(Stage, key=lambda s: s.order)] == [
        *("discover", "offer", "request", "ack", "loader", "config", "kernel", "initrd", "root", "ready")
    ]
