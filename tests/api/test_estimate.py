"""When a chunk will be done."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from renderonline.api.domain.estimate import attempt_seconds_left
from renderonline.api.domain.pace import finished_s
from renderonline.api.domain.planner import Queue, Record
from tests.api.test_planner import NOW, at_work, task

KNOWN = {7: Record(frame_s=2.0, startup_s=3.0), 8: Record(frame_s=4.0, startup_s=5.0)}


def test_time_left_of_a_machines_attempt() -> None:
    since = NOW - timedelta(seconds=0.5)
    queue = Queue(
        [
            task(1, records=KNOWN, active=(at_work(7, "101-103", frame_since=since),)),
            task(2, active=(at_work(8, "101"),)),
        ]
    )
    assert attempt_seconds_left(queue, 7, 700, NOW) == pytest.approx(5.5)
    assert attempt_seconds_left(queue, 8, 800, NOW) is None  # nothing is known of its pace
    assert attempt_seconds_left(queue, 7, 701, NOW) is None  # no such attempt
    assert attempt_seconds_left(queue, 6, 700, NOW) is None  # not of that machine
    queue.put(replace(queue.get(1), active=()))  # type: ignore[type-var]
    assert attempt_seconds_left(queue, 7, 700, NOW) is None


@pytest.mark.parametrize(
    ("frames", "taken_s", "expected"),
    [
        ("1-3", 0.0, 6.0),
        ("1-3", 1.5, 4.5),
        ("1-3", 2.5, 4.0),
        ("1", 3.1, 3.1),  # overdue: it may take as long again
        ("", 0.0, 0.0),
    ],
)
def test_frame_that_is_being_rendered(frames: str, taken_s: float, expected: float) -> None:
    since = NOW - timedelta(seconds=taken_s)
    chunk = replace(at_work(7, frames, frame_since=since), started_at=since - timedelta(seconds=9))
    queue = Queue([task(1, records=KNOWN, active=(chunk,))])
    assert attempt_seconds_left(queue, 7, 700, NOW) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (Record(frame_s=2.0, startup_s=3.0), 3.0 + 2 * 2.0),
        (Record(frame_s=2.0, startup_s=3.0, is_warm=True), 2 * 2.0),
        (Record(frame_s=2.0), 5.0 + 2 * 2.0),  # another machine's start
        (None, 5.0 + 2 * 4.0),
    ],
)
def test_cold_chunk_starts_up_before_its_first_frame(
    record: Record | None, expected: float
) -> None:
    records = {8: Record(frame_s=4.0, startup_s=5.0)} | ({7: record} if record else {})
    if record and record.startup_s:
        records.pop(8)
    starting = at_work(7, "1-2", frame_since=NOW)
    queue = Queue([task(1, records=records, active=(starting,))])
    assert attempt_seconds_left(queue, 7, 700, NOW) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("frames", "joining", "expected"),
    [
        (10, [(0.0, 2.0)], 5.0),
        (10, [(3.0, 2.0)], 8.0),
        (10, [(0.0, 1.0), (5.0, 4.0)], 6.0),
        (10, [(0.0, 1.0), (50.0, 4.0)], 10.0),  # who comes when all is done changes nothing
        (10, [(0.0, 1.0), (0.0, 1.0), (0.0, 3.0)], 2.0),
        (0, [(0.0, 1.0)], 0.0),
    ],
)
def test_when_machines_that_join_one_by_one_are_through(
    frames: float, joining: list[tuple[float, float]], expected: float
) -> None:
    assert finished_s(frames, joining) == pytest.approx(expected)
