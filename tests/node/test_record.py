"""What the node knows of one attempt."""

from __future__ import annotations

from pathlib import Path

import pytest

from renderonline.engines.base import FrameSaved, Notice, Progress, Reading, Verdict
from renderonline.frames import FrameSet
from renderonline.node.record import Outcome, Record
from renderonline.wire import Cause, HpcTask, Reason

from .hand_clock import HandClock

FILE = Path("f.png")


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


def record_of(clock: HandClock, owed: str | None = None) -> Record:
    task = HpcTask(task_id=7, attempt_id=3, is_waiting=True)
    return Record(clock, task, FrameSet.parse(owed) if owed else None)


def save(record: Record, *frames: int, reading: Reading) -> None:
    for frame in frames:
        reading.frames_done.add(frame)
        record.read([FrameSaved(FILE, frame)], reading)


def test_it_waits_then_runs_then_is_over(clock: HandClock) -> None:
    record = record_of(clock)
    assert (record.task().is_waiting, record.task().is_running, record.is_over) == (
        True,
        False,
        False,
    )
    record.begin()
    assert (record.task().is_waiting, record.task().is_running, record.is_over) == (
        False,
        True,
        False,
    )
    record.finish(
        Outcome(Verdict(False, Cause.MACHINE, "Full.", Reason.DISK_FULL), 1, is_warm=True)
    )
    task = record.task()
    assert (task.is_waiting, task.is_running, record.is_over) == (False, False, True)
    assert (task.task_id, task.attempt_id, task.is_success, task.exit_code) == (7, 3, False, 1)
    assert (task.cause, task.message, task.reason) == (Cause.MACHINE, "Full.", Reason.DISK_FULL)
    assert task.warm


def test_the_time_stands_still_after_the_exit(clock: HandClock) -> None:
    record = record_of(clock)
    record.begin()
    clock.seconds += 41.9
    assert record.task().total_seconds == 41
    record.exited()
    clock.seconds += 1000
    assert (record.task().total_seconds, record.task().is_running) == (41, True)  # it is judged
    record.finish(Outcome(Verdict(True), 0))
    clock.seconds += 1000
    assert (record.task().total_seconds, record.task().is_success) == (41, True)


def test_start_up_ends_with_the_first_sign_of_rendering(clock: HandClock) -> None:
    record, reading = record_of(clock), Reading()
    record.begin()
    clock.seconds += 1
    record.line()
    record.read([Notice("a texture is missing")], reading)
    assert record.task().startup_seconds is None
    clock.seconds += 1.5
    record.read([Progress(0.1, 1)], reading)
    clock.seconds += 4
    save(record, 1, reading=reading)
    clock.seconds += 4.25
    save(record, 2, reading=reading)
    clock.seconds += 60  # of quitting
    record.exited()
    assert (record.task().startup_seconds, record.task().render_seconds) == (2.5, 8.25)


def test_a_renderer_that_tells_no_frames_renders_until_its_end(clock: HandClock) -> None:
    record = record_of(clock)
    record.begin()
    clock.seconds += 5
    assert record.task().render_seconds is None
    record.exited()
    assert (record.task().startup_seconds, record.task().render_seconds) == (None, 5)


@pytest.mark.parametrize(("owed", "told"), [(None, "1-3,9"), ("1-5", "1-3")])
def test_frames_are_told_as_they_are_saved(clock: HandClock, owed: str | None, told: str) -> None:
    record, reading = record_of(clock, owed), Reading()
    record.begin()
    assert record.task().frames is None
    save(record, 1, 3, 2, 9, reading=reading)
    assert (record.task().frames, record.task().frames_done) == (told, 4)


def test_frames_of_a_movie_are_not_good_by_themselves(clock: HandClock) -> None:
    record = record_of(clock, "1-3")
    record.begin()
    assert record.read([Progress(0.3, 1)], Reading(0.3, {1}))
    assert (record.task().frames, record.task().frames_done) == (None, 1)


def test_without_results_no_frame_is_good(clock: HandClock) -> None:
    record, reading = record_of(clock), Reading()
    record.begin()
    save(record, 1, 2, reading=reading)
    record.finish(Outcome(Verdict(False, Cause.SCENE, "A link."), 0, has_results=False))
    assert record.task().frames is None


def test_the_largest_memory_is_told_and_the_present_one_seen(clock: HandClock) -> None:
    record = record_of(clock)
    assert record.look(10) is None
    record.begin()
    record.look(500)
    sight = record.look(300)
    assert sight is not None
    assert (sight.memory_bytes, record.task().memory_bytes) == (300, 500)
    record.exited()
    assert record.look(900) is None
    assert record.task().memory_bytes == 500


def test_what_is_seen_of_it(clock: HandClock) -> None:
    record, reading = record_of(clock), Reading()
    record.begin()
    clock.seconds += 1
    record.line()
    clock.seconds += 1
    reading.fraction = 0.2
    record.read([Progress(0.2)], reading)
    sight = record.look()
    assert sight is not None
    assert (sight.began_at, sight.line_at, sight.sign_at, sight.gain_at) == (100, 101, 102, 102)
    assert (sight.frame_at, sight.tells_frames) == (None, False)
    clock.seconds += 1
    save(record, 1, reading=reading)
    assert (sight.frame_at, sight.gain_at) == (None, 102)  # a copy
    sight = record.look()
    assert sight is not None
    assert (sight.sign_at, sight.gain_at, sight.frame_at, sight.tells_frames) == (
        102,
        103,
        103,
        True,
    )


def test_a_reader_gets_a_copy(clock: HandClock) -> None:
    record = record_of(clock)
    before = record.task()
    record.begin()
    record.read([Progress(0.9)], Reading(0.9))
    assert (before.progress, before.is_waiting) == (0, True)
