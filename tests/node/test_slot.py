"""What the node says about its render."""

from __future__ import annotations

import pytest

from renderonline.engines.base import Verdict
from renderonline.node.slot import Outcome, Slot
from renderonline.wire import Cause

from .hand_clock import HandClock


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


def test_nothing_before_the_first_start(clock: HandClock) -> None:
    assert Slot(clock).task() is None


def test_the_time_stands_still_after_the_exit(clock: HandClock) -> None:
    slot = Slot(clock)
    slot.begin(7, 3)
    clock.seconds += 41.9
    assert (slot.task() or pytest.fail()).total_seconds == 41
    slot.exited()
    clock.seconds += 1000
    task = slot.task()
    assert task is not None
    assert (task.total_seconds, task.is_running) == (41, True)  # it is being judged
    slot.finish(Outcome(Verdict(True), 0))
    clock.seconds += 1000
    task = slot.task()
    assert task is not None
    assert (task.total_seconds, task.is_running, task.is_success) == (41, False, True)


def test_the_last_render_stays_until_the_next(clock: HandClock) -> None:
    slot = Slot(clock)
    slot.begin(7, 3)
    slot.progress(0.5, 2)
    slot.finish(Outcome(Verdict(False, Cause.SCENE, "No camera."), 1))
    task = slot.task()
    assert task is not None
    assert (task.task_id, task.attempt_id, task.progress, task.frames_done) == (7, 3, 0.5, 2)
    assert (task.exit_code, task.cause, task.message) == (1, Cause.SCENE, "No camera.")
    slot.begin(8, None)
    task = slot.task()
    assert task is not None
    assert (task.task_id, task.attempt_id, task.progress, task.exit_code) == (8, None, 0, None)
    assert (task.cause, task.message, task.total_seconds) == (None, None, 0)


def test_a_reader_gets_a_copy(clock: HandClock) -> None:
    slot = Slot(clock)
    slot.begin(7, 3)
    before = slot.task()
    slot.progress(0.9, 9)
    assert before is not None
    assert before.progress == 0
