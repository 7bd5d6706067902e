"""Who gets what: waiting tasks and free machines in, assignments out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from renderonline.api.domain.planner import plan
from renderonline.api.domain.queue_index import Queue
from renderonline.api.domain.workload import (
    ActiveChunk,
    Assignment,
    Record,
    Roster,
    Seat,
    Waiting,
)
from renderonline.frames import FrameSet

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SOON = NOW + timedelta(seconds=10)
GIB = 1024**3


def frames(text: str) -> FrameSet:
    return FrameSet.parse(text) if text else FrameSet()


def task(task_id: int, todo: str | None = "1-100", **fields: object) -> Waiting:
    """Blender frames of user 1 with priority 50, in chunks of one frame, as old as its number."""
    values: dict[str, object] = {
        "user_id": 1,
        "weight": 1.0,
        "order": task_id,
        "priority": 50,
        "engine": "blender",
        "version": None,
        "tags": frozenset(),
        "todo": None if todo is None else frames(todo),
        "chunk_frames": 1,
    }
    return Waiting(task_id=task_id, **(values | fields))  # type: ignore[arg-type]


def seat(machine_id: int, **fields: object) -> Seat:
    values: dict[str, object] = {"engines": {"blender": "4.5.1"}}
    return Seat(machine_id=machine_id, **(values | fields))  # type: ignore[arg-type]


def seats(count: int) -> list[Seat]:
    return [seat(i) for i in range(1, count + 1)]


def at_work(machine_id: int, what: str = "", **fields: object) -> ActiveChunk:
    """A chunk with the number 100 × its machine's."""
    return ActiveChunk(100 * machine_id, machine_id, frames(what), NOW, **fields)  # type: ignore[arg-type]


def decide(
    tasks: list[Waiting], free: list[Seat], *, everyone: list[Seat] | None = None, **more: object
) -> list[Assignment]:
    queue = Queue(tasks)
    decided = plan(queue, free, NOW, everyone=Roster(everyone or free), **more)  # type: ignore[arg-type]
    assert all(queue.get(t.task_id) is t for t in tasks), "it has to leave the queue as it was"
    assert plan(queue, free, NOW, everyone=Roster(everyone or free), **more) == decided  # type: ignore[arg-type]
    return decided


def pairs(decided: list[Assignment]) -> list[tuple[int, int]]:
    return [(d.task_id, d.machine_id) for d in decided]


def chunks(decided: list[Assignment]) -> list[tuple[int, str]]:
    return [(d.machine_id, str(d.frames)) for d in decided]


# --------------------------------------------------------------------------- order


@pytest.mark.parametrize(
    ("tasks", "free", "expected"),
    [
        ([], 1, []),
        ([task(1)], 0, []),
        ([task(1)], 1, [(1, 1)]),
        ([task(1, "1"), task(2, "1")], 1, [(1, 1)]),
        ([task(1, "1")], 2, [(1, 1)]),
        ([task(1, "1"), task(2, "1")], 2, [(1, 1), (2, 2)]),
        # the older one gets all that it wants, whatever its number
        ([task(1, order=9), task(2, "1-2", order=3)], 3, [(2, 1), (2, 2), (1, 3)]),
        # priority before age, and before anybody's share
        ([task(1), task(2, priority=51)], 2, [(2, 1), (2, 2)]),
        ([task(1, user_id=2), task(2, "1", priority=51)], 2, [(2, 1), (1, 2)]),
        # one piece, once
        ([task(1, None)], 2, [(1, 1)]),
        ([task(1, None, active=(at_work(7),))], 1, []),
    ],
)
def test_order(tasks: list[Waiting], free: int, expected: list[tuple[int, int]]) -> None:
    assert pairs(decide(tasks, seats(free))) == expected


def test_user_with_fifty_tasks_and_user_with_one_get_half_of_the_machines_each() -> None:
    many = [task(i, user_id=1) for i in range(1, 51)]
    decided = decide([*many, task(99, user_id=2)], seats(20))
    assert sum(d.task_id == 99 for d in decided) == 10


def test_heavier_subscription_gets_more() -> None:
    decided = decide([task(1), task(2, user_id=2, weight=3.0)], seats(20))
    assert sum(d.task_id == 2 for d in decided) == 15


def test_what_a_user_had_lately_counts_like_machines() -> None:
    decided = decide([task(1), task(2, user_id=2)], seats(6), usage={1: 4.0})
    assert sum(d.task_id == 1 for d in decided) == 1


def test_machines_at_work_count_and_one_with_two_chunks_counts_once() -> None:
    busy = task(1, active=(at_work(7, "101"), at_work(7, "102"), at_work(8, "103")))
    decided = decide([busy, task(2, user_id=2)], seats(4))
    assert sum(d.task_id == 1 for d in decided) == 1


def test_lower_priority_does_not_take_what_a_higher_one_cannot_use() -> None:
    decided = decide(
        [task(1, engine="maya", priority=90), task(2, priority=10)], [seat(1), seat(2)]
    )
    assert pairs(decided) == [(2, 1), (2, 2)]


# --------------------------------------------------------------------------- who may


@pytest.mark.parametrize(
    ("wants", "machine", "may"),
    [
        ({}, {}, True),
        ({"engine": "povray"}, {}, False),
        ({"engine": "povray"}, {"engines": {"blender": None, "povray": None}}, True),
        ({"version": "4.5"}, {}, True),
        ({"version": "4.5"}, {"engines": {"blender": "4.5"}}, True),
        ({"version": "4.5"}, {"engines": {"blender": "4.50.1"}}, False),
        ({"version": "4.5"}, {"engines": {"blender": "3.4.1"}}, False),
        ({"version": "4.5"}, {"engines": {"blender": None}}, False),
        ({}, {"engines": {"blender": None}}, True),
        ({"tags": frozenset({"gpu"})}, {}, False),
        ({"tags": frozenset({"gpu"})}, {"tags": frozenset({"gpu", "big"})}, True),
        ({}, {"tags": frozenset({"gpu"})}, True),
        ({"start_at": SOON}, {}, False),
        ({"start_at": NOW}, {}, True),
        ({"is_blocked": True}, {}, False),
        ({"records": {1: Record(not_before=SOON)}}, {}, False),
        ({"records": {1: Record(not_before=NOW)}}, {}, True),
        ({"records": {2: Record(not_before=SOON)}}, {}, True),
        ({"machine_limit": 1, "active": (at_work(7, "500"),)}, {}, False),
        ({"machine_limit": 2, "active": (at_work(7, "500"), at_work(7, "501"))}, {}, True),
        # nobody else could: benched or too small is better than nobody
        ({"records": {1: Record(avoid=True)}}, {}, True),
        ({"min_memory_bytes": 8 * GIB}, {"memory_bytes": 8 * GIB}, True),
        ({"min_memory_bytes": 8 * GIB}, {}, True),
    ],
)
def test_who_may_have_a_task(
    wants: dict[str, object], machine: dict[str, object], may: bool
) -> None:
    assert bool(decide([task(1, **wants)], [seat(1, **machine)])) is may
