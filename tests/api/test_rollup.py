"""What a task with variants is, by what they are: as tables."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import pytest

from renderonline.api.domain import rollup
from renderonline.api.domain.forecast import Forecast
from renderonline.api.domain.model import Task
from renderonline.api.domain.rollup import Sum, last_of, rolled_up, state_of
from renderonline.api.domain.standing import Standing
from renderonline.frames import FrameSet
from renderonline.wire import Cause, TaskState

from .test_ledger import chunk

EIGHT, NINE, TEN = (datetime(2026, 3, 1, hour) for hour in (8, 9, 10))


def part(state: str, name: str = "a", **columns: object) -> Task:
    made = Task(
        task_id=1, user_id=1, queue_time=EIGHT, start_time=None, end_time=None, is_running=False,
        is_success=False, render_id=1, machine_id=None, state=TaskState(state), version=0,
        frames=None, cause=None, message=None, parent_id=9, variant=name,
    )  # fmt: skip
    return replace(made, **columns)  # type: ignore[arg-type]


WHOLE = part("queued", "", task_id=9, parent_id=None, version=3)


@pytest.mark.parametrize(
    ("states", "whole"),
    [
        ("queued", "queued"),
        ("queued running", "running"),
        ("succeeded running", "running"),
        ("failed running", "running"),
        ("paused running", "running"),
        ("paused queued", "queued"),
        ("succeeded queued", "queued"),
        ("failed queued", "queued"),
        ("cancelled queued", "queued"),
        ("paused", "paused"),
        ("paused succeeded", "paused"),
        ("paused failed cancelled", "paused"),
        ("succeeded", "succeeded"),
        ("succeeded failed", "failed"),
        ("succeeded failed cancelled", "failed"),
        ("failed", "failed"),
        ("succeeded cancelled", "cancelled"),
        ("cancelled", "cancelled"),
    ],
)
def test_the_whole_is_in_the_queue_as_long_as_one_is_and_succeeds_if_all_do(
    states: str, whole: str
) -> None:
    told = [TaskState(word) for word in states.split()]
    for order in itertools.permutations(told):
        assert state_of(order) == whole
        seen = rolled_up(WHOLE, [part(state) for state in order])
        assert (seen.state, seen.is_running) == (whole, whole == "running")
        assert seen.is_success == (whole == "succeeded")


def test_every_mix_of_states_is_one() -> None:
    for count in (1, 2, 3):
        for states in itertools.combinations_with_replacement(TaskState, count):
            assert state_of(states) in states


def test_times_and_the_machine_are_the_first_and_the_latest_of_all() -> None:
    parts = [
        part("succeeded", start_time=NINE, end_time=TEN, machine_id=7),
        part("running", start_time=EIGHT, machine_id=5),
        part("queued"),
    ]
    seen = rolled_up(WHOLE, parts)
    assert (seen.start_time, seen.end_time, seen.machine_id) == (EIGHT, None, 7)
    over = rolled_up(WHOLE, [parts[0], part("failed", start_time=EIGHT, end_time=NINE)])
    assert (over.start_time, over.end_time) == (EIGHT, TEN)
    waiting = rolled_up(over, [part("queued"), part("queued")])
    assert (waiting.start_time, waiting.end_time, waiting.machine_id) == (None, None, None)


def test_what_is_the_wholes_own_stays() -> None:
    seen = rolled_up(WHOLE, [part("running", priority=3, notes="x")])
    assert seen == replace(WHOLE, state=TaskState.RUNNING, is_running=True)


OUT_OF_QUEUE = "Taken out of the queue by its owner."


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([("succeeded", "a", None)], None),
        ([("running", "a", None), ("failed", "b", "No camera.")], None),
        ([("failed", "a", "No camera.")], "No camera."),
        ([("failed", "a", None)], None),
        ([("succeeded", "a", None), ("failed", "b", "No camera.")], "Variant b: No camera."),
        (
            [("succeeded", "a", None), ("failed", "b", "No camera."), ("failed", "c", "Crash.")],
            "Variants b, c: No camera.",
        ),
        ([("cancelled", "a", OUT_OF_QUEUE), ("cancelled", "b", OUT_OF_QUEUE)], OUT_OF_QUEUE),
        (
            [("succeeded", "a", None), ("cancelled", "b", OUT_OF_QUEUE)],
            f"Variant b: {OUT_OF_QUEUE}",
        ),
    ],
)
def test_the_message_says_which_variants_are_missing(
    parts: Sequence[tuple[str, str, str | None]], message: str | None
) -> None:
    made = [part(state, name, message=text) for state, name, text in parts]
    assert rolled_up(WHOLE, made).message == message


def test_the_cause_is_that_of_the_first_failure() -> None:
    parts = [
        part("succeeded"),
        part("failed", cause=Cause.MACHINE),
        part("failed", cause=Cause.SCENE),
    ]
    assert rolled_up(WHOLE, parts).cause is Cause.MACHINE
    assert rolled_up(WHOLE, [*parts, part("running")]).cause is None


def standing(
    frames: str | None, done: str = "", state: str = "running", **more: object
) -> Standing:
    split = {"todo": FrameSet(), "done": FrameSet.parse(done) if done else FrameSet()}
    return Standing(part(state, frames=frames, **(split if frames else {}), **more), ())


def test_frames_are_those_of_all_variants() -> None:
    seen = Sum((standing("1-90", "1-45"), standing("1-10", "1-5", failed=FrameSet.parse("6"))))
    assert (seen.frames_total, seen.frames_done, seen.frames_failed) == (100, 50, 1)
    assert seen.progress == pytest.approx(0.5)
    finished = Sum((standing("1-90", state="succeeded"), standing("1-10")))
    assert (finished.frames_done, finished.progress) == (90, pytest.approx(0.9))


def test_without_known_frames_each_variant_counts_the_same() -> None:
    half = Standing(part("running"), (replace(chunk(None), progress=0.5),))
    seen = Sum((standing("1-90", "1-90", "succeeded"), half))
    assert (seen.frames_total, seen.progress) == (None, pytest.approx(0.75))


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([Forecast(30.0), Forecast(50.0)], Forecast(50.0)),
        (
            [Forecast(30.0), Forecast(None, "Paused."), Forecast(None, "Else.")],
            Forecast(None, "Paused."),
        ),
        ([Forecast(0.0)], Forecast(0.0)),
    ],
)
def test_the_end_is_that_of_the_last_variant(parts: Sequence[Forecast], expected: Forecast) -> None:
    assert last_of(parts) == expected


def test_a_warning_that_all_share_is_said_once() -> None:
    told = {
        "a": ["No machine.", "Slow."],
        "b": ["No machine.", "No machine."],
        "c": ["No machine."],
    }
    assert rollup.warnings(told) == ["No machine.", "a: Slow."]
    assert rollup.warnings({"a": ["Slow."], "b": ["Slow."], "c": []}) == ["a, b: Slow."]
    assert rollup.warnings({"": ["Slow."]}) == ["Slow."]
