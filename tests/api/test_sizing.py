"""How many frames a machine gets at once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderonline.api.domain.pace import Outlook
from renderonline.api.domain.sizing import (
    LEAST_S,
    LONGEST_S,
    START_SHARE,
    Situation,
    chunk_size,
)
from renderonline.api.domain.workload import UNKNOWN, Record

COLD = Record(frame_s=0.6, startup_s=1.2)
WARM = Record(frame_s=0.6, startup_s=1.2, is_warm=True)


def situation(todo: int, machines: int = 0, owed: int = 0, **fields: object) -> Situation:
    """`machines` others of 0.6 s per frame are at work and owe so many frames together."""
    outlook = Outlook(0.6, 1.2, owed, machines, machines / 0.6)
    return Situation(outlook, todo, **fields)  # type: ignore[arg-type]


def unknown(todo: int, helpers: int = 0, **fields: object) -> Situation:
    return Situation(Outlook(None, None), todo, helpers=helpers, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("record", "where", "expected"),
    [
        # nothing is known: two frames, one where that would be much of a machine's part
        (UNKNOWN, unknown(1000), 2),
        (UNKNOWN, unknown(40, helpers=1), 2),
        (UNKNOWN, unknown(14, helpers=1), 1),
        (UNKNOWN, unknown(1), 1),
        # others' pace is known: half of what its own would give
        (UNKNOWN, situation(1000), 250),
        (UNKNOWN, situation(40, machines=1), 10),
        (UNKNOWN, situation(3, machines=9), 1),
        # no frame times at all: doubled each time, up to half of its part
        (Record(frames_done=2), unknown(1000), 2),
        (Record(frames_done=4), unknown(1000), 4),
        (Record(frames_done=64), unknown(1000), 64),
        (Record(frames_done=64), unknown(20), 10),
        # cold, and long: one last chunk each
        (COLD, situation(36, machines=1), 36 // 2),
        (COLD, situation(18, machines=1, owed=18), 18),
        # cold, and no more than 5 % start-up: 38 frames, and no fewer than half of its part
        (COLD, situation(200, machines=3), 38),
        (COLD, situation(1000, machines=1), 250),
        # what would be left is not worth another start
        (COLD, situation(37, machines=1, owed=34), 37),
        # warm: half of its part, then less and less
        (WARM, situation(36, machines=1), 9),
        (WARM, situation(27, machines=1, owed=9), 9),
        (WARM, situation(2, machines=1, owed=3), 2),
        (WARM, situation(1, machines=9, owed=9), 1),
        # what the others are rendering just now is half done
        (WARM, situation(11, machines=3, owed=6), 2),
        # frames that are nothing: as many as the farm's own time is worth
        (Record(frame_s=0.04, is_warm=True), Situation(Outlook(0.04, 0.0), 40), 20),
        (Record(frame_s=0.04, is_warm=True), Situation(Outlook(0.04, 0.0), 20), 15),
        (Record(frame_s=0.0, is_warm=True), Situation(Outlook(0.04, 0.0), 5000), 2500),
        # a machine of three times the speed gets three times as much
        (Record(frame_s=0.2, is_warm=True), situation(40, machines=1), 15),
        # others wait for the machine: no chunk is shorter than its start-up is worth
        (COLD, situation(60, machines=9, has_backlog=True), 38),
        # and a warm one that leaves for them has to start up there
        (WARM, situation(40, machines=9, has_backlog=True), 40),
        # nothing more urgent waits longer than this for the machine
        (Record(frame_s=5.0, startup_s=30.0), situation(10_000), 240),
        (Record(frame_s=5.0, is_warm=True), situation(10_000), 24),
        (Record(frame_s=5000.0, startup_s=1.0), situation(10_000), 1),
    ],
)
def test_automatic_size(record: Record, where: Situation, expected: int) -> None:
    assert chunk_size(None, record, where) == expected


@pytest.mark.parametrize(
    ("fixed", "where", "expected"),
    [
        (5, situation(100), 5),
        (5, situation(3), 3),
        (1, unknown(100), 1),
        (5, situation(100, machines=1, owed=5, own=5, is_at_work=True), 5),
        # another machine will be free sooner than this one is through with what it has
        (5, situation(1, machines=2, owed=12, own=10, is_at_work=True), 0),
    ],
)
def test_fixed_size(fixed: int, where: Situation, expected: int) -> None:
    assert chunk_size(fixed, WARM, where) == expected


def test_machine_at_work_gets_only_what_its_part_leaves() -> None:
    at_work = {"machines": 2, "is_at_work": True}
    assert chunk_size(None, WARM, situation(36, owed=4, own=2, **at_work)) == 9  # type: ignore[arg-type]
    assert chunk_size(None, WARM, situation(2, owed=12, own=10, **at_work)) == 0  # type: ignore[arg-type]


times = st.floats(0.001, 5000)
records = st.builds(
    Record,
    frame_s=st.none() | times,
    startup_s=st.none() | st.floats(0, 300),
    is_warm=st.booleans(),
    frames_done=st.integers(0, 10_000),
)
situations = st.builds(
    Situation,
    st.builds(
        Outlook,
        st.none() | times,
        st.none() | st.floats(0, 300),
        st.integers(0, 10_000),
        st.integers(0, 1000),
        st.floats(0, 1e6),
    ),
    todo=st.integers(1, 10**6),
    helpers=st.integers(0, 1000),
    has_backlog=st.booleans(),
)


@given(records, situations, st.none() | st.integers(1, 1000))
def test_idle_machine_gets_something_and_no_more_than_waits(
    record: Record, where: Situation, fixed: int | None
) -> None:
    size = chunk_size(fixed, record, where)
    assert 1 <= size <= where.todo
    if fixed is not None:
        assert size <= fixed
    elif record.frame_s is not None and size > 1 and size < where.todo:
        assert size * record.frame_s <= LONGEST_S + 1e-6


@given(times, st.floats(0, 300), situations, st.booleans())
def test_start_up_is_worth_it_unless_the_end_or_urgency_is_near(
    frame_s: float, startup_s: float, where: Situation, is_warm: bool
) -> None:
    record = Record(frame_s=frame_s, startup_s=startup_s, is_warm=is_warm)
    size = chunk_size(None, record, where)
    is_near_the_end = not where.has_backlog and size >= round(where.fair_share(record))
    is_long = (size + 1) * frame_s > 120.0
    is_worth_it = size * frame_s >= max(START_SHARE * startup_s * (not is_warm), LEAST_S) - 1e-6
    assert is_worth_it or is_long or is_near_the_end or size == where.todo
